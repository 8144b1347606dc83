"""The training loop: take images, present them, save if due, log, draw and evaluate if due."""

import logging
import math
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np

from stdp_run.config import Settings, TrainerSettings
from stdp_run.encoding import image_order
from stdp_run.evaluation import RunningAccuracy
from stdp_run.interruption import Interruption
from stdp_run.tracking import Tracker, log_above_bars, progress_bar

log = logging.getLogger(__name__)

IMAGES_AT_ONCE = 250
SECONDS_AT_ONCE = 0.5  # a signal waits no longer than about this for its answer


def learning_rate(schedule: str, rate_end: float, progress: np.ndarray) -> np.ndarray:
    """Return the factor on the rule's changes at `progress` through the run, 0..1: from 1 to `rate_end`."""
    if schedule == "constant":
        return np.ones_like(progress)
    if schedule == "exponential":
        return rate_end**progress
    return rate_end + (1 - rate_end) * 0.5 * (1 + np.cos(math.pi * progress))


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
        """Return the counts [N, E] and classes [N] of one image or more."""
        return np.concatenate(self._counts), np.concatenate(self._classes)


@dataclass
class Progress:
    """How far learning is. With the network's state and the configuration, it is all that going on needs."""

    estimate: RunningAccuracy
    window: Window = field(default_factory=Window)
    images: int = 0  # learned from, over all passes
    reported: int = 0  # of those, the ones up to which everything that was due is done
    seconds: float = 0.0  # spent presenting images
    spikes: int = 0

    @classmethod
    def start(cls, n_classes: int, options: TrainerSettings) -> "Progress":
        """Return the progress of a run that has not begun."""
        return cls(RunningAccuracy(n_classes, max(1, options.estimate_from // options.log_every)))

    def add(self, counts: np.ndarray, classes: np.ndarray, seconds: float) -> None:
        """Add images of some classes [N], with spike counts [N, E], that were learned from in `seconds`."""
        self.window.add(counts, classes, seconds)
        self.images += len(counts)
        self.spikes += int(counts.sum(dtype=np.int64))
        self.seconds += seconds

    @property
    def images_per_second(self) -> float:
        """Images learned from per second of presenting."""
        return self.images / max(self.seconds, 1e-9)

    def position(self) -> dict[str, float]:
        """Return the numbers of this for a checkpoint."""
        return {name: getattr(self, name) for name in ("images", "reported", "seconds", "spikes")}

    def arrays(self) -> dict:
        """Return the arrays of this for a checkpoint."""
        window = {"seconds": self.window.seconds}
        if self.window.images:
            window["counts"], window["classes"] = self.window.arrays()
        earlier = [{"sums": sums, "n_images": n_images} for sums, n_images in self.estimate.earlier]
        return {"window": window, "earlier_windows": earlier}

    def restore(self, position: dict, arrays: dict) -> None:
        """Take over what `position` and `arrays` gave at a checkpoint."""
        for name, value in position.items():
            setattr(self, name, value)
        window = arrays["window"]
        if "counts" in window:
            self.window.add(window["counts"], window["classes"], window["seconds"])
        self.estimate.earlier = [(each["sums"], each["n_images"]) for each in arrays["earlier_windows"]]


class Run(Protocol):
    """What the loop leaves to the run that it is a part of."""

    def save(self, progress: Progress) -> None:
        """Save a checkpoint."""

    def draw(self, progress: Progress) -> None:
        """Have the weights drawn."""

    def evaluate(self, images_seen: int) -> None:
        """Measure and record the accuracy."""


def train(
    engine,
    pixels: np.ndarray,
    classes: np.ndarray,
    progress: Progress,
    settings: Settings,
    tracker: Tracker,
    run: Run,
    interruption: Interruption,
    bars: bool = True,
) -> None:
    """Learn from the images, `settings.epochs` times, from where `progress` is.

    A checkpoint is saved before what else is due at the same number of images is done, so that a run that goes on from
    there begins with it: rows of metrics, pictures and evaluations come once, whenever a run was interrupted.

    Args:
        engine: stdp_run.engines, learns and counts spikes.
        pixels: uint8 [N, I].
        classes: int64 [N]; only the running estimate of the accuracy looks at them.
        progress: how far learning is; changed in place.
        settings: of the run.
        tracker: where metrics go.
        run: saves, draws and evaluates.
        interruption: whether a signal asks to stop.
        bars: show a progress bar.
    """
    total = len(pixels) * settings.epochs
    at_once = settings.batch_size
    saved_at = time.monotonic()
    with log_above_bars(), progress_bar(total, "learning", bars, progress.images) as bar:
        _report(engine, progress, settings, total, tracker, run, bar)
        while progress.images < total:
            seconds, n_shown = _learn_some(engine, pixels, classes, progress, settings, at_once)
            at_once = max(1, min(IMAGES_AT_ONCE, int(n_shown * SECONDS_AT_ONCE / max(seconds, 1e-9))))
            bar.update(n_shown)
            if interruption.pending or _is_time_to_save(progress, settings.trainer, total, saved_at):
                run.save(progress)
                saved_at = time.monotonic()
            if interruption.pending:
                interruption.hand_on()
            _report(engine, progress, settings, total, tracker, run, bar)


def _learn_some(engine, pixels, classes, progress: Progress, settings: Settings, at_once: int) -> tuple[float, int]:
    """Learn from about `at_once` images; return (seconds, images)."""
    n_images = len(pixels)
    epoch, start = divmod(progress.images, n_images)
    order = _order(n_images, epoch, settings.seed) if settings.trainer.shuffle else np.arange(n_images)
    stop = _next_stop(start, epoch * n_images, n_images, settings, at_once)
    chosen = order[start:stop]
    place = _places(progress.images, stop - start, n_images * settings.epochs)
    rate = learning_rate(settings.trainer.schedule, settings.trainer.rate_end, place)
    seconds = -time.perf_counter()
    counts = engine.learn(pixels[chosen], chosen, epoch, rate, _learners(settings, place))
    seconds += time.perf_counter()
    progress.add(counts, classes[chosen], seconds)
    return seconds, len(chosen)


@lru_cache(maxsize=1)
def _order(n_images: int, epoch: int, seed: int) -> np.ndarray:
    return image_order(n_images, epoch, seed)


def _is_due(every: int | None, before: int, after: int) -> bool:
    """Return whether a multiple of `every` images was reached between two counts of images seen."""
    return every is not None and before // every != after // every


def _is_time_to_save(progress: Progress, options: TrainerSettings, total: int, saved_at: float) -> bool:
    if progress.images == total or _is_due(options.checkpoint_every, progress.reported, progress.images):
        return True
    # An evaluation can take long, and a signal during it must find everything saved.
    if _is_due(options.evaluate_every, progress.reported, progress.images):
        return True
    return options.checkpoint_seconds is not None and time.monotonic() - saved_at >= options.checkpoint_seconds


def _next_stop(start: int, before: int, n_images: int, settings: Settings, at_once: int) -> int:
    """Return where the next call of the engine ends: where something is due, but after whole batches in any case."""
    batch = settings.batch_size
    options = settings.trainer
    stop = start + at_once
    for every in (options.log_every, options.evaluate_every, options.draw_every, options.checkpoint_every):
        if every is not None:
            stop = min(stop, ((before + start) // every + 1) * every - before)
    n_batches = -(-(stop - start) // batch)
    return min(start + n_batches * batch, n_images)


def _places(images_seen: int, count: int, total: int) -> np.ndarray:
    """Return how far through the run each of the next `count` images is, 0..1."""
    return (images_seen + np.arange(count)) / total


def _learners(settings: Settings, progress: np.ndarray) -> np.ndarray | None:
    """Return how many neurons may learn from each image; None where that does not change in the run."""
    first, last = settings.trainer.learners_start, settings.max_learners
    if first is None or last is None:
        return None
    return np.rint(first * (last / first) ** progress).astype(np.int64)


def _report(engine, progress: Progress, settings: Settings, total: int, tracker: Tracker, run: Run, bar) -> None:
    """Do what is due since the last report."""
    options = settings.trainer
    before, after = progress.reported, progress.images
    progress.reported = after
    if before == after:
        return
    if _is_due(options.log_every, before, after) or after == total:
        accuracy = _log_window(progress, engine, settings, total, tracker)
        if accuracy is not None:
            bar.set_postfix_str(f"running accuracy {accuracy:.1%}")
        progress.window = Window()
    if _is_due(options.draw_every, before, after) and after < total:  # at the end everything is drawn anyway
        run.draw(progress)
    if _is_due(options.evaluate_every, before, after):
        run.evaluate(after)


def _log_window(progress: Progress, engine, settings: Settings, total: int, tracker: Tracker) -> float | None:
    window = progress.window
    counts, classes = window.arrays()
    accuracy = progress.estimate.update(counts, classes, settings.evaluator.readout)
    state = engine.state()
    place = _places(progress.images - 1, 1, total)
    rate = learning_rate(settings.trainer.schedule, settings.trainer.rate_end, place)
    tracker.scalars(
        progress.images,
        {
            "train/running_accuracy": accuracy,
            "train/spikes_per_image": float(counts.sum(axis=1).mean()),
            "train/silent_neurons": int((counts.sum(axis=0) == 0).sum()),
            "train/images_per_second": window.images / max(window.seconds, 1e-9),
            "train/learning_rate": float(rate[0]),
            "network/theta_mean": float(state.theta.mean()),
            "network/weight_mean": float(state.weight.mean()),
            "network/weight_std": float(state.weight.std()),
            "network/weight_max": float(state.weight.max()),
        },
    )
    return accuracy
