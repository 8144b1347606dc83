"""What an engine is, and what a run asks of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from stdp_run.network import Model, NetworkState

Array = np.ndarray


class TrainingBatch(NamedTuple):
    """N images to learn from, one after the other (or `batch_size` at a time)."""

    pixels: Array  # uint8 [N, I]
    image_index: Array  # int64 [N], the place of each image in its data set
    epoch: int  # from 0
    rate: Array  # [N], factor of the learning-rate schedule
    max_learners: Array | None = None  # [N], neurons that may learn from each image; None: the model's number


class InferenceBatch(NamedTuple):
    """N images whose spikes are counted with learning off."""

    pixels: Array  # uint8 [N, I]
    image_index: Array  # int64 [N], the place of each image in its data set


Request = TrainingBatch | InferenceBatch


class Engine(Protocol):
    """One network, and the means to present images to it."""

    name: str  # "event" or "torch"
    model: Model
    inference_batch: int  # images whose spikes are counted at once, so that a signal need not wait for long

    def learn(
        self, pixels: Array, image_index: Array, epoch: int, rate: Array, max_learners: Array | None = None
    ) -> Array:
        """Present images with learning on; return the spike counts [N, E] int32. Arguments as in `TrainingBatch`."""

    def count_spikes(self, pixels: Array, image_index: Array) -> Array:
        """Present images with learning off; return the spike counts [N, E] int32. Arguments as in `InferenceBatch`."""

    def state(self) -> NetworkState:
        """Return a copy of all that persists."""


class NetworkGroup(Protocol):
    """K networks side by side; nothing passes from one to another."""

    name: str
    models: Sequence[Model]  # [K]

    def answer(self, requests: Mapping[int, Request]) -> dict[int, Array]:
        """Do what is asked of the networks by number; return the counts of the first images of each request.

        Of a request whose counts are fewer than its images, the caller asks for the rest again.
        """

    def state(self, k: int) -> NetworkState:
        """Return a copy of all that persists in network `k`."""


def answer(engine: Engine, request: Request) -> Array:
    """Return the spike counts [N, E] of the first images of a request, of all where it is to learn."""
    if isinstance(request, TrainingBatch):
        return engine.learn(*request)
    return engine.count_spikes(*(each[: engine.inference_batch] for each in request))
