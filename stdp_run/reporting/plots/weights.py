"""Weights as images: one tile of input weights for each excitatory neuron, in one grid."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stdp_run.reporting.plots.style import DOTS_PER_INCH, counted, new_figure

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

MOST_TILES = 400
SEPARATOR_PIXELS = 2
SEPARATOR = (0xB0, 0xB0, 0xB0, 0xFF)
GRID_PIXELS = 1170
LARGEST_TILE_PIXELS = 660
SMALLEST_LABELLED_TILE_PIXELS = 18
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
) -> "Figure":
    """Draw every excitatory neuron's input weights [E, height * width] as a tile of a grid, in reading order.

    Above 400 neurons only that many, evenly spaced, are drawn. Colours span 0 to the largest weight drawn; `quantity`
    says what they are, with the unit.

    Raises:
        ValueError: weights or labels do not fit the tiles.
    """
    _check(weight, tiles)
    chosen = _evenly_spaced(len(weight))
    values = np.asarray(weight)[chosen]
    shades = _shades("magma", *_range_with_zero(values))
    return _grid_figure(values, chosen, tiles, _heading(title, len(chosen), len(weight)), shades, quantity)


def weight_change(
    before: np.ndarray,
    after: np.ndarray,
    tiles: Tiles,
    *,
    title: str = "Weight change",
    quantity: str = "weight change",
) -> "Figure":
    """Draw `after - before`, both weights [E, height * width], as the grid of `receptive_fields`, white for no change.

    Raises:
        ValueError: weights or labels do not fit the tiles, or the weights each other.
    """
    _check(after, tiles)
    if np.shape(before) != np.shape(after):
        raise ValueError(f"weights before {np.shape(before)} and after {np.shape(after)} differ in shape")
    chosen = _evenly_spaced(len(after))
    values = np.asarray(after)[chosen].astype(np.float64) - np.asarray(before)[chosen]
    largest = max(map(abs, _range_with_zero(values)))
    shades = _shades("RdBu_r", -largest, largest)
    return _grid_figure(values, chosen, tiles, _heading(title, len(chosen), len(after)), shades, quantity)


def _check(weight: np.ndarray, tiles: Tiles) -> None:
    shape = np.shape(weight)
    if len(shape) != 2 or shape[1] != tiles.height * tiles.width or 0 in shape:
        raise ValueError(f"weights of shape {shape} are not one row of {tiles.height} x {tiles.width} for each neuron")
    if tiles.labels is not None and np.shape(tiles.labels) != shape[:1]:
        raise ValueError(f"labels of shape {np.shape(tiles.labels)} are not one per neuron ({shape[0]})")


def _evenly_spaced(count: int) -> np.ndarray:
    """Return at most 400 of the numbers 0 to `count` - 1, evenly spaced from 0 on."""
    kept = min(count, MOST_TILES)
    return np.arange(kept) * count // kept


def _range_with_zero(values: np.ndarray) -> tuple[float, float]:
    """Return a range of some width that holds 0 and all values."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    return (low, high) if high > low else (0.0, 1.0)


def _heading(title: str, drawn: int, total: int) -> str:
    return f"{title}: {counted(total, 'neuron') if drawn == total else f'{drawn} of {total:,} neurons, evenly spaced'}"


