"""The figures of a network: labels and evaluation from spike counts, intervals, and the running accuracy."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stdp_run.evaluation import metrics
from stdp_run.evaluation.labels import assign_labels, sum_by_class
from stdp_run.evaluation.metrics import RunningAccuracy
from stdp_run.evaluation.readouts import READOUTS, answer


def evaluated(counts, labels, classes, known=None):
    return metrics.evaluate(counts.__getitem__, labels, classes, known)


@given(
    seed=st.integers(0, 999),
    n_images=st.integers(1, 40),
    at_once=st.integers(1, 15),
    calibrating=st.integers(0, 25),
    known=st.lists(st.booleans(), min_size=3, max_size=3),
)
@example(seed=0, n_images=1, at_once=1, calibrating=0, known=[True] * 3)
def test_parts_of_any_size_give_the_labels_and_answers_of_all_images(seed, n_images, at_once, calibrating, known):
    rng = np.random.default_rng(seed)
    counts, classes = rng.poisson(0.3, (n_images, 5)), rng.integers(3, size=n_images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "IMAGES_AT_ONCE", at_once)
        patch.setattr(metrics, "MOST_CALIBRATING", calibrating)
        labels = metrics.label_neurons(counts.__getitem__, classes, 3)
        result = evaluated(counts, labels, classes, np.array(known))
    whole = assign_labels(sum_by_class(counts, classes, 3), np.bincount(classes, minlength=3))
    assert np.array_equal(labels.mean_count, whole.mean_count) and np.array_equal(labels.label, whole.label)
    assert labels.n_silent == (counts.sum(axis=0) == 0).sum()
    assert labels.calibration.keys() == (READOUTS.keys() if calibrating and n_images > 1 else set())
    assert result.n_images == n_images and result.spikes_per_image == pytest.approx(counts.sum() / n_images)
    for name, readout in READOUTS.items():
        confusion = np.zeros((3, 4), int)  # the last column is for no answer
        for true, given_answer in zip(classes, answer(readout(counts, whole) * known), strict=True):
            confusion[true, given_answer] += 1
        assert np.array_equal(result.confusion[name], confusion)
        assert result.n_correct[name] == confusion.trace()
        shares = [row[c] / row.sum() if row.any() else None for c, row in enumerate(confusion)]
        assert result.accuracy_per_class(name) == shares, "a class without images has no accuracy"


def test_images_calibrate_as_ones_that_were_not_seen():
    rng = np.random.default_rng(0)  # pure noise: no answer is right more often than by chance
    counts, classes = rng.poisson(0.1, (400, 500)), rng.integers(2, size=400)
    labels = metrics.label_neurons(counts.__getitem__, classes, 2)
    result = evaluated(counts, labels, classes)
    assert result.accuracy["naive_bayes"] > 0.85, "on images that gave the labels"
    later, their = rng.poisson(0.1, (2000, 500)), rng.integers(2, size=2000)
    result = evaluated(later, labels, their)
    plain = evaluated(later, replace(labels, calibration={}), their)
    for name in READOUTS:
        assert result.calibration_error[name] < 0.12, name
    assert plain.calibration_error["naive_bayes"] > 0.3 and plain.confusion.keys() == result.confusion.keys()


@given(st.integers(0, 10_000), st.integers(1, 10_000))
@example(0, 1)
@example(7, 7)
@example(8200, 10_000)
def test_an_interval_ends_at_the_shares_of_which_the_measured_one_is_1_96_standard_errors_away(right, total):
    """Wilson 1927: the ends solve |p - share| = z sqrt(p (1 - p) / n)."""
    right = min(right, total)
    share, z = right / total, NormalDist().inv_cdf(0.975)
    interval = metrics.Evaluation(total, {"r": right}, {}, 1.0, 1.0).interval("r")
    for end, limit in zip(interval, (0, 1), strict=True):
        if share == limit:
            assert end == pytest.approx(limit, abs=1e-12)
        else:
            assert abs(end - share) == pytest.approx(z * (end * (1 - end) / total) ** 0.5)
    assert 0 <= interval[0] < interval[1] <= 1 and interval[0] - 1e-12 < share < interval[1] + 1e-12


def test_running_accuracy_uses_earlier_windows_only():
    counts = np.array([[4, 1, 0], [2, 1, 0], [0, 3, 0], [1, 5, 0]])
    classes = np.array([0, 0, 1, 1])
    estimate = RunningAccuracy(2, windows=1)
    assert estimate.update(counts, classes, "all_activity") is None
    assert estimate.update(counts, classes, "all_activity") == 1.0
    # The classes swap: labels of the window before are all wrong, and right again once that window has gone.
    assert estimate.update(counts, 1 - classes, "all_activity") == 0.0
    assert estimate.update(counts, 1 - classes, "all_activity") == 1.0
