"""One experiment from its settings to its files, begun or gone on with, and what is done with networks afterwards."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stdp_run import checkpoint, evaluation, results
from stdp_run.config import Settings, as_yaml, build_model, read_settings, resolve
from stdp_run.continuing import ENGINE_OPTIONS, config_to_evaluate, config_to_go_on
from stdp_run.data import Data, load_data
from stdp_run.engines import make_engine
from stdp_run.errors import UserError
from stdp_run.evaluation import Evaluation, Labels
from stdp_run.interruption import Interruption
from stdp_run.network import NetworkState, initial_state
from stdp_run.pictures import Pictures
from stdp_run.report import write_report
from stdp_run.run_directory import RunDirectory, flat
from stdp_run.tracking import Tracker, progress_bar
from stdp_run.trainer import Progress, train

log = logging.getLogger(__name__)

# What TensorBoard's HParams tab compares runs by: always the same, as it takes its columns from one run.
HYPERPARAMETERS = (
    *("rule.name", "neuron.name", "dataset.name", "n_exc", "epochs", "seed", "batch_size", "reduction", "max_learners"),
    *("encoder.steps", "encoder.max_rate_hz", "trainer.schedule", "trainer.rate_end"),
    *("rule.a_post", "rule.a_pre", "rule.tau_pre", "rule.tau_post", "rule.w_norm"),
    *("neuron.w_ie", "neuron.theta_increment", "neuron.refractory"),
)
RASTER_IMAGES = 3


@dataclass(frozen=True)
class Invocation:
    """How a run was started, apart from its settings."""

    explicit: tuple[str, ...] = ()  # the keys that were given on the command line
    job: int | None = None  # number of the job in its sweep
    bars: bool = True  # progress bars may be shown

    @property
    def in_sweep(self) -> bool:
        """Whether it is one of the jobs of a sweep."""
        return self.job is not None


def run(config, directory: Path, invocation: Invocation = Invocation()) -> float:
    """Do what the composed `config` asks for; return the accuracy that was reached, or 0.

    Args:
        config: the composed configuration.
        directory: where a run writes, or goes on.
        invocation: how it was started.

    Raises:
        UserError: something that was asked for cannot be had.
    """
    config = resolve(config)
    settings = read_settings(config)
    if settings.mode == "train":
        return learn(config, RunDirectory(directory), invocation)
    if settings.mode == "eval":
        return evaluate_checkpoint(config, settings, directory, invocation)
    return _OTHER_MODES[settings.mode](settings, directory)


def _predict(settings: Settings, _: Path) -> float:
    from stdp_run.predicting import predict

    broken = predict(settings.checkpoint, settings.images, settings.csv, print, settings.threads).broken
    if broken:
        raise UserError(f"images={settings.images}: {len(broken)} could not be read, named above")
    return 0.0


def _export(settings: Settings, _: Path) -> float:
    from stdp_run.trained import export

    export(settings.checkpoint, settings.to)
    log.info("%s: weights, thresholds and labels of %s", settings.to, settings.checkpoint)
    return 0.0


def _compare(settings: Settings, _: Path) -> float:
    from stdp_run.comparing import to_text, write_comparison

    print(to_text(write_comparison(Path(settings.dir))))
    return 0.0


def _draw_windows(settings: Settings, directory: Path) -> float:
    from stdp_run.window import draw_windows

    draw_windows(settings, directory)
    return 0.0


_OTHER_MODES: Mapping[str, Callable[[Settings, Path], float]] = {
    "predict": _predict,
    "export": _export,
    "compare": _compare,
    "window": _draw_windows,
}


# ------------------------------------------------------------------------------------------------------------------
# Learning.


def learn(config: dict, directory: RunDirectory, invocation: Invocation) -> float:
    """Learn, label, evaluate, and write the results, from where the run in the directory is; return the accuracy.

    Raises:
        UserError: another process is at work there, or what is there was made with other settings.
    """
    with directory.locked(wait=invocation.in_sweep):
        result = directory.result()
        saved = directory.newest() if result is None else None
        there = directory.config() if saved is None else saved.config
        if there is not None and (saved is not None or (directory.path / "result.json").exists()):
            config = config_to_go_on(config, there, directory.path, invocation.explicit)
        settings = read_settings(config)
        if result is not None:
            log.info("%s: this run is complete; nothing to do", directory.path)
        else:
            if saved is None:
                directory.clear()
                checkpoint.write_atomically(directory.path / "config.yaml", as_yaml(config).encode())
            result = LearningRun(config, settings, directory, saved, invocation).complete()
        if not (directory.path / "report.html").exists():
            write_report(directory.path)
        print(results.summary_table(result, directory.path))
        return result["test_accuracy"]


class LearningRun:
    """A run from its settings, or its newest checkpoint, to its result."""

    def __init__(self, config: dict, settings: Settings, directory: RunDirectory, saved, invocation: Invocation):
        self._begun = time.perf_counter()
        self._config, self._settings, self._directory, self._bars = config, settings, directory, invocation.bars
        model = build_model(settings)
        self._data = load_data(settings)
        self._progress = Progress.start(len(self._data.classes), settings.trainer)
        self._seconds_before = 0.0
        self._resumed_at = None
        state = initial_state(model)
        pictured = {"weight": state.weight, "images": 0}
        if saved is not None:
            state = _state_of(saved)
            self._progress.restore(saved.position, saved.extra)
            self._seconds_before = saved.extra["wall_seconds"]
            self._resumed_at = self._progress.images
            pictured = saved.extra["pictured"]
            log.info("%s: going on after %d images", directory.path, self._resumed_at)
        self._pictured = pictured
        self._engine = make_engine(model, state, **_engine_options(settings), gpu=invocation.job)

    def complete(self) -> dict:
        """Learn, label and evaluate; return the result, which is also the last file that is written."""
        settings, progress = self._settings, self._progress
        pixels, classes = self._data.train_pixels, self._data.train_classes
        with (
            Interruption() as self._interruption,
            Tracker(self._directory.path, self._resumed_at) as self._tracker,
            self._make_pictures() as self._pictures,
        ):
            train(
                self._engine,
                pixels,
                classes,
                progress,
                settings,
                self._tracker,
                self,
                self._interruption,
                self._bars,
            )
            state = self._engine.state()
            self._pictures.after_learning(progress.images, state)
            labels = label(self._engine, self._data, settings, self._bars, self._stop_if_asked)
            self._pictures.after_labelling(progress.images, state, labels.label)
            final = measure(self._engine, labels, self._data, self._bars, self._stop_if_asked)
            accuracy = {f"test/accuracy_{name}": value for name, value in final.accuracy.items()}
            self._tracker.scalars(progress.images, accuracy)
            values = flat(self._config)
            self._tracker.hyperparameters({key: values[key] for key in HYPERPARAMETERS if key in values}, accuracy)
            running, evaluations = accuracy_points(self._directory.path, settings.evaluator.readout)
            self._pictures.at_the_end(progress.images, final, settings.evaluator.readout, running, evaluations)
        extra = {"label": labels.label, "mean_count": labels.mean_count, "classes": list(self._data.classes)}
        position = {"images": progress.images}
        checkpoint.save(
            self._directory.path / "checkpoint.pt",
            checkpoint.Checkpoint(self._config, state.arrays(), position, extra),
        )
        result = results.describe(settings, self._engine, labels, final, self._data, self._wall_seconds())
        result["train_images_per_second"] = progress.images_per_second
        result["train_spikes_per_image"] = progress.spikes / max(progress.images, 1)
        results.write_result(self._directory.path, result)
        write_report(self._directory.path)
        self._directory.remove_checkpoints()
        return result

    def save(self, progress: Progress) -> None:
        """Save a checkpoint."""
        self._pictures.wait()
        self._tracker.save()
        pictured = {"weight": self._pictures.previous_weight, "images": self._pictures.previous_images}
        extra = {**progress.arrays(), "pictured": pictured, "wall_seconds": self._wall_seconds()}
        state = self._engine.state().arrays()
        self._directory.save(checkpoint.Checkpoint(self._config, state, progress.position(), extra))
        if self._interruption.pending:
            log.warning(
                "%s after %d images: saved; `stdp-run resume=%s` goes on",
                self._interruption.pending.name,
                progress.images,
                self._directory.path,
            )

    def draw(self, progress: Progress) -> None:
        """Have the weights drawn, with the labels that images seen before give to the neurons."""
        labels = progress.estimate.labels()
        label = None if labels is None else labels.label
        self._pictures.while_learning(progress.images, self._engine.state(), label)

    def evaluate(self, images_seen: int) -> None:
        """Measure and record the accuracy on the way."""
        labels = label(self._engine, self._data, self._settings, False, self._stop_if_asked)
        accuracy = measure(self._engine, labels, self._data, False, self._stop_if_asked).accuracy
        self._tracker.scalars(images_seen, {f"evaluation/accuracy_{name}": value for name, value in accuracy.items()})
        shown = ", ".join(f"{name} {value:.2%}" for name, value in accuracy.items())
        log.info("after %d images: %s", images_seen, shown)

    def _stop_if_asked(self) -> None:
        if self._interruption.pending:  # everything was saved before
            self._interruption.hand_on()

    def _wall_seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._begun

    def _make_pictures(self) -> Pictures:
        data, section = self._data, self._settings.dataset
        _, first = np.unique(data.test_classes, return_index=True)  # one image of each class
        chosen = np.sort(first)[:RASTER_IMAGES]
        return Pictures(
            self._directory.path,
            self._tracker.picture,
            self._engine.model,
            section["height"],
            section["width"],
            data.classes,
            self._pictured["weight"],
            self._pictured["images"],
            data.test_pixels[chosen],
            data.test_index[chosen],
            [data.classes[k] for k in data.test_classes[chosen]],
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


def _state_of(saved: checkpoint.Checkpoint) -> NetworkState:
    arrays = dict(saved.arrays)
    return NetworkState(arrays.pop("weight"), arrays.pop("theta"), arrays)


def _engine_options(settings: Settings) -> dict:
    return {name: getattr(settings, name) for name in ENGINE_OPTIONS}


# ------------------------------------------------------------------------------------------------------------------
# Evaluating.


def evaluate_checkpoint(config: dict, settings: Settings, directory: Path, invocation: Invocation) -> float:
    """Evaluate the network of an earlier run again, on its data or on what the command names; return the accuracy.

    Raises:
        UserError: the checkpoint cannot be read, holds no labels, or was made with other settings than the command's.
    """
    begun = time.perf_counter()
    saved = checkpoint.load(Path(settings.checkpoint))
    if "label" not in saved.extra:
        raise UserError(f"checkpoint={settings.checkpoint}: of a run on its way, without labels; resume it first")
    config = config_to_evaluate(config, saved.config, settings.checkpoint, invocation.explicit)
    settings = read_settings(config)
    model = build_model(settings)
    if model.n_inputs != saved.arrays["weight"].shape[1]:
        there = saved.arrays["weight"].shape[1]
        raise UserError(f"dataset={settings.dataset['name']}: {model.n_inputs} pixels; the network has {there} inputs")
    checkpoint.write_atomically(directory / "config.yaml", as_yaml(config).encode())
    engine = make_engine(model, _state_of(saved), **_engine_options(settings), gpu=invocation.job)
    data = load_data(settings)
    labels = Labels(saved.extra["label"], saved.extra["mean_count"])
    if len(data.classes) != labels.n_classes:
        raise UserError(
            f"dataset={settings.dataset['name']}: {len(data.classes)} classes; the network knows {labels.n_classes}"
        )
    final = measure(engine, labels, data, invocation.bars, lambda: None)
    result = results.describe(settings, engine, labels, final, data, time.perf_counter() - begun)
    result["train_images_per_second"] = None
    results.write_result(directory, result)
    print(results.summary_table(result, directory))
    return result["test_accuracy"]


def label(engine, data: Data, settings: Settings, bars: bool, between: Callable[[], None]) -> Labels:
    """Label the neurons by training images, with learning off; `between` is called time and again, between images."""
    n_label = settings.n_label or len(data.train_pixels)
    with progress_bar(n_label, "labelling", bars) as bar:
        return evaluation.label_neurons(
            engine,
            data.train_pixels[:n_label],
            np.arange(n_label),
            data.train_classes[:n_label],
            len(data.classes),
            lambda n_images: (bar.update(n_images), between()),
        )


def measure(engine, labels: Labels, data: Data, bars: bool, between: Callable[[], None]) -> Evaluation:
    """Measure the accuracy on the test images, with learning off; `between` as for `label`."""
    with progress_bar(len(data.test_pixels), "testing", bars) as bar:
        return evaluation.evaluate(
            engine,
            labels,
            data.test_pixels,
            data.test_index,
            data.test_classes,
            lambda n_images: (bar.update(n_images), between()),
            time.perf_counter,
        )
