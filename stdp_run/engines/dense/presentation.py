"""Presents batches of images to a network, as work that a CUDA graph can record; records every spike of a few images.

A recording fixes the address of every tensor and every number computed in Python. So the inputs of a batch (`Batch`)
and the persistent state (`Persistent`) stay in the same tensors.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stdp_run import network
from stdp_run.elementwise import Tensors
from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING, rounding_words, spikes_below
from stdp_run.engines.base import Array
from stdp_run.network import Model, NetworkState, Plasticity
from stdp_run.rules.base import Reduction

# Steps whose input spikes are sampled at once: a multiple of 4, the steps per random counter. A few steps fit the
# caches of a CPU; many steps take fewer operations on a GPU.
STEPS_AT_ONCE = {"cpu": 16, "cuda": 64}
WARM_UPS = 2  # runs before recording: libraries choose algorithms and allocate memory

Persistent = tuple[Tensor, Tensor, Tensors]  # weight [E, I], theta [E], other persistent tensors by name


def to_tensors(state: NetworkState, model: Model, device: torch.device) -> Persistent:
    """Return a copy of the state on the device."""
    dtypes = {"weight": model.weight_dtype, "theta": model.theta_dtype}
    arrays = {name: np.array(array, dtypes.get(name), order="C") for name, array in state.arrays().items()}
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return tensors.pop("weight"), tensors.pop("theta"), tensors


class Batch(NamedTuple):
    """The inputs of one batch of images."""

    limits: Tensor  # [B, I] int64: a random word below it is a spike
    image_index: Tensor  # [B] int64
    presentation: Tensor  # [] int64, its key (encoding.presentation_key)
    rate: Tensor  # [] typed as weights if these are floats
    k_winners: Tensor | None  # [] int64, number of neurons that learn from an image; None: all


class Presentation:
    """Presents batches of `n_images` images side by side."""

    def __init__(
        self,
        model: Model,
        persistent: Persistent,  # learning changes it in place
        n_images: int,
        reduction: Reduction | None,  # of the weight changes of a batch to one; None: learning is off
        limits_winners: bool = False,  # only the first `Batch.k_winners` neurons to fire learn from an image
        record: bool = True,  # on a GPU, record the work as a CUDA graph
    ):
        self._model, self._persistent, self._reduction = model, persistent, reduction
        self._encoder = model.inference_encoder if reduction is None else model.encoder
        weight, theta, kept = persistent
        zeros = partial(torch.zeros, dtype=torch.int64, device=weight.device)
        self._batch = Batch(
            limits=zeros((n_images, model.n_inputs)),
            image_index=zeros(n_images),
            presentation=zeros(()),
            rate=zeros((), dtype=weight.dtype if weight.dtype.is_floating_point else torch.float64),
            k_winners=zeros(()) if limits_winners else None,
        )
        self._counts = zeros((n_images, model.n_exc), dtype=torch.int32)
        self._input_counts = zeros((n_images, model.n_inputs), dtype=torch.int32)
        self._inhibitory_counts = zeros(n_images)
        changed = [self._counts, self._input_counts, self._inhibitory_counts]
        changed += [] if reduction is None else [weight, theta, *kept.values()]
        self.run = recorded(self._run, changed, weight.device) if record else self._run

    def present(self, *values: Any) -> Array:
        """Present a batch of images; `values` are the fields of `Batch`. Return the spike counts [B, E] int32."""
        for tensor, value in zip(self._batch, values, strict=True):
            if tensor is not None:
                tensor.copy_(torch.from_numpy(np.asarray(value)))
        self.run()
        return self._counts.cpu().numpy().copy()

    def activity(self, chosen: Array) -> Array:
        """Return the activity, int64 [3 + I], of some images, bool [B], in the last batch; learning must be off."""
        rows = torch.from_numpy(chosen).to(self._counts.device)
        excitatory, inhibitory = self._counts[rows].sum(), self._inhibitory_counts[rows].sum()
        inputs = self._input_counts[rows].sum(dim=0).cpu().numpy()
        return np.concatenate([[chosen.sum(), int(excitatory), int(inhibitory)], inputs])

    @torch.no_grad()
    def _run(self) -> None:
        """Present the batch: count the spikes and, while learning, update the persistent state."""
        model, (weight, theta, kept), learning = self._model, self._persistent, self._reduction is not None
        state = network.start_image(model, weight, theta, kept, len(self._counts))
        if learning:
            state = state._replace(weight=model.rule.begin(model.rule_parameters, weight))
            if model.runs_on:
                state = network.run_on(model, state, kept)
        for counts in (self._counts, self._input_counts, self._inhibitory_counts):
            counts.zero_()
        for t, input_spikes in enumerate(self._input_spikes()):
            state, fired = network.step(model, state, input_spikes, self._plasticity(t))
            if t < self._encoder.n_steps:  # spikes in the rest are not counted
                self._counts += fired.to(self._counts.dtype)
            if not learning:
                self._inhibitory_counts += state.cells["inhibitory_spikes"].sum(dim=1, dtype=torch.int64)
        if learning:
            weight.copy_(state.weight)
            theta.copy_(state.theta)
            for name, tensor in network.what_persists(model, state).items():
                kept[name].copy_(tensor)

    def _input_spikes(self) -> Iterator[Tensor]:
        """Yield the input spikes of each step, [B, I], typed as weights; while learning, steps of rest follow."""
        batch, weight, n_steps = self._batch, self._persistent[0], self._encoder.n_steps
        stream = SPIKES_EVALUATING if self._reduction is None else SPIKES_LEARNING
        at_once = STEPS_AT_ONCE[weight.device.type]
        for first in range(0, n_steps, at_once):
            key = batch.limits, batch.image_index, batch.presentation, first, min(at_once, n_steps - first)
            spikes = spikes_below(*key, self._model.seed, stream)
            if self._reduction is None:
                self._input_counts += spikes.sum(dim=0, dtype=torch.int32)
            yield from spikes.to(weight.dtype)
        if self._reduction is not None:
            yield from weight.new_zeros((self._encoder.rest_steps, *batch.limits.shape))

    def _plasticity(self, t: int) -> Plasticity | None:
        if self._reduction is None:
            return None
        model, batch, encoder = self._model, self._batch, self._encoder
        key = (model.n_exc, model.n_inputs), batch.image_index, batch.presentation, t, model.seed
        last = t + 1 == encoder.n_steps + encoder.rest_steps
        return Plasticity(batch.rate, last, self._reduction, partial(rounding_words, *key), batch.k_winners)


def recorded(work: Callable[[], None], changed: list[Tensor], device: torch.device) -> Callable[[], None]:
    """Return a function that does `work`, on a GPU by replaying its recording as a CUDA graph.

    A step has about fifty small operations. A GPU takes longer to launch them one by one than to execute them.
    `work` uses tensors with fixed addresses on `device`, and its control flow does not depend on their values.
    `changed` lists the tensors that it writes to; recording restores their values.
    """
    if device.type != "cuda":
        return work
    before = [tensor.clone() for tensor in changed]
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    for tensor, saved in zip(changed, before, strict=True):
        tensor.copy_(saved)
    return graph.replay


@torch.no_grad()
def record_spikes(model: Model, state: NetworkState, pixels: Array, image_index: Array) -> tuple[Array, Array, Array]:
    """Present images with learning off; return all spikes: input [B, T, I], excitatory and inhibitory [B, T, E], bool.

    `pixels` is uint8 [B, P]; `image_index` int64 [B] has the index of each image in its dataset. An engine's
    `count_spikes` counts the same spikes in its first presentation. In float32 the event engine differs by rounding.
    """
    encoder = model.inference_encoder
    limits, index = torch.from_numpy(encoder.limits(pixels)), torch.from_numpy(np.array(image_index, np.int64))
    inputs = spikes_below(limits, index, 0, 0, encoder.n_steps, model.seed, SPIKES_EVALUATING)
    weight, theta, kept = to_tensors(state, model, torch.device("cpu"))
    image_state = network.start_image(model, weight, theta, kept, len(index))
    excitatory, inhibitory = [], []
    for input_spikes in inputs:
        image_state, fired = network.step(model, image_state, input_spikes.to(weight.dtype))
        excitatory.append(fired)
        inhibitory.append(image_state.cells["inhibitory_spikes"])

    def by_image(train: Tensor) -> Array:
        return train.bool().transpose(0, 1).numpy()

    return by_image(inputs), by_image(torch.stack(excitatory)), by_image(torch.stack(inhibitory))
