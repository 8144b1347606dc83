"""The common part of peers: the setting of this engine's benchmark, and the CPU time of learning."""

import time
from collections.abc import Sequence

import numpy as np

N_INPUTS = 784
STEPS = 250  # of 1 ms
MAX_RATE_HZ = 128.0
NORM = 78.4


class Peer:
    """A network that learns from one image at a time; subclasses have `version`, `simulates` and `images`."""

    steps = STEPS
    images: Sequence
    learned = 0

    def learn_image(self, image: np.ndarray) -> None:
        """Learn from one of `images`."""
        raise NotImplementedError

    def learn(self, seconds: float) -> tuple[int, float]:
        """Learn from one image or more, for `seconds` of CPU time; return images and CPU seconds.

        CPU time excludes other programs on a shared machine.
        """
        before, start = self.learned, time.process_time()
        while self.learned == before or time.process_time() - start < seconds:
            self.learn_image(self.images[self.learned % len(self.images)])
            self.learned += 1
        return self.learned - before, time.process_time() - start
