"""How well classes are recognised: which are mistaken for which, which neurons stand for what, and accuracies."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stdp_run.reporting.plots import style
from stdp_run.reporting.plots.style import Axes, Axis, Figure

MOST_TICKS = 20  # numbers of images that find room below a plot


def confusion(
    matrix: np.ndarray,
    classes: Sequence[object],
    *,
    accuracy: float | None = None,
    interval: tuple[float, float] | None = None,
    readout: str | None = None,
) -> Figure:
    """Draw image counts [C, C] by true class (row) and predicted class (column), coloured by share of their row.

    With [C, C + 1] the last column counts the images that evoked no spikes. `accuracy` and its 95 % confidence
    `interval` (low, high) are fractions of 1.

    Raises:
        ValueError: the matrix does not fit the classes.
    """
    matrix = np.asarray(matrix)
    count = len(classes)
    if count == 0 or matrix.shape not in ((count, count), (count, count + 1)):
        raise ValueError(f"a matrix of shape {matrix.shape} does not fit {count} classes")
    columns = matrix.shape[1]
    totals = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(totals, 1)
    cell = min(72.0, max(28.0, 1000 / columns))
    figure = style.new_figure(max(900.0, cell * columns + 260), max(420.0, cell * count + 190))
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    names = [style.short(name) for name in classes]
    _class_ticks(axes.xaxis, names + ["no\nspikes"] * (columns - count), room=max(cell, 780 / columns))
    _class_ticks(axes.yaxis, names)
    title = "Confusion matrix" + (f", readout: {readout}" if readout else "")
    summary = style.counted(int(totals.sum()), "image")
    if accuracy is not None:
        summary = f"accuracy {100 * accuracy:.1f} % on {summary}"
    if interval is not None:
        summary += f" (95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %)"
    style.describe(axes, f"{title}\n{summary}", "predicted class", "true class")
    axes.spines[:].set_visible(True)
    if columns > count:
        axes.axvline(count - 0.5, color=style.DARK, linewidth=1.5)
    _write_counts(axes, matrix, share, cell)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, aspect=max(230, cell * count) / 22)
    bar.set_label("share of the true class's images (%)", fontsize=11)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"])
    return figure


def _write_counts(axes: Axes, matrix: np.ndarray, share: np.ndarray, cell: float) -> None:
    longest = max(len(str(int(count))) for count in matrix.flat)
    look: dict[str, Any] = {"horizontalalignment": "center", "verticalalignment": "center"}
    look |= {"fontsize": min(13.0, 0.9 * cell / (0.62 * longest) * 72 / style.DOTS_PER_INCH)}
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if share[row, column] > 0.55 else style.DARK
        # Counts lie inside their cells, so measuring them for the layout would only cost time.
        axes.text(column, row, str(int(count)), color=colour, **look).set_in_layout(False)


def neurons_per_class(labels: np.ndarray, classes: Sequence[object]) -> Figure:
    """Draw how many neurons carry each class label, from `labels` [E] (class numbers, -1: silent)."""
    labels = np.asarray(labels, dtype=np.int64)
    counts = [int(np.count_nonzero(labels == number)) for number in (*range(len(classes)), -1)]
    figure = style.new_figure(max(900, 40 * len(counts) + 150), 520)
    axes = figure.subplots()
    bars = axes.bar(range(len(counts)), counts, color=[style.BLUE] * len(classes) + [style.GREY], width=0.75)
    bars[-1].set(hatch="//", edgecolor="white")
    axes.bar_label(bars, [str(count) for count in counts], padding=2, fontsize=11)
    _class_ticks(axes.xaxis, [*map(style.short, classes), "silent"], room=max(40, 800 / len(counts)))
    axes.set_ylim(0, max(1, *counts) * 1.12)
    style.whole_numbers(axes)
    title = f"Excitatory neurons per class ({style.counted(len(labels), 'neuron')})"
    style.describe(axes, title, "class", "number of neurons")
    return figure


def _class_ticks(axis: Axis, names: list[str], room: float | None = None) -> None:
    """Name the classes along an axis, slanted where a name is wider than the `room` (pixels) for each."""
    size = 11 if len(names) <= 30 else 8
    axis.set_ticks(range(len(names)), names, fontsize=size, parse_math=False)
    axis.set_tick_params(length=0)
    longest = max(len(line) for name in names for line in name.splitlines() or [""])
    if room is not None and longest * size * 0.78 > room:
        for text in axis.get_ticklabels():
            text.set(rotation=35, horizontalalignment="right", rotation_mode="anchor")


def accuracy_curve(
    images_seen: Sequence[int],
    accuracy: Sequence[float],
    *,
    evaluations: tuple[Sequence[int], Sequence[float]] = ((), ()),
    chance: float | None = None,
    title: str = "Accuracy while learning",
) -> Figure:
    """Draw the running accuracy [K], and evaluations (images seen, accuracy) [M], against training images seen.

    Accuracies and `chance` are fractions of 1, and drawn in %.
    """
    figure = style.new_figure(900, 540)
    axes = figure.subplots()
    if len(images_seen):
        look: dict[str, Any] = {"color": style.BLUE, "markersize": 4, "linewidth": 1.6}
        axes.plot(images_seen, 100 * np.asarray(accuracy), "o-", label="running, while learning", **look)
    if len(evaluations[0]):
        measured, percent = evaluations[0], 100 * np.asarray(evaluations[1])
        look = {"color": style.VERMILION, "markersize": 7, "zorder": 3}
        axes.plot(measured, percent, "D", label="evaluation, learning off", **look)
        last = (measured[-1], percent[-1])
        axes.annotate(f"{percent[-1]:.1f}", last, (0, 8), textcoords="offset points", horizontalalignment="center")
    if chance is not None:
        label = f"chance ({100 * chance:.0f} %)"
        axes.axhline(100 * chance, color=style.GREY, linestyle="--", linewidth=1.2, label=label)
    if axes.lines:
        axes.legend(frameon=False, fontsize=11)
    axes.set_ylim(0, 105)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y", color=style.GRID, linewidth=0.8)
    style.describe(axes, title, "training images seen", "accuracy (%)")
    return figure


class ClassHistory(NamedTuple):
    """The accuracy of each class in K evaluations, the last one at the end."""

    images_seen: Sequence[int]  # [K], training images before each
    accuracy: np.ndarray  # [K, C], fractions of 1; not a number for a class without images
    presented: np.ndarray | None  # bool [K, C], the classes that came since the evaluation before; None: all of them


def accuracy_per_class(history: ClassHistory, classes: Sequence[object], *, readout: str | None = None) -> Figure:
    """Draw the accuracy of each class (row) in each evaluation (column), and outline what was presented before it."""
    percent = 100 * history.accuracy.T  # [C, K]
    if history.presented is not None:  # before a class is presented, its cells stay empty
        percent = np.where(np.maximum.accumulate(history.presented, axis=0).T, percent, np.nan)
    n_classes, n_evaluations = percent.shape
    cell = min(46.0, max(20.0, 900 / n_classes))
    wide = max(900.0, min(1500.0, 62 * n_evaluations + 260))
    figure = style.new_figure(wide, max(420.0, cell * n_classes + 200))
    axes = figure.subplots()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100, interpolation="nearest", aspect="auto")
    _class_ticks(axes.yaxis, [style.short(name) for name in classes])
    every = -(-n_evaluations // MOST_TICKS)
    columns = range((n_evaluations - 1) % every, n_evaluations, every)  # the last one is named in any case
    axes.set_xticks(columns, [f"{history.images_seen[column]:,}" for column in columns], fontsize=10)
    title = "Accuracy of each class while learning" + (f", readout: {readout}" if readout else "")
    if history.presented is not None:
        title += "\noutlined: the class that was presented since the evaluation before"
        _outline(axes, history.presented.T)
    style.describe(axes, title, "training images seen", "class")
    axes.spines[:].set_visible(True)
    if every == 1:
        look: dict[str, Any] = {"horizontalalignment": "center", "verticalalignment": "center", "fontsize": 10}
        for (row, column), value in np.ndenumerate(percent):
            colour = "white" if value > 55 else style.DARK
            text = "" if np.isnan(value) else f"{value:.0f}"
            axes.text(column, row, text, color=colour, **look).set_in_layout(False)
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02).set_label("accuracy (%)", fontsize=11)
    return figure


def _outline(axes: Axes, marked: np.ndarray) -> None:
    """Outline the cells [C, K] that are marked, those side by side in a row together."""
    from matplotlib.patches import Rectangle

    edges = np.diff(marked.astype(np.int8), axis=1, prepend=0, append=0)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)  # in the same order, row by row
    for (row, start), (_, end) in zip(starts, ends, strict=True):
        look: dict[str, Any] = {"fill": False, "edgecolor": style.VERMILION, "linewidth": 2}
        axes.add_patch(Rectangle((start - 0.5, row - 0.5), end - start, 1, **look))
