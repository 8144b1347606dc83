"""Several independent networks that learn in step: each has its own weights and sees images of its own, one at a time.

Nothing passes from one to another, so a network comes to the same last bit as it would alone.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np

from stdp_run.network import Model, NetworkState


class Lesson(NamedTuple):
    """What one network learns from next: N images, as many as every other network that takes part."""

    pixels: np.ndarray  # uint8 [N, I]
    image_index: np.ndarray  # int64 [N], the place of each image in its data set
    rate: np.ndarray  # [N], factor of the learning-rate schedule
    learners: np.ndarray | None  # [N], neurons that may learn from each image; None: the model's `max_learners`


class Networks(Protocol):
    """K networks side by side, which differ in their seed or in one constant: shapes and numbers of steps are equal.

    `chosen` names those that take part in a call, in ascending order; nearly always it is all of them. What is given
    and returned by network has their order.
    """

    name: str  # of the engine
    device: object
    models: Sequence[Model]  # [K]

    def learn(self, chosen: Sequence[int], lessons: Sequence[Lesson], epoch: int) -> list[np.ndarray]:
        """Show each its own images with learning on; return the spike counts of each, [N, E] int32.

        `epoch` is the pass over the data, from 0.
        """

    def count_spikes(self, chosen: Sequence[int], pixels: np.ndarray, image_index: np.ndarray) -> list[np.ndarray]:
        """Show all the same images, uint8 [N, I], with learning off; return the spike counts of each, [N, E] int32.

        `image_index` is int64 [N], the place of each image in its data set.
        """

    def state(self, k: int) -> NetworkState:
        """Return a copy of all that persists in network `k`."""


class EngineNetworks:
    """K engines, of which as many work at the same time as there are threads.

    Args:
        engines: K of them, each with a network of its own.
        n_threads: engines that work at the same time; that helps where they let go of Python's lock.
    """

    def __init__(self, engines: Sequence, n_threads: int):
        self._engines = engines
        self.name, self.device = engines[0].name, engines[0].device
        self.models = [engine.model for engine in engines]
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="network")

    def learn(self, chosen: Sequence[int], lessons: Sequence[Lesson], epoch: int) -> list[np.ndarray]:
        """See `Networks.learn`."""

        def work(k: int, lesson: Lesson) -> np.ndarray:
            return self._engines[k].learn(lesson.pixels, lesson.image_index, epoch, lesson.rate, lesson.learners)

        return self._side_by_side(work, chosen, lessons)

    def count_spikes(self, chosen: Sequence[int], pixels: np.ndarray, image_index: np.ndarray) -> list[np.ndarray]:
        """See `Networks.count_spikes`."""
        return self._side_by_side(lambda k: self._engines[k].count_spikes(pixels, image_index), chosen)

    def state(self, k: int) -> NetworkState:
        """See `Networks.state`."""
        return self._engines[k].state()

    def _side_by_side(self, work: Callable, *arguments: Sequence) -> list[np.ndarray]:
        if len(arguments[0]) == 1:
            return list(map(work, *arguments))
        return list(self._pool.map(work, *arguments))
