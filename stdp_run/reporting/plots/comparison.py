"""Plots of accuracy against the settings of runs: lines against a number, or a row for each setting.

Both take a row for each point: `name`, `mean`, `below` and `above` (the ends of its bar, relative to the mean), and
`seeds`, a list with the accuracy of each seed; all in %. The title has the settings that all points share, `common`.
"""

import itertools
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stdp_run.reporting.plots import style
from stdp_run.reporting.plots.style import Axes, Figure
from stdp_run.reporting.runs import DataFrame

# Lines differ in the mark as well as in the colour, and from the fifth on in the dashes.
COLOURS = (style.BLUE, style.VERMILION, style.DARK, style.GREY)
LOOKS: list[dict[str, Any]] = [
    {"color": colour, "marker": marker, "linestyle": dashes}
    for colour, marker, dashes in zip(COLOURS * 2, "os^DvPX*", ["-"] * 4 + ["--"] * 4, strict=True)
]
PERCENT = -3, 103  # limits of an axis, with room for a mark
MOST_ROWS = 30
LONGEST_NAME = 60
LONGEST_LINE = 32  # characters of a legend
CAPTION = "mean over seeds; bar: standard deviation, or 95% interval of a single run"
BARS: dict[str, Any] = {"markersize": 6, "linewidth": 1.6, "elinewidth": 1.6, "capsize": 3}


def accuracy_rows(points: DataFrame, axis: str, common: str) -> Figure:
    """Draw a row for each of the best 30 points, first one on top, with a faint dot for each seed."""
    n_points, points = len(points), points.head(MOST_ROWS).reset_index(drop=True)
    names = ["\n".join(textwrap.wrap(name, LONGEST_NAME, max_lines=3, placeholder="…")) for name in points["name"]]
    longest = max(len(line) for name in names for line in name.split("\n"))
    row_pixels = 34 + 17 * max(name.count("\n") for name in names)
    figure = style.new_figure(700 + 8 * max(25, longest), 210 + row_pixels * max(3, len(names)))
    axes = figure.subplots()
    axes.errorbar(points["mean"], points.index, xerr=points[["below", "above"]].T, fmt="o", color=style.BLUE, **BARS)
    seeds = points["seeds"].explode()
    axes.plot(seeds.astype(float), seeds.index, "o", color=style.BLUE, markeredgewidth=0, markersize=5, alpha=0.4)
    for row, value in points["mean"].items():
        axes.annotate(f"{value:.1f}", (value, row), (0, 6), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(points.index, names, fontsize=11, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.set_xlim(*np.clip(axes.get_xlim(), *PERCENT))
    axes.grid(color=style.GRID, linewidth=0.8)
    best = f"best {MOST_ROWS} of {n_points} settings; " if n_points > MOST_ROWS else ""
    style.describe(axes, "", axis, "")
    _title(figure, f"{best}{CAPTION}; faint: single runs", common)
    return figure


def accuracy_lines(points: DataFrame, axis: str, common: str) -> Figure:
    """Draw a line for each name against `x`, in a panel for each `perturbation`; `x_label` describes x.

    Dotted lines are networks without a perturbation, whose x is NaN. More lines than looks share them.
    """
    drawn = points[points["x"].notna()]
    looks = dict(zip(drawn["name"].unique(), itertools.cycle(LOOKS), strict=False))
    unperturbed = points[points["x"].isna()].groupby("name")["mean"].mean()
    n_panels = drawn["perturbation"].nunique()
    n_columns = min(4, n_panels)
    n_rows = -(-n_panels // n_columns)
    width, height = (900, 600) if n_panels == 1 else (330 * n_columns, 330 * n_rows)
    figure = style.new_figure(width + 9 * LONGEST_LINE, height)
    all_axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
    handles: dict = dict.fromkeys(looks)  # best line first
    for axes, (panel, lines) in zip(all_axes, drawn.groupby("perturbation"), strict=False):
        for name, line in lines.sort_values("x").groupby("name"):
            handles[name] = axes.errorbar(line["x"], line["mean"], line[["below", "above"]].T, **looks[name], **BARS)
            if name in unperturbed:
                axes.axhline(unperturbed[name], color=looks[name]["color"], linestyle=":", linewidth=1.2)
        _number_axis(axes, np.unique(lines["x"]), n_ticks=8 if n_panels == 1 else 6)
        axes.grid(color=style.GRID, linewidth=0.8)
        style.describe(axes, "" if panel == "none" else str(panel), lines["x_label"].iloc[0], "")
    for axes in all_axes[n_panels:]:
        axes.axis("off")
    all_axes[0].set_ylim(*np.clip(all_axes[0].get_ylim(), *PERCENT))
    figure.supylabel(axis, fontsize=12)
    _title(figure, CAPTION + ("; dotted: without perturbation" if len(unperturbed) else ""), common)
    _legend(figure, handles, handles.values())
    return figure


def running_accuracy(names: Sequence[str], curves: Sequence[DataFrame], common: str) -> Figure:
    """Draw running accuracy against training images seen, a line with a band for each of the first 8 curves.

    A curve has the columns `mean`, `min` and `max`, in %, and is indexed by images seen.
    """
    figure = style.new_figure(900 + 9 * LONGEST_LINE, 600)
    axes = figure.subplots()
    for curve, look in zip(curves, LOOKS, strict=False):
        axes.plot(curve["mean"], **look, markersize=5, markevery=0.1, linewidth=1.6)
        axes.fill_between(curve.index, curve["min"], curve["max"], color=look["color"], alpha=0.2, linewidth=0)
    axes.set_xlim(left=0)
    axes.set_ylim(*np.clip(axes.get_ylim(), *PERCENT))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(color=style.GRID, linewidth=0.8)
    style.describe(axes, "", "training images seen", "running accuracy (%)")
    n_lines = len(axes.lines)
    best = f"best {n_lines} of {len(curves)} settings; " if len(curves) > n_lines else ""
    _title(figure, f"{best}mean over seeds; band: smallest to largest", common)
    _legend(figure, names[:n_lines], axes.lines)
    return figure


def _legend(figure: Figure, names: Iterable[str], handles: Iterable[Any]) -> None:
    labels = [textwrap.fill(style.short(name, LONGEST_NAME), LONGEST_LINE) for name in names]
    legend = figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=10)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _title(figure: Figure, caption: str, common: str) -> None:
    n_characters = int(figure.get_figwidth() * style.DOTS_PER_INCH / 9)  # of 11 points
    lines = (each for text in (common, caption) for each in textwrap.wrap(text, n_characters))
    figure.suptitle("\n".join(lines), fontsize=11, parse_math=False)


def _number_axis(axes: Axes, values: np.ndarray, n_ticks: int) -> None:
    """Scale the horizontal axis, and label as many of the values as have room."""
    is_logarithmic = bool(values[0] > 0 and values[-1] >= 9.99 * values[0])  # a decade, despite rounding
    position = np.log(values) if is_logarithmic else values
    marked = [0]
    for k in range(1, len(values)):
        if position[k] - position[marked[-1]] >= np.ptp(position) / n_ticks:
            marked.append(k)
    axes.set_xscale("log" if is_logarithmic else "linear")
    axes.set_xticks(values[marked], [f"{value:,.6g}" for value in values[marked]])
    axes.minorticks_off()
