"""How accuracy depends on what differs between runs: lines against a number, else a row for each setting."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stdp_run.reporting.plots import style
from stdp_run.reporting.plots.style import Axes, Figure

# Lines differ in the mark as well as in the colour, and from the fifth on in the dashes.
LOOKS = [
    *((style.BLUE, "o", "-"), (style.VERMILION, "s", "-"), (style.DARK, "^", "-"), (style.GREY, "D", "-")),
    *((style.BLUE, "v", "--"), (style.VERMILION, "P", "--"), (style.DARK, "X", "--"), (style.GREY, "*", "--")),
]
MOST_ROWS = 30
LONGEST_NAME = 60
# A decade is spanned by 1 to 10; rounding in a sweep's values must not decide.
DECADE = 9.99
WIDE = 1000  # pixels, of lines without a legend; the axes are at least 0.8 of that
DIGIT_PIXELS = 9  # of a tick label
BARS: dict[str, Any] = {"markersize": 7, "linewidth": 1.6, "elinewidth": 1.6, "capsize": 3}
DOTS: dict[str, Any] = {"markersize": 5, "markeredgewidth": 0, "alpha": 0.4, "zorder": 1.5}


@dataclass(frozen=True)
class Accuracies:
    """The accuracy of K settings over seeds, in %."""

    mean: np.ndarray  # [K]
    bars: np.ndarray  # [2, K] how far a bar reaches below and above the mean
    seeds: Sequence[np.ndarray]  # [K] of each seed, drawn as faint dots

    def limits(self) -> tuple[float, float]:
        """Return the part of the axis from 0 to 100 % that all accuracies lie in, with room at its ends."""
        inside = np.concatenate([self.mean - self.bars[0], self.mean + self.bars[1], *self.seeds])
        room = max(1.0, 0.12 * float(np.ptp(inside)))
        low, high = max(0.0, float(inside.min()) - room), min(100.0, float(inside.max()) + room)
        # Marks at the very ends are drawn in full, and the axis has no numbers beyond them.
        edge = 0.04 * (high - low)
        return low - edge * (low == 0), high + edge * (high == 100)

    def caption(self) -> str:
        """Return what points, bars and faint dots are."""
        counts = {len(seeds) for seeds in self.seeds}
        if counts == {1}:
            return "one run each; bar: its 95 % interval"
        single = " (of a single run: its 95 % interval)" if 1 in counts else ""
        return f"mean over seeds; bar: standard deviation{single}; faint: single runs"


def accuracy_by_settings(
    settings: Mapping[str, Sequence[str]], accuracies: Accuracies, *, measure: str, readout: str | None, alone: str
) -> Figure:
    """Draw accuracy against what differs between settings, best first.

    Against a number that was swept, with a line for each combination of the other settings, where one leaves few
    lines; else a row for each of the best 30. `settings` has the values [K] of each by its name, `alone` names the row
    where nothing differs; `measure` and `readout` say what the accuracy is.
    """
    across = _across(settings)
    axis = f"{measure}{f', {readout}' if readout else ''} (%)"
    title = f"{measure[0].upper()}{measure[1:]} {f'against {across}' if across else 'by setting'}"
    if across is None:
        return _rows(_names(settings, spelled=True) or [alone], accuracies, axis, title)
    others = {name: values for name, values in settings.items() if name != across}
    lines = (next(iter(others)) if len(others) == 1 else "", _names(others) or [""] * len(accuracies.mean))
    values = np.array(settings[across], dtype=np.float64)
    return _lines((across, values), lines, accuracies, axis, f"{title}\n{accuracies.caption()}")


def _across(settings: Mapping[str, Sequence[str]]) -> str | None:
    """Return the number that leaves the fewest lines, and of these has the most values; None where lines are short."""
    found = []
    for name, values in settings.items():
        others = {other: texts for other, texts in settings.items() if other != name}
        n_lines = len(set(_names(others))) or 1
        if all(map(_is_number, values)) and n_lines <= len(LOOKS) and 2 * len(values) >= 3 * n_lines:
            found.append((n_lines, -len(set(values)), name))
    return min(found)[2] if found else None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _names(settings: Mapping[str, Sequence[str]], spelled: bool = False) -> list[str]:
    """Return "name=value, name=value" for each entry; the value alone where there is one name, unless `spelled`."""
    rows = zip(*settings.values(), strict=True)
    if len(settings) == 1 and not spelled:
        return [value or "(not set)" for (value,) in rows]
    names = list(settings)
    if sum(len(name) + 8 for name in names) > LONGEST_NAME:
        names = style.last_parts(names)
    return [", ".join(f"{a}={b or '(not set)'}" for a, b in zip(names, row, strict=True)) for row in rows]


def _rows(names: Sequence[str], accuracies: Accuracies, axis: str, title: str) -> Figure:
    """Draw a row for each setting, first one on top."""
    if len(names) > MOST_ROWS:
        title += f", best {MOST_ROWS} of {len(names)} settings"
        mean, bars, seeds = accuracies.mean, accuracies.bars, accuracies.seeds
        accuracies = Accuracies(mean[:MOST_ROWS], bars[:, :MOST_ROWS], seeds[:MOST_ROWS])
    names = ["\n".join(textwrap.wrap(name, LONGEST_NAME, max_lines=3, placeholder="…")) for name in names[:MOST_ROWS]]
    longest = max(len(line) for name in names for line in name.split("\n"))
    row_pixels = 34 + 17 * max(name.count("\n") for name in names)
    figure = style.new_figure(700 + 8 * max(25, longest), 170 + row_pixels * max(3, len(names)))
    axes = figure.subplots()
    rows = np.arange(len(names))
    axes.errorbar(accuracies.mean, rows, xerr=accuracies.bars, fmt="o", color=style.BLUE, **BARS)
    places = rows.repeat(list(map(len, accuracies.seeds)))
    axes.plot(np.concatenate(accuracies.seeds), places, "o", color=style.BLUE, **DOTS)
    look: dict[str, Any] = {"textcoords": "offset points", "horizontalalignment": "center", "fontsize": 9}
    for row, value in enumerate(accuracies.mean):
        axes.annotate(f"{value:.1f}", (value, row), (0, 6), **look)
    axes.set_yticks(rows, names, fontsize=11, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.set_xlim(accuracies.limits())
    axes.grid(color=style.GRID, linewidth=0.8)
    style.describe(axes, f"{title}\n{accuracies.caption()}", axis, "")
    return figure


def _lines(
    across: tuple[str, np.ndarray], lines: tuple[str, Sequence[str]], accuracies: Accuracies, axis: str, title: str
) -> Figure:
    """Draw accuracy against a number, its name and values [K]; `lines` are a title and the line [K] of each entry."""
    from matplotlib.transforms import offset_copy

    (setting, values), (legend, line_of) = across, lines
    names = list(dict.fromkeys(line_of))
    figure = style.new_figure(WIDE if len(names) == 1 else WIDE + 9 * min(LONGEST_NAME, max(map(len, names))), 600)
    axes = figure.subplots()
    for number, (name, (colour, marker, dashes)) in enumerate(zip(names, LOOKS, strict=False)):
        members = np.flatnonzero([line == name for line in line_of])
        members = members[np.argsort(values[members], kind="stable")]
        # A few pixels apart, so that bars and dots at the same value do not hide each other.
        place = offset_copy(axes.transData, figure, 8 * (number - (len(names) - 1) / 2), 0, "dots")
        look: dict[str, Any] = {"color": colour, "marker": marker, "transform": place}
        at, mean, bars = values[members], accuracies.mean[members], accuracies.bars[:, members]
        axes.errorbar(at, mean, bars, label=style.short(name, LONGEST_NAME), linestyle=dashes, **look, **BARS)
        seeds = [accuracies.seeds[k] for k in members.tolist()]
        axes.plot(at.repeat(list(map(len, seeds))), np.concatenate(seeds), linestyle="none", **look, **DOTS)
    _number_axis(axes, values)
    axes.set_ylim(accuracies.limits())
    axes.grid(color=style.GRID, linewidth=0.8)
    style.describe(axes, title, setting, axis)
    if len(names) > 1:
        handles, labels = axes.get_legend_handles_labels()
        # To the right of the axes, where it hides nothing.
        box = figure.legend(handles, labels, loc="outside right upper", title=legend, frameon=False, fontsize=10)
        for text in (*box.get_texts(), box.get_title()):
            text.set_parse_math(False)
        box.set_alignment("left")
    return figure


def _number_axis(axes: Axes, values: np.ndarray) -> None:
    """Scale the horizontal axis to the values, and mark the values themselves, as many as have room side by side."""
    from matplotlib.ticker import NullLocator

    places = np.unique(values)
    logarithmic = bool(places[0] > 0 and places[-1] >= DECADE * places[0])
    on_axis = np.log(places) if logarithmic else places
    room = 0.06 * np.ptp(on_axis) or 0.1 * abs(on_axis[0]) or 1.0
    low, high = on_axis[0] - room, on_axis[-1] + room
    pixels = 0.8 * WIDE * (on_axis - low) / (high - low)
    labels = [f"{place:,.6g}" for place in places]
    marked = [0]
    for k in range(1, len(places)):
        needed = DIGIT_PIXELS * (len(labels[k]) + len(labels[marked[-1]])) / 2 + 12
        if pixels[k] - pixels[marked[-1]] >= needed:
            marked.append(k)
    axes.set_xscale("log" if logarithmic else "linear")
    axes.set_xlim(*(np.exp([low, high]) if logarithmic else (low, high)))
    axes.set_xticks(places[marked], [labels[k] for k in marked])
    axes.xaxis.set_minor_locator(NullLocator())
