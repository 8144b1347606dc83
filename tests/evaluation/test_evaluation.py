import math

import numpy as np
import pytest

from stdp_run.evaluation import readouts as evaluation
from stdp_run.evaluation.readouts import NO_ANSWER, NO_LABEL, READOUTS, RunningAccuracy

# Three neurons, two classes; image classes 0, 0, 1, 1. Neuron 2 never spikes.
COUNTS = np.array([[4, 1, 0], [2, 1, 0], [0, 3, 0], [1, 5, 0]])
CLASSES = np.array([0, 0, 1, 1])


def labels():
    sums = evaluation.sum_by_class(COUNTS, CLASSES, 2)
    return evaluation.assign_labels(sums, np.bincount(CLASSES))


def test_labels_of_a_hand_made_table():
    result = labels()
    assert result.mean_count.tolist() == [[3.0, 1.0, 0.0], [0.5, 4.0, 0.0]]
    assert result.label.tolist() == [0, 1, NO_LABEL]
    assert result.n_silent == 1
    assert np.allclose(result.proportion, [[6 / 7, 1 / 5, 0], [1 / 7, 4 / 5, 0]])


def test_labels_do_not_depend_on_how_often_a_class_is_shown():
    many = evaluation.sum_by_class(np.repeat(COUNTS, [9, 9, 1, 1], axis=0), np.repeat(CLASSES, [9, 9, 1, 1]), 2)
    assert evaluation.assign_labels(many, np.array([18, 2])).label.tolist() == labels().label.tolist()


