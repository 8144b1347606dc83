"""What a command does: one module for each mode, each with one function `run(settings, invocation) -> float`."""

import importlib
from dataclasses import dataclass
from pathlib import Path

from stdp_run.config.schema import Config, Settings, read_settings

# mode -> the module of this package that does it; imported when it is needed, as most take long to import.
MODULES = {
    "train": "train",
    "eval": "evaluate",
    "predict": "predict",
    "export": "export",
    "compare": "compare",
    "stdp_window": "stdp_window",
}


@dataclass(frozen=True)
class Invocation:
    """How a command was given, apart from its settings."""

    directory: Path  # Hydra's output directory, where the command writes; it exists
    explicit: tuple[str, ...] = ()  # the keys that were given on the command line
    job: int | None = None  # number of the job in its sweep
    bars: bool = True  # progress bars may be shown
    sweep_directory: Path | None = None  # of the sweep that the job belongs to; shared by its jobs
    tuned: str | None = None  # the choice of the group `tuned` in effect, such as nearest_online-lif_stdp or none
    tuned_nearby: str | None = None  # where there is none for this rule and neuron group: that of what they derive from

    @property
    def in_sweep(self) -> bool:
        """Whether it is one of the jobs of a sweep."""
        return self.job is not None


def run(config: Config, invocation: Invocation) -> float:
    """Do what a composed config asks for; return the accuracy that was reached, 0 where none is measured.

    Raises:
        UserError: something that was asked for cannot be had.
    """
    settings = read_settings(config)
    module = importlib.import_module(f"{__name__}.{MODULES[settings.mode]}")
    return module.run(settings, invocation)


def describe_tuning(settings: Settings, invocation: Invocation) -> str:
    """Return in a line whose tuned constants a run has; empty where tuned=none was asked for, as by presets."""
    if invocation.tuned == "none":
        return ""
    if invocation.tuned:
        parts = invocation.tuned.replace("-", " with ", 1)
        return f"constants tuned for {parts} (conf/tuned/{invocation.tuned}.yaml); tuned=none has the published ones"
    what = f"no tuned constants for {settings.rule.name} with {settings.neuron.name}"
    line = f"{what}: neurons and encoder are as published"
    nearby = invocation.tuned_nearby
    return f"{line}; tuned={nearby} takes all of {nearby.replace('-', ' with ', 1)}" if nearby else line
