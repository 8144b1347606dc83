"""mode=compare: the runs in a folder side by side, and networks under perturbations; printed and written into it."""

from pathlib import Path

from stdp_run.commands import Invocation
from stdp_run.config.schema import Settings
from stdp_run.reporting.folder import summarise


def run(settings: Settings, invocation: Invocation) -> float:
    """Compare the runs in the folder `compare.dir`, and the evaluations under perturbations.

    Raises:
        UserError: the folder is not there, holds neither, or cannot be written; then the tables are printed all the
            same.
    """
    directory = Path(settings.compare.dir or "")
    summary = summarise(directory)
    print(summary.text)
    summary.write(directory)
    return 0.0
