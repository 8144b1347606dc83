"""The interface that every engine has."""

from typing import NamedTuple, Protocol

import numpy as np

from stdp_run.network import Model, NetworkState

Array = np.ndarray

# Indices of an activity, int64 [3 + I]: presentations with learning off, and the spikes in them, in sum over images.
# The spikes of each input come last. Every presentation of an image counts.
PRESENTATIONS, EXCITATORY, INHIBITORY, INPUTS = range(4)


class TrainingBatch(NamedTuple):
    """N images to learn from, one after the other (or `batch_size` at a time)."""

    pixels: Array  # uint8 [N, P]
    image_index: Array  # int64 [N], the index of each image in its dataset
    epoch: int  # from 0
    rate: Array  # [N], factor of the learning rate schedule
    k_winners: Array | None = None  # [N], number of neurons that learn from each image; None: the model's number


class Engine(Protocol):
    """An engine: presents images to one network."""

    name: str  # "event" or "torch"
    device: str  # "cpu" or "cuda"
    model: Model
    inference_batch: int  # images per call of `count_spikes`, few enough that a stop signal waits only briefly

    def learn(
        self, pixels: Array, image_index: Array, epoch: int, rate: Array, k_winners: Array | None = None
    ) -> Array:
        """Present images with learning on; return the spike counts [N, E] int32. Arguments as in `TrainingBatch`."""

    def count_spikes(self, pixels: Array, image_index: Array) -> Array:
        """Present images with learning off; return the spike counts [N, E] int32.

        `pixels` is uint8 [N, P], or [K, N, P] for K views of each image; presentation k shows view k modulo K.
        """

    def take_activity(self) -> Array:
        """Return the activity, int64 [3 + I], of all calls of `count_spikes` since the last call of this function."""

    def state(self) -> NetworkState:
        """Return a copy of the persistent state."""


def as_views(pixels: Array) -> Array:
    """Return pixels [N, P] as one view of each image, [1, N, P]; views [K, N, P] unchanged."""
    return pixels if pixels.ndim == 3 else pixels[None]
