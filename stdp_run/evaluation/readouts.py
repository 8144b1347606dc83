"""From spike counts to classes: labels for neurons, readouts, and the figures that are reported.

Labels come from training images only, with learning off (Diehl & Cook 2015, section 2.5).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

NO_LABEL = -1
NO_ANSWER = -1
FLOOR = 1e-4
SMOOTHING = 3e-3
IMAGES_AT_ONCE = 1000


@dataclass(frozen=True)
class Labels:
    """What each neuron stands for, from its responses to training images."""

    label: np.ndarray  # [E] int64, the class that a neuron answers most, or NO_LABEL where it never spiked
    mean_count: np.ndarray  # [C, E] mean spikes per image of each class

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return len(self.mean_count)

    @property
    def proportion(self) -> np.ndarray:
        """[C, E] the share of each class in a neuron's mean counts; 0 for a silent neuron."""
        total = self.mean_count.sum(axis=0)
        return self.mean_count / np.where(total > 0, total, 1.0)

    @property
    def n_silent(self) -> int:
        """The number of neurons that never spiked."""
        return int((self.label == NO_LABEL).sum())


def sum_by_class(counts: np.ndarray, classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the spikes of each neuron summed over the images of each class, [C, E] float64 of whole numbers.

    Args:
        counts: spikes per image and neuron, [N, E].
        classes: the class of each image, [N].
    """
    return one_hot(classes, n_classes).T @ counts.astype(np.float64)


def one_hot(classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return [N, C] float64, 1 at each image's class; a class of -1 has no 1."""
    return (classes[:, None] == np.arange(n_classes)).astype(np.float64)


def assign_labels(sums: np.ndarray, n_images: np.ndarray) -> Labels:
    """Return the labels from the spikes summed by class, [C, E], and the number of images of each class, [C]."""
    mean_count = sums / np.maximum(n_images, 1)[:, None]
    label = np.where(mean_count.sum(axis=0) > 0, mean_count.argmax(axis=0), NO_LABEL)
    return Labels(label, mean_count)


# ------------------------------------------------------------------------------------------------------------------
# Readouts: counts[N, E] and labels -> score[N, C]. The class with the highest score is the answer.


def all_activity(counts: np.ndarray, labels: Labels) -> np.ndarray:
    """Score a class by the mean spike count of its neurons (Diehl & Cook 2015)."""
    members = one_hot(labels.label, labels.n_classes)
    return (counts @ members) / np.maximum(members.sum(axis=0), 1)


def proportion(counts: np.ndarray, labels: Labels) -> np.ndarray:
    """Score a class by all spikes, each weighted by the proportion that its neuron gives to the class."""
    return counts @ labels.proportion.T


def naive_bayes(counts: np.ndarray, labels: Labels) -> np.ndarray:
    """Score a class by its probability, from counts that are independent and Poisson (Zhang et al. 1998).

        log P(c | n) = sum_i (n_i log f_ci - f_ci) + constant              (doi 10.1152/jn.1998.79.2.1017, eq. 36)

    f is the mean count of each class, [C, E], from labelling; every class is as likely as any other beforehand. A
    class in which a neuron never spiked gets `FLOOR` of its mean over the classes, so that one spike excludes nothing.
    An image without spikes of a labelled neuron scores 0 everywhere: silence is no answer.
    """
    labelled = labels.label != NO_LABEL
    counts, mean = counts[:, labelled], labels.mean_count[:, labelled]
    mean = mean + FLOOR * mean.mean(axis=0)
    return _probability(counts @ np.log(mean).T - mean.sum(axis=1), counts)


def multinomial_bayes(counts: np.ndarray, labels: Labels) -> np.ndarray:
    """Score a class by its probability, from which neurons spike and not from how often in all (McCallum & Nigam 1998).

        log P(c | n) = sum_i n_i log q_ci + constant
        q_ci = g_ci / sum_i g_ci          g_ci = f_ci + `SMOOTHING` * mean_c f_ci, f as in `naive_bayes`

    q_ci is the share of a class's spikes that neuron i gives: multinomial naive Bayes, the spikes of an image being
    drawn from its class one by one. How many there are is left out, and with it what Poisson counts say of neurons that
    are silent: where few of many similar neurons win an image, that misleads. Smoothing is towards a neuron's mean over
    the classes (Jelinek & Mercer 1980). Silence is no answer, as with `naive_bayes`.
    """
    labelled = labels.label != NO_LABEL
    counts, mean = counts[:, labelled], labels.mean_count[:, labelled]
    smooth = mean + SMOOTHING * mean.mean(axis=0)
    total = np.maximum(smooth.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return _probability(counts @ np.log(smooth / total).T, counts)


def _probability(log_score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the probabilities [N, C] whose logarithms, but for a constant per image, are given; 0 without spikes."""
    likelihood = np.exp(log_score - log_score.max(axis=1, keepdims=True))
    spiked = counts.any(axis=1, keepdims=True)
    return np.where(spiked, likelihood / likelihood.sum(axis=1, keepdims=True), 0.0)


READOUTS: dict[str, Callable] = {
    "all_activity": all_activity,
    "proportion": proportion,
    "naive_bayes": naive_bayes,
    "multinomial_bayes": multinomial_bayes,
}


def answer(score: np.ndarray) -> np.ndarray:
    """Return the class with the highest score per image, [N]; NO_ANSWER where no class scored, as without spikes."""
    return np.where(score.max(axis=1) > 0, score.argmax(axis=1), NO_ANSWER)


# ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evaluation:
    """How well a labelled network recognises a set of images."""

    n_images: int
    n_correct: dict[str, int]  # by readout
    confusion: dict[str, np.ndarray]  # by readout, [C, C + 1]: true class, answer; the last column: no answer
    spikes_per_image: float
    images_per_second: float

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


def wilson_interval(n_correct: int, n_images: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the interval in which a proportion lies with 95% (z = 1.96) confidence (Wilson 1927)."""
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


# What shows the same images to K networks with learning off: (pixels[N, I], index[N]) -> counts[N, E] of each.
CountSpikes = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]


def label_neurons(
    count_spikes: CountSpikes, pixels: np.ndarray, index: np.ndarray, classes: np.ndarray, n_classes: int, progress
) -> list[Labels]:
    """Show training images to K networks with learning off; return each one's labels, by its own responses.

    Args:
        count_spikes: shows images.
        pixels: uint8 [N, I].
        index: place of each image in its data set, [N].
        classes: class of each image, [N].
        n_classes: the number of classes.
        progress: called with the number of images done.
    """
    sums: list[np.ndarray] = []
    for part in parts(len(pixels)):
        found = [sum_by_class(counts, classes[part], n_classes) for counts in count_spikes(pixels[part], index[part])]
        sums = [before + more for before, more in zip(sums, found, strict=True)] if sums else found
        progress(len(pixels[part]))
    n_images = np.bincount(classes, minlength=n_classes)
    return [assign_labels(each, n_images) for each in sums]


def evaluate(
    count_spikes: CountSpikes, labels: Sequence[Labels], pixels, index, classes, progress, clock: Callable[[], float]
) -> list[Evaluation]:
    """Show images to K networks with learning off and compare every readout's answers with the images' classes.

    `labels` are those of each network; the other arguments are as above, and `clock` gives the time in s.
    """
    tallies = [_Tally(each) for each in labels]
    start = clock()
    for part in parts(len(pixels)):
        for tally, counts in zip(tallies, count_spikes(pixels[part], index[part]), strict=True):
            tally.add(counts, classes[part])
        progress(len(pixels[part]))
    seconds = clock() - start
    return [tally.evaluation(len(pixels), seconds) for tally in tallies]


class _Tally:
    """The answers of one network, counted."""

    def __init__(self, labels: Labels):
        self._labels = labels
        n_classes = labels.n_classes
        self._confusion = {name: np.zeros((n_classes, n_classes + 1), np.int64) for name in READOUTS}
        self._n_spikes = 0

    def add(self, counts: np.ndarray, classes: np.ndarray) -> None:
        """Count images with spike counts [N, E] and classes [N]."""
        self._n_spikes += int(counts.sum(dtype=np.int64))
        for name, readout in READOUTS.items():
            answers = answer(readout(counts, self._labels))
            self._confusion[name] += confusion_matrix(classes, answers, self._labels.n_classes)

    def evaluation(self, n_images: int, seconds: float) -> Evaluation:
        return Evaluation(
            n_images=n_images,
            n_correct={name: int(np.trace(matrix)) for name, matrix in self._confusion.items()},
            confusion=self._confusion,
            spikes_per_image=self._n_spikes / n_images,
            images_per_second=n_images / max(seconds, 1e-9),
        )


def parts(n_images: int):
    """Yield slices that cover `n_images` a thousand at a time, so that counts never need much memory."""
    for start in range(0, n_images, IMAGES_AT_ONCE):
        yield slice(start, min(start + IMAGES_AT_ONCE, n_images))


class RunningAccuracy:
    """An honest estimate of the accuracy while learning: neurons are labelled by windows of images that came before.

    `windows` is how many windows back labels are taken from; before there is one, there is no estimate.
    """

    def __init__(self, n_classes: int, windows: int):
        self._n_classes = n_classes
        self._windows = windows
        self.earlier: list[
            tuple[np.ndarray, np.ndarray]
        ] = []  # per window: spikes by class [C, E], images by class [C]

    def labels(self) -> Labels | None:
        """Return the labels by the windows that came before; None before there is one."""
        if not self.earlier:
            return None
        return assign_labels(*(sum(parts) for parts in zip(*self.earlier, strict=True)))

    def update(self, counts: np.ndarray, classes: np.ndarray, readout: str) -> float | None:
        """Return the accuracy on a window of images, counts[N, E] and classes[N], which then counts as earlier."""
        accuracy = None
        labels = self.labels()
        if labels is not None:
            accuracy = float((answer(READOUTS[readout](counts, labels)) == classes).mean())
        sums = sum_by_class(counts, classes, self._n_classes)
        self.earlier.append((sums, np.bincount(classes, minlength=self._n_classes)))
        del self.earlier[: -self._windows]
        return accuracy
