"""The accuracy of a labelled network: the reported figures, and an estimate while it learns."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from stdp_run.evaluation.calibration import Calibration, Reliability, fit_calibration
from stdp_run.evaluation.labels import Labels, assign_labels, sum_by_class
from stdp_run.evaluation.readouts import READOUTS, answer

IMAGES_AT_ONCE = 1000  # limits the memory for counts and scores
MOST_CALIBRATING = 5000  # images: the last ones of those that label neurons, and at most half of them

Count = Callable[[slice], np.ndarray]  # presents a slice of the images without learning: spike counts [N, E]


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
        """The 95% confidence interval of a readout's accuracy (Wilson 1927)."""
        z, n, share = 1.959963984540054, self.n_images, self.accuracy[readout]
        spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        centre, scale = share + z * z / (2 * n), 1 + z * z / n
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)

    def accuracy_per_class(self, readout: str) -> list[float | None]:
        """The share of right answers among the images of each class; None for a class without images."""
        matrix = self.confusion[readout]
        totals = matrix.sum(axis=1)
        return [float(matrix[c, c] / totals[c]) if totals[c] else None for c in range(len(matrix))]


def slices(n_images: int) -> Iterator[slice]:
    """Yield slices that cover `n_images`, `IMAGES_AT_ONCE` at a time."""
    for start in range(0, n_images, IMAGES_AT_ONCE):
        yield slice(start, min(start + IMAGES_AT_ONCE, n_images))


def label_neurons(count: Count, classes: np.ndarray, n_classes: int) -> Labels:
    """Label neurons by their responses to training images of `classes` [N], and calibrate every readout.

    The last images calibrate. They are answered by labels from earlier images only, as confidence is too high on images
    that labelled the neurons.
    """
    first = len(classes) - min(MOST_CALIBRATING, len(classes) // 2)  # of those that calibrate
    sums = np.zeros(())  # [C, E], whole numbers: the same in any order
    scores: dict[str, list[np.ndarray]] = {name: [] for name in READOUTS}
    for part in slices(len(classes)):
        counts, begin = count(part), min(max(first, part.start), part.stop)
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
    """Compare the answers of every readout with the images' `classes` [N]; answers are `known` classes, bool [C]."""
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
            np.add.at(confusion[name], (classes[part], answers), 1)  # NO_ANSWER, -1, is the last column
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
    """Estimates the accuracy while learning: the images of a number of earlier `windows` label the neurons."""

    def __init__(self, n_classes: int, windows: int):
        self._n_classes, self._windows = n_classes, windows
        self.earlier: list[tuple[np.ndarray, np.ndarray]] = []  # per window: spikes [C, E] and images [C] by class

    def labels(self) -> Labels | None:
        """Return the labels from earlier windows, or None if there are none."""
        if not self.earlier:
            return None
        sums, n_images = zip(*self.earlier, strict=True)
        return assign_labels(np.sum(sums, axis=0), np.sum(n_images, axis=0))

    def update(self, counts: np.ndarray, classes: np.ndarray, readout: str) -> float | None:
        """Return the accuracy on a window, counts[N, E] and classes[N], or None without earlier ones; then keep it."""
        labels, accuracy = self.labels(), None
        if labels is not None:
            accuracy = float((answer(READOUTS[readout](counts, labels)) == classes).mean())
        sums = sum_by_class(counts, classes, self._n_classes)
        self.earlier.append((sums, np.bincount(classes, minlength=self._n_classes)))
        del self.earlier[: max(0, len(self.earlier) - self._windows)]
        return accuracy
