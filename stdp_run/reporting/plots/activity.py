"""Spikes over time, and STDP windows: weight change by spike timing."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stdp_run.reporting.plots import style
from stdp_run.reporting.plots.style import Axes, Figure


def raster(spikes: Sequence[np.ndarray], images: np.ndarray, names: Sequence[str], dt_ms: float, title: str) -> Figure:
    """Draw every spike as a mark at its time and its neuron's number, a column for each image.

    `spikes` are those of input [B, T, I], excitatory and inhibitory neurons [B, T, E], bool. `images` are uint8
    [B, height, width], and `names` [B] are their titles.
    """
    wide, tall = max(900, 130 + 420 * len(images)), 1000
    # Automatic margins would take longer than drawing the panels.
    figure = style.new_figure(wide, tall, constrained=False)
    margins = {"left": 100 / wide, "right": 1 - 25 / wide, "bottom": 65 / tall, "top": 1 - 80 / tall}
    layout = {**margins, "height_ratios": (1.1, 3, 3, 3), "hspace": 0.28, "wspace": 0.08}
    panels = figure.subplots(4, len(images), sharex="row", sharey="row", squeeze=False, gridspec_kw=layout)
    figure.suptitle(title, y=1 - 16 / tall, fontsize=14)
    layers = (("input", style.DARK), ("excitatory", style.BLUE), ("inhibitory", style.VERMILION))
    for b, column in enumerate(panels.T):
        column[0].imshow(images[b], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        column[0].set(xticks=[], yticks=[])
        column[0].set_title(style.short(names[b], 40), fontsize=13, parse_math=False)
        for axes, (layer, colour), fired in zip(column[1:], layers, spikes, strict=True):
            _raster_panel(axes, fired[b], dt_ms, colour)
            axes.tick_params(labelbottom=layer == "inhibitory")
            axes.set_ylabel(f"{layer} neuron (number)" if b == 0 else "", fontsize=12)
        column[3].set_xlabel("time (ms)", fontsize=12)
    figure.align_ylabels(panels[1:, 0])
    return figure


def _raster_panel(axes: Axes, spikes: np.ndarray, dt_ms: float, colour: str) -> None:
    """Draw the spikes [T, neurons] of one layer."""
    n_steps, neurons = spikes.shape
    steps, index = np.nonzero(spikes)
    # Thousands of spikes need small dots to stay apart. Without clipping, marks at both ends are drawn in full.
    mark, size, edge = (".", 4, 0.0) if len(index) > 1000 else ("|", 8, 1.6)
    axes.plot(steps * dt_ms, index, mark, color=colour, clip_on=False, markersize=size, markeredgewidth=edge)
    margin = max(0.5, 0.03 * neurons)
    axes.set(xlim=(0, max(1, n_steps) * dt_ms), ylim=(-margin, neurons - 1 + margin))
    style.whole_numbers(axes)
    firing = f"{len(np.unique(index))} of {style.counted(neurons, 'neuron')}"
    axes.set_title(f"{style.counted(len(index), 'spike')}, {firing}", fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


class Window(NamedTuple):
    """The STDP window of a rule."""

    delta_ms: np.ndarray  # [K] t_post - t_pre, ascending
    change: np.ndarray  # [K] of the weight
    quantity: str = "weight change"  # that `change` is, with its unit
    constants: str = ""  # those that are not as published; empty: all are
    published: np.ndarray | None = None  # [K] the change with published constants, where `change` has others


class ByFrequency(NamedTuple):
    """The weight change by a pair of spikes in a train of pairs, in % of the largest weight."""

    frequency_hz: np.ndarray  # [K] of pairs
    pre_first: np.ndarray  # [K] change by a pair whose input spike is first
    post_first: np.ndarray  # [K] by one whose output spike is
    pair_ms: float  # between the spikes of a pair


def stdp_windows(windows: Mapping[str, Window], by_frequency: Mapping[str, ByFrequency]) -> Figure:
    """Draw a panel for the window of each named rule, and after them panels of changes by frequency."""
    n_panels = len(windows) + len(by_frequency)
    columns = min(3, n_panels)
    rows = math.ceil(n_panels / columns)
    figure = style.new_figure(300 + 450 * columns, 70 + 430 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    figure.suptitle("STDP windows", fontsize=14)
    for axes, (rule, window) in zip(panels, windows.items(), strict=False):
        delta, constants = window.delta_ms, f"with {window.constants}" if window.constants else "constants as published"
        # A window usually jumps at 0, so no line crosses it.
        sides = {"post before pre": delta < 0, "same step": delta == 0, "pre before post": delta > 0}
        lines = {name: (delta[side], window.change[side]) for name, side in sides.items()}
        if window.published is not None:
            lines["with published constants"] = delta, np.where(delta == 0, np.nan, window.published)
        axes.axvline(0, color=style.GREY, linewidth=1)
        _change_panel(axes, lines)
        title = "\n".join([rule, *textwrap.wrap(constants, 62)])
        style.describe(axes, title, "t_post - t_pre (ms)", window.quantity)
    for axes, (rule, changes) in zip(panels[len(windows) :], by_frequency.items(), strict=False):
        orders = {"pre before post": changes.pre_first, "post before pre": changes.post_first}
        _change_panel(axes, {name: (changes.frequency_hz, change) for name, change in orders.items()})
        title = f"{rule}\npairs of spikes {changes.pair_ms:g} ms apart, by their frequency"
        style.describe(axes, title, "pairs a second (Hz)", "weight change by a pair (% of w_max)")
    for axes in panels[n_panels:]:
        axes.remove()
    return figure


def _change_panel(axes: Axes, lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Draw lines of weight change by their name."""
    looks: dict[str, Any] = {
        "pre before post": {"color": style.BLUE},
        "post before pre": {"color": style.VERMILION},
        "same step": {"color": style.DARK, "marker": "D", "markersize": 5, "linestyle": "none"},
        "with published constants": {"color": style.GREY, "linestyle": "--", "zorder": 1},
    }
    axes.axhline(0, color=style.GREY, linewidth=1)
    for name, (x, change) in lines.items():
        axes.plot(x, change, linewidth=1.6, label=name, **looks[name])
    axes.legend(frameon=False, fontsize=10)
