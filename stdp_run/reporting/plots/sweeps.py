"""How accuracy depends on what a sweep changed.

Every function takes one entry per setting [K]: `accuracy`, the mean over the runs; `intervals` (low, high) [K, 2],
drawn as a bar; `runs`, the accuracies of the single runs, drawn as faint dots. All three are fractions of 1.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stdp_run.reporting.plots.canvas import BLUE, DARK, DOTS_PER_INCH, GREY, VERMILION, new_figure, open_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Lines and kinds differ in the mark as well as in the colour, and from the fifth on in the dashes.
LOOKS = [
    *((BLUE, "o", "-"), (VERMILION, "s", "-"), (DARK, "^", "-"), (GREY, "D", "-")),
    *((BLUE, "v", "--"), (VERMILION, "P", "--"), (DARK, "X", "--"), (GREY, "*", "--")),
]
MOST_LINES = len(LOOKS)
LONGEST_NAME = 60
# A decade is spanned by 1 to 10; rounding in a sweep's values must not decide.
DECADE = 9.99
GRID = "#DDDDDD"


def accuracy_by_setting(
    settings: Sequence[str],
    accuracy: np.ndarray,
    *,
    intervals: np.ndarray | None = None,
    runs: Sequence[Sequence[float]] = (),
    axis: str = "accuracy (%)",
    title: str = "Accuracy by setting",
) -> "Figure":
    """Draw a row for each setting [K], first one on top."""
    percent, runs = _in_percent(accuracy), [_in_percent(singles) for singles in runs]
    rows = np.arange(len(settings))
    names = ["\n".join(_wrapped(str(setting))) for setting in settings]
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    pitch = 34 + 17 * max((name.count("\n") for name in names), default=0)
    figure = new_figure(700 + 8 * max(25, longest), 170 + pitch * max(3, len(names)))
    axes = figure.subplots()
    low, high = _bounds(percent, intervals)
    axes.hlines(rows, low, high, color=BLUE, linewidth=2)
    axes.plot(percent, rows, linestyle="none", marker="o", markersize=7, color=BLUE, zorder=3)
    for row, singles in enumerate(runs):
        _faint_dots(axes, singles, np.full(len(singles), row), BLUE, "o", _shifted(axes, 0, -7))
    for row, value in zip(rows, percent, strict=True):
        axes.annotate(f"{value:.1f}", (value, row), (0, 6), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(rows, names, fontsize=11, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(len(names), 1) - 0.4, -0.7)
    axes.set_xlim(_limits(low, high, *runs))
    axes.set_xlabel(axis, fontsize=12, parse_math=False)
    axes.set_title(title, fontsize=13, parse_math=False)
    axes.grid(axis="both", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    open_frame(axes)
    return figure


def accuracy_against_number(
    setting: str,
    values: Sequence[float],
    accuracy: np.ndarray,
    *,
    intervals: np.ndarray | None = None,
    runs: Sequence[Sequence[float]] = (),
    lines: Sequence[str] = (),
    lines_title: str = "",
    axis: str = "accuracy (%)",
    title: str | None = None,
) -> "Figure":
    """Draw accuracy against the values [K] of a `setting` that is a number, a line for each different name in `lines`.

    `lines` [K] names the line of each entry, `lines_title` what tells them apart; without them there is one line. The
    axis is logarithmic where the values span a decade or more and lie more evenly in ratio than in difference.
    """
    values = np.asarray(values, dtype=np.float64)
    percent, runs = _in_percent(accuracy), [_in_percent(singles) for singles in runs]
    low, high = _bounds(percent, intervals)
    names = list(dict.fromkeys(lines)) or [""]
    line_of = np.array([names.index(line) for line in lines] or [0] * len(values))
    figure = new_figure(1000 if len(names) == 1 else 1000 + 9 * min(LONGEST_NAME, max(map(len, names))), 600)
    axes = figure.subplots()
    for number, name in enumerate(names):
        members = np.flatnonzero(line_of == number)
        members = members[np.argsort(values[members], kind="stable")]
        colour, marker, dashes = LOOKS[number % MOST_LINES]
        # A few pixels apart, so that bars and dots at the same value do not hide each other.
        place = (number - (len(names) - 1) / 2) * 8
        beside = _shifted(axes, place, 0)
        bars = np.stack([percent - low, high - percent])[:, members]
        look = {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 7, "linewidth": 1.6}
        look |= {"elinewidth": 1.6, "capsize": 3, "transform": beside, "zorder": 3, "label": _short(name)}
        axes.errorbar(values[members], percent[members], yerr=bars, **look)
        for k in members if runs else ():
            at_value = np.full(len(runs[k]), values[k])
            _faint_dots(axes, at_value, runs[k], colour, marker, _shifted(axes, place + 5, 0))
    _number_axis(axes, values)
    axes.set_ylim(_limits(low, high, *runs))
    axes.set_xlabel(setting, fontsize=12, parse_math=False)
    axes.set_ylabel(axis, fontsize=12, parse_math=False)
    axes.set_title(title or f"Accuracy against {setting}", fontsize=13, parse_math=False)
    axes.grid(color=GRID, linewidth=0.8)
    open_frame(axes)
    if len(names) > 1:
        _legend(figure, axes, lines_title)
    return figure


def accuracy_against_numbers(
    values: Mapping[str, Sequence[float]],
    accuracy: np.ndarray,
    *,
    kinds: Sequence[str] = (),
    kinds_title: str = "",
    axis: str = "accuracy (%)",
    title: str = "Accuracy against each setting",
) -> "Figure":
    """Draw a panel for each setting that is a number, with a dot for each entry; the best entry is ringed in all.

    `values` holds each setting's values [K] by its name; entries of one name in `kinds` [K] look the same.
    """
    percent = _in_percent(accuracy)
    names = list(dict.fromkeys(kinds)) or [""]
    kind_of = np.array([names.index(kind) for kind in kinds] or [0] * len(percent))
    columns = min(3, len(values))
    n_rows = -(-len(values) // columns)
    wide = 420 * columns + 80 + (0 if len(names) == 1 else 9 * min(LONGEST_NAME, max(map(len, names))))
    figure = new_figure(max(700, wide), 380 * n_rows + 90)
    panels = figure.subplots(n_rows, columns, sharey=True, squeeze=False)
    best = int(np.argmax(percent))
    for axes, (setting, numbers) in zip(panels.flat, values.items(), strict=False):
        numbers = np.asarray(numbers, dtype=np.float64)
        for number, name in enumerate(names):
            colour, marker, _ = LOOKS[number % MOST_LINES]
            of_kind = kind_of == number
            look = {"linestyle": "none", "marker": marker, "markersize": 6, "color": colour, "alpha": 0.75}
            axes.plot(numbers[of_kind], percent[of_kind], label=_short(name), **look)
        ring = {"linestyle": "none", "marker": "o", "markersize": 14, "markerfacecolor": "none"}
        axes.plot(numbers[best], percent[best], markeredgecolor=DARK, markeredgewidth=1.8, **ring)
        _number_axis(axes, numbers)
        axes.set_xlabel(_short(setting), fontsize=12, parse_math=False)
        axes.grid(color=GRID, linewidth=0.8)
        open_frame(axes)
    for axes in list(panels.flat)[len(values) :]:
        axes.set_axis_off()
    panels[0, 0].set_ylim(_limits(percent, percent))
    for axes in panels[:, 0]:
        axes.set_ylabel(axis, fontsize=12, parse_math=False)
    figure.suptitle(f"{title}\nring: the best, {percent[best]:.1f} %", fontsize=13, parse_math=False)
    if len(names) > 1:
        _legend(figure, panels[0, 0], kinds_title)
    return figure


def _in_percent(fractions: Sequence[float]) -> np.ndarray:
    return 100 * np.asarray(fractions, dtype=np.float64)


def _bounds(percent: np.ndarray, intervals: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high ends [K] of the bars in %; without intervals the bars have no length."""
    if intervals is None:
        return percent, percent
    return tuple(_in_percent(intervals).reshape(-1, 2).T)


