"""The event engine: one image at a time on the CPU, with work only at spikes (docs/develop/event_engine.md)."""

import inspect
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING
from stdp_run.engines.base import INPUTS, Array, as_views
from stdp_run.engines.event import every_step, interval
from stdp_run.engines.event.delays import DELAYED, PROMPT
from stdp_run.engines.event.jit import Kernel, compiling, methods, namespace
from stdp_run.engines.event.learning import NOTHING_LEARNS, Implementation, implementation_for
from stdp_run.engines.event.presentation import Images, Network, Presentation, present
from stdp_run.engines.event.sampling import SamplingAhead, SpikeTrain, make_trains
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, zeros_for_vectors
from stdp_run.errors import UserError
from stdp_run.network import Model, NetworkState
from stdp_run.neurons import ConductanceGroup, NeuronGroup
from stdp_run.parameters import cast
from stdp_run.rules.base import Rule

log = logging.getLogger(__name__)

LEAST_PER_TASK = 50  # images
INPUTS_PER_TASK = 2**20  # inputs times steps; a smaller task takes longer to hand over than to present


@cache
def compile_kernel(
    implementation: Implementation, rule: type[Rule] | None, neuron: type[NeuronGroup], has_delays: bool
) -> Kernel:
    """Return the kernel that presents images to a neuron group; `rule` is None with learning off."""
    of_rule = {"rule": methods(rule)} if rule else {}
    synapse = namespace(DELAYED if has_delays else PROMPT, {})
    functions = namespace(implementation.functions(), {**of_rule, "synapse": synapse})
    bindings = {"implementation": functions, "neuron": methods(neuron)}
    if implementation.kernel == "interval":
        present_image = interval.present_in_intervals
    else:
        present_image = every_step.present_every_step
        inputs = every_step.CONDUCTANCES if issubclass(neuron, ConductanceGroup) else every_step.CURRENTS
        collect = every_step.collect_delayed if has_delays else every_step.collect_now
        bindings["group"] = namespace({**inputs, "collect": collect}, bindings)
    return Kernel(present, {"kernel": namespace({"present_image": present_image}, bindings)})


@contextmanager
def compile_errors_named(*classes: type) -> Iterator[None]:
    """Turn numba's explanation of a compile error into one line that names the file."""
    try:
        yield
    except NumbaError as error:
        own = [cls for cls in classes if not cls.__module__.startswith("stdp_run.")]
        if not own:
            raise
        names = ", ".join(f"{cls.__name__} in {inspect.getsourcefile(cls)}" for cls in own)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if not line.startswith(("Failed in", "During", "File"))), lines[0])
        switch = "compiled = None" if issubclass(own[0], Rule) else "compiled = False"
        raise UserError(
            f"engine=event: cannot compile {names}: {reason}; engine=torch may run it, "
            f"and {switch} in the class lets engine=auto choose it"
        ) from error


