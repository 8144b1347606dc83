"""mode=eval: a network evaluated again, on the same images and on others."""

import os

import numpy as np
import pytest
import yaml
from helpers.errors import message_of
from helpers.runs import contents, result_of, run_in
from PIL import Image

from stdp_run.commands import evaluate
from stdp_run.datasets.pictures import reader_for
from stdp_run.inference.load import load

pytestmark = pytest.mark.usefixtures("without_plots")
SAME = ("accuracy", "confusion", "calibration_error", "spikes_per_image", "silent_neurons", "test_images", "seed")
SAME += ("operations",)


@pytest.mark.parametrize("engine", ["event", "torch"])
def test_evaluating_a_checkpoint_gives_the_same_figures_to_the_last_digit(tmp_path, engine):
    tiny = ("dataset=digits", "n_exc=20", "n_train=40", "n_label=40", "n_test=20", "encoder.steps=40", "seed=5")
    run_in(tmp_path / "learned", *tiny, f"engine={engine}")
    run_in(tmp_path / "again", "mode=eval", f"checkpoint={tmp_path}/learned/checkpoint.pt")
    first, second = result_of(tmp_path / "learned"), result_of(tmp_path / "again")
    assert {key: first[key] for key in SAME} == {key: second[key] for key in SAME}


def test_an_evaluation_may_present_images_otherwise_than_the_run(finished_run, tmp_path):
    command = ("mode=eval", f"checkpoint={finished_run}/checkpoint.pt", "n_test=20")
    counts = []
    for number, words in enumerate([(), ("evaluator.steps=30",), ("evaluator.n_presentations=3",)]):
        run_in(tmp_path / str(number), *command, *words)
        counts.append(result_of(tmp_path / str(number))["spikes_per_image"])
    assert counts[1] < 0.7 * counts[0] and counts[2] > 2 * counts[0]


def test_a_complete_evaluation_is_not_repeated(tmp_path, monkeypatch):
    words = ("dataset=digits", "n_exc=10", "n_train=20", "n_label=20", "n_test=20", "encoder.steps=20", "engine=torch")
    run_in(tmp_path / "run", *words)
    command, work, done = ("mode=eval", f"checkpoint={tmp_path}/run/checkpoint.pt"), evaluate._evaluate, []
    monkeypatch.setattr(evaluate, "_evaluate", lambda *arguments: done.append(1) or work(*arguments))
    accuracy = run_in(tmp_path / "eval", *command)
    before = contents(tmp_path)
    assert run_in(tmp_path / "eval", *command, job=0) == accuracy and len(done) == 1
    assert contents(tmp_path) == before
    run_in(tmp_path / "eval", *command, "n_test=10", job=0)
    assert len(done) == 2 and result_of(tmp_path / "eval")["test_images"] == 10, "other settings"
    os.utime(tmp_path / "run" / "checkpoint.pt")
    run_in(tmp_path / "eval", *command, "n_test=10", job=0)
    assert len(done) == 3, "a newer checkpoint"


def test_pictures_are_prepared_as_those_that_the_network_learned(tmp_path, mnist):
    for kind in ("few", "many"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    for number, digit in enumerate(mnist.test.pixels[:80]):
        kind = "few" if mnist.test.labels[number] < 5 else "many"
        Image.fromarray(255 - digit).save(tmp_path / "mine" / kind / f"{number:02}.png")
    mine = ("dataset=image_folder", f"dataset.root={tmp_path}/mine")
    tiny = ("n_exc=20", "encoder.steps=60", "dataset.prepare=resize", "dataset.invert=false")
    run_in(tmp_path / "learned", *tiny, *mine)
    command = ("mode=eval", f"checkpoint={tmp_path}/learned/checkpoint.pt", *mine)
    run_in(tmp_path / "again", *command)
    assert result_of(tmp_path / "again")["confusion"] == result_of(tmp_path / "learned")["confusion"]
    run_in(tmp_path / "framed", *command, "dataset.prepare=frame")
    for name, expected in (("again", ("resize", False)), ("framed", ("frame", None))):
        dataset = yaml.safe_load((tmp_path / name / "config.yaml").read_text())["dataset"]
        assert (dataset["prepare"], dataset["invert"]) == expected
    run_in(tmp_path / "swapped", *command[:2], "+dataset.class_names.few=many", "+dataset.class_names.many=few")
    there, back = (result_of(tmp_path / name)["confusion"]["all_activity"] for name in ("again", "swapped"))
    assert [row[:2] for row in back] == [row[:2] for row in there[::-1]] != [row[:2] for row in there]
    learned = load(tmp_path / "learned").settings.dataset
    assert np.array_equal(reader_for(learned).read(tmp_path / "mine" / "many" / "00.png"), 255 - mnist.test.pixels[0])


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("dataset=digits", "dataset=digits: 8 x 8 pixels; the network learned from 28 x 28"),
        ("~evaluator", "evaluator: missing"),
        ("checkpoint=5", "checkpoint=5: must be the directory of a finished run"),
    ],
)
def test_a_command_that_does_not_fit_the_network_is_refused(tmp_path, finished_run, word, line):
    command = ("mode=eval", f"checkpoint={finished_run}/checkpoint.pt", word)
    assert line in message_of(lambda: run_in(tmp_path / "run", *command))
    assert not contents(tmp_path / "run")
