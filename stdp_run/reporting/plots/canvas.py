"""What every figure shares: a new one of a given size, its colours and small parts, and its way to a file or array."""

import functools
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stdp_run.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 100

# Blue, vermilion and grey stay apart under every common form of colour blindness.
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREY = "#8A8A8A"
DARK = "#333333"

LONGEST_CLASS_NAME = 16


def to_png(figure: "Figure") -> bytes:
    """Return the figure as the bytes of a PNG file, rendered once."""
    image = to_image(figure)
    height, width, _ = image.shape
    # Every row starts with the number of its filter, 0 for none. Large areas of few colours pack best, and three times
    # as fast as with Pillow, when nothing is filtered.
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = image.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits each of red, green and blue
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in parts)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def save_png(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write the figure to `path` as a PNG file, whole or not at all."""
    write_atomically(Path(path), to_png(figure))


def to_image(figure: "Figure") -> np.ndarray:
    """Return the drawn figure as a uint8 array [height in pixels, width in pixels, 3] of red, green and blue."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:, :, :3].copy()


def size_in_pixels(figure: "Figure") -> tuple[int, int]:
    """Return the height and the width of the picture that the figure becomes."""
    width, height = figure.canvas.get_width_height()
    return height, width


def release(figure: "Figure") -> None:
    """Give back the memory of a figure that is not needed any more.

    Figure and canvas refer to each other, and Python may leave many such pairs, of some MB each, lying about for long.
    """
    figure.clear()
    figure.canvas.renderer = None


def new_figure(pixels_wide: float, pixels_tall: float, layout: str | None = "constrained") -> "Figure":
    """Return an empty white figure of that size in pixels, with a canvas of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[str, Any] = {"dpi": DOTS_PER_INCH, "facecolor": "white", "layout": layout}
    figure = Figure(figsize=(round(pixels_wide) / DOTS_PER_INCH, round(pixels_tall) / DOTS_PER_INCH), **settings)
    FigureCanvasAgg(figure)
    if layout is not None:
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    return figure


# Letting matplotlib find margins, and places for titles and labels, takes more time than drawing: for the figures that
# are drawn often, the three functions below fix them.


def new_axes(figure: "Figure", left: float, right: float, bottom: float, top: float) -> "Axes":
    """Return axes that fill a figure but for these margins in pixels."""
    wide, tall = figure.get_size_inches() * DOTS_PER_INCH
    return figure.add_axes((left / wide, bottom / tall, 1 - (left + right) / wide, 1 - (bottom + top) / tall))


def put_title(axes: "Axes", title: str, size: float = 13, **look) -> None:
    """Write the title just above the axes."""
    axes.set_title(title, fontsize=size, parse_math=False, y=1.0, **look)


def put_labels(axes: "Axes", xlabel: str, ylabel: str, below: float = 42, left: float = 70) -> None:
    """Write the labels of the axes, their middles this many pixels `below` and to the `left` of them."""
    box = axes.get_window_extent()
    axes.set_xlabel(xlabel, fontsize=12, parse_math=False, verticalalignment="center")
    axes.xaxis.set_label_coords(0.5, -below / box.height)
    axes.set_ylabel(ylabel, fontsize=12, parse_math=False, verticalalignment="center")
    axes.yaxis.set_label_coords(-left / box.width, 0.5)


def paint(figure: "Figure", pixels: np.ndarray, left: int, bottom: int) -> None:
    """Put pixels, uint8 [height, width, 3], into a figure under all else, as they are.

    Matplotlib's own ways resample a picture, which takes longer than drawing the rest of a figure.
    """
    figure.add_artist(_pixels_artist()(pixels, left, bottom)).set_in_layout(False)


@functools.cache
def _pixels_artist() -> type:
    from matplotlib.artist import Artist

    class Pixels(Artist):
        def __init__(self, pixels: np.ndarray, left: int, bottom: int) -> None:
            super().__init__()
            self._pixels, self._left, self._bottom = pixels, left, bottom

        def draw(self, renderer) -> None:
            opaque = np.full((*self._pixels.shape[:2], 4), 255, np.uint8)
            opaque[:, :, :3] = self._pixels[::-1]  # the canvas counts rows from the bottom
            renderer.draw_image(renderer.new_gc(), self._left, self._bottom, opaque)

    return Pixels


def counted(number: int, noun: str) -> str:
    """Return the number and its noun, which takes an s unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(name: object) -> str:
    """Return the name of a class, cut off where it is too long to stand beside others."""
    name = str(name)
    return name if len(name) <= LONGEST_CLASS_NAME else name[: LONGEST_CLASS_NAME - 1] + "…"


def open_frame(axes: "Axes") -> None:
    """Leave only the left and the bottom line of the frame."""
    axes.spines[["top", "right"]].set_visible(False)


def whole_numbers(axes: "Axes") -> None:
    """Put the marks of the vertical axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter("{x:,.0f}")
