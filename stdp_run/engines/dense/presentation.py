"""Presenting images to one network, or to several stacked, in chunks of steps that a CUDA graph can record.

All that the steps read and write stays in place: what persists, the state during the images, and what tells one batch
of images from the next (`Batch`). So a chunk is recorded once and replayed for every batch. A chunk ends with copying
its results over what it began with: weights are written once per chunk and not once per step, which for the chunk
lengths below is small beside the steps themselves.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from stdp_run import network
from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING, Encoder, rounding_words
from stdp_run.engines.base import Array
from stdp_run.engines.dense.cuda_graphs import recorded
from stdp_run.engines.dense.spike_sampling import sampler
from stdp_run.network import ImageState, Model, NetworkState, Plasticity
from stdp_run.rules.reduction import Reduction

# Steps, a multiple of the four that share a random counter. Few keep their spikes in a CPU's caches, many make fewer
# launches on a GPU.
CHUNK = {"cpu": 16, "cuda": 64}


class SingleNetwork:
    """What is stated for one network, done for one; dense/stacked.py does it for K at once."""

    lead: tuple[int, ...] = ()  # stands before the shapes of one network

    def __init__(self, model: Model):
        self.model = model
        self.seed: Any = model.seed  # a number, or a tensor [K]

    def over(self, function: Callable) -> Callable:
        """Return `function(model, *tensors)` for each network; stacked, each tensor has K in front."""
        return partial(function, self.model)


class Persistent(NamedTuple):
    """The tensors that persist from image to image, with `lead` in front."""

    weight: Tensor  # [E, I]
    theta: Tensor  # [E]
    kept: dict[str, Tensor]  # by the rule

    @classmethod
    def of(cls, state: NetworkState, model: Model, device: torch.device) -> Self:
        """Return tensors of their own that hold the state."""

        def tensor(array: Array, dtype: np.dtype | None = None) -> Tensor:
            return torch.from_numpy(np.array(array, dtype, order="C")).to(device)

        kept = {name: tensor(array) for name, array in state.persistent.items()}
        return cls(tensor(state.weight, model.weight_dtype), tensor(state.theta, model.theta_dtype), kept)

    def state(self, place: tuple[int, ...] = ()) -> NetworkState:
        """Return a copy of all that persists, of the network at a place in `lead`."""

        def array(tensor: Tensor) -> Array:
            return tensor[place].cpu().numpy().copy()

        kept = {name: array(tensor) for name, tensor in self.kept.items()}
        return NetworkState(array(self.weight), array(self.theta), kept)


class PresentationSpec(NamedTuple):
    """How images are presented: what a recording is made for."""

    n_images: int  # side by side, to one network
    learning: bool
    limits_learners: bool = False  # only some neurons learn from an image
    reduction: str = "sum"


class Chunk(NamedTuple):
    """Some steps of a presentation, one after the other."""

    n_steps: int
    rests: bool = False  # without input
    is_last: bool = False


class Batch(NamedTuple):
    """What tells one batch of images from the next, with `lead` in front."""

    limits: Tensor  # [B, I] int64: a random word below it is a spike
    image_index: Tensor  # [B] int64
    presentation: Tensor  # [] int64, its key (encoding.presentation_key)
    rate: Tensor  # [] typed as weights if these are floats
    max_learners: Tensor  # [] int64, how many neurons may learn from an image
    first_step: Tensor  # [] int64, of the chunk that is presented


class Presentation:
    """Presents batches of images to networks as one spec says, over and over.

    Args:
        networks: one, or several stacked.
        persistent: their tensors; learning changes them in place.
        spec: how images are presented.
        record: on a GPU, record the work; it is not worth it for what is rare.
    """

    def __init__(self, networks: SingleNetwork, persistent: Persistent, spec: PresentationSpec, record: bool = True):
        self._networks, self._persistent, self._spec = networks, persistent, spec
        self._device = persistent.weight.device
        self._sample = sampler(self._device)
        model, lead = networks.model, networks.lead
        shape = (*lead, spec.n_images)
        rate_dtype = persistent.weight.dtype if persistent.weight.dtype.is_floating_point else torch.float64

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=self._device)

        self._batch = Batch(
            limits=zeros(*shape, model.n_inputs),
            image_index=zeros(*shape),
            presentation=zeros(*lead),
            rate=zeros(*lead, dtype=rate_dtype),
            max_learners=zeros(*lead),
            first_step=zeros(*lead),
        )
        self._counts = zeros(*shape, model.n_exc, dtype=torch.int32)
        # Weights and theta are worked on where they persist; all else starts afresh, in tensors of its own.
        start = self._start()
        self._state = ImageState(*map(_cloned, start))._replace(
            weight=persistent.weight, theta=persistent.theta, delays=start.delays
        )
        changed = [self._counts, self._batch.first_step, *_tensors(self._state)]
        if spec.learning:
            changed += persistent.kept.values()

        def prepared(work: Callable[[], None]) -> Callable[[], None]:
            return recorded(work, changed, self._device) if record else work

        encoder = model.encoder if spec.learning else model.inference_encoder
        chunks = cut_into_chunks(encoder, spec.learning, CHUNK[self._device.type])
        self._begin = prepared(self._do_begin)
        work = {chunk: prepared(partial(self._advance, chunk)) for chunk in dict.fromkeys(chunks)}
        self._chunks = [work[chunk] for chunk in chunks]

    def present(
        self, limits: Array, image_index: Array, presentation: Any, rate: Any = 1.0, max_learners: Any = 0
    ) -> Array:
        """Present a batch of images; return the spike counts [B, E] int32. Arguments as in `Batch`, or one for all."""
        given = (limits, image_index, presentation, rate, max_learners)
        for tensor, value in zip(self._batch, given, strict=False):
            tensor.copy_(torch.as_tensor(np.asarray(value)))
        self.run()
        return self._counts.cpu().numpy().copy()

    @torch.no_grad()
    def run(self) -> None:
        """Present what the batch holds, all its steps."""
        self._begin()
        for advance in self._chunks:
            advance()

    def _start(self) -> ImageState:
        return self._networks.over(partial(_start, self._spec))(*self._persistent)

    def _do_begin(self) -> None:
        if self._spec.learning:
            begin = self._networks.over(lambda model, weight: model.rule.begin(model.rule_parameters, weight))
            self._persistent.weight.copy_(begin(self._persistent.weight))
        self._copy(self._start())
        self._counts.zero_()
        self._batch.first_step.zero_()

    def _advance(self, chunk: Chunk) -> None:
        """Present the next steps."""
        batch, networks, n_steps = self._batch, self._networks, chunk.n_steps
        stream = SPIKES_LEARNING if self._spec.learning else SPIKES_EVALUATING
        first = batch.first_step.reshape(-1)[0]  # the same for all networks
        key = batch.limits, batch.image_index, batch.presentation
        if chunk.rests:
            spikes = self._persistent.weight.new_zeros((n_steps, *batch.limits.shape))
        else:
            spikes = self._sample(*key, first, n_steps, networks.seed, stream).to(self._persistent.weight.dtype)
        if networks.lead:
            spikes = spikes.transpose(0, 1)
        steps = networks.over(partial(_steps, self._spec, chunk))
        state, counts = steps(self._state, self._counts, spikes, batch)
        self._copy(state)
        self._counts.copy_(counts)
        batch.first_step.add_(n_steps)
        if chunk.is_last and self._spec.learning:
            for name, tensor in networks.over(network.what_persists)(self._state).items():
                self._persistent.kept[name].copy_(tensor)

    def _copy(self, state: ImageState) -> None:
        for old, new in zip(_tensors(self._state), _tensors(state), strict=True):
            if old is not new:
                old.copy_(new)


def cut_into_chunks(encoder: Encoder, learning: bool, most: int) -> list[Chunk]:
    """Return the chunks of a presentation, in turn, of at most so many steps; those of rest only while learning."""
    chunks = []
    for rests, n_steps in ((False, encoder.n_steps), (True, encoder.rest_steps if learning else 0)):
        chunks += [Chunk(min(most, n_steps - first), rests) for first in range(0, n_steps, most)]
    return [*chunks[:-1], chunks[-1]._replace(is_last=True)]


def _start(spec: PresentationSpec, model: Model, weight: Tensor, theta: Tensor, kept: dict[str, Tensor]) -> ImageState:
    state = network.start_image(model, weight, theta, kept, spec.n_images)
    return network.run_on(model, state, kept) if spec.learning and model.runs_on else state


def _steps(
    spec: PresentationSpec,
    chunk: Chunk,
    model: Model,
    state: ImageState,
    counts: Tensor,
    spikes: Tensor,
    batch: Batch,
) -> tuple[ImageState, Tensor]:
    """Advance one network by the steps of `spikes` [steps, B, I]; return (state, counts [B, E])."""
    shape, reduction, plasticity = (model.n_exc, model.n_inputs), Reduction(spec.reduction), None
    max_learners = batch.max_learners if spec.limits_learners else None
    for t, input_spikes in enumerate(spikes):
        if spec.learning:
            key = batch.image_index, batch.presentation, batch.first_step + t, model.seed
            at_end = chunk.is_last and t == len(spikes) - 1
            plasticity = Plasticity(batch.rate, at_end, reduction, partial(rounding_words, shape, *key), max_learners)
        state, fired = network.step(model, state, input_spikes, plasticity)
        counts = counts if chunk.rests else counts + fired.to(counts.dtype)
    return state, counts


def _tensors(state: ImageState) -> list[Tensor]:
    """Return all tensors of a state, always in the same order."""
    named = [part[name] for part in (state.cells, state.traces) for name in sorted(part)]
    return [*(each for each in state if not isinstance(each, dict)), *named]


def _cloned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: tensor.clone() for name, tensor in value.items()}
    return value.clone()
