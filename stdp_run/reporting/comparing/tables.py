"""A comparison as CSV, as Markdown, and as text for the terminal."""

import csv
import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stdp_run.reporting.comparing.groups import NAMES, NOT_SET, Comparison, Group, Spread
from stdp_run.reporting.comparing.runs import Run, is_number
from stdp_run.reporting.plots.canvas import counted

LINE_WIDTH = 110
MOST_ROWS = 30
LONGEST_VALUE = 28
LONGEST_REASON = 500


def heading(key: str) -> str:
    """Return a setting's key as it is shown: `rule.name` is what `rule=` chooses."""
    return key.removesuffix(".name") if key in NAMES else key


def short_names(names: Sequence[str]) -> list[str]:
    """Return `a_post` for `rule.a_post`, where no other name ends so."""
    last = [name.rpartition(".")[2] for name in names]
    return [end if last.count(end) == 1 else name for name, end in zip(names, last, strict=True)]


def shown_value(value: object) -> str:
    """Return a setting's value as the command line has it, numbers to six digits; empty where it is not set."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def shortened(text: str, length: int = LONGEST_VALUE) -> str:
    """Return a text of at most `length` characters, cut in its middle: paths often differ at their ends."""
    if len(text) <= length:
        return text
    end = length // 2
    return f"{text[: length - end - 1]}…{text[-end:]}"


def in_common(comparison: Comparison) -> str:
    """Return the rule, neuron group, dataset and size, where they are the same in all finished runs."""
    first = comparison.runs[0].settings
    keys = [key for key in (*NAMES, "n_exc", "epochs") if key in first and key not in comparison.keys]
    return ", ".join(f"{heading(key)}={shown_value(first[key])}" for key in keys)


# ------------------------------------------------------------------------------------------------------------------
# For programs: accuracies are fractions of 1, numbers have all their digits.


def to_csv(comparison: Comparison) -> str:
    """Return one row for each group: settings, seeds, accuracy over seeds of each readout, images/s, seconds."""
    return _csv([_group_row(group, comparison.readouts) for group in comparison.groups])


def _group_row(group: Group, readouts: Sequence[str]) -> dict[str, object]:
    low, high = group.interval or (None, None)
    row = _settings_row(group)
    row |= {"n_seeds": len(group.seeds), "seeds": " ".join(map(str, group.seeds)), "n_runs": len(group.runs)}
    row |= {"readout": group.readout, **_spread_row("accuracy", group.accuracy)}
    row |= {"interval_95_low": low, "interval_95_high": high}
    for readout in readouts:
        row |= _spread_row(f"accuracy_{readout}", group.spread(readout))
    return row | {"train_images_per_second": group.images_per_second, "wall_seconds": group.wall_seconds}


def _settings_row(group: Group) -> dict[str, object]:
    return {heading(key): value if is_number(value) else shown_value(value) for key, value in group.settings.items()}


def _spread_row(name: str, spread: Spread | None) -> dict[str, float | None]:
    values = (spread.mean, spread.deviation, spread.low, spread.high) if spread else (None,) * 4
    return dict(zip((f"{name}_mean", f"{name}_sd", f"{name}_min", f"{name}_max"), values, strict=True))


def runs_to_csv(comparison: Comparison) -> str:
    """Return one row for each finished run: settings, seed, accuracy of each readout, images/s, seconds, directory."""
    return _csv([_run_row(group, run, comparison.readouts) for group in comparison.groups for run in group.runs])


def _run_row(group: Group, run: Run, readouts: Sequence[str]) -> dict[str, object]:
    row = {**_settings_row(group), "seed": run.seed, "readout": run.result["readout"]}
    row |= {f"accuracy_{name}": run.result["accuracy"].get(name) for name in readouts}
    row |= {name: run.result.get(name) for name in ("train_images_per_second", "wall_seconds")}
    return {**row, "directory": run.name}


def _csv(rows: Sequence[dict]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


# ------------------------------------------------------------------------------------------------------------------
# For people: accuracies are in %.


@dataclass(frozen=True)
class _Column:
    title: str
    cells: list[str]
    drop: int = 0  # what is left out where a line is too long: the highest first, 0 never
    right: bool = True

    @property
    def width(self) -> int:
        return max(map(len, (self.title, *self.cells)))

    def lines(self) -> list[str]:
        """Return the title and the cells, all as wide as the widest."""
        return [(text.rjust if self.right else text.ljust)(self.width) for text in (self.title, *self.cells)]


def _columns(comparison: Comparison) -> list[_Column]:
    """Return the columns, settings first; one that would be empty throughout is left out."""
    groups = comparison.groups
    columns = [_setting_column(groups, key) for key in comparison.keys]
    columns.append(_Column("seeds", [_seeds(group.seeds) for group in groups], right=False))
    if comparison.readout is None:
        columns.append(_Column("readout", [group.readout for group in groups], right=False))
    columns += [
        _Column("accuracy (%)", [_percent(group.accuracy.mean) for group in groups]),
        _Column("sd", [_percent(group.accuracy.deviation) for group in groups]),
        _Column("min to max", [_range(group.accuracy) for group in groups], drop=2),
        _Column("95% of one run", [_interval(group.interval) for group in groups], drop=3),
    ]
    columns += [
        _Column(f"{name} (%)", [_with_deviation(group.spread(name)) for group in groups], drop=4)
        for name in comparison.readouts
        if name != comparison.readout
    ]
    columns += [
        _Column("images/s", [_rounded(group.images_per_second, ",.0f") for group in groups], drop=5),
        _Column("wall (s)", [_rounded(group.wall_seconds, ",.1f") for group in groups], drop=6),
    ]
    return [column for column in columns if any(column.cells)]


def _setting_column(groups: Sequence[Group], key: str) -> _Column:
    values = [group.settings[key] for group in groups]
    numbers = all(is_number(value) for value in values if value is not NOT_SET and value is not None)
    cells = [" ".join(shown_value(value).split()) for value in values]
    return _Column(heading(key), cells, drop=1, right=numbers)


def _seeds(seeds: Sequence[int | str]) -> str:
    """Return the seeds, a row of whole numbers as its ends."""
    if len(seeds) > 2 and all(isinstance(seed, int) for seed in seeds) and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _rounded(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f}"


def _range(spread: Spread) -> str:
    return "" if spread.deviation is None else f"{_percent(spread.low)} to {_percent(spread.high)}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _with_deviation(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return _percent(spread.mean) + ("" if spread.deviation is None else f" ± {_percent(spread.deviation)}")


def _summary(comparison: Comparison) -> list[str]:
    """Return in a sentence or two what is compared."""
    if not comparison.groups:
        return ["No run is finished yet."]
    n_groups = len(comparison.groups)
    counts = f"{counted(len(comparison.runs), 'run')}, {counted(n_groups, 'setting')}"
    readout = f" ({comparison.readout})" if comparison.readout else ""
    several = any(len(group.seeds) > 1 for group in comparison.groups)
    spread = ", mean and standard deviation (sd) over seeds" if several else ""
    common = in_common(comparison)
    lines = [f"{counts}{', best first' if n_groups > 1 else ''}: {comparison.measure}{readout}{spread}."]
    return lines + ([f"The same in all: {common}."] if common else [])


def _others(comparison: Comparison) -> list[tuple[str, tuple[Run, ...]]]:
    """Return the runs without a result, with their heading."""
    named = (("Failed", comparison.failed), ("Not finished", comparison.unfinished))
    return [(f"{title} ({len(runs)})", runs) for title, runs in named if runs]


def to_markdown(comparison: Comparison) -> str:
    """Return what is compared, the whole table, and the runs without a result with the reason."""
    parts = ["# Comparison", "\n".join(_plain(line) for line in _summary(comparison))]
    columns = _columns(comparison)
    if columns:
        rows = [[_plain(column.title) for column in columns], ["---:" if column.right else "---" for column in columns]]
        rows += [[_plain(cell) for cell in cells] for cells in zip(*(column.cells for column in columns), strict=True)]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    for title, runs in _others(comparison):
        parts += [f"## {title}", "\n".join(f"- {_plain(run.name)}: {_plain(run.reason)}" for run in runs)]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is; an underscore inside a word needs no help."""
    return re.sub(r"([\\|`*<\[\]])", r"\\\1", text)