class Presenter:
    """A compiled kernel that presents images, with learning on or off, and the working memory of each thread."""

    def __init__(self, model: Model, implementation: Implementation, networks: list[Network], learning: bool):
        self.networks = networks  # one per thread; they share weight[I, E]
        self.encoder = model.encoder if learning else model.inference_encoder
        self.kernel = compile_kernel(
            implementation, model.rule if learning else None, model.neuron, model.delays is not None
        )
        self.presentation = Presentation(
            learning=learning,
            epoch=0,
            seed=model.seed,
            stream=SPIKES_LEARNING if learning else SPIKES_EVALUATING,
            thresholds=self.encoder.thresholds_by_repeat,
            min_spikes=self.encoder.min_spikes,
            rest_steps=self.encoder.rest_steps if learning else 0,
            all_inputs=np.arange(model.n_inputs if model.runs_on else 0, dtype=np.uint32),
            sampled=False,
        )
        self.trains = [make_trains(1, self.encoder.n_steps, model.n_inputs) for _ in networks]
        block = VECTOR_BYTES // model.weight_dtype.itemsize if implementation.whole_vectors else BLOCK
        make_scratch = (interval if implementation.kernel == "interval" else every_step).make_scratch
        self.scratch = [make_scratch(model, learning, network, block) for network in networks]
        self._n_exc = model.n_exc

    def images(self, pixels: np.ndarray, image_index: np.ndarray, *schedule: np.ndarray) -> Images:
        """Return the images of a kernel call; `schedule` is (rate, k_winners) with learning on, else empty."""
        n = len(pixels)
        rate, k_winners = schedule or (np.zeros(n), np.zeros(n))
        return Images(
            np.ascontiguousarray(self.encoder.prepare(pixels)),
            np.ascontiguousarray(image_index, np.int64),
            np.ascontiguousarray(rate, self.networks[0].weight.dtype),
            np.ascontiguousarray(k_winners, np.int64),
            np.zeros((n, self._n_exc), np.int32),
            np.zeros(INPUTS + len(self.networks[0].weight), np.int64),
        )

    def arguments(self, images: Images, epoch: int = 0, thread: int = 0, trains: SpikeTrain | None = None) -> tuple:
        """Return the arguments of the kernel; `trains` holds spikes sampled ahead, None: sample now."""
        presentation = self.presentation._replace(epoch=epoch, sampled=trains is not None)
        return self.networks[thread], images, presentation, trains or self.trains[thread], self.scratch[thread]


