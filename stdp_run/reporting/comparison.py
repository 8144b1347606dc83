"""What a comparison of runs leaves: tables for programs, tables for users, a plot.

`comparison.csv` and `runs.csv` have accuracies as fractions of 1 and numbers with all their digits; all else is in %.
"""

import math
import re
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stdp_run.errors import printable
from stdp_run.files import csv_cell, write_atomically
from stdp_run.reporting import plots
from stdp_run.reporting.plots.style import Figure, counted, last_parts
from stdp_run.reporting.runs import COUNTS, SPEED, Comparison, DataFrame, Series, compare, find_runs, heading

LINE_WIDTH = 110  # where there is no terminal
MOST_ROWS = 30
LONGEST_VALUE = 28
LONGEST_SEEDS = 12
LONGEST_REASON = 500


def write_comparison(directory: Path) -> Comparison:
    """Compare the runs in `directory` and write the files of the comparison into it.

    Raises:
        UserError: the folder is not there, holds no runs, or cannot be written.
    """
    comparison = compare(find_runs(directory))
    write_files(comparison, directory)
    return comparison


def write_files(comparison: Comparison, directory: Path) -> None:
    """Write comparison.csv, runs.csv, comparison.md and, once a run is finished, comparison.png.

    Raises:
        UserError: the folder cannot be written.
    """
    contents = {"comparison.csv": to_csv(comparison).encode(), "runs.csv": runs_to_csv(comparison).encode()}
    contents["comparison.md"] = to_markdown(comparison).encode()
    if len(comparison.groups):
        contents["comparison.png"] = plots.to_png(draw(comparison))
    for name, data in contents.items():
        write_atomically(Path(directory) / name, data)


def to_csv(comparison: Comparison) -> str:
    """Return one row for each setting: its seeds, accuracy over seeds of each readout, images/s and seconds."""
    if not len(comparison.groups):
        return ""
    columns = [*comparison.keys, "n_seeds", "seeds", "n_runs", "readout", *_spread("accuracy")]
    columns += ["interval_95_low", "interval_95_high"]
    columns += [column for name in comparison.readouts for column in _spread(f"accuracy_{name}")]
    table = comparison.groups[[*columns, *SPEED]].assign(seeds=comparison.groups["seeds"].map(" ".join))
    return as_csv(table)


def _spread(name: str) -> list[str]:
    return [f"{name}_{figure}" for figure in ("mean", "sd", "min", "max")]


def runs_to_csv(comparison: Comparison) -> str:
    """Return one row for each run: settings, seed, accuracy of each readout, images/s, seconds, directory, state."""
    accuracies = [f"accuracy_{name}" for name in comparison.readouts]
    columns = [*comparison.keys, "seed", "readout", *accuracies, *SPEED, "directory", "state", "reason"]
    return as_csv(comparison.runs.reindex(columns=columns))


def as_csv(table: DataFrame) -> str:
    """Return a table as CSV; no text in it begins as a formula does."""
    cells = table.map(lambda cell: csv_cell(cell) if isinstance(cell, str) else cell)
    return cells.rename(columns=lambda key: csv_cell(heading(key))).to_csv(index=False, lineterminator="\n")


# ------------------------------------------------------------------------------------------------------------------
# For users.

Table = dict[str, list[str]]  # the cells of each column by its title


