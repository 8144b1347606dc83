"""What neurons and learning rules do: spikes over time, how values spread, and weight change by spike timing."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from stdp_run.figures.canvas import BLUE, DARK, GREY, VERMILION, counted, new_figure, open_frame, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def histogram(values: np.ndarray, xlabel: str, title: str, bins: int = 50) -> "Figure":
    """Draw how often values of any shape occur; `xlabel` names the quantity with its unit."""
    values = np.asarray(values, dtype=np.float64).ravel()
    values, given = values[np.isfinite(values)], values.size
    figure = new_figure(900, 540)
    axes = figure.subplots()
    axes.set_xlabel(xlabel, fontsize=12, parse_math=False)
    axes.set_ylabel("number of values", fontsize=12)
    open_frame(axes)
    if values.size == 0:
        axes.set_title(f"{title}\nno values", fontsize=13, parse_math=False)
        return figure
    low, high = float(values.min()), float(values.max())
    counts, edges = np.histogram(values, bins=bins, range=_spread(low, high))
    axes.stairs(counts, edges, fill=True, color=BLUE)
    axes.axvline(values.mean(), color=VERMILION, linewidth=1.5, linestyle="--", label=f"mean {values.mean():.4g}")
    axes.set_ylim(0, counts.max() * 1.08)
    axes.set_xlim(edges[0], edges[-1])
    whole_numbers(axes)
    axes.legend(frameon=False, loc="best", fontsize=11)
    summary = f"{counted(values.size, 'value')} from {low:.4g} to {high:.4g}"
    if values.size < given:
        summary += f", {given - values.size} more not finite"
    axes.set_title(f"{title}\n{summary}", fontsize=13, parse_math=False)
    return figure


def _spread(low: float, high: float) -> tuple[float, float]:
    """Return the range from `low` to `high`, widened where it is too narrow to be cut into bins."""
    scale = max(abs(low), abs(high)) or 1.0
    return (low, high) if high - low > 1e-6 * scale else (low - 0.5 * scale, high + 0.5 * scale)


def raster(
    input_steps: np.ndarray,
    input_index: np.ndarray,
    exc_steps: np.ndarray,
    exc_index: np.ndarray,
    inh_steps: np.ndarray,
    inh_index: np.ndarray,
    n_steps: int,
    n_inputs: int,
    n_exc: int,
    dt_ms: float = 1.0,
    title: str = "Spikes",
) -> "Figure":
    """Draw every spike as a mark at its time (ms) and its neuron's number, one panel each for input, excitatory and
    inhibitory neurons.

    A spike is given by its step (0 to `n_steps` - 1, each `dt_ms` long) and its neuron's index; there are as many
    inhibitory neurons as excitatory ones.
    """
    figure = new_figure(1200, 900)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    figure.suptitle(title, fontsize=14, parse_math=False)
    layers = (
        ("input", input_steps, input_index, n_inputs, DARK),
        ("excitatory", exc_steps, exc_index, n_exc, BLUE),
        ("inhibitory", inh_steps, inh_index, n_exc, VERMILION),
    )
    for axes, (name, steps, index, neurons, colour) in zip(panels, layers, strict=True):
        _raster_panel(axes, name, np.asarray(steps) * dt_ms, np.asarray(index), neurons, colour)
    panels[-1].set_xlim(0, max(1, n_steps) * dt_ms)
    panels[-1].set_xlabel("time (ms)", fontsize=12)
    return figure


def _raster_panel(axes: "Axes", name: str, times_ms: np.ndarray, index: np.ndarray, neurons: int, colour: str) -> None:
    # Thousands of input spikes need small dots to stay apart; the few spikes of a layer need marks that are seen.
    if name == "input" or len(index) > 2000:
        marks = {"marker": ".", "markersize": 6.0 if len(index) <= 2000 else 3.5, "markeredgewidth": 0}
    else:
        marks = {"marker": "|", "markersize": 8, "markeredgewidth": 1.6}
    # Without clipping, marks at the very start and end are drawn whole; the layout fails on an unclipped empty line.
    axes.plot(times_ms, index, linestyle="none", color=colour, clip_on=False, in_layout=False, **marks)
    margin = max(0.5, 0.03 * neurons)
    axes.set_ylim(-margin, neurons - 1 + margin)
    whole_numbers(axes)
    axes.set_ylabel(f"{name} neuron", fontsize=12)
    heading = f"{name}: {counted(neurons, 'neuron')}, {counted(len(index), 'spike')}"
    axes.set_title(heading, fontsize=11, loc="left")
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
