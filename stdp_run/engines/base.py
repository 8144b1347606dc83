"""The interface that every engine has."""

from typing import NamedTuple, Protocol

import numpy as np

from stdp_run.network import Model, NetworkState

Array = np.ndarray


class TrainingBatch(NamedTuple):
    """N images to learn from, one after the other (or `batch_size` at a time)."""

    pixels: Array  # uint8 [N, I]
    image_index: Array  # int64 [N], the index of each image in its data set
    epoch: int  # from 0
    rate: Array  # [N], factor of the learning-rate schedule
    k_winners: Array | None = None  # [N], neurons that may learn from each image; None: the model's number


class Engine(Protocol):
    """One network, and the means to present images to it."""

    name: str  # "event" or "torch"
    model: Model
    inference_batch: int  # images whose spikes are counted at once, so that a signal need not wait for long

    def learn(
        self, pixels: Array, image_index: Array, epoch: int, rate: Array, k_winners: Array | None = None
    ) -> Array:
        """Present images with learning on; return the spike counts [N, E] int32. Arguments as in `TrainingBatch`."""

    def count_spikes(self, pixels: Array, image_index: Array) -> Array:
        """Present images with learning off; return the spike counts [N, E] int32. Arguments as in `TrainingBatch`."""

    def state(self) -> NetworkState:
        """Return a copy of all that persists."""
