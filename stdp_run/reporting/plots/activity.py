"""What neurons and learning rules do: how values spread, spikes over time, and weight change by spike timing."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stdp_run.reporting.plots import style
from stdp_run.reporting.plots.style import Axes, Figure

BINS = 50


def histogram(
    values: np.ndarray, xlabel: str, title: str, *, counted_as: str = "values", log_counts: bool = False
) -> Figure:
    """Draw how often values of any shape occur; with `log_counts` on a logarithmic scale, where few are seen too.

    `xlabel` names the quantity with its unit, `counted_as` the things that have the values, such as "neurons".
    """
    values = np.ravel(values)
    finite = values[np.isfinite(values)]
    figure = style.new_figure(900, 540)
    axes = figure.subplots()
    if finite.size == 0:
        style.describe(axes, f"{title}\nno {counted_as}", xlabel, f"number of {counted_as}")
        return figure
    low, high, mean = float(finite.min()), float(finite.max()), float(finite.mean(dtype=np.float64))
    if 0 < low < 1e-3 * high:
        low = 0.0  # as far as can be seen, and the scale then begins with a 0
    scale = max(abs(low), abs(high)) or 1.0
    spread = (low, high) if high - low > 1e-6 * scale else (low - 0.5 * scale, high + 0.5 * scale)
    counts, edges = np.histogram(finite, bins=BINS, range=spread)
    axes.stairs(counts, edges, baseline=0.1 if log_counts else 0, fill=True, color=style.BLUE)
    axes.axvline(mean, color=style.VERMILION, linewidth=1.5, linestyle="--", label=f"mean {mean:.4g}")
    axes.set_xlim(edges[0], edges[-1])
    if log_counts:
        axes.set_yscale("log")
        axes.yaxis.minorticks_off()
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylim(0.5, counts.max() * 2)
    else:
        axes.set_ylim(0, counts.max() * 1.08)
        style.whole_numbers(axes)
    axes.legend(frameon=False, loc="best", fontsize=11)
    others = values.size - finite.size
    summary = f"{finite.size:,} {counted_as}, smallest {low:.4g}, largest {high:.4g}"
    summary += f"; {others:,} more not finite" * bool(others)
    style.describe(axes, f"{title}\n{summary}", xlabel, f"number of {counted_as}")
    return figure


def raster(
    input_spikes: np.ndarray,
    excitatory: np.ndarray,
    inhibitory: np.ndarray,
    images: np.ndarray,
    names: Sequence[object],
    *,
    dt_ms: float = 1.0,
    title: str = "Spikes",
) -> Figure:
    """Draw every spike as a mark at its time (ms) and its neuron's number: a column for each image, with the image on
    top, and a row each for input [B, T, I], excitatory and inhibitory neurons [B, T, E], bool.

    `images` [B, height, width] are uint8, `names` [B] the names of their classes.
    """
    n_images, n_steps = np.shape(input_spikes)[:2]
    wide, tall = max(900, 130 + 420 * n_images), 1000
    # Finding the margins would take longer than drawing the many panels does.
    figure = style.new_figure(wide, tall, constrained=False)
    place: dict[str, Any] = {"left": 100 / wide, "right": 1 - 25 / wide, "bottom": 65 / tall, "top": 1 - 80 / tall}
    place |= {"height_ratios": (1.1, 3, 3, 3), "hspace": 0.28, "wspace": 0.08}
    panels = figure.subplots(4, n_images, sharex="row", sharey="row", squeeze=False, gridspec_kw=place)
    figure.suptitle(title, y=1 - 16 / tall, fontsize=14, parse_math=False)
    layers = {
        "input": (input_spikes, style.DARK),
        "excitatory": (excitatory, style.BLUE),
        "inhibitory": (inhibitory, style.VERMILION),
    }
    for b, (image, name) in enumerate(zip(images, names, strict=True)):
        panels[0, b].imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        panels[0, b].set(xticks=[], yticks=[])
        panels[0, b].set_title(f"class {style.short(name)}", fontsize=13, parse_math=False)
        for axes, (layer, (spikes, colour)) in zip(panels[1:, b], layers.items(), strict=True):
            _raster_panel(axes, np.asarray(spikes[b]), dt_ms, colour, dots=layer == "input")
            axes.set_xlim(0, max(1, n_steps) * dt_ms)
            axes.tick_params(labelbottom=layer == "inhibitory")
            if b == 0:
                axes.set_ylabel(f"{layer} neuron (number)", fontsize=12)
        panels[3, b].set_xlabel("time (ms)", fontsize=12)
    figure.align_ylabels(panels[1:, 0])
    return figure


def _raster_panel(axes: Axes, spikes: np.ndarray, dt_ms: float, colour: str, dots: bool) -> None:
    """Draw the spikes [T, neurons] of one layer."""
    neurons = spikes.shape[1]
    steps, index = np.nonzero(spikes)
    # Thousands of input spikes need small dots to stay apart; the few spikes of a layer need marks that are seen.
    marks: dict[str, Any] = {"marker": "|", "markersize": 8, "markeredgewidth": 1.6}
    if dots or len(index) > 2000:
        marks = {"marker": ".", "markersize": 6.0 if len(index) <= 2000 else 3.5, "markeredgewidth": 0}
    # Without clipping, marks at the very start and end are drawn in full.
    axes.plot(steps * dt_ms, index, linestyle="none", color=colour, clip_on=False, **marks)
    margin = max(0.5, 0.03 * neurons)
    axes.set_ylim(-margin, neurons - 1 + margin)
    style.whole_numbers(axes)
    firing = f"{len(np.unique(index))} of {style.counted(neurons, 'neuron')}"
    axes.set_title(f"{style.counted(len(index), 'spike')}, {firing}", fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


class Window(NamedTuple):
    """The STDP window of a rule."""

    delta_ms: np.ndarray  # [K] t_post - t_pre
    change: np.ndarray  # [K] of the weight
    quantity: str = "weight change"  # that `change` is, with its unit
    constants: str = ""  # those that are not as published; empty: all are
    published: np.ndarray | None = None  # [K] the change with published constants, where `change` has others


class ByFrequency(NamedTuple):
    """What a pair of spikes in a train of pairs changes a weight by, in % of its largest."""

    frequency_hz: np.ndarray  # [K] of pairs
    pre_first: np.ndarray  # [K] change by a pair whose input spike is first
    post_first: np.ndarray  # [K] by one whose output spike is
    pair_ms: float  # between the spikes of a pair


def stdp_windows(windows: Mapping[str, Window], by_frequency: Mapping[str, ByFrequency] | None = None) -> Figure:
    """Draw the window of each named rule, two or three panels to a row, and behind them changes by frequency."""
    by_frequency = by_frequency or {}
    n_panels = len(windows) + len(by_frequency)
    columns = min(2 if n_panels <= 6 else 3, n_panels)
    rows = math.ceil(n_panels / columns)
    figure = style.new_figure(300 + 450 * columns, 70 + 430 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    figure.suptitle("STDP windows" if len(windows) > 1 else "STDP window", fontsize=14)
    for axes, (rule, window) in zip(panels, windows.items(), strict=False):
        constants = f"with {window.constants}" if window.constants else "constants as published"
        constants = constants.replace(" (published ", "\N{NO-BREAK SPACE}(published\N{NO-BREAK SPACE}")
        _window_panel(axes, window, "\n".join([rule, *textwrap.wrap(constants, 62)]))
    for axes, (rule, changes) in zip(panels[len(windows) :], by_frequency.items(), strict=False):
        _frequency_panel(axes, changes, f"{rule}\npairs of spikes {changes.pair_ms:g} ms apart, by their frequency")
    for axes in panels[n_panels:]:
        axes.remove()
    return figure


def _window_panel(axes: Axes, window: Window, title: str) -> None:
    order = np.argsort(window.delta_ms, kind="stable")
    delta_ms, change = window.delta_ms[order], window.change[order]
    axes.axhline(0, color=style.GREY, linewidth=1)
    axes.axvline(0, color=style.GREY, linewidth=1)
    # A window usually jumps at 0, so no line may cross it.
    size = 3.5 if len(change) <= 100 else 0
    sides = (
        ("post before pre", delta_ms < 0, {"color": style.VERMILION, "marker": "s", "markersize": size}),
        ("same step", delta_ms == 0, {"color": style.DARK, "marker": "D", "markersize": 5, "linestyle": "none"}),
        ("pre before post", delta_ms > 0, {"color": style.BLUE, "marker": "o", "markersize": size}),
    )
    for name, chosen, look in sides:
        if chosen.any():
            axes.plot(delta_ms[chosen], change[chosen], linewidth=1.6, label=name, **look)
    if window.published is not None:
        published = np.where(delta_ms == 0, np.nan, window.published[order])
        name = "with published constants"
        axes.plot(delta_ms, published, color=style.GREY, linewidth=1.4, linestyle="--", zorder=1, label=name)
    style.describe(axes, title, "t_post - t_pre (ms)", window.quantity)
    axes.title.set_fontsize(11)
    if len(change):
        axes.legend(frameon=False, fontsize=10)


def _frequency_panel(axes: Axes, changes: ByFrequency, title: str) -> None:
    axes.axhline(0, color=style.GREY, linewidth=1)
    for name, change, colour, marker in (
        ("pre before post", changes.pre_first, style.BLUE, "o"),
        ("post before pre", changes.post_first, style.VERMILION, "s"),
    ):
        axes.plot(changes.frequency_hz, change, color=colour, marker=marker, markersize=4, label=name)
    style.describe(axes, title, "pairs a second (Hz)", "weight change by a pair (% of w_max)")
    axes.title.set_fontsize(11)
    axes.legend(frameon=False, fontsize=10)
