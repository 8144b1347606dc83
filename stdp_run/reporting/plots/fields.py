"""Weights as images: one tile of input weights for each excitatory neuron, in one grid."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stdp_run.reporting.plots.canvas import counted, new_figure, paint, put_labels, put_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEPARATOR_PIXELS = 2
SEPARATOR_GREY = 0xB0
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
    quantity: str = "weight",
) -> "Figure":
    """Draw every excitatory neuron's input weights [E, height * width] as a tile of a grid, in reading order.

    Above `limit` neurons only that many, evenly spaced, are drawn. `labels` [E], class numbers or -1 for none, are
    written into tiles that are large enough. Colours span `value_range`, or else 0 to the largest weight shown;
    `quantity` says what they are, with the unit.
    """
    weight = _weights(weight, height, width)
    chosen = _evenly_spaced(len(weight), limit)
    shown = weight[chosen]
    low, high = value_range if value_range is not None else _range_from_zero(shown)
    grid = _Grid(len(chosen), height, width)
    heading = _selection(title or "Receptive fields", len(chosen), len(weight))
    names = _tile_names(labels, classes, chosen, len(weight))
    return _grid_figure(grid, shown, chosen, names, heading, "magma", (low, high), quantity)


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
    quantity: str = "weight change",
) -> "Figure":
    """Draw `after - before`, both weights [E, height * width], as the grid of `receptive_fields`, white for no change.

    Colours span -`largest` to `largest`, or else the largest change shown; `quantity` says what they are.
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
    return _grid_figure(grid, shown, chosen, names, heading, "RdBu_r", (-bound, bound), quantity)


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
        pixel_height = self.rows * (self.tile_height + SEPARATOR_PIXELS) + SEPARATOR_PIXELS
        pixel_width = self.columns * (self.tile_width + SEPARATOR_PIXELS) + SEPARATOR_PIXELS
        # Only more or larger tiles than one picture holds at scale 1 are shrunk.
        self.shrink = min(1.0, GRID_PIXELS / max(pixel_height, pixel_width))
        self._composed = (pixel_height, pixel_width)
        self.picture_height, self.picture_width = (max(1, round(edge * self.shrink)) for edge in self._composed)

    def corner(self, position: int) -> tuple[int, int]:
        """Return the row and the column of the first pixel of the tile at `position` in reading order."""
        return tuple(round(edge * self.shrink) for edge in self._composed_corner(position))

    def _composed_corner(self, position: int) -> tuple[int, int]:
        row, column = divmod(position, self.columns)
        return (
            SEPARATOR_PIXELS + row * (self.tile_height + SEPARATOR_PIXELS),
            SEPARATOR_PIXELS + column * (self.tile_width + SEPARATOR_PIXELS),
        )

    def compose(self, tiles: np.ndarray) -> np.ndarray:
        """Return the picture uint8 [picture_height, picture_width, 3] of coloured tiles [count, height * width, 3]."""
        picture = np.full((*self._composed, 3), SEPARATOR_GREY, np.uint8)
        tiles = tiles.reshape(-1, self.height, self.width, 3)
        for position in range(self.count):
            top, left = self._composed_corner(position)
            tile = tiles[position].repeat(self.scale, axis=0).repeat(self.scale, axis=1)
            picture[top : top + self.tile_height, left : left + self.tile_width] = tile
        if self.count < self.rows * self.columns:
            # The places after the last tile: any colour of the map would look like weights.
            top, left = self._composed_corner(self.count)
            picture[top:, left:] = 255
        if self.shrink == 1.0:
            return picture
        from PIL import Image

        size = (self.picture_width, self.picture_height)
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


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
    # Tiles and their names are painted here, pixel by pixel, and matplotlib draws what is around them: hundreds of
    # its texts, and its scaling of an image this large, would take most of a picture's time.
    picture = grid.compose(_coloured(tiles, colour_map, value_range))
    if names is not None:
        _write_tile_names(picture, grid, names)
    tall, wide = picture.shape[:2]
    left, right, bottom = 90, 130, 20
    lines = textwrap.wrap(heading, max(20, int((wide + 60) / 10)))
    top = 22 + 24 * len(lines)
    total_wide, total_tall = left + wide + right, bottom + tall + top
    figure = new_figure(total_wide, total_tall, layout=None)
    paint(figure, picture, left, bottom)
    axes = figure.add_axes((left / total_wide, bottom / total_tall, wide / total_wide, tall / total_tall))
    axes.set(xlim=(0, wide), ylim=(tall, 0), facecolor="none")
    put_title(axes, "\n".join(lines), size=14, pad=8)
    _number_rows(axes, grid, neurons)
    axes.spines[:].set_visible(False)
    bar = figure.add_axes(((left + wide + 18) / total_wide, bottom / total_tall, 20 / total_wide, tall / total_tall))
    _draw_colour_bar(bar, colour_map, value_range, quantity)
    return figure


