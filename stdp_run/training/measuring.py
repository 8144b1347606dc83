"""Labels neurons and measures accuracy, with learning off."""

import numpy as np

from stdp_run.datasets.selection import Data
from stdp_run.engines.base import Array, Engine
from stdp_run.evaluation import metrics
from stdp_run.evaluation.labels import NO_LABEL, Labels
from stdp_run.evaluation.metrics import Count, Evaluation
from stdp_run.evaluation.supervised import Features
from stdp_run.training.signals import Stop
from stdp_run.training.tracking import Bar, Bars

Kept = Features | None  # keeps the counts of the images that are presented


def label(
    engine: Engine, data: Data, bars: Bars, stop: Stop, known: Array | None = None, features: Kept = None
) -> Labels:
    """Label the neurons by the labelled images; `known`, bool [C], restricts them to some classes."""
    index = np.arange(len(data.label_classes)) if known is None else np.flatnonzero(known[data.label_classes])
    if not len(index):  # none of the first `n_label` images is of a class presented so far
        return Labels(np.full(engine.model.n_exc, NO_LABEL), np.zeros((len(data.classes), engine.model.n_exc)))
    pixels = data.label_pixels if known is None else data.label_pixels[:, index]
    with bars.open("labelling", len(index)) as bar:
        count = _counter(engine, pixels, index, bar, stop, features)
        return metrics.label_neurons(count, data.label_classes[index], len(data.classes))


def measure(
    engine: Engine,
    data: Data,
    labels: Labels,
    bars: Bars,
    stop: Stop,
    known: Array | None = None,
    features: Kept = None,
) -> Evaluation:
    """Measure the accuracy on the test images; `known`, bool [C], restricts the answers to some classes.

    Afterwards `engine.take_activity` returns the activity of these images alone.
    """
    engine.take_activity()
    with bars.open("testing", len(data.test_index)) as bar:
        count = _counter(engine, data.test_pixels, data.test_index, bar, stop, features)
        return metrics.evaluate(count, labels, data.test_classes, known)


def _counter(engine: Engine, pixels: Array, index: Array, bar: Bar, stop: Stop, features: Kept) -> Count:
    """Return the function that counts the spikes of a slice of images, uint8 [K, N, P] with their `index` [N]."""

    def count(part: slice) -> np.ndarray:
        counts = []
        for start in range(part.start, part.stop, engine.inference_batch):
            batch = slice(start, min(start + engine.inference_batch, part.stop))
            with stop.at_once():
                counts.append(engine.count_spikes(pixels[:, batch], index[batch]))
            bar.update(len(counts[-1]))
        together = np.concatenate(counts)
        if features is not None:
            features.add(part, together)
        return together

    return count
