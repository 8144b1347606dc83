"""The picture of a comparison; its form follows from what was swept."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stdp_run.reporting import plots as figures
from stdp_run.reporting.comparing.groups import NOT_SET, Comparison, Group
from stdp_run.reporting.comparing.runs import is_number
from stdp_run.reporting.comparing.tables import heading, in_common, short_names, shortened, shown_value
from stdp_run.reporting.plots.canvas import counted
from stdp_run.reporting.plots.sweeps import LONGEST_NAME, MOST_LINES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 30
MOST_PANELS = 6
# Up to here rows that spell out every setting are easier to read than panels.
FEW_GROUPS = 8
# "null" stands for all images; the result has their number.
COUNTED = {"n_train": "train_images", "n_test": "test_images", "n_label": "label_images"}


def draw(comparison: Comparison) -> "Figure":
    """Draw accuracy against the settings that differ.

    Against one that is a number, with a line for each combination of the others, where that makes few lines; else,
    after a search over several numbers, a panel for each; else a row for each of the best 30 settings.

    Raises:
        ValueError: no run is finished.
    """
    if not comparison.groups:
        raise ValueError("no finished runs to draw")
    numbers = {key: values for key in comparison.keys if (values := _numbers(comparison.groups, key)) is not None}
    across = _across(comparison, numbers)
    if across is not None:
        return _draw_lines(comparison, across, numbers[across])
    if len(numbers) > 1 and len(comparison.groups) > FEW_GROUPS:
        return _draw_panels(comparison, numbers)
    return _draw_rows(comparison)


def _numbers(groups: Sequence[Group], key: str) -> list[float] | None:
    """Return a setting's value in every group; None unless all are numbers."""
    values = [group.settings[key] for group in groups]
    if key in COUNTED:
        counts = [group.runs[0].result.get(COUNTED[key]) for group in groups]
        values = [count if value is None else value for value, count in zip(values, counts, strict=True)]
    return values if all(is_number(value) for value in values) else None


def _across(comparison: Comparison, numbers: dict[str, list[float]]) -> str | None:
    """Return the number that leaves the fewest lines, and of these has the most values; None if lines would be dust."""

    def lines(key: str) -> int:
        return len(set(_names(comparison.groups, [other for other in comparison.keys if other != key])))

    best = min(numbers, key=lambda key: (lines(key), -len(set(numbers[key]))), default=None)
    if best is None or lines(best) > MOST_LINES or 2 * len(comparison.groups) < 3 * lines(best):
        return None
    return best


def _names(groups: Sequence[Group], keys: Sequence[str]) -> list[str]:
    """Return what each group has set: the value alone where there is one key, which the legend's title names."""
    if len(keys) == 1:
        return [_spelled(group.settings[keys[0]]) for group in groups]
    return _assignments(groups, keys)


def _assignments(groups: Sequence[Group], keys: Sequence[str]) -> list[str]:
    """Return "key=value, key=value" for each group, with short keys where that would be long."""
    names = [heading(key) for key in keys]
    long = sum(len(name) + 8 for name in names) > LONGEST_NAME
    names = short_names(names) if long else names
    return [
        ", ".join(f"{name}={_spelled(group.settings[key])}" for name, key in zip(names, keys, strict=True))
        for group in groups
    ]


def _spelled(value: object) -> str:
    return "(not set)" if value is NOT_SET else shortened(shown_value(value))


def _draw_lines(comparison: Comparison, across: str, values: Sequence[float]) -> "Figure":
    others = [key for key in comparison.keys if key != across]
    return figures.accuracy_against_number(
        heading(across),
        values,
        [group.accuracy.mean for group in comparison.groups],
        **_spread(comparison.groups),
        lines=_names(comparison.groups, others) if others else (),
        lines_title=heading(others[0]) if len(others) == 1 else "",
        axis=_axis(comparison),
        title=f"{_title(comparison)} against {heading(across)}\n{_caption(comparison.groups)}",
    )


def _draw_panels(comparison: Comparison, numbers: dict[str, list[float]]) -> "Figure":
    shown = sorted(numbers, key=lambda key: -len(set(numbers[key])))[:MOST_PANELS]
    others = [key for key in comparison.keys if key not in numbers]
    kinds = _names(comparison.groups, others) if others else []
    if len(set(kinds)) > MOST_LINES:
        kinds = []
    left_out = len(numbers) - len(shown)
    more = f" ({left_out} more in comparison.csv)" if left_out else ""
    return figures.accuracy_against_numbers(
        {heading(key): numbers[key] for key in numbers if key in shown},
        [group.accuracy.mean for group in comparison.groups],
        kinds=kinds,
        kinds_title=heading(others[0]) if len(others) == 1 else "",
        axis=_axis(comparison),
        title=f"{_title(comparison)} of {counted(len(comparison.groups), 'setting')} against what was varied{more}",
    )


def _draw_rows(comparison: Comparison) -> "Figure":
    groups = comparison.groups[:MOST_ROWS]
    names = _assignments(groups, comparison.keys) if comparison.keys else [in_common(comparison) or "all runs"]
    which = f", best {len(groups)} of {len(comparison.groups)} settings" if len(groups) < len(comparison.groups) else ""
    return figures.accuracy_by_setting(
        names,
        [group.accuracy.mean for group in groups],
        **_spread(groups),
        axis=_axis(comparison),
        title=f"{_title(comparison)} by setting{which}\n{_caption(groups)}",
    )


def _spread(groups: Sequence[Group]) -> dict:
    """Return the bars and the single runs: one standard deviation to each side, or the interval of a single run."""
    intervals = []
    for group in groups:
        accuracy = group.accuracy
        if accuracy.deviation is None:
            intervals.append(group.interval or (accuracy.mean, accuracy.mean))
        else:
            intervals.append((accuracy.mean - accuracy.deviation, accuracy.mean + accuracy.deviation))
    return {"intervals": intervals, "runs": [group.accuracies(group.readout) for group in groups]}


def _caption(groups: Sequence[Group]) -> str:
    """Say what points, bars and faint dots are."""
    counts = {len(group.seeds) for group in groups}
    if counts == {1}:
        return f"one run{' each' if len(groups) > 1 else ''}; bar: its 95 % interval"
    seeds = f"{counts.pop()} seeds" if len(counts) == 1 else "seeds"
    single = " (of a single run: its 95 % interval)" if 1 in counts else ""
    return f"mean over {seeds}; bar: standard deviation{single}; faint: single runs"


def _title(comparison: Comparison) -> str:
    return comparison.measure[0].upper() + comparison.measure[1:]


def _axis(comparison: Comparison) -> str:
    return f"{comparison.measure}{f', {comparison.readout}' if comparison.readout else ''} (%)"
