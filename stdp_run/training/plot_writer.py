"""What a run draws, and when; drawing never holds up learning.

One thread in the background gets copies of the arrays and turns them into pictures: each is rendered and encoded once,
and the same bytes become a PNG file in the run directory, which always shows the latest state, and a picture in
TensorBoard. No picture is ever left out, so a run's pictures do not depend on how busy the machine is: while a set is
being drawn two more may wait, and only whoever asks for a fourth waits too, which the log tells.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stdp_run.engines.dense.recording import record_spikes
from stdp_run.evaluation.metrics import Evaluation
from stdp_run.files import write_atomically
from stdp_run.network import Model, NetworkState
from stdp_run.neurons import ALIF
from stdp_run.reporting import plots as figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

# One set being drawn and two waiting: more would only pile up copies of the weights.
SETS_AT_ONCE = 3
# Runs side by side draw in turn: there is one core to spare for it, and Matplotlib has caches that threads would share.
_one_draws = threading.Lock()
# Units of the integer neuron groups to 1 mV.
UNITS_PER_MV = 16.384

Put = Callable[[int, str, bytes, tuple[int, int]], None]
Drawing = tuple[str, Callable[[], "Figure"]]


class Pictures:
    """Draws a run's pictures in the background; use it as a context, or call `close` at the end.

    Args:
        directory: of the run; receives NAME.png for each picture NAME.
        put: called in the background thread with (images seen, NAME, PNG bytes, (height, width) in pixels).
        model: the network.
        height: of an image, in pixels.
        width: of an image, in pixels.
        classes: the names of the classes.
        previous_weight: [E, I], what the first weight change is taken from; None draws none the first time.
        previous_images: the number of images that `previous_weight` had learned from.
        raster_pixels: uint8 [few, I], the images of the spike raster; none of them draws no raster.
        raster_index: [few], the place of each of them in its data set.
        raster_names: [few], the name of each one's class.

    Every method raises what went wrong in the thread since the last call; `UserError` where a file cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        put: Put,
        model: Model,
        height: int,
        width: int,
        classes: Sequence[str],
        previous_weight: np.ndarray | None,
        previous_images: int,
        raster_pixels: np.ndarray,
        raster_index: np.ndarray,
        raster_names: Sequence[str],
    ):
        self.previous_weight = None if previous_weight is None else np.array(previous_weight)
        self.previous_images = previous_images
        self._directory, self._put, self._model = directory, put, model
        self._height, self._width, self._classes = height, width, list(classes)
        self._raster = (np.array(raster_pixels), np.array(raster_index), list(raster_names))
        self._drawn_at: int | None = None  # images seen at the last set that this object drew
        self._asked: deque[Future] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures")

    def while_learning(self, images_seen: int, state: NetworkState, labels: np.ndarray | None) -> None:
        """Draw the receptive fields with the neurons' labels [E], the weight change, theta and weights."""
        weight = np.array(state.weight)
        drawings = [self._fields(images_seen, weight, labels), *self._change(images_seen, weight, labels)]
        self._ask(images_seen, [*drawings, *self._histograms(images_seen, weight, np.array(state.theta))])

    def after_learning(self, images_seen: int, state: NetworkState) -> None:
        """Draw what needs no labels, while labelling and testing go on: weight change, theta, weights, spike raster."""
        weight, theta = np.array(state.weight), np.array(state.theta)
        drawings: list[Drawing] = []
        if images_seen != self._drawn_at:  # else `while_learning` has just drawn the same
            drawings += [*self._change(images_seen, weight, None), *self._histograms(images_seen, weight, theta)]
        persistent = {name: np.array(array) for name, array in state.persistent.items()}
        self._ask(images_seen, [*drawings, *self._spikes(images_seen, NetworkState(weight, theta, persistent))])

    def after_labelling(self, images_seen: int, state: NetworkState, labels: np.ndarray) -> None:
        """Draw the receptive fields with the neurons' labels [E] and the neurons per class, while testing goes on."""
        labels = np.array(labels)
        per_class = ("neurons_per_class", partial(figures.neurons_per_class, labels, self._classes))
        self._ask(images_seen, [self._fields(images_seen, np.array(state.weight), labels), per_class])

    def at_the_end(
        self,
        images_seen: int,
        evaluation: Evaluation,
        readout: str,
        running: Sequence[tuple[int, float]] = (),
        evaluations: Sequence[tuple[int, float]] = (),
    ) -> None:
        """Draw the confusion matrix of a readout and the accuracy over the images seen.

        `running` and `evaluations` are points (images seen, accuracy as a fraction) of the running accuracy while
        learning and of evaluations on the way; `evaluation` becomes the last of the latter.
        """
        points = [*evaluations, (images_seen, evaluation.accuracy[readout])]
        drawings: list[Drawing] = [
            ("confusion", partial(_confusion, evaluation, self._classes, readout)),
            ("accuracy", partial(_accuracy, list(running), points, readout, len(self._classes))),
        ]
        self._ask(images_seen, drawings)

    def wait(self) -> None:
        """Wait until everything asked for is drawn; before a checkpoint, which must not be ahead of its pictures."""
        while self._asked:
            self._asked.popleft().result()

    def close(self) -> None:
        """Wait until everything is drawn, and end the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if kind is None:
            self.close()
            return
        # The run has failed or was interrupted: finish the picture in hand, and let no second error hide the first.
        self._thread.shutdown(cancel_futures=True)
        for future in self._asked:
            if not future.cancelled() and future.exception() is not None:
                log.error("drawing failed: %s", future.exception())

    # What is drawn: (name, function that draws it) ------------------------------------------------------------------

    def _fields(self, images_seen: int, weight: np.ndarray, labels: np.ndarray | None) -> Drawing:
        return "receptive_fields", partial(
            figures.receptive_fields,
            weight,
            self._height,
            self._width,
            labels=None if labels is None else np.array(labels),
            classes=self._classes,
            title=f"Receptive fields after {images_seen:,} images",
            quantity=f"weight ({_weight_unit(self._model)})",
        )

    def _change(self, images_seen: int, weight: np.ndarray, labels: np.ndarray | None) -> list[Drawing]:
        """Return the drawing of the change since the last one, and keep `weight` for the next."""
        before, images_before = self.previous_weight, self.previous_images
        self.previous_weight, self.previous_images = weight, images_seen
        if before is None or images_before == images_seen:
            return []
        draw = partial(
            figures.weight_change,
            before,
            weight,
            self._height,
            self._width,
            labels=None if labels is None else np.array(labels),
            classes=self._classes,
            title=f"Weight change from {images_before:,} to {images_seen:,} images",
            quantity=f"weight change ({_weight_unit(self._model)})",
        )
        return [("weight_change", draw)]

    def _histograms(self, images_seen: int, weight: np.ndarray, theta: np.ndarray) -> list[Drawing]:
        after = f"after {images_seen:,} images"
        theta_name, theta_unit = _theta_and_unit(self._model)
        theta_axis, weight_axis = f"{theta_name} ({theta_unit})", f"weight ({_weight_unit(self._model)})"
        draw_theta = partial(figures.histogram, theta, theta_axis, f"Distribution of {theta_name} {after}")
        draw_weights = partial(figures.histogram, weight, weight_axis, f"Distribution of weights {after}")
        return [
            ("theta", partial(draw_theta, counted_as="neurons")),
            # Most weights are near 0, and next to them no others would be seen.
            ("weights", partial(draw_weights, counted_as="synapses", log_counts=True)),
        ]

    def _spikes(self, images_seen: int, state: NetworkState) -> list[Drawing]:
        pixels, index, names = self._raster
        if len(pixels) == 0:
            return []

        def draw() -> "Figure":
            import torch

            torch.set_num_threads(1)  # of this thread alone: more would compete with those that label and test
            spikes = record_spikes(self._model, state, pixels, index)
            images = pixels.reshape(-1, self._height, self._width)
            title = f"Spikes after {images_seen:,} images, learning off"
            return figures.raster(*spikes, images, names, dt_ms=self._model.encoder.dt_ms, title=title)

        return [("raster", draw)]

    # The thread -----------------------------------------------------------------------------------------------------

    def _ask(self, images_seen: int, drawings: list[Drawing]) -> None:
        self._drawn_at = images_seen
        while self._asked and self._asked[0].done():
            self._asked.popleft().result()
        if len(self._asked) >= SETS_AT_ONCE:
            start = time.perf_counter()
            self._asked.popleft().result()
            waited = time.perf_counter() - start
            log.warning("waited %.1f s for pictures: drawing is slower than what is drawn; draw less often", waited)
        self._asked.append(self._thread.submit(self._draw, images_seen, drawings))

    def _draw(self, images_seen: int, drawings: list[Drawing]) -> None:
        for name, draw in drawings:
            with _one_draws:
                figure = draw()
                png, size = figures.to_png(figure), figures.size_in_pixels(figure)
                figures.release(figure)
            path = self._directory / f"{name}.png"
            write_atomically(path, png)
            self._put(images_seen, name, png, size)


def _theta_and_unit(model: Model) -> tuple[str, str]:
    if model.neuron.arithmetic == "int":  # theta is the whole threshold there
        return "threshold theta", f"units; {UNITS_PER_MV} units are 1 mV"
    return "adaptive threshold theta", "no unit" if issubclass(model.neuron, ALIF) else "mV"


def _weight_unit(model: Model) -> str:
    if model.neuron.arithmetic == "int":
        return "units"
    return "no unit" if issubclass(model.neuron, ALIF) else "mV per spike"


def _confusion(evaluation: Evaluation, classes: Sequence[str], readout: str) -> "Figure":
    return figures.confusion(
        evaluation.confusion[readout],
        classes,
        accuracy=evaluation.accuracy[readout],
        interval=evaluation.interval(readout),
        readout=readout,
    )


def _accuracy(running, evaluations, readout: str, n_classes: int) -> "Figure":
    return figures.accuracy_curve(
        *_columns(running),
        evaluations=_columns(evaluations),
        chance=1 / n_classes,
        title=f"Accuracy while learning, readout: {readout}",
    )


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [images for images, _ in points], [accuracy for _, accuracy in points]
