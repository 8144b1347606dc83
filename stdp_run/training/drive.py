"""What presents to networks the images that their runs ask for: to one with its engine, or to several side by side.

A run is a generator: it yields what is to be presented next, and is sent the spike counts [N, E]. It knows its own
network alone; only this module knows whether there are others.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import TypeVar

import numpy as np

from stdp_run.engines.base import Engine, InferenceBatch, NetworkGroup, Request, TrainingBatch, answer
from stdp_run.network import NetworkState
from stdp_run.training.signals import Interruption

IMAGES_AT_ONCE = 250
SECONDS_AT_ONCE = 0.5  # a signal waits no longer than about this for its answer

Found = TypeVar("Found")
Steps = Generator[Request, np.ndarray, Found]


def drive(steps: Steps[Found], engine: Engine) -> Found:
    """Present to one network what is asked for until the end; return what was found."""
    try:
        request = next(steps)
        while True:
            request = steps.send(answer(engine, request))
    except StopIteration as end:
        return end.value


class SideBySide:
    """Networks that are presented images at the same time; often there is only one.

    Args:
        group: the networks.
        images_at_once: as many as a run should ask for at first; later it follows from the speed.
        interruption: the signals that stop the runs.
    """

    def __init__(self, group: NetworkGroup, images_at_once: int, interruption: Interruption):
        self.group, self.images_at_once, self.seconds = group, images_at_once, 0.0
        self._interruption = interruption

    def complete(self, runs: Sequence[Callable[["Network"], Steps[Found]]]) -> list[Found]:
        """Present to the networks what their runs ask for until all have ended; return what each has found.

        A run is sent the counts of the first images of its request, one or more: not always of all of them. When a
        signal came, each has first the time to save what it was sent.
        """
        results: dict[int, Found] = {}
        requests: dict[int, Request] = {}
        counts: Mapping[int, np.ndarray | None] = dict.fromkeys(range(len(runs)))
        with ExitStack() as stack:
            steps = [stack.enter_context(closing(run(Network(self, k)))) for k, run in enumerate(runs)]
            while counts:
                stopping = self._interruption.pending is not None
                for k, each in counts.items():
                    try:
                        requests[k] = steps[k].send(each)  # type: ignore[arg-type]  # None starts a generator
                    except StopIteration as end:
                        results[k] = end.value
                        requests.pop(k, None)
                if stopping:
                    self._interruption.stop()
                counts = self._present(requests)
        return [results[k] for k in range(len(runs))]

    def _present(self, requests: Mapping[int, Request]) -> Mapping[int, np.ndarray]:
        """Return the counts of those that are served now: the ones that learn go first, so that all stay in step."""
        learning = {k: each for k, each in requests.items() if isinstance(each, TrainingBatch)}
        if not requests:
            return {}
        begun = time.perf_counter()
        counts = self.group.answer(learning or requests)
        seconds = time.perf_counter() - begun
        self.seconds += seconds
        if learning:
            n_images = max(map(len, counts.values()))
            self.images_at_once = max(1, min(IMAGES_AT_ONCE, int(n_images * SECONDS_AT_ONCE / max(seconds, 1e-9))))
        return counts


class Network:
    """What a run sees of its network, the number `k` of those side by side."""

    def __init__(self, side_by_side: SideBySide, k: int):
        self._side_by_side, self._k = side_by_side, k

    @property
    def images_at_once(self) -> int:
        """As many images as a run should ask for, so that a signal need not wait for long."""
        return self._side_by_side.images_at_once

    @property
    def seconds(self) -> float:
        """The time spent so far to present images, to this network and those side by side with it."""
        return self._side_by_side.seconds

    def state(self) -> NetworkState:
        """Return a copy of all that persists."""
        return self._side_by_side.group.state(self._k)


def count_spikes(asking: Generator[slice, np.ndarray, Found], pixels: np.ndarray, index: np.ndarray) -> Steps[Found]:
    """Ask for the spike counts, with learning off, of the slices of images that an evaluation asks for.

    Args:
        asking: yields slices and is sent their counts [N, E].
        pixels: uint8 [N, I].
        index: int64 [N], the place of each image in its data set.
    """
    try:
        part = next(asking)
        while True:
            images = InferenceBatch(pixels[part], index[part])
            counts = yield images
            while len(counts) < len(images.pixels):
                rest = InferenceBatch(*(each[len(counts) :] for each in images))
                counts = np.concatenate([counts, (yield rest)])
            part = asking.send(counts)
    except StopIteration as end:
        return end.value
