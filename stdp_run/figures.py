"""Pictures of a network and its results: NumPy arrays in, `matplotlib.figure.Figure` objects out.

Nothing here uses pyplot or any other global state, so figures may be drawn from several threads at once.
Matplotlib is imported inside the functions, because importing it costs more than most commands that draw nothing.
Classes are numbered 0 to C - 1 everywhere; `classes` holds their names in that order, and label -1 means "none".
"""

import contextlib
import math
import os
import textwrap
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = [
    "accuracy_by_setting",
    "accuracy_curve",
    "confusion",
    "histogram",
    "neurons_per_class",
    "raster",
    "receptive_fields",
    "save_png",
    "stdp_window",
    "stdp_windows",
    "to_image",
    "weight_change",
]

DOTS_PER_INCH = 100

# Blue, vermilion and grey stay apart under every common form of colour blindness.
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREY = "#8A8A8A"
DARK = "#333333"

SEPARATOR_PIXELS = 2
GRID_PIXELS = 1170
LARGEST_TILE_PIXELS = 660
SMALLEST_LABELLED_TILE_PIXELS = 18
LONGEST_CLASS_NAME = 16


# Files and images -----------------------------------------------------------------------------------------------------


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


# Weights as images ----------------------------------------------------------------------------------------------------


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
    figure = _new_figure(total_wide, total_tall, layout=None)
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
        return f"{title}: {_count(total, 'neuron')}"
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


# Classes --------------------------------------------------------------------------------------------------------------


def confusion(
    matrix: np.ndarray,
    classes: Sequence[object],
    *,
    accuracy: float | None = None,
    interval: tuple[float, float] | None = None,
    readout: str | None = None,
) -> "Figure":
    """Draw image counts [C, C] by true class (row) and predicted class (column), coloured by share of their row.

    With [C, C + 1] the last column counts the images that evoked no spikes. `accuracy` and its 95 % confidence
    `interval` (low, high) are fractions of 1.
    """
    matrix = np.asarray(matrix)
    count = len(classes)
    if count == 0 or matrix.shape not in ((count, count), (count, count + 1)):
        raise ValueError(f"a matrix of shape {matrix.shape} does not fit {count} classes")
    columns = matrix.shape[1]
    totals = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(totals, 1)
    cell = min(72.0, max(28.0, 1000 / columns))
    figure = _new_figure(max(900.0, cell * columns + 260), max(420.0, cell * count + 190))
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, origin="upper", interpolation="nearest", aspect="auto")
    names = [_short(name) for name in classes]
    _class_ticks(axes.xaxis, names + ["no spikes"] * (columns - count), room=max(cell, 780 / columns))
    _class_ticks(axes.yaxis, names)
    axes.set_xlabel("predicted class", fontsize=12)
    axes.set_ylabel("true class", fontsize=12)
    axes.set_title(_confusion_title(int(totals.sum()), accuracy, interval, readout), fontsize=13, parse_math=False)
    if columns > count:
        axes.axvline(count - 0.5, color=DARK, linewidth=1.5)
    _write_counts(axes, matrix, share, cell)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, aspect=max(230, cell * count) / 22)
    bar.set_label("share of the true class's images (%)", fontsize=11)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"])
    return figure


def _confusion_title(
    images: int, accuracy: float | None, interval: tuple[float, float] | None, readout: str | None
) -> str:
    title = "Confusion matrix" + (f", readout: {readout}" if readout else "")
    second = _count(images, "image")
    if accuracy is not None:
        second = f"accuracy {100 * accuracy:.1f} % on {second}"
        if interval is not None:
            second += f" (95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %)"
    return f"{title}\n{second}"