def _columns(comparison: Comparison) -> tuple[Table, list[str]]:
    """Return the columns that are not empty throughout, settings first, and those that may be left out, first first.

    Everything in them is printable, whatever names and values the runs have.
    """
    groups, several = comparison.groups, comparison.groups["n_seeds"] > 1
    settings = {heading(key): [" ".join(six_digits(text).split()) for text in groups[key]] for key in comparison.keys}
    table: Table = {**settings, "seeds": [_seeds(seeds) for seeds in groups["seeds"]]}
    if comparison.readout is None:
        table["readout"] = list(groups["readout"])
    table["accuracy (%)"] = _percent(groups["accuracy_mean"])
    table["sd"] = _percent(groups["accuracy_sd"])
    table["min to max"] = _pairs(groups["accuracy_min"].where(several), groups["accuracy_max"], "to")
    table["95% of one run"] = _pairs(groups["interval_95_low"], groups["interval_95_high"], "to", digits=1)
    others = {f"{name} (%)": f"accuracy_{name}" for name in comparison.readouts if name != comparison.readout}
    table |= {title: _pairs(groups[f"{name}_mean"], groups[f"{name}_sd"], "±") for title, name in others.items()}
    table["images/s"] = _written(groups[SPEED[0]], ",.0f")
    table["wall (s)"] = _written(groups[SPEED[1]], ",.1f")
    # The settings that users change most are named first.
    droppable = ["wall (s)", "images/s", *reversed(others), "95% of one run", "min to max", *reversed(settings)]
    shown = {printable(title): [*map(printable, cells)] for title, cells in table.items() if any(cells)}
    return shown, [printable(title) for title in droppable]


def _written(values: Series, form: str) -> list[str]:
    return ["" if math.isnan(value) else format(value, form) for value in values]


def _percent(fractions: Series, digits: int = 2) -> list[str]:
    return _written(100 * fractions, f".{digits}f")


def _pairs(first: Series, second: Series, between: str, digits: int = 2) -> list[str]:
    """Return "first between second" in %, without the second where there is none, and nothing without the first."""
    pairs = zip(_percent(first, digits), _percent(second, digits), strict=True)
    return [f"{a} {between} {b}" if a and b else a for a, b in pairs]


def six_digits(text: str) -> str:
    """Return a setting's text, fractions with at most six digits."""
    try:
        value = float(text)
    except ValueError:
        return text
    return f"{value:.6g}" if math.isfinite(value) and not value.is_integer() else text


def _seeds(seeds: Sequence[str]) -> str:
    """Return the seeds, a row of whole numbers as its ends; how many there are where that leaves room for settings."""
    if len(seeds) > 2 and all(map(str.isdecimal, seeds)) and int(seeds[-1]) - int(seeds[0]) == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    text = ", ".join(seeds)
    return text if len(text) <= LONGEST_SEEDS else f"{len(seeds)} seeds"


def _right(cells: Sequence[str]) -> bool:
    """Return whether a column holds numbers, which end at its right."""
    return all(re.match(r"-?\d*\.?\d|$", cell) for cell in cells)


def _summary(comparison: Comparison) -> list[str]:
    """Return in a sentence or two what is compared, printable."""
    groups = comparison.groups
    if not len(groups):
        return ["No run is finished yet."]
    counts = f"{counted(len(comparison.of_state('finished')), 'run')}, {counted(len(groups), 'setting')}"
    readout = f" ({comparison.readout})" if comparison.readout else ""
    spread = ", mean and standard deviation (sd) over seeds" if groups["n_seeds"].max() > 1 else ""
    lines = [f"{counts}{', best first' if len(groups) > 1 else ''}: {comparison.measure}{readout}{spread}."]
    lines += [f"The same in all: {comparison.in_common}."] if comparison.in_common else []
    return [printable(line) for line in lines]


def _others(runs: DataFrame) -> dict[str, list[tuple[str, str]]]:
    """Return (directory, reason), printable, of the runs without a result, by their heading."""
    states = {"Failed": "failed", "Not finished": "unfinished"}
    found = {title: runs[runs["state"] == state] for title, state in states.items()}
    return {
        f"{title} ({len(each)})": list(
            zip(each["directory"].map(printable), each["reason"].map(printable), strict=True)
        )
        for title, each in found.items()
        if len(each)
    }


