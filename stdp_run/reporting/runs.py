"""Runs side by side: which settings differ between them, and how accurate each setting is over its seeds.

A run is known by the files it leaves: `config.yaml`, all of its settings, and `result.json`, which is written last.
It becomes a row of a data frame, with its settings as text in columns by dotted key. Pandas is imported inside the
functions, because importing it costs more than most commands.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from stdp_run.config.compatibility import flat
from stdp_run.config.schema import of_this_version
from stdp_run.errors import UserError
from stdp_run.evaluation.metrics import wilson_interval

if TYPE_CHECKING:
    from pandas import DataFrame, Series
else:
    DataFrame = Series = Any  # only names for annotations

# What reading a damaged file can raise. Brackets without end are a RecursionError.
UNREADABLE = (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException)
# Columns of a run beside its settings and accuracy_READOUT; `accuracy` is that of the readout it is judged by.
SPEED = ("train_images_per_second", "wall_seconds")
COUNTS = {"n_train": "train_images", "n_test": "test_images", "n_label": "label_images"}  # null stands for all of them
OF_PERTURBATION = ("axis", "harmless", "chance")  # for its curve
FIGURES = ("directory", "state", "reason", "readout", "split", "accuracy", *SPEED, *COUNTS.values(), *OF_PERTURBATION)
# Settings that say nothing about a result: where a run lies, and how it is logged, saved and resumed.
IGNORED = (
    *("seed", "mode", "resume", "threads", "config_dir"),
    *("trainer.log_every", "trainer.label_window", "trainer.evaluate_every", "trainer.plot_every"),
)
IGNORED_START = ("checkpoint", "trainer.checkpoint", "predict.", "export.", "compare.")
NAMES = ("rule.name", "neuron.name", "dataset.name", "first_layer.dataset.name")
# Sections whose values come with a rule, a neuron group, what the two are tuned to, a dataset, or a first layer.
SECTIONS = ("rule.", "neuron.", "dataset.", "encoder.", "trainer.", "first_layer")


def heading(key: str) -> str:
    """Return a setting's key as users know it: `rule.name` is what `rule=` chooses."""
    return key.removesuffix(".name").removesuffix(".dataset") if key in NAMES else key


@dataclass(frozen=True)
class Comparison:
    """Settings, best first, and what became of every run."""

    runs: DataFrame  # a row for each run: those of the best setting first, those without a result last
    groups: DataFrame  # a row for each setting, highest mean accuracy first; accuracies are over seeds
    keys: tuple[str, ...]  # the settings that differ between groups
    readouts: tuple[str, ...]  # of all runs; the one that most runs are judged by comes first

    def of_state(self, state: str) -> DataFrame:
        """Return the runs that are "finished", "unfinished" or "failed"; the last two have a `reason`."""
        return self.runs[self.runs["state"] == state]

    @property
    def readout(self) -> str | None:
        """The readout that all runs are judged by; None where they differ."""
        found = self.of_state("finished")["readout"].unique()
        return found[0] if len(found) == 1 else None

    @property
    def measure(self) -> str:
        """What the accuracy was measured on, such as "test accuracy"; "accuracy" where runs differ in it."""
        return measure_of(self.of_state("finished"))

    @property
    def in_common(self) -> str:
        """The rule, neuron group, dataset and size, where they are the same in all finished runs."""
        first = self.of_state("finished").iloc[0]
        keys = [key for key in (*NAMES, "n_exc", "epochs") if first.get(key) and key not in self.keys]
        return ", ".join(f"{heading(key)}={first[key]}" for key in keys)


def measure_of(runs: DataFrame) -> str:
    """Return what the accuracy of finished runs was measured on; "accuracy" where they differ in it."""
    found = runs["split"].unique()
    return f"{found[0]} accuracy".strip() if len(found) == 1 else "accuracy"


# ------------------------------------------------------------------------------------------------------------------
# From directories to a data frame. What is damaged is reported, and stops nothing.


class Found(NamedTuple):
    """What is in a folder: a row for each, in the order of their names, numbers by their value."""

    runs: DataFrame
    evaluations: DataFrame


def find_runs(directory: Path) -> DataFrame:
    """Return the runs in `directory` and below it; errors as of `find_all`, and where it holds none."""
    runs = find_all(directory).runs
    if not len(runs):
        raise no_runs(directory)
    return runs


def no_runs(directory: Path) -> UserError:
    """Return the error for a folder without runs."""
    return UserError.bad_value("compare.dir", directory, "a folder with runs in it; no config.yaml of one is there")


