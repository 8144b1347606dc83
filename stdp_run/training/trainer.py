"""The training of one network: its loop, which learns, saves, logs, plots and evaluates, then its result."""

import json
import time
from bisect import bisect
from collections.abc import Sequence
from typing import Any

import numpy as np

from stdp_run import checkpoint
from stdp_run.checkpoint import Checkpoint
from stdp_run.config.compatibility import flat
from stdp_run.config.schema import Settings
from stdp_run.datasets.selection import Data
from stdp_run.engines.base import Engine, TrainingBatch
from stdp_run.engines.selection import make_engine, set_process_options
from stdp_run.errors import UserError, printable
from stdp_run.evaluation.metrics import Evaluation
from stdp_run.evaluation.supervised import Features, fit_and_test
from stdp_run.network import initial_state
from stdp_run.reporting.plots import ClassHistory
from stdp_run.reporting.report import write_report
from stdp_run.training import result as results
from stdp_run.training.measuring import label, measure
from stdp_run.training.order import (
    evaluated_after,
    images_per_row,
    lr_factor,
    presentation_order,
    presented_by_class,
    schedules,
)
from stdp_run.training.plot_writer import PlotWriter
from stdp_run.training.preparation import Prepared
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.signals import Stop
from stdp_run.training.tracking import Bar, Bars, Tracker, log

IMAGES_AT_ONCE = 250
SECONDS_AT_ONCE = 0.5  # about the longest wait of a stop signal


