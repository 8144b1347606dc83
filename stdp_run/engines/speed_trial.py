"""How fast networks learn on an engine, found by having them learn for a moment."""

import time

import numpy as np

from stdp_run.engines.base import NetworkGroup, TrainingBatch

SECONDS = 0.3
SHARE_NOT_BLACK = 0.19  # of the pixels, as in MNIST


def images_per_second(group: NetworkGroup, batch_size: int) -> float:
    """Return how many images a second all networks together learn from; they are changed by it.

    The images are noise, as bright as digits: what is measured is the engine's work, not what is learned.
    """
    _learn(group, batch_size)  # compiles, or records
    n_images, begun = batch_size, time.perf_counter()
    while True:
        _learn(group, n_images)
        seconds = time.perf_counter() - begun
        if seconds >= SECONDS:
            return len(group.models) * n_images / seconds
        n_images, begun = 2 * n_images, time.perf_counter()


def _learn(group: NetworkGroup, n_images: int) -> None:
    rng, shape = np.random.default_rng(0), (n_images, group.models[0].n_inputs)
    pixels = np.where(rng.random(shape) < SHARE_NOT_BLACK, rng.integers(1, 256, shape), 0).astype(np.uint8)
    batch = TrainingBatch(pixels, np.arange(n_images), 0, np.ones(n_images))
    group.answer(dict.fromkeys(range(len(group.models)), batch))
