"""The command of each mode: a module with `run(record, invocation)`, or a short function in this file."""

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from stdp_run.config.schema import MODES, Settings, read_settings, resolved
from stdp_run.errors import UserError
from stdp_run.files import check_place
from stdp_run.training.signals import Stopped

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Invocation:
    """The circumstances of a command, apart from its settings."""

    directory: Path  # Hydra's output directory, which exists; the command writes to it
    explicit: tuple[str, ...] = ()  # keys that were given on the command line
    job: int | None = None  # number of the job in its sweep
    bars: bool | None = None  # whether progress bars are shown; None: if standard error is a terminal
    show: Callable[[str], object] = print  # receives the table at the end of a command
    tuning: str = ""  # a line about the tuned constants in effect, for the log of a run
    record: Mapping[str, str] = field(default_factory=dict)  # files of .hydra/: name and text

    @property
    def in_sweep(self) -> bool:
        """Whether the command is a job of a sweep."""
        return self.job is not None

    @contextmanager
    def accepted(self, begins: bool = True) -> Iterator[None]:
        """Context of a command after all checks, with a log in `run.log`.

        If a run `begins`, the record of the command is written to `.hydra/`. Raise UserError if that fails.
        """
        try:
            for name, text in self.record.items() if begins else ():
                (self.directory / ".hydra").mkdir(exist_ok=True)
                (self.directory / ".hydra" / name).write_text(text, encoding="utf-8")
            file = logging.FileHandler(self.directory / "run.log", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self.directory}: cannot be written: {error.strerror}") from None
        file.setFormatter(logging.Formatter(LOG_FORMAT))
        logger = logging.getLogger("stdp_run")
        # Outer handlers, such as the terminal's, get the same records as without the file.
        outer = logging.Handler(logger.getEffectiveLevel())
        outer.emit = logging.getLogger().callHandlers  # type: ignore[method-assign]
        before = logger.level, logger.propagate, logger.handlers
        logger.propagate, logger.handlers = False, [*logger.handlers, file, outer]
        logger.setLevel(min(logging.INFO, logger.getEffectiveLevel()))
        try:
            yield
        except Exception as error:
            if not isinstance(error, Stopped):
                traceback = None if isinstance(error, UserError) else (type(error), error, error.__traceback__)
                file.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (error,), traceback))
            raise
        finally:
            level, logger.propagate, logger.handlers = before
            logger.setLevel(level)
            file.close()


def run(config: DictConfig, invocation: Invocation) -> float:
    """Run the command of a config; return the accuracy, 0 if none; raise UserError, or Stopped at a stop signal."""
    record = resolved(config)
    mode, others = record.get("mode"), {"export": _export, "compare": _compare}
    if mode not in MODES:
        raise UserError.bad_value("mode", mode, f"one of {', '.join(MODES)}")
    if mode in others:
        return others[mode](read_settings(record))
    name = "evaluate" if mode == "eval" else mode
    # A late import, since most of these modules take long to import.
    return importlib.import_module(f"{__name__}.{name}").run(record, invocation)


def _export(settings: Settings) -> float:
    from stdp_run.inference.export import export

    assert settings.export is not None and settings.checkpoint is not None  # this mode has them
    check_place("export.to", settings.export.to)
    log.info("%s: the network of %s", export(settings.checkpoint, settings.export.to), settings.checkpoint)
    return 0.0


def _compare(settings: Settings) -> float:
    from stdp_run.reporting.comparison import compare_folder

    assert settings.compare is not None  # this mode has it
    compare_folder(Path(settings.compare.dir))
    return 0.0