def _write_counts(axes: "Axes", matrix: np.ndarray, share: np.ndarray, cell: float) -> None:
    longest = max(len(str(int(count))) for count in matrix.flat)
    size = min(13.0, 0.9 * cell / (0.62 * longest) * 72 / DOTS_PER_INCH)
    for (row, column), count in np.ndenumerate(matrix):
        text = axes.text(
            column,
            row,
            str(int(count)),
            fontsize=size,
            color="white" if share[row, column] > 0.55 else DARK,
            horizontalalignment="center",
            verticalalignment="center",
        )
        # Counts lie inside their cells, so measuring them for the layout would only cost time.
        text.set_in_layout(False)


def neurons_per_class(
    labels: np.ndarray, classes: Sequence[object], *, title: str = "Excitatory neurons per class"
) -> "Figure":
    """Draw how many neurons carry each class label, from `labels` [E] (class numbers, -1: silent)."""
    labels = np.asarray(labels, dtype=np.int64)
    counts = [int(np.count_nonzero(labels == number)) for number in range(len(classes))]
    counts.append(int(np.count_nonzero(labels < 0)))
    figure = _new_figure(max(900, 40 * len(counts) + 150), 520)
    axes = figure.subplots()
    bars = axes.bar(range(len(counts)), counts, color=[BLUE] * len(classes) + [GREY], width=0.75)
    bars[-1].set_hatch("//")
    bars[-1].set_edgecolor("white")
    axes.bar_label(bars, [str(count) for count in counts], padding=2, fontsize=11)
    _class_ticks(axes.xaxis, [_short(name) for name in classes] + ["silent"], room=max(40, 800 / len(counts)))
    axes.set_ylim(0, max(1, *counts) * 1.12)
    _whole_numbers(axes)
    axes.set_xlabel("class", fontsize=12)
    axes.set_ylabel("number of neurons", fontsize=12)
    axes.set_title(f"{title} ({_count(len(labels), 'neuron')})", fontsize=13, parse_math=False)
    _open_frame(axes)
    return figure


def _class_ticks(axis: "Axis", names: list[str], room: float | None = None) -> None:
    """Name the classes along an axis, slanted where a name is wider than the `room` (pixels) for each."""
    size = 11 if len(names) <= 30 else 8
    axis.set_ticks(range(len(names)), names, fontsize=size, parse_math=False)
    axis.set_tick_params(length=0)
    if room is not None and max(map(len, names)) * size * 0.78 > room:
        for text in axis.get_ticklabels():
            text.set(rotation=35, horizontalalignment="right", rotation_mode="anchor")


def _short(name: object) -> str:
    name = str(name)
    return name if len(name) <= LONGEST_CLASS_NAME else name[: LONGEST_CLASS_NAME - 1] + "…"


# Values and spikes ----------------------------------------------------------------------------------------------------


def histogram(values: np.ndarray, xlabel: str, title: str, bins: int = 50) -> "Figure":
    """Draw how often values of any shape occur; `xlabel` names the quantity with its unit."""
    values = np.asarray(values, dtype=np.float64).ravel()
    values, given = values[np.isfinite(values)], values.size
    figure = _new_figure(900, 540)
    axes = figure.subplots()
    axes.set_xlabel(xlabel, fontsize=12, parse_math=False)
    axes.set_ylabel("number of values", fontsize=12)
    _open_frame(axes)
    if values.size == 0:
        axes.set_title(f"{title}\nno values", fontsize=13, parse_math=False)
        return figure
    low, high = float(values.min()), float(values.max())
    counts, edges = np.histogram(values, bins=bins, range=_spread(low, high))
    axes.stairs(counts, edges, fill=True, color=BLUE)
    axes.axvline(values.mean(), color=VERMILION, linewidth=1.5, linestyle="--", label=f"mean {values.mean():.4g}")
    axes.set_ylim(0, counts.max() * 1.08)
    axes.set_xlim(edges[0], edges[-1])
    _whole_numbers(axes)
    axes.legend(frameon=False, loc="best", fontsize=11)
    summary = f"{_count(values.size, 'value')} from {low:.4g} to {high:.4g}"
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
    figure = _new_figure(1200, 900)
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
    _whole_numbers(axes)
    axes.set_ylabel(f"{name} neuron", fontsize=12)
    heading = f"{name}: {_count(neurons, 'neuron')}, {_count(len(index), 'spike')}"
    axes.set_title(heading, fontsize=11, loc="left")
    _open_frame(axes)


