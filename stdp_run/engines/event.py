"""The event engine: one image at a time on the CPU, work only where there is a spike.

Of 784 inputs about 13 spike in a step. So, per step and with E neurons:

    current     one row weight[j, :] of E numbers is added per input spike (E * 4 bytes read each): most of the work
    neurons     one pass over E
    inhibition  a sum; only inhibitory neurons whose partner has fired in this image are advanced, the rest is at rest
    learning    what the rule does at the spikes (stdp_run.rules): a few columns, or one number per row

The spikes of an image are drawn at once: black pixels are skipped, four steps come of one counter.
No sum is reordered and no fused multiplication is used, so results do not depend on the processor's vector width.
"""

import importlib
import inspect
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numba.core.errors import NumbaError

from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING, philox
from stdp_run.engines.compiled import (
    LANE_BYTES,
    cache_folder,
    compile_methods,
    namespace,
    specialise,
    sum_block_1,
    sum_block_2,
    sum_block_3,
    sum_block_4,
    sum_block_5,
    sum_block_6,
    sum_block_7,
    sum_block_8,
)
from stdp_run.engines.spikes import DRAWING, SpikeTrain, draw_spikes, make_train
from stdp_run.errors import UserError
from stdp_run.network import Model, NetworkState
from stdp_run.neurons import NeuronGroup
from stdp_run.parameters import cast
from stdp_run.rules.base import Rule

log = logging.getLogger(__name__)

IMAGES_PER_TASK = 50


class Instant(NamedTuple):
    """Where in time a step stands, for rules that draw random numbers or act at the end of an image."""

    step: int
    last: bool
    image_index: int
    epoch: int
    seed: int


class Scratch(NamedTuple):
    """Working arrays of one thread; nothing in them outlives an image. E counts the padding of the weights' rows."""

    train: SpikeTrain
    current: np.ndarray  # [E]
    v: np.ndarray  # [E]
    refractory: np.ndarray  # [E] int32
    spiked: np.ndarray  # [E] uint8
    fired: np.ndarray  # [E] int32, the neurons that spike in this step
    inhibitory_v: np.ndarray  # [E]
    inhibitory_refractory: np.ndarray  # [E] int32
    inhibitory_spikes: np.ndarray  # [E], 0 or 1
    awake: np.ndarray  # [E] int32, the inhibitory neurons that are not at rest
    is_awake: np.ndarray  # [E] uint8


def make_scratch(model: Model, n_columns: int) -> Scratch:
    """Return working arrays for one thread."""
    n_steps = model.encoder.n_steps
    return Scratch(
        train=make_train(n_steps, model.n_inputs),
        current=np.zeros(n_columns, model.weight_dtype),
        v=np.zeros(n_columns, model.weight_dtype),
        refractory=np.zeros(n_columns, np.int32),
        spiked=np.zeros(n_columns, np.uint8),
        fired=np.zeros(n_columns, np.int32),
        inhibitory_v=np.zeros(n_columns, model.weight_dtype),
        inhibitory_refractory=np.zeros(n_columns, np.int32),
        inhibitory_spikes=np.zeros(n_columns, model.weight_dtype),
        awake=np.zeros(n_columns, np.int32),
        is_awake=np.zeros(n_columns, np.uint8),
    )


