"""How well classes are recognised: who is taken for whom, which neurons stand for what, and accuracies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stdp_run.reporting.plots.canvas import (
    BLUE,
    DARK,
    DOTS_PER_INCH,
    GREY,
    VERMILION,
    counted,
    new_axes,
    new_figure,
    open_frame,
    put_labels,
    put_title,
    short,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


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
    figure = new_figure(max(900.0, cell * columns + 260), max(420.0, cell * count + 190))
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, origin="upper", interpolation="nearest", aspect="auto")
    names = [short(name) for name in classes]
    _class_ticks(axes.xaxis, names + ["no\nspikes"] * (columns - count), room=max(cell, 780 / columns))
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
    second = counted(images, "image")
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
    figure = new_figure(max(900, 40 * len(counts) + 150), 520)
    axes = figure.subplots()
    bars = axes.bar(range(len(counts)), counts, color=[BLUE] * len(classes) + [GREY], width=0.75)
    bars[-1].set_hatch("//")
    bars[-1].set_edgecolor("white")
    axes.bar_label(bars, [str(count) for count in counts], padding=2, fontsize=11)
    _class_ticks(axes.xaxis, [short(name) for name in classes] + ["silent"], room=max(40, 800 / len(counts)))
    axes.set_ylim(0, max(1, *counts) * 1.12)
    whole_numbers(axes)
    axes.set_xlabel("class", fontsize=12)
    axes.set_ylabel("number of neurons", fontsize=12)
    axes.set_title(f"{title} ({counted(len(labels), 'neuron')})", fontsize=13, parse_math=False)
    open_frame(axes)
    return figure


def _class_ticks(axis: "Axis", names: list[str], room: float | None = None) -> None:
    """Name the classes along an axis, slanted where a name is wider than the `room` (pixels) for each."""
    size = 11 if len(names) <= 30 else 8
    axis.set_ticks(range(len(names)), names, fontsize=size, parse_math=False)
    axis.set_tick_params(length=0)
    longest = max(len(line) for name in names for line in name.splitlines() or [""])
    if room is not None and longest * size * 0.78 > room:
        for text in axis.get_ticklabels():
            text.set(rotation=35, horizontalalignment="right", rotation_mode="anchor")


def accuracy_curve(
    images_seen: np.ndarray,
    accuracy: np.ndarray,
    *,
    evaluations: tuple[np.ndarray, np.ndarray] = ((), ()),
    chance: float | None = None,
    title: str = "Accuracy while learning",
) -> "Figure":
    """Draw the running accuracy [K] in %, and evaluations (images seen, accuracy) [M], against training images seen.

    Accuracies and `chance` are fractions of 1.
    """
    figure = new_figure(900, 540, layout=None)
    axes = new_axes(figure, left=90, right=40, bottom=70, top=50)
    percent = 100 * np.asarray(accuracy, dtype=np.float64)
    axes.plot(
        images_seen, percent, color=BLUE, marker="o", markersize=4, linewidth=1.6, label="running, while learning"
    )
    measured, percent = evaluations[0], 100 * np.asarray(evaluations[1], dtype=np.float64)
    if len(measured):
        look = {"color": VERMILION, "marker": "D", "markersize": 7, "linestyle": "none", "zorder": 3}
        axes.plot(measured, percent, label="evaluation, learning off", **look)
        axes.annotate(
            f"{percent[-1]:.1f}", (measured[-1], percent[-1]), (0, 8), textcoords="offset points", ha="center"
        )
    if chance is not None:
        axes.axhline(100 * chance, color=GREY, linestyle="--", linewidth=1.2, label=f"chance ({100 * chance:.0f} %)")
    axes.legend(frameon=False, fontsize=11)
    axes.set_ylim(0, 105)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    put_labels(axes, "training images seen", "accuracy (%)", left=60)
    put_title(axes, title)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    open_frame(axes)
    return figure
