"""Labels neurons and measures accuracy, with learning off."""

from contextlib import nullcontext

import numpy as np

from stdp_run.datasets.selection import Data
from stdp_run.engines.base import Engine
from stdp_run.evaluation import metrics
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.metrics import Count, Evaluation
from stdp_run.training.signals import Stop
from stdp_run.training.tracking import Bar, Bars


def label(
    engine: Engine, data: Data, n_label: int | None, bars: Bars, stop: Stop | None, known: np.ndarray | None = None
) -> Labels:
    """Label the neurons by the first `n_label` training images; `known`, bool [C], restricts them to some classes."""
    chosen = slice(n_label) if known is None else np.flatnonzero(known[data.train_classes])[:n_label]
    classes, index = data.train_classes[chosen], np.arange(len(data.train_pixels))[chosen]
    with bars.open("labelling", len(index)) as bar:
        count = _counter(engine, data.train_pixels[chosen], index, bar, stop)
        return metrics.label_neurons(count, classes, len(data.classes))


def measure(
    engine: Engine, data: Data, labels: Labels, bars: Bars, stop: Stop | None = None, known: np.ndarray | None = None
) -> Evaluation:
    """Measure the accuracy on the test images; `known`, bool [C], restricts the answers to some classes.

    Afterwards `engine.take_activity` returns the activity of these images alone.
    """
    engine.take_activity()
    with bars.open("testing", len(data.test_pixels)) as bar:
        count = _counter(engine, data.test_pixels, data.test_index, bar, stop)
        return metrics.evaluate(count, labels, data.test_classes, known)


def _counter(engine: Engine, pixels: np.ndarray, index: np.ndarray, bar: Bar, stop: Stop | None) -> Count:
    """Return the function that counts the spikes of a slice of images, uint8 [N, I] with their `index` [N]."""

    def count(part: slice) -> np.ndarray:
        counts = []
        for start in range(part.start, part.stop, engine.inference_batch):
            batch = slice(start, min(start + engine.inference_batch, part.stop))
            with stop.at_once() if stop else nullcontext():
                counts.append(engine.count_spikes(pixels[batch], index[batch]))
            bar.update(len(counts[-1]))
        return np.concatenate(counts)

    return count
