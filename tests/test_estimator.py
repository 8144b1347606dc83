"""STDPClassifier: a network as an estimator of scikit-learn."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from helpers.runs import run_in
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

import stdp_run
from stdp_run import datasets
from stdp_run.config.build import conf_folder

STDPClassifier = stdp_run.STDPClassifier
SMALL = {"n_exc": 20, "threads": 1}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 [300, 8, 8] and their classes."""
    train = datasets.Digits().load().train
    return train.pixels[:300], train.labels[:300]


def test_scikit_learns_checks(monkeypatch):
    """The points of these checks have values above 1, which are refused; so they are scaled here."""
    monkeypatch.setattr(
        "stdp_run.estimator.classifier.as_pixels", lambda x: np.rint(255 / (1 + np.exp(-x / 4))).astype(np.uint8)
    )
    checks = check_estimator(STDPClassifier(n_exc=20), on_skip=None)
    skipped = {each["check_name"] for each in checks if each["status"] != "passed"}
    assert len(checks) > 50 and skipped == {"check_array_api_input"}


@pytest.mark.parametrize(
    "settings",
    [
        {"rule": "full_online", "epochs": 2, "trainer__schedule": "exponential"},
        {"k_winners": 2, "trainer__k_winners_start": 5, "engine": "torch", "batch_size": 7, "encoder__steps": 20},
        {"first_layer": "patches", "first_layer__n_exc": 8, "first_layer__dataset__per_image": 2},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_weights_and_labels_equal_those_of_a_run(tmp_path, digits, settings, without_plots):
    pixels, classes = digits
    given = {**SMALL, **settings}
    fitted = STDPClassifier(**given).fit(pixels, classes)
    overrides = [f"{key.replace('__', '.')}={value}" for key, value in given.items()]
    run_in(tmp_path / "run", "dataset=digits", "n_train=300", "n_test=10", *overrides)
    network = stdp_run.load(tmp_path / "run")
    assert np.array_equal(fitted.weights_, network.state.weight) and np.array_equal(fitted.theta_, network.state.theta)
    assert np.array_equal(fitted.labels_, network.labels.label)
    assert np.array_equal(fitted.receptive_fields_, network.receptive_fields)
    found = network.classify(pixels)
    assert np.array_equal(fitted.transform(pixels), found.counts)
    assert np.array_equal(fitted.predict(pixels)[found.class_index >= 0], found.class_index[found.class_index >= 0])
    loaded = STDPClassifier.load(tmp_path / "run")
    assert np.array_equal(loaded.predict(pixels), fitted.predict(pixels))
    assert np.array_equal(loaded.fit(pixels).weights_, fitted.weights_)


def test_partial_fit_goes_on_where_learning_ended(digits):
    pixels, classes = digits
    at_once, parts = STDPClassifier(**SMALL), STDPClassifier(**SMALL)
    at_once.partial_fit(pixels)
    parts.partial_fit(pixels[:100])
    parts = pickle.loads(pickle.dumps(parts)).partial_fit(pixels[100:])
    assert parts.n_images_seen_ == 300 and np.array_equal(parts.weights_, at_once.weights_)
    with pytest.raises(NotFittedError, match=r"label\(X, y\)"):
        parts.predict(pixels)
    names = np.array(list("abcdefghij"))[classes]
    before = parts.weights_.copy()
    parts.label(pixels, names)
    assert np.array_equal(parts.weights_, before) and set(parts.predict(pixels)) <= set("abcdefghij")
    with pytest.raises(NotFittedError):  # the labels of earlier weights are forgotten
        parts.fit(pixels).predict(pixels)


def test_floats_flat_images_and_sorted_classes(digits):
    pixels, classes = digits
    order = np.argsort(classes, kind="stable")
    fitted = STDPClassifier(**SMALL).fit(pixels[order], classes[order])
    floats = STDPClassifier(**SMALL).fit((pixels[order] / 255).reshape(300, -1), classes[order])
    assert np.array_equal(fitted.weights_, floats.weights_) and floats.receptive_fields_.shape == (20, 8, 8)
    probability = floats.predict_proba(pixels)
    assert np.allclose(probability.sum(axis=1), 1)
    right = floats.predict(pixels) == classes
    assert abs(probability.max(axis=1).mean() - right.mean()) < 0.15  # calibrated on mixed classes
    wide = STDPClassifier(**SMALL).fit(pixels.reshape(300, -1)[:, :50], classes)
    assert wide.receptive_fields_.shape == (20, 1, 50)


def test_black_images_have_equal_probabilities(digits):
    fitted = STDPClassifier(**SMALL).fit(*digits)
    black = np.zeros((2, 8, 8), np.uint8)
    assert np.array_equal(fitted.predict_proba(black), np.full((2, 10), 0.1)) and set(fitted.predict(black)) == {0}


def test_pipelines_and_searches(digits):
    pixels, classes = digits
    flat = pixels.reshape(300, -1) / 255
    features = make_pipeline(STDPClassifier(**SMALL), LogisticRegression(max_iter=200))
    assert cross_val_score(features, flat, classes, cv=3).mean() > 0.5
    search = GridSearchCV(STDPClassifier(**SMALL), {"encoder__steps": [5, 100], "rule": ["full_online"]}, cv=3)
    assert search.fit(flat, classes).best_params_["encoder__steps"] == 100


def test_a_saved_network_is_a_run_of_the_command_line(tmp_path, digits):
    pixels, classes = digits
    fitted = STDPClassifier(**SMALL, seed=2).fit(pixels, classes)
    fitted.save(tmp_path / "run")
    loaded = STDPClassifier.load(tmp_path / "run")
    assert np.array_equal(loaded.predict_proba(pixels), fitted.predict_proba(pixels))
    assert loaded.get_params()["seed"] == 2 and loaded.classes_.dtype == np.int64
    accuracy = run_in(tmp_path / "eval", "mode=eval", f"checkpoint={tmp_path / 'run'}", "dataset=digits")
    assert accuracy > 0.4
    run_in(tmp_path, "mode=export", f"checkpoint={tmp_path / 'run'}", f"export.to={tmp_path / 'w.npz'}")
    assert np.array_equal(np.load(tmp_path / "w.npz")["weight"], fitted.weights_)
    with pytest.raises(ValueError, match="contains a run"):
        loaded.save(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda x, y: (x / 255 * 1.5, y), {}, "X has values from 0 to 1.5; must be uint8, or floats from 0 to 1"),
        (lambda x, y: (x - 1.0, y), {}, "Negative values"),
        (lambda x, y: (np.full(x.shape, np.nan), y), {}, "NaN"),
        (lambda x, y: (x.astype(np.int64), y), {}, "X has type int64; must be uint8, or floats from 0 to 1"),
        (lambda x, y: (x[:0], y[:0]), {}, r"0 sample\(s\)"),
        (lambda x, y: (x, y[:-1]), {}, "inconsistent numbers of samples"),
        (lambda x, y: (x, np.ones(len(x))), {}, "y has one class, 1.0; must have two or more"),
        (lambda x, y: (x, None), {"trainer__order": "by_class"}, "needs y"),
        (lambda x, y: (x, y), {"n_exc": 0}, "n_exc=0: must be a whole number of 1 or more"),
        (lambda x, y: (x, y), {"encoder__step": 9}, "encoder.step=9: unknown key; did you mean steps"),
        (lambda x, y: (x, y), {"rule": "hebb"}, "rule=hebb: must be one of"),
    ],
)
def test_bad_input(digits, change, settings, message):
    with pytest.raises(ValueError, match=message):
        STDPClassifier(**{**SMALL, **settings}).fit(*change(*digits))