def test_readouts_of_a_hand_made_table():
    counts = np.array([[2, 1, 7], [0, 0, 0], [0, 0, 3]])
    assert evaluation.all_activity(counts, labels()).tolist() == [[2.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    expected = [[2 * 6 / 7 + 1 / 5, 2 / 7 + 4 / 5], [0, 0], [0, 0]]
    assert np.allclose(evaluation.proportion(counts, labels()), expected)


def test_naive_bayes_gives_the_probability_of_each_class_for_poisson_counts():
    counts = np.array([[2, 1, 0], [0, 4, 0], [3, 3, 0], [0, 0, 0], [0, 0, 3]])
    floor = evaluation.FLOOR
    mean = [[3.0 + floor * 1.75, 1.0 + floor * 2.5], [0.5 + floor * 1.75, 4.0 + floor * 2.5]]

    def poisson(n, rate):
        return math.exp(-rate) * rate**n / math.factorial(n)

    score = evaluation.naive_bayes(counts, labels())
    for row, (first, second, _) in zip(score[:3], counts[:3].tolist(), strict=True):
        joint = [poisson(first, a) * poisson(second, b) for a, b in mean]
        assert row == pytest.approx([p / sum(joint) for p in joint], rel=1e-12)
    assert evaluation.answer(score).tolist() == [0, 1, 0, NO_ANSWER, NO_ANSWER]


def test_naive_bayes_uses_what_a_neuron_seldom_does():
    # Both neurons are labelled 0; the second also answers class 1 a little, the first never does.
    both = evaluation.Labels(np.array([0, 0, 1]), np.array([[5.0, 5.0, 0.1], [0.0, 4.0, 0.5]]))
    counts = np.array([[0, 4, 0]])
    assert evaluation.answer(evaluation.all_activity(counts, both)).tolist() == [0]
    assert evaluation.answer(evaluation.proportion(counts, both)).tolist() == [0]
    assert evaluation.answer(evaluation.naive_bayes(counts, both)).tolist() == [1]


def test_multinomial_bayes_gives_the_probability_of_each_class_for_spikes_drawn_one_by_one():
    counts = np.array([[2, 1, 0], [0, 4, 0], [3, 3, 0], [0, 0, 0], [0, 0, 3]])
    e = evaluation.SMOOTHING
    smooth = [[3.0 + e * 1.75, 1.0 + e * 2.5], [0.5 + e * 1.75, 4.0 + e * 2.5]]
    share = [[g / sum(row) for g in row] for row in smooth]
    score = evaluation.multinomial_bayes(counts, labels())
    for row, (first, second, _) in zip(score[:3], counts[:3].tolist(), strict=True):
        joint = [math.comb(first + second, first) * a**first * b**second for a, b in share]
        assert row == pytest.approx([p / sum(joint) for p in joint], rel=1e-12)
    assert evaluation.answer(score).tolist() == [0, 1, 0, NO_ANSWER, NO_ANSWER]


def test_multinomial_bayes_does_not_ask_how_often_a_class_makes_neurons_spike(monkeypatch):
    known = evaluation.Labels(np.array([0, 0, 1]), np.array([[3.0, 9.0, 1.0], [0.5, 0.2, 2.0]]))
    # The silence of the second neuron is not held against class 0, as Poisson counts do.
    counts = np.array([[2, 0, 0]])
    assert evaluation.answer(evaluation.naive_bayes(counts, known)).tolist() == [1]
    assert evaluation.answer(evaluation.multinomial_bayes(counts, known)).tolist() == [0]
    # But for the smoothing, a class that evokes ten times the spikes is scored the same.
    monkeypatch.setattr(evaluation, "SMOOTHING", 1e-12)
    loud = evaluation.Labels(known.label, known.mean_count * [[1.0], [10.0]])
    counts = np.random.default_rng(0).poisson(1.0, (200, 3))
    score = evaluation.multinomial_bayes(counts, known)
    assert evaluation.multinomial_bayes(counts, loud) == pytest.approx(score, abs=1e-9)
    assert np.abs(evaluation.naive_bayes(counts, loud) - evaluation.naive_bayes(counts, known)).max() > 0.5


@pytest.mark.parametrize("readout", ["naive_bayes", "multinomial_bayes"])
def test_probabilities_cope_with_many_spikes_of_many_neurons(readout):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 300)
    rates = rng.gamma(0.3, 2.0, (10, 800))
    counts = rng.poisson(rates[truth])
    known = evaluation.assign_labels(evaluation.sum_by_class(counts, truth, 10), np.bincount(truth, minlength=10))
    score = evaluation.READOUTS[readout](counts * 50, known)
    assert np.isfinite(score).all()
    assert score.sum(axis=1) == pytest.approx(np.ones(300))
    assert (evaluation.answer(score) == truth).mean() > 0.99


def test_all_activity_takes_the_mean_over_a_classs_neurons():
    three_of_class_0 = evaluation.Labels(np.array([0, 0, 0, 1]), np.array([[1.0, 1, 1, 0], [0, 0, 0, 1]]))
    assert evaluation.all_activity(np.array([[1, 1, 1, 2]]), three_of_class_0).tolist() == [[1.0, 2.0]]


def test_an_image_without_spikes_has_no_answer():
    assert evaluation.answer(np.array([[0.0, 0.0], [0.0, 0.5]])).tolist() == [NO_ANSWER, 1]
    matrix = evaluation.confusion_matrix(np.array([0, 1, 1]), np.array([NO_ANSWER, 1, 0]), 2)
    assert matrix.tolist() == [[0, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(0, 10, 0.0, 0.27753), (5, 10, 0.23659, 0.76341), (9, 10, 0.59585, 0.98212), (8200, 10000, 0.81234, 0.82741)],
)
def test_interval_has_the_published_values(right, total, low, high):
    # Wilson score intervals, e.g. Newcombe 1998, table I, and the same formula evaluated by hand for 10,000 images.
    assert evaluation.wilson_interval(right, total) == pytest.approx((low, high), abs=1e-4)


def test_running_accuracy_uses_earlier_windows_only():
    estimate = RunningAccuracy(2, windows=1)
    assert estimate.update(COUNTS, CLASSES, "all_activity") is None
    assert estimate.update(COUNTS, CLASSES, "all_activity") == 1.0
    # The classes swap: labels of the window before are all wrong, and right again once that window has gone.
    assert estimate.update(COUNTS, 1 - CLASSES, "all_activity") == 0.0
    assert estimate.update(COUNTS, 1 - CLASSES, "all_activity") == 1.0


def two_networks(pixels, index):
    """Count the spikes of two networks: a neuron of the first fires as its pixel is bright, the second is silent."""
    return [pixels[:, :3].astype(np.int32), np.zeros((len(pixels), 3), np.int32)]


def test_evaluate_counts_every_image_once_whatever_their_number():
    n = 2 * evaluation.IMAGES_AT_ONCE + 17
    pixels = np.tile(np.array([[9, 0, 0], [0, 9, 0], [0, 0, 0]], np.uint8), (n // 3 + 1, 1))[:n]
    classes = np.tile([0, 1, 1], n // 3 + 1)[:n]
    done = []
    found = evaluation.label_neurons(two_networks, pixels, np.arange(n), classes, 2, done.append)
    result, silent = evaluation.evaluate(two_networks, found, pixels, np.arange(n), classes, done.append, lambda: 0.0)
    assert found[1].n_silent == 3 and found[0].n_silent == 1
    assert sum(done) == 2 * n
    dark = int((pixels.sum(axis=1) == 0).sum())
    assert result.n_correct == dict.fromkeys(READOUTS, n - dark)
    assert result.confusion["all_activity"].sum() == n
    assert result.confusion["all_activity"][1, 2] == dark
    assert result.spikes_per_image == pytest.approx(9 * (n - dark) / n)
    assert silent.n_correct == dict.fromkeys(result.n_correct, 0) and silent.spikes_per_image == 0


def test_a_class_without_images_has_no_accuracy():
    result = evaluation.Evaluation(2, {"r": 2}, {"r": np.array([[2, 0, 0], [0, 0, 0]])}, 1.0, 1.0)
    assert result.accuracy_per_class("r") == [1.0, None]