def _shades(colour_map: str, low: float, high: float) -> "ScalarMappable":
    """Return what turns the values from `low` to `high` into colours; grey is what is not a number."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(low, high), colormaps[colour_map].with_extremes(bad="grey"))


class _Grid:
    """Where the tiles of `count` images lie in one image, in its pixels from the top left corner."""

    def __init__(self, count: int, height: int, width: int) -> None:
        self.columns = min(count, math.ceil(math.sqrt(count * height / width)))
        self.rows = math.ceil(count / self.columns)
        # Enlarged here, by a whole number, separators stay thin and weights sharp whatever the size of an image is.
        room = (GRID_PIXELS - SEPARATOR_PIXELS) / max(self.columns, self.rows * height / width)
        self.scale = max(1, int((min(room, LARGEST_TILE_PIXELS) - SEPARATOR_PIXELS) // width))
        self.tile_height, self.tile_width = height * self.scale, width * self.scale
        self.row_pitch, self.column_pitch = self.tile_height + SEPARATOR_PIXELS, self.tile_width + SEPARATOR_PIXELS
        self.height = self.rows * self.row_pitch + SEPARATOR_PIXELS
        self.width = self.columns * self.column_pitch + SEPARATOR_PIXELS
        # Only tiles that do not fit at scale 1 are shrunk.
        self.shrink = min(1.0, GRID_PIXELS / max(self.height, self.width))

    def corner(self, position: int) -> tuple[int, int]:
        """Return the row and the column of the first pixel of the tile at `position` in reading order."""
        row, column = divmod(position, self.columns)
        return SEPARATOR_PIXELS + row * self.row_pitch, SEPARATOR_PIXELS + column * self.column_pitch

    def compose(self, tiles: np.ndarray) -> np.ndarray:
        """Return the image [height, width, 4] of coloured tiles, uint8 [count, tile height, tile width, 4]."""
        places = np.full((self.rows * self.columns, self.row_pitch, self.column_pitch, 4), SEPARATOR, np.uint8)
        enlarged = tiles.repeat(self.scale, axis=1).repeat(self.scale, axis=2)
        places[: len(tiles), : self.tile_height, : self.tile_width] = enlarged
        rows = places.reshape(self.rows, self.columns, self.row_pitch, self.column_pitch, 4).swapaxes(1, 2)
        image = np.full((self.height, self.width, 4), SEPARATOR, np.uint8)
        image[SEPARATOR_PIXELS:, SEPARATOR_PIXELS:] = rows.reshape(self.height - 2, self.width - 2, 4)
        if len(tiles) < self.rows * self.columns:
            # The places after the last tile: any colour of the map would look like weights.
            top, left = self.corner(len(tiles))
            image[top:, left:] = 255
        return image


def _grid_figure(
    values: np.ndarray, chosen: np.ndarray, tiles: Tiles, heading: str, shades: "ScalarMappable", quantity: str
) -> "Figure":
    """Draw values [count, height * width] of the `chosen` neurons [count] in the colours of `shades`."""
    grid = _Grid(len(values), tiles.height, tiles.width)
    image = grid.compose(shades.to_rgba(values, bytes=True).reshape(-1, tiles.height, tiles.width, 4))
    tall, wide = round(grid.height * grid.shrink), round(grid.width * grid.shrink)
    lines = textwrap.wrap(heading, max(20, int((wide + 60) / 10)))
    total_wide, total_tall = LEFT + wide + RIGHT, BOTTOM + tall + TOP + LINE * len(lines)
    figure = new_figure(total_wide, total_tall, layout=None)
    # A pixel of the image is one of the figure, so that none is resampled.
    box = (LEFT / total_wide, BOTTOM / total_tall, wide / total_wide, tall / total_tall)
    axes = figure.add_axes(box, xticks=[])
    labels = _write_labels(image, grid, tiles, chosen)
    axes.imshow(image, aspect="auto", interpolation="nearest" if grid.shrink == 1 else "auto")
    for row, column, label, size in labels:
        # Labels lie in their tiles.
        axes.text(column, row, label, color="white", fontsize=size, verticalalignment="top", parse_math=False)
    axes.set_title("\n".join(lines), fontsize=14, pad=8, parse_math=False)
    axes.spines[:].set_visible(False)
    rows = np.arange(0, grid.rows, math.ceil(16 / (grid.row_pitch * grid.shrink)))  # their numbers must not touch
    middles = rows * grid.row_pitch + SEPARATOR_PIXELS + grid.tile_height / 2
    axes.set_yticks(middles, [str(chosen[row * grid.columns]) for row in rows], fontsize=9)
    axes.tick_params(length=0)
    axes.set_ylabel("first neuron of each row", fontsize=12)
    bar = figure.add_axes(((LEFT + wide + 18) / total_wide, box[1], 20 / total_wide, box[3]))
    figure.colorbar(shades, cax=bar).set_label(quantity, fontsize=12, parse_math=False)
    return figure


def _write_labels(
    image: np.ndarray, grid: _Grid, tiles: Tiles, chosen: np.ndarray
) -> list[tuple[float, float, str, float]]:
    """Return row, column, text and font size of each label, and darken the ground below it, so that it can be read.

    There are none where tiles are too small to read them.
    """
    if tiles.labels is None:
        return []
    names = [str(label if tiles.classes is None else tiles.classes[label]) for label in tiles.labels[chosen]]
    named = [(position, name) for position, name in enumerate(names) if tiles.labels[chosen[position]] >= 0]
    widths = {name: _width(name) for _, name in named}
    pixels = min(max(0.24 * grid.tile_height, 10.0), 20.0, (grid.tile_width - 4) / max(widths.values(), default=1.0))
    if min(grid.tile_height, grid.tile_width) * grid.shrink < SMALLEST_LABELLED_TILE_PIXELS or pixels < 8:
        return []
    found = []
    for position, name in named:
        row, column = grid.corner(position)
        ground = image[row : row + round(1.15 * pixels), column : column + round(widths[name] * pixels) + 4]
        ground[..., :3] = ground[..., :3] * 0.35
        found.append((row + 0.5, column + 1.5, name, pixels * 72 / DOTS_PER_INCH))
    return found


def _width(text: str) -> float:
    """Return the width of a text as a multiple of its font's size."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(text, FontProperties(size=100), ismath=False)[0] / 100
