"""Runs that learn, each from its settings, or its newest checkpoint, to its result; several side by side, in step."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from stdp_run.config.build import build_model
from stdp_run.config.compatibility import ENGINE_KEYS, flat
from stdp_run.config.schema import Settings, read_settings
from stdp_run.datasets.selection import Data, load_data
from stdp_run.engines import make_networks
from stdp_run.engines.side_by_side import Networks
from stdp_run.evaluation import readouts as evaluation
from stdp_run.evaluation.readouts import Evaluation, Labels
from stdp_run.network import NetworkState, initial_state
from stdp_run.reporting import result as results
from stdp_run.reporting.report import write_report
from stdp_run.training import checkpoint
from stdp_run.training.checkpoint import Checkpoint
from stdp_run.training.plot_writer import Pictures
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.signals import Interruption
from stdp_run.training.tracking import Tracker, progress_bar
from stdp_run.training.trainer import Learning, Progress, train

log = logging.getLogger(__name__)

# What TensorBoard's HParams tab compares runs by: always the same, as it takes its columns from one run.
HYPERPARAMETERS = (
    *("rule.name", "neuron.name", "dataset.name", "n_exc", "epochs", "seed", "batch_size", "reduction", "max_learners"),
    *("encoder.steps", "encoder.max_rate_hz", "trainer.schedule", "trainer.rate_end"),
    *("rule.a_post", "rule.a_pre", "rule.tau_pre", "rule.tau_post", "rule.w_norm"),
    *("neuron.w_ie", "neuron.theta_increment", "neuron.refractory"),
)
RASTER_IMAGES = 3


class LearningRun:
    """The run of one network: all of it but the network itself, whose state is handed in where it is needed.

    Args:
        config: the resolved config.
        directory: where the run writes.
        saved: the checkpoint that it goes on from; None: it begins.
        data: the images.
        begun: when the run was started, by `time.perf_counter`.
    """

    def __init__(self, config: dict, directory: RunDirectory, saved: Checkpoint | None, data: Data, begun: float):
        self.config, self.settings, self.directory = config, read_settings(config), directory
        self.model = build_model(self.settings)
        self.progress = Progress.start(len(data.classes), self.settings.trainer)
        self._data, self._begun = data, begun
        self._seconds_before = 0.0
        self._resumed_at = None
        self.state = initial_state(self.model)  # that the network starts from
        self._pictured = {"weight": self.state.weight, "images": 0}
        if saved is not None:
            self._go_on(saved)

    def _go_on(self, saved: Checkpoint) -> None:
        self.state = state_of(saved)
        self.progress.restore(saved.position, saved.extra)
        self._seconds_before = saved.extra["wall_seconds"]
        self._resumed_at = self.progress.images
        self._pictured = saved.extra["pictured"]
        log.info("%s: going on after %d images", self.directory.path, self._resumed_at)

    def open(self, resources: ExitStack) -> None:
        """Open what the run writes to while it goes on; `resources` closes it."""
        self.tracker = resources.enter_context(Tracker(self.directory.path, self._resumed_at))
        self.pictures = resources.enter_context(self._make_pictures())
        self.learning = Learning(self.settings, self.progress, self.tracker)

    def save(self, state: NetworkState) -> None:
        """Save a checkpoint."""
        self.pictures.wait()
        self.tracker.save()
        pictured = {"weight": self.pictures.previous_weight, "images": self.pictures.previous_images}
        extra = {**self.progress.arrays(), "pictured": pictured, "wall_seconds": self._wall_seconds()}
        self.directory.save(Checkpoint(self.config, state.arrays(), self.progress.position(), extra))

    def draw(self, state: NetworkState) -> None:
        """Have the weights drawn, with the labels that images seen before give to the neurons."""
        labels = self.progress.estimate.labels()
        self.pictures.while_learning(self.progress.images, state, None if labels is None else labels.label)

    def record_evaluation(self, found: Evaluation) -> None:
        """Record the accuracy on the way."""
        values = {f"evaluation/accuracy_{name}": value for name, value in found.accuracy.items()}
        self.tracker.scalars(self.progress.images, values)

    def record_end(self, final: Evaluation) -> None:
        """Record the accuracy at the end, and the settings that TensorBoard compares it by."""
        images_seen, readout = self.progress.images, self.settings.evaluator.readout
        accuracy = {f"test/accuracy_{name}": value for name, value in final.accuracy.items()}
        self.tracker.scalars(images_seen, accuracy)
        values = flat(self.config)
        self.tracker.hyperparameters({key: values[key] for key in HYPERPARAMETERS if key in values}, accuracy)
        running, evaluations = accuracy_points(self.directory.path, readout)
        self.pictures.at_the_end(images_seen, final, readout, running, evaluations)

    def write(self, networks: Networks, state: NetworkState, labels: Labels, final: Evaluation) -> dict:
        """Write the trained network, the result and the report; return the result."""
        path, progress, data = self.directory.path, self.progress, self._data
        extra = {"label": labels.label, "mean_count": labels.mean_count, "classes": list(data.classes)}
        content = Checkpoint(self.config, state.arrays(), {"images": progress.images}, extra)
        checkpoint.save(path / "checkpoint.pt", content)
        seconds = self._wall_seconds()
        result = results.describe(self.settings, networks, self.model, labels, final, data, seconds)
        result["train_images_per_second"] = progress.images_per_second
        result["train_spikes_per_image"] = progress.spikes / max(progress.images, 1)
        results.write_result(path, result)
        write_report(path)
        self.directory.remove_checkpoints()
        return result

    def _wall_seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._begun

    def _make_pictures(self) -> Pictures:
        data, section = self._data, self.settings.dataset
        _, first = np.unique(data.test_classes, return_index=True)  # one image of each class
        chosen = np.sort(first)[:RASTER_IMAGES]
        return Pictures(
            self.directory.path,
            self.tracker.picture,
            self.model,
            section.height,
            section.width,
            data.classes,
            self._pictured["weight"],
            self._pictured["images"],
            data.test_pixels[chosen],
            data.test_index[chosen],
            [data.classes[k] for k in data.test_classes[chosen]],
        )


class LearningRuns:
    """The runs of K networks that learn in step; K is 1 where a network learns alone.

    Args:
        configs: resolved, [K]; they differ in nothing that changes shapes, numbers of images or steps.
        directories: [K].
        saved: the checkpoint that each goes on from, [K]; None: it begins.
        place: the directory that `resume` is given to go on with all of them.
        gpu: the number of the GPU to use where there are several.
        bars: progress bars may be shown.
    """

    def __init__(
        self,
        configs: Sequence[dict],
        directories: Sequence[RunDirectory],
        saved: Sequence[Checkpoint | None],
        place: Path,
        gpu: int | None,
        bars: bool,
    ):
        begun = time.perf_counter()
        self._place, self._bars = place, bars
        self._settings = settings = read_settings(configs[0])  # of the first, for what is the same in all
        for config in configs:
            build_model(read_settings(config))  # refuses what cannot be built before the images are looked for
        self._data = data = load_data(settings)
        self._runs = [LearningRun(*each, data, begun) for each in zip(configs, directories, saved, strict=True)]
        self._networks = make_networks(
            [run.model for run in self._runs], [run.state for run in self._runs], **engine_options(settings), gpu=gpu
        )

    def complete(self) -> list[dict]:
        """Learn, label and evaluate; return the results, each of which is also the last file of its run."""
        runs, networks, data = self._runs, self._networks, self._data
        everyone = range(len(runs))
        with Interruption() as self._interruption, ExitStack() as resources:
            for run in runs:
                run.open(resources)
            train(
                networks,
                [run.learning for run in runs],
                data.train_pixels,
                data.train_classes,
                self,
                self._interruption,
                self._bars,
            )
            states = [networks.state(k) for k in everyone]
            for run, state in zip(runs, states, strict=True):
                run.pictures.after_learning(run.progress.images, state)
            labels = self._label(everyone, self._bars)
            for run, state, each in zip(runs, states, labels, strict=True):
                run.pictures.after_labelling(run.progress.images, state, each.label)
            final = self._measure(everyone, labels, self._bars)
            for run, each in zip(runs, final, strict=True):
                run.record_end(each)
        return [run.write(networks, *each) for run, *each in zip(runs, states, labels, final, strict=True)]

    def save(self, chosen: Sequence[int]) -> None:
        """Save a checkpoint of each of the chosen runs."""
        for k in chosen:
            self._runs[k].save(self._networks.state(k))
        if self._interruption.pending:
            log.warning(
                "%s after %d images: saved; `stdp-run resume=%s` goes on",
                self._interruption.pending.name,
                self._runs[chosen[0]].progress.images,
                self._place,
            )

    def draw(self, k: int) -> None:
        """Have the weights of a network drawn."""
        self._runs[k].draw(self._networks.state(k))

    def evaluate(self, chosen: Sequence[int]) -> None:
        """Measure and record the accuracy of the chosen runs on their way."""
        labels = self._label(chosen, bars=False)
        for k, found in zip(chosen, self._measure(chosen, labels, bars=False), strict=True):
            run = self._runs[k]
            run.record_evaluation(found)
            shown = ", ".join(f"{name} {value:.2%}" for name, value in found.accuracy.items())
            which = "" if len(self._runs) == 1 else f"{run.directory.path.name}, "
            log.info("%safter %d images: %s", which, run.progress.images, shown)

    def _label(self, chosen: Sequence[int], bars: bool) -> list[Labels]:
        return label(self._networks, chosen, self._data, self._settings, bars, self._stop_if_asked)

    def _measure(self, chosen: Sequence[int], labels: list[Labels], bars: bool) -> list[Evaluation]:
        return measure(self._networks, chosen, labels, self._data, bars, self._stop_if_asked)

    def _stop_if_asked(self) -> None:
        if self._interruption.pending:  # everything was saved before
            self._interruption.hand_on()


def label(
    networks: Networks,
    chosen: Sequence[int],
    data: Data,
    settings: Settings,
    bars: bool,
    between: Callable[[], None],
) -> list[Labels]:
    """Label the neurons of the chosen networks by training images, with learning off.

    `between` is called time and again, between images.
    """
    n_label = settings.n_label or len(data.train_pixels)
    with progress_bar(n_label, "labelling", bars) as bar:
        return evaluation.label_neurons(
            partial(networks.count_spikes, chosen),
            data.train_pixels[:n_label],
            np.arange(n_label),
            data.train_classes[:n_label],
            len(data.classes),
            lambda n_images: (bar.update(n_images), between()),
        )


def measure(
    networks: Networks,
    chosen: Sequence[int],
    labels: Sequence[Labels],
    data: Data,
    bars: bool,
    between: Callable[[], None],
) -> list[Evaluation]:
    """Measure the accuracy of the chosen networks on the test images, with learning off; `between` as for `label`."""
    with progress_bar(len(data.test_pixels), "testing", bars) as bar:
        return evaluation.evaluate(
            partial(networks.count_spikes, chosen),
            labels,
            data.test_pixels,
            data.test_index,
            data.test_classes,
            lambda n_images: (bar.update(n_images), between()),
            time.perf_counter,
        )


def accuracy_points(directory: Path, readout: str) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Return (images seen, accuracy) of the running accuracy and of evaluations on the way, from the metrics file."""
    running, evaluations = [], []
    for line in (directory / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        for name, points in (("train/running_accuracy", running), (f"evaluation/accuracy_{readout}", evaluations)):
            if row.get(name) is not None:
                points.append((row["images_seen"], row[name]))
    return running, evaluations


def state_of(saved: Checkpoint) -> NetworkState:
    """Return the state of the network in a checkpoint."""
    arrays = dict(saved.arrays)
    return NetworkState(arrays.pop("weight"), arrays.pop("theta"), arrays)


def engine_options(settings: Settings) -> dict:
    """Return what `make_networks` is told of the settings."""
    return {name: getattr(settings, name) for name in ENGINE_KEYS}
