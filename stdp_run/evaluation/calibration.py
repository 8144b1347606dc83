"""Confidence: the probability that a network's answer is right, fitted to its answers to unseen images.

The calibrated probability of class c is

    P(c) = q_c / sum_k q_k        q_c = (score_c / max_k score_k + floor)^(1 / temperature)

This is temperature scaling (Guo et al. 2017, arXiv 1706.04599) on the logarithms of the scores. The floor is the value
of a score of 0. One of `FLOORS` is fitted: mean counts are often 0, and Bayesian probabilities are often far below a
floor that suits counts. The answer does not change.
"""

import math
from typing import NamedTuple

import numpy as np

FLOORS = (1e-3, 1e-30)
TEMPERATURES = (0.05, 1e3)  # the least and the largest that may be found
BISECTIONS = 24  # of the range between them: to six digits
N_BINS = 15  # of confidence, as Guo et al. use


class Calibration(NamedTuple):
    """Turns a readout's scores into probabilities; the default gives their shares."""

    temperature: float = 1.0
    floor: float = 0.0

    def probability(self, score: np.ndarray) -> np.ndarray:
        """Return the probability of each class, [N, C], from scores [N, C]; 0 where no class scored."""
        best = score.max(axis=1, keepdims=True)
        power = (score / np.where(best > 0, best, 1) + self.floor) ** (1 / self.temperature)
        return np.where(best > 0, power / np.maximum(power.sum(axis=1, keepdims=True), 1), 0.0)

    def confidence(self, score: np.ndarray) -> np.ndarray:
        """Return the probability, [N], of the class with the highest score; 0 where no class scored."""
        return self.probability(score).max(axis=1)


def fit_calibration(score: np.ndarray, classes: np.ndarray) -> Calibration:
    """Return the calibration under which the classes [N] of images are most probable, given their scores [N, C].

    Images without an answer do not count. Targets are smoothed (Platt 1999), so that a few right answers do not give
    full confidence.
    """
    answered = score.max(axis=1) > 0
    score, classes = score[answered], classes[answered]
    n_images, n_classes = score.shape
    if n_images == 0 or n_classes < 2:
        return Calibration()
    target = np.full(score.shape, 1 / (n_images + 2) / (n_classes - 1))
    target[np.arange(n_images), classes] = (n_images + 1) / (n_images + 2)
    fits = []
    for floor in FLOORS:
        log_score = np.log(score / score.max(axis=1, keepdims=True) + floor)
        # The cross entropy is convex in 1 / temperature. At its minimum, the expected mean logarithm is that of the
        # targets; it falls with the temperature.
        wanted = (target * log_score).sum(axis=1).mean()
        low, high = TEMPERATURES
        for _ in range(BISECTIONS):
            temperature = math.sqrt(low * high)
            power = np.exp(log_score / temperature)  # [N, C]
            expected = ((power * log_score).sum(axis=1) / power.sum(axis=1)).mean()
            low, high = (temperature, high) if expected > wanted else (low, temperature)
        cross_entropy = np.log(power.sum(axis=1)).mean() - wanted / temperature
        fits.append((float(cross_entropy), Calibration(temperature, floor)))
    return min(fits)[1]


class Reliability:
    """Whether answers are right as often as their confidence says, over images in parts."""

    def __init__(self) -> None:
        self._confidence, self._right, self._images = np.zeros((3, N_BINS))  # sums by bin of confidence

    def add(self, confidence: np.ndarray, right: np.ndarray) -> None:
        """Count answers by their confidence [N] and by whether they are right [N]."""
        bin_index = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
        for sums, values in ((self._confidence, confidence), (self._right, right), (self._images, None)):
            sums += np.bincount(bin_index, values, N_BINS)

    @property
    def expected_error(self) -> float:
        """The expected calibration error: how far confidence and accuracy lie apart, bin by bin (Guo et al. 2017)."""
        return float(np.abs(self._confidence - self._right).sum() / max(self._images.sum(), 1))
