"""How fast networks learn on an engine, found by having them learn for a moment."""

import time
from collections.abc import Sequence

import numpy as np

from stdp_run.engines.side_by_side import Lesson, Networks

SECONDS = 0.3
LIT = 0.19  # share of pixels that are not black, as in MNIST


def images_per_second(networks: Networks, batch_size: int) -> float:
    """Return how many images a second all networks together learn from; they are changed by it.

    The images are noise, as bright as digits: what is measured is the engine's work, not what is learned.
    """
    _learn(networks, batch_size)  # compiles, or records
    n_images, begun = batch_size, time.perf_counter()
    while True:
        _learn(networks, n_images)
        seconds = time.perf_counter() - begun
        if seconds >= SECONDS:
            return len(networks.models) * n_images / seconds
        n_images, begun = 2 * n_images, time.perf_counter()


def _learn(networks: Networks, n_images: int) -> None:
    chosen = range(len(networks.models))
    networks.learn(chosen, [_lesson(networks.models, n_images)] * len(chosen), 0)


def _lesson(models: Sequence, n_images: int) -> Lesson:
    shape = (n_images, models[0].n_inputs)
    rng = np.random.default_rng(0)
    pixels = np.where(rng.random(shape) < LIT, rng.integers(1, 256, shape), 0).astype(np.uint8)
    return Lesson(pixels, np.arange(n_images), np.ones(n_images), None)
