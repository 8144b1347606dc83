"""Runs inside the test's own process, and all that a run leaves."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from stdp_run import checkpoint
from stdp_run.cli import jobs  # noqa: F401  registers the group `tuned`
from stdp_run.cli.overrides import key_of
from stdp_run.commands import Invocation, run
from stdp_run.config.build import conf_folder
from stdp_run.config.schema import Settings, read_settings, resolved
from stdp_run.training.tracking import Tracker

CHANGING = ("train_images_per_second", "eval_images_per_second", "wall_seconds", "commit")
TINY = ("n_exc=20", "n_train=60", "n_test=40", "n_label=60", "trainer.log_every=20")


def composed(*overrides: str):
    """Return the config that the command line would compose."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def settings_of(*overrides: str) -> Settings:
    """Return the settings of a command line."""
    return read_settings(resolved(composed(*overrides)))


def run_in(directory: Path, *overrides: str, **invocation) -> float:
    """Do in a directory, which is made, what a command line asks for; `invocation` has more of `Invocation`."""
    directory.mkdir(exist_ok=True)
    return run(composed(*overrides), Invocation(directory, tuple(map(key_of, overrides)), bars=False, **invocation))


class Killed(Exception):
    """Ends a run as if its process were killed."""


def kill() -> None:
    """Raise Killed."""
    raise Killed


@contextmanager
def struck(images: int, act: Callable[[], object]) -> Iterator[None]:
    """Context that calls `act` just before a run records metrics after `images` images."""
    write = Tracker.scalars

    def scalars(self, images_seen, values):
        if images_seen == images:
            act()
        write(self, images_seen, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tracker, "scalars", scalars)
        yield


class _Changes:
    """An audit hook that calls `act` at one change of a file in a folder; a killed run changes no file after it."""

    folder: Path | None = None

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.folder is None or event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            return
        path, changes = str(arguments[0]), event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR)
        # TensorBoard's thread writes at any time; a run goes on without a lock.
        if changes and path.startswith(str(self.folder)) and not ("tfevents" in path or path.endswith(".lock")):
            self.left -= 1
            if self.left == 0 or (self.left < 0 and self.act is kill):
                self.act()


_changes = _Changes()
sys.addaudithook(_changes)  # for the rest of the process


@contextmanager
def interrupted(folder: Path, number: int, act: Callable[[], object]) -> Iterator[None]:
    """Context that calls `act` just before a change of a file or folder; `number` counts changes from 1."""
    _changes.left, _changes.act, _changes.folder = number, act, folder
    seconds = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: 100 * seconds())  # names of event files differ by a second
        try:
            yield
        finally:
            _changes.folder = None


def killed_run(directory: Path, images: int, *overrides: str) -> Path:
    """Start a run that is killed just before it records something after so many images; return its directory."""
    with pytest.raises(Killed), struck(images, kill):
        run_in(directory, *overrides)
    return directory


def intact_run(*overrides: str):
    """Return a fixture of a module: the directory of a run without interruption."""

    @pytest.fixture(scope="module")
    def intact(tmp_path_factory) -> Path:
        directory = tmp_path_factory.mktemp("intact") / "run"
        run_in(directory, *overrides)
        return directory

    return intact


def contents(directory: Path) -> dict[Path, bytes]:
    """Return every file in a directory and below."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def result_of(directory: Path) -> dict:
    """Return what a run wrote to its result.json."""
    return json.loads((directory / "result.json").read_text())


def rows_of(directory: Path) -> list[dict]:
    """Return the rows of a run's metrics.jsonl."""
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def events_of(directory: Path):
    """Return what TensorBoard reads in a run's directory."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(directory), size_guidance={"scalars": 0, "images": 0}).Reload()


def figures(directory: Path) -> dict:
    """Return what has to be the same in two runs of the same thing: the result, except what says how long it took."""
    return {key: value for key, value in result_of(directory).items() if key not in CHANGING}


def bits(array: np.ndarray) -> tuple:
    """Return all that an array is."""
    return array.dtype, array.shape, array.tobytes()


def left_by(directory: Path) -> dict:
    """Return all that a run leaves, except what says how long it took."""
    events = events_of(directory)
    tags = events.Tags()
    saved = checkpoint.load(directory / "checkpoint.pt")
    return {
        "files": sorted({re.sub(r"tfevents.*", "", path.name) for path in directory.iterdir()}),
        "config": [(directory / "config.yaml").read_text(), saved.config],
        "result": figures(directory),
        "metrics": [
            {key: value for key, value in row.items() if not key.endswith("per_second")} for row in rows_of(directory)
        ],
        "scalars": {
            name: [(event.step, event.value) for event in events.Scalars(name)]
            for name in tags["scalars"]
            if not name.endswith("per_second")
        },
        "images": {name: [event.step for event in events.Images(name)] for name in tags["images"]},
        "plots": {path.name: path.read_bytes() for path in directory.glob("*.png")},
        "checkpoint": checkpoint._converted({**vars(saved), "config": {}}, np.ndarray, bits),
    }


def assert_same(directory: Path, other: Path, *but: str) -> None:
    """Compare all that two runs left, except the parts that are named."""
    first, second = left_by(directory), left_by(other)
    for name in first.keys() - set(but):
        assert first[name] == second[name], name
