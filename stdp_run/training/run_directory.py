"""The directory of one run: who may write in it, how far the run in it came, and whether it is the one asked for."""

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from stdp_run import checkpoint, files
from stdp_run.checkpoint import Checkpoint
from stdp_run.config.schema import Settings, read_settings
from stdp_run.errors import UserError
from stdp_run.training.result import judged
from stdp_run.training.tracking import EVENTS_SUFFIX

log = logging.getLogger(__name__)

KEPT_CHECKPOINTS = 2
# What a run replaces; a program of another kind, or a user, may have files of these names.
REPLACED = ("config.yaml", "result.json", "metrics.jsonl", "checkpoint.pt", "report.html")


class RunDirectory:
    """The files of a run, by what they say about it."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoints = path / "checkpoints"

    @contextmanager
    def locked(self, wait: bool) -> Iterator[None]:
        """Keep every other process out of the directory, and remove what killed ones were writing.

        The directory is made where it is missing. One to which nothing was added is left as it was.

        Raises:
            UserError: another process is at work in it and this one is not to `wait`.
        """
        lock, new = self.path / files.LOCK, not self.path.exists()
        self.path.mkdir(exist_ok=True)
        before = set(self.path.iterdir())
        try:
            with files.locked(lock, wait, str(self.path)):
                for folder in (self.path, self.checkpoints):
                    files.remove_unfinished(folder)
                try:
                    yield
                finally:
                    if {*self.path.iterdir()} - before == {lock}:
                        with suppress(OSError):  # Windows removes no open file
                            lock.unlink()
        finally:
            if new:
                with suppress(OSError):  # it is not empty
                    self.path.rmdir()

    def config(self) -> Settings | None:
        """Return the settings of what is there; None if there are none, or they cannot be read."""
        try:
            config = OmegaConf.load(self.path / "config.yaml")
            return read_settings(config)  # type: ignore[arg-type]  # a list is refused
        except (OSError, ValueError, YAMLError, OmegaConfBaseException, UserError):
            return None

    def write_config(self, settings: Settings) -> None:
        """Write the settings of the run."""
        files.write_atomically(self.path / "config.yaml", OmegaConf.to_yaml(settings.record).encode())

    def result(self) -> dict | None:
        """Return the result of the run that is there; None if it is not complete.

        It is not if its result or the network that it ended with is damaged, which the log then says.
        """
        file = self.path / "result.json"
        if not file.is_file():
            return None
        problem = f"{file}: damaged"
        try:
            result = json.loads(file.read_text())
            if math.isfinite(judged(result)):
                checkpoint.read_verified(self.path / "checkpoint.pt")
                return result
        except UserError as error:
            problem = str(error)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        log.warning("%s; it is made again", problem)
        return None

    def save(self, content: Checkpoint) -> None:
        """Save a checkpoint of the run on its way, and remove all but the newest two."""
        self.checkpoints.mkdir(exist_ok=True)
        checkpoint.save(self.checkpoints / f"images_{content.position['images']:012}.pt", content)
        for old in self._newest_first()[KEPT_CHECKPOINTS:]:
            old.unlink(missing_ok=True)

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint of the run that is intact; None if there is none.

        Raises:
            UserError: there are checkpoints, and none of them is intact.
        """
        problems = []
        for file in self._newest_first():
            try:
                return checkpoint.load(file)
            except UserError as error:
                log.warning("%s; the one before it is tried", error)
                problems.append(str(error))
        if problems:
            raise UserError(f"{'; '.join(problems)}; no checkpoint is left, start again in another directory")
        return None

    def holds_run(self) -> bool:
        """Return whether a run came so far here that something of it can be used, if only in folders below."""
        if self._newest_first() or (self.path / "checkpoint.pt").exists():
            return True
        if (self.path / "result.json").exists() and self.mode() != "eval":
            return True
        there = self.config()
        below = there is not None and there.first_layer is not None
        return below and any(RunDirectory(path).holds_run() for path in self.path.iterdir() if path.is_dir())

    def mode(self) -> str | None:
        """Return the mode of the command that left its settings there; None if there are none."""
        there = self.config()
        return there.mode if there else None

    def refuse_files_of_others(self) -> None:
        """Refuse a directory with files that a run would replace and that are none's.

        Raises:
            UserError: there are such files.
        """
        if self.config() is not None or self._newest_first():
            return
        found = ", ".join(name for name in REPLACED if (self.path / name).exists())
        if found:
            raise UserError(f"{self.path} holds {found}, but no run; hydra.run.dir=PATH starts elsewhere")

    def clear(self) -> None:
        """Remove what a run without a checkpoint, of which nothing can be used, has left behind."""
        for file in (self.path / "metrics.jsonl", *self.path.glob(f"events.out.tfevents.*{EVENTS_SUFFIX}")):
            file.unlink(missing_ok=True)

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints of a run that is complete."""
        for file in self._newest_first():
            file.unlink(missing_ok=True)
        with suppress(OSError):  # there is none, or it holds files of the user
            self.checkpoints.rmdir()

    def _newest_first(self) -> list[Path]:
        return sorted(self.checkpoints.glob("images_*.pt"), reverse=True)
