"""What every figure shares: a new one of a given size, its colours and small parts, and its way to a file or array."""

import contextlib
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 100

# Blue, vermilion and grey stay apart under every common form of colour blindness.
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREY = "#8A8A8A"
DARK = "#333333"


def save_png(figure: "Figure", path: str | os.PathLike[str], dpi: float | None = None) -> None:
    """Write the figure to `path` as a PNG file, whole or not at all; `dpi` (pixels per inch) overrides the figure's."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as file:
            # Level 3 takes half the time of zlib's usual level 6 and makes files a tenth larger.
            settings = {"compress_level": 3}
            figure.savefig(file, format="png", dpi="figure" if dpi is None else dpi, pil_kwargs=settings)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def to_image(figure: "Figure") -> np.ndarray:
    """Return the drawn figure as a uint8 array [height in pixels, width in pixels, 3] of red, green and blue."""
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba(), dtype=np.uint8)[:, :, :3].copy()


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


def counted(number: int, noun: str) -> str:
    """Return the number and its noun, which takes an s unless the number is 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def open_frame(axes: "Axes") -> None:
    """Leave only the left and the bottom line of the frame."""
    axes.spines[["top", "right"]].set_visible(False)


def whole_numbers(axes: "Axes") -> None:
    """Put the marks of the vertical axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
