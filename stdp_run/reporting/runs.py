"""Finds training runs and evaluations in a folder: a row for each, with its settings and figures.

Pandas is imported inside functions, because importing it costs more than most commands.
"""

import json
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stdp_run.config.compatibility import flat
from stdp_run.config.schema import Settings
from stdp_run.errors import UserError, printable, shown
from stdp_run.evaluation.readouts import READOUTS
from stdp_run.files import read_record, read_regular

if TYPE_CHECKING:
    from pandas import DataFrame, Series
else:
    DataFrame = Series = Any  # only names for annotations

log = logging.getLogger(__name__)

COSTS = ("train_images_per_second", "eval_images_per_second", "wall_seconds", "accumulates_per_image")
INTERVAL = ("interval_95_low", "interval_95_high")
NOT_SETTINGS = ("accuracy", "supervised", *INTERVAL, *COSTS, "strength_label", "directory", "state", "reason")
# Keys that a user chooses a section by.
CHOSEN_BY = {f"{name}.name": name for name in ("rule", "neuron", "dataset", "perturbation")}
CHOSEN_BY["first_layer.dataset.name"] = "first_layer"
ALWAYS_NAMED = (
    *("mode", "rule", "neuron", "dataset", "first_layer", "perturbation", "perturbation.strength"),
    *("dataset.split", "n_exc", "epochs", "n_train", "n_test", "evaluator.readout"),
)
# Settings that do not change a result.
OPERATIONAL = (
    *("seed", "resume", "threads", "checkpoint", "predict.", "export.", "compare.", "evaluator.supervised"),
    *("trainer.checkpoint_", "trainer.log_", "trainer.label_", "trainer.evaluate_", "trainer.plot_", "trainer.keep_"),
)


def find_runs(directory: Path) -> DataFrame:
    """Return the training runs and evaluations in `directory` and below it, indexed and sorted by path.

    Settings are columns of text by dotted key, "" if a run lacks the key. The other columns are `NOT_SETTINGS` and
    accuracy_READOUT. `state` is "finished", "failed" or "unfinished"; the last two have a `reason`. Raise UserError if
    there is no run.
    """
    from pandas import DataFrame

    found = {path: _read_run(path, directory) for path in _run_folders(directory)}
    rows = {path: row for path, row in found.items() if row["mode"] in ("", "train", "eval")}
    if not rows:
        raise UserError.bad_value("compare.dir", directory, "a folder with runs in it; no config.yaml of one is there")
    runs = DataFrame(rows.values(), index=[*rows])
    return runs.fillna(dict.fromkeys(settings_of(runs), ""))


def settings_of(runs: DataFrame) -> list[str]:
    """Return the columns that are settings on which a result depends, except for the seed."""
    settings = (key for key in map(str, runs) if key not in NOT_SETTINGS and not key.startswith("accuracy_"))
    return [key for key in settings if not key.removeprefix("first_layer.").startswith(OPERATIONAL)]


def _run_folders(directory: Path) -> Iterator[Path]:
    """Yield each folder of a run once. Links are followed; hidden folders and folders inside a run are skipped."""
    visited = set()
    for path, folders, files in os.walk(directory, followlinks=True):
        # A job that fails before it starts leaves only error.txt and Hydra's record of the command.
        is_run = "config.yaml" in files or ("error.txt" in files and ".hydra" in folders)
        is_new = os.path.realpath(path) not in visited
        visited.add(os.path.realpath(path))
        folders[:] = sorted(name for name in folders if is_new and not is_run and not name.startswith("."))
        if is_run and is_new:
            yield Path(path)


def _read_run(path: Path, searched: Path) -> dict[str, object]:
    name = str(path.relative_to(searched)) if path != searched else path.resolve().name
    row: dict[str, object] = {"directory": name, "state": "finished"}
    row |= dict.fromkeys(("reason", *ALWAYS_NAMED, "strength_label", "seed"), "")
    row |= dict.fromkeys(("accuracy", "supervised", *INTERVAL, *COSTS), math.nan)
    config = "config.yaml" if (path / "config.yaml").exists() else ".hydra/config.yaml"
    for file, read in ((config, _read_config), ("result.json", _read_result)):
        try:
            row |= read(path / file)
        except FileNotFoundError:
            row |= {"state": "unfinished", "reason": f"no {file}: still running, or interrupted"}
        except Exception as error:  # of any type, as the content may be anything
            row |= {"state": "unfinished", "reason": f"{file} is damaged: {type(error).__name__}: {error}"}
        if row["state"] != "finished":
            break
    if row["state"] != "finished" and (path / "error.txt").is_file():
        row |= {"state": "failed", "reason": (path / "error.txt").read_text(encoding="utf-8", errors="replace")}
    return row | {"reason": " ".join(str(row["reason"]).split())}


def _read_config(path: Path) -> dict[str, object]:
    config = flat({key: value for key, value in read_record(path).items() if key in Settings.__dataclass_fields__})
    settings = {CHOSEN_BY.get(key, key): _text(value) for key, value in config.items()}
    settings |= {key: "none" for key in ("perturbation", "first_layer") if settings.get(key, "null") == "null"}
    return {"mode": settings["mode"], "rule": settings["rule"], **settings}


def _text(value: object) -> str:
    """Return a value as the command line has it; 400.0 is the same setting as 400."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else shown(value)


def _read_result(path: Path) -> dict[str, object]:
    """Return the figures of a run, and n_train and n_test as numbers, because null means all images."""
    result = json.loads(read_regular(path))
    accuracy = result["accuracy"]
    if not all(0 <= value <= 1 for value in accuracy.values()):
        raise ValueError(f"accuracy is {accuracy}, not fractions of 1")
    figures = {
        "accuracy": accuracy[result["readout"]],
        **{f"accuracy_{name}": accuracy[name] for name in READOUTS if name in accuracy},
    }
    figures["supervised"] = float(result.get("supervised", {}).get("accuracy", math.nan))
    synaptic = result.get("operations", {}).get("synaptic_operations", {})
    costs = {**result, "accumulates_per_image": synaptic.get("Effective_ACs")}
    figures |= {name: math.nan if costs[name] is None else float(costs[name]) for name in COSTS}
    figures |= dict(zip(INTERVAL, map(float, result["accuracy_interval_95"][result["readout"]]), strict=True))
    figures |= {"strength_label": printable(result.get("perturbation", {}).get("axis", ""))}
    return figures | {"n_train": _text(result["train_images"]), "n_test": _text(result["test_images"])}


def running_accuracy(path: Path) -> Series:
    """Return the running accuracy of the run in a folder by images seen, empty if its metrics.jsonl has none."""
    from pandas import Series

    recorded: dict[float, float] = {}
    try:
        for line in read_regular(path / "metrics.jsonl").splitlines():
            row = json.loads(line)
            if row.get("train/running_accuracy") is not None:
                recorded[float(row["images_seen"])] = float(row["train/running_accuracy"])
        if not all(0 <= accuracy <= 1 and 0 <= images < math.inf for images, accuracy in recorded.items()):
            raise ValueError("a running accuracy is not a fraction of 1")
    except FileNotFoundError:
        pass
    except Exception as error:  # of any type, as the content may be anything
        log.warning("%s: not drawn: metrics.jsonl is damaged: %s: %s", path, type(error).__name__, error)
        recorded.clear()
    return Series(recorded, dtype=float).sort_index()
