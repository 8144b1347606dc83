"""The event engine: one image at a time on the CPU, work only where there is a spike.

Of 784 inputs about 13 spike in a step, and few neurons fire in an image. With E neurons, A inputs that are not black
(about 150), S input spikes an image (about 3,200 in T = 250 steps), C contenders in V blocks of 8 and F output spikes:

    spikes      A T / 4 Philox counters, eight to a vector, and a few instructions a spike    stdp_run.engines.event.spike_sampling
    windows     about 800 rows of E weights, 4 E bytes each, of the S rows that the spikes    stdp_run.engines.event.subthreshold
                name one by one; about 12 passes over E neurons; A T masked additions, 16
                to a vector
    contenders  S V blocks of weights; per step one pass over V blocks of neurons, of which   stdp_run.engines.event.interval
                each waits for the one before
    learning    pair rules: S V blocks changed, F A V more at output spikes; per step one     stdp_run.engines.event.plasticity.pair
                chain from norm to norm; C columns of I weights read and written, a cache     stdp_run.engines.event.plasticity.pair_rows
                line each

Where windows do not hold (integer neurons, a rule that changes all weights at every input spike, a group of one's own
that does not say how it behaves between spikes) every neuron is advanced at every step: S rows of E weights, T passes
over E neurons (stdp_run.engines.event.stepwise). Memory: the weights once, and arrays of E or I numbers; what contenders need
is touched only by as many as there are.

No fused multiplication is used and vectors have one size on every processor, so results do not depend on it.
"""

import importlib
import inspect
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numba.core.errors import NumbaError

from stdp_run.elementwise import VECTOR_BYTES, zeros_for_vectors
from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING, philox
from stdp_run.engines.event import simd as vectors
from stdp_run.engines.event.interval import (
    ADMITTING,
    CONTENDING,
    PARTNERS,
    make_window_scratch,
    present_windows,
    takes_windows,
)
from stdp_run.engines.event.jit import cache_folder, compile_methods, namespace, one_process_compiling, specialise
from stdp_run.engines.event.plasticity import none as frozen
from stdp_run.engines.event.spike_sampling import DRAWING
from stdp_run.engines.event.stepwise import STEP_KERNELS, Instant, make_scratch, present
from stdp_run.engines.event.subthreshold import GATHERING, RESTING
from stdp_run.errors import UserError
from stdp_run.network import Encoder, Model, NetworkState
from stdp_run.neurons import NeuronGroup
from stdp_run.parameters import cast
from stdp_run.rules.base import Rule

log = logging.getLogger(__name__)

IMAGES_PER_TASK = 50

_compiling = ThreadPoolExecutor(1, thread_name_prefix="compiling")


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


@cache
def compile_rule(rule: type[Rule] | None) -> ModuleType:
    """Return the rule's elementwise functions and its event half, compiled together; without a rule, nothing learns."""
    half = importlib.import_module(rule.event_module) if rule else frozen
    elementwise = namespace("rule", compile_methods(rule) if rule else {})
    bindings = {"rule": elementwise, "vectors": vectors}
    functions = specialise((philox, *half.EVENT_FUNCTIONS), bindings, apart=getattr(half, "RARE", ()))
    return namespace("rule", {**functions, "LEARNS": rule is not None})


@cache
def compile_gathering() -> dict:
    """Return the kernels that are the same for all rules and neuron groups."""
    return specialise((*DRAWING, *GATHERING, *ADMITTING), {"vectors": vectors})


@cache
def compile_group(neuron: type[NeuronGroup]) -> tuple[ModuleType, dict]:
    """Return a neuron group's elementwise functions, and the kernels that use nothing else."""
    elementwise = namespace("neuron", compile_methods(neuron))
    return elementwise, specialise((*RESTING, *PARTNERS), {"neuron": elementwise, "vectors": vectors})