def padded(count: int, multiple: int) -> int:
    """Return `count` rounded up to a multiple."""
    return -(-count // multiple) * multiple


# ------------------------------------------------------------------------------------------------------------------
# Compiled code. `rule` and `neuron` are bound by `specialise`.


def add_rows(current, weight, active, spikes, n_spikes):
    """Set current[E] to the sum of the rows of `weight[I, E]` whose inputs spike, added in their order."""
    lanes = LANE_BYTES // current.itemsize
    start = 0
    missing = current.shape[0] // lanes
    while missing >= 8:
        sum_block_8(current, weight, active, spikes, n_spikes, start)
        start += 8 * lanes
        missing -= 8
    if missing == 7:
        sum_block_7(current, weight, active, spikes, n_spikes, start)
    elif missing == 6:
        sum_block_6(current, weight, active, spikes, n_spikes, start)
    elif missing == 5:
        sum_block_5(current, weight, active, spikes, n_spikes, start)
    elif missing == 4:
        sum_block_4(current, weight, active, spikes, n_spikes, start)
    elif missing == 3:
        sum_block_3(current, weight, active, spikes, n_spikes, start)
    elif missing == 2:
        sum_block_2(current, weight, active, spikes, n_spikes, start)
    elif missing == 1:
        sum_block_1(current, weight, active, spikes, n_spikes, start)


def inhibit(p, current, inhibitory_spikes, n_inhibitory):
    """Take from each current the inhibition of the step before, from all inhibitory neurons but the partner."""
    total = current[0] * 0 + n_inhibitory
    for i in range(current.shape[0]):
        current[i] -= p.w_ie * (total - inhibitory_spikes[i])


def advance_excitatory(p, learning, current, v, refractory, theta, spiked, fired):
    """Advance the excitatory neurons; return how many spike and list them in `fired`."""
    any_spike = False
    for i in range(theta.shape[0]):
        spike, new_v, new_refractory, new_theta = neuron.excitatory(
            p, learning, current[i], v[i], refractory[i], theta[i]
        )
        v[i] = new_v
        refractory[i] = new_refractory
        theta[i] = new_theta
        spiked[i] = spike
        any_spike |= spike
    n_fired = 0
    if any_spike:
        for i in range(theta.shape[0]):
            if spiked[i]:
                fired[n_fired] = i
                n_fired += 1
    return n_fired


def advance_inhibitory(p, spiked, fired, n_fired, v, refractory, spikes, awake, is_awake, n_awake):
    """Advance the inhibitory neurons that are not at rest; return (how many spike, how many are awake)."""
    for f in range(n_fired):
        i = fired[f]
        if not is_awake[i]:
            is_awake[i] = 1
            awake[n_awake] = i
            n_awake += 1
    n_spikes = 0
    for a in range(n_awake):
        i = awake[a]
        spike, new_v, new_refractory = neuron.inhibitory(p, p.w_ei * spiked[i], v[i], refractory[i])
        v[i] = new_v
        refractory[i] = new_refractory
        spikes[i] = spike
        n_spikes += spike
    return n_spikes, n_awake


def present(
    p, p_rule, learning, pixels, image_index, epoch, seed, stream, limits, rate, weight, theta, memory, scratch, counts
):
    """Show images one after the other; add the excitatory spikes to counts[N, E].

    pixels[N, I] uint8, rate[N], weight[I, E], theta[E]; weight, theta and memory change if `learning`.
    """
    # Arrays are taken out of the tuple once: taking them out at every step costs more than the step.
    train, current, v, refractory, spiked = (
        scratch.train,
        scratch.current,
        scratch.v,
        scratch.refractory,
        scratch.spiked,
    )
    active, places, first = train.active, train.places, train.first
    inhibitory_v, inhibitory_refractory = scratch.inhibitory_v, scratch.inhibitory_refractory
    inhibitory_spikes, fired, awake, is_awake = (
        scratch.inhibitory_spikes,
        scratch.fired,
        scratch.awake,
        scratch.is_awake,
    )
    n_steps = first.shape[0] - 1
    v_rest, _, inhibitory_v_rest = neuron.initial(p)
    for n in range(pixels.shape[0]):
        n_active = draw_spikes(pixels[n], limits, image_index[n], epoch, seed, stream, train)
        v[:] = v_rest
        refractory[:] = 0
        inhibitory_v[:] = inhibitory_v_rest
        inhibitory_refractory[:] = 0
        inhibitory_spikes[:] = 0
        is_awake[:] = 0
        n_awake = 0
        n_inhibitory = 0
        if learning:
            rule.begin(p_rule, memory, weight)
        for t in range(n_steps):
            spikes = places[first[t] : first[t + 1]]
            n_spikes = spikes.shape[0]
            add_rows(current, weight, active, spikes, n_spikes)
            if learning:
                rule.correct_current(p_rule, memory, weight, current, spikes, n_spikes)
            if n_inhibitory:
                inhibit(p, current, inhibitory_spikes, n_inhibitory)
            n_fired = advance_excitatory(p, learning, current, v, refractory, theta, spiked, fired)
            for f in range(n_fired):
                counts[n, fired[f]] += 1
            if n_fired + n_awake:
                n_inhibitory, n_awake = advance_inhibitory(
                    p,
                    spiked,
                    fired,
                    n_fired,
                    inhibitory_v,
                    inhibitory_refractory,
                    inhibitory_spikes,
                    awake,
                    is_awake,
                    n_awake,
                )
            if learning:
                instant = Instant(t, t == n_steps - 1, image_index[n], epoch, seed)
                rule.learn(
                    p_rule,
                    rate[n],
                    instant,
                    weight,
                    theta,
                    memory,
                    active,
                    n_active,
                    spikes,
                    n_spikes,
                    fired,
                    n_fired,
                )
        if learning:
            rule.finish(p_rule, memory, weight, active, n_active)


def replay_steps(p_rule, pre, threshold, post, weight, memory, instant, history, active, spikes, fired):
    """Apply the rule alone to spikes pre[T, I] and post[T, E]; write the weights after each step to history[T, E, I].

    active[I] counts up from 0; spikes[I] and fired[E] are working memory.
    """
    n_steps, n_inputs = pre.shape
    n_exc = post.shape[1]
    rate = weight[0, 0] * 0 + 1
    rule.begin(p_rule, memory, weight)
    for t in range(n_steps):
        n_spikes = 0
        for j in range(n_inputs):
            if pre[t, j]:
                spikes[n_spikes] = j
                n_spikes += 1
        n_fired = 0
        for i in range(n_exc):
            if post[t, i]:
                fired[n_fired] = i
                n_fired += 1
        now = Instant(t, t == n_steps - 1, instant.image_index, instant.epoch, instant.seed)
        rule.learn(p_rule, rate, now, weight, threshold[t], memory, active, n_inputs, spikes, n_spikes, fired, n_fired)
        for i in range(n_exc):
            for j in range(n_inputs):
                history[t, i, j] = rule.current_weight(p_rule, memory, weight, j, i)
    rule.finish(p_rule, memory, weight, active, n_inputs)


_KERNELS = (
    *DRAWING,
    add_rows,
    inhibit,
    advance_excitatory,
    advance_inhibitory,
)


@cache
def compile_rule(rule: type[Rule]) -> ModuleType:
    """Return the rule's elementwise functions and its event half, compiled together."""
    half = importlib.import_module(rule.event_module)
    elementwise = namespace("rule", compile_methods(rule))
    return namespace("rule", specialise((philox, *half.EVENT_FUNCTIONS), {"rule": elementwise}))


@cache
def compile_present(rule: type[Rule], neuron: type[NeuronGroup]):
    """Return `present` for one rule and one neuron group."""
    folder = cache_folder(rule, neuron)
    bindings = {"rule": compile_rule(rule), "neuron": namespace("neuron", compile_methods(neuron))}
    inner = specialise(_KERNELS, bindings)
    return specialise([present], {**bindings, **inner}, folder)["present"]


@cache
def compile_replay(rule: type[Rule]):
    """Return `replay_steps` for one rule."""
    folder = cache_folder(rule)
    return specialise([replay_steps], {"rule": compile_rule(rule)}, folder)["replay_steps"]


@contextmanager
def compile_errors_named(*classes: type):
    """Turn numba's explanation of what it cannot compile into one line that names the file."""
    try:
        yield
    except NumbaError as error:
        own = [cls for cls in classes if not cls.__module__.startswith("stdp_run.")]
        if not own:
            raise
        names = ", ".join(f"{cls.__name__} in {inspect.getsourcefile(cls)}" for cls in own)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if not line.startswith(("Failed in", "During", "File"))), lines[0])
        switch = "event_module = None" if issubclass(own[0], Rule) else "compiled = False"
        raise UserError(
            f"engine=event: cannot compile {names}: {reason}; engine=torch may run it, "
            f"and {switch} in the class lets engine=auto choose it"
        ) from error


