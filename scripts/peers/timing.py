"""CPU time of a peer that learns image by image in this process."""

import itertools
import time
from collections.abc import Callable

import numpy as np


def learn_for(seconds: float, stream: itertools.cycle, learn: Callable[[np.ndarray], None]) -> tuple[int, float]:
    """Let `learn` have images from `stream` until `seconds` of CPU time are spent; return images and CPU seconds.

    CPU time, because other programs on a shared machine should count for nobody.
    """
    images, start = 0, time.process_time()
    while not images or time.process_time() - start < seconds:
        learn(next(stream))
        images += 1
    return images, time.process_time() - start
