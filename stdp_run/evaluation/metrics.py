"""The accuracy of a labelled network: the reported figures, and an estimate while it learns.

`label_neurons` and `evaluate` present no images. They call a function `count`, which returns the spike counts [N, E] of
a slice of the images, with learning off.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from stdp_run.evaluation.calibration import Calibration, Reliability, fit_calibration
from stdp_run.evaluation.labels import Labels, assign_labels, sum_by_class
from stdp_run.evaluation.readouts import NO_ANSWER, READOUTS, answer

IMAGES_AT_ONCE = 1000  # so that counts and scores never need much memory
MOST_CALIBRATING = 5000  # images, the last ones by which neurons are labelled, and at most half of those

Count = Callable[[slice], np.ndarray]


@dataclass(frozen=True)
class Evaluation:
    """The accuracy of a labelled network on a set of images."""

    n_images: int
    n_correct: dict[str, int]  # by readout
    confusion: dict[str, np.ndarray]  # by readout, [C, C + 1]: true class, answer; last column: no answer
    spikes_per_image: float
    images_per_second: float
    calibration_error: dict[str, float] = field(default_factory=dict)  # by readout, expected

    @property
    def accuracy(self) -> dict[str, float]:
        """The share of right answers, by readout."""
        return {name: correct / self.n_images for name, correct in self.n_correct.items()}

    def interval(self, readout: str) -> tuple[float, float]:
        """The 95% interval of a readout's accuracy."""
        return wilson_interval(self.n_correct[readout], self.n_images)

    def accuracy_per_class(self, readout: str) -> list[float | None]:
        """The share of right answers among the images of each class; None for a class without images."""
        matrix = self.confusion[readout]
        totals = matrix.sum(axis=1)
        return [float(matrix[c, c] / totals[c]) if totals[c] else None for c in range(len(matrix))]


def forgetting(accuracy: np.ndarray) -> np.ndarray:
    """Return the forgetting of each class, [C]: peak accuracy minus final accuracy, from rows [K, C], K > 1.

    It is below 0 where the final accuracy is the best (Chaudhry et al. 2018, arXiv 1801.10112, section 3).
    """
    return accuracy[:-1].max(axis=0) - accuracy[-1]


def wilson_interval(n_correct: int, n_images: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the 95% confidence interval of a proportion (Wilson 1927); another z gives another confidence."""
    share = n_correct / n_images
    spread = z * math.sqrt(share * (1 - share) / n_images + z * z / (4 * n_images * n_images))
    centre = share + z * z / (2 * n_images)
    scale = 1 + z * z / n_images
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def confusion_matrix(truth: np.ndarray, answers: np.ndarray, n_classes: int) -> np.ndarray:
    """Return [C, C + 1] counts of images by true class and answer; the last column counts those without an answer."""
    column = np.where(answers == NO_ANSWER, n_classes, answers)
    matrix = np.zeros((n_classes, n_classes + 1), np.int64)
    np.add.at(matrix, (truth, column), 1)
    return matrix


def slices(n_images: int) -> Iterator[slice]:
    """Yield slices that cover `n_images`, `IMAGES_AT_ONCE` at a time."""
    for start in range(0, n_images, IMAGES_AT_ONCE):
        yield slice(start, min(start + IMAGES_AT_ONCE, n_images))


def label_neurons(count: Count, classes: np.ndarray, n_classes: int) -> Labels:
    """Label neurons by their responses to training images of `classes` [N], and calibrate every readout.

    The last images calibrate. They are answered by labels from earlier images only: images that helped to label a
    neuron would be answered with more confidence than others.
    """
    first = len(classes) - min(MOST_CALIBRATING, len(classes) // 2)  # that calibrates
    sums = np.zeros(())  # [C, E] in the end; of whole numbers, and so the same in any order
    scores: dict[str, list[np.ndarray]] = {name: [] for name in READOUTS}
    for part in slices(len(classes)):
        counts = count(part)
        begin = min(max(first, part.start), part.stop)
        before, after = np.split(counts, [begin - part.start])
        sums = sums + sum_by_class(before, classes[part.start : begin], n_classes)
        if len(after):
            labels = assign_labels(sums, np.bincount(classes[:begin], minlength=n_classes))
            for name, readout in READOUTS.items():
                scores[name].append(readout(after, labels))
            sums = sums + sum_by_class(after, classes[begin : part.stop], n_classes)
    labels = assign_labels(sums, np.bincount(classes, minlength=n_classes))
    fitted = {name: fit_calibration(np.concatenate(each), classes[first:]) for name, each in scores.items() if each}
    return replace(labels, calibration=fitted)


def evaluate(count: Count, labels: Labels, classes: np.ndarray, known: np.ndarray | None = None) -> Evaluation:
    """Compare the answers of every readout with the images' `classes` [N]; only `known`, bool [C], are answered."""
    confusion = {name: np.zeros((labels.n_classes, labels.n_classes + 1), np.int64) for name in READOUTS}
    reliability = {name: Reliability() for name in READOUTS}
    n_spikes, begun = 0, time.perf_counter()
    for part in slices(len(classes)):
        counts = count(part)
        n_spikes += int(counts.sum(dtype=np.int64))
        for name, readout in READOUTS.items():
            score = readout(counts, labels)
            score = score if known is None else np.where(known, score, 0.0)
            answers = answer(score)
            confusion[name] += confusion_matrix(classes[part], answers, labels.n_classes)
            confidence = labels.calibration.get(name, Calibration()).confidence(score)
            reliability[name].add(confidence, answers == classes[part])
    return Evaluation(
        n_images=len(classes),
        n_correct={name: int(np.trace(matrix)) for name, matrix in confusion.items()},
        confusion=confusion,
        spikes_per_image=n_spikes / len(classes),
        images_per_second=len(classes) / max(time.perf_counter() - begun, 1e-9),
        calibration_error={name: each.expected_error for name, each in reliability.items()},
    )


class RunningAccuracy:
    """Estimates the accuracy while learning: the images of earlier windows label the neurons.

    `windows` is the number of earlier windows; without any, there is no estimate.
    """

    def __init__(self, n_classes: int, windows: int):
        self._n_classes = n_classes
        self._windows = windows
        self.earlier: list[tuple[np.ndarray, np.ndarray]] = []  # per window: spikes [C, E] and images [C] by class

    def labels(self) -> Labels | None:
        """Return the labels by the windows that came before; None before there is one."""
        if not self.earlier:
            return None
        sums, n_images = zip(*self.earlier, strict=True)
        return assign_labels(np.sum(sums, axis=0), np.sum(n_images, axis=0))

    def update(self, counts: np.ndarray, classes: np.ndarray, readout: str) -> float | None:
        """Return the accuracy on a window of images, counts[N, E] and classes[N], which then counts as earlier."""
        labels = self.labels()
        accuracy = None
        if labels is not None:
            accuracy = float((answer(READOUTS[readout](counts, labels)) == classes).mean())
        sums = sum_by_class(counts, classes, self._n_classes)
        self.earlier.append((sums, np.bincount(classes, minlength=self._n_classes)))
        del self.earlier[: max(0, len(self.earlier) - self._windows)]
        return accuracy
