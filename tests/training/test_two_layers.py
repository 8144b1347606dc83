"""Two layers: one run from the command to the report, stopped in each part of it, and what can be done with it."""

import json
import logging
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import assert_same, contents, intact_run, result_of, run_in, settings_of

import stdp_run
from stdp_run import checkpoint
from stdp_run.cli.overrides import prepared
from stdp_run.config.build import build_first_layer, build_model
from stdp_run.datasets.selection import load_images
from stdp_run.inference.export import export
from stdp_run.inference.first_layer import FirstLayer
from stdp_run.reporting.runs import find_runs
from stdp_run.training.result import judged
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.tracking import Tracker

pytestmark = pytest.mark.slow

SMALL = (
    *("dataset=digits", "first_layer=patches", "n_exc=30", "n_train=600", "n_label=300", "n_test=200"),
    *(
        "encoder.steps=150",
        "encoder.mean_pixel=50",
        "rule.w_norm=15",
        "trainer.log_every=200",
        "trainer.plot_every=300",
    ),
    *("trainer.checkpoint_every=150", "first_layer.dataset.height=3", "first_layer.dataset.width=3"),
    *("first_layer.block=2", "first_layer.n_exc=8", "first_layer.dataset.per_image=2", "first_layer.encoder.steps=40"),
    *(
        "first_layer.dataset.min_contrast=0.8",
        "first_layer.trainer.log_every=300",
        "first_layer.trainer.checkpoint_every=250",
    ),
)
N_PATCHES, N_IMAGES = 1200, 600


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """A cache for these tests alone, but for the compiled code and the data of all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stdp_run.inference.first_layer.CACHE", f"first_layer/tests-{os.getpid()}")
        yield
    shutil.rmtree(stdp_run.files.cache_folder(f"first_layer/tests-{os.getpid()}"), ignore_errors=True)


intact = intact_run(*SMALL)


def test_one_command_learns_both_layers_and_leaves_one_run(intact):
    result, first = result_of(intact), result_of(intact / "first_layer")
    assert judged(result) > 0.4
    assert (first["dataset"], first["n_exc"], first["train_images"]) == ("patches", 8, N_PATCHES)
    assert result["first_layer"]["n_exc"] == 8 and 0 < result["first_layer"]["active_inputs"] < 1
    assert (intact / "first_layer" / "receptive_fields.png").exists() and (intact / "block_weights.png").exists()
    report = (intact / "report.html").read_text()
    assert report.count("<figure>") == 9 and "Receptive fields of the first layer" in report
    assert len(find_runs(intact)) == 1


def test_the_second_layer_learns_what_the_first_answers(intact):
    """The counts of the first layer that the run has kept are those of its checkpoint's arrays on the images."""
    network = stdp_run.load(intact)
    saved, first = checkpoint.load(intact / "checkpoint.pt"), checkpoint.load(intact / "first_layer" / "checkpoint.pt")
    assert (saved.extra["first_layer"]["weight"] == first.arrays["weight"]).all()
    data = load_images(settings_of(*SMALL))
    counts = network.first_layer.counts(data.train_pixels)
    assert counts.shape == (N_IMAGES, 3 * 3 * 8) == (N_IMAGES, build_model(network.settings).n_inputs)
    figures = result_of(intact)["first_layer"]
    assert figures["spikes_per_image"] == counts.sum() / network.first_layer.parts / N_IMAGES
    assert figures["active_inputs"] == (counts > 0).mean()


class Killed(Exception):
    pass


def stopped(directory: Path, where: str, how: str) -> None:
    """Start a run, and stop it in the first layer, while that answers, or in the second: by a signal, or killed."""

    def stop() -> None:
        if how == "killed":
            raise Killed
        os.kill(os.getpid(), signal.SIGTERM)

    write, count = Tracker.scalars, FirstLayer._count
    answered = []

    def scalars(self, images_seen, values):
        write(self, images_seen, values)
        if images_seen == {"first": 900, "second": 400}.get(where):
            stop()

    def counted(self, pixels):
        answered.append(pixels)
        if where == "answers" and len(answered) == 3:
            stop()
        return count(self, pixels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tracker, "scalars", scalars)
        patch.setattr(FirstLayer, "_count", counted)
        run_in(directory, *SMALL)


