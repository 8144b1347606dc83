"""Readouts: from the spike counts of a labelled network to the class of an image.

Each is a function (counts[N, E], labels) -> score[N, C]; the class with the highest score is the answer. To add one,
write such a function and name it in `READOUTS`.
"""

from collections.abc import Callable

import numpy as np

from stdp_run.evaluation.labels import NO_LABEL, Labels, one_hot

NO_ANSWER = -1
FLOOR = 1e-4
SMOOTHING = 3e-3


def all_activity(counts: np.ndarray, labels: Labels) -> np.ndarray:
    """Score a class by the mean spike count of its neurons (Diehl & Cook 2015)."""
    members = one_hot(labels.label, labels.n_classes)
    return (counts @ members) / np.maximum(members.sum(axis=0), 1)


def proportion(counts: np.ndarray, labels: Labels) -> np.ndarray:
    """Score a class by all spikes, each weighted by the share of the class in its neuron's mean counts."""
    total = labels.mean_count.sum(axis=0)
    return counts @ (labels.mean_count / np.where(total > 0, total, 1.0)).T


def naive_bayes(counts: np.ndarray, labels: Labels) -> np.ndarray:
    """Score a class by its probability, from counts that are independent and Poisson (Zhang et al. 1998).

        log P(c | n) = sum_i (n_i log f_ci - f_ci) + constant              (doi 10.1152/jn.1998.79.2.1017, eq. 36)

    f is the mean count of each class, [C, E]; all classes are equally likely beforehand. `FLOOR` times the mean of f
    over the classes is added to f, so one spike excludes no class. An image that excites no labelled neuron scores 0.
    """
    labelled = labels.label != NO_LABEL
    counts, mean = counts[:, labelled], labels.mean_count[:, labelled]
    mean = mean + FLOOR * mean.mean(axis=0)
    return _probability(counts @ np.log(mean).T - mean.sum(axis=1), counts)


def multinomial_bayes(counts: np.ndarray, labels: Labels) -> np.ndarray:
    """Score a class by its probability, from each neuron's share of all spikes (McCallum & Nigam 1998).

        log P(c | n) = sum_i n_i log q_ci + constant
        q_ci = g_ci / sum_i g_ci          g_ci = f_ci + `SMOOTHING` * mean_c f_ci, f as in `naive_bayes`

    q_ci is the share of neuron i in the spikes of a class, smoothed towards its mean over the classes (Jelinek & Mercer
    1980). A neuron without spikes is no evidence, because only a few of many similar neurons win an image.
    """
    labelled = labels.label != NO_LABEL
    counts, mean = counts[:, labelled], labels.mean_count[:, labelled]
    smooth = mean + SMOOTHING * mean.mean(axis=0)
    total = np.maximum(smooth.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return _probability(counts @ np.log(smooth / total).T, counts)


def _probability(log_score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return probabilities [N, C] from their logarithms up to a constant per image; 0 without spikes."""
    likelihood = np.exp(log_score - log_score.max(axis=1, keepdims=True))
    spiked = counts.any(axis=1, keepdims=True)
    return np.where(spiked, likelihood / likelihood.sum(axis=1, keepdims=True), 0.0)


READOUTS: dict[str, Callable[[np.ndarray, Labels], np.ndarray]] = {
    "all_activity": all_activity,
    "proportion": proportion,
    "naive_bayes": naive_bayes,
    "multinomial_bayes": multinomial_bayes,
}


def answer(score: np.ndarray) -> np.ndarray:
    """Return the class with the highest score per image, [N]; NO_ANSWER where no class scored, as without spikes."""
    return np.where(score.max(axis=1) > 0, score.argmax(axis=1), NO_ANSWER)