@pytest.mark.parametrize("name", ["seed_", "_seed", "label", "encoder.steps"])
def test_names_that_are_no_settings(name):
    with pytest.raises(ValueError, match=f"{name}: must be a setting of stdp-run, such as n_exc"):
        STDPClassifier(**{name: 1})


def test_a_fit_that_fails_keeps_the_network(digits):
    fitted = STDPClassifier(**SMALL).fit(*digits)
    before = fitted.predict(digits[0])
    with pytest.raises(ValueError, match="rule=hebb"):
        fitted.set_params(rule="hebb").fit(*digits)
    assert np.array_equal(fitted.predict(digits[0]), before)


@pytest.mark.parametrize("classes", [[-1, 1], [0.0, 1.0], [False, True], ["01", "1"], ["a", "None"]])
def test_classes_of_a_saved_network(tmp_path, digits, classes):
    pixels, known = digits
    fitted = STDPClassifier(**SMALL).fit(pixels, np.array(classes)[known % 2])
    fitted.save(tmp_path / "run")
    loaded = STDPClassifier.load(tmp_path / "run")
    assert loaded.classes_.dtype == fitted.classes_.dtype and np.array_equal(loaded.classes_, fitted.classes_)


def test_other_images_than_learned(digits):
    fitted = STDPClassifier(**SMALL).fit(*digits)
    with pytest.raises(ValueError, match=r"X has images of \[4, 16\]; must be \[8, 8\], as learned"):
        fitted.predict(np.zeros((1, 4, 16), np.uint8))
    with pytest.raises(ValueError, match="X has 16 features, but STDPClassifier is expecting 64"):
        fitted.predict(np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(NotFittedError):
        STDPClassifier().transform(digits[0])


def test_without_scikit_learn_the_way_to_it_is_named():
    program = "import sys; sys.modules['sklearn.base'] = None; import stdp_run; stdp_run.STDPClassifier"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=conf_folder())
    assert 'STDPClassifier needs scikit-learn 1.6: pip install "stdp-run[sklearn]"' in done.stderr.splitlines()[-1]
