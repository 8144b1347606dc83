"""Labels neurons and measures accuracy, with learning off."""

from contextlib import nullcontext

import numpy as np

from stdp_run.datasets.selection import Data
from stdp_run.engines.base import Engine
from stdp_run.evaluation import metrics
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.metrics import Count, Evaluation
from stdp_run.evaluation.supervised import Features
from stdp_run.training.signals import Stop
from stdp_run.training.tracking import Bar, Bars


def label(
    engine: Engine,
    data: Data,
    bars: Bars,
    stop: Stop | None,
    known: np.ndarray | None = None,
    features: Features | None = None,
) -> Labels:
    """Label the neurons by the labelled images; `known`, bool [C], restricts them to some classes.

    `features` keeps the counts of these images.
    """
    classes = data.train_classes[: data.label_pixels.shape[1]]
    index = np.arange(len(classes)) if known is None else np.flatnonzero(known[classes])
    pixels = data.label_pixels if known is None else data.label_pixels[:, index]
    with bars.open("labelling", len(index)) as bar:
        count = _counter(engine, pixels, index, bar, stop)
        return metrics.label_neurons(_observed(count, features), classes[index], len(data.classes))


def measure(
    engine: Engine,
    data: Data,
    labels: Labels,
    bars: Bars,
    stop: Stop | None = None,
    known: np.ndarray | None = None,
    features: Features | None = None,
) -> Evaluation:
    """Measure the accuracy on the test images; `known`, bool [C], restricts the answers to some classes.

    `features` keeps the counts of these images. Afterwards `engine.take_activity` returns their activity alone.
    """
    engine.take_activity()
    with bars.open("testing", len(data.test_index)) as bar:
        count = _counter(engine, data.test_pixels, data.test_index, bar, stop)
        return metrics.evaluate(_observed(count, features), labels, data.test_classes, known)


def _observed(count: Count, features: Features | None) -> Count:
    """Return `count`; it also adds its counts to `features`, if there are any."""
    if features is None:
        return count

    def observed(part: slice) -> np.ndarray:
        counts = count(part)
        features.add(part, counts)
        return counts

    return observed


def _counter(engine: Engine, pixels: np.ndarray, index: np.ndarray, bar: Bar, stop: Stop | None) -> Count:
    """Return the function that counts the spikes of a slice of images, uint8 [K, N, P] with their `index` [N]."""

    def count(part: slice) -> np.ndarray:
        counts = []
        for start in range(part.start, part.stop, engine.inference_batch):
            batch = slice(start, min(start + engine.inference_batch, part.stop))
            with stop.at_once() if stop else nullcontext():
                counts.append(engine.count_spikes(pixels[:, batch], index[batch]))
            bar.update(len(counts[-1]))
        return np.concatenate(counts)

    return count