class EventEngine:
    """One network on the event engine (`stdp_run.engines.base.Engine`).

    It learns from one image at a time, while a second thread samples the spikes of the next images. With learning off,
    all threads present images.
    """

    name, device = "event", "cpu"

    def __init__(self, model: Model, state: NetworkState, n_threads: int = 1):
        self.model = model
        self._n_threads = n_threads
        per_image = model.n_inputs * model.inference_encoder.n_steps
        self._images_per_task = max(LEAST_PER_TASK, INPUTS_PER_TASK // per_image)
        self.inference_batch = 5 * self._images_per_task * n_threads
        dtype, n_exc = model.weight_dtype, model.n_exc
        # Rows are padded to whole vectors; results of the padding are ignored.
        lanes = VECTOR_BYTES // dtype.itemsize
        n_columns = -(-n_exc // lanes) * lanes
        self._weight = zeros_for_vectors((model.n_inputs, n_columns), dtype)
        self._weight[:, :n_exc] = state.weight.T
        self._theta = zeros_for_vectors(n_columns, model.theta_dtype)
        self._theta[:] = model.neuron.initial(model.neuron_parameters)[1]
        self._theta[:n_exc] = state.theta
        implementation = implementation_for(model.rule, model.neuron)
        assert implementation is not None, f"{model.rule} was chosen for the event engine"
        if implementation.kernel == "interval" and not self._has_intervals(model.neuron_parameters):
            implementation = replace(implementation, kernel="every_step")
        constants = model.neuron_parameters, model.inference_parameters, model.rule_parameters
        of_neuron, of_inference, of_rule = (cast(each, dtype.type) for each in constants)
        longest_delay = (0 if model.delays is None else int(model.delays.max())) if model.runs_on else None
        memory = implementation.allocate(model.rule, of_rule, self._weight, n_exc, longest_delay)
        learning = Network(of_neuron, of_rule, memory, self._weight, self._theta)
        self._learning = Presenter(model, implementation, [learning], True)
        self._implementation, self._names = implementation, list(state.persistent)
        persistent = self._persistent()
        for name, array in state.persistent.items():
            persistent[name][...] = array

        inference = [Network(of_inference, 0, 0, self._weight, theta) for theta in np.tile(self._theta, (n_threads, 1))]
        has_intervals = self._has_intervals(model.inference_parameters)
        nothing_learns = NOTHING_LEARNS["interval" if has_intervals else "every_step"]
        self._inference = Presenter(model, nothing_learns, inference, False)
        self._activity = np.zeros((n_threads, INPUTS + model.n_inputs), np.int64)  # as `Images.activity`
        # Compiling presents no image. The inference kernel compiles in the background while the network learns.
        no_images = np.zeros((0, model.n_pixels), np.uint8), np.zeros(0)
        compiling.submit(self._compile, "learning", self._learning, no_images).result()
        sampling = model.encoder.n_steps, self._learning.images(*no_images), self._learning.presentation
        self._ahead = SamplingAhead(*sampling) if n_threads > 1 else None
        self._inference_compiled = compiling.submit(self._compile, "inference", self._inference, no_images)

    def _persistent(self) -> dict[str, np.ndarray]:
        """Return the persistent arrays by name: the rule's and, in a network that runs on, the neurons'."""
        [network], [scratch], n_exc = self._learning.networks, self._learning.scratch, self.model.n_exc
        cells = scratch.cells._asdict() if self.model.runs_on else {}
        of_neurons = {name: array[:n_exc] for name, array in cells.items()}
        return of_neurons | self._implementation.persistent(network.memory, n_exc)

    def _has_intervals(self, neuron_parameters: Any) -> bool:
        """Return whether intervals are valid: linear neurons, w_ie >= 0, and no negative weight."""
        model = self.model
        stays_positive = getattr(model.rule_parameters, "w_min", 0) >= 0 and (self._weight >= 0).all()
        return model.neuron.is_linear() and neuron_parameters.w_ie >= 0 and bool(stays_positive)

    def _compile(self, purpose: str, presenter: Presenter, no_images: tuple) -> None:
        parts = self.model.rule, self.model.neuron
        with compile_errors_named(*parts):
            seconds = presenter.kernel.compile(purpose, *presenter.arguments(presenter.images(*no_images)))
        if seconds:
            log.info("compiled %s with %s for %s: %.1f s, once", *(each.__name__ for each in parts), purpose, seconds)

    def state(self) -> NetworkState:
        persistent, n_exc = self._persistent(), self.model.n_exc
        persistent = {name: persistent[name].copy() for name in self._names}
        return NetworkState(self._weight[:, :n_exc].T.copy(), self._theta[:n_exc].copy(), persistent)

    def learn(
        self, pixels: Array, image_index: Array, epoch: int, rate: Array, k_winners: Array | None = None
    ) -> Array:
        if k_winners is None:
            k_winners = np.full(len(pixels), self.model.k_winners or 0)
        presenter, counts = self._learning, [np.zeros((0, self.model.n_exc), np.int32)]

        def images(part: slice) -> Images:
            return presenter.images(pixels[part], image_index[part], rate[part], k_winners[part])

        ahead, presentation, everything = self._ahead, presenter.presentation._replace(epoch=epoch), slice(None)
        parts: Any = ahead.sampled(images, len(pixels), presentation) if ahead else [(images(everything), None)]
        for part, trains in parts:
            presenter.kernel(*presenter.arguments(part, epoch, trains=trains))
            counts.append(part.counts)
        return np.concatenate(counts)

    def count_spikes(self, pixels: Array, image_index: Array) -> Array:
        self._inference_compiled.result()
        views = as_views(pixels)
        presenter, per_task = self._inference, self._images_per_task
        counts = np.zeros((len(image_index), self.model.n_exc), np.int32)

        def work(thread: int) -> None:
            presenter.networks[thread].theta[:] = self._theta
            for start in range(thread * per_task, len(counts), self._n_threads * per_task):
                part = slice(start, start + per_task)
                for number in range(self.model.n_presentations):
                    images = presenter.images(views[number % len(views), part], image_index[part])
                    presenter.kernel(*presenter.arguments(images, number, thread))
                    counts[part] += images.counts
                    self._activity[thread] += images.activity

        with ThreadPoolExecutor(self._n_threads) as pool:
            list(pool.map(work, range(self._n_threads)))
        return counts

    def take_activity(self) -> Array:
        taken = self._activity.sum(axis=0)
        self._activity[:] = 0
        return taken
