"""The training loop of one network: learn from a batch of images; then save, log, plot and evaluate if due."""

import json
import math
import time
from typing import Any

import numpy as np

from stdp_run.checkpoint import Checkpoint
from stdp_run.config.compatibility import flat
from stdp_run.datasets.selection import Data
from stdp_run.engines.base import Engine, TrainingBatch
from stdp_run.errors import printable
from stdp_run.evaluation.metrics import Evaluation
from stdp_run.reporting.plots import ClassHistory
from stdp_run.training.measuring import label, measure
from stdp_run.training.order import evaluated_after, presentation_order, presented_by_class
from stdp_run.training.plot_writer import PlotWriter
from stdp_run.training.preparation import Prepared
from stdp_run.training.signals import Stop
from stdp_run.training.tracking import Bar, Bars, Tracker, log

IMAGES_AT_ONCE = 250
SECONDS_AT_ONCE = 0.5  # a stop signal waits about as long


def lr_factor(schedule: str, rate_end: float, progress: np.ndarray) -> np.ndarray:
    """Return the factor on the rule's changes at `progress` through the run, 0..1: from 1 to `rate_end`."""
    if schedule == "constant":
        return np.ones_like(progress)
    if schedule == "exponential":
        return rate_end**progress
    return rate_end + (1 - rate_end) * 0.5 * (1 + np.cos(math.pi * progress))