def to_markdown(comparison: Comparison) -> str:
    """Return what is compared, the whole table, and the runs without a result with the reason."""
    parts = ["# Comparison", "\n".join(map(_plain, _summary(comparison)))]
    if len(comparison.groups):
        table, _ = _columns(comparison)
        rows = [list(table), ["---:" if _right(cells) else "---" for cells in table.values()]]
        rows += map(list, zip(*table.values(), strict=True))
        parts.append("\n".join(f"| {' | '.join(map(_plain, row))} |" for row in rows))
    for title, runs in _others(comparison.runs).items():
        parts += [f"## {title}", "\n".join(f"- {_plain(name)}: {_plain(reason)}" for name, reason in runs)]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is; an underscore inside a word needs no help."""
    return re.sub(r"([\\|`*<\[\]])", r"\\\1", text)


def to_text(comparison: Comparison, width: int | None = None) -> str:
    """Return what is compared, the best settings, and the runs without a result with the reason.

    No line is longer than `width` characters, or else the terminal's. Columns that do not fit are left out, those of
    settings last, which a line below the table says.
    """
    width = width or shutil.get_terminal_size((LINE_WIDTH, 0)).columns
    lines = [part for line in _summary(comparison) for part in wrapped(line, width)]
    if len(comparison.groups):
        lines += ["", *_text_table(comparison, width)]
    return "\n".join([*lines, *others_in_text(comparison.runs, width)])


def others_in_text(runs: DataFrame, width: int) -> list[str]:
    """Return lines that name the runs without a result, with the reason; none where there are none."""
    lines = []
    for title, named in _others(runs).items():
        lines += ["", f"{title}:"]
        lines += [part for name, reason in named for part in wrapped(f"  {name}: {reason}", width)]
    return lines


def _text_table(comparison: Comparison, width: int) -> list[str]:
    table, droppable = _columns(comparison)
    table = {title: [cut(cell) for cell in cells[:MOST_ROWS]] for title, cells in table.items()}
    if max(map(len, aligned(table))) > width:
        short = dict(zip(table, last_parts(list(table)), strict=True))
        table = {short[title]: cells for title, cells in table.items()}
        droppable = [short[title] for title in droppable if title in short]
    left_out: list[str] = []
    for title in droppable:
        if max(map(len, aligned(table))) > width and table.pop(title, []):
            left_out.insert(0, title)
    lines = aligned(table)
    if len(comparison.groups) > MOST_ROWS:
        best = f"The best {MOST_ROWS} of {len(comparison.groups)} settings; all of them are in comparison.csv."
        lines += wrapped(best, width)
    if left_out:
        lines += wrapped(f"Left out for want of room, but in comparison.csv: {', '.join(left_out)}.", width)
    return lines


def aligned(table: Table) -> list[str]:
    """Return the lines of a table, titles first: numbers end, and all else begins, below one another."""
    columns = []
    for title, cells in table.items():
        width = max(map(len, (title, *cells)))
        columns.append([(text.rjust if _right(cells) else text.ljust)(width) for text in (title, *cells)])
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def cut(text: str, length: int = LONGEST_VALUE) -> str:
    """Return a text of at most `length` characters, cut in its middle: paths often differ at their ends."""
    end = length // 2
    return text if len(text) <= length else f"{text[: length - end - 1]}…{text[-end:]}"


def wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text, of at most `width` characters."""
    return textwrap.wrap(cut(text, LONGEST_REASON), width, subsequent_indent="    ", break_on_hyphens=False)


def draw(comparison: Comparison) -> Figure:
    """Draw accuracy against the settings that differ; at least one run must be finished."""
    groups, settings = comparison.groups, {}
    for key in comparison.keys:
        texts = groups[key]
        if key in COUNTS:
            texts = texts.where(texts != "null", groups[COUNTS[key]].map("{:.0f}".format))
        settings[printable(heading(key))] = [cut(printable(six_digits(text))) for text in texts]
    mean = 100 * groups["accuracy_mean"]
    low, high = (100 * groups[f"interval_95_{end}"] for end in ("low", "high"))
    bars = [(100 * groups["accuracy_sd"]).fillna(length).fillna(0) for length in (mean - low, high - mean)]
    seeds = [100 * np.array(accuracies) for accuracies in groups["accuracies"]]
    return plots.accuracy_by_settings(
        settings,
        plots.Accuracies(mean.to_numpy(), np.array(bars), seeds),
        measure=comparison.measure,
        readout=comparison.readout,
        alone=comparison.in_common or "all runs",
    )
