"""The training loop: take images, present them, save if due, log, draw and evaluate if due."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from stdp_run.config.schema import Settings, TrainerSettings
from stdp_run.encoding import image_order
from stdp_run.engines.side_by_side import Lesson, Networks
from stdp_run.evaluation.readouts import RunningAccuracy
from stdp_run.network import NetworkState
from stdp_run.training.signals import Interruption
from stdp_run.training.tracking import Tracker, log_above_bars, progress_bar

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
    seconds: float = 0.0  # spent presenting images, to this network and those side by side with it
    spikes: int = 0

    @classmethod
    def start(cls, n_classes: int, options: TrainerSettings) -> "Progress":
        """Return the progress of a run that has not begun."""
        return cls(RunningAccuracy(n_classes, max(1, options.label_window // options.log_every)))

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


class Learning:
    """What learning needs of one network beside the network itself: its order of images, schedules and metrics."""

    def __init__(self, settings: Settings, progress: Progress, tracker: Tracker):
        self.settings = settings
        self.progress = progress  # how far it is; it moves on as images are learned from
        self.tracker = tracker  # where metrics go
        self._order: tuple[int, np.ndarray] | None = None  # the pass, and the order of its images

    def lesson(self, pixels: np.ndarray, epoch: int, part: slice) -> Lesson:
        """Return a part of a pass over the images, uint8 [N, I], in this network's own order."""
        chosen = self._order_of(epoch, len(pixels))[part]
        place = self._places(epoch * len(pixels) + part.start, len(chosen), len(pixels))
        return Lesson(pixels[chosen], chosen, self._rate(place), self._learners(place))

    def report(self, network: NetworkState, n_images: int) -> float | None:
        """Write a row of metrics about the images since the last one; return the running accuracy, if there is one."""
        progress, window = self.progress, self.progress.window
        counts, classes = window.arrays()
        accuracy = progress.estimate.update(counts, classes, self.settings.evaluator.readout)
        self.tracker.scalars(
            progress.images,
            {
                "train/running_accuracy": accuracy,
                "train/spikes_per_image": float(counts.sum(axis=1).mean()),
                "train/silent_neurons": int((counts.sum(axis=0) == 0).sum()),
                "train/images_per_second": window.images / max(window.seconds, 1e-9),
                "train/learning_rate": float(self._rate(self._places(progress.images - 1, 1, n_images))[0]),
                "network/theta_mean": float(network.theta.mean()),
                "network/weight_mean": float(network.weight.mean()),
                "network/weight_std": float(network.weight.std()),
                "network/weight_max": float(network.weight.max()),
            },
        )
        progress.window = Window()
        return accuracy

    def _order_of(self, epoch: int, n_images: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            shuffle = self.settings.trainer.shuffle
            order = image_order(n_images, epoch, self.settings.seed) if shuffle else np.arange(n_images)
            self._order = (epoch, order)
        return self._order[1]

    def _places(self, images_seen: int, count: int, n_images: int) -> np.ndarray:
        """Return how far through the run each of the next `count` images is, 0..1."""
        return (images_seen + np.arange(count)) / (n_images * self.settings.epochs)

    def _rate(self, place: np.ndarray) -> np.ndarray:
        return learning_rate(self.settings.trainer.schedule, self.settings.trainer.rate_end, place)

    def _learners(self, place: np.ndarray) -> np.ndarray | None:
        """Return how many neurons may learn from each image; None where that does not change in the run."""
        first, last = self.settings.trainer.learners_start, self.settings.max_learners
        if first is None or last is None:
            return None
        return np.rint(first * (last / first) ** place).astype(np.int64)


class Runs(Protocol):
    """What the loop leaves to the runs that it is a part of; networks are known by their number."""

    def save(self, chosen: Sequence[int]) -> None:
        """Save a checkpoint of each."""

    def draw(self, k: int) -> None:
        """Have the weights of one drawn."""

    def evaluate(self, chosen: Sequence[int]) -> None:
        """Measure and record the accuracy of each."""


def train(
    networks: Networks,
    learnings: Sequence[Learning],
    pixels: np.ndarray,
    classes: np.ndarray,
    runs: Runs,
    interruption: Interruption,
    bars: bool = True,
) -> None:
    """Have K networks learn from the images, `settings.epochs` times, in step, from where the progress of each is.

    Those that are behind, as after a stop between two checkpoints, catch up with the others first. A checkpoint is
    saved before what else is due at the same number of images is done, so that a run that goes on from there begins
    with it: rows of metrics, pictures and evaluations come once, whenever a run was interrupted.

    Args:
        networks: K of them.
        learnings: [K], of the networks in their order; nothing that is due at some number of images, nor the number
            of images, differs between them.
        pixels: uint8 [N, I].
        classes: int64 [N]; only the running estimate of the accuracy looks at them.
        runs: save, draw and evaluate.
        interruption: whether a signal asks to stop.
        bars: show a progress bar.
    """
    loop = _Loop(networks, learnings, pixels, classes, runs)
    everyone = range(len(learnings))
    total = len(pixels) * learnings[0].settings.epochs
    done = sum(each.progress.images for each in learnings)
    at_once = learnings[0].settings.batch_size
    saved_at = time.monotonic()
    with log_above_bars(), progress_bar(total * len(learnings), "learning", bars, done) as bar:
        loop.report(everyone, bar)
        while chosen := loop.behind(total):
            seconds, n_shown = loop.learn(chosen, at_once)
            at_once = max(1, min(IMAGES_AT_ONCE, int(n_shown * SECONDS_AT_ONCE / max(seconds, 1e-9))))
            bar.update(n_shown * len(chosen))
            if interruption.pending or _is_time_to_save(learnings[chosen[0]], total, saved_at):
                runs.save(chosen)
                saved_at = time.monotonic()
            if interruption.pending:
                interruption.hand_on()
            loop.report(chosen, bar)


class _Loop:
    """The steps of the loop."""

    def __init__(self, networks: Networks, learnings: Sequence[Learning], pixels, classes, runs: Runs):
        self._networks, self._learnings, self._runs = networks, learnings, runs
        self._pixels, self._classes = pixels, classes
        self._shown: dict[int, float] = {}  # running accuracy by network

    def behind(self, total: int) -> list[int]:
        """Return the networks that have learned from the fewest images, all of them if in step; none at the end."""
        images = [each.progress.images for each in self._learnings]
        return [k for k, seen in enumerate(images) if seen == min(images) < total]

    def learn(self, chosen: Sequence[int], at_once: int) -> tuple[float, int]:
        """Have networks that are in step learn from about `at_once` images each; return (seconds, images)."""
        n_images, first = len(self._pixels), self._learnings[chosen[0]]
        images_seen = first.progress.images
        epoch, start = divmod(images_seen, n_images)
        stop = _next_stop(start, epoch * n_images, n_images, first.settings, at_once)
        ahead = [each.progress.images for each in self._learnings if each.progress.images > images_seen]
        stop = min([stop, *(seen - epoch * n_images for seen in ahead)])
        lessons = [self._learnings[k].lesson(self._pixels, epoch, slice(start, stop)) for k in chosen]
        seconds = -time.perf_counter()
        counts = self._networks.learn(chosen, lessons, epoch)
        seconds += time.perf_counter()
        for k, lesson, spikes in zip(chosen, lessons, counts, strict=True):
            self._learnings[k].progress.add(spikes, self._classes[lesson.image_index], seconds)
        return seconds, stop - start

    def report(self, chosen: Sequence[int], bar) -> None:
        """Do what is due since the last report; evaluations come last, of all networks together."""
        to_evaluate = [k for k in chosen if self._report(k)]
        if self._shown:
            bar.set_postfix_str(f"running accuracy {statistics.mean(self._shown.values()):.1%}")
        if to_evaluate:
            self._runs.evaluate(to_evaluate)

    def _report(self, k: int) -> bool:
        """Log and draw if due; return whether an evaluation is."""
        learning = self._learnings[k]
        options, progress = learning.settings.trainer, learning.progress
        total = len(self._pixels) * learning.settings.epochs
        before, after = progress.reported, progress.images
        progress.reported = after
        if before == after:
            return False
        if _is_due(options.log_every, before, after) or after == total:
            accuracy = learning.report(self._networks.state(k), len(self._pixels))
            if accuracy is not None:
                self._shown[k] = accuracy
        if _is_due(options.plot_every, before, after) and after < total:  # at the end everything is drawn anyway
            self._runs.draw(k)
        return _is_due(options.evaluate_every, before, after)


def _is_due(every: int | None, before: int, after: int) -> bool:
    """Return whether a multiple of `every` images was reached between two counts of images seen."""
    return every is not None and before // every != after // every


def _is_time_to_save(learning: Learning, total: int, saved_at: float) -> bool:
    options, progress = learning.settings.trainer, learning.progress
    if progress.images == total or _is_due(options.checkpoint_every, progress.reported, progress.images):
        return True
    # An evaluation can take long, and a signal during it must find everything saved.
    if _is_due(options.evaluate_every, progress.reported, progress.images):
        return True
    return options.checkpoint_seconds is not None and time.monotonic() - saved_at >= options.checkpoint_seconds


def _next_stop(start: int, before: int, n_images: int, settings: Settings, at_once: int) -> int:
    """Return where the next lesson ends: where something is due, but after whole batches in any case."""
    batch = settings.batch_size
    options = settings.trainer
    stop = start + at_once
    for every in (options.log_every, options.evaluate_every, options.plot_every, options.checkpoint_every):
        if every is not None:
            stop = min(stop, ((before + start) // every + 1) * every - before)
    n_batches = -(-(stop - start) // batch)
    return min(start + n_batches * batch, n_images)
