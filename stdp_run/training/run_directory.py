"""The directory of a run: lock, settings, checkpoints and result."""

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from stdp_run import checkpoint, files
from stdp_run.checkpoint import Checkpoint
from stdp_run.config.schema import Settings
from stdp_run.errors import UserError
from stdp_run.training.result import judged
from stdp_run.training.tracking import EVENTS_SUFFIX

log = logging.getLogger(__name__)

KEPT_CHECKPOINTS = 2
# A run replaces files with these names; without a config.yaml they may belong to the user or another program.
REPLACED = ("result.json", "metrics.jsonl", "checkpoint.pt", "report.html", "checkpoints")


class RunDirectory:
    """The files of a run."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoints = path / "checkpoints"

    @contextmanager
    def locked(self, wait: bool) -> Iterator[None]:
        """Context that keeps other processes out of the directory, as `files.locked`; removes an unused lock file."""
        lock = self.path / files.LOCK
        self.path.mkdir(exist_ok=True)
        is_new = not lock.exists()
        with files.locked(lock, wait, str(self.path)):
            for folder in (self.path, self.checkpoints):
                files.remove_unfinished(folder)
            before = {*self.path.iterdir()}
            try:
                yield
            finally:
                if {*self.path.iterdir()} <= before and (is_new or before == {lock}):
                    with suppress(OSError):  # Windows does not remove open files
                        lock.unlink()

    def record(self, mode: str) -> dict[str, Any] | None:
        """Return the record of the run in the directory, or None; raise UserError for another mode or other files."""
        file, elsewhere = self.path / "config.yaml", "choose another hydra.run.dir"
        if not file.exists():
            if found := ", ".join(name for name in REPLACED if (self.path / name).exists()):
                raise UserError(f"{self.path}: contains unrelated files, {found}; {elsewhere}")
            return None
        try:
            record = files.read_record(file)
            existing = record["mode"]
        except (OSError, ValueError, TypeError, KeyError):
            raise UserError(f"{file}: not the settings of a run; {elsewhere}") from None
        if existing != mode:
            raise UserError(f"{self.path}: holds the files of mode={existing}; {elsewhere}")
        return record

    def write_config(self, settings: Settings) -> None:
        text = yaml.safe_dump(settings.record, sort_keys=False, allow_unicode=True)
        files.write_atomically(self.path / "config.yaml", text.encode())

    def result(self, needs_checkpoint: bool = True) -> dict | None:
        """Return the result of the run; None unless it and the final checkpoint exist undamaged."""
        file = self.path / "result.json"
        if not file.is_file():
            return None
        try:
            result = json.loads(files.read_regular(file))
            if not math.isfinite(judged(result)):
                raise ValueError("accuracy")
            if needs_checkpoint:
                checkpoint.read_verified(self.path / "checkpoint.pt")
            return result
        except Exception as error:  # of any type: the content is untrusted
            log.warning("%s: the result is damaged and is computed again: %s", self.path, error)
            return None

    def save(self, content: Checkpoint, keep_all: bool = False) -> None:
        """Save a checkpoint of an unfinished run; remove all but the newest two, unless `keep_all`."""
        self.checkpoints.mkdir(exist_ok=True)
        checkpoint.save(self.checkpoints / f"images_{content.global_step:012}.pt", content)
        for old in [] if keep_all else self._newest_first()[KEPT_CHECKPOINTS:]:
            old.unlink(missing_ok=True)

    def newest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint; None if there is no checkpoint, UserError if all are damaged."""
        problems = []
        for file in self._newest_first():
            try:
                return checkpoint.load(file)
            except UserError as error:
                log.warning("%s; trying the previous checkpoint", error)
                problems.append(str(error))
        if problems:
            raise UserError(f"{'; '.join(problems)}; no checkpoint is left, start again in another directory")
        return None

    def clear(self) -> None:
        """Remove the metrics and events of a run that left no checkpoint."""
        for file in (self.path / "metrics.jsonl", *self.path.glob(f"events.out.tfevents.*{EVENTS_SUFFIX}")):
            file.unlink(missing_ok=True)

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints of a run that is complete."""
        for file in self._newest_first():
            file.unlink(missing_ok=True)
        with suppress(OSError):  # the folder does not exist, or contains files of the user
            self.checkpoints.rmdir()

    def _newest_first(self) -> list[Path]:
        return sorted(self.checkpoints.glob("images_*.pt"), reverse=True)
