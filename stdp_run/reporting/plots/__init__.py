"""Plots of a network and its results: NumPy arrays in, `matplotlib.figure.Figure` objects out.

Nothing here uses pyplot or any other global state. Matplotlib is imported inside the functions, because importing it
costs more than most commands that plot nothing. Classes are numbered 0 to C - 1 everywhere; `classes` holds their names
in that order, and label -1 means "none".
"""

# ruff: noqa: F401  these names are given on

from stdp_run.reporting.plots.activity import ByFrequency, Window, raster, stdp_windows
from stdp_run.reporting.plots.comparison import accuracy_lines, accuracy_rows, running_accuracy
from stdp_run.reporting.plots.recognition import (
    ClassHistory,
    accuracy_curve,
    accuracy_per_class,
    confusion,
    neurons_per_class,
)
from stdp_run.reporting.plots.style import to_png
from stdp_run.reporting.plots.weights import histogram, receptive_fields