def to_text(comparison: Comparison, width: int = LINE_WIDTH) -> str:
    """Return what is compared, the best settings, and the runs without a result with the reason.

    No line is longer than `width` characters (at least 80). Columns that do not fit are left out, the least important
    first, which a line below the table says.
    """
    lines = [part for line in _summary(comparison) for part in _wrapped(line, width)]
    if comparison.groups:
        lines += ["", *_text_table(comparison, width)]
    for title, runs in _others(comparison):
        lines += ["", f"{title}:"]
        lines += [part for run in runs for part in _wrapped(f"  {run.name}: {run.reason}", width)]
    return "\n".join(lines)


def _text_table(comparison: Comparison, width: int) -> list[str]:
    columns = [
        replace(column, cells=[shortened(cell) for cell in column.cells[:MOST_ROWS]]) for column in _columns(comparison)
    ]
    if _line_length(columns) > width:
        titles = short_names([column.title for column in columns])
        columns = [replace(column, title=title) for column, title in zip(columns, titles, strict=True)]
    left_out = []
    while _line_length(columns) > width and any(column.drop for column in columns):
        # Of equals the last goes: the settings that people change most are named first.
        place = max(range(len(columns)), key=lambda place: (columns[place].drop, place))
        left_out.insert(0, columns.pop(place).title)
    lines = ["  ".join(cells).rstrip() for cells in zip(*(column.lines() for column in columns), strict=True)]
    n_groups = len(comparison.groups)
    if n_groups > MOST_ROWS:
        lines.append(f"The best {MOST_ROWS} of {n_groups} settings; all of them are in comparison.csv.")
    if left_out:
        lines += _wrapped(f"Not shown for want of room, but in comparison.csv: {', '.join(left_out)}.", width)
    return lines


def _line_length(columns: Sequence[_Column]) -> int:
    return sum(column.width + 2 for column in columns) - 2


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(shortened(text, LONGEST_REASON), width, subsequent_indent="    ", break_on_hyphens=False)
