"""Showing images to one network, or to several side by side, in chunks of steps that a CUDA graph can record.

All that the steps read and write stays in place: what persists, the state during the images, and what tells one batch
of images from the next (`Batch`). So a chunk is recorded once and replayed for every batch. A chunk ends with copying
its results over what it began with: weights are written once per chunk and not once per step, which for the chunk
lengths below is small beside the steps themselves.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stdp_run import network
from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING
from stdp_run.engines.dense.cuda_graphs import recorded
from stdp_run.engines.dense.spike_sampling import drawer
from stdp_run.network import ImageState, Model, NetworkState, Reduction

if TYPE_CHECKING:
    from torch import Tensor

# Steps, a multiple of the four that share a random counter. Few keep their spikes in a CPU's caches, many make fewer
# launches on a GPU.
CHUNK = {"cpu": 16, "cuda": 64}


# ------------------------------------------------------------------------------------------------------------------
# One network, or K of them. `lead` is what stands before the shapes of one network: () or (K,).


class Alone:
    """One network."""

    lead: tuple[int, ...] = ()

    def __init__(self, model: Model):
        self.model = model
        self.seed = model.seed

    def over(self, function: Callable) -> Callable:
        """Return `function(model, *tensors)` for this network."""
        return partial(function, self.model)


class Variation:
    """K networks of equal shapes that differ in their seed, or in constants of rule or neuron group.

    Each has tensors of its own, and what is stated for one network is done for all at once (torch.vmap).
    """

    def __init__(self, models: list[Model], device):
        import torch

        self.model = models[0]
        self.lead = (len(models),)
        self.seed = torch.tensor([model.seed for model in models], device=device)
        self._varied = {
            part: self._differing([getattr(model, part) for model in models], device)
            for part in ("rule_parameters", "neuron_parameters")
        }

    def _differing(self, parameters: list[tuple], device) -> "dict[str, Tensor]":
        import torch

        def column(name: str):
            values = [getattr(each, name) for each in parameters]
            if isinstance(values[0], int):
                return torch.tensor(values, dtype=torch.int32, device=device)
            # As for the event engine (parameters.cast): theta needs more digits than float32 has.
            dtype = np.float64 if "theta" in name else self.model.weight_dtype
            return torch.from_numpy(np.array(values, dtype)).to(device)

        first = parameters[0]
        names = [
            name for name in first._fields if any(getattr(each, name) != getattr(first, name) for each in parameters)
        ]
        return {name: column(name) for name in names}

    def over(self, function: Callable) -> Callable:
        """Return `function(model, *tensors)` for all networks at once: each tensor has K in front."""
        import torch

        def for_one(seed, varied, *tensors):
            changed = {part: getattr(self.model, part)._replace(**values) for part, values in varied.items()}
            return function(replace(self.model, seed=seed, **changed), *tensors)

        mapped = torch.vmap(for_one)
        return lambda *tensors: mapped(self.seed, self._varied, *tensors)


# ------------------------------------------------------------------------------------------------------------------
# What is stated for one network.


def begin(model: Model, images: "Tensor", weight: "Tensor", theta: "Tensor", persistent: dict) -> ImageState:
    """Return the state at the start of `images` [B, ...]."""
    return network.start_image(model, weight, theta, persistent, len(images))


def advance(model: Model, manner: "Manner", last: bool, reduction: Reduction, state, counts, spikes, batch: "Batch"):
    """Advance by the steps of `spikes` [steps, B, I]; return (state, counts [B, E])."""
    shape = (model.n_exc, model.n_inputs)
    for t, input_spikes in enumerate(spikes):
        step = batch.first_step + t
        words = partial(network.rounding_words, shape, batch.image_index, batch.presentation, step, model.seed)
        is_last = last and t == len(spikes) - 1
        limit = batch.learners if manner.limited else None
        state, fired = network.step(
            model, state, input_spikes, manner.learning, batch.rate, is_last, reduction, words, limit
        )
        counts = counts + fired.to(counts.dtype)
    return state, counts


def end(model: Model, traces: dict) -> dict:
    """Return what the rule keeps when images end."""
    return model.rule.finish(model.rule_parameters, traces)


# ------------------------------------------------------------------------------------------------------------------


class Persistent(NamedTuple):
    """The tensors that persist from image to image, K in front where networks are side by side."""

    weight: "Tensor"  # [E, I]
    theta: "Tensor"  # [E]
    kept: "dict[str, Tensor]"  # by the rule

    @classmethod
    def of(cls, states: list[NetworkState], networks: Alone | Variation, device) -> "Persistent":
        """Return tensors of their own that hold one state for each network."""
        import torch

        def tensor(arrays: list[np.ndarray], dtype=None):
            array = np.stack([np.asarray(each, dtype) for each in arrays])
            return torch.from_numpy(array if networks.lead else array[0].copy()).to(device)

        model = networks.model
        return cls(
            tensor([state.weight for state in states], model.weight_dtype),
            tensor([state.theta for state in states], model.theta_dtype),
            {name: tensor([state.persistent[name] for state in states]) for name in states[0].persistent},
        )

    def state(self, k: int | None = None) -> NetworkState:
        """Return a copy of all that persists, of network `k` where several are side by side."""

        def array(tensor):
            return (tensor if k is None else tensor[k]).cpu().numpy().copy()

        kept = {name: array(tensor) for name, tensor in self.kept.items()}
        return NetworkState(array(self.weight), array(self.theta), kept)


class Manner(NamedTuple):
    """How images are shown: what a recording is made for."""

    n_images: int  # side by side, to one network
    learning: bool
    limited: bool  # to some neurons that learn from an image


class Batch(NamedTuple):
    """What tells one batch of images from the next; K in front where networks are side by side."""

    limits: "Tensor"  # [B, I] int64: a random word below it is a spike
    image_index: "Tensor"  # [B] int64
    presentation: "Tensor"  # [] int64, its key (encoding.presentation_key)
    rate: "Tensor"  # [] typed as weights if these are floats
    learners: "Tensor"  # [] int64, how many neurons may learn from an image
    first_step: "Tensor"  # [] int64, of the chunk that is shown


class Presentation:
    """Shows batches of images in one manner, over and over."""

    def __init__(
        self,
        networks: Alone | Variation,
        persistent: Persistent,
        manner: Manner,
        reduction: Reduction,
        record: bool = True,
    ):
        import torch

        self._networks, self._persistent, self._manner, self._reduction = networks, persistent, manner, reduction
        self._device = persistent.weight.device
        self._draw = drawer(self._device)
        model = networks.model
        self._n_steps = (model.encoder if manner.learning else model.inference_encoder).n_steps
        shape, lead = (*networks.lead, manner.n_images), networks.lead
        whole = {"dtype": torch.int64, "device": self._device}
        kind = persistent.weight.dtype if persistent.weight.dtype.is_floating_point else torch.float64
        self._batch = Batch(
            limits=torch.zeros((*shape, model.n_inputs), **whole),
            image_index=torch.zeros(shape, **whole),
            presentation=torch.zeros(lead, **whole),
            rate=torch.zeros(lead, dtype=kind, device=self._device),
            learners=torch.zeros(lead, **whole),
            first_step=torch.zeros(lead, **whole),
        )
        self._counts = torch.zeros((*shape, model.n_exc), dtype=torch.int32, device=self._device)
        # Weights and theta are worked on where they persist; all else starts afresh, in tensors of its own.
        state = self._start()
        self._state = ImageState(*(_cloned(value) for value in state))._replace(
            weight=persistent.weight, theta=persistent.theta
        )
        changed = [self._counts, self._batch.first_step, *_tensors(self._state)]
        if manner.learning:
            changed += persistent.kept.values()
        chunk = CHUNK[self._device.type]
        self._n_whole = (self._n_steps - 1) // chunk  # chunks before the last one
        rest = self._n_steps - self._n_whole * chunk

        def prepared(work: Callable, *arguments) -> Callable:
            work = partial(work, *arguments)
            return recorded(work, changed, self._device) if record else work

        self._begin = prepared(self._do_begin)
        self._chunk = prepared(self._advance, chunk, False) if self._n_whole else None
        self._last_chunk = prepared(self._advance, rest, True)

    def show(self, limits: np.ndarray, image_index: np.ndarray, presentation: int, rate=1.0, learners=0) -> np.ndarray:
        """Show a batch of images; return the spike counts [B, E] int32.

        All but `presentation` have K in front where networks are side by side.

        Args:
            limits: int64 [B, I], of random words that are spikes.
            image_index: int64 [B].
            presentation: its key, which tells its spikes from those of another (stdp_run.encoding).
            rate: factor of the learning-rate schedule.
            learners: neurons that may learn from an image, where their number is limited.
        """
        import torch

        given = (limits, image_index, presentation, rate, learners)
        for tensor, value in zip(self._batch, given, strict=False):
            tensor.copy_(torch.as_tensor(np.asarray(value)))
        with torch.no_grad():
            self._begin()
            for _ in range(self._n_whole):
                self._chunk()
            self._last_chunk()
        return self._counts.cpu().numpy().copy()

    def _start(self) -> ImageState:
        return self._networks.over(begin)(self._batch.image_index, *self._persistent)

    def _do_begin(self) -> None:
        self._copy(self._start())
        self._counts.zero_()
        self._batch.first_step.zero_()

    def _advance(self, n_steps: int, last: bool) -> None:
        """Show the next `n_steps` steps; the last ones if `last`."""
        batch, manner = self._batch, self._manner
        stream = SPIKES_LEARNING if manner.learning else SPIKES_EVALUATING
        first = batch.first_step.reshape(-1)[0]  # the same for all networks
        spikes = self._draw(
            batch.limits, batch.image_index, batch.presentation, first, n_steps, self._networks.seed, stream
        )
        spikes = spikes.to(self._persistent.weight.dtype)
        if self._networks.lead:
            spikes = spikes.transpose(0, 1)

        def for_one(model, state, counts, spikes, *parts):
            return advance(model, manner, last, self._reduction, state, counts, spikes, Batch(*parts))

        state, counts = self._networks.over(for_one)(self._state, self._counts, spikes, *batch)
        self._copy(state)
        self._counts.copy_(counts)
        batch.first_step.add_(n_steps)
        if last and manner.learning:
            for name, tensor in self._networks.over(end)(self._state.traces).items():
                self._persistent.kept[name].copy_(tensor)

    def _copy(self, state: ImageState) -> None:
        for old, new in zip(_tensors(self._state), _tensors(state), strict=True):
            if old is not new:
                old.copy_(new)


def _tensors(state: ImageState) -> "Iterator[Tensor]":
    for value in state:
        if isinstance(value, dict):
            yield from (value[name] for name in sorted(value))
        else:
            yield value


def _cloned(value):
    if isinstance(value, dict):
        return {name: tensor.clone() for name, tensor in value.items()}
    return value.clone()
