"""Two layers: one run from the command to the report, stopped in each part of it, and the uses of its network."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import (
    Killed,
    assert_same,
    contents,
    intact_run,
    kill,
    killed_run,
    result_of,
    run_in,
    settings_of,
    struck,
)
from PIL import Image

import stdp_run
from stdp_run import checkpoint
from stdp_run.cli.overrides import prepared
from stdp_run.commands.predict import predict
from stdp_run.datasets.selection import load_images
from stdp_run.inference import first_layer
from stdp_run.inference.export import export
from stdp_run.inference.first_layer import FirstLayer
from stdp_run.inference.load import image_index
from stdp_run.reporting.runs import find_runs
from stdp_run.training.operations import layer_operations
from stdp_run.training.result import judged
from stdp_run.training.signals import Stopped

pytestmark = pytest.mark.slow

SECOND = (
    *("dataset=digits", "n_exc=30", "n_train=600", "n_label=300", "n_test=200", "encoder.steps=150"),
    *("encoder.mean_pixel=50", "rule.w_norm=15", "trainer.log_every=200", "trainer.plot_every=300"),
    *("trainer.checkpoint_every=150", "first_layer.block=2"),
)
SMALL = (
    *("first_layer=patches", *SECOND, "first_layer.dataset.height=3", "first_layer.dataset.width=3"),
    *("first_layer.n_exc=8", "first_layer.dataset.per_image=2", "first_layer.encoder.steps=40"),
    *("first_layer.dataset.min_contrast=0.8", "first_layer.trainer.log_every=300"),
    "first_layer.trainer.checkpoint_every=250",
)
NO_PLOTS = ("files", "plots", "images")


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """A cache of answers for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_layer, "CACHE", f"first_layer/tests-{os.getpid()}")
        yield
    shutil.rmtree(stdp_run.files.cache_folder(f"first_layer/tests-{os.getpid()}"), ignore_errors=True)


intact = intact_run(*SMALL)


def test_one_command_learns_both_layers_and_leaves_one_run(intact):
    result, first = result_of(intact), result_of(intact / "first_layer")
    assert judged(result) > 0.4
    assert (first["dataset"], first["n_exc"], first["train_images"]) == ("patches", 8, 1200)
    assert result["first_layer"]["n_exc"] == 8 and 0 < result["first_layer"]["active_inputs"] < 1
    assert (intact / "first_layer" / "receptive_fields.png").exists() and (intact / "block_weights.png").exists()
    assert "Receptive fields of the first layer" in (intact / "report.html").read_text()
    assert len(find_runs(intact)) == 1
    before = contents(intact)
    run_in(intact, *SMALL)
    assert contents(intact) == before, "a complete run is left as it is"


@pytest.mark.parametrize("where", ["first", "answers", "second"])
def test_a_run_that_was_stopped_ends_as_if_nothing_had_happened(intact, tmp_path, where, monkeypatch):
    """A signal stops it while the first layer answers; otherwise it is killed."""
    monkeypatch.setattr(first_layer, "IMAGES_AT_ONCE", 100)
    monkeypatch.setattr(first_layer, "CACHE", f"first_layer/tests-{os.getpid()}/{where}")
    run, count, answered = tmp_path / "run", FirstLayer._count, []

    def counted(self, pixels, shifts):
        answered.append(pixels)
        if where == "answers" and len(answered) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return count(self, pixels, shifts)

    with monkeypatch.context() as patch, struck({"first": 900, "second": 400}.get(where, 0), kill):
        patch.setattr(FirstLayer, "_count", counted)
        with pytest.raises(Stopped if where == "answers" else Killed):
            run_in(run, *SMALL)
    assert "n_exc=31 (there: 30)" in message_of(lambda: run_in(run, *SMALL, "n_exc=31"))
    before = (run / "run.log").read_text()
    run_in(run, f"resume={run}")
    log = (run / "run.log").read_text().removeprefix(before)
    assert (f"{run}{'/first_layer' * (where == 'first')}: resumed after" in log) == (where != "answers")
    assert_same(run, intact, "config")
    assert_same(run / "first_layer", intact / "first_layer", "config")


def test_a_first_layer_that_has_learned_can_be_given(intact, tmp_path, without_plots):
    given = prepared([f"first_layer={intact}"])
    assert given == ["first_layer=patches", f"first_layer.run='{intact}'"]
    run_in(tmp_path / "second", *given, *SECOND)
    assert_same(tmp_path / "second", intact, "config", *NO_PLOTS)
    assert not (tmp_path / "second" / "first_layer").exists()
    # Another seed of the second layer leaves the first as it was.
    for name, source in (("other", intact / "first_layer"), ("third", tmp_path / "second")):
        run_in(tmp_path / name, *prepared([f"first_layer={source}"]), *SECOND, "seed=4")
        assert result_of(tmp_path / name)["first_layer"] == result_of(intact)["first_layer"]
        assert checkpoint.load(tmp_path / name / "checkpoint.pt").config["first_layer"]["seed"] == 0
    assert_same(tmp_path / "other", tmp_path / "third", "config")