class Trainer:
    """The training of the network of an engine, by a prepared run, from the images of `data`.

    The run's progress moves on as images are learned from. Only its estimate of the accuracy, evaluations and an order
    by class look at the classes of `data`.
    """

    def __init__(
        self, run: Prepared, data: Data, engine: Engine, tracker: Tracker, plots: PlotWriter, stop: Stop
    ) -> None:
        self._run, self._settings, self._options, self._data = run, run.settings, run.settings.trainer, data
        self._engine, self._progress, self._stop = engine, run.progress, stop
        self._tracker, self._plots = tracker, plots
        self._begun = run.begun - run.progress.wall_seconds
        self._saved_at = time.monotonic()
        self._total = len(data.train_pixels) * run.settings.epochs
        self._epoch, self._order = -1, np.zeros(0, np.int64)  # an epoch, and the order of its images
        self._evaluations = evaluated_after(self._options, data.train_classes, run.settings.epochs)

    def train(self, bars: Bars) -> None:
        """Learn from the images, `settings.epochs` times, from where the progress is.

        Saving comes before the report that is due at the same number of images, and a resumed run begins with that
        report. So rows of metrics, plots and evaluations come once, whenever a run was interrupted.

        Raises:
            Stopped: a stop signal came; everything is saved.
        """
        progress, at_once = self._progress, self._settings.batch_size
        with bars.open("learning", self._total, progress.images) as bar:
            self._report(bar)
            while progress.images < self._total:
                batch, begun = self._next_batch(at_once), time.perf_counter()
                counts = self._engine.learn(*batch)
                seconds = time.perf_counter() - begun
                at_once = max(1, min(IMAGES_AT_ONCE, int(len(counts) * SECONDS_AT_ONCE / max(seconds, 1e-9))))
                progress.add(counts, self._data.train_classes[batch.image_index], seconds)
                bar.update(len(counts))
                stopping = self._stop.requested is not None
                if stopping or self._is_time_to_save():
                    self._save()
                self._report(bar)
                if stopping and progress.images < self._total:
                    log.info("%s: saved after %d images", self._run.directory.path, progress.images)
                    self._stop.check()

    def _next_batch(self, at_once: int) -> TrainingBatch:
        """Return about `at_once` images, up to where something is due, but whole batches in any case."""
        options, seen, batch_size = self._options, self._progress.images, self._settings.batch_size
        epoch, start = divmod(seen, len(self._data.train_pixels))
        intervals = (options.log_every, options.plot_every, options.checkpoint_every)
        ahead = [every - seen % every for every in intervals if every is not None]
        due = np.searchsorted(self._evaluations, seen, "right")
        ahead += [int(images) - seen for images in self._evaluations[due : due + 1]]
        n_batches = -(-min(at_once, *ahead) // batch_size)
        if self._epoch != epoch:
            self._order = presentation_order(options.order, self._data.train_classes, epoch, self._settings.seed)
            self._epoch = epoch
        chosen = self._order[start : start + n_batches * batch_size]
        before = np.arange(seen, seen + len(chosen))
        schedules = self._rate(before), self._k_winners(before)
        return TrainingBatch(self._data.train_pixels[chosen], chosen, epoch, *schedules)

    def _is_time_to_save(self) -> bool:
        every, seconds = self._options.checkpoint_every, self._options.checkpoint_seconds
        # An evaluation can take long, and a signal during it must find everything saved.
        if self._progress.images == self._total or self._is_due(every) or self._evaluation_is_due():
            return True
        return seconds is not None and time.monotonic() - self._saved_at >= seconds

    def _is_due(self, every: int | None) -> bool:
        """Return whether a multiple of `every` images was reached since the last report."""
        return every is not None and self._progress.reported // every != self._progress.images // every

    def _evaluation_is_due(self) -> bool:
        before, now = np.searchsorted(self._evaluations, (self._progress.reported, self._progress.images), "right")
        return bool(before != now)

    def _save(self) -> None:
        """Save a checkpoint."""
        self._plots.wait()
        self._tracker.save()
        self._progress.wall_seconds = self.wall_seconds()
        self._run.directory.save(self.checkpoint(progress=self._progress.saved()), self._options.keep_checkpoints)
        self._saved_at = time.monotonic()

    def wall_seconds(self) -> float:
        """Return the seconds that the run has taken, in all its parts."""
        return time.perf_counter() - self._begun

    def checkpoint(self, **more: Any) -> Checkpoint:
        """Return a checkpoint of the network as it is, with more of its fields."""
        images, first = self._progress.images, self._data.first_layer
        return Checkpoint(
            config=self._settings.record,
            engine=list(self._run.choice),
            state_dict=self._engine.state().arrays(),
            epoch=images // len(self._data.train_pixels),
            global_step=images,
            first_layer=None if first is None else first.arrays,
            **more,
        )

    def _report(self, bar: Bar) -> None:
        """Log, plot and evaluate what is due since the last report."""
        options, progress = self._options, self._progress
        if progress.reported == progress.images:
            return
        at_end = progress.images == self._total
        log_due, plot_due = self._is_due(options.log_every), self._is_due(options.plot_every)
        evaluation_due = self._evaluation_is_due()
        progress.reported = progress.images
        if log_due or at_end:
            self._log(bar)
        if plot_due and not at_end:  # the end has plots of its own
            labels = progress.estimate.labels()
            of_neurons = None if labels is None else labels.label
            self._plots.while_learning(progress.images, self._engine.state(), of_neurons)
        if evaluation_due:
            self._evaluate()

    def _log(self, bar: Bar) -> None:
        """Write a row of metrics about the images since the last one."""
        progress, state = self._progress, self._engine.state()
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

    def _evaluate(self) -> None:
        """Measure and record the accuracy; with an order by class, of the classes presented so far."""
        no_bars, images, stop = Bars(visible=False), self._progress.images, self._stop
        presented = self._presented([images])
        known = None if presented is None else presented[0]
        labels = label(self._engine, self._data, self._settings.n_label, no_bars, stop, known)
        found = measure(self._engine, self._data, labels, no_bars, stop, known)
        values: dict[str, float | None] = {f"evaluation/accuracy_{k}": value for k, value in found.accuracy.items()}
        self._tracker.scalars(images, {**values, **self._per_class(found)})
        text = ", ".join(f"{name} {value:.2%}" for name, value in found.accuracy.items())
        log.info("after %d images: %s", images, text)

    def record_end(self, final: Evaluation) -> ClassHistory | None:
        """Record and plot the accuracy at the end.

        Return the history of that of each class; None if it was not measured on the way.
        """
        settings, images = self._settings, self._progress.images
        readout, split = settings.evaluator.readout, settings.dataset.split
        accuracy = {f"{split}/accuracy_{name}": value for name, value in final.accuracy.items()}
        rows = [json.loads(line) for line in (self._run.directory.path / "metrics.jsonl").read_text().splitlines()]
        per_class = self._per_class(final)
        history = self._history(rows, per_class)
        self._tracker.scalars(images, {**accuracy, **(per_class if history else {})})
        self._tracker.hyperparameters(flat(settings.record), accuracy)
        running, evaluations = (
            [(row["images_seen"], row[name]) for row in rows if row.get(name) is not None]
            for name in ("train/running_accuracy", f"evaluation/accuracy_{readout}")
        )
        evaluations.append((images, final.accuracy[readout]))
        points = np.array(running, np.float64).reshape(-1, 2), np.array(evaluations, np.float64)
        self._plots.at_the_end(images, final, *points, history)
        return history

    def _history(self, rows: list[dict], final: dict[str, float | None]) -> ClassHistory | None:
        """Return the accuracy of each class in `rows` of metrics and, `final`, at the end; None if it is in no row."""
        images = self._progress.images
        on_the_way = [row for row in rows if final.keys() <= row.keys() and row["images_seen"] < images]
        if not on_the_way:
            return None
        images_seen = [*(row["images_seen"] for row in on_the_way), images]
        accuracy = np.array([[row[name] for name in final] for row in (*on_the_way, final)], np.float64)
        return ClassHistory(images_seen, accuracy, self._presented(images_seen))

    def _presented(self, images_seen: list[int]) -> np.ndarray | None:
        """Return the classes presented between some numbers of images seen, bool [K, C]; None unless by class."""
        if self._options.order != "by_class":
            return None
        data = self._data
        return presented_by_class(data.train_classes, len(data.classes), images_seen, self._settings.batch_size)

    def _per_class(self, found: Evaluation) -> dict[str, float | None]:
        """Return the accuracy of each class by the judged readout, by its name in the metrics."""
        shares = found.accuracy_per_class(self._settings.evaluator.readout)
        names = (f"accuracy_per_class/{printable(name)}" for name in self._data.classes)
        return dict(zip(names, shares, strict=True))

    def _rate(self, seen: np.ndarray) -> np.ndarray:
        """Return the factor of the learning-rate schedule for images with so many `seen` before them."""
        return lr_factor(self._options.schedule, self._options.rate_end, seen / self._total)

    def _k_winners(self, seen: np.ndarray) -> np.ndarray | None:
        """Return the number of neurons that may learn from each image; None where it does not change in the run."""
        first, last = self._options.k_winners_start, self._settings.k_winners
        if first is None or last is None:
            return None
        return np.rint(first * (last / first) ** (seen / self._total)).astype(np.int64)
