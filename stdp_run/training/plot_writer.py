"""What a run plots, and when; plotting never holds up learning.

One thread in the background gets copies of the arrays and turns them into plots: each is rendered and encoded once, and
the same bytes become a PNG file in the run directory, which always shows the latest state, and an image in TensorBoard.
No plot is ever left out, so a run's plots do not depend on how busy the machine is: while one set is being made two
more may wait, and only whoever asks for a fourth waits too, which the log says.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from stdp_run.engines.dense.recording import record_spikes
from stdp_run.evaluation.metrics import Evaluation
from stdp_run.files import write_atomically
from stdp_run.network import Model, NetworkState
from stdp_run.reporting import plots
from stdp_run.reporting.plots.style import Figure

log = logging.getLogger(__name__)

# One set being made and two waiting: more would only pile up copies of the weights.
SETS_AT_ONCE = 3
# Plots are made in turn: Matplotlib has caches that threads would share.
_one_plots = threading.Lock()

Put = Callable[[int, str, bytes, tuple[int, int]], None]
Plot = tuple[str, Callable[[], Figure]]
Points = Sequence[tuple[int, float]]  # images seen, accuracy as a fraction


@dataclass(frozen=True)
class Plotted:
    """What plots need to know of a run: its network, its data set, and the images of the spike raster."""

    model: Model
    height: int  # of an image, in pixels
    width: int
    classes: Sequence[str]  # their names
    raster_images: np.ndarray  # uint8 [few, H * W]
    raster_pixels: np.ndarray  # uint8 [few, I], what the network sees of them
    raster_index: np.ndarray  # [few], the place of each in its data set
    raster_names: Sequence[str]  # [few], the name of each one's class
    projection: np.ndarray | None = None  # [I, H * W], what an input stands for in an image; None: a pixel
    blocks: tuple[int, int] | None = None  # of places, down and across, where a first layer sees the images


class PlotWriter:
    """Makes a run's plots in the background; use it as a context, or call `close` at the end.

    Args:
        directory: of the run; receives NAME.png for each plot NAME.
        put: called in the background thread with (images seen, NAME, PNG bytes, (height, width) in pixels).
        run: what is plotted.
        weight: [E, I], what the first weight change is taken from.
        images: the number of images that `weight` had learned from.

    Every method raises what went wrong in the thread since the last call; `UserError` where a file cannot be written.
    """

    def __init__(self, directory: Path, put: Put, run: Plotted, weight: np.ndarray, images: int):
        self.weight, self.images = np.array(weight), images  # of the last plot, and when that was
        self._directory, self._put, self._run = directory, put, run
        self._plotted_at: int | None = None  # images seen at the last set that this object made
        self._asked: deque[Future] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plots")

    def while_learning(self, images_seen: int, state: NetworkState, labels: np.ndarray | None) -> None:
        """Plot the receptive fields with the neurons' labels [E], the weight change, theta and weights."""
        state, tiles = deepcopy(state), self._tiles(labels)
        asked = [self._fields(images_seen, state.weight, tiles), *self._change(images_seen, state.weight, tiles)]
        self._ask(images_seen, asked + self._histograms(images_seen, state))

    def after_learning(self, images_seen: int, state: NetworkState) -> None:
        """Plot what needs no labels, during labelling and testing: weight change, theta, weights, spike raster."""
        state = deepcopy(state)
        asked = [self._spikes(images_seen, state)]
        if images_seen != self._plotted_at:  # else `while_learning` has just plotted the same
            change = self._change(images_seen, state.weight, self._tiles(None))
            asked = [*change, *self._histograms(images_seen, state), *asked]
        self._ask(images_seen, asked)

    def after_labelling(self, images_seen: int, state: NetworkState, labels: np.ndarray) -> None:
        """Plot the receptive fields with the neurons' labels [E] and the neurons per class, during testing."""
        weight, labels = np.array(state.weight), np.array(labels)
        fields = [
            self._fields(images_seen, weight, self._tiles(labels)),
            *self._block_weights(images_seen, weight, labels),
        ]
        per_class = partial(plots.neurons_per_class, labels, self._run.classes)
        self._ask(images_seen, [*fields, ("neurons_per_class", per_class)])

    def at_the_end(
        self,
        images_seen: int,
        evaluation: Evaluation,
        readout: str,
        points: tuple[Points, Points],
        history: plots.ClassHistory | None = None,
    ) -> None:
        """Plot the confusion matrix of a readout and the accuracy over the images seen, of each class if known.

        `points` are of the running accuracy while learning, and of evaluations on the way, after which comes this one.
        """
        classes, matrix = self._run.classes, evaluation.confusion[readout]
        accuracy, interval = evaluation.accuracy[readout], evaluation.interval(readout)
        confusion = partial(plots.confusion, matrix, classes, accuracy=accuracy, interval=interval, readout=readout)
        running, evaluations = (([x for x, _ in each], [y for _, y in each]) for each in points)
        evaluations[0].append(images_seen)
        evaluations[1].append(accuracy)
        title = f"Accuracy while learning, readout: {readout}"
        curve = partial(plots.accuracy_curve, *running, evaluations=evaluations, chance=1 / len(classes), title=title)
        asked: list[Plot] = [("confusion", confusion), ("accuracy", curve)]
        if history:
            per_class = partial(plots.accuracy_per_class, history, classes, readout=readout)
            asked.append(("accuracy_per_class", per_class))
        self._ask(images_seen, asked)

    def wait(self) -> None:
        """Wait until everything asked for is plotted; before a checkpoint, which must not be ahead of its plots."""
        while self._asked:
            self._asked.popleft().result()

    def close(self) -> None:
        """Wait until everything is plotted, and end the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self.close()
            return
        # The run has failed or was interrupted: finish the plot in hand, and let no second error hide the first.
        self._thread.shutdown(cancel_futures=True)
        for future in self._asked:
            if not future.cancelled() and future.exception() is not None:
                log.error("plotting failed: %s", future.exception())

    # What is plotted: (name, function that makes the figure) ---------------------------------------------------------

    def _tiles(self, labels: np.ndarray | None) -> plots.Tiles:
        labels = None if labels is None else np.array(labels)
        return plots.Tiles(self._run.height, self._run.width, labels, self._run.classes)

    def _fields(self, images_seen: int, weight: np.ndarray, tiles: plots.Tiles) -> Plot:
        title = f"Receptive fields after {images_seen:,} images{self._how}"
        quantity = self._quantity
        return "receptive_fields", lambda: plots.receptive_fields(
            self._in_image(weight), tiles, title=title, quantity=quantity
        )

    def _block_weights(self, images_seen: int, weight: np.ndarray, labels: np.ndarray) -> list[Plot]:
        """Return the plot of a second layer's weights as they are: for each neuron of the first a map of blocks."""
        if self._run.blocks is None:
            return []
        down, across = self._run.blocks
        n_first = weight.shape[1] // (down * across)
        rows = max(n for n in range(1, math.isqrt(n_first) + 1) if n_first % n == 0)
        maps = weight.reshape(-1, down, across, rows, n_first // rows).transpose(0, 3, 1, 4, 2)
        tiles = plots.Tiles(rows * down, n_first // rows * across, labels, self._run.classes)
        title = f"Weights after {images_seen:,} images, {down} x {across} blocks for each neuron of the first layer"
        quantity = f"weight ({self._run.model.neuron.units[0]})"
        flat = maps.reshape(weight.shape)
        return [("block_weights", partial(plots.receptive_fields, flat, tiles, title=title, quantity=quantity))]

    def _in_image(self, weight: np.ndarray) -> np.ndarray:
        """Return weights [E, I] as they are drawn, [E, H * W]: of a second layer, through the first."""
        return weight if self._run.projection is None else weight @ self._run.projection

    @property
    def _quantity(self) -> str:
        unit = self._run.model.neuron.units[0]
        return f"weight ({unit}){'' if self._run.projection is None else ' x mean weight of the first layer'}"

    @property
    def _how(self) -> str:
        return "" if self._run.projection is None else ", drawn through the first layer"

    def _change(self, images_seen: int, weight: np.ndarray, tiles: plots.Tiles) -> list[Plot]:
        """Return the plot of the change since the last one, if there was any, and keep `weight` for the next."""
        before, images_before = self.weight, self.images
        self.weight, self.images = weight, images_seen
        if images_before == images_seen:
            return []
        title = f"Weight change from {images_before:,} to {images_seen:,} images{self._how}"
        quantity = self._quantity.replace("weight", "weight change", 1)

        def change() -> Figure:
            drawn = self._in_image(before), self._in_image(weight)
            return plots.weight_change(*drawn, tiles, title=title, quantity=quantity)

        return [("weight_change", change)]

    def _histograms(self, images_seen: int, state: NetworkState) -> list[Plot]:
        after, (of_weight, of_theta) = f"after {images_seen:,} images", self._run.model.neuron.units
        name = "threshold theta" if self._run.model.neuron.arithmetic == "int" else "adaptive threshold theta"
        thetas = state.theta, f"{name} ({of_theta})", f"Distribution of {name} {after}"
        weights = state.weight, f"weight ({of_weight})", f"Distribution of weights {after}"
        return [
            ("theta", partial(plots.histogram, *thetas, counted_as="neurons")),
            # Most weights are near 0, and next to them no others would be seen.
            ("weights", partial(plots.histogram, *weights, counted_as="synapses", log_counts=True)),
        ]

    def _spikes(self, images_seen: int, state: NetworkState) -> Plot:
        run = self._run

        def raster() -> Figure:
            import torch

            torch.set_num_threads(1)  # of this thread alone: more would compete with those that label and test
            spikes = record_spikes(run.model, state, run.raster_pixels, run.raster_index)
            images = run.raster_images.reshape(-1, run.height, run.width)
            title = f"Spikes after {images_seen:,} images, learning off"
            return plots.raster(*spikes, images, run.raster_names, dt_ms=run.model.encoder.dt_ms, title=title)

        return "raster", raster

    # The thread -----------------------------------------------------------------------------------------------------

    def _ask(self, images_seen: int, asked: list[Plot]) -> None:
        self._plotted_at = images_seen
        while self._asked and self._asked[0].done():
            self._asked.popleft().result()
        if len(self._asked) >= SETS_AT_ONCE:
            start = time.perf_counter()
            self._asked.popleft().result()
            waited = time.perf_counter() - start
            log.warning("waited %.1f s for plots: plotting is slower than learning; raise trainer.plot_every", waited)
        self._asked.append(self._thread.submit(self._make, images_seen, asked))

    def _make(self, images_seen: int, asked: list[Plot]) -> None:
        for name, make in asked:
            with _one_plots:
                figure = make()
                png, size = plots.to_png(figure), plots.size_in_pixels(figure)
                plots.release(figure)
            write_atomically(self._directory / f"{name}.png", png)
            self._put(images_seen, name, png, size)
