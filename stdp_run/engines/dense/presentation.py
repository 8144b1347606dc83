"""Presenting images in chunks of steps that a CUDA graph can record.

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
from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING, Encoder, rounding_words, spikes_below
from stdp_run.engines.base import Array
from stdp_run.engines.dense.cuda_graphs import recorded
from stdp_run.network import ImageState, Model, NetworkState, Plasticity
from stdp_run.rules.reduction import Reduction

# Steps, a multiple of the four that share a random counter. Few keep their spikes in a CPU's caches, many make fewer
# launches on a GPU.
CHUNK = {"cpu": 16, "cuda": 64}


class Persistent(NamedTuple):
    """The tensors that persist from image to image."""

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

    def state(self) -> NetworkState:
        """Return a copy of all that persists."""

        def array(tensor: Tensor) -> Array:
            return tensor.cpu().numpy().copy()

        kept = {name: array(tensor) for name, tensor in self.kept.items()}
        return NetworkState(array(self.weight), array(self.theta), kept)


class PresentationSpec(NamedTuple):
    """How images are presented: what a recording is made for."""

    n_images: int  # side by side
    learning: bool
    limits_winners: bool = False  # only the first neurons to fire learn from an image
    reduction: str = "sum"


class Chunk(NamedTuple):
    """Some steps of a presentation, one after the other."""

    n_steps: int
    rests: bool = False  # without input
    is_last: bool = False


class Batch(NamedTuple):
    """The values by which one batch of images differs from the next."""

    limits: Tensor  # [B, I] int64: a random word below it is a spike
    image_index: Tensor  # [B] int64
    presentation: Tensor  # [] int64, its key (encoding.presentation_key)
    rate: Tensor  # [] typed as weights if these are floats
    k_winners: Tensor  # [] int64, how many neurons may learn from an image
    first_step: Tensor  # [] int64, of the chunk that is presented


class Presentation:
    """Presents batches of images to a network as one spec says, over and over.

    Args:
        model: the network.
        persistent: its tensors; learning changes them in place.
        spec: how images are presented.
        record: on a GPU, record the work; it is not worth it for what is rare.
    """

    def __init__(self, model: Model, persistent: Persistent, spec: PresentationSpec, record: bool = True):
        self._model, self._persistent, self._spec = model, persistent, spec
        self._device = persistent.weight.device
        rate_dtype = persistent.weight.dtype if persistent.weight.dtype.is_floating_point else torch.float64

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=self._device)

        self._batch = Batch(
            limits=zeros(spec.n_images, model.n_inputs),
            image_index=zeros(spec.n_images),
            presentation=zeros(),
            rate=zeros(dtype=rate_dtype),
            k_winners=zeros(),
            first_step=zeros(),
        )
        self._counts = zeros(spec.n_images, model.n_exc, dtype=torch.int32)
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
        self, limits: Array, image_index: Array, presentation: int, rate: float = 1.0, k_winners: int = 0
    ) -> Array:
        """Present a batch of images; return the spike counts [B, E] int32. Arguments as in `Batch`."""
        given = (limits, image_index, presentation, rate, k_winners)
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
        model, (weight, theta, kept) = self._model, self._persistent
        state = network.start_image(model, weight, theta, kept, self._spec.n_images)
        return network.run_on(model, state, kept) if self._spec.learning and model.runs_on else state

    def _do_begin(self) -> None:
        model, weight = self._model, self._persistent.weight
        if self._spec.learning:
            weight.copy_(model.rule.begin(model.rule_parameters, weight))
        self._copy(self._start())
        self._counts.zero_()
        self._batch.first_step.zero_()

    def _advance(self, chunk: Chunk) -> None:
        """Present the next steps."""
        model, spec, batch, state = self._model, self._spec, self._batch, self._state
        shape, reduction, plasticity = (model.n_exc, model.n_inputs), Reduction(spec.reduction), None
        k_winners = batch.k_winners if spec.limits_winners else None
        for t, input_spikes in enumerate(self._input_spikes(chunk)):
            if spec.learning:
                key = batch.image_index, batch.presentation, batch.first_step + t, model.seed
                at_end = chunk.is_last and t == chunk.n_steps - 1
                plasticity = Plasticity(batch.rate, at_end, reduction, partial(rounding_words, shape, *key), k_winners)
            state, fired = network.step(model, state, input_spikes, plasticity)
            if not chunk.rests:
                self._counts += fired.to(self._counts.dtype)
        self._copy(state)
        batch.first_step.add_(chunk.n_steps)
        if chunk.is_last and spec.learning:
            for name, tensor in network.what_persists(model, self._state).items():
                self._persistent.kept[name].copy_(tensor)

    def _input_spikes(self, chunk: Chunk) -> Tensor:
        """Return the input spikes of the next steps, [T, B, I], typed as weights."""
        batch, weight = self._batch, self._persistent.weight
        if chunk.rests:
            return weight.new_zeros((chunk.n_steps, *batch.limits.shape))
        key = batch.limits, batch.image_index, batch.presentation, batch.first_step
        stream = SPIKES_LEARNING if self._spec.learning else SPIKES_EVALUATING
        return spikes_below(*key, chunk.n_steps, self._model.seed, stream).to(weight.dtype)

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


def _tensors(state: ImageState) -> list[Tensor]:
    """Return all tensors of a state, always in the same order."""
    named = [part[name] for part in (state.cells, state.traces) for name in sorted(part)]
    return [*(each for each in state if not isinstance(each, dict)), *named]


def _cloned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: tensor.clone() for name, tensor in value.items()}
    return value.clone()
