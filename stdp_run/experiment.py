"""One experiment from its settings to its files, and the evaluation of what an earlier one learned."""

import json
import logging
import platform
import subprocess
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from stdp_run import checkpoint, evaluation, figures
from stdp_run.config import Settings, as_yaml, build_dataset, build_model, read_settings, resolve
from stdp_run.engines import make_engine
from stdp_run.errors import UserError
from stdp_run.evaluation import Evaluation, Labels
from stdp_run.network import NetworkState, initial_state
from stdp_run.tracking import Tracker, progress_bar
from stdp_run.trainer import TrainingSummary, train

log = logging.getLogger(__name__)

ENGINE_OPTIONS = ("engine", "device", "batch_size", "reduction", "threads")


@dataclass(frozen=True)
class Data:
    """The images of a run, flat; `index` is each image's place in the files it came from."""

    train_pixels: np.ndarray  # uint8 [N, I]
    train_classes: np.ndarray  # int64 [N]
    test_pixels: np.ndarray
    test_classes: np.ndarray
    test_index: np.ndarray
    classes: tuple[str, ...]


def run(config, directory: Path) -> float:
    """Run what the composed `config` asks for in `directory`; return the accuracy that it reached.

    Raises:
        UserError: something that was asked for cannot be had.
    """
    start = time.perf_counter()
    config = resolve(config)
    settings = read_settings(config)
    checkpoint.write_atomically(directory / "config.yaml", as_yaml(config).encode())
    if settings.mode == "eval":
        return evaluate_checkpoint(settings, directory, start)
    if settings.mode == "window":
        from stdp_run.window import draw_windows

        draw_windows(settings, directory)
        return 0.0
    return learn(settings, config, directory, start)


def learn(settings: Settings, config: dict, directory: Path, start: float) -> float:
    """Learn, label, evaluate, and write the results; return the accuracy."""
    model = build_model(settings)
    engine = make_engine(model, initial_state(model), **_engine_options(settings))
    data = load_data(settings)
    with Tracker(directory) as tracker:
        summary = train(
            engine,
            data.train_pixels,
            data.train_classes,
            len(data.classes),
            settings,
            tracker,
            lambda images_seen: _evaluate_on_the_way(engine, data, settings, tracker, images_seen),
        )
        labels, final = label_and_evaluate(engine, data, settings)
        write_checkpoint(directory, config, engine.state(), labels, summary)
        draw(directory, engine.state(), labels, final, data, settings, tracker, summary.images)
        tracker.scalars(summary.images, {f"test/accuracy_{name}": value for name, value in final.accuracy.items()})
    result = describe(settings, engine, labels, final, data, time.perf_counter() - start)
    result["train_images_per_second"] = summary.images_per_second
    result["train_spikes_per_image"] = summary.spikes / max(summary.images, 1)
    write_result(directory, result)
    print(summary_table(result, directory))
    return result["test_accuracy"]


def evaluate_checkpoint(settings: Settings, directory: Path, start: float) -> float:
    """Evaluate the network of an earlier run again, with its data and labels; return the accuracy."""
    saved = checkpoint.load(Path(settings.checkpoint))
    learned = read_settings({**saved.config, "mode": "eval", "checkpoint": settings.checkpoint})
    log.info("evaluating with the settings of the checkpoint; only %s are this command's", ", ".join(ENGINE_OPTIONS))
    model = build_model(learned)
    arrays = dict(saved.arrays)
    state = NetworkState(arrays.pop("weight"), arrays.pop("theta"), arrays)
    engine = make_engine(model, state, **_engine_options(settings))
    data = load_data(learned)
    labels = Labels(saved.extra["label"], saved.extra["mean_count"])
    with progress_bar(len(data.test_pixels), "testing") as bar:
        final = _evaluate(engine, labels, data, bar.update)
    result = describe(learned, engine, labels, final, data, time.perf_counter() - start)
    result["train_images_per_second"] = None
    write_result(directory, result)
    print(summary_table(result, directory))
    return result["test_accuracy"]


def _engine_options(settings: Settings) -> dict:
    return {name: getattr(settings, name) for name in ENGINE_OPTIONS}


def load_data(settings: Settings) -> Data:
    """Return the images to learn from and the images to test on.

    Raises:
        UserError: the data set has fewer images than asked for, or cannot be had.
    """
    section = settings.dataset
    loaded = build_dataset(section).load()
    training, test = loaded.train, loaded.test
    n_learn, test_index = len(training.labels), np.arange(len(test.labels))
    if section["split"] == "validation":
        n_learn -= section["n_validation"]
        if n_learn < 1:
            raise UserError.bad_value("dataset.n_validation", section["n_validation"], f"below {len(training.labels)}")
        test, test_index = training, np.arange(n_learn, len(training.labels))
    n_train = _at_most("n_train", settings.n_train, n_learn)
    test_index = test_index[: _at_most("n_test", settings.n_test, len(test_index))]
    _at_most("n_label", settings.n_label, n_train)
    n_inputs = section["n_inputs"]
    return Data(
        train_pixels=training.pixels[:n_train].reshape(-1, n_inputs),
        train_classes=training.labels[:n_train],
        test_pixels=test.pixels[test_index].reshape(-1, n_inputs),
        test_classes=test.labels[test_index],
        test_index=test_index,
        classes=loaded.classes,
    )


def _at_most(key: str, asked: int | None, there: int) -> int:
    if asked is not None and asked > there:
        raise UserError.bad_value(key, asked, f"at most {there}, the images there are")
    return there if asked is None else asked


