"""Recognition of classes: confusion matrix, neurons per class, and accuracies over learning."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stdp_run.evaluation.metrics import Evaluation
from stdp_run.reporting.plots import style
from stdp_run.reporting.plots.style import Axes, Figure

MOST_TICKS = 20  # largest number of tick labels below a plot


def confusion(evaluation: Evaluation, classes: Sequence[str], readout: str) -> Figure:
    """Draw image counts by true class (row) and predicted class (column), coloured by share of their row.

    The last column counts the images that evoked no spikes.
    """
    matrix, (low, high) = evaluation.confusion[readout], evaluation.interval(readout)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axes = _matrix_figure(percent, matrix.astype(str), classes, "share of the class (%)")
    _class_ticks(axes, [*map(style.short, classes), "no\nspikes"])
    axes.axvline(len(classes) - 0.5, color=style.DARK, linewidth=1.5)
    accuracy = f"accuracy {evaluation.accuracy[readout]:.1%} on {style.counted(evaluation.n_images, 'image')}"
    title = f"Confusion matrix, readout: {readout}\n{accuracy} (95 % interval {low:.1%} to {high:.1%})"
    style.describe(axes, title, "predicted class", "true class")
    return figure


def _matrix_figure(percent: np.ndarray, texts: np.ndarray, classes: Sequence[str], key: str) -> tuple[Figure, Axes]:
    """Draw a matrix of percentages, a row for each class, with `texts` in its cells; `key` labels the colour bar."""
    n_rows, n_columns = percent.shape
    wide = min(2000, max(750, 28 * n_columns)) / n_columns  # of a cell, in pixels
    figure = style.new_figure(wide * n_columns + 260, max(28 * n_rows, 440) + 190)
    axes = figure.subplots()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100, interpolation="nearest", aspect="auto")
    axes.set_yticks(range(n_rows), [*map(style.short, classes)], parse_math=False)
    points = min(13.0, wide / max(1, *map(len, texts.flat)))
    for (row, column), text in np.ndenumerate(texts):
        if text:
            colour = "white" if percent[row, column] > 55 else style.DARK
            written = axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=points)
            written.set_in_layout(False)  # texts are inside their cells: the layout need not measure them
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02).set_label(key, fontsize=11)
    return figure, axes


def _class_ticks(axes: Axes, names: list[str]) -> None:
    """Name the classes along the horizontal axis, slanted unless all names are short."""
    slanted = max(map(len, names)) * len(names) > 100
    look: Any = {"rotation": 35, "horizontalalignment": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(len(names)), names, parse_math=False, **look)


def neurons_per_class(labels: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw the number of neurons with each label, from `labels` [E] (class numbers, -1: silent)."""
    counts = np.roll(np.bincount(labels + 1, minlength=len(classes) + 1), -1)  # the silent ones last
    figure = style.new_figure(max(900, 40 * len(counts) + 150), 520)
    axes = figure.subplots()
    bars = axes.bar(range(len(counts)), counts, color=[style.BLUE] * len(classes) + [style.GREY], width=0.75)
    axes.bar_label(bars, padding=2)
    _class_ticks(axes, [*map(style.short, classes), "silent"])
    style.whole_numbers(axes)
    title = f"Excitatory neurons per class ({style.counted(len(labels), 'neuron')})"
    style.describe(axes, title, "class", "number of neurons")
    return figure


def accuracy_curve(running: np.ndarray, evaluations: np.ndarray, chance: float, readout: str) -> Figure:
    """Draw the running accuracy [K, 2] and one or more evaluations [M, 2], rows of (training images seen, accuracy).

    Accuracies and `chance` are fractions of 1, and drawn in %.
    """
    figure = style.new_figure(900, 540)
    axes = figure.subplots()
    running, evaluations = running * (1, 100), evaluations * (1, 100)
    axes.plot(*running.T, "o-", label="running, while learning", color=style.BLUE, markersize=4, linewidth=1.6)
    axes.plot(*evaluations.T, "D", label="evaluation, learning off", color=style.VERMILION, markersize=7, zorder=3)
    axes.annotate(f"{evaluations[-1, 1]:.1f}", evaluations[-1], (0, 8), textcoords="offset points", ha="center")
    axes.axhline(100 * chance, color=style.GREY, linestyle="--", linewidth=1.2, label=f"chance ({chance:.0%})")
    axes.legend(frameon=False)
    axes.set(ylim=(0, 105), xlim=(0, None))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y", color=style.GRID, linewidth=0.8)
    style.describe(axes, f"Accuracy while learning, readout: {readout}", "training images seen", "accuracy (%)")
    return figure


class ClassHistory(NamedTuple):
    """The accuracy of each class in K evaluations, the last one at the end."""

    images_seen: Sequence[int]  # [K], training images before each
    accuracy: np.ndarray  # [K, C], fractions of 1; not a number for a class without images
    presented: np.ndarray | None  # bool [K, C], the classes presented since the previous evaluation; None: all classes


def accuracy_per_class(history: ClassHistory, classes: Sequence[str], readout: str) -> Figure:
    """Draw the accuracy of each class (row) in each evaluation (column); outline the classes presented before it."""
    from matplotlib.patches import Rectangle

    percent = 100 * history.accuracy.T  # [C, K]
    if history.presented is not None:  # before a class is presented, its cells stay empty
        percent = np.where(np.maximum.accumulate(history.presented, axis=0).T, percent, np.nan)
    n_evaluations = len(history.images_seen)
    every = -(-n_evaluations // MOST_TICKS)
    texts = np.array([["" if np.isnan(each) or every > 1 else f"{each:.0f}" for each in row] for row in percent])
    figure, axes = _matrix_figure(percent, texts, classes, "accuracy (%)")
    columns = range((n_evaluations - 1) % every, n_evaluations, every)  # the last one always has a label
    axes.set_xticks(columns, [f"{history.images_seen[column]:,}" for column in columns])
    title = f"Accuracy of each class while learning, readout: {readout}"
    if history.presented is not None:
        title += "\noutlined: the classes that were presented since the evaluation before"
        for column, row in np.argwhere(history.presented) - 0.5:
            axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=style.VERMILION, linewidth=2))
    style.describe(axes, title, "training images seen", "class")
    return figure
