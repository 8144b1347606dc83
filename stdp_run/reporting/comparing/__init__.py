"""Runs side by side: which settings differ between them, and how accurate each setting is over its seeds.

A run is known by the files it leaves: `config.yaml`, all of its settings, and `result.json`, which is written last.
"""

from pathlib import Path

from stdp_run.files import write_atomically
from stdp_run.reporting import plots as figures
from stdp_run.reporting.comparing.groups import Comparison, Group, Spread, compare
from stdp_run.reporting.comparing.picture import draw
from stdp_run.reporting.comparing.runs import Run, find_runs
from stdp_run.reporting.comparing.tables import runs_to_csv, to_csv, to_markdown, to_text

__all__ = [
    "Comparison",
    "Group",
    "Run",
    "Spread",
    "compare",
    "draw",
    "find_runs",
    "runs_to_csv",
    "to_csv",
    "to_markdown",
    "to_text",
    "write_comparison",
]


def write_comparison(directory: Path) -> Comparison:
    """Compare the runs in `directory`, and write comparison.csv, runs.csv, comparison.md and comparison.png into it.

    There is no picture as long as no run is finished. Each file is replaced whole or not at all.

    Raises:
        UserError: the folder is not there, holds no runs, or cannot be written.
    """
    directory = Path(directory)
    comparison = compare(find_runs(directory))
    contents = {
        "comparison.csv": to_csv(comparison).encode(),
        "runs.csv": runs_to_csv(comparison).encode(),
        "comparison.md": to_markdown(comparison).encode(),
    }
    if comparison.groups:
        contents["comparison.png"] = figures.to_png(draw(comparison))
    for name, data in contents.items():
        write_atomically(directory / name, data)
    return comparison
