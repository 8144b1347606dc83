"""The figures of a run: what `result.json` holds, and the short table that ends a run."""

import json
import logging
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np

from stdp_run import files
from stdp_run.config.schema import Settings
from stdp_run.datasets.selection import Data
from stdp_run.evaluation import metrics
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.metrics import Evaluation
from stdp_run.network import Model

log = logging.getLogger(__name__)


def describe(settings: Settings, model: Model, data: Data, labels: Labels, final: Evaluation, seconds: float) -> dict:
    """Return the figures of a run, which took `seconds`, for `result.json`; the settings have what it was run on."""
    readout = settings.evaluator.readout
    return {
        "rule": settings.rule.name,
        "neuron": settings.neuron.name,
        "dataset": settings.dataset.name,
        "split": settings.dataset.split,
        "engine": settings.engine,
        "device": settings.device,
        "dtype": model.weight_dtype.name,
        "seed": settings.seed,
        "n_exc": settings.n_exc,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "train_images": len(data.train_pixels),
        "label_images": settings.n_label or len(data.train_pixels),
        "test_images": final.n_images,
        "readout": readout,
        "accuracy": final.accuracy,
        "accuracy_interval_95": {name: list(final.interval(name)) for name in final.accuracy},
        "calibration_error": final.calibration_error,
        "accuracy_per_class": {
            name: dict(zip(data.classes, final.accuracy_per_class(name), strict=True)) for name in final.accuracy
        },
        "confusion": {name: matrix.tolist() for name, matrix in final.confusion.items()},
        "silent_neurons": labels.n_silent,
        **({} if data.first_layer is None else {"first_layer": data.first_layer.figures}),
        "spikes_per_image": final.spikes_per_image,
        "eval_images_per_second": final.images_per_second,
        "wall_seconds": seconds,
        "versions": versions(),
        "commit": commit(),
    }


def forgetting(accuracy: np.ndarray, data: Data) -> dict:
    """Return how much of each class was forgotten, where classes came one after another: of all but the last one.

    `accuracy` is that of each class on the way and at the end, [K, C]; a class without test images has none.
    """
    lost = metrics.forgetting(accuracy)
    learned = [c for c in np.unique(data.train_classes)[:-1] if np.isfinite(lost[c])]
    if not learned:
        return {}
    per_class = {data.classes[c]: float(lost[c]) for c in learned}
    return {"forgetting": float(lost[learned].mean()), "forgetting_per_class": per_class}


def judged(result: dict) -> float:
    """Return the accuracy of the judged readout, a fraction of 1."""
    return result["accuracy"][result["readout"]]


def write_result(directory: Path, result: dict) -> None:
    """Write `result.json`, the last file of a run: where it is, the run is complete."""
    files.write_atomically(directory / "result.json", (json.dumps(result, indent=2) + "\n").encode())


def summary_table(result: dict, directory: Path) -> str:
    """Return the short table that ends a run."""
    rows = []
    for name, value in result["accuracy"].items():
        low, high = result["accuracy_interval_95"][name]
        text = f"{value:.2%}  (95%: {low:.2%} to {high:.2%})"
        judged_by = "  <- evaluator.readout" if name == result["readout"] else ""
        rows.append((f"{result['split']} accuracy, {name}", text + judged_by))
    readout = result["readout"]
    if readout in (error := result.get("calibration_error", {})):  # not in results of earlier versions
        rows.append((f"calibration error, {readout}", f"{error[readout]:.2%}  (confidence against accuracy)"))
    if "forgetting" in result:
        n_classes = len(result["forgetting_per_class"])
        text = f"{result['forgetting']:.2%}  (mean of {n_classes} classes: best on the way less end)"
        rows.append((f"forgetting, {readout}", text))
    rate = result["train_images_per_second"]
    learning = "" if rate is None else f"learning {rate:,.0f}, "
    rows.append(("images per second", f"{learning}evaluating {result['eval_images_per_second']:,.0f}"))
    rows.append(("silent neurons", f"{result['silent_neurons']} of {result['n_exc']}"))
    if first := result.get("first_layer"):
        silent, active = f"{first['silent_neurons']} of {first['n_exc']} silent", f"{first['active_inputs']:.0%}"
        rows.append(("first layer", f"{silent}, {first['spikes_per_image']:.0f} spikes per image, {active} of inputs"))
    if perturbation := result.get("perturbation"):
        rows.append(("perturbation", f"{perturbation['name']}: {perturbation['strength']:g}, {perturbation['axis']}"))
    rows.append(("wall time", f"{result['wall_seconds']:.1f} s"))
    rows.append(("results", relative_path(directory)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def log_accuracy(result: dict) -> None:
    """Have the log say the accuracy of every readout, by which `summary_table` ends a run, and which is judged by."""
    judged_by = {result["readout"]: " (evaluator.readout)"}
    each = (f"{readout} {value:.2%}{judged_by.get(readout, '')}" for readout, value in result["accuracy"].items())
    log.info("%s accuracy: %s", result["split"], ", ".join(each))


def relative_path(directory: Path) -> str:
    """Return the path of a directory, as seen from the current one where it lies in that."""
    here = Path.cwd()
    return str(directory.relative_to(here) if directory.is_relative_to(here) else directory)


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
    source = Path(__file__).parents[1]
    if not (source.parent / ".git").exists():
        return None
    try:
        words = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