@cache
def compile_present(rule: type[Rule] | None, neuron: type[NeuronGroup], in_windows: bool):
    """Return `present`, or `present_windows`, for one rule or none and one neuron group."""
    folder = cache_folder(*filter(None, (rule, neuron)))
    elementwise, resting = compile_group(neuron)
    bindings = {
        "rule": compile_rule(rule),
        "neuron": elementwise,
        "vectors": vectors,
        **compile_gathering(),
    }
    kernels, function = (CONTENDING, present_windows) if in_windows else (STEP_KERNELS, present)
    inner = specialise(kernels, bindings)
    return specialise([function], {**bindings, **resting, **inner}, folder)[function.__name__]


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
        self._neuron_parameters = cast(model.neuron_parameters, model.weight_dtype.type)
        self._rule_parameters = cast(model.rule_parameters, model.weight_dtype.type)
        # Rows are padded to whole vectors. The neurons that the padding stands for get no current and never fire.
        lanes = VECTOR_BYTES // model.weight_dtype.itemsize
        self._n_columns = -(-model.n_exc // lanes) * lanes
        self._weight = zeros_for_vectors((model.n_inputs, self._n_columns), model.weight_dtype)
        self._weight[:, : model.n_exc] = state.weight.T
        self._theta = zeros_for_vectors(self._n_columns, model.theta_dtype)
        self._theta[:] = model.neuron.initial(model.neuron_parameters)[1]
        self._theta[: model.n_exc] = state.theta
        half = importlib.import_module(model.rule.event_module)
        self._memory = half.allocate(model.rule, self._rule_parameters, self._weight, model.n_exc)
        self._kept = {name: getattr(self._memory, name) for name in state.persistent}
        for name, array in state.persistent.items():
            self._kept[name][:] = array
        has_contenders = hasattr(half, "learn_contenders")
        self._learning = self._way(model, model.rule, has_contenders, 1)
        answering = replace(model, encoder=model.inference_encoder)
        if has_contenders or takes_windows(model):
            self._counting = self._way(answering, None, True, n_threads)
        else:
            self._counting = self._way(answering, model.rule, False, n_threads)
        self._compile(learning=True)
        # Nobody is counted before something is learned, as a rule: this can be compiled while that goes on.
        self._can_count = _compiling.submit(self._compile, learning=False)

    def _way(self, model: Model, rule: type[Rule] | None, in_windows: bool, n_threads: int) -> "Way":
        """Return how images are shown, with a rule or without."""
        shape = (model.n_inputs, self._n_columns, model.weight_dtype)
        p = self._neuron_parameters
        return Way(
            encoder=model.encoder,
            present=compile_present(rule, model.neuron, in_windows),
            rule_parameters=self._rule_parameters if rule else 0,
            memory=[self._memory if rule else frozen.make_frozen(*shape) for _ in range(n_threads)],
            scratch=[
                make_window_scratch(model, p, rule is not None, self._n_columns, (self._weight >= 0).all())
                if in_windows
                else make_scratch(model, self._n_columns)
                for _ in range(n_threads)
            ],
        )

    def _compile(self, learning: bool) -> None:
        """Compile by showing no image, so that the first images are not slower than the rest."""
        way, what = (self._learning, "learning") if learning else (self._counting, "counting spikes")
        no_images, none = np.zeros((0, self.model.n_inputs), np.uint8), np.zeros(0)
        names = self.model.rule.__name__, self.model.neuron.__name__
        with one_process_compiling(what, self.model.rule, self.model.neuron):
            start, before = time.perf_counter(), way.present.stats.cache_misses.total()
            self._run(learning, no_images, none, 0, none, none, self._theta)
        if way.present.stats.cache_misses.total() > before:
            log.info("compiled %s with %s for %s: %.1f s, once", *names, what, time.perf_counter() - start)

    def state(self) -> NetworkState:
        """Return a copy of all that persists."""
        kept = {name: array.copy() for name, array in self._kept.items()}
        n_exc = self.model.n_exc
        return NetworkState(self._weight[:, :n_exc].T.copy(), self._theta[:n_exc].copy(), kept)

    def learn(
        self,
        pixels: np.ndarray,
        image_index: np.ndarray,
        epoch: int,
        rate: np.ndarray,
        learners: np.ndarray | None = None,
    ) -> np.ndarray:
        """Show images with learning on; return the spike counts [N, E] int32.

        Args:
            pixels: uint8 [N, I].
            image_index: int64 [N], the place of each image in its data set.
            epoch: the pass over the data, from 0.
            rate: factor of the learning-rate schedule, [N].
            learners: neurons that may learn from each image, [N]; None: the model's `max_learners`.
        """
        if learners is None:
            learners = np.full(len(pixels), self.model.max_learners or 0)
        return self._run(True, pixels, image_index, epoch, rate, learners, self._theta)

    def count_spikes(self, pixels: np.ndarray, image_index: np.ndarray) -> np.ndarray:
        """Show images with learning off; return the spike counts [N, E] int32. Arguments as in `learn`."""
        self._can_count.result()
        counts = np.zeros((len(pixels), self.model.n_exc), np.int32)
        unused = np.zeros(len(pixels))

        def work(worker: int) -> None:
            theta = self._theta.copy()
            for start in range(worker * IMAGES_PER_TASK, len(pixels), self._n_threads * IMAGES_PER_TASK):
                part = slice(start, start + IMAGES_PER_TASK)
                for show in range(self.model.n_presentations):
                    counts[part] += self._run(
                        False, pixels[part], image_index[part], show, unused[part], unused[part], theta, worker
                    )

        with ThreadPoolExecutor(self._n_threads) as pool:
            list(pool.map(work, range(self._n_threads)))
        return counts

    def _run(self, learning: bool, pixels, image_index, epoch: int, rate, learners, theta, worker: int = 0):
        way = self._learning if learning else self._counting
        counts = np.zeros((len(pixels), self.model.n_exc), np.int32)
        with compile_errors_named(self.model.rule, self.model.neuron):
            way.present(
                self._neuron_parameters,
                way.rule_parameters,
                learning,
                way.memory[worker],
                way.scratch[worker],
                np.ascontiguousarray(way.encoder.prepare(pixels)),
                np.ascontiguousarray(image_index, np.int64),
                epoch,
                self.model.seed,
                SPIKES_LEARNING if learning else SPIKES_EVALUATING,
                way.encoder.thresholds_by_repeat,
                way.encoder.min_spikes,
                np.ascontiguousarray(rate, self.model.weight_dtype),
                np.ascontiguousarray(learners, np.int64),
                self._weight,
                theta,
                counts,
            )
        return counts


class Way(NamedTuple):
    """How images are shown: the compiled function, and what each thread works with."""

    encoder: Encoder
    present: Callable
    rule_parameters: tuple | int
    memory: list[tuple]
    scratch: list[tuple]
