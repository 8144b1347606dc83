"""The figures of a network: labels and evaluation from spike counts, intervals, and the running accuracy."""

from dataclasses import replace

import numpy as np
import pytest

from stdp_run.evaluation import metrics
from stdp_run.evaluation.labels import Labels, assign_labels, sum_by_class
from stdp_run.evaluation.metrics import RunningAccuracy
from stdp_run.evaluation.readouts import READOUTS


def labelled(counts, classes, n_classes):
    return metrics.label_neurons(counts.__getitem__, classes, n_classes)


def evaluated(counts, labels, classes, known=None):
    return metrics.evaluate(counts.__getitem__, labels, classes, known)


@pytest.mark.parametrize("n", [3, 17, 2 * metrics.IMAGES_AT_ONCE, 2 * metrics.IMAGES_AT_ONCE + 17])
def test_every_image_counts_once_whatever_their_number(n):
    counts = np.resize(np.array([[9, 0, 0], [0, 9, 0], [0, 0, 0]], np.int32), (n, 3))
    classes = np.resize([0, 1, 1], n)
    labels = labelled(counts, classes, 2)
    result = evaluated(counts, labels, classes)
    assert labels.label.tolist() == [0, 1, -1] and labels.n_silent == 1
    silent = int((counts.sum(axis=1) == 0).sum())
    assert result.n_correct == dict.fromkeys(READOUTS, n - silent)
    assert result.confusion["all_activity"].sum() == n
    assert result.confusion["all_activity"][1, 2] == silent
    assert result.spikes_per_image == pytest.approx(9 * (n - silent) / n)


def test_labels_are_those_of_all_images_whatever_number_calibrates(monkeypatch):
    rng = np.random.default_rng(0)
    counts, classes = rng.poisson(0.5, (1700, 6)), rng.integers(3, size=1700)
    whole = assign_labels(sum_by_class(counts, classes, 3), np.bincount(classes))
    for most in (0, 300, 900, 5000):
        monkeypatch.setattr(metrics, "MOST_CALIBRATING", most)
        labels = labelled(counts, classes, 3)
        assert np.array_equal(labels.mean_count, whole.mean_count) and np.array_equal(labels.label, whole.label)
        assert labels.calibration.keys() == (READOUTS.keys() if most else set())


def test_images_calibrate_as_ones_that_were_not_seen():
    rng = np.random.default_rng(0)  # pure noise: no answer is right more often than by chance
    counts, classes = rng.poisson(0.1, (400, 500)), rng.integers(2, size=400)
    labels = labelled(counts, classes, 2)
    result = evaluated(counts, labels, classes)
    assert result.accuracy["naive_bayes"] > 0.85, "on images that gave the labels"
    later, their = rng.poisson(0.1, (2000, 500)), rng.integers(2, size=2000)
    result = evaluated(later, labels, their)
    plain = evaluated(later, replace(labels, calibration={}), their)
    for name in READOUTS:
        assert result.calibration_error[name] < 0.12, name
    assert plain.calibration_error["naive_bayes"] > 0.3 and plain.confusion.keys() == result.confusion.keys()


def test_only_known_classes_are_answered():
    counts = np.array([[1, 0], [2, 0], [0, 3], [1, 1]])
    classes = np.array([1, 1, 0, 2])
    labels = labelled(counts[:2], classes[:2], 3)  # of class 1 alone
    everything = evaluated(counts, labels, classes)
    known = evaluated(counts, labels, classes, np.array([False, True, False]))
    for name in READOUTS:
        assert known.confusion[name].tolist() == [[0, 0, 0, 1], [0, 2, 0, 0], [0, 1, 0, 0]], name
    assert everything.confusion["all_activity"].tolist() == known.confusion["all_activity"].tolist()


def test_confusion_has_a_column_for_no_answer():
    labels = Labels(np.arange(3), np.eye(3))
    result = evaluated(np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0]]), labels, np.array([0, 1, 1]))
    assert result.confusion["all_activity"].tolist() == [[0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert result.accuracy_per_class("all_activity") == [0.0, 0.5, None], "a class without images has no accuracy"


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(0, 10, 0.0, 0.27753), (5, 10, 0.23659, 0.76341), (9, 10, 0.59585, 0.98212), (8200, 10000, 0.81234, 0.82741)],
)
def test_interval_has_the_published_values(right, total, low, high):
    # Wilson score intervals, e.g. Newcombe 1998, table I, and the same formula evaluated by hand for 10,000 images.
    result = metrics.Evaluation(total, {"r": right}, {}, 1.0, 1.0)
    assert result.interval("r") == pytest.approx((low, high), abs=1e-4)


def test_running_accuracy_uses_earlier_windows_only():
    counts = np.array([[4, 1, 0], [2, 1, 0], [0, 3, 0], [1, 5, 0]])
    classes = np.array([0, 0, 1, 1])
    estimate = RunningAccuracy(2, windows=1)
    assert estimate.update(counts, classes, "all_activity") is None
    assert estimate.update(counts, classes, "all_activity") == 1.0
    # The classes swap: labels of the window before are all wrong, and right again once that window has gone.
    assert estimate.update(counts, 1 - classes, "all_activity") == 0.0
    assert estimate.update(counts, 1 - classes, "all_activity") == 1.0
