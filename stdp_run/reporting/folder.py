"""What is in a folder, for mode=compare and the end of a sweep: runs side by side, and networks under perturbations."""

from pathlib import Path
from typing import NamedTuple

from stdp_run.reporting import comparison, perturbation
from stdp_run.reporting.perturbation import Curves, find_curves
from stdp_run.reporting.runs import Comparison, compare, find_all, no_runs


class Summary(NamedTuple):
    """What was found: one of them at least."""

    comparison: Comparison | None  # of runs
    curves: Curves | None  # of networks under perturbations

    @property
    def text(self) -> str:
        """The tables."""
        parts = [comparison.to_text(self.comparison)] if self.comparison else []
        return "\n\n".join(parts + ([perturbation.to_text(self.curves)] if self.curves else []))

    @property
    def failed(self) -> set[str]:
        """The directories that the tables name as those of failures."""
        tables = [self.comparison.runs] if self.comparison else []
        tables += [self.curves.evaluations] if self.curves else []
        return {name for table in tables for name in table["directory"][table["state"] == "failed"]}

    def write(self, directory: Path) -> None:
        """Write the files of both; UserError: the folder cannot be written."""
        if self.comparison:
            comparison.write_files(self.comparison, directory)
        if self.curves:
            perturbation.write_files(self.curves, directory)


def summarise(directory: Path) -> Summary:
    """Return what is in a folder.

    Raises:
        UserError: it is not there, or holds neither runs nor networks under perturbations.
    """
    runs, evaluations = find_all(directory)
    curves = find_curves(evaluations)
    if not len(runs) and curves is None:
        raise no_runs(directory)
    return Summary(compare(runs) if len(runs) else None, curves)
