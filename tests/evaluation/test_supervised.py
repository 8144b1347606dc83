"""The supervised readout: its classifier against SciPy, its penalty, and runs with and without it."""

import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import TINY, contents, figures, result_of, run_in
from scipy.optimize import minimize

from stdp_run import checkpoint
from stdp_run.evaluation import supervised
from stdp_run.evaluation.supervised import Features, fit, fit_and_test

FEW = ("dataset=digits", "n_exc=10", "n_train=40", "n_label=30", "n_test=20", "encoder.steps=40", "engine=torch")


def features(n_images, seed=0):
    """Return features of images of three classes: six neurons, and four inputs of a second layer."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(3, size=n_images)
    rate = np.random.default_rng(99).gamma(1.0, 1.0, (3, 10))[classes]
    counts = rng.poisson(rate)
    found = Features(classes, 6, counts[:, 6:].astype(np.uint8))
    found.add(slice(0, n_images), counts[:, :6])
    return found


def standardised(images):
    """Return square roots, centred, with a mean variance of 1 in each group."""
    roots = np.sqrt(images.values.astype(float))
    roots -= roots.mean(axis=0)
    for group in (slice(0, 6), slice(6, None)):
        roots[:, group] /= np.sqrt(roots[:, group].var(axis=0).mean())
    return roots


def test_the_classifier_is_near_the_minimum_of_the_loss_that_scipy_finds():
    images, penalty = features(400), 0.03
    x, y = standardised(images), images.classes

    def loss(flat):
        weight = flat.reshape(11, 3)
        score = x @ weight[:-1] + weight[-1]
        score -= np.log(np.exp(score).sum(axis=1, keepdims=True))
        return -score[np.arange(len(y)), y].mean() + penalty / 2 * (weight[:-1] ** 2).sum()

    least = minimize(loss, np.zeros(33)).fun
    (weight,) = fit(images.values, y, 3, images.scaling(), (penalty,))
    assert loss(weight.ravel().astype(float)) == pytest.approx(least, rel=0.01)
    assert least < 0.9 * loss(np.zeros(33))


def test_the_penalty_is_that_of_fits_one_by_one_and_all_images_are_fitted(monkeypatch):
    monkeypatch.setattr(supervised, "PENALTIES", (3.0, 0.3, 0.03))
    images, test = features(180), features(200, seed=5)
    scaling, first = images.scaling(), 150
    mean, factor = scaling

    def n_right(weight, some, part):
        score = (np.sqrt(some.values[part].astype(float)) - mean) * factor @ weight[:-1] + weight[-1]
        return (score.argmax(axis=1) == some.classes[part]).sum()

    held_out, fitted = [], (images.values[:first], images.classes[:first], 3, scaling)
    for penalty, together in zip(supervised.PENALTIES, fit(*fitted, supervised.PENALTIES), strict=True):
        (weight,) = fit(*fitted, (penalty,))
        assert weight == pytest.approx(together, abs=1e-4)
        held_out.append(n_right(weight, images, slice(first, None)))
    best = supervised.PENALTIES[held_out.index(max(held_out))]
    assert best == 0.3 and held_out.index(min(held_out)) == 0, "neither end of the list"
    (weight,) = fit(images.values, images.classes, 3, scaling, (best,))
    result = fit_and_test(images, test, 3)
    assert result["penalty"] == best and result["n_features"] == 10 and result["label_images"] == 180
    assert result["n_correct"] == n_right(weight, test, slice(None)) == round(200 * result["accuracy"]) > 100


def test_parts_in_any_order_give_the_same_features():
    whole, parts = features(50), Features(features(50).classes, 6, features(50).values[:, 6:].astype(np.uint8))
    for part in (slice(30, 50), slice(0, 7), slice(7, 30)):
        parts.add(part, whole.values[part, :6].astype(np.int32))
    assert np.array_equal(whole.values, parts.values)
    parts.add(slice(0, 1), np.full((1, 6), 70_000))
    assert (parts.values[0, :6] == 65_535).all(), "not 70,000 modulo 65,536"


@pytest.mark.parametrize("n_images", [12, 2])
@pytest.mark.parametrize("count", [0, 5])  # the root of 5 is rounded
def test_neurons_that_always_spike_alike_have_no_effect(count, n_images):
    images = Features(np.arange(n_images) % 2, 3, None)
    images.add(slice(0, n_images), np.full((n_images, 3), count))
    assert fit_and_test(images, images, 2)["n_correct"] == n_images // 2


@pytest.mark.usefixtures("without_plots")
def test_a_run_with_it_differs_in_nothing_else(tmp_path):
    for name, word in (("with", "true"), ("without", "false")):
        accuracy = run_in(tmp_path / name, *FEW, f"evaluator.supervised={word}")
        assert accuracy == result_of(tmp_path / name)["accuracy"]["all_activity"]
    found = figures(tmp_path / "with")
    own = found.pop("supervised")
    assert found == figures(tmp_path / "without")
    assert own["label_images"] == 30 and own["n_features"] == 10 and 0 <= own["accuracy"] <= 1
    first, second = (checkpoint.load(tmp_path / name / "checkpoint.pt") for name in ("with", "without"))
    assert first.labels["label"].tobytes() == second.labels["label"].tobytes()
    assert first.state().weight.tobytes() == second.state().weight.tobytes()
    assert "supervised readout" in (tmp_path / "with" / "report.html").read_text()

    command = ("mode=eval", f"checkpoint={tmp_path}/with/checkpoint.pt")
    run_in(tmp_path / "again", *command)
    assert "supervised" not in result_of(tmp_path / "again")
    refused = message_of(lambda: run_in(tmp_path / "refused", *command, "evaluator.supervised=true"))
    assert refused == "evaluator.supervised=true: only valid with mode=train; a checkpoint has no such classifier"


def test_too_few_labelled_images_are_refused_before_anything_is_written(tmp_path):
    words = (*TINY, "evaluator.supervised=true", "n_label=9")
    line = message_of(lambda: run_in(tmp_path / "run", *words))
    expected = "evaluator.supervised=true: must be false with 9 labelled images (n_label, n_train) of 10 classes"
    assert line == f"{expected}; it needs 10"
    assert not any(path.name == "config.yaml" for path in contents(tmp_path))
