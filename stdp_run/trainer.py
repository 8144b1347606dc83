"""The training loop: take images, present them, log, evaluate if due."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stdp_run.config import Settings
from stdp_run.encoding import image_order
from stdp_run.evaluation import RunningAccuracy
from stdp_run.tracking import Tracker, log_above_bars, progress_bar

log = logging.getLogger(__name__)

IMAGES_AT_ONCE = 250


@dataclass
class TrainingSummary:
    """What learning amounted to."""

    images: int = 0
    seconds: float = 0.0  # spent presenting images
    spikes: int = 0

    def add(self, counts: np.ndarray, seconds: float) -> None:
        """Add images, with spike counts [N, E], that were learned from in `seconds`."""
        self.images += len(counts)
        self.spikes += int(counts.sum(dtype=np.int64))
        self.seconds += seconds

    @property
    def images_per_second(self) -> float:
        """Images learned from per second of presenting."""
        return self.images / max(self.seconds, 1e-9)


def learning_rate(schedule: str, rate_end: float, progress: np.ndarray) -> np.ndarray:
    """Return the factor on the rule's changes at `progress` through the run, 0..1: from 1 to `rate_end`."""
    if schedule == "constant":
        return np.ones_like(progress)
    if schedule == "exponential":
        return rate_end**progress
    return rate_end + (1 - rate_end) * 0.5 * (1 + np.cos(math.pi * progress))


def train(
    engine,
    pixels: np.ndarray,
    classes: np.ndarray,
    n_classes: int,
    settings: Settings,
    tracker: Tracker,
    evaluate: Callable[[int], None],
) -> TrainingSummary:
    """Learn from the images, `settings.epochs` times.

    Args:
        engine: stdp_run.engines, learns and counts spikes.
        pixels: uint8 [N, I].
        classes: int64 [N]; only the running estimate of the accuracy looks at them.
        n_classes: number of classes.
        settings: of the run.
        tracker: where metrics go.
        evaluate: called with the number of images seen, every `trainer.evaluate_every` images.
    """
    options = settings.trainer
    n_images = len(pixels)
    total = n_images * settings.epochs
    estimate = RunningAccuracy(n_classes, max(1, options.estimate_from // options.log_every))
    window = Window()
    summary = TrainingSummary()
    with log_above_bars(), progress_bar(total, "learning") as bar:
        for epoch in range(settings.epochs):
            order = image_order(n_images, epoch, settings.seed) if options.shuffle else np.arange(n_images)
            start = 0
            while start < n_images:
                stop = _next_stop(start, epoch * n_images, n_images, settings)
                chosen = order[start:stop]
                progress = (summary.images + np.arange(stop - start)) / total
                rate = learning_rate(options.schedule, options.rate_end, progress)
                seconds = -time.perf_counter()
                counts = engine.learn(pixels[chosen], chosen, epoch, rate, _learners(settings, progress))
                seconds += time.perf_counter()
                before = summary.images
                summary.add(counts, seconds)
                window.add(counts, classes[chosen], seconds)
                bar.update(len(chosen))
                if _is_due(options.log_every, before, summary.images) or summary.images == total:
                    accuracy = _log_window(window, estimate, engine, settings, summary.images, float(rate[-1]), tracker)
                    if accuracy is not None:
                        bar.set_postfix_str(f"running accuracy {accuracy:.1%}")
                    window = Window()
                if _is_due(options.evaluate_every, before, summary.images):
                    evaluate(summary.images)
                start = stop
    return summary


def _is_due(every: int | None, before: int, after: int) -> bool:
    """Return whether a multiple of `every` images was reached between two counts of images seen."""
    return every is not None and before // every != after // every


def _next_stop(start: int, before: int, n_images: int, settings: Settings) -> int:
    """Return where the next call of the engine ends: where something is due, but after whole batches in any case."""
    batch = settings.batch_size
    stop = start + IMAGES_AT_ONCE
    for every in (settings.trainer.log_every, settings.trainer.evaluate_every):
        if every is not None:
            stop = min(stop, ((before + start) // every + 1) * every - before)
    n_batches = -(-(stop - start) // batch)
    return min(start + n_batches * batch, n_images)


def _learners(settings: Settings, progress: np.ndarray) -> np.ndarray | None:
    """Return how many neurons may learn from each image; None where that does not change in the run."""
    first, last = settings.trainer.learners_start, settings.max_learners
    if first is None or last is None:
        return None
    return np.rint(first * (last / first) ** progress).astype(np.int64)


class Window:
    """The images since the last row of metrics."""

    def __init__(self):
        self._counts: list[np.ndarray] = []
        self._classes: list[np.ndarray] = []
        self.images = 0
        self.seconds = 0.0

    def add(self, counts: np.ndarray, classes: np.ndarray, seconds: float) -> None:
        """Add images that were learned from in `seconds`."""
        self._counts.append(counts)
        self._classes.append(classes)
        self.images += len(counts)
        self.seconds += seconds

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the counts [N, E] and classes [N]."""
        return np.concatenate(self._counts), np.concatenate(self._classes)


def _log_window(
    window: Window,
    estimate: RunningAccuracy,
    engine,
    settings: Settings,
    images_seen: int,
    rate: float,
    tracker: Tracker,
) -> float | None:
    counts, classes = window.arrays()
    accuracy = estimate.update(counts, classes, settings.evaluator.readout)
    state = engine.state()
    tracker.scalars(
        images_seen,
        {
            "train/running_accuracy": accuracy,
            "train/spikes_per_image": float(counts.sum(axis=1).mean()),
            "train/silent_neurons": int((counts.sum(axis=0) == 0).sum()),
            "train/images_per_second": window.images / max(window.seconds, 1e-9),
            "train/learning_rate": rate,
            "network/theta_mean": float(state.theta.mean()),
            "network/weight_mean": float(state.weight.mean()),
            "network/weight_std": float(state.weight.std()),
            "network/weight_max": float(state.weight.max()),
        },
    )
    return accuracy
