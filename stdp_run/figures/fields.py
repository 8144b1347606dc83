"""Weights as images: one tile of input weights for each excitatory neuron, in one grid."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stdp_run.figures.canvas import DOTS_PER_INCH, counted, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEPARATOR_PIXELS = 2
GRID_PIXELS = 1170
LARGEST_TILE_PIXELS = 660
SMALLEST_LABELLED_TILE_PIXELS = 18


def receptive_fields(
    weight: np.ndarray,
    height: int,
    width: int,
    *,
    labels: np.ndarray | None = None,
    classes: Sequence[object] | None = None,
    title: str | None = None,
    limit: int = 400,
    value_range: tuple[float, float] | None = None,
) -> "Figure":
    """Draw every excitatory neuron's input weights [E, height * width] as a tile of a grid, in reading order.

    Above `limit` neurons only that many, evenly spaced, are drawn. `labels` [E], class numbers or -1 for none, are
    written into tiles that are large enough. Colours span `value_range`, or else 0 to the largest weight shown.
    """
    weight = _weights(weight, height, width)
    chosen = _evenly_spaced(len(weight), limit)
    shown = weight[chosen]
    low, high = value_range if value_range is not None else _range_from_zero(shown)
    grid = _Grid(len(chosen), height, width)
    heading = _selection(title or "Receptive fields", len(chosen), len(weight))
    names = _tile_names(labels, classes, chosen, len(weight))
    return _grid_figure(grid, shown, chosen, names, heading, "magma", (low, high), "weight")


def weight_change(
    before: np.ndarray,
    after: np.ndarray,
    height: int,
    width: int,
    *,
    labels: np.ndarray | None = None,
    classes: Sequence[object] | None = None,
    title: str | None = None,
    limit: int = 400,
    largest: float | None = None,
) -> "Figure":
    """Draw `after - before`, both weights [E, height * width], as the grid of `receptive_fields`, white for no change.

    Colours span -`largest` to `largest`, or else the largest change shown.
    """
    before, after = _weights(before, height, width), _weights(after, height, width)
    if before.shape != after.shape:
        raise ValueError(f"weights before {before.shape} and after {after.shape} differ in shape")
    chosen = _evenly_spaced(len(before), limit)
    shown = after[chosen].astype(np.float64) - before[chosen]
    bound = largest if largest is not None else max(map(abs, _range_from_zero(shown)))
    grid = _Grid(len(chosen), height, width)
    heading = _selection(title or "Weight change", len(chosen), len(before))
    names = _tile_names(labels, classes, chosen, len(before))
    return _grid_figure(grid, shown, chosen, names, heading, "RdBu_r", (-bound, bound), "weight change")


class _Grid:
    """Where the tiles of `count` images lie in one picture, in pixels from its top left corner."""

    def __init__(self, count: int, height: int, width: int) -> None:
        self.count, self.height, self.width = count, height, width
        self.columns = min(count, math.ceil(math.sqrt(count * height / width)))
        self.rows = math.ceil(count / self.columns)
        # Enlarging here, by whole numbers, keeps separators thin and weights sharp whatever the image size is.
        room = min(
            (GRID_PIXELS - SEPARATOR_PIXELS) / max(self.columns, self.rows * height / width), LARGEST_TILE_PIXELS
        )
        self.scale = max(1, int((room - SEPARATOR_PIXELS) // width))
        self.tile_height, self.tile_width = height * self.scale, width * self.scale
        self.pixel_height = self.rows * (self.tile_height + SEPARATOR_PIXELS) + SEPARATOR_PIXELS
        self.pixel_width = self.columns * (self.tile_width + SEPARATOR_PIXELS) + SEPARATOR_PIXELS
        # Only more or larger tiles than one picture holds at scale 1 are shrunk.
        self.shrink = min(1.0, GRID_PIXELS / max(self.pixel_height, self.pixel_width))

    def corner(self, position: int) -> tuple[int, int]:
        """Return the row and the column of the first pixel of the tile at `position` in reading order."""
        row, column = divmod(position, self.columns)
        return (
            SEPARATOR_PIXELS + row * (self.tile_height + SEPARATOR_PIXELS),
            SEPARATOR_PIXELS + column * (self.tile_width + SEPARATOR_PIXELS),
        )

    def compose(self, tiles: np.ndarray) -> np.ndarray:
        """Return the picture [pixel_height, pixel_width] of tiles [count, height * width], NaN between and beyond."""
        picture = np.full((self.pixel_height, self.pixel_width), np.nan, dtype=np.float32)
        enlarged = tiles.reshape(-1, self.height, self.width).repeat(self.scale, axis=1).repeat(self.scale, axis=2)
        for position, tile in enumerate(enlarged):
            top, left = self.corner(position)
            picture[top : top + self.tile_height, left : left + self.tile_width] = tile
        return picture


def _grid_figure(
    grid: _Grid,
    tiles: np.ndarray,
    neurons: np.ndarray,
    names: list[str] | None,
    heading: str,
    colour_map: str,
    value_range: tuple[float, float],
    quantity: str,
) -> "Figure":
    import matplotlib

    # Sizes are set in pixels by hand: measuring hundreds of texts to find a layout would take most of the time.
    wide, tall = grid.pixel_width * grid.shrink, grid.pixel_height * grid.shrink
    left, right, bottom = 90, 130, 20
    lines = textwrap.wrap(heading, max(20, int((wide + 60) / 10)))
    top = 22 + 24 * len(lines)
    total_wide, total_tall = left + wide + right, bottom + tall + top
    figure = new_figure(total_wide, total_tall, layout=None)
    axes = figure.add_axes((left / total_wide, bottom / total_tall, wide / total_wide, tall / total_tall))
    colours = matplotlib.colormaps[colour_map].with_extremes(bad="#B0B0B0")
    image = axes.imshow(
        grid.compose(tiles),
        cmap=colours,
        vmin=value_range[0],
        vmax=value_range[1],
        origin="upper",
        aspect="auto",
        interpolation="nearest" if grid.shrink == 1.0 else "antialiased",
    )
    axes.set_title("\n".join(lines), fontsize=14, parse_math=False, pad=8)
    _number_rows(axes, grid, neurons)
    axes.spines[:].set_visible(False)
    bar = figure.add_axes(((left + wide + 18) / total_wide, bottom / total_tall, 20 / total_wide, tall / total_tall))
    figure.colorbar(image, cax=bar).set_label(quantity, fontsize=11)
    _blank_unused(axes, grid)
    if names is not None:
        _write_tile_names(axes, grid, names)
    return figure


def _blank_unused(axes: "Axes", grid: _Grid) -> None:
    """Cover the places after the last tile, which would look like weights of some colour."""
    from matplotlib.patches import Rectangle

    unused = grid.rows * grid.columns - grid.count
    if unused:
        top, left = grid.corner(grid.count)
        wide, tall = unused * (grid.tile_width + SEPARATOR_PIXELS), grid.tile_height + SEPARATOR_PIXELS
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), wide, tall, facecolor="white", linewidth=0))


def _number_rows(axes: "Axes", grid: _Grid, neurons: np.ndarray) -> None:
    """Write the number of each row's first neuron beside it, leaving rows out where they would touch."""
    row_pixels = (grid.tile_height + SEPARATOR_PIXELS) * grid.shrink
    rows = range(0, grid.rows, max(1, math.ceil(16 / row_pixels)))
    axes.set_xticks([])
    axes.set_yticks(
        [grid.corner(row * grid.columns)[0] + (grid.tile_height - 1) / 2 for row in rows],
        [str(neurons[row * grid.columns]) for row in rows],
    )
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set_ylabel("first neuron of each row", fontsize=11)


