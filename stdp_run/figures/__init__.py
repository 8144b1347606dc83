"""Pictures of a network and its results: NumPy arrays in, `matplotlib.figure.Figure` objects out.

Nothing here uses pyplot or any other global state, so figures may be drawn from several threads at once.
Matplotlib is imported inside the functions, because importing it costs more than most commands that draw nothing.
Classes are numbered 0 to C - 1 everywhere; `classes` holds their names in that order, and label -1 means "none".
"""

from stdp_run.figures.activity import histogram, raster, stdp_window, stdp_windows
from stdp_run.figures.canvas import save_png, to_image
from stdp_run.figures.fields import receptive_fields, weight_change
from stdp_run.figures.recognition import accuracy_by_setting, accuracy_curve, confusion, neurons_per_class

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