class EventEngine:
    """A network that learns from images one at a time and answers them on several threads."""

    name = "event"
    device = "cpu"
    batch_size = 1

    def __init__(self, model: Model, state: NetworkState, n_threads: int = 1):
        self.model = model
        self._n_threads = n_threads
        self._limits = model.encoder.thresholds
        self._neuron_parameters = cast(model.neuron_parameters, model.weight_dtype.type)
        self._rule_parameters = cast(model.rule_parameters, model.weight_dtype.type)
        # Rows are padded to whole vectors. The neurons that the padding stands for get no current and never fire.
        self._n_columns = padded(model.n_exc, LANE_BYTES // model.weight_dtype.itemsize)
        self._weight = np.zeros((model.n_inputs, self._n_columns), model.weight_dtype)
        self._weight[:, : model.n_exc] = state.weight.T
        self._theta = np.full(self._n_columns, model.neuron.initial(model.neuron_parameters)[1], model.theta_dtype)
        self._theta[: model.n_exc] = state.theta
        allocate = importlib.import_module(model.rule.event_module).allocate
        self._memory = allocate(model.rule, self._rule_parameters, self._weight, model.n_exc)
        self._kept = {name: getattr(self._memory, name) for name in state.persistent}
        for name, array in state.persistent.items():
            self._kept[name][:] = array
        self._present = compile_present(model.rule, model.neuron)
        self._scratch = [make_scratch(model, self._n_columns) for _ in range(n_threads)]
        self._compile()

    def _compile(self) -> None:
        """Compile now, by showing no image, so that the first images are not slower than the rest."""
        start = time.perf_counter()
        nothing = np.zeros((0, self.model.n_inputs), np.uint8)
        self._run(False, nothing, np.zeros(0, np.int64), 0, np.zeros(0), self._theta, self._scratch[0])
        if self._present.stats.cache_misses:
            log.info("compiled %s with %s: %.1f s, once", *self._names(), time.perf_counter() - start)

    def _names(self) -> tuple[str, str]:
        return self.model.rule.__name__, self.model.neuron.__name__

    def state(self) -> NetworkState:
        """Return a copy of all that persists."""
        kept = {name: array.copy() for name, array in self._kept.items()}
        n_exc = self.model.n_exc
        return NetworkState(self._weight[:, :n_exc].T.copy(), self._theta[:n_exc].copy(), kept)

    def learn(self, pixels: np.ndarray, image_index: np.ndarray, epoch: int, rate: np.ndarray) -> np.ndarray:
        """Show images with learning on; return the spike counts [N, E] int32.

        Args:
            pixels: uint8 [N, I].
            image_index: int64 [N], the place of each image in its data set.
            epoch: the pass over the data, from 0.
            rate: factor of the learning-rate schedule, [N].
        """
        return self._run(True, pixels, image_index, epoch, rate, self._theta, self._scratch[0])

    def count_spikes(self, pixels: np.ndarray, image_index: np.ndarray) -> np.ndarray:
        """Show images with learning off; return the spike counts [N, E] int32. Arguments as in `learn`."""
        counts = np.empty((len(pixels), self.model.n_exc), np.int32)
        rate = np.zeros(len(pixels))

        def work(worker: int) -> None:
            theta = self._theta.copy()
            for start in range(worker * IMAGES_PER_TASK, len(pixels), self._n_threads * IMAGES_PER_TASK):
                part = slice(start, start + IMAGES_PER_TASK)
                counts[part] = self._run(
                    False, pixels[part], image_index[part], 0, rate[part], theta, self._scratch[worker]
                )

        with ThreadPoolExecutor(self._n_threads) as pool:
            list(pool.map(work, range(self._n_threads)))
        return counts

    def _run(self, learning: bool, pixels, image_index, epoch: int, rate, theta, scratch) -> np.ndarray:
        counts = np.zeros((len(pixels), self.model.n_exc), np.int32)
        with compile_errors_named(self.model.rule, self.model.neuron):
            self._show(learning, pixels, image_index, epoch, rate, theta, scratch, counts)
        return counts

    def _show(self, learning, pixels, image_index, epoch, rate, theta, scratch, counts) -> None:
        self._present(
            self._neuron_parameters,
            self._rule_parameters,
            learning,
            np.ascontiguousarray(pixels),
            np.ascontiguousarray(image_index, np.int64),
            epoch,
            self.model.seed,
            SPIKES_LEARNING if learning else SPIKES_EVALUATING,
            self._limits,
            np.ascontiguousarray(rate, self.model.weight_dtype),
            self._weight,
            theta,
            self._memory,
            scratch,
            counts,
        )
