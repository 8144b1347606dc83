"""The event engine: one image at a time on the CPU, work only where there is a spike. README.md is its guide."""

import inspect
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba.core.errors import NumbaError

from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING
from stdp_run.engines.event.conductance import make_cells, make_conductance_scratch, present_to_conductances
from stdp_run.engines.event.delayed_input import make_delays
from stdp_run.engines.event.interval import has_intervals, make_interval_scratch, present_in_intervals
from stdp_run.engines.event.jit import Bindings, Kernel, methods, namespace
from stdp_run.engines.event.plasticity import (
    ConductanceFunctions,
    Functions,
    IntervalFunctions,
    delayed_memory,
    functions_of,
    implementation_of,
    none,
)
from stdp_run.engines.event.presentation import Images, Network, Presentation, present
from stdp_run.engines.event.sampling_ahead import SamplingAhead
from stdp_run.engines.event.spike_sampling import SpikeTrain, make_trains
from stdp_run.engines.event.stepwise import make_scratch, present_stepwise
from stdp_run.engines.event.vectors import VECTOR_BYTES, zeros_for_vectors
from stdp_run.errors import UserError
from stdp_run.network import Encoder, Model, NetworkState
from stdp_run.neurons import NeuronGroup
from stdp_run.parameters import cast
from stdp_run.rules.base import Rule

log = logging.getLogger(__name__)

LEAST_PER_TASK = 50  # images
INPUTS_PER_TASK = 2**20  # times steps: handing over small images would take longer than presenting them

_compiling = ThreadPoolExecutor(1, thread_name_prefix="compiling")


@cache
def compile_kernel(functions: Functions, rule: type[Rule] | None, neuron: type[NeuronGroup]) -> Kernel:
    """Return the kernel that presents images to a neuron group; without a rule where learning is off."""
    of_rule: Bindings = {"rule": methods(rule)} if rule else {}
    present_image = present_in_intervals if isinstance(functions, IntervalFunctions) else present_stepwise
    if isinstance(functions, ConductanceFunctions):
        present_image = present_to_conductances
        of_rule = {**of_rule, "synapse": namespace({"updated": functions.updated}, of_rule)}
    bindings = {"plasticity": namespace(vars(functions), of_rule), "neuron": methods(neuron)}
    return Kernel(present, {"kernel": namespace({"present_image": present_image}, bindings)})


@contextmanager
def compile_errors_named(*classes: type) -> Iterator[None]:
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
        switch = "compiled = None" if issubclass(own[0], Rule) else "compiled = False"
        raise UserError(
            f"engine=event: cannot compile {names}: {reason}; engine=torch may run it, "
            f"and {switch} in the class lets engine=auto choose it"
        ) from error


class Presenter(NamedTuple):
    """What presents images with learning on, or off: a compiled kernel, and what each thread hands it."""

    kernel: Kernel
    encoder: Encoder
    n_exc: int
    presentation: Presentation  # but for the epoch
    networks: list[Network]  # of one weight[I, E]
    trains: list[SpikeTrain]
    scratch: list[Any]

    def images(self, pixels: np.ndarray, image_index: np.ndarray, *schedule: np.ndarray) -> Images:
        """Return images as the kernel takes them; `schedule` is (rate, max_learners) where it learns."""
        n = len(pixels)
        rate, max_learners = schedule or (np.zeros(n), np.zeros(n))
        weight, counts = self.networks[0].weight, np.zeros((n, self.n_exc), np.int32)
        return Images(
            np.ascontiguousarray(self.encoder.prepare(pixels)),
            np.ascontiguousarray(image_index, np.int64),
            np.ascontiguousarray(rate, weight.dtype),
            np.ascontiguousarray(max_learners, np.int64),
            counts,
        )

    def arguments(self, thread: int, images: Images, epoch: int) -> tuple:
        """Return what the kernel is called with on a thread."""
        presentation = self.presentation._replace(epoch=epoch)
        return self.networks[thread], images, presentation, self.trains[thread], self.scratch[thread]

    def present(self, thread: int, images: Images, epoch: int) -> np.ndarray:
        """Present images on a thread; return the spike counts [N, E] int32."""
        self.kernel(*self.arguments(thread, images, epoch))
        return images.counts


