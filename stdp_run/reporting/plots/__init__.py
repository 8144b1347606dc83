"""Plots of a network and its results: NumPy arrays in, `matplotlib.figure.Figure` objects out.

Nothing here uses pyplot or any other global state, so figures may be drawn from several threads at once.
Matplotlib is imported inside the functions, because importing it costs more than most commands that plot nothing.
Classes are numbered 0 to C - 1 everywhere; `classes` holds their names in that order, and label -1 means "none".
"""

from stdp_run.reporting.plots.activity import ByFrequency, Window, histogram, raster, stdp_windows
from stdp_run.reporting.plots.comparison import accuracy_lines, accuracy_rows
from stdp_run.reporting.plots.recognition import (
    ClassHistory,
    accuracy_curve,
    accuracy_per_class,
    confusion,
    neurons_per_class,
)
from stdp_run.reporting.plots.style import release, size_in_pixels, to_png
from stdp_run.reporting.plots.weights import Tiles, receptive_fields, weight_change

__all__ = [
    "ByFrequency",
    "ClassHistory",
    "Tiles",
    "Window",
    "accuracy_curve",
    "accuracy_lines",
    "accuracy_per_class",
    "accuracy_rows",
    "confusion",
    "histogram",
]
__all__ += ["neurons_per_class", "raster", "receptive_fields", "release", "size_in_pixels", "stdp_windows"]
__all__ += ["to_png", "weight_change"]