def label_and_evaluate(engine, data: Data, settings: Settings, bars: bool = True) -> tuple[Labels, Evaluation]:
    """Label the neurons by training images, then measure the accuracy on the test images, both with learning off."""
    n_label = settings.n_label or len(data.train_pixels)
    with progress_bar(n_label, "labelling", bars) as bar:
        labels = evaluation.label_neurons(
            engine,
            data.train_pixels[:n_label],
            np.arange(n_label),
            data.train_classes[:n_label],
            len(data.classes),
            bar.update,
        )
    with progress_bar(len(data.test_pixels), "testing", bars) as bar:
        return labels, _evaluate(engine, labels, data, bar.update)


def _evaluate(engine, labels: Labels, data: Data, progress) -> Evaluation:
    return evaluation.evaluate(
        engine, labels, data.test_pixels, data.test_index, data.test_classes, progress, time.perf_counter
    )


def _evaluate_on_the_way(engine, data: Data, settings: Settings, tracker: Tracker, images_seen: int) -> None:
    _, result = label_and_evaluate(engine, data, settings, bars=False)
    tracker.scalars(images_seen, {f"evaluation/accuracy_{name}": value for name, value in result.accuracy.items()})
    log.info("after %d images: %s", images_seen, _accuracies(result.accuracy))


def _accuracies(accuracy: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2%}" for name, value in accuracy.items())


# ------------------------------------------------------------------------------------------------------------------
# What is left behind.


def write_checkpoint(
    directory: Path, config: dict, state: NetworkState, labels: Labels, summary: TrainingSummary
) -> None:
    """Write `checkpoint.pt`."""
    content = checkpoint.Checkpoint(
        config=config,
        arrays=state.arrays(),
        position={"images": summary.images},
        extra={"label": labels.label, "mean_count": labels.mean_count},
    )
    checkpoint.save(directory / "checkpoint.pt", content)


def draw(
    directory: Path, state, labels: Labels, final: Evaluation, data: Data, settings: Settings, tracker, step
) -> None:
    """Write the pictures, as PNG and to TensorBoard."""
    readout = settings.evaluator.readout
    height, width = settings.dataset["height"], settings.dataset["width"]
    fields = figures.receptive_fields(state.weight, height, width, labels=labels.label, classes=data.classes)
    confusion = figures.confusion(
        final.confusion[readout],
        data.classes,
        accuracy=final.accuracy[readout],
        interval=final.interval(readout),
        readout=readout,
    )
    for name, figure in (("receptive_fields", fields), ("confusion", confusion)):
        figures.save_png(figure, directory / f"{name}.png")
        tracker.picture(step, name, figures.to_image(figure))


def describe(settings: Settings, engine, labels: Labels, final: Evaluation, data: Data, seconds: float) -> dict:
    """Return the figures of a run for `result.json`."""
    readout = settings.evaluator.readout
    return {
        "rule": settings.rule["name"],
        "neuron": settings.neuron["name"],
        "dataset": settings.dataset["name"],
        "split": settings.dataset["split"],
        "engine": engine.name,
        "device": str(engine.device),
        "dtype": engine.model.weight_dtype.name,
        "seed": settings.seed,
        "n_exc": settings.n_exc,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "train_images": len(data.train_pixels),
        "label_images": settings.n_label or len(data.train_pixels),
        "test_images": final.n_images,
        "readout": readout,
        "test_accuracy": final.accuracy[readout],
        "accuracy": final.accuracy,
        "accuracy_interval_95": {name: list(final.interval(name)) for name in final.accuracy},
        "accuracy_per_class": {
            name: dict(zip(data.classes, final.accuracy_per_class(name), strict=True)) for name in final.accuracy
        },
        "confusion": {name: matrix.tolist() for name, matrix in final.confusion.items()},
        "silent_neurons": labels.n_silent,
        "spikes_per_image": final.spikes_per_image,
        "eval_images_per_second": final.images_per_second,
        "wall_seconds": seconds,
        "versions": versions(),
        "commit": commit(),
    }


def write_result(directory: Path, result: dict) -> None:
    """Write `result.json`, the last file of a run: where it is, the run is complete."""
    checkpoint.write_atomically(directory / "result.json", (json.dumps(result, indent=2) + "\n").encode())


def summary_table(result: dict, directory: Path) -> str:
    """Return the short table that ends a run."""
    rows = []
    for name, value in result["accuracy"].items():
        low, high = result["accuracy_interval_95"][name]
        rows.append((f"{result['split']} accuracy, {name}", f"{value:.2%}  (95%: {low:.2%} to {high:.2%})"))
    rate = result["train_images_per_second"]
    learning = "" if rate is None else f"learning {rate:,.0f}, "
    rows.append(("images per second", f"{learning}evaluating {result['eval_images_per_second']:,.0f}"))
    rows.append(("silent neurons", f"{result['silent_neurons']} of {result['n_exc']}"))
    rows.append(("wall time", f"{result['wall_seconds']:.1f} s"))
    rows.append(("results", str(directory)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def versions() -> dict[str, str]:
    """Return the versions of this program and of what it computes with."""
    names = ("stdp-run", "torch", "numba", "numpy")
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str | None:
    """Return the commit of the source this runs from, with "-dirty" where it was changed; None outside a checkout."""
    source = Path(__file__).parent
    if not (source.parent / ".git").exists():
        return None
    try:
        words = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
