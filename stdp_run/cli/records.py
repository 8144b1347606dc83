"""What a command leaves beside the files of its run: `.hydra/`, the command as it was given, and `run.log`.

Hydra would write both before anything is checked. Here they wait until the command is accepted, so that one that is
refused changes nothing in a run, and leaves no folder.
"""

import logging
from contextlib import suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from stdp_run.errors import UserError

FOLDER = ".hydra"

_new_folders: list[Path] = []  # that Hydra made for the command, the innermost first


class RunLog(logging.FileHandler):
    """A log file that is opened by `open_file`; what is logged before waits for it, and is lost without it."""

    def __init__(self, filename: str):
        super().__init__(filename, encoding="utf-8", delay=True)
        self._waiting: list[logging.LogRecord] | None = []

    def emit(self, record: logging.LogRecord) -> None:
        if self._waiting is None:
            super().emit(record)
        else:
            self._waiting.append(record)

    def open_file(self) -> None:
        """Open the file and write what waits, once; raise UserError if it cannot be written."""
        if self._waiting is None:
            return
        waiting, self._waiting = self._waiting, None
        try:
            self.stream = self._open()
        except OSError as error:
            raise UserError(f"{self.baseFilename}: cannot be written: {error.strerror}") from None
        for record in waiting:
            super().emit(record)


class NewFolders(Callback):
    """Notes which folders are not there yet when a command begins."""

    def on_run_start(self, config: DictConfig, **_: object) -> None:
        """Note them: Hydra makes the output directory next."""
        directory = Path(config.hydra.run.dir).absolute()
        _new_folders[:] = [folder for folder in (directory, *directory.parents) if not folder.exists()]


def remove_unused_folders() -> None:
    """Remove the folders that were made for the command and are empty."""
    with suppress(OSError):  # the first that is not empty: so are those around it
        for folder in _new_folders:
            folder.rmdir()


def open_logs() -> None:
    """Write what was logged to the log file of the run, and from now on all that is."""
    for name in (None, "stdp_run"):  # of the command, and of `stdp_run.run`
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, RunLog):
                handler.open_file()


def write_command(config: DictConfig, directory: Path) -> None:
    """Write how the command of a job was given, and the `config` that came of it, as Hydra would have."""
    folder, task = directory / FOLDER, HydraConfig.get().overrides.task
    folder.mkdir(exist_ok=True)
    parts = {"config": config, "hydra": HydraConfig.instance().cfg, "overrides": task}
    for name, part in parts.items():
        (folder / f"{name}.yaml").write_text(OmegaConf.to_yaml(part), encoding="utf-8")