def _limits(*percent: np.ndarray) -> tuple[float, float]:
    """Return the part of the axis from 0 to 100 % that all accuracies lie in, with room at its ends."""
    inside = np.concatenate([np.ravel(part) for part in percent])
    if inside.size == 0:
        return 0.0, 100.0
    room = max(1.0, 0.12 * float(inside.max() - inside.min()))
    low, high = max(0.0, float(inside.min()) - room), min(100.0, float(inside.max()) + room)
    # Marks at the very ends are drawn whole, and the axis has no numbers beyond them.
    edge = 0.04 * (high - low)
    return low - edge * (low == 0), high + edge * (high == 100)


def _faint_dots(axes: "Axes", x: np.ndarray, y: np.ndarray, colour: str, marker: str, transform) -> None:
    """Draw single runs; one that stands alone is the mean itself and needs no dot of its own."""
    if len(x) > 1:
        look = {"linestyle": "none", "marker": marker, "markersize": 5, "markeredgewidth": 0, "zorder": 2}
        axes.plot(x, y, color=colour, alpha=0.45, transform=transform, **look)


def _shifted(axes: "Axes", right: float, up: float):
    """Return the transform that draws data that many pixels from its place."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transData + ScaledTranslation(right / DOTS_PER_INCH, up / DOTS_PER_INCH, axes.figure.dpi_scale_trans)


def _number_axis(axes: "Axes", values: np.ndarray) -> None:
    """Scale the horizontal axis to the values, and mark the values themselves where there are few of them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    logarithmic = even_in_ratio(values)
    axes.set_xscale("log" if logarithmic else "linear")
    places = np.unique(values)
    low, high = places[0], places[-1]
    if logarithmic:
        axes.set_xlim(low * (low / high) ** 0.06, high * (high / low) ** 0.06)
        places_on_axis = np.log(places)
        spread = LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 1000 else (1.0,))
    else:
        room = 0.06 * (high - low) or 0.1 * abs(low) or 1.0
        axes.set_xlim(low - room, high + room)
        places_on_axis = places
        spread = MaxNLocator(6, integer=bool((places == places.round()).all()))
    gaps = np.diff(places_on_axis)
    few = len(places) <= 10 and (len(places) < 2 or gaps.min() >= 0.07 * gaps.sum())
    axes.xaxis.set_major_locator(FixedLocator(places) if few else spread)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", length=0)


def even_in_ratio(values: Sequence[float]) -> bool:
    """Return whether values span a decade or more and lie more evenly in ratio than in difference."""
    places = np.unique(np.asarray(values, dtype=np.float64))
    if places[0] <= 0 or places[-1] < DECADE * places[0]:
        return False
    steps, ratios = np.diff(places), np.diff(np.log(places))
    return bool(ratios.std() / ratios.mean() <= steps.std() / steps.mean())


def _legend(figure: "Figure", axes: "Axes", title: str) -> None:
    """Name the lines to the right of the drawing, where they hide nothing."""
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside right upper", title=title, frameon=False, fontsize=10)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)
    legend.set_alignment("left")


def _wrapped(name: str) -> list[str]:
    """Return a name in at most three lines."""
    lines = textwrap.wrap(name, LONGEST_NAME, break_on_hyphens=False) or [""]
    return lines if len(lines) <= 3 else [*lines[:2], lines[2][: LONGEST_NAME - 1] + "…"]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
