"""The run of one network, from its settings, or its newest checkpoint, to its result."""

import json
import logging
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from stdp_run import checkpoint
from stdp_run.checkpoint import Checkpoint
from stdp_run.config.build import build_model
from stdp_run.config.compatibility import flat
from stdp_run.config.schema import Settings
from stdp_run.datasets.selection import Data
from stdp_run.engines.base import Engine
from stdp_run.errors import printable
from stdp_run.evaluation import metrics
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.metrics import Evaluation, RunningAccuracy
from stdp_run.network import NetworkState, initial_state
from stdp_run.reporting.plots import ClassHistory
from stdp_run.reporting.report import write_report
from stdp_run.training import result as results
from stdp_run.training.order import presented_by_class
from stdp_run.training.plot_writer import PlotWriter
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.signals import Interruption
from stdp_run.training.tracking import Bars, Tracker
from stdp_run.training.trainer import Progress, Trainer

log = logging.getLogger(__name__)

Found = TypeVar("Found")


class Start(NamedTuple):
    """From where a run starts."""

    settings: Settings
    directory: RunDirectory  # where it writes; this process holds its lock
    saved: Checkpoint | None  # what it is resumed from; None: it begins


class TrainingRun:
    """All of a run but the network itself.

    The settings of `start` have the engine and the device that were chosen; `begun` is when the command was given, by
    `time.perf_counter`.
    """

    def __init__(self, start: Start, data: Data, interruption: Interruption, bars: Bars, begun: float):
        self.settings, self.directory, saved = start
        self.model, options = build_model(self.settings), self.settings.trainer
        # By class, the images before are of the last classes alone, and no labels of all come from them.
        windows = 0 if options.order == "by_class" else max(1, options.label_window // options.log_every)
        self.progress = Progress(RunningAccuracy(len(data.classes), windows))
        self._data, self._interruption, self._bars, self._begun = data, interruption, bars, begun
        self._tracker: Tracker  # these three while it runs
        self._plots: PlotWriter
        self._engine: Engine
        self._resumed_at: int | None = None
        if saved:
            saved.check_progress(self.model, len(data.classes), self.directory.checkpoints)
        self.state = saved.state() if saved else initial_state(self.model)  # that the network starts from
        if saved:
            self.progress.restore(saved.extra["progress"])
            self._begun = begun - saved.extra["wall_seconds"]
            self._resumed_at = self.progress.images
            log.info("%s: resumed after %d images", self.directory.path, self._resumed_at)

    def complete(self, engine: Engine) -> dict:
        """Learn, label the neurons, test, and write the result, which is returned and is the last file of the run.

        The network of the engine starts from `state`.
        """
        data, progress, path = self._data, self.progress, self.directory.path
        self._engine = engine
        with (
            Tracker(path, self._resumed_at) as self._tracker,
            PlotWriter(path, self._tracker.plot, self.settings, self.model, data) as self._plots,
        ):
            trainer = Trainer(self.settings, data, progress, self._tracker, self._interruption)
            trainer.train(engine, self, self._bars)
            state = engine.state()
            labels = label(engine, data, self.settings, self._bars, self._interruption)
            self._plots.after_labelling(progress.images, state, labels.label)
            final = measure(engine, data, labels, self._bars, self._interruption)
            history = self._record_end(final)
        return self._write(state, labels, final, history)

    def save(self, state: NetworkState) -> None:
        """Save a checkpoint."""
        self._plots.wait()
        self._tracker.save()
        extra = {"progress": self.progress.saved(), "wall_seconds": time.perf_counter() - self._begun}
        extra |= self._first_layer()
        position = {"images": self.progress.images}
        self.directory.save(Checkpoint(self.settings.record, state.arrays(), position, extra))
        self._interruption.saved[self.directory.path] = self.progress.images

    def plot(self, state: NetworkState) -> None:
        """Have the weights plotted, with the labels that images seen before give to the neurons."""
        labels = self.progress.estimate.labels()
        self._plots.while_learning(self.progress.images, state, None if labels is None else labels.label)

    def evaluate(self) -> None:
        """Measure and record the accuracy on the way; where images come by class, of the classes presented so far."""
        no_bars, images_seen, known = Bars(visible=False), self.progress.images, None
        if (presented := self._presented([images_seen])) is not None:
            [known] = presented
        labels = label(self._engine, self._data, self.settings, no_bars, self._interruption, known)
        found = measure(self._engine, self._data, labels, no_bars, self._interruption, known)
        accuracy = found.accuracy
        text = ", ".join(f"{name} {value:.2%}" for name, value in accuracy.items())
        values = {f"evaluation/accuracy_{name}": value for name, value in accuracy.items()}
        self._tracker.scalars(images_seen, {**values, **self._per_class(found)})
        log.info("after %d images: %s", images_seen, text)

    def _presented(self, images_seen: list[int]) -> np.ndarray | None:
        """Return which classes were presented between some numbers of images seen, as `presented_by_class`."""
        if self.settings.trainer.order != "by_class":
            return None
        data = self._data
        return presented_by_class(data.train_classes, len(data.classes), images_seen, self.settings.batch_size)

    def _per_class(self, found: Evaluation) -> dict[str, float | None]:
        """Return the accuracy of each class, by the readout that counts, by the name it is recorded under."""
        shares = found.accuracy_per_class(self.settings.evaluator.readout)
        names = (f"accuracy_per_class/{printable(name)}" for name in self._data.classes)
        return dict(zip(names, shares, strict=True))

    def _record_end(self, final: Evaluation) -> ClassHistory | None:
        """Record the accuracy at the end, and the settings that TensorBoard compares it by.

        Return how that of each class has changed; None if it was not measured on the way.
        """
        images_seen, readout = self.progress.images, self.settings.evaluator.readout
        accuracy = {f"{self.settings.dataset.split}/accuracy_{name}": value for name, value in final.accuracy.items()}
        rows = self._rows()
        history = self._history(rows, self._per_class(final))
        self._tracker.scalars(images_seen, {**accuracy, **(self._per_class(final) if history else {})})
        self._tracker.hyperparameters(flat(self.settings.record), accuracy)
        running, evaluations = (
            [(row["images_seen"], row[name]) for row in rows if row.get(name) is not None]
            for name in ("train/running_accuracy", f"evaluation/accuracy_{readout}")
        )
        evaluations.append((images_seen, final.accuracy[readout]))
        points = np.array(running, np.float64).reshape(-1, 2), np.array(evaluations, np.float64)
        self._plots.at_the_end(images_seen, final, *points, history)
        return history

    def _rows(self) -> list[dict[str, Any]]:
        """Return the rows of metrics so far."""
        return [json.loads(line) for line in (self.directory.path / "metrics.jsonl").read_text().splitlines()]

    def _history(self, rows: list[dict[str, Any]], final: dict[str, float | None]) -> ClassHistory | None:
        """Return the accuracy of each class in `rows` of metrics and, `final`, at the end; None if it is in no row."""
        on_the_way = [row for row in rows if final.keys() <= row.keys() and row["images_seen"] < self.progress.images]
        if not on_the_way:
            return None
        images_seen = [*(row["images_seen"] for row in on_the_way), self.progress.images]
        accuracy = np.array([[row[name] for name in final] for row in (*on_the_way, final)], np.float64)
        return ClassHistory(images_seen, accuracy, self._presented(images_seen))

    def _write(self, state: NetworkState, labels: Labels, final: Evaluation, history: ClassHistory | None) -> dict:
        """Write the trained network, the result and the report; return the result."""
        path, progress, data = self.directory.path, self.progress, self._data
        extra = {"label": labels.label, "mean_count": labels.mean_count, "classes": list(data.classes)}
        extra["calibration"] = {name: list(each) for name, each in labels.calibration.items()}
        extra |= self._first_layer()
        content = Checkpoint(self.settings.record, state.arrays(), {"images": progress.images}, extra)
        checkpoint.save(path / "checkpoint.pt", content)
        seconds = time.perf_counter() - self._begun
        result = results.describe(self.settings, self.model, data, labels, final, seconds)
        result["train_images_per_second"] = progress.images / max(progress.seconds, 1e-9)
        result["train_spikes_per_image"] = progress.spikes / max(progress.images, 1)
        if history and self.settings.trainer.order == "by_class":
            result |= results.forgetting(history.accuracy, data)
        results.write_result(path, result)
        results.log_accuracy(result)
        write_report(path)
        self.directory.remove_checkpoints()
        return result

    def _first_layer(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of a first layer."""
        return {} if self._data.first_layer is None else {"first_layer": self._data.first_layer.arrays}


def label(
    engine: Engine,
    data: Data,
    settings: Settings,
    bars: Bars,
    interruption: Interruption | None = None,
    known: np.ndarray | None = None,
) -> Labels:
    """Label the neurons by the first training images, of classes that are `known`, bool [C], with learning off."""
    n_label = settings.n_label or len(data.train_pixels)
    chosen = slice(n_label) if known is None else np.flatnonzero(known[data.train_classes])[:n_label]
    classes, index = data.train_classes[chosen], np.arange(len(data.train_pixels))[chosen]
    with bars.open("labelling", len(index)) as bar:
        asking = metrics.label_neurons(classes, len(data.classes))
        return count_spikes(asking, engine, data.train_pixels[chosen], index, bar.update, interruption)


def measure(
    engine: Engine,
    data: Data,
    labels: Labels,
    bars: Bars,
    interruption: Interruption | None = None,
    known: np.ndarray | None = None,
) -> Evaluation:
    """Measure the accuracy of labelled neurons on the test images, with learning off; only `known` are answered."""
    with bars.open("testing", len(data.test_pixels)) as bar:
        asking = metrics.evaluate(labels, data.test_classes, known)
        return count_spikes(asking, engine, data.test_pixels, data.test_index, bar.update, interruption)


def count_spikes(
    asking: Generator[slice, np.ndarray, Found],
    engine: Engine,
    pixels: np.ndarray,
    index: np.ndarray,
    progress: Callable[[int], object],
    interruption: Interruption | None = None,
) -> Found:
    """Return the result of an evaluation, `asking`, that is sent the spike counts of the slices of images it yields.

    `pixels` are uint8 [N, I], `index` int64 [N] is the index of each image in its data set. A pending interruption
    stops it between two batches of the engine; `progress` is called with the number of images in each.
    """
    try:
        part = next(asking)
        while True:
            counts = []
            for start in range(part.start, part.stop, engine.inference_batch):
                if interruption:
                    interruption.stop()
                batch = slice(start, min(start + engine.inference_batch, part.stop))
                counts.append(engine.count_spikes(pixels[batch], index[batch]))
                progress(len(counts[-1]))
            part = asking.send(np.concatenate(counts))
    except StopIteration as end:
        return end.value
