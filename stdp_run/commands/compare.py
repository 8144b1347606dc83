"""mode=compare: the runs in a folder side by side, printed and written into it."""

from pathlib import Path

from stdp_run.commands import Invocation
from stdp_run.config.schema import Settings
from stdp_run.reporting.comparison import compare, find_runs, to_text, write_files


def run(settings: Settings, invocation: Invocation) -> float:
    """Compare the runs in the folder `compare.dir`.

    Raises:
        UserError: the folder is not there, holds no runs, or cannot be written; then the table is printed all the same.
    """
    directory = Path(settings.compare.dir or "")
    comparison = compare(find_runs(directory))
    print(to_text(comparison))
    write_files(comparison, directory)
    return 0.0