class EventEngine:
    """A network that learns from images one at a time, while a second thread samples the spikes of the next ones.

    With learning off, images are presented on several threads.
    """

    name = "event"
    device = "cpu"
    batch_size = 1

    def __init__(self, model: Model, state: NetworkState, n_threads: int = 1):
        self.model = model
        self._n_threads = n_threads
        per_image = model.n_inputs * model.inference_encoder.n_steps
        self._images_per_task = max(LEAST_PER_TASK, INPUTS_PER_TASK // per_image)
        self.inference_batch = 5 * self._images_per_task * n_threads
        dtype = model.weight_dtype
        neuron_parameters = cast(model.neuron_parameters, dtype.type)
        rule_parameters = cast(model.rule_parameters, dtype.type)
        # Rows are padded to whole vectors. What the neurons that the padding stands for do is never looked at.
        lanes = VECTOR_BYTES // dtype.itemsize
        n_columns = -(-model.n_exc // lanes) * lanes
        self._weight = zeros_for_vectors((model.n_inputs, n_columns), dtype)
        self._weight[:, : model.n_exc] = state.weight.T
        self._theta = zeros_for_vectors(n_columns, model.theta_dtype)
        self._theta[:] = model.neuron.initial(model.neuron_parameters)[1]
        self._theta[: model.n_exc] = state.theta
        functions = functions_of(model.rule, model.neuron)
        assert functions is not None, f"{model.rule} was chosen for the event engine"
        memory, self._persistent = self._memory_for(functions, rule_parameters)
        self._names = list(state.persistent)
        for name, array in state.persistent.items():
            self._persistent[name][...] = array

        learning = Network(neuron_parameters, rule_parameters, memory, self._weight, self._theta)
        self._learning = self._presenter(True, functions, [learning])
        self._ahead: SamplingAhead | None = None
        if n_threads > 1:
            no_images, encoder = self._no_images(self._learning), self._learning.encoder
            self._ahead = SamplingAhead(encoder.n_steps, no_images, self._learning.presentation)
        inference = [
            Network(neuron_parameters, 0, memory, self._weight, theta)
            for memory, theta in zip(
                self._inference_memories(functions, memory), np.tile(self._theta, (n_threads, 1)), strict=True
            )
        ]
        # Where only a rule made for single steps stands in the way of intervals, there is none with learning off.
        in_intervals = isinstance(functions, IntervalFunctions) or has_intervals(model)
        if isinstance(functions, ConductanceFunctions):
            nothing_learns: Functions = none.WITH_CONDUCTANCES
        else:
            nothing_learns = none.IN_INTERVALS if in_intervals else none.STEPWISE
        self._inference = self._presenter(False, nothing_learns, inference)
        self._compile(self._learning)
        # Inference begins, as a rule, after some learning: it can be compiled while that goes on.
        self._inference_compiled = _compiling.submit(self._compile, self._inference)

    def _memory_for(self, functions: Functions, rule_parameters: Any) -> tuple[Any, dict[str, np.ndarray]]:
        """Return what the rule works with, and by name the arrays in it that last from image to image."""
        model = self.model
        implementation = implementation_of(model.rule)
        assert implementation is not None
        if not isinstance(functions, ConductanceFunctions):
            memory = implementation.allocate(model.rule, rule_parameters, self._weight, model.n_exc)
            return memory, implementation.persistent(memory)
        memory = delayed_memory.allocate(model, self._weight, make_delays(model, len(self._theta)))
        return memory, delayed_memory.running(memory, model.n_exc, model.n_inputs)

    def _inference_memories(self, functions: Functions, memory: Any) -> list[Any]:
        """Return what each thread works with where nothing learns; `memory` is what the rule works with."""
        n_columns, dtype = len(self._theta), self.model.weight_dtype
        if isinstance(functions, ConductanceFunctions):
            cells = (make_cells(self.model, n_columns) for _ in range(self._n_threads))
            return [delayed_memory.InferenceMemory(each, memory.delays) for each in cells]
        return [none.allocate(self.model.n_inputs, n_columns, dtype) for _ in range(self._n_threads)]

    def _presenter(self, learning: bool, functions: Any, networks: list[Network]) -> Presenter:
        model = self.model if learning else replace(self.model, encoder=self.model.inference_encoder)
        make: Any = make_interval_scratch if isinstance(functions, IntervalFunctions) else make_scratch
        if isinstance(functions, ConductanceFunctions):
            make = make_conductance_scratch
        encoder, stream = model.encoder, SPIKES_LEARNING if learning else SPIKES_EVALUATING
        return Presenter(
            compile_kernel(functions, model.rule if learning else None, model.neuron),
            encoder,
            model.n_exc,
            Presentation(learning, 0, model.seed, stream, encoder.thresholds_by_repeat, encoder.min_spikes, False),
            networks,
            [make_trains(1, encoder.n_steps, model.n_inputs) for _ in networks],
            [make(model, learning, network) for network in networks],
        )

    def _no_images(self, presenter: Presenter) -> Images:
        return presenter.images(np.zeros((0, self.model.n_inputs), np.uint8), np.zeros(0))

    def _compile(self, presenter: Presenter) -> None:
        """Compile by presenting no image, so that the first images are not slower than the rest."""
        names = self.model.rule.__name__, self.model.neuron.__name__
        start = time.perf_counter()
        with compile_errors_named(self.model.rule, self.model.neuron):
            is_new = presenter.kernel.compile(*presenter.arguments(0, self._no_images(presenter), 0))
        if is_new:
            what = "learning" if presenter.presentation.learning else "inference"
            log.info("compiled %s with %s for %s: %.1f s, once", *names, what, time.perf_counter() - start)

    def state(self) -> NetworkState:
        """Return a copy of all that persists."""
        persistent = {name: self._persistent[name].copy() for name in self._names}
        n_exc = self.model.n_exc
        return NetworkState(self._weight[:, :n_exc].T.copy(), self._theta[:n_exc].copy(), persistent)

    def learn(
        self,
        pixels: np.ndarray,
        image_index: np.ndarray,
        epoch: int,
        rate: np.ndarray,
        max_learners: np.ndarray | None = None,
    ) -> np.ndarray:
        """Present images with learning on; return the spike counts [N, E] int32. Arguments as in `TrainingBatch`."""
        if max_learners is None:
            max_learners = np.full(len(pixels), self.model.k_winners or 0)
        presenter = self._learning

        def images(part: slice) -> Images:
            return presenter.images(pixels[part], image_index[part], rate[part], max_learners[part])

        if self._ahead is None or len(pixels) == 0:
            return presenter.present(0, images(slice(None)), epoch)
        [network], [scratch] = presenter.networks, presenter.scratch
        presentation = presenter.presentation._replace(epoch=epoch, sampled=True)
        counts = []
        for part, trains in self._ahead.sampled(images, len(pixels), presentation):
            presenter.kernel(network, part, presentation, trains, scratch)
            counts.append(part.counts)
        return np.concatenate(counts)

    def count_spikes(self, pixels: np.ndarray, image_index: np.ndarray) -> np.ndarray:
        """Present images with learning off; return the spike counts [N, E] int32. Arguments as in `InferenceBatch`."""
        self._inference_compiled.result()
        presenter, per_task = self._inference, self._images_per_task
        counts = np.zeros((len(pixels), self.model.n_exc), np.int32)

        def work(thread: int) -> None:
            presenter.networks[thread].theta[:] = self._theta
            for start in range(thread * per_task, len(pixels), self._n_threads * per_task):
                part = slice(start, start + per_task)
                for number in range(self.model.n_presentations):
                    images = presenter.images(pixels[part], image_index[part])
                    counts[part] += presenter.present(thread, images, number)

        with ThreadPoolExecutor(self._n_threads) as pool:
            list(pool.map(work, range(self._n_threads)))
        return counts