# Learning rules and accuracy ------------------------------------------------------------------------------------------


def stdp_window(delta_ms: np.ndarray, change: np.ndarray, rule: str) -> "Figure":
    """Draw a rule's weight change [K] against the spikes' time difference t_post - t_pre [K] in ms."""
    figure = _new_figure(900, 560)
    _window_panel(figure.subplots(), delta_ms, change, f"STDP window: {rule}")
    return figure


def stdp_windows(windows: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "Figure":
    """Draw the window of each named rule, (t_post - t_pre [K] in ms, weight change [K]), two panels to a row."""
    if not windows:
        raise ValueError("no windows to draw")
    rows = math.ceil(len(windows) / 2)
    figure = _new_figure(1200, 70 + 410 * rows)
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
    _open_frame(axes)


def accuracy_curve(
    images_seen: np.ndarray,
    accuracy: np.ndarray,
    *,
    chance: float | None = None,
    title: str = "Accuracy during training",
) -> "Figure":
    """Draw accuracy [K] in % against the number of training images seen [K]; `accuracy` and `chance` are fractions."""
    figure = _new_figure(900, 540)
    axes = figure.subplots()
    axes.plot(images_seen, 100 * np.asarray(accuracy), color=BLUE, marker="o", markersize=4, linewidth=1.6)
    if chance is not None:
        axes.axhline(100 * chance, color=GREY, linestyle="--", linewidth=1.2, label=f"chance ({100 * chance:.0f} %)")
        axes.legend(frameon=False, fontsize=11)
    axes.set_ylim(0, 102)
    axes.set_xlabel("training images seen", fontsize=12)
    axes.set_ylabel("accuracy (%)", fontsize=12)
    axes.set_title(title, fontsize=13, parse_math=False)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    _open_frame(axes)
    return figure


def accuracy_by_setting(
    settings: Sequence[str],
    accuracy: np.ndarray,
    *,
    intervals: np.ndarray | None = None,
    title: str = "Accuracy by setting",
) -> "Figure":
    """Draw one accuracy per setting [K] in %, first setting on top, with its interval (low, high) [K, 2] if given.

    Accuracies and intervals are fractions of 1.
    """
    percent = 100 * np.asarray(accuracy, dtype=np.float64)
    rows = np.arange(len(settings))
    figure = _new_figure(900, 170 + 34 * max(3, len(settings)))
    axes = figure.subplots()
    if intervals is not None:
        low, high = 100 * np.asarray(intervals, dtype=np.float64).reshape(-1, 2).T
        axes.hlines(rows, low, high, color=BLUE, linewidth=2)
    axes.plot(percent, rows, linestyle="none", marker="o", markersize=7, color=BLUE)
    for row, value in zip(rows, percent, strict=True):
        axes.annotate(f"{value:.1f}", (value, row), (0, 6), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(rows, [str(setting) for setting in settings], fontsize=11, parse_math=False)
    axes.set_ylim(len(settings) - 0.4, -0.7)
    axes.set_xlim(0, 102)
    axes.set_xlabel("accuracy (%)", fontsize=12)
    axes.set_title(title, fontsize=13, parse_math=False)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.8)
    _open_frame(axes)
    return figure


# Shared helpers -------------------------------------------------------------------------------------------------------


def _new_figure(pixels_wide: float, pixels_tall: float, layout: str | None = "constrained") -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[str, Any] = {"dpi": DOTS_PER_INCH, "facecolor": "white", "layout": layout}
    figure = Figure(figsize=(round(pixels_wide) / DOTS_PER_INCH, round(pixels_tall) / DOTS_PER_INCH), **settings)
    FigureCanvasAgg(figure)
    if layout is not None:
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    return figure


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _open_frame(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
