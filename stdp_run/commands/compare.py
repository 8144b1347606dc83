"""A table of the runs in a folder, best first."""

from pathlib import Path

from stdp_run.commands import Invocation
from stdp_run.config.schema import Settings
from stdp_run.reporting.comparing import to_text, write_comparison


def run(settings: Settings, _: Invocation) -> float:
    """Do mode=compare."""
    print(to_text(write_comparison(Path(settings.compare.dir))))
    return 0.0
