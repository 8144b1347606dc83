"""The training loop of one network: learn from images, save if due, then log, plot and evaluate if due."""

import math
import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from tqdm import tqdm

from stdp_run.config.schema import Settings, TrainerSettings
from stdp_run.encoding import image_order
from stdp_run.engines.base import TrainingBatch
from stdp_run.evaluation.metrics import RunningAccuracy
from stdp_run.network import NetworkState
from stdp_run.training.drive import Network, Steps
from stdp_run.training.signals import Interruption
from stdp_run.training.tracking import Bars, Tracker


def learning_rate(schedule: str, rate_end: float, progress: np.ndarray) -> np.ndarray:
    """Return the factor on the rule's changes at `progress` through the run, 0..1: from 1 to `rate_end`."""
    if schedule == "constant":
        return np.ones_like(progress)
    if schedule == "exponential":
        return rate_end**progress
    return rate_end + (1 - rate_end) * 0.5 * (1 + np.cos(math.pi * progress))


class Window:
    """The images since the last row of metrics."""

    def __init__(self) -> None:
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
    """How far learning is. With the network's state and the settings, it is all that a resumed run needs."""

    estimate: RunningAccuracy
    window: Window = field(default_factory=Window)
    images: int = 0  # learned from, over all epochs
    reported: int = 0  # of those, the ones up to which everything that was due is done
    seconds: float = 0.0  # spent to present images, to this network and those side by side with it
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
        window: dict = {"seconds": self.window.seconds}
        if self.window.images:
            window["counts"], window["classes"] = self.window.arrays()
        earlier = [{"sums": sums, "n_images": n_images} for sums, n_images in self.estimate.earlier]
        return {"window": window, "earlier_windows": earlier}

    def restore(self, position: dict, arrays: dict) -> None:
        """Take over what `position` and `arrays` returned for a checkpoint."""
        for name, value in position.items():
            setattr(self, name, value)
        window = arrays["window"]
        if "counts" in window:
            self.window.add(window["counts"], window["classes"], window["seconds"])
        self.estimate.earlier = [(each["sums"], each["n_images"]) for each in arrays["earlier_windows"]]


class Run(Protocol):
    """What the loop leaves to the run that it is a part of."""

    def save(self, state: NetworkState) -> None:
        """Save a checkpoint."""

    def plot(self, state: NetworkState) -> None:
        """Have the weights plotted."""

    def evaluate(self) -> Steps[None]:
        """Measure and record the accuracy."""


