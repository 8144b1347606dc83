"""From directories to runs; what is damaged in them is told, and stops nothing."""

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from stdp_run.errors import UserError

# What reading a damaged file can raise. Brackets without end are a RecursionError.
UNREADABLE = (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException)


@dataclass(frozen=True)
class Run:
    """One run as it lies in its directory."""

    directory: Path
    name: str  # the directory, seen from the one that was searched
    settings: dict[str, object]  # by dotted key, such as rule.name; empty where config.yaml is damaged
    result: dict | None  # what result.json holds; None: the run is not finished
    error: str | None = None  # the line that a failed run left
    damage: str | None = None  # what is wrong with the files of the run

    @property
    def failed(self) -> bool:
        """Whether the run ended with an error."""
        return self.result is None and self.error is not None

    @property
    def of_several(self) -> bool:
        """Whether it stands for networks side by side, each of which has its run in a folder below."""
        n_networks = self.settings.get("networks", 1)
        return is_number(n_networks) and n_networks > 1 and not self.failed

    @property
    def reason(self) -> str:
        """Why there is no result to compare; empty where there is one."""
        if self.result is not None:
            return ""
        return self.error or self.damage or "no result.json: on its way, or interrupted"

    @property
    def seed(self) -> int | str:
        """The seed of a finished run."""
        seed = self.settings.get("seed", self.result.get("seed"))
        return seed if is_number(seed) else str(seed)


def find_runs(directory: Path) -> list[Run]:
    """Return the runs in `directory` and below it, in the order of their names, numbers by their value.

    Links and hidden folders are not followed. Folders of commands that learn nothing (mode=eval, predict, ...) are no
    runs. What cannot be read makes a run an unfinished one that says why.

    Raises:
        UserError: the folder is not there, or holds no runs.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError.bad_value("dir", directory, "a folder that is there")
    runs = []
    for path, folders, files in os.walk(directory):
        # A job that failed before its settings were known has left only the line that says so, beside Hydra's folder.
        if "config.yaml" in files or ("error.txt" in files and ".hydra" in folders):
            runs.append(_read_run(Path(path), directory))
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
    runs = [run for run in runs if run.settings.get("mode", "train") == "train" and not run.of_several]
    if not runs:
        raise UserError.bad_value("dir", directory, "a folder with runs in it; there is no config.yaml of a run")
    return sorted(runs, key=lambda run: _natural(run.name))


def _natural(name: str) -> list[tuple]:
    """Return a key that sorts 2_a before 10_a."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def _read_run(path: Path, searched: Path) -> Run:
    settings, result, problems = {}, None, []
    try:
        settings = _read_settings(path / "config.yaml")
    except UNREADABLE as error:
        problems.append(f"config.yaml: {_in_one_line(error)}")
    try:
        result = _read_result(path / "result.json")
    except UNREADABLE as error:
        problems.append(f"result.json: {_in_one_line(error)}")
    return Run(
        directory=path,
        name=str(path.relative_to(searched)) if path != searched else path.resolve().name,
        settings=settings,
        result=None if problems else result,
        error=_read_error(path / "error.txt"),
        damage="; ".join(problems) or None,
    )


def _read_settings(path: Path) -> dict[str, object]:
    config = OmegaConf.to_container(OmegaConf.load(path))
    settings = _flat(config) if isinstance(config, dict) else {}
    if "rule.name" not in settings:
        raise ValueError("holds no settings of a run: no rule.name")
    return settings


def _flat(section: dict, prefix: str = "") -> dict[str, object]:
    values = {}
    for key, value in section.items():
        if isinstance(value, dict):
            values.update(_flat(value, f"{prefix}{key}."))
        else:
            values[f"{prefix}{key}"] = value
    return values


def _read_result(path: Path) -> dict | None:
    """Return the result; None where there is none yet."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    result = result if isinstance(result, dict) else {}
    accuracy, readout = result.get("accuracy"), result.get("readout")
    if not isinstance(accuracy, dict) or not isinstance(readout, str) or readout not in accuracy:
        raise ValueError("has no accuracy")
    for name, value in accuracy.items():
        if not (is_number(value) and 0 <= value <= 1):
            raise ValueError(f"accuracy {name} is {value!r}, not a fraction of 1")
    return result


def _read_error(path: Path) -> str | None:
    try:
        return _in_one_line(path.read_text(encoding="utf-8", errors="replace")) or "error.txt is empty"
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"error.txt: {error.strerror}"


def _in_one_line(message: object) -> str:
    return " ".join(str(message).split())


def is_number(value: object) -> bool:
    """Return whether a value is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
