"""The result of a run: `result.json`, and the short table at the end of a run."""

import json
import logging
import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import numpy as np

from stdp_run import files
from stdp_run.config.schema import Settings
from stdp_run.datasets.selection import Data
from stdp_run.engines.base import Engine
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.metrics import Evaluation
from stdp_run.training.operations import layer_operations, operations

log = logging.getLogger(__name__)


def describe(
    settings: Settings, engine: Engine, choice: tuple[str, str], data: Data, labels: Labels, final: Evaluation
) -> dict:
    """Return the content of `result.json`; `choice` is (engine, device), and `engine` has just measured `final`."""
    layer = layer_operations(engine.take_activity(), engine.model, engine.state(), final.n_images)
    first = [] if data.first_layer is None else [data.first_layer.operations]
    return {
        "rule": settings.rule.name,
        "neuron": settings.neuron.name,
        "dataset": settings.dataset.name,
        "split": settings.dataset.split,
        "engine": choice[0],
        "device": choice[1],
        "dtype": engine.model.weight_dtype.name,
        "seed": settings.seed,
        "n_exc": settings.n_exc,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "train_images": len(data.train_pixels),
        "label_images": len(data.label_classes),
        "test_images": final.n_images,
        "readout": settings.evaluator.readout,
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
        "operations": operations(*first, layer),
        "eval_images_per_second": final.images_per_second,
        "versions": versions(),
        "commit": commit(),
    }


def forgetting(accuracy: np.ndarray, data: Data) -> dict:
    """Return peak minus final accuracy (Chaudhry et al. 2018, arXiv 1801.10112) of each class but the last.

    `accuracy` [K, C] is of K evaluations with images by class, K > 1.
    """
    lost = accuracy[:-1].max(axis=0) - accuracy[-1]
    learned = [c for c in np.unique(data.train_classes)[:-1] if np.isfinite(lost[c])]  # NaN: no test images
    per_class = {data.classes[c]: float(lost[c]) for c in learned}
    return {"forgetting": float(lost[learned].mean()), "forgetting_per_class": per_class} if learned else {}


def judged(result: dict) -> float:
    """Return the accuracy of the judged readout, a fraction of 1."""
    return result["accuracy"][result["readout"]]


def write_result(directory: Path, result: dict) -> None:
    """Write `result.json`, which completes a run; log the accuracy of the judged readout."""
    files.write_atomically(directory / "result.json", (json.dumps(result, indent=2) + "\n").encode())
    if result["dataset"] != "patches":  # patches have no classes of their own
        log.info("%s accuracy %.2f%% (%s)", result["split"], 100 * judged(result), result["readout"])


def summary_table(result: dict, directory: Path) -> str:
    """Return the short table at the end of a run."""
    rows, readout, rate = {}, result["readout"], result["train_images_per_second"]
    for name, value in result["accuracy"].items():
        low, high = result["accuracy_interval_95"][name]
        mark = "  <- evaluator.readout" if name == readout else ""
        rows[f"{result['split']} accuracy, {name}"] = f"{value:.2%}  (95%: {low:.2%} to {high:.2%}){mark}"
    if found := result.get("supervised"):
        fitted = f"a linear classifier on {found['n_features']:,} features of {found['label_images']:,} labelled images"
        rows["supervised readout"] = f"{found['accuracy']:.2%}  ({fitted})"
    error = result["calibration_error"][readout]
    rows[f"calibration error, {readout}"] = f"{error:.2%}  (confidence against accuracy)"
    if "forgetting" in result:
        mean = f"mean of {len(result['forgetting_per_class'])} classes: peak accuracy minus final accuracy"
        rows[f"forgetting, {readout}"] = f"{result['forgetting']:.2%}  ({mean})"
    learning = "" if rate is None else f"learning {rate:,.0f}, "
    rows["images per second"] = f"{learning}evaluating {result['eval_images_per_second']:,.0f}"
    effective, dense = result["operations"]["synaptic_operations"].values()
    shown = f"{effective:,.0f} effective accumulates, {dense:,.0f} dense"
    rows["operations per image"] = f"{shown}; theoretical energy {result['operations']['energy_uj']:.3g} µJ"
    rows["silent neurons"] = f"{result['silent_neurons']} of {result['n_exc']}"
    if first := result.get("first_layer"):
        silent, active = f"{first['silent_neurons']} of {first['n_exc']} silent", f"{first['active_inputs']:.0%}"
        rows["first layer"] = f"{silent}, {first['spikes_per_image']:,.0f} spikes per image, {active} of inputs active"
        rows["first layer, filters"] = f"largest cosine between two {first['largest_cosine']:.3f}  (1: duplicates)"
    if found := result.get("perturbation"):
        rows["perturbation"] = f"{found['name']}: {found['strength']:g}, {found['axis']}"
    rows["wall time"], here = f"{result['wall_seconds']:.1f} s", Path.cwd()
    rows["results"] = str(directory.relative_to(here) if directory.is_relative_to(here) else directory)
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def versions() -> dict[str, str]:
    """Return the versions of this program and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in ("stdp-run", "torch", "numba", "numpy"):
        with suppress(metadata.PackageNotFoundError):  # not installed: run from a checkout
            found[name] = metadata.version(name)
    return found


def commit() -> str | None:
    """Return the commit of the source, with "-dirty" if the source was changed; None outside a checkout."""
    source = Path(__file__).parents[1]
    if not (source.parent / ".git").exists():
        return None
    try:
        words = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