class Trainer:
    """Trains the network of an engine on the images of `data`; continues from the progress of a prepared run."""

    def __init__(self, run: Prepared, data: Data, engine: Engine, tracker: Tracker, plots: PlotWriter, stop: Stop):
        self._run, self._settings, self._data = run, run.settings, data
        self._options = options = run.settings.trainer
        self._engine, self._progress, self._stop = engine, run.progress, stop
        self._tracker, self._plots = tracker, plots
        self._begun = run.begun - run.progress.wall_seconds
        self._saved_at = time.monotonic()
        self._total = len(data.train_pixels) * run.settings.epochs
        self._epoch, self._order = -1, np.zeros(0, np.int64)  # the current epoch, and the order of its images
        log_every, plot_every = images_per_row(options, self._total), options.plot_every or self._total
        save_every = options.checkpoint_every or self._total
        evaluations, end = evaluated_after(options, data.train_classes, run.settings.epochs), (self._total,)
        # Numbers of images after which an action is due. A run saves before each evaluation, which a signal may stop.
        self._due: dict[str, tuple[Sequence[int], ...]] = {
            "log": (range(log_every, self._total, log_every), end),
            "plot": (range(plot_every, self._total, plot_every),),  # `complete` plots at the end
            "save": (range(save_every, self._total, save_every), evaluations, end),
            "evaluate": (evaluations,),
        }

    def train(self, bars: Bars) -> None:
        """Learn from the images for `settings.epochs` epochs.

        A checkpoint is saved before the report on the same images, and a resumed run begins with this report. So each
        row of metrics, plot and evaluation appears once. At a stop signal everything is saved; then Stopped is raised.
        """
        progress, at_once, max_age = self._progress, self._settings.batch_size, self._options.checkpoint_seconds
        with bars.open("learning", self._total, progress.images) as bar:
            self._report(bar)
            while progress.images < self._total:
                batch, begun = self._next_batch(at_once), time.perf_counter()
                counts = self._engine.learn(*batch)
                took = time.perf_counter() - begun
                at_once = max(1, min(IMAGES_AT_ONCE, int(len(counts) * SECONDS_AT_ONCE / max(took, 1e-9))))
                progress.add(counts, self._data.train_classes[batch.image_index], took)
                bar.update(len(counts))
                stopping = self._stop.requested is not None
                too_old = max_age is not None and time.monotonic() - self._saved_at >= max_age
                if stopping or too_old or self._is_due("save"):
                    self._save()
                self._report(bar)
                if stopping and progress.images < self._total:
                    log.info("%s: saved after %d images", self._run.directory.path, progress.images)
                    self._stop.check()

    def _next_batch(self, at_once: int) -> TrainingBatch:
        """Return about `at_once` images, in whole batches, up to the next action that is due."""
        seen, batch_size = self._progress.images, self._settings.batch_size
        epoch, start = divmod(seen, len(self._data.train_pixels))
        due = [each for several in self._due.values() for each in several]
        stop = min(each[k] for each in due if (k := bisect(each, seen)) < len(each))
        n_batches = -(-min(at_once, stop - seen) // batch_size)
        if self._epoch != epoch:
            order, seed = self._options.order, self._settings.seed
            self._epoch, self._order = epoch, presentation_order(order, self._data.train_classes, epoch, seed)
        chosen = self._order[start : start + n_batches * batch_size]
        progress = np.arange(seen, seen + len(chosen)) / self._total
        factors = schedules(self._options, self._settings.k_winners, progress)
        return TrainingBatch(self._data.train_pixels[chosen], chosen, epoch, *factors)

    def _is_due(self, name: str) -> bool:
        """Return whether the action `name` became due since the last report."""
        reported, images = self._progress.reported, self._progress.images
        return any(bisect(each, reported) < bisect(each, images) for each in self._due[name])

    def _save(self) -> None:
        self._plots.wait()
        self._tracker.save()
        self._progress.wall_seconds = self.wall_seconds()
        self._run.directory.save(self.checkpoint(progress=self._progress.saved()), self._options.keep_checkpoints)
        self._saved_at = time.monotonic()

    def wall_seconds(self) -> float:
        """Return the wall time of the run in seconds, over all resumed parts."""
        return time.perf_counter() - self._begun

    def checkpoint(self, **more: Any) -> Checkpoint:
        """Return a checkpoint of the network with further fields `more`; raise UserError unless arrays are finite."""
        images, first, arrays = self._progress.images, self._data.first_layer, self._engine.state().arrays()
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                problem = f"{name} is not finite after {images} images and was not saved; a constant is too large"
                raise UserError(f"{self._run.directory.path}: {problem}")
        return Checkpoint(
            config=self._settings.record,
            engine=list(self._run.choice),
            state_dict=arrays,
            epoch=images // len(self._data.train_pixels),
            global_step=images,
            first_layer=None if first is None else first.arrays,
            **more,
        )

    def _report(self, bar: Bar) -> None:
        """Log, plot and evaluate if due since the last report."""
        progress = self._progress
        if self._is_due("log"):
            self._log(bar)
        if self._is_due("plot"):
            labels = progress.estimate.labels()
            of_neurons = None if labels is None else labels.label
            figures = self._plots.network(progress.images, self._engine.state(), of_neurons)
            self._plots.submit(progress.images, figures)
        if self._is_due("evaluate"):
            self._evaluate()
        progress.reported = progress.images

    def _log(self, bar: Bar) -> None:
        """Write a row of metrics about the images since the last row."""
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
                "train/lr_factor": float(lr_factor(self._options, np.array((progress.images - 1) / self._total))),
                "network/theta_mean": float(state.theta.mean()),
                "network/weight_mean": float(state.weight.mean()),
                "network/weight_std": float(state.weight.std()),
                "network/weight_max": float(state.weight.max()),
            },
        )
        progress.counts, progress.classes, progress.window_seconds = [], [], 0.0
        if accuracy is not None:
            bar.show(f"running accuracy {accuracy:.1%}")

    def _evaluate(self) -> None:
        """Measure and record the accuracy; for images by class, only on classes presented so far."""
        images = self._progress.images
        presented = self._presented([images])
        shared = Bars(visible=False), self._stop, None if presented is None else presented[0]
        labels = label(self._engine, self._data, *shared)
        found = measure(self._engine, self._data, labels, *shared)
        values = {f"evaluation/accuracy_{name}": value for name, value in found.accuracy.items()}
        self._tracker.scalars(images, {**values, **self._per_class(found)})
        text = ", ".join(f"{name} {value:.2%}" for name, value in found.accuracy.items())
        log.info("after %d images: %s", images, text)

    def record_end(self, final: Evaluation) -> ClassHistory | None:
        """Record and plot the final accuracy; return the history per class, None without earlier evaluations."""
        settings, images = self._settings, self._progress.images
        readout, split = settings.evaluator.readout, settings.dataset.split
        rows = [json.loads(line) for line in (self._run.directory.path / "metrics.jsonl").read_text().splitlines()]
        accuracy = {f"{split}/accuracy_{name}": value for name, value in final.accuracy.items()}
        per_class, history = self._per_class(final), None
        if before := [row for row in rows if per_class.keys() <= row.keys() and row["images_seen"] < images]:
            images_seen = [*(row["images_seen"] for row in before), images]
            shares = np.array([[row[name] for name in per_class] for row in (*before, per_class)], np.float64)
            history = ClassHistory(images_seen, shares, self._presented(images_seen))
        self._tracker.scalars(images, {**accuracy, **(per_class if history else {})})
        self._tracker.hyperparameters(flat(settings.record), accuracy)
        rows.append({"images_seen": images, f"evaluation/accuracy_{readout}": final.accuracy[readout]})
        running, evaluations = (
            np.array([(row["images_seen"], row[name]) for row in rows if row.get(name) is not None]).reshape(-1, 2)
            for name in ("train/running_accuracy", f"evaluation/accuracy_{readout}")
        )
        self._plots.submit(images, self._plots.results(final, running, evaluations, history))
        return history

    def _presented(self, images_seen: list[int]) -> np.ndarray | None:
        """Return the classes presented between evaluations, bool [K, C]; None unless images are in order of class."""
        if self._options.order != "by_class":
            return None
        data = self._data
        return presented_by_class(data.train_classes, len(data.classes), images_seen, self._settings.batch_size)

    def _per_class(self, found: Evaluation) -> dict[str, float | None]:
        """Return the accuracy of each class with the judged readout, by name of the metric."""
        shares = found.accuracy_per_class(self._settings.evaluator.readout)
        names = (f"accuracy_per_class/{printable(name)}" for name in self._data.classes)
        return dict(zip(names, shares, strict=True))


