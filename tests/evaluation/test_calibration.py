"""Confidence: by hand, against classes drawn with known probabilities, and where there is little to go by."""

import numpy as np
import pytest

from stdp_run.evaluation.calibration import Calibration, Reliability, fit_calibration


def test_probabilities_of_hand_made_scores():
    score = np.array([[4.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert Calibration(2.0, 0.0).probability(score) == pytest.approx(np.array([[2 / 3, 1 / 3, 0], [0, 0, 0]]))
    assert Calibration().confidence(score) == pytest.approx([0.8, 0.0]), "as it stands, the share of the scores"
    assert Calibration(1.0, 0.25).probability(score)[0] == pytest.approx(np.array([1.25, 0.5, 0.25]) / 2)


@pytest.mark.parametrize(("temperature", "floor"), [(0.5, 1e-3), (3.0, 1e-3), (3.0, 1e-30), (40.0, 1e-30)])
def test_the_calibration_that_classes_were_drawn_with_is_found(temperature, floor):
    rng = np.random.default_rng(0)
    score = np.exp(rng.normal(0, 2 * temperature, (5000, 4)))  # as far apart as the temperature asks for
    score[:, 0] *= rng.random(5000) < 0.5  # scores of 0 are worth what the floor says
    truth = Calibration(temperature, floor)
    classes = (truth.probability(score).cumsum(axis=1) < rng.random((5000, 1))).sum(axis=1)
    found = fit_calibration(score, classes)
    assert found.floor == floor and found.temperature == pytest.approx(temperature, rel=0.1)
    assert np.array_equal(found.probability(score).argmax(axis=1), score.argmax(axis=1)), "answers stay"
    share = Calibration().confidence(score).mean()
    right = (score.argmax(axis=1) == classes).mean()
    assert abs(found.confidence(score).mean() - right) < min(0.02, abs(share - right))


def test_a_few_right_answers_are_no_reason_for_full_confidence():
    found = fit_calibration(np.eye(3), np.arange(3))
    assert found.confidence(np.eye(3)) == pytest.approx([0.8] * 3, abs=0.01)  # (3 + 1) / (3 + 2)


def test_without_anything_to_go_by_confidence_is_the_share():
    for score in (np.zeros((5, 3)), np.zeros((0, 3)), np.ones((5, 1))):
        assert fit_calibration(score, np.zeros(len(score), int)) == Calibration()


def test_the_calibration_error_of_a_hand_made_table():
    reliability = Reliability()
    reliability.add(np.array([0.9, 0.9]), np.array([True, False]))  # confidence 0.9, right 0.5
    reliability.add(np.array([1.0, 0.0]), np.array([True, False]))  # as confident as right
    assert reliability.expected_error == pytest.approx(2 / 4 * 0.4)
    assert Reliability().expected_error == 0
