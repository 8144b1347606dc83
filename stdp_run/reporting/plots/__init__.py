"""Pictures of a network and its results: NumPy arrays in, `matplotlib.figure.Figure` objects out.

Nothing here uses pyplot or any other global state, so figures may be drawn from several threads at once.
Matplotlib is imported inside the functions, because importing it costs more than most commands that draw nothing.
Classes are numbered 0 to C - 1 everywhere; `classes` holds their names in that order, and label -1 means "none".
"""

from stdp_run.reporting.plots.activity import histogram, raster, stdp_window, stdp_windows
from stdp_run.reporting.plots.canvas import release, save_png, size_in_pixels, to_image, to_png
from stdp_run.reporting.plots.fields import receptive_fields, weight_change
from stdp_run.reporting.plots.recognition import accuracy_curve, confusion, neurons_per_class
from stdp_run.reporting.plots.sweeps import accuracy_against_number, accuracy_against_numbers, accuracy_by_setting

__all__ = [
    "accuracy_against_number",
    "accuracy_against_numbers",
    "accuracy_by_setting",
    "accuracy_curve",
    "confusion",
    "histogram",
    "neurons_per_class",
    "raster",
    "receptive_fields",
    "release",
    "save_png",
    "size_in_pixels",
    "stdp_window",
    "stdp_windows",
    "to_image",
    "to_png",
    "weight_change",
]
