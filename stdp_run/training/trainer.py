"""The training loop of one network: learn from images, save if due, then log, plot and evaluate if due."""

import math
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from stdp_run.config.schema import Settings
from stdp_run.datasets.selection import Data
from stdp_run.engines.base import Engine, TrainingBatch
from stdp_run.evaluation.metrics import RunningAccuracy
from stdp_run.network import NetworkState
from stdp_run.training.order import evaluated_after, presentation_order
from stdp_run.training.signals import Interruption
from stdp_run.training.tracking import Bar, Bars, Tracker

IMAGES_AT_ONCE = 250
SECONDS_AT_ONCE = 0.5  # a signal waits about as long for its answer


def lr_factor(schedule: str, rate_end: float, progress: np.ndarray) -> np.ndarray:
    """Return the factor on the rule's changes at `progress` through the run, 0..1: from 1 to `rate_end`."""
    if schedule == "constant":
        return np.ones_like(progress)
    if schedule == "exponential":
        return rate_end**progress
    return rate_end + (1 - rate_end) * 0.5 * (1 + np.cos(math.pi * progress))


@dataclass
class Progress:
    """How far learning is. With the network's state and the settings, it is all that a resumed run needs."""

    estimate: RunningAccuracy
    images: int = 0  # learned from, over all epochs
    reported: int = 0  # of those, the ones up to which everything that was due is done
    spikes: int = 0
    seconds: float = 0.0  # spent to learn from them
    window_seconds: float = 0.0  # of those, the ones since the last row of metrics
    counts: list[np.ndarray] = field(default_factory=list)  # spikes [N, E] of images since the last row, in parts
    classes: list[np.ndarray] = field(default_factory=list)  # [N] of the same

    def add(self, counts: np.ndarray, classes: np.ndarray, seconds: float) -> None:
        """Add images of some classes [N], with spike counts [N, E], that were learned from in `seconds`."""
        self.images += len(counts)
        self.spikes += int(counts.sum(dtype=np.int64))
        self.seconds += seconds
        self.window_seconds += seconds
        self.counts.append(counts)
        self.classes.append(classes)

    def saved(self) -> dict[str, Any]:
        """Return all of this in plain containers and arrays, for a checkpoint."""
        return {**vars(self), "estimate": [list(each) for each in self.estimate.earlier]}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `saved` returned for a checkpoint."""
        self.estimate.earlier = [(sums, n_images) for sums, n_images in saved["estimate"]]
        vars(self).update({**saved, "estimate": self.estimate})


class Run(Protocol):
    """What does for the loop, when it is due, what concerns more than learning."""

    def save(self, state: NetworkState) -> None: ...
    def plot(self, state: NetworkState) -> None: ...
    def evaluate(self) -> None: ...


class Trainer:
    """The training of one network: its order of images, its schedules, and what is due when.

    `progress` moves on as images are learned from. Only its estimate of the accuracy and an order by class look at the
    classes of `data`.
    """

    def __init__(
        self, settings: Settings, data: Data, progress: Progress, tracker: Tracker, interruption: Interruption
    ):
        self._settings, self._options, self._progress = settings, settings.trainer, progress
        self._pixels, self._classes = data.train_pixels, data.train_classes
        self._tracker, self._interruption = tracker, interruption
        self._total = len(self._pixels) * settings.epochs
        self._epoch, self._order = -1, np.zeros(0, np.int64)  # an epoch, and the order of its images
        self._evaluations = evaluated_after(self._options, self._classes, settings.epochs)

    def train(self, engine: Engine, run: Run, bars: Bars) -> None:
        """Learn from the images, `settings.epochs` times, from where the progress is.

        Saving comes before the report that is due at the same number of images, and a resumed run begins with that
        report. So rows of metrics, plots and evaluations come once, whenever a run was interrupted.
        """
        progress, at_once = self._progress, self._settings.batch_size
        saved_at = time.monotonic()
        with bars.open("learning", self._total, progress.images) as bar:
            self._report(engine, run, bar)
            while progress.images < self._total:
                batch, begun = self._next_batch(at_once), time.perf_counter()
                counts = engine.learn(*batch)
                seconds = time.perf_counter() - begun
                at_once = max(1, min(IMAGES_AT_ONCE, int(len(counts) * SECONDS_AT_ONCE / max(seconds, 1e-9))))
                progress.add(counts, self._classes[batch.image_index], seconds)
                bar.update(len(counts))
                stopping = self._interruption.pending is not None
                if self._is_time_to_save(saved_at):
                    run.save(engine.state())
                    saved_at = time.monotonic()
                self._report(engine, run, bar)
                if stopping and progress.images < self._total:  # all is saved
                    self._interruption.stop()

    def _next_batch(self, at_once: int) -> TrainingBatch:
        """Return about `at_once` images, up to where something is due, but whole batches in any case."""
        options, seen, batch_size = self._options, self._progress.images, self._settings.batch_size
        epoch, start = divmod(seen, len(self._pixels))
        intervals = (options.log_every, options.plot_every, options.checkpoint_every)
        ahead = [every - seen % every for every in intervals if every is not None]
        due = np.searchsorted(self._evaluations, seen, "right")
        ahead += [int(images) - seen for images in self._evaluations[due : due + 1]]
        n_batches = -(-min(at_once, *ahead) // batch_size)
        if self._epoch != epoch:
            self._order = presentation_order(options.order, self._classes, epoch, self._settings.seed)
            self._epoch = epoch
        chosen = self._order[start : start + n_batches * batch_size]
        before = np.arange(seen, seen + len(chosen))
        return TrainingBatch(self._pixels[chosen], chosen, epoch, self._rate(before), self._k_winners(before))

    def _is_time_to_save(self, saved_at: float) -> bool:
        if self._interruption.pending or self._progress.images == self._total:
            return True
        every, seconds = self._options.checkpoint_every, self._options.checkpoint_seconds
        # An evaluation can take long, and a signal during it must find everything saved.
        if self._is_due(every) or self._evaluation_is_due():
            return True
        return seconds is not None and time.monotonic() - saved_at >= seconds

    def _report(self, engine: Engine, run: Run, bar: Bar) -> None:
        """Do what is due since the last report."""
        options, progress = self._options, self._progress
        if progress.reported == progress.images:
            return
        at_end = progress.images == self._total
        log, plot, evaluate = *map(self._is_due, (options.log_every, options.plot_every)), self._evaluation_is_due()
        progress.reported = progress.images
        if log or at_end:
            self._log(engine.state(), bar)
        if plot and not at_end:  # the end has plots of its own
            run.plot(engine.state())
        if evaluate:
            run.evaluate()

    def _is_due(self, every: int | None) -> bool:
        """Return whether a multiple of `every` images was reached since the last report."""
        return every is not None and self._progress.reported // every != self._progress.images // every

    def _evaluation_is_due(self) -> bool:
        """Return whether an evaluation on the way was reached since the last report."""
        before, now = np.searchsorted(self._evaluations, (self._progress.reported, self._progress.images), "right")
        return bool(before != now)

    def _log(self, state: NetworkState, bar: Bar) -> None:
        """Write a row of metrics about the images since the last one."""
        progress = self._progress
        counts, classes = np.concatenate(progress.counts), np.concatenate(progress.classes)
        accuracy = progress.estimate.update(counts, classes, self._settings.evaluator.readout)
        self._tracker.scalars(
            progress.images,
            {
                "train/running_accuracy": accuracy,
                "train/spikes_per_image": float(counts.sum(axis=1).mean()),
                "train/silent_neurons": int((counts.sum(axis=0) == 0).sum()),
                "train/images_per_second": len(counts) / max(progress.window_seconds, 1e-9),
                "train/lr_factor": float(self._rate(np.array([progress.images - 1]))[0]),
                "network/theta_mean": float(state.theta.mean()),
                "network/weight_mean": float(state.weight.mean()),
                "network/weight_std": float(state.weight.std()),
                "network/weight_max": float(state.weight.max()),
            },
        )
        progress.counts, progress.classes, progress.window_seconds = [], [], 0.0
        if accuracy is not None:
            bar.remark(f"running accuracy {accuracy:.1%}")

    def _rate(self, seen: np.ndarray) -> np.ndarray:
        """Return the factor of the learning-rate schedule for images before which some were seen."""
        return lr_factor(self._options.schedule, self._options.rate_end, seen / self._total)

    def _k_winners(self, seen: np.ndarray) -> np.ndarray | None:
        """Return how many neurons may learn from each image; None where that does not change in the run."""
        first, last = self._options.k_winners_start, self._settings.k_winners
        if first is None or last is None:
            return None
        return np.rint(first * (last / first) ** (seen / self._total)).astype(np.int64)
