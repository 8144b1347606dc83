"""What presents to networks the images that their runs ask for: to one with its engine, or to several side by side.

A run is a generator: it yields what is to be presented next, and is sent the spike counts [N, E]. It knows its own
network alone; only this module knows whether there are others.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
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


@dataclass
class Network:
    """What a run sees of its network."""

    state: Callable[[], NetworkState]  # returns a copy of all that persists
    images_at_once: int  # as many as a run should ask for, so that a signal need not wait for long
    seconds: float = 0.0  # spent so far to present images, to this network and those side by side with it


def drive_together(
    runs: Sequence[Callable[[Network], Steps[Found]]],
    group: NetworkGroup,
    images_at_once: int,
    interruption: Interruption,
) -> list[Found]:
    """Present to networks what their runs ask for until all have ended; return what each has found.

    A run is sent the counts of the first images of its request, one or more: not always of all of them. When a signal
    comes, each has first the time to save what it was sent; those that end then are complete.

    Each of `runs` makes the steps of one network's run. At first a run should ask for `images_at_once`; later that
    follows from the speed.
    """
    networks = [Network(partial(group.state, k), images_at_once) for k in range(len(runs))]
    results: dict[int, Found] = {}
    requests: dict[int, Request] = {}
    counts: Mapping[int, np.ndarray | None] = dict.fromkeys(range(len(runs)))
    with ExitStack() as stack:
        steps = [stack.enter_context(closing(run(network))) for run, network in zip(runs, networks, strict=True)]
        while counts:
            stopping = interruption.pending is not None
            for k, each in counts.items():
                try:
                    requests[k] = steps[k].send(each)  # type: ignore[arg-type]  # None starts a generator
                except StopIteration as end:
                    results[k] = end.value
                    requests.pop(k, None)
            # Those that learn go first, so that all stay in step.
            learning = {k: each for k, each in requests.items() if isinstance(each, TrainingBatch)}
            if requests and (stopping or not learning):  # what was learned is saved
                interruption.stop()
            begun = time.perf_counter()
            counts = answers = group.answer(learning or requests) if requests else {}
            seconds = time.perf_counter() - begun
            if learning:
                in_time = int(max(map(len, answers.values())) * SECONDS_AT_ONCE / max(seconds, 1e-9))
                images_at_once = max(1, min(IMAGES_AT_ONCE, in_time))
            for network in networks:
                network.seconds += seconds
                network.images_at_once = images_at_once
    return [results[k] for k in range(len(runs))]


def count_spikes(
    asking: Generator[slice, np.ndarray, Found],
    pixels: np.ndarray,
    index: np.ndarray,
    progress: Callable[[int], object],
) -> Steps[Found]:
    """Ask for the spike counts, with learning off, of the slices of images that an evaluation, `asking`, yields.

    `pixels` are uint8 [N, I], `index` int64 [N] is the place of each image in its data set; `progress` is called with
    the number of images whenever some are done.
    """
    try:
        part = next(asking)
        while True:
            counts: list[np.ndarray] = []
            rest = InferenceBatch(pixels[part], index[part])
            while len(rest.pixels):
                counts.append((yield rest))
                progress(len(counts[-1]))
                rest = InferenceBatch(*(each[len(counts[-1]) :] for each in rest))
            part = asking.send(np.concatenate(counts))
    except StopIteration as end:
        return end.value
