"""Labels and readouts: by hand on a table of three neurons, and against their formulas."""

import math

import numpy as np
import pytest

from stdp_run.evaluation import readouts
from stdp_run.evaluation.labels import NO_LABEL, Labels, assign_labels, sum_by_class
from stdp_run.evaluation.readouts import NO_ANSWER, answer

# Three neurons, two classes; image classes 0, 0, 1, 1. Neuron 2 never spikes.
COUNTS = np.array([[4, 1, 0], [2, 1, 0], [0, 3, 0], [1, 5, 0]])
CLASSES = np.array([0, 0, 1, 1])


def labels():
    sums = sum_by_class(COUNTS, CLASSES, 2)
    return assign_labels(sums, np.bincount(CLASSES))


def test_labels_of_a_hand_made_table():
    result = labels()
    assert result.mean_count.tolist() == [[3.0, 1.0, 0.0], [0.5, 4.0, 0.0]]
    assert result.label.tolist() == [0, 1, NO_LABEL]


def test_labels_do_not_depend_on_how_many_images_a_class_has():
    many = sum_by_class(np.repeat(COUNTS, [9, 9, 1, 1], axis=0), np.repeat(CLASSES, [9, 9, 1, 1]), 2)
    assert assign_labels(many, np.array([18, 2])).label.tolist() == labels().label.tolist()


def test_readouts_of_a_hand_made_table():
    counts = np.array([[2, 1, 7], [0, 0, 0], [0, 0, 3]])
    assert readouts.all_activity(counts, labels()).tolist() == [[2.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    expected = [[2 * 6 / 7 + 1 / 5, 2 / 7 + 4 / 5], [0, 0], [0, 0]]
    assert np.allclose(readouts.proportion(counts, labels()), expected)


def test_naive_bayes_gives_the_probability_of_each_class_for_poisson_counts():
    counts = np.array([[2, 1, 0], [0, 4, 0], [3, 3, 0], [0, 0, 0], [0, 0, 3]])
    floor = readouts.FLOOR
    mean = [[3.0 + floor * 1.75, 1.0 + floor * 2.5], [0.5 + floor * 1.75, 4.0 + floor * 2.5]]

    def poisson(n, rate):
        return math.exp(-rate) * rate**n / math.factorial(n)

    score = readouts.naive_bayes(counts, labels())
    for row, (first, second, _) in zip(score[:3], counts[:3].tolist(), strict=True):
        joint = [poisson(first, a) * poisson(second, b) for a, b in mean]
        assert row == pytest.approx([p / sum(joint) for p in joint], rel=1e-12)
    assert answer(score).tolist() == [0, 1, 0, NO_ANSWER, NO_ANSWER]


def test_naive_bayes_uses_what_a_neuron_seldom_does():
    # Both neurons are labelled 0; the second also answers class 1 a little, the first never does.
    both = Labels(np.array([0, 0, 1]), np.array([[5.0, 5.0, 0.1], [0.0, 4.0, 0.5]]))
    counts = np.array([[0, 4, 0]])
    assert answer(readouts.all_activity(counts, both)).tolist() == [0]
    assert answer(readouts.proportion(counts, both)).tolist() == [0]
    assert answer(readouts.naive_bayes(counts, both)).tolist() == [1]


def test_multinomial_bayes_gives_the_probability_of_each_class_for_spikes_drawn_one_by_one():
    counts = np.array([[2, 1, 0], [0, 4, 0], [3, 3, 0], [0, 0, 0], [0, 0, 3]])
    e = readouts.SMOOTHING
    smooth = [[3.0 + e * 1.75, 1.0 + e * 2.5], [0.5 + e * 1.75, 4.0 + e * 2.5]]
    share = [[g / sum(row) for g in row] for row in smooth]
    score = readouts.multinomial_bayes(counts, labels())
    for row, (first, second, _) in zip(score[:3], counts[:3].tolist(), strict=True):
        joint = [math.comb(first + second, first) * a**first * b**second for a, b in share]
        assert row == pytest.approx([p / sum(joint) for p in joint], rel=1e-12)
    assert answer(score).tolist() == [0, 1, 0, NO_ANSWER, NO_ANSWER]


def test_multinomial_bayes_does_not_ask_how_often_a_class_makes_neurons_spike(monkeypatch):
    known = Labels(np.array([0, 0, 1]), np.array([[3.0, 9.0, 1.0], [0.5, 0.2, 2.0]]))
    # The silence of the second neuron is not held against class 0, as Poisson counts do.
    counts = np.array([[2, 0, 0]])
    assert answer(readouts.naive_bayes(counts, known)).tolist() == [1]
    assert answer(readouts.multinomial_bayes(counts, known)).tolist() == [0]
    # But for the smoothing, a class that evokes ten times the spikes is scored the same.
    monkeypatch.setattr(readouts, "SMOOTHING", 1e-12)
    loud = Labels(known.label, known.mean_count * [[1.0], [10.0]])
    counts = np.random.default_rng(0).poisson(1.0, (200, 3))
    score = readouts.multinomial_bayes(counts, known)
    assert readouts.multinomial_bayes(counts, loud) == pytest.approx(score, abs=1e-9)
    assert np.abs(readouts.naive_bayes(counts, loud) - readouts.naive_bayes(counts, known)).max() > 0.5


@pytest.mark.parametrize("readout", ["naive_bayes", "multinomial_bayes"])
def test_probabilities_cope_with_many_spikes_of_many_neurons(readout):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 300)
    rates = rng.gamma(0.3, 2.0, (10, 800))
    counts = rng.poisson(rates[truth])
    known = assign_labels(sum_by_class(counts, truth, 10), np.bincount(truth, minlength=10))
    score = readouts.READOUTS[readout](counts * 50, known)
    assert np.isfinite(score).all()
    assert score.sum(axis=1) == pytest.approx(np.ones(300))
    assert (answer(score) == truth).mean() > 0.99


def test_all_activity_takes_the_mean_over_a_classs_neurons():
    three_of_class_0 = Labels(np.array([0, 0, 0, 1]), np.array([[1.0, 1, 1, 0], [0, 0, 0, 1]]))
    assert readouts.all_activity(np.array([[1, 1, 1, 2]]), three_of_class_0).tolist() == [[1.0, 2.0]]