def find_all(directory: Path) -> Found:
    """Return the runs and the evaluations (mode=eval) in `directory` and below it.

    Links are followed, hidden folders are not. Folders of other commands (mode=predict, ...) are no runs, nor is the
    first layer of a run. A run that cannot be read is an unfinished one whose `reason` says why.

    Raises:
        UserError: the folder is not there.
    """
    if not Path(directory).is_dir():
        raise UserError.bad_value("compare.dir", directory, "a folder that is there")
    rows: dict[str, list[dict]] = {"train": [], "eval": []}
    for path, files in _folders(Path(directory)):
        if path.name == "first_layer" and (path.parent / "config.yaml").exists():
            continue
        # A job that failed before it began has left only the line that says so, beside the command as it was given.
        if "config.yaml" in files or ("error.txt" in files and (path / ".hydra").is_dir()):
            row = _read_run(path, Path(directory))
            if (mode := str(row.get("mode", "train"))) in rows:
                rows[mode].append(row)
    return Found(_frame(rows["train"]), _frame(rows["eval"]))


def _frame(rows: list[dict]) -> DataFrame:
    from pandas import DataFrame

    rows.sort(key=lambda row: natural(str(row["directory"])))
    runs = DataFrame(rows)
    return runs.fillna(dict.fromkeys(_settings(runs), ""))


