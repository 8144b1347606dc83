"""Weights as images: one tile of input weights for each excitatory neuron, in one grid."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stdp_run.errors import printable
from stdp_run.reporting.plots.style import DOTS_PER_INCH, Axes, Figure, ScalarMappable, new_figure

MOST_TILES = 400
SEPARATOR = "#B0B0B0"
GRID_PIXELS = 1170
LARGEST_TILE_PIXELS = 660
SMALLEST_LABELLED_TILE_PIXELS = 18
SMALLEST_LABEL_PIXELS = 8
LEFT, RIGHT, BOTTOM, TOP, LINE = 90, 130, 20, 22, 24  # margins in pixels, and a line of the title


@dataclass(frozen=True)
class Tiles:
    """How a neuron's weights become a tile, and what is written into it."""

    height: int  # of an image, in pixels
    width: int
    labels: np.ndarray | None = None  # [E] the class that each neuron stands for, or -1; None: no labels are written
    classes: Sequence[object] | None = None  # the names of the classes; None: their numbers


def receptive_fields(
    weight: np.ndarray, tiles: Tiles, *, title: str = "Receptive fields", quantity: str = "weight"
) -> Figure:
    """Draw every excitatory neuron's input weights [E, height * width] as a tile of a grid, in reading order.

    Above 400 neurons only that many, evenly spaced, are drawn. Colours span 0 to the largest weight drawn; `quantity`
    says what they are, with the unit.

    Raises:
        ValueError: weights or labels do not fit the tiles.
    """
    chosen = _chosen(weight, tiles)
    shades = _shades("magma", *_range_with_zero(np.asarray(weight)[chosen]))
    return _grid_figure(np.asarray(weight), chosen, tiles, shades, title, quantity)


def weight_change(
    before: np.ndarray,
    after: np.ndarray,
    tiles: Tiles,
    *,
    title: str = "Weight change",
    quantity: str = "weight change",
) -> Figure:
    """Draw `after - before`, both weights [E, height * width], as the grid of `receptive_fields`, white for no change.

    Raises:
        ValueError: weights or labels do not fit the tiles, or the weights each other.
    """
    if np.shape(before) != np.shape(after):
        raise ValueError(f"weights before {np.shape(before)} and after {np.shape(after)} differ in shape")
    chosen = _chosen(after, tiles)
    change = np.asarray(after, dtype=np.float64) - before
    largest = max(map(abs, _range_with_zero(change[chosen])))
    return _grid_figure(change, chosen, tiles, _shades("RdBu_r", -largest, largest), title, quantity)


def _chosen(weight: np.ndarray, tiles: Tiles) -> np.ndarray:
    """Return which neurons are drawn: at most 400, evenly spaced from the first on."""
    shape = np.shape(weight)
    if len(shape) != 2 or shape[1] != tiles.height * tiles.width or 0 in shape:
        raise ValueError(f"weights of shape {shape} are not one row of {tiles.height} x {tiles.width} for each neuron")
    if tiles.labels is not None and np.shape(tiles.labels) != shape[:1]:
        raise ValueError(f"labels of shape {np.shape(tiles.labels)} are not one per neuron ({shape[0]})")
    kept = min(shape[0], MOST_TILES)
    return np.arange(kept) * shape[0] // kept


def _range_with_zero(values: np.ndarray) -> tuple[float, float]:
    """Return a range of some width that holds 0 and all values."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    return (low, high) if high > low else (0.0, 1.0)


def _shades(colour_map: str, low: float, high: float) -> ScalarMappable:
    """Return what turns the values from `low` to `high` into colours, and what is not a number into white."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(low, high), colormaps[colour_map].with_extremes(bad="white"))