@pytest.mark.parametrize("how", ["SIGTERM", "killed"])
@pytest.mark.parametrize("where", ["first", "answers", "second"])
def test_a_run_that_was_stopped_ends_as_if_nothing_had_happened(intact, tmp_path, where, how, caplog, monkeypatch):
    monkeypatch.setattr("stdp_run.inference.first_layer.IMAGES_AT_ONCE", 100)
    monkeypatch.setattr("stdp_run.inference.first_layer.CACHE", f"{tmp_path.name}-{os.getpid()}")
    run = tmp_path / "run"
    with caplog.at_level(logging.INFO):
        with pytest.raises(Killed if how == "killed" else SystemExit):
            stopped(run, where, how)
        if how != "killed":
            assert f"`stdp-run resume={run}` resumes" in caplog.text
        assert RunDirectory(run).holds_run()
        assert "(there: 30)" in message_of(lambda: run_in(run, *SMALL, "n_exc=31"))
        caplog.clear()
        run_in(run, f"resume={run}")
    assert ("this run is complete" in caplog.text) == (where == "answers")
    assert "resumed after" in caplog.text or where == "answers"
    assert_same(run, intact, "config", "checkpoint_config")
    assert_same(run / "first_layer", intact / "first_layer", "config", "checkpoint_config")
    shutil.rmtree(stdp_run.files.cache_folder(f"{tmp_path.name}-{os.getpid()}"), ignore_errors=True)


def test_a_complete_run_is_left_as_it_is(intact):
    before = contents(intact)
    run_in(intact, *SMALL)
    assert contents(intact) == before


def test_a_first_layer_that_has_learned_can_be_given(intact, tmp_path, without_plots):
    given = prepared([f"first_layer={intact}"])
    assert given == ["first_layer=patches", f"first_layer.run='{intact}'"]
    small = [item for item in SMALL if not item.startswith("first_layer.dataset") and "first_layer.n_exc" not in item]
    small = [item for item in small if not item.startswith(("first_layer.encoder", "first_layer.trainer"))]
    run_in(tmp_path / "second", *small, *given)
    assert_same(tmp_path / "second", intact, "config", "checkpoint_config", "files", "plots", "images")
    assert not (tmp_path / "second" / "first_layer").exists()
    # Another seed of the second layer leaves the first as it was.
    for name, source in (("other", intact / "first_layer"), ("third", tmp_path / "second")):
        run_in(tmp_path / name, *small, *prepared([f"first_layer={source}"]), "seed=4")
        assert result_of(tmp_path / name)["first_layer"] == result_of(intact)["first_layer"]
        assert settings_of_run(tmp_path / name).first_layer.network.seed == 0
    assert_same(tmp_path / "other", tmp_path / "third", "config", "checkpoint_config")


def settings_of_run(directory: Path):
    return RunDirectory(directory).config()


def test_what_a_given_layer_has_learned_by_cannot_be_changed(intact, tmp_path):
    given = f"first_layer.run='{intact}'"
    for key, value in (("n_exc", 5), ("rule.a_post", 1), ("dataset.height", 4), ("seed", 1)):
        command = (*SMALL[:6], "first_layer=patches", given, f"first_layer.{key}={value}")
        line = message_of(lambda words=command: run_in(tmp_path / "x", *words))
        assert line.startswith(f"first_layer.{key}: cannot be set, as the first layer of first_layer.run={intact} has")
    for path, problem in ((tmp_path, "there is no checkpoint.pt"), (tmp_path / "none", "No such file")):
        line = message_of(lambda path=path: run_in(tmp_path / "x", "first_layer=patches", f"first_layer.run='{path}'"))
        assert line.startswith(f"first_layer.run={path}") and problem in line
    line = message_of(
        lambda: run_in(tmp_path / "x", "first_layer=patches", given, "dataset=image_folder", "dataset.height=2")
    )
    assert line == "first_layer.dataset.height=3: must be at most 2, as that of the images"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("first_layer.block=0",), "first_layer.block=0: must be a whole number of 1 or more"),
        (("first_layer.dataset.width=9",), "first_layer.dataset.width=9: must be at most 8, as that of the images"),
        (("first_layer.rule.a_post=x",), "first_layer.rule.a_post=x: must be a number"),
        (("first_layer.dataset.per_image=0",), "first_layer.dataset.per_image=0: must be a number above 0"),
        (
            ("first_layer.dataset.min_contrast=9",),
            "first_layer.dataset.min_contrast=9.0: must be a contrast that more than 1 in 1000",
        ),
        (("+first_layer.threads=3",), "first_layer.threads=3: unknown key; known here: "),
        (
            ("neuron@first_layer.neuron=diehl_cook_int",),
            "first_layer.neuron=diehl_cook_int: nearest_online computes in",
        ),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(tmp_path, overrides, line):
    assert message_of(lambda: run_in(tmp_path / "x", *SMALL, *overrides)).startswith(line)
    assert not contents(tmp_path / "x")


