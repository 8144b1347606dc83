"""Labels and readouts: their formulas in plain loops, and images that readouts answer differently."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stdp_run.evaluation import readouts
from stdp_run.evaluation.labels import NO_LABEL, Labels, assign_labels, sum_by_class
from stdp_run.evaluation.readouts import NO_ANSWER, READOUTS, answer

# Spike counts of three neurons for images of classes 0, 0, 1, 1. Neuron 2 never spikes.
BY_HAND = [[4, 1, 0], [2, 1, 0], [0, 3, 0], [1, 5, 0]], [0, 0, 1, 1], 2
ANSWERED = [[2, 1, 7], [0, 4, 0], [3, 3, 0], [0, 0, 0], [0, 0, 3]]


@st.composite
def tables(draw):
    """Return spike counts [N][E], the class of each image, and the number of classes."""
    n_exc, n_classes = draw(st.integers(1, 4)), draw(st.integers(2, 3))
    images = st.tuples(st.tuples(*[st.integers(0, 6)] * n_exc), st.integers(0, n_classes - 1))
    counts, classes = zip(*draw(st.lists(images, min_size=1, max_size=6)), strict=True)
    return counts, classes, n_classes


def labelled(counts, classes, n_classes) -> Labels:
    sums = sum_by_class(np.array(counts), np.array(classes), n_classes)
    return assign_labels(sums, np.bincount(classes, minlength=n_classes))


def scores_in_plain_loops(counts, mean, label) -> dict[str, list[float]]:
    """Return the score of each class by readout, from the counts [E] of an image, mean counts [C][E] and labels [E]."""
    classes, known = range(len(mean)), [i for i, each in enumerate(label) if each != NO_LABEL]
    average = {i: sum(row[i] for row in mean) / len(mean) for i in known}
    rate = [{i: row[i] + readouts.FLOOR * average[i] for i in known} for row in mean]
    smooth = [{i: row[i] + readouts.SMOOTHING * average[i] for i in known} for row in mean]

    def poisson(n, expected):
        return math.exp(-expected) * expected**n / math.factorial(n)

    def normalised(values):
        return [value / sum(values) for value in values] if any(counts[i] for i in known) else [0.0] * len(values)

    groups = [[counts[i] for i in known if label[i] == c] for c in classes]
    shares = [[counts[i] * mean[c][i] / (average[i] * len(mean)) for i in known] for c in classes]
    return {
        "all_activity": [sum(group) / max(len(group), 1) for group in groups],
        "proportion": [sum(each) for each in shares],
        "naive_bayes": normalised([math.prod(poisson(counts[i], rate[c][i]) for i in known) for c in classes]),
        "multinomial_bayes": normalised(
            [math.prod((row[i] / sum(row.values())) ** counts[i] for i in known) if known else 0.0 for row in smooth]
        ),
    }


@given(tables(), st.lists(st.tuples(*[st.integers(0, 6)] * 4), min_size=1, max_size=4))
@example(BY_HAND, ANSWERED)
def test_every_readout_is_its_formula(table, answered):
    labels = labelled(*table)
    rows = np.array(answered)[:, : len(labels.label)]
    for name, readout in READOUTS.items():
        score = readout(rows, labels)
        expected = [scores_in_plain_loops(row, labels.mean_count.tolist(), labels.label)[name] for row in rows.tolist()]
        assert score == pytest.approx(np.array(expected), rel=1e-9), name
        assert [each == NO_ANSWER for each in answer(score)] == [not any(each) for each in expected]


@given(tables(), st.integers(2, 9))
@example(BY_HAND, 9)
def test_a_label_is_the_class_with_the_highest_mean_however_often_its_images_come(table, times):
    counts, classes, n_classes = map(np.array, table)
    labels = labelled(*table)
    for c in range(n_classes):
        assert labels.mean_count[c] == pytest.approx(counts[classes == c].sum(axis=0) / max(1, sum(classes == c)))
    first = [means.index(max(means)) if any(means) else NO_LABEL for means in labels.mean_count.T.tolist()]
    assert labels.label.tolist() == first
    repeats = np.where(classes == 0, times, 1)
    many = labelled(np.repeat(counts, repeats, axis=0), np.repeat(classes, repeats), n_classes)
    assert many.mean_count == pytest.approx(labels.mean_count)


def test_only_poisson_counts_take_silence_as_evidence():
    known = Labels(np.array([0, 0, 1]), np.array([[3.0, 9.0, 1.0], [0.5, 0.2, 2.0]]))
    counts = np.array([[2, 0, 0]])  # the second neuron, of class 0, is silent
    assert answer(readouts.naive_bayes(counts, known)).tolist() == [1]
    assert answer(readouts.multinomial_bayes(counts, known)).tolist() == [0]


def test_probabilities_cope_with_many_spikes_of_many_neurons():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 300)
    counts = rng.poisson(rng.gamma(0.3, 2.0, (10, 800))[truth])
    known = labelled(counts, truth, 10)
    for readout in (readouts.naive_bayes, readouts.multinomial_bayes):
        score = readout(counts * 50, known)
        assert score.sum(axis=1) == pytest.approx(np.ones(300))
        assert (answer(score) == truth).mean() > 0.99