def test_the_inputs_of_a_second_layer_are_features_of_the_supervised_readout(intact, tmp_path, without_plots):
    words = (*prepared([f"first_layer={intact}"]), *SECOND, "n_label=30", "evaluator.supervised=true")
    run_in(tmp_path / "run", *words)
    assert result_of(tmp_path / "run")["supervised"]["n_features"] == 30 + 72


# Both layers answer with weaker inhibition, the second one from five views.
GRADED = (
    *("first_layer.evaluator.w_ie=60", "evaluator.w_ie=100"),
    *("evaluator.shifts=1", "evaluator.n_presentations=5"),
)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The directory of a run with `GRADED` that was killed and resumed."""
    run = killed_run(tmp_path_factory.mktemp("graded") / "run", 400, *SMALL, *GRADED)
    run_in(run, f"resume={run}")
    return run


def test_weaker_inhibition_and_shifts_are_resumed_and_have_an_effect(graded, tmp_path):
    assert "resumed after" in (graded / "run.log").read_text() and judged(result_of(graded)) > 0.3
    run_in(tmp_path / "whole", *SMALL, *GRADED)
    assert_same(graded, tmp_path / "whole", "config")
    run_in(tmp_path / "plain", "mode=eval", f"checkpoint={graded}", "evaluator.shifts=0")
    assert result_of(tmp_path / "plain")["confusion"] != result_of(graded)["confusion"]


GIVEN = ("first_layer=patches", *SECOND)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ((*SMALL, "first_layer.dataset.width=9"), "first_layer.dataset.width=9: must be at most 8, the width of"),
        ((*SMALL, "first_layer.dataset.min_contrast=9"), "first_layer.dataset.min_contrast=9.0: must be a contrast"),
        ((*SMALL, "+first_layer.threads=3"), "first_layer.threads=3: unknown key; known keys: "),
        ((*SMALL, "neuron@first_layer.neuron=diehl_cook_int"), "first_layer.neuron=diehl_cook_int: nearest_online"),
        ((*GIVEN, "RUN", "first_layer.rule.a_post=1"), "first_layer.rule.a_post: cannot be set, as the first layer of"),
        ((*GIVEN, "RUN", "dataset=image_folder", "dataset.height=2"), "first_layer.dataset.height=3: must be at most"),
        ((*GIVEN, "first_layer.run=none"), "first_layer.run=none: checkpoint=none: cannot be read: No such file"),
        ((*GIVEN, "FINISHED"), "must be a run of two layers, or one with dataset=patches; this one learned whole im"),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(intact, finished_run, tmp_path, overrides, line):
    runs = {"RUN": f"first_layer.run='{intact}'", "FINISHED": f"first_layer.run='{finished_run}'"}
    found = message_of(lambda: run_in(tmp_path / "x", *(runs.get(word, word) for word in overrides)))
    assert found.removeprefix(f"first_layer.run={finished_run}: ").startswith(line)
    assert not contents(tmp_path / "x")


@pytest.mark.parametrize(("name", "shifts"), [("intact", 0), ("graded", 1)])
def test_both_layers_are_evaluated_exported_and_used(request, tmp_path, name, shifts):
    """The engine of each layer, by hand, comes to the counts that `classify` returns and to the figures of the run."""
    run = request.getfixturevalue(name)
    run_in(tmp_path / "eval", "mode=eval", f"checkpoint={run}")
    result, again = result_of(run), result_of(tmp_path / "eval")
    assert (again["confusion"], again["operations"]) == (result["confusion"], result["operations"])
    with np.load(export(run, tmp_path / "network.npz")) as arrays:
        first = checkpoint.load(run / "first_layer" / "checkpoint.pt").state_dict["weight"]
        assert arrays["weight"].shape == (30, 72) and np.array_equal(arrays["first_layer_weight"], first)
        assert json.loads(str(arrays["settings"]))["first_layer"]["block"] == 2
    network, data = stdp_run.load(run), load_images(settings_of(*SMALL))
    layer, images = network.first_layer, data.test_pixels[0]
    [counts] = layer.counts(data.train_pixels)
    assert counts.shape == (600, 72) and result["first_layer"]["active_inputs"] == (counts > 0).mean()
    assert result["first_layer"]["spikes_per_image"] == counts.sum() / layer.parts / 600
    pixels = layer.seen(layer.counts(images, shifts))
    [of_first, _] = result["operations"]["layers"]
    assert of_first == layer_operations(layer.activity, layer.model, layer.state, 200)
    answers = network.classify(images)
    assert (network.engine.count_spikes(pixels, image_index(pixels[0])) == answers.counts).all()
    assert (network.classify(images[:3]).counts == answers.counts[:3]).all()
    accuracy = (answers.class_index == data.test_classes).mean()
    assert abs(accuracy - judged(result)) < 0.1  # other random numbers
    Image.fromarray(images[0].reshape(8, 8)).save(tmp_path / "digit.png")
    prediction = predict(run, tmp_path / "digit.png")
    assert (prediction.answers.counts == network.classify(prediction.pixels).counts).all()
    assert network.receptive_fields.shape == (30, 8, 8) and network.receptive_fields.min() < 0
