"""Draws the plots of a run in a background thread."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np

from stdp_run.config.schema import Settings
from stdp_run.datasets.selection import Data
from stdp_run.encoding import in_pixels
from stdp_run.engines.dense.presentation import record_spikes
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.metrics import Evaluation
from stdp_run.evaluation.readouts import READOUTS, answer
from stdp_run.files import write_atomically
from stdp_run.network import Model, NetworkState
from stdp_run.reporting import plots
from stdp_run.reporting.plots.style import Figure, short

SETS_AT_ONCE = 3  # one is drawn and two wait; each has copies of the weights
RASTER_IMAGES = 3

Plots = Iterator[tuple[str, Figure]]


class PlotWriter:
    """Context that draws the plots of a run in a background thread.

    `submit` draws the figures of `network`, `labelled` or `results`; their arrays must not change afterwards. The
    thread writes NAME.png to the directory and calls `put` with images seen, NAME and the bytes of the file. Every
    method raises the errors of the thread; UserError if a file cannot be written.
    """

    def __init__(
        self, directory: Path, put: Callable[[int, str, bytes], None], settings: Settings, model: Model, data: Data
    ):
        self._directory, self._put = directory, put
        self._settings, self._model, self._data = settings, model, data
        self._labelled = settings.dataset.name != "patches"  # a patch has the class of its image
        self._sets: deque[Future] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plots")

    def submit(self, images_seen: int, figures: Plots) -> None:
        """Draw figures in the background; wait while two sets of figures are waiting."""
        while self._sets and (self._sets[0].done() or len(self._sets) >= SETS_AT_ONCE):
            self._sets.popleft().result()
        self._sets.append(self._thread.submit(self._draw, images_seen, figures))

    def wait(self) -> None:
        """Wait for all plots. Call it before a checkpoint, so that no plot is missing after a resume."""
        while self._sets:
            self._sets.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)  # after an error the set being drawn is finished
        if kind is None:
            self.wait()

    def _draw(self, images_seen: int, figures: Plots) -> None:
        for name, figure in figures:
            png = plots.to_png(figure)
            write_atomically(self._directory / f"{name}.png", png)
            self._put(images_seen, name, png)

    def network(self, images_seen: int, state: NetworkState, labels: np.ndarray | None) -> Plots:
        """Yield receptive fields with the neurons' labels [E], thresholds and weights."""
        images, classes, first = self._settings.dataset, self._data.classes, self._data.first_layer
        after, (unit, theta_unit) = f"after {images_seen:,} images", self._model.neuron.units
        kind = "ON minus OFF weight" if self._model.encoder.on_off else "weight"
        title, quantity = f"Receptive fields {after}", f"{kind} ({unit})"
        weight = in_pixels(state.weight, self._model.encoder)
        if first is not None:
            title, quantity = f"{title}, drawn through the first layer", f"{quantity} x mean weight of the first layer"
            weight = weight @ first.projection
        weight = weight.reshape(-1, images.height, images.width)
        labels = labels if self._labelled else None
        yield "receptive_fields", plots.receptive_fields(weight, labels, classes, title, quantity)
        theta = "threshold theta" if self._model.neuron.arithmetic == "int" else "adaptive threshold theta"
        title = f"Distribution of {theta} {after}"
        yield "theta", plots.histogram(state.theta, f"{theta} ({theta_unit})", title, "neurons")
        # Most weights are near 0; on a linear scale other weights would be invisible.
        title = f"Distribution of weights {after}"
        yield "weights", plots.histogram(state.weight, f"weight ({unit})", title, "synapses", log_counts=True)

    def labelled(self, images_seen: int, state: NetworkState, labels: Labels) -> Plots:
        """Yield the neurons per class, the block weights of a second layer, and a spike raster."""
        import torch

        settings, data, after = self._settings, self._data, f"after {images_seen:,} images"
        if self._labelled:
            yield "neurons_per_class", plots.neurons_per_class(labels.label, data.classes)
        if settings.first_layer is not None:
            down, across = settings.first_layer.blocks(settings.dataset)
            n_first = self._model.n_pixels // (down * across)
            rows = max(n for n in range(1, math.isqrt(n_first) + 1) if n_first % n == 0)
            maps = in_pixels(state.weight, self._model.encoder).reshape(-1, down, across, rows, n_first // rows)
            maps = maps.transpose(0, 3, 1, 4, 2)
            maps = maps.reshape(-1, rows * down, n_first // rows * across)
            title = f"Weights {after}, {down} x {across} blocks for each neuron of the first layer"
            quantity = f"weight ({self._model.neuron.units[0]})"
            yield "block_weights", plots.receptive_fields(maps, labels.label, data.classes, title, quantity)
        _, one_each = np.unique(data.test_classes, return_index=True)
        chosen = np.sort(one_each)[:RASTER_IMAGES]
        torch.set_num_threads(1)  # affects this thread only; more would compete with the evaluation
        spikes = record_spikes(self._model, state, data.test_pixels[0, chosen], data.test_index[chosen])
        images = data.test_pixels[0] if data.first_layer is None else data.first_layer.test_images
        images = images[chosen].reshape(-1, settings.dataset.height, settings.dataset.width)
        answers = answer(READOUTS[settings.evaluator.readout](spikes[1].sum(axis=1), labels))
        short_names = [*(short(name, 12) for name in data.classes), "none"]  # NO_ANSWER is the index -1
        pairs = zip(data.test_classes[chosen], answers, strict=True)
        names = [f"true {short_names[k]}, answer {short_names[a]}" if self._labelled else "" for k, a in pairs]
        yield "raster", plots.raster(spikes, images, names, self._model.encoder.dt_ms, f"Spikes {after}, learning off")

    def results(
        self, final: Evaluation, running: np.ndarray, evaluations: np.ndarray, history: plots.ClassHistory | None
    ) -> Plots:
        """Yield the confusion matrix and the accuracy over images seen, also per class if `history` is given.

        `running` and `evaluations` [K, 2] have rows (images seen, accuracy as a fraction of 1). Patches have no such
        plots.
        """
        classes, readout = self._data.classes, self._settings.evaluator.readout
        if not self._labelled:
            return
        yield "confusion", plots.confusion(final, classes, readout)
        yield "accuracy", plots.accuracy_curve(running, evaluations, 1 / len(classes), readout)
        if history:
            yield "accuracy_per_class", plots.accuracy_per_class(history, classes, readout)