def _grid_figure(
    weight: np.ndarray, chosen: np.ndarray, tiles: Tiles, shades: ScalarMappable, title: str, quantity: str
) -> Figure:
    """Draw the rows `chosen` of weights [E, height * width]."""
    number = f"{len(chosen)} of {len(weight):,}" if len(chosen) < len(weight) else f"{len(weight):,}"
    title += f": {number} neuron{'s' * (len(weight) != 1)}{', evenly spaced' * (len(chosen) < len(weight))}"
    height, width = tiles.height, tiles.width
    columns = min(len(chosen), math.ceil(math.sqrt(len(chosen) * height / width)))
    rows = math.ceil(len(chosen) / columns)
    # A whole number of pixels for each weight keeps them sharp; only tiles that do not fit get less than one.
    scale = min(GRID_PIXELS / max(rows * height, columns * width), LARGEST_TILE_PIXELS / max(height, width))
    scale = float(int(scale)) if scale >= 1 else scale
    tall, wide = round(rows * height * scale), round(columns * width * scale)

    lines = textwrap.wrap(title, max(20, int((wide + 60) / 10)))
    total_wide, total_tall = LEFT + wide + RIGHT, BOTTOM + tall + TOP + LINE * len(lines)
    figure = new_figure(total_wide, total_tall, constrained=False)
    box = (LEFT / total_wide, BOTTOM / total_tall, wide / total_wide, tall / total_tall)
    axes = figure.add_axes(box)
    places = np.full((rows * columns, height * width), np.nan)
    places[: len(chosen)] = weight[chosen]
    grid = places.reshape(rows, columns, height, width).swapaxes(1, 2)
    image = grid.reshape(rows * height, columns * width)
    colours = shades.to_rgba(image, bytes=True)
    edges = (0, columns * width, rows * height, 0)
    axes.imshow(colours, aspect="auto", extent=edges, interpolation="nearest" if scale >= 1 else "auto")
    axes.set_xticks(np.arange(columns + 1) * width, minor=True)
    axes.set_yticks(np.arange(rows + 1) * height, minor=True)
    axes.grid(which="minor", color=SEPARATOR, linewidth=1)
    first = np.arange(0, rows, math.ceil(16 / (height * scale)))  # their numbers must not touch
    axes.set_xticks([])
    axes.set_yticks((first + 0.5) * height, [str(chosen[row * columns]) for row in first], fontsize=9)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("\n".join(lines), fontsize=14, pad=8, parse_math=False)
    axes.set_ylabel("first neuron of each row", fontsize=12)
    if tiles.labels is not None:
        _write_labels(axes, tiles, chosen, columns, scale)
    bar = figure.add_axes(((LEFT + wide + 18) / total_wide, box[1], 20 / total_wide, box[3]))
    figure.colorbar(shades, cax=bar).set_label(quantity, fontsize=12, parse_math=False)
    return figure


def _write_labels(axes: Axes, tiles: Tiles, chosen: np.ndarray, columns: int, scale: float) -> None:
    """Write into the corner of each tile which class it stands for, on a dark ground; not where tiles are too small."""
    from matplotlib.collections import PolyCollection

    labels = np.asarray(tiles.labels)[chosen]
    places = np.flatnonzero(labels >= 0)
    names = [printable(label if tiles.classes is None else tiles.classes[label]) for label in labels[places]]
    widths = {name: _width(name) for name in names}
    size = min(max(0.24 * tiles.height * scale, 10), 20, (tiles.width * scale - 4) / max(widths.values(), default=1))
    if min(tiles.height, tiles.width) * scale < SMALLEST_LABELLED_TILE_PIXELS or size < SMALLEST_LABEL_PIXELS:
        return
    corners = np.stack([places % columns * tiles.width, places // columns * tiles.height], axis=1)
    grounds = np.array([[widths[name] * size + 4, 1.15 * size] for name in names]).reshape(-1, 1, 2) / scale
    rectangles = corners[:, None] + grounds * [[0, 0], [1, 0], [1, 1], [0, 1]]
    axes.add_collection(PolyCollection(list(rectangles), facecolor="black", alpha=0.65, linewidth=0), autolim=False)
    look: dict[str, Any] = {"color": "white", "fontsize": size * 72 / DOTS_PER_INCH, "verticalalignment": "top"}
    for (column, row), name in zip(corners, names, strict=True):
        axes.text(column + 2 / scale, row + 1 / scale, name, parse_math=False, **look)


def _width(text: str) -> float:
    """Return the width of a text as a multiple of its font's size."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(text, FontProperties(size=100), ismath=False)[0] / 100
