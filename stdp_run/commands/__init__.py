"""What a command does: one module for each mode, each with one function `run(settings, invocation) -> float`.

Beside them are `first_layer`, a part of training with two layers, and `result`, what a command leaves, for Python.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from stdp_run.config.schema import Config, read_settings


@dataclass(frozen=True)
class Invocation:
    """How a command was given, apart from its settings."""

    directory: Path  # Hydra's output directory, where the command writes; it exists
    explicit: tuple[str, ...] = ()  # the keys that were given on the command line
    job: int | None = None  # number of the job in its sweep
    bars: bool | None = None  # whether progress bars are shown; None: where standard error is a terminal
    show: Callable[[str], object] = print  # receives the table that ends a command
    tuning: str = ""  # a line about the tuned constants that are in effect, for the log of a run
    # Called once the command is accepted and its directory locked, with whether a run begins there: until then nothing
    # is written.
    accepted: Callable[[bool], None] = lambda begins: None

    @property
    def in_sweep(self) -> bool:
        """Whether it is one of the jobs of a sweep."""
        return self.job is not None


def run(config: Config, invocation: Invocation) -> float:
    """Do what a composed config asks for; return the accuracy that was reached, 0 where none is measured.

    Raises:
        UserError: something that was asked for cannot be had.
    """
    if OmegaConf.select(OmegaConf.create(config), "first_layer.run") is not None and config["mode"] == "train":
        from stdp_run.commands.first_layer import with_layer_of

        config = with_layer_of(config, invocation.explicit)
    settings = read_settings(config)
    name = "evaluate" if settings.mode == "eval" else settings.mode
    # Imported when it is needed, as most take long to import.
    return importlib.import_module(f"{__name__}.{name}").run(settings, invocation)
