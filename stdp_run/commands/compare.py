"""mode=compare: compares the runs and evaluations in a folder; prints a table, and writes files into the folder."""

from pathlib import Path

from stdp_run.commands import Invocation
from stdp_run.config.schema import Settings
from stdp_run.reporting.comparison import compare, to_text, write_files
from stdp_run.reporting.runs import find_runs


def run(settings: Settings, invocation: Invocation) -> float:
    """Compare the runs in the folder `compare.dir`.

    Raises:
        UserError: the folder is missing, contains no runs, or cannot be written; the table is printed before.
    """
    directory = Path(settings.compare.dir or "")
    comparison = compare(find_runs(directory))
    print(to_text(comparison))
    write_files(comparison, directory)
    return 0.0
