"""How accuracy falls as a perturbation grows: a panel for each perturbation, a line with a band for each network."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stdp_run.reporting.plots import style
from stdp_run.reporting.plots.comparison import LONGEST_NAME, LOOKS
from stdp_run.reporting.plots.style import Axes, Figure

MOST_COLUMNS = 4
PANEL = 330, 300  # pixels, wide and tall
LEGEND_CHARACTERS = 32  # of a line; as many as are as wide as a panel
BEYOND = 0.18  # of the axis: how far "none" is from the mildest perturbation, where no strength is harmless


@dataclass(frozen=True)
class Curve:
    """Accuracy in % over seeds at K strengths, of which NaN is no perturbation."""

    strength: np.ndarray  # [K]
    mean: np.ndarray  # [K]
    sd: np.ndarray  # [K]


@dataclass(frozen=True)
class Panel:
    """A perturbation, and the curve of each network that was evaluated under it, by its place among all networks."""

    title: str
    axis: str
    harmless: float | None  # the strength that changes nothing; None: the larger the strength, the less it changes
    chance: float  # accuracy of guessing, %; NaN: not known
    curves: Mapping[int, Curve]


def accuracy_under_perturbation(panels: Sequence[Panel], networks: Sequence[str], measure: str) -> Figure:
    """Draw accuracy against strength; every panel goes from mild to strong, `networks` are the names of the lines.

    More networks than there are looks share them.
    """
    n_columns = min(MOST_COLUMNS, len(panels) + 1)
    n_rows = -(-(len(panels) + 1) // n_columns)  # the last place is the legend's
    figure = style.new_figure(max(2, n_columns) * PANEL[0], n_rows * PANEL[1] + 40)
    all_axes = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
    for place, (axes, panel) in enumerate(zip(all_axes, panels, strict=False)):
        _panel(axes, panel)
        axes.set_ylabel(f"{measure} (%)" if place % n_columns == 0 else "", fontsize=11)
    for axes in all_axes[len(panels) :]:
        axes.axis("off")
    handles: list[Any] = [all_axes[0].plot([], [], **_look(k))[0] for k in range(len(networks))]
    handles.append(all_axes[0].axhline(-1e3, color=style.GREY, linestyle=":", linewidth=1.2))
    names = [*(textwrap.fill(style.short(name, LONGEST_NAME), LEGEND_CHARACTERS) for name in networks), "chance"]
    legend = all_axes[len(panels)].legend(
        handles, names, loc="center left", frameon=False, fontsize=10, title="mean over seeds; band: ± sd"
    )
    legend.set_alignment("left")
    legend.set_in_layout(False)  # it would take its width from all panels
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _look(number: int) -> dict[str, Any]:
    colour, marker, dashes = LOOKS[number % len(LOOKS)]
    return {"color": colour, "marker": marker, "linestyle": dashes, "markersize": 4.5, "linewidth": 1.5}


def _panel(axes: Axes, panel: Panel) -> None:
    strengths = np.concatenate([curve.strength for curve in panel.curves.values()])
    strengths = np.unique(strengths[~np.isnan(strengths)])
    none = panel.harmless
    if none is None:
        none = strengths[-1] + max(BEYOND * np.ptp(strengths), 0.5)
    for number, curve in panel.curves.items():
        at = np.where(np.isnan(curve.strength), none, curve.strength)
        order = np.argsort(at, kind="stable")
        at, mean, sd = at[order], curve.mean[order], curve.sd[order]
        axes.plot(at, mean, **_look(number))
        axes.fill_between(at, mean - sd, mean + sd, color=_look(number)["color"], alpha=0.18, linewidth=0)
    if not math.isnan(panel.chance):
        axes.axhline(panel.chance, color=style.GREY, linestyle=":", linewidth=1.2)
    if panel.harmless is None:
        axes.set_xticks([*strengths, none], [*(f"{each:g}" for each in strengths), "none"])
        axes.invert_xaxis()
    axes.set_ylim(0, 100)
    axes.grid(color=style.GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    style.describe(axes, panel.title, panel.axis, "")
    axes.xaxis.label.set_fontsize(11)