def test_evaluating_again_gives_the_accuracy_of_the_run(intact, tmp_path):
    run_in(tmp_path / "eval", "mode=eval", f"checkpoint={intact}")
    again, result = result_of(tmp_path / "eval"), result_of(intact)
    assert again["accuracy"] == result["accuracy"] and again["confusion"] == result["confusion"]


def test_pictures_are_classified_through_the_first_layer(intact):
    """The engine of each layer, by hand, comes to the counts that `classify` returns."""
    network, data = stdp_run.load(intact), load_images(settings_of(*SMALL))
    answers = network.classify(data.test_pixels)
    accuracy = (answers.class_index == data.test_classes).mean()
    assert abs(accuracy - judged(result_of(intact))) < 0.08  # other random numbers
    pixels = network.first_layer.seen(network.first_layer.counts(data.test_pixels))
    index = stdp_run.inference.load.image_index(pixels)
    assert (network.engine.count_spikes(pixels, index) == answers.counts).all()
    assert (network.classify(data.test_pixels[:3]).counts == answers.counts[:3]).all()


def test_an_export_has_both_layers(intact, tmp_path):
    export(intact, tmp_path / "network.npz")
    with np.load(tmp_path / "network.npz") as arrays:
        assert arrays["weight"].shape == (30, 72) and arrays["first_layer_weight"].shape == (8, 9)
        assert json.loads(str(arrays["settings"]))["first_layer"]["block"] == 2
    one_layer = checkpoint.load(intact / "first_layer" / "checkpoint.pt").arrays
    assert one_layer["weight"].shape == (8, 9)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda extra: extra.pop("first_layer"), "first_layer is missing; must be of type dict"),
        (lambda extra: extra["first_layer"].pop("theta"), "first_layer.theta is missing"),
        (
            lambda extra: extra["first_layer"].update(weight=np.zeros((8, 8), np.float32)),
            "first_layer.weight is float32 [8, 8]",
        ),
        (
            lambda extra: extra["first_layer"].update(more=np.zeros(1)),
            "first_layer.more is nothing that NearestOnline keeps",
        ),
    ],
)
def test_a_checkpoint_without_its_first_layer_is_refused(intact, tmp_path, change, problem):
    saved = checkpoint.load(intact / "checkpoint.pt")
    change(saved.extra)
    checkpoint.save(tmp_path / "checkpoint.pt", saved)
    assert problem in message_of(lambda: stdp_run.load(tmp_path / "checkpoint.pt"))


@pytest.mark.parametrize(
    "overrides", [("rule@first_layer.rule=full_online",), ("neuron@first_layer.neuron=alif_stdp",)]
)
def test_any_rule_and_neuron_group_may_serve_in_the_first_layer(overrides):
    model = build_first_layer(settings_of(*SMALL, *overrides))
    assert model is not None and {model.rule.__name__, model.neuron.__name__} & {"FullOnline", "ALIF"}


def test_the_torch_engine_learns_both_layers_alike(intact, tmp_path, without_plots):
    run_in(
        tmp_path / "run", *SMALL, "engine=torch", "first_layer.engine=torch", "n_train=60", "n_label=60", "n_test=20"
    )
    run_in(tmp_path / "event", *SMALL, "n_train=60", "n_label=60", "n_test=20")
    torch, event = result_of(tmp_path / "run"), result_of(tmp_path / "event")
    assert torch["engine"] == "torch" and result_of(tmp_path / "run" / "first_layer")["engine"] == "torch"
    assert torch["first_layer"] == pytest.approx(event["first_layer"], rel=0.02)