class Trainer:
    """The training of one network, beside the network itself: its order of images, schedules and metrics.

    Args:
        settings: of the run.
        progress: how far it is; it moves on as images are learned from.
        pixels: uint8 [N, I].
        classes: int64 [N]; only the running estimate of the accuracy looks at them.
        tracker: where metrics go.
        interruption: whether a signal asks to stop.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        pixels: np.ndarray,
        classes: np.ndarray,
        tracker: Tracker,
        interruption: Interruption,
    ):
        self._settings, self._options, self._progress = settings, settings.trainer, progress
        self._pixels, self._classes = pixels, classes
        self._tracker, self._interruption = tracker, interruption
        self._total = len(pixels) * settings.epochs
        self._order: tuple[int, np.ndarray] | None = None  # the epoch, and the order of its images

    def train(self, network: Network, run: Run, bars: Bars) -> Steps[None]:
        """Learn from the images, `settings.epochs` times, from where the progress is.

        A checkpoint is saved before what else is due at the same number of images is done, so that a run that is
        resumed begins with it: rows of metrics, plots and evaluations come once, whenever a run was interrupted.
        """
        progress = self._progress
        saved_at = time.monotonic()
        with bars.open("learning", self._total, progress.images) as bar:
            yield from self._report(network, run, bar)
            while progress.images < self._total:
                batch = self._next_batch(network.images_at_once)
                seconds = network.seconds
                counts = yield batch
                learned_from = batch.image_index[: len(counts)]
                progress.add(counts, self._classes[learned_from], network.seconds - seconds)
                bar.update(len(counts))
                if self._is_time_to_save(saved_at):
                    run.save(network.state())
                    saved_at = time.monotonic()
                yield from self._report(network, run, bar)

    def _next_batch(self, at_once: int) -> TrainingBatch:
        """Return about `at_once` images, up to where something is due, but whole batches in any case."""
        n_images, seen, batch_size = len(self._pixels), self._progress.images, self._settings.batch_size
        options = self._options
        epoch, start = divmod(seen, n_images)
        stop = start + at_once
        for every in (options.log_every, options.evaluate_every, options.plot_every, options.checkpoint_every):
            if every is not None:
                stop = min(stop, start + every - seen % every)
        n_batches = -(-(stop - start) // batch_size)
        chosen = self._order_of(epoch)[start : start + n_batches * batch_size]
        place = self._place(np.arange(seen, seen + len(chosen)))
        return TrainingBatch(self._pixels[chosen], chosen, epoch, self._rate(place), self._learners(place))

    def _is_time_to_save(self, saved_at: float) -> bool:
        options = self._options
        if self._interruption.pending or self._progress.images == self._total:
            return True
        # An evaluation can take long, and a signal during it must find everything saved.
        if self._is_due(options.checkpoint_every) or self._is_due(options.evaluate_every):
            return True
        return options.checkpoint_seconds is not None and time.monotonic() - saved_at >= options.checkpoint_seconds

    def _report(self, network: Network, run: Run, bar: tqdm) -> Steps[None]:
        """Do what is due since the last report."""
        options, progress = self._options, self._progress
        if progress.reported == progress.images:
            return
        at_end = progress.images == self._total
        log = self._is_due(options.log_every) or at_end
        plot = self._is_due(options.plot_every) and not at_end  # the end has plots of its own
        evaluate = self._is_due(options.evaluate_every)
        progress.reported = progress.images
        if log:
            accuracy = self._log(network.state())
            if accuracy is not None:
                bar.set_postfix_str(f"running accuracy {accuracy:.1%}")
        if plot:
            run.plot(network.state())
        if evaluate:
            yield from run.evaluate()

    def _is_due(self, every: int | None) -> bool:
        """Return whether a multiple of `every` images was reached since the last report."""
        return every is not None and self._progress.reported // every != self._progress.images // every

    def _log(self, state: NetworkState) -> float | None:
        """Write a row of metrics about the images since the last one; return the running accuracy, if there is one."""
        progress, window = self._progress, self._progress.window
        counts, classes = window.arrays()
        accuracy = progress.estimate.update(counts, classes, self._settings.evaluator.readout)
        self._tracker.scalars(
            progress.images,
            {
                "train/running_accuracy": accuracy,
                "train/spikes_per_image": float(counts.sum(axis=1).mean()),
                "train/silent_neurons": int((counts.sum(axis=0) == 0).sum()),
                "train/images_per_second": window.images / max(window.seconds, 1e-9),
                "train/learning_rate": float(self._rate(self._place(np.array([progress.images - 1])))[0]),
                "network/theta_mean": float(state.theta.mean()),
                "network/weight_mean": float(state.weight.mean()),
                "network/weight_std": float(state.weight.std()),
                "network/weight_max": float(state.weight.max()),
            },
        )
        progress.window = Window()
        return accuracy

    def _order_of(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            n_images = len(self._pixels)
            shuffled = self._settings.trainer.shuffle
            self._order = (
                epoch,
                image_order(n_images, epoch, self._settings.seed) if shuffled else np.arange(n_images),
            )
        return self._order[1]

    def _place(self, images_seen: np.ndarray) -> np.ndarray:
        """Return how far through the run an image is before which some were seen, 0..1."""
        return images_seen / self._total

    def _rate(self, place: np.ndarray) -> np.ndarray:
        return learning_rate(self._options.schedule, self._options.rate_end, place)

    def _learners(self, place: np.ndarray) -> np.ndarray | None:
        """Return how many neurons may learn from each image; None where that does not change in the run."""
        first, last = self._options.learners_start, self._settings.max_learners
        if first is None or last is None:
            return None
        return np.rint(first * (last / first) ** place).astype(np.int64)