def _write_tile_names(axes: "Axes", grid: _Grid, names: list[str]) -> None:
    """Write each tile's name into its top left corner, unless tiles are too small to read it."""
    from matplotlib.collections import PolyCollection

    named = [(position, name) for position, name in enumerate(names) if name]
    tile_wide, tile_tall = grid.tile_width * grid.shrink, grid.tile_height * grid.shrink
    if not named or min(tile_wide, tile_tall) < SMALLEST_LABELLED_TILE_PIXELS:
        return
    # Text is as wide as its size tells, so measuring each name once is enough.
    widths = _text_widths(axes, {name for _, name in named})
    pixels = min(max(0.24 * tile_tall, 10.0), 20.0, (tile_wide - 6) / max(widths.values()))
    if pixels < 8:
        return
    boxes = np.empty((len(named), 4, 2))
    for box, (position, name) in zip(boxes, named, strict=True):
        top, left = (edge - 0.5 for edge in grid.corner(position))
        wide, tall = (widths[name] * pixels + 4) / grid.shrink, (pixels + 2) / grid.shrink
        right, bottom = left + wide, top + tall
        box[:] = [(left, top), (right, top), (right, bottom), (left, bottom)]
        text = axes.text(
            left + 2 / grid.shrink,
            (top + bottom) / 2,
            name,
            fontsize=pixels * 72 / DOTS_PER_INCH,
            color="white",
            horizontalalignment="left",
            verticalalignment="center_baseline",
            parse_math=False,
        )
        text.set_in_layout(False)
    # A dark ground keeps the text legible on any weight; one artist for all grounds draws faster than one for each.
    axes.add_collection(PolyCollection(boxes, facecolors="black", alpha=0.65, linewidths=0), autolim=False)


def _text_widths(axes: "Axes", names: set[str]) -> dict[str, float]:
    """Return each name's width as a multiple of its font size."""
    from matplotlib.font_manager import FontProperties

    renderer = axes.figure.canvas.get_renderer()
    font = FontProperties(size=100 * 72 / DOTS_PER_INCH)
    return {name: renderer.get_text_width_height_descent(name, font, False)[0] / 100 for name in names}


def _weights(weight: np.ndarray, height: int, width: int) -> np.ndarray:
    weight = np.asarray(weight)
    if weight.ndim != 2 or weight.shape[1] != height * width or weight.size == 0:
        raise ValueError(f"weights of shape {weight.shape} are not one row of {height} x {width} values per neuron")
    return weight


def _evenly_spaced(count: int, limit: int) -> np.ndarray:
    """Return at most `limit` of the numbers 0 to `count` - 1, evenly spaced from 0 on."""
    kept = min(count, max(1, limit))
    return np.arange(kept) * count // kept


def _selection(title: str, shown: int, total: int) -> str:
    if shown == total:
        return f"{title}: {counted(total, 'neuron')}"
    return f"{title}: {shown} of {total} neurons, evenly spaced"


def _range_from_zero(values: np.ndarray) -> tuple[float, float]:
    """Return a range of some width that holds 0 and all values."""
    values = values[np.isfinite(values)]
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    return (low, high) if high > low else (0.0, 1.0)


def _tile_names(
    labels: np.ndarray | None, classes: Sequence[object] | None, chosen: np.ndarray, count: int
) -> list[str] | None:
    """Return the text for each chosen neuron's tile: its class, or nothing where it has no label."""
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise ValueError(f"labels of shape {labels.shape} are not one per neuron ({count})")
    return ["" if label < 0 else str(classes[label] if classes is not None else label) for label in labels[chosen]]
