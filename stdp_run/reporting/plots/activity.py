"""What neurons and learning rules do: spikes over time, how values spread, and weight change by spike timing."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stdp_run.reporting.plots.canvas import (
    BLUE,
    DARK,
    GREY,
    VERMILION,
    counted,
    new_axes,
    new_figure,
    open_frame,
    put_labels,
    put_title,
    short,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def histogram(
    values: np.ndarray,
    xlabel: str,
    title: str,
    *,
    counted_as: str = "values",
    bins: int = 50,
    log_counts: bool = False,
) -> "Figure":
    """Draw how often values of any shape occur; with `log_counts` on a logarithmic scale, where few are seen too.

    `xlabel` names the quantity with its unit, `counted_as` the things that have the values, such as "neurons".
    """
    values = np.asarray(values).ravel()
    finite = np.isfinite(values)
    given = values.size
    values = values if finite.all() else values[finite]
    figure = new_figure(900, 540, layout=None)
    axes = new_axes(figure, left=105, right=30, bottom=70, top=70)
    put_labels(axes, xlabel, f"number of {counted_as}", left=78)
    open_frame(axes)
    if values.size == 0:
        put_title(axes, f"{title}\nno {counted_as}")
        return figure
    low, high, mean = float(values.min()), float(values.max()), float(values.mean(dtype=np.float64))
    counts, edges = np.histogram(values, bins=bins, range=_spread(low, high))
    axes.stairs(counts, edges, baseline=0.1 if log_counts else 0, fill=True, color=BLUE)
    axes.axvline(mean, color=VERMILION, linewidth=1.5, linestyle="--", label=f"mean {mean:.4g}")
    axes.set_xlim(edges[0], edges[-1])
    if log_counts:
        axes.set_yscale("log")
        axes.yaxis.minorticks_off()
        axes.yaxis.set_major_formatter("{x:,.0f}")  # powers of ten would go through a slow parser of formulas
        axes.set_ylim(0.5, counts.max() * 2)
    else:
        axes.set_ylim(0, counts.max() * 1.08)
        whole_numbers(axes)
    axes.legend(frameon=False, loc="best", fontsize=11)
    summary = f"{values.size:,} {counted_as}, {low:.4g} to {high:.4g}"
    if values.size < given:
        summary += f", {given - values.size:,} more not finite"
    put_title(axes, f"{title}\n{summary}")
    return figure


def _spread(low: float, high: float) -> tuple[float, float]:
    """Return the range from `low` to `high`, widened where it is too narrow to be cut into bins."""
    scale = max(abs(low), abs(high)) or 1.0
    return (low, high) if high - low > 1e-6 * scale else (low - 0.5 * scale, high + 0.5 * scale)


def raster(
    input_spikes: np.ndarray,
    excitatory: np.ndarray,
    inhibitory: np.ndarray,
    images: np.ndarray,
    names: Sequence[object],
    *,
    dt_ms: float = 1.0,
    title: str = "Spikes",
) -> "Figure":
    """Draw every spike as a mark at its time (ms) and its neuron's number: a column for each image, with the image on
    top, and a row each for input [B, T, I], excitatory and inhibitory neurons [B, T, E], bool.

    `images` [B, height, width] are uint8, `names` [B] the names of their classes.
    """
    n_images, n_steps = np.shape(input_spikes)[:2]
    if n_images == 0:
        raise ValueError("no images to draw the spikes of")
    wide, tall = max(900, 130 + 420 * n_images), 1000
    figure = new_figure(wide, tall, layout=None)
    place = {"left": 100 / wide, "right": 1 - 25 / wide, "bottom": 65 / tall, "top": 1 - 80 / tall}
    place |= {"height_ratios": (1.1, 3, 3, 3), "hspace": 0.28, "wspace": 0.08}
    panels = figure.subplots(4, n_images, sharex="row", sharey="row", squeeze=False, gridspec_kw=place)
    figure.suptitle(title, y=1 - 16 / tall, fontsize=14, parse_math=False)
    layers = (
        ("input", input_spikes, DARK),
        ("excitatory", excitatory, BLUE),
        ("inhibitory", inhibitory, VERMILION),
    )
    for b, (image, name) in enumerate(zip(images, names, strict=True)):
        _shown_image(panels[0, b], image, f"class {short(name)}")
        for axes, (layer, spikes, colour) in zip(panels[1:, b], layers, strict=True):
            _raster_panel(axes, layer, np.asarray(spikes[b]), dt_ms, colour)
            axes.set_xlim(0, max(1, n_steps) * dt_ms)
            lowest = layer == "inhibitory"
            axes.tick_params(labelbottom=lowest)
            put_labels(axes, "time (ms)" if lowest else "", f"{layer} neuron (number)" if b == 0 else "", below=38)
    return figure


def _shown_image(axes: "Axes", image: np.ndarray, heading: str) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    put_title(axes, heading)


def _raster_panel(axes: "Axes", layer: str, spikes: np.ndarray, dt_ms: float, colour: str) -> None:
    """Draw the spikes [T, neurons] of one layer."""
    neurons = spikes.shape[1]
    steps, index = np.nonzero(spikes)
    # Thousands of input spikes need small dots to stay apart; the few spikes of a layer need marks that are seen.
    if layer == "input" or len(index) > 2000:
        marks = {"marker": ".", "markersize": 6.0 if len(index) <= 2000 else 3.5, "markeredgewidth": 0}
    else:
        marks = {"marker": "|", "markersize": 8, "markeredgewidth": 1.6}
    # Without clipping, marks at the very start and end are drawn whole; the layout fails on an unclipped empty line.
    axes.plot(steps * dt_ms, index, linestyle="none", color=colour, clip_on=False, in_layout=False, **marks)
    margin = max(0.5, 0.03 * neurons)
    axes.set_ylim(-margin, neurons - 1 + margin)
    whole_numbers(axes)
    firing = len(np.unique(index))
    heading = f"{counted(len(index), 'spike')}, {firing} of {counted(neurons, 'neuron')}"
    put_title(axes, heading, size=11, loc="left")
    open_frame(axes)


def stdp_window(delta_ms: np.ndarray, change: np.ndarray, rule: str) -> "Figure":
    """Draw a rule's weight change [K] against the spikes' time difference t_post - t_pre [K] in ms."""
    figure = new_figure(900, 560)
    _window_panel(figure.subplots(), delta_ms, change, f"STDP window: {rule}")
    return figure


def stdp_windows(windows: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "Figure":
    """Draw the window of each named rule, (t_post - t_pre [K] in ms, weight change [K]), two panels to a row."""
    if not windows:
        raise ValueError("no windows to draw")
    rows = math.ceil(len(windows) / 2)
    figure = new_figure(1200, 70 + 410 * rows)
    panels = figure.subplots(rows, 2, squeeze=False).ravel()
    figure.suptitle("STDP windows", fontsize=14)
    for axes, (rule, (delta_ms, change)) in zip(panels, windows.items(), strict=False):
        _window_panel(axes, delta_ms, change, rule)
    for axes in panels[len(windows) :]:
        axes.remove()
    return figure


def _window_panel(axes: "Axes", delta_ms: np.ndarray, change: np.ndarray, title: str) -> None:
    delta_ms, change = np.asarray(delta_ms, dtype=np.float64), np.asarray(change, dtype=np.float64)
    order = np.argsort(delta_ms, kind="stable")
    delta_ms, change = delta_ms[order], change[order]
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axvline(0, color=GREY, linewidth=1)
    # A window usually jumps at 0, so no line may cross it.
    size = 3.5 if len(change) <= 100 else 0
    sides = (
        ("post before pre", delta_ms < 0, {"color": VERMILION, "marker": "s", "markersize": size}),
        ("same step", delta_ms == 0, {"color": DARK, "marker": "D", "markersize": 5, "linestyle": "none"}),
        ("pre before post", delta_ms > 0, {"color": BLUE, "marker": "o", "markersize": size}),
    )
    for name, chosen, look in sides:
        if chosen.any():
            axes.plot(delta_ms[chosen], change[chosen], linewidth=1.6, label=name, **look)
    axes.set_xlabel("t_post - t_pre (ms)", fontsize=12)
    axes.set_ylabel("weight change", fontsize=12)
    axes.set_title(title, fontsize=13, parse_math=False)
    if len(change):
        axes.legend(frameon=False, fontsize=10)
    open_frame(axes)