def _coloured(tiles: np.ndarray, colour_map: str, value_range: tuple[float, float]) -> np.ndarray:
    """Return the colours, uint8 [..., 3], of weights [...]; grey for what is not a number."""
    import matplotlib

    table = matplotlib.colormaps[colour_map](np.arange(256), bytes=True)[:, :3]
    low, high = value_range
    bad = ~np.isfinite(tiles)
    share = np.where(bad, 0, (tiles - low) / (high - low))
    colours = table[np.clip(256 * share, 0, 255).astype(np.uint8)]
    colours[bad] = SEPARATOR_GREY
    return colours


def _draw_colour_bar(axes: "Axes", colour_map: str, value_range: tuple[float, float], quantity: str) -> None:
    low, high = value_range
    shades = np.linspace(low, high, 256)[:, None]
    axes.imshow(shades, cmap=colour_map, origin="lower", aspect="auto", extent=(0, 1, low, high))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    put_labels(axes, "", quantity, left=-90)


def _number_rows(axes: "Axes", grid: _Grid, neurons: np.ndarray) -> None:
    """Write the number of each row's first neuron beside it, leaving rows out where they would touch."""
    row_pixels = (grid.tile_height + SEPARATOR_PIXELS) * grid.shrink
    rows = range(0, grid.rows, max(1, math.ceil(16 / row_pixels)))
    axes.set(xticks=[], yticks=[])
    for row in rows:  # as texts, which draw faster than ticks
        first = row * grid.columns
        middle = grid.corner(first)[0] + grid.tile_height * grid.shrink / 2
        look = {"horizontalalignment": "right", "verticalalignment": "center_baseline", "fontsize": 9}
        axes.text(-7, middle, str(neurons[first]), **look)
    put_labels(axes, "", "first neuron of each row", left=58)


def _write_tile_names(picture: np.ndarray, grid: _Grid, names: list[str]) -> None:
    """Write each tile's name into its top left corner, unless tiles are too small to read it."""
    tile_wide, tile_tall = grid.tile_width * grid.shrink, grid.tile_height * grid.shrink
    different = {name for name in names if name}
    if not different or min(tile_wide, tile_tall) < SMALLEST_LABELLED_TILE_PIXELS:
        return
    # Text is as wide as its size tells, so one size shows which is the largest that fits.
    widest = max(_written(name, 100).shape[1] for name in different) / 100
    pixels = int(min(max(0.24 * tile_tall, 10.0), 20.0, (tile_wide - 4) / widest))
    if pixels < 8:
        return
    written = {name: _written(name, pixels) for name in different}
    for position, name in enumerate(names):
        if name:
            top, left = grid.corner(position)
            text = written[name][: round(tile_tall), : round(tile_wide)]
            ground = picture[top : top + text.shape[0], left : left + text.shape[1]]
            # A dark ground keeps the text legible on any weight.
            ground[:] = np.maximum(ground * 0.35, text[:, :, None])


def _written(name: str, pixels: int) -> np.ndarray:
    """Return the name in letters of that size, with a margin, as brightness [height, width], uint8."""
    from matplotlib.font_manager import findfont
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(findfont("DejaVu Sans"), pixels, layout_engine=ImageFont.Layout.BASIC)
    _, highest, right, lowest = font.getbbox("0" + name, anchor="ls")
    right = font.getbbox(name, anchor="ls")[2]
    image = Image.new("L", (right + 3, lowest - highest + 4))
    ImageDraw.Draw(image).text((2, 2 - highest), name, fill=255, font=font, anchor="ls")
    return np.asarray(image)


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
    return f"{title}: {shown:,} of {total:,} neurons, evenly spaced"


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
