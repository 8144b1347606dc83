"""The directory of one run: who may write in it, how far the run in it came, and whether it is the one asked for."""

import fcntl
import json
import logging
import math
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from stdp_run.errors import UserError
from stdp_run.training import checkpoint
from stdp_run.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)

KEPT_CHECKPOINTS = 2


class RunDirectory:
    """The files of a run, by what they tell about it."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoints = path / "checkpoints"

    @contextmanager
    def locked(self, wait: bool):
        """Keep every other process out of the directory; the system lets go of it whatever becomes of this process.

        Raises:
            UserError: another process is at work in it and this one is not to `wait`.
        """
        with open(self.path / ".lock", "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise UserError(f"{self.path}: another process is at work in this directory") from None
                log.info("%s: another process is at work there; waiting for it", self.path)
                fcntl.flock(file, fcntl.LOCK_EX)
            # What a killed process was writing has a name that starts with a dot and goes on with another one.
            for leftover in (*self.path.glob(".*.*"), *self.checkpoints.glob(".*.*")):
                leftover.unlink(missing_ok=True)
            yield

    def config(self) -> dict | None:
        """Return the resolved config of the run that is there; None if there is none, or it cannot be read."""
        try:
            config = OmegaConf.to_container(OmegaConf.load(self.path / "config.yaml"))
        except (OSError, ValueError, YAMLError, OmegaConfBaseException):
            return None
        return config if isinstance(config, dict) else None

    def result(self) -> dict | None:
        """Return the result of the run that is there; None if it is not complete.

        It is not if its result or the network that it ended with is damaged, which the log then tells.
        """
        try:
            text = (self.path / "result.json").read_text()
        except OSError:
            return None
        try:
            result = json.loads(text)
            if not math.isfinite(result["test_accuracy"]):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            log.warning("%s: damaged; it is made again", self.path / "result.json")
            return None
        try:
            checkpoint.read_verified(self.path / "checkpoint.pt")
        except UserError as error:
            log.warning("%s; it is made again", error)
            return None
        return result

    def save(self, content: Checkpoint) -> None:
        """Save a checkpoint of the run on its way, and remove all but the newest two."""
        self.checkpoints.mkdir(exist_ok=True)
        checkpoint.save(self.checkpoints / f"images_{content.position['images']:012}.pt", content)
        for old in self._newest_first()[KEPT_CHECKPOINTS:]:
            old.unlink(missing_ok=True)

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint of the run that is whole; None if there is none.

        Raises:
            UserError: there are checkpoints, and none of them is whole.
        """
        files = self._newest_first()
        problems = []
        for file in files:
            try:
                found = checkpoint.load(file)
            except UserError as error:
                log.warning("%s; the one before it is tried", error)
                problems.append(str(error))
                continue
            return found
        if problems:
            raise UserError(f"{'; '.join(problems)}; no checkpoint is left, start again in another directory")
        return None

    def has_checkpoint(self) -> bool:
        """Return whether a checkpoint of the run on its way is there, whole or not."""
        return bool(self._newest_first())

    def holds_run(self) -> bool:
        """Return whether a run came so far here that something of it can be used, alone or with others side by side."""
        if self.has_checkpoint() or (self.path / "result.json").exists():
            return True
        several = (self.config() or {}).get("networks", 1) > 1
        return several and any(RunDirectory(path).holds_run() for path in self.path.iterdir() if path.is_dir())

    def clear(self) -> None:
        """Remove what a run without a checkpoint, of which nothing can be used, has left behind."""
        for file in (self.path / "metrics.jsonl", *self.path.glob("events.out.tfevents.*")):
            file.unlink(missing_ok=True)

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints of a run that is complete."""
        for file in self._newest_first():
            file.unlink(missing_ok=True)
        if self.checkpoints.is_dir() and not any(self.checkpoints.iterdir()):
            self.checkpoints.rmdir()

    def _newest_first(self) -> list[Path]:
        return sorted(self.checkpoints.glob("images_*.pt"), reverse=True)


def flat(config: Mapping, prefix: str = "") -> dict[str, object]:
    """Return a config's values by dotted key."""
    values = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            values.update(flat(value, f"{prefix}{key}."))
        else:
            values[f"{prefix}{key}"] = value
    return values


def differences(asked: Mapping, there: Mapping, ignored: Iterable[str]) -> list[str]:
    """Return, for every key that two configs disagree about, "key=asked (there: value)"; `ignored` ones may differ."""
    asked, there = flat(asked), flat(there)
    missing = object()
    shown = []
    for key in sorted(asked.keys() | there.keys()):
        new, old = asked.get(key, missing), there.get(key, missing)
        if key in ignored or new == old:
            continue
        parts = ("not set" if value is missing else _shown(value) for value in (new, old))
        shown.append("{}={} (there: {})".format(key, *parts))
    return shown


def _shown(value: object) -> str:
    return "null" if value is None else str(value)