def _folders(directory: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield every folder and the names of its files, once: links may lead in circles, or twice to the same place."""
    seen = set()
    for path, folders, files in os.walk(directory, followlinks=True):
        place = os.path.realpath(path)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and place not in seen)
        if place not in seen:
            yield Path(path), files
        seen.add(place)


def natural(name: str) -> list[tuple]:
    """Return a key that sorts 2_a before 10_a."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def _settings(runs: DataFrame) -> list[str]:
    """Return the columns that are settings."""
    return [key for key in map(str, runs) if key not in FIGURES and not key.startswith("accuracy_")]


def settings_of_results(runs: DataFrame) -> list[str]:
    """Return the columns that are settings on which a result depends, but for the seed."""
    return [key for key in _settings(runs) if not _is_ignored(key.removeprefix("first_layer."))]


def _read_run(path: Path, searched: Path) -> dict[str, object]:
    config = "config.yaml" if (path / "config.yaml").exists() else ".hydra/config.yaml"
    readers: dict[str, Callable[[Path], dict]] = {config: _read_settings, "result.json": _read_figures}
    found: dict[str, dict] = {name: {} for name in readers}
    problems = []
    for name, read in readers.items():
        try:
            found[name] = read(path / name)
        except UNREADABLE as error:
            problems.append(f"{name}: {_in_one_line(error)}")
    settings, figures = found.values()
    failure, reason, state = _read_error(path / "error.txt"), "", "finished"
    if problems or not figures:
        figures, state = {}, "failed" if failure else "unfinished"
        reason = failure or "; ".join(problems) or "no result.json: on its way, or interrupted"
    name = str(path.relative_to(searched)) if path != searched else path.resolve().name
    return {"directory": name, "state": state, "reason": reason, **settings, **figures}


def _read_settings(path: Path) -> dict[str, str]:
    config = OmegaConf.to_container(OmegaConf.load(path))
    known = flat(of_this_version(cast(dict[str, Any], config))) if isinstance(config, dict) else {}
    settings = {key: _text(value) for key, value in known.items()}
    if settings.get("perturbation") == "null":  # where there is one, its keys stand in its place
        del settings["perturbation"]
    if "rule.name" not in settings:
        raise ValueError("holds no settings of a run: no rule.name")
    return settings


def _text(value: object) -> str:
    """Return a setting's value as the command line has it, with all its digits; 400.0 is the same setting as 400."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _read_figures(path: Path) -> dict[str, object]:
    """Return the figures of a run from its result; none where there is no result yet."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    result = result if isinstance(result, dict) else {}
    accuracy, readout = result.get("accuracy"), result.get("readout")
    if not isinstance(accuracy, dict) or not isinstance(readout, str) or readout not in accuracy:
        raise ValueError("has no accuracy")
    for name, value in accuracy.items():
        if not (_is_number(value) and 0 <= value <= 1):
            raise ValueError(f"accuracy {name} is {value!r}, not a fraction of 1")
    figures = {"readout": readout, "split": str(result.get("split", "")), "accuracy": accuracy[readout]}
    figures |= {f"accuracy_{name}": value for name, value in accuracy.items()}
    numbers = (*SPEED, *COUNTS.values())
    figures |= {name: result[name] if _is_number(result.get(name)) else math.nan for name in numbers}
    return figures | _of_perturbation(result.get("perturbation"), result.get("accuracy_per_class"))


def _of_perturbation(perturbation: object, accuracy_per_class: object) -> dict[str, object]:
    """Return what the curve of a perturbation needs beside its strength, from a result."""
    if not isinstance(perturbation, dict):
        return {}
    axis, harmless = perturbation.get("axis"), perturbation.get("harmless")
    by_readout = accuracy_per_class if isinstance(accuracy_per_class, dict) else {}
    n_classes = max((len(each) for each in by_readout.values() if isinstance(each, dict)), default=0)
    found = {"axis": axis if isinstance(axis, str) else "strength", "chance": 1 / n_classes if n_classes else math.nan}
    return {**found, "harmless": harmless if _is_number(harmless) else math.nan}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_error(path: Path) -> str | None:
    try:
        return _in_one_line(path.read_text(encoding="utf-8", errors="replace")) or "error.txt is empty"
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"error.txt: {error.strerror}"


def _in_one_line(message: object) -> str:
    return " ".join(str(message).split())


# ------------------------------------------------------------------------------------------------------------------
# From runs to groups of the same settings, and their accuracy over seeds.


def compare(runs: DataFrame) -> Comparison:
    """Return finished runs grouped by all settings but the seed, best mean accuracy first, and the other runs.

    A seed that was run more than once counts once, with the mean of its runs. Groups of the same accuracy stay in the
    order of the runs. A key that differs only because rule, neuron group or dataset do is not listed among the `keys`.
    """
    done = runs[runs["state"] == "finished"]
    if done.empty:
        return Comparison(runs, done, (), ())
    differing = [key for key in settings_of_results(runs) if done[key].nunique() > 1]
    differing.sort(key=lambda key: NAMES.index(key) if key in NAMES else len(NAMES))
    keys = [key for key in differing if not _comes_with_names(done, key, differing)]
    judged = done["readout"].value_counts()
    readouts = [name.removeprefix("accuracy_") for name in map(str, runs) if name.startswith("accuracy_")]
    readouts.sort(key=lambda name: -judged.get(name, 0))

    done = done.assign(setting=done.groupby(differing, sort=False).ngroup() if differing else 0)
    measured = ["accuracy", *(f"accuracy_{name}" for name in readouts)]
    by_seed = done.groupby(["setting", "seed"], sort=False)[measured].mean()
    spread = by_seed.groupby("setting").agg(["mean", "std", "min", "max"]).rename(columns={"std": "sd"})
    spread.columns = ["_".join(column) for column in spread.columns]
    settings = done.groupby("setting")
    groups = settings[[*keys, "readout", *COUNTS.values()]].first()
    groups["seeds"] = settings["seed"].agg(lambda seeds: sorted(seeds.unique(), key=natural))
    groups["n_seeds"] = groups["seeds"].map(len)
    groups["n_runs"] = settings.size()
    groups["accuracies"] = by_seed["accuracy"].groupby("setting").agg(list)
    groups = groups.join(spread).join(settings[list(SPEED)].mean())
    groups[["interval_95_low", "interval_95_high"]] = [_interval(group) for _, group in groups.iterrows()]
    groups = groups.sort_values("accuracy_mean", ascending=False, kind="stable")
    place = done["setting"].map({setting: place for place, setting in enumerate(groups.index)})
    runs = runs.assign(place=place).sort_values("place", kind="stable").drop(columns="place")
    return Comparison(runs, groups.reset_index(drop=True), tuple(keys), tuple(readouts))


def _is_ignored(key: str) -> bool:
    return key in IGNORED or key.startswith(IGNORED_START)


def _comes_with_names(done: DataFrame, key: str, differing: Sequence[str]) -> bool:
    """Return whether a key differs only because the rule, the neuron group or the dataset does.

    What the accuracy is measured on is always worth a column, and so is what no rule or dataset brings along.
    """
    names = [name for name in NAMES if name in differing]
    if not names or key in NAMES or key == "dataset.split" or not key.startswith(SECTIONS):
        return False
    return bool(done.groupby(names)[key].nunique().max() == 1)


def _interval(group: Series) -> tuple[float, float]:
    """Return the 95% interval of a single run's accuracy, from the number of its test images."""
    n_images = group["test_images"]
    if group["n_seeds"] > 1 or not n_images >= 1:
        return math.nan, math.nan
    return wilson_interval(round(group["accuracy_mean"] * n_images), int(n_images))
