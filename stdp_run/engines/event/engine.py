"""The event engine: one image at a time on the CPU, work only where there is a spike. README.md is its guide."""

import inspect
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numba.core.errors import NumbaError

from stdp_run.elementwise import VECTOR_BYTES, zeros_for_vectors
from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING
from stdp_run.engines.event.interval import has_intervals, make_interval_scratch, present_intervals
from stdp_run.engines.event.jit import Bindings, Kernel, Namespace, methods, once, specialise
from stdp_run.engines.event.plasticity import IntervalFunctions, implementation_of, none
from stdp_run.engines.event.presentation import Images, Network, Presentation
from stdp_run.engines.event.stepwise import make_scratch, present_stepwise
from stdp_run.errors import UserError
from stdp_run.network import Encoder, Model, NetworkState
from stdp_run.neurons import NeuronGroup
from stdp_run.parameters import cast
from stdp_run.rules.base import Rule

log = logging.getLogger(__name__)

IMAGES_PER_TASK = 50

_compiling = ThreadPoolExecutor(1, thread_name_prefix="compiling")


@once
def compile_kernel(rule: type[Rule] | None, neuron: type[NeuronGroup]) -> Kernel:
    """Return the kernel that presents images to a neuron group, with a rule or with learning off."""
    functions: Any = none.FUNCTIONS
    bindings: Bindings = {}
    if rule is not None:
        implementation = implementation_of(rule)
        assert implementation is not None, f"{rule} was chosen for the event engine"
        functions, bindings = implementation.functions, {"rule": methods("rule", rule)}
    compiled = {name: specialise(function, bindings) for name, function in vars(functions).items()}
    present = present_intervals if isinstance(functions, IntervalFunctions) else present_stepwise
    return Kernel(present, {"plasticity": Namespace("plasticity", compiled), "neuron": methods("neuron", neuron)})


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

    learning: bool
    encoder: Encoder
    thresholds: np.ndarray  # [R, 256] of the encoder
    kernel: Kernel
    networks: list[Network]  # of one weight[I, E]
    scratch: list[Any]


