"""Weights and thresholds: a grid of images, one tile for each neuron, and histograms."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stdp_run.errors import printable
from stdp_run.reporting.plots import style
from stdp_run.reporting.plots.style import Figure

MOST_TILES = 400
SEPARATOR = "#B0B0B0"
GRID_PIXELS, TILE_PIXELS = 1170, 660  # at most
LEFT, RIGHT, BOTTOM, TOP = 90, 130, 20, 70  # margins in pixels


def receptive_fields(
    weight: np.ndarray, labels: np.ndarray | None, classes: Sequence[str], title: str, quantity: str
) -> Figure:
    """Draw the input weights of each neuron, [E, height, width], as a tile of a grid, in reading order.

    Above 400 neurons only that many, evenly spaced, are drawn. `quantity` names the weights with their unit. `labels`
    [E] are the class numbers that are written into the tiles; -1: none.
    """
    n_exc, height, width = weight.shape
    kept = min(n_exc, MOST_TILES)
    chosen = np.arange(kept) * n_exc // kept
    columns = min(kept, math.ceil(math.sqrt(kept * height / width)))
    rows = math.ceil(kept / columns)
    # A whole number of pixels for each weight keeps them sharp.
    scale = min(GRID_PIXELS / max(rows * height, columns * width), TILE_PIXELS / max(height, width))
    scale = float(int(scale)) if scale >= 1 else scale
    tall, wide = round(rows * height * scale), round(columns * width * scale)
    size = LEFT + wide + RIGHT, BOTTOM + tall + TOP
    figure = style.new_figure(*size, constrained=False)
    boxes = np.array([(LEFT, BOTTOM, wide, tall), (LEFT + wide + 18, BOTTOM, 20, tall)]) / (size * 2)
    axes, bar_axes = map(figure.add_axes, boxes)
    grid = np.full((rows * columns, height, width), np.nan)
    grid[:kept] = weight[chosen]
    pixels = grid.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, columns * width)
    # Tiles without a neuron stay white.
    look: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest" if scale >= 1 else "auto"}
    extent = (0, columns * width, rows * height, 0)
    largest = np.nanmax(np.abs(pixels), initial=0) or 1
    signed = np.nanmin(pixels, initial=0) < 0
    look |= {"cmap": "RdBu_r", "vmin": -largest} if signed else {"cmap": "magma", "vmin": 0}
    image = axes.imshow(pixels, vmax=largest, extent=extent, **look)
    axes.set_xticks(np.arange(columns + 1) * width, minor=True)
    axes.set_yticks(np.arange(rows + 1) * height, minor=True)
    axes.grid(which="minor", color=SEPARATOR, linewidth=1)
    first = np.arange(0, rows, math.ceil(16 / (height * scale)))  # their numbers must not touch
    axes.set_xticks([])
    axes.set_yticks((first + 0.5) * height, [str(chosen[row * columns]) for row in first], fontsize=9)
    axes.tick_params(which="both", length=0)
    drawn = style.counted(n_exc, "neuron") if kept == n_exc else f"{kept} of {n_exc:,} neurons, evenly spaced"
    style.describe(axes, f"{title}\n{drawn}", "", "first neuron of each row")
    axes.spines[:].set_visible(False)
    figure.colorbar(image, cax=bar_axes).set_label(quantity, fontsize=12, parse_math=False)
    names = {} if labels is None else {k: printable(classes[labels[n]]) for k, n in enumerate(chosen) if labels[n] >= 0}
    longest = max(map(len, names.values()), default=1)
    points = min(14.0, 0.22 * height * scale, 1.1 * width * scale / longest)  # letters are 0.65 of their size wide
    if points >= 6:  # else it cannot be read
        ground = {"facecolor": "black", "alpha": 0.65, "linewidth": 0, "pad": 1}
        for k, name in names.items():
            x, y = k % columns * width + 2 / scale, k // columns * height + 2 / scale
            axes.text(x, y, name, bbox=ground, color="white", fontsize=points, va="top", parse_math=False)
    return figure


def histogram(values: np.ndarray, quantity: str, title: str, counted_as: str, log_counts: bool = False) -> Figure:
    """Draw how often finite values occur, in 50 bins; `log_counts` shows rare ones too.

    `quantity` names the values with their unit, `counted_as` the things that have them, such as "neurons".
    """
    values = np.ravel(values)[np.isfinite(np.ravel(values))].astype(np.float64)
    low, high, mean = (values.min(), values.max(), values.mean()) if values.size else (0.0, 0.0, 0.0)
    margin = 0.0 if high - low > 1e-6 * abs(high) else 0.5 * abs(high) or 0.5
    figure = style.new_figure(900, 540)
    axes = figure.subplots()
    axes.hist(values, 50, range=(low - margin, high + margin), histtype="stepfilled", log=log_counts, color=style.BLUE)
    axes.axvline(mean, color=style.VERMILION, linewidth=1.5, linestyle="--", label=f"mean {mean:.4g}")
    if log_counts:
        axes.set_ylim(bottom=0.5)
        axes.yaxis.set_major_formatter("{x:,.0f}")
    else:
        style.whole_numbers(axes)
    axes.legend(frameon=False)
    summary = f"{values.size:,} {counted_as}, smallest {low:.4g}, largest {high:.4g}"
    style.describe(axes, f"{title}\n{summary}", quantity, f"number of {counted_as}")
    return figure
