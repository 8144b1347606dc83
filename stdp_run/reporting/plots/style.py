"""Shared parts of all plots: colours, a new figure of a given size, labels, and the bytes of a PNG file."""

import io
from typing import TYPE_CHECKING, Any

from stdp_run.errors import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = Any  # names for annotations: matplotlib is imported when it plots

DOTS_PER_INCH = 100

# Blue, vermilion and grey stay apart under every common form of colour blindness.
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREY = "#8A8A8A"
DARK = "#333333"
GRID = "#DDDDDD"


def new_figure(pixels_wide: float, pixels_tall: float, constrained: bool = True) -> Figure:
    """Return an empty white figure of a size in pixels; matplotlib finds the margins if `constrained`."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1) if constrained else None
    size = (round(pixels_wide) / DOTS_PER_INCH, round(pixels_tall) / DOTS_PER_INCH)
    return Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor="white", layout=layout)


def to_png(figure: Figure) -> bytes:
    """Return the figure as the bytes of a PNG file; equal figures give equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = io.BytesIO()
    # A user's matplotlibrc can change the size and margins of `savefig`.
    FigureCanvasAgg(figure).print_png(file, pil_kwargs={"compress_level": 4})  # half the time, about the same size
    return file.getvalue()


def describe(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Write the title and the labels of the axes literally, without formulas between $ signs."""
    axes.set_title(title, fontsize=13, parse_math=False)
    axes.set_xlabel(xlabel, fontsize=12, parse_math=False)
    axes.set_ylabel(ylabel, fontsize=12, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)


def counted(number: int, noun: str) -> str:
    """Return the number and its noun, which takes an s unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(name: object, length: int = 16) -> str:
    """Return a name, shortened to `length` characters."""
    name = printable(name)
    return name if len(name) <= length else name[: length - 1] + "…"


def whole_numbers(axes: Axes) -> None:
    """Put the ticks of the vertical axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter("{x:,.0f}")