class EventEngine:
    """A network that learns from images one at a time; with learning off they are presented on several threads."""

    name = "event"
    device = "cpu"
    batch_size = 1

    def __init__(self, model: Model, state: NetworkState, n_threads: int = 1):
        self.model = model
        self._n_threads = n_threads
        dtype = model.weight_dtype
        self._neuron_parameters = cast(model.neuron_parameters, dtype.type)
        rule_parameters = cast(model.rule_parameters, dtype.type)
        # Rows are padded to whole vectors. The neurons that the padding stands for get no current and never fire.
        lanes = VECTOR_BYTES // dtype.itemsize
        self._n_columns = -(-model.n_exc // lanes) * lanes
        self._weight = zeros_for_vectors((model.n_inputs, self._n_columns), dtype)
        self._weight[:, : model.n_exc] = state.weight.T
        self._theta = zeros_for_vectors(self._n_columns, model.theta_dtype)
        self._theta[:] = model.neuron.initial(model.neuron_parameters)[1]
        self._theta[: model.n_exc] = state.theta
        implementation = implementation_of(model.rule)
        assert implementation is not None, f"{model.rule} was chosen for the event engine"
        memory = implementation.allocate(model.rule, rule_parameters, self._weight, model.n_exc)
        self._persistent = implementation.persistent(memory)
        for name, array in state.persistent.items():
            self._persistent[name][:] = array

        learning = Network(self._neuron_parameters, rule_parameters, memory, self._weight, self._theta)
        self._learning = self._presenter(True, model.rule, [learning])
        # Where only a rule made for single steps stands in the way of intervals, there is none with learning off.
        without_rule = isinstance(implementation.functions, IntervalFunctions) or has_intervals(model)
        inference = [learning._replace(theta=self._theta.copy()) for _ in range(n_threads)]
        if without_rule:
            shape = model.n_inputs, self._n_columns, dtype
            inference = [each._replace(rule_parameters=0, memory=none.allocate(*shape)) for each in inference]
        self._inference = self._presenter(False, None if without_rule else model.rule, inference)
        self._compile(self._learning)
        # Inference begins, as a rule, after some learning: it can be compiled while that goes on.
        self._inference_compiled = _compiling.submit(self._compile, self._inference)

    def _presenter(self, learning: bool, rule: type[Rule] | None, networks: list[Network]) -> Presenter:
        model = self.model if learning else replace(self.model, encoder=self.model.inference_encoder)
        kernel = compile_kernel(rule, model.neuron)
        make: Callable = partial(make_scratch, model, self._n_columns)
        if kernel.function is present_intervals:
            all_excite = bool((self._weight >= 0).all())
            make = partial(make_interval_scratch, model, self._neuron_parameters, learning, self._n_columns, all_excite)
        thresholds = model.encoder.thresholds_by_repeat
        return Presenter(learning, model.encoder, thresholds, kernel, networks, [make() for _ in networks])

    def _compile(self, presenter: Presenter) -> None:
        """Compile by presenting no image, so that the first images are not slower than the rest."""
        names = self.model.rule.__name__, self.model.neuron.__name__
        nothing = self._images(presenter, np.zeros((0, self.model.n_inputs), np.uint8), np.zeros(0))
        start = time.perf_counter()
        with compile_errors_named(self.model.rule, self.model.neuron):
            is_new = presenter.kernel.compile(*self._arguments(presenter, nothing, 0))
        if is_new:
            what = "learning" if presenter.learning else "inference"
            log.info("compiled %s with %s for %s: %.1f s, once", *names, what, time.perf_counter() - start)

    def state(self) -> NetworkState:
        """Return a copy of all that persists."""
        persistent = {name: array.copy() for name, array in self._persistent.items()}
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
            max_learners = np.full(len(pixels), self.model.max_learners or 0)
        images = self._images(self._learning, pixels, image_index, rate, max_learners)
        self._learning.kernel(*self._arguments(self._learning, images, epoch))
        return images.counts

    def count_spikes(self, pixels: np.ndarray, image_index: np.ndarray) -> np.ndarray:
        """Present images with learning off; return the spike counts [N, E] int32. Arguments as in `InferenceBatch`."""
        self._inference_compiled.result()
        presenter = self._inference
        counts = np.zeros((len(pixels), self.model.n_exc), np.int32)

        def work(thread: int) -> None:
            presenter.networks[thread].theta[:] = self._theta
            for start in range(thread * IMAGES_PER_TASK, len(pixels), self._n_threads * IMAGES_PER_TASK):
                part = slice(start, start + IMAGES_PER_TASK)
                for number in range(self.model.n_presentations):
                    images = self._images(presenter, pixels[part], image_index[part])
                    presenter.kernel(*self._arguments(presenter, images, number, thread))
                    counts[part] += images.counts

        with ThreadPoolExecutor(self._n_threads) as pool:
            list(pool.map(work, range(self._n_threads)))
        return counts

    def _images(
        self, presenter: Presenter, pixels: np.ndarray, image_index: np.ndarray, *schedule: np.ndarray
    ) -> Images:
        """Return images as a kernel takes them, without counts; `schedule` is (rate, max_learners) where it learns."""
        n = len(pixels)
        rate, max_learners = schedule or (np.zeros(n), np.zeros(n))
        return Images(
            np.ascontiguousarray(presenter.encoder.prepare(pixels)),
            np.ascontiguousarray(image_index, np.int64),
            np.ascontiguousarray(rate, self.model.weight_dtype),
            np.ascontiguousarray(max_learners, np.int64),
            np.zeros((n, self.model.n_exc), np.int32),
        )

    def _arguments(self, presenter: Presenter, images: Images, epoch: int, thread: int = 0) -> tuple:
        """Return what a kernel is called with, to present images on a thread."""
        stream, seed = SPIKES_LEARNING if presenter.learning else SPIKES_EVALUATING, self.model.seed
        thresholds, min_spikes = presenter.thresholds, presenter.encoder.min_spikes
        presentation = Presentation(presenter.learning, epoch, seed, stream, thresholds, min_spikes)
        return presenter.networks[thread], images, presentation, presenter.scratch[thread]