def complete(run: Prepared, data: Data, bars: Bars, stop: Stop) -> dict:
    """Learn, label the neurons, test, and write and return the result; raise Stopped as `Trainer.train`."""
    settings, directory, progress, saved = run.settings, run.directory, run.progress, run.saved
    if saved:
        log.info("%s: resumed after %d images", directory.path, progress.images)
    state = saved.state() if saved else initial_state(run.model)
    set_process_options(run.options.threads, run.options.tf32)
    with stop.at_once():  # compiling takes long
        engine = make_engine(run.model, state, run.options, run.choice)
    with (
        Tracker(directory.path, progress.images if saved else None) as tracker,
        PlotWriter(directory.path, tracker.plot, settings, run.model, data) as plots,
    ):
        trainer = Trainer(run, data, engine, tracker, plots, stop)
        trainer.train(bars)
        labelled, tested = _features(settings, data)
        labels = label(engine, data, bars, stop, features=labelled)
        learned = progress.images, engine.state()
        plots.submit(progress.images, plots.network(*learned, labels.label))
        plots.submit(progress.images, plots.labelled(*learned, labels))
        final = measure(engine, data, labels, bars, stop, features=tested)
        history = trainer.record_end(final)
    checkpoint.save(directory.path / "checkpoint.pt", trainer.checkpoint(labels=labels.stored(data.classes)))
    result = results.describe(settings, engine, run.choice, data, labels, final)
    result["train_images_per_second"] = progress.images / max(progress.seconds, 1e-9)
    result["train_spikes_per_image"] = progress.spikes / max(progress.images, 1)
    if labelled and tested:
        log.info("supervised readout: fitting to %d images", len(labelled.classes))
        with stop.at_once():
            result["supervised"] = fit_and_test(labelled, tested, len(data.classes))
    result["wall_seconds"] = trainer.wall_seconds()
    if history and settings.trainer.order == "by_class":
        result |= results.forgetting(history.accuracy, data)
    results.write_result(directory.path, result)
    write_report(directory.path)
    finish(directory)
    return result


def _features(settings: Settings, data: Data) -> tuple[Features | None, Features | None]:
    """Return the features of labelling and of test images, before counting; None without `evaluator.supervised`."""
    if not settings.evaluator.supervised:
        return None, None
    label_inputs, test_inputs = (data.label_pixels[0], data.test_pixels[0]) if data.first_layer else (None, None)
    labelled = Features(data.label_classes, settings.n_exc, label_inputs)
    return labelled, Features(data.test_classes, settings.n_exc, test_inputs)


def finish(directory: RunDirectory) -> None:
    """Write the report of a run with a result, if it is missing; remove checkpoints that the run does not keep."""
    if not (directory.path / "report.html").exists():
        write_report(directory.path)
    if directory.checkpoints.exists():
        settings = checkpoint.load(directory.path / "checkpoint.pt").config
        if not settings["trainer"]["keep_checkpoints"]:
            directory.remove_checkpoints()
