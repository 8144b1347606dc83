"""The trained network from Python: a real run's checkpoint, loaded and asked."""

import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from helpers.errors import message_of
from helpers.networks import both_engines

from stdp_run import checkpoint
from stdp_run.inference.load import load


@pytest.fixture(scope="module")
def network(finished_run):
    return load(finished_run)


@pytest.fixture(scope="module")
def images(mnist):
    return mnist.test.pixels[:300]


def test_it_recognises_digits_as_often_as_its_confidence_says(network, mnist):
    answers = network.classify(mnist.test.pixels[:2000])
    right = answers.class_index == mnist.test.labels[:2000]
    assert right.mean() > 0.65
    assert answers.names == tuple(str(index) for index in answers.class_index)
    assert answers.classes == tuple("0123456789") and answers.counts.shape == (2000, 100)
    assert answers.confidence[right].mean() > answers.confidence[~right].mean() + 0.1
    shares = answers.score.max(axis=1) / answers.score.sum(axis=1)
    assert abs(answers.confidence.mean() - right.mean()) < 0.08 < 0.15 < abs(shares.mean() - right.mean())


def test_classes_have_the_names_and_the_calibration_of_the_checkpoint(finished_run, tmp_path, images):
    saved = checkpoint.load(finished_run / "checkpoint.pt")
    labels = {**saved.labels, "classes": list("abcdefghij"), "calibration": {}}
    checkpoint.save(tmp_path / "named.pt", replace(saved, labels=labels))
    network = load(tmp_path / "named.pt")
    answers = network.classify(images[:50])
    assert network.classes == answers.classes == tuple("abcdefghij")
    assert answers.confidence == pytest.approx(answers.score.max(axis=1) / answers.score.sum(axis=1))


def test_receptive_fields_of_on_and_off_inputs_are_their_difference(finished_run, tmp_path, network):
    saved = checkpoint.load(finished_run / "checkpoint.pt")
    config = {**saved.config, "encoder": {**saved.config["encoder"], "on_off": True}}
    off = np.linspace(0, 1, 78_400, dtype=np.float32).reshape(100, 784)
    arrays = {**saved.state_dict, "weight": np.concatenate([saved.state_dict["weight"], off], axis=1)}
    checkpoint.save(tmp_path / "on_off.pt", replace(saved, config=config, state_dict=arrays))
    fields = load(tmp_path / "on_off.pt").receptive_fields
    np.testing.assert_array_equal(fields, network.receptive_fields - off.reshape(100, 28, 28))


def test_an_answer_depends_on_the_picture_alone(finished_run, network, images):
    together = network.classify(images)
    order = np.random.default_rng(0).permutation(len(images))
    assert np.array_equal(network.classify(images[order]).counts, together.counts[order])
    for n in (0, 7, 299):
        alone = network.classify(images[n])
        assert np.array_equal(alone.counts[0], together.counts[n])
        assert alone.confidence[0] == together.confidence[n]
    flat = load(finished_run / "checkpoint.pt", threads=1).classify(images.reshape(300, 784))
    assert np.array_equal(flat.counts, together.counts)


def test_without_spikes_there_is_no_answer(network, images):
    answers = network.classify(np.stack([images[0], np.zeros((28, 28), np.uint8)]))
    assert answers.names[0] is not None and answers.names[1] is None
    assert answers.class_index[1] == -1 and answers.confidence[1] == 0 and not answers.counts[1].any()
    none = network.classify(np.zeros((0, 28, 28), np.uint8))
    assert none.names == () and none.counts.shape == (0, 100) and none.score.shape == (0, 10)


def test_other_shapes_types_and_paths_are_refused(network, finished_run, tmp_path):
    for shape in ((28, 27), (2, 27, 28), (3, 783), (784,), (1, 1, 28, 28), ()):
        line = message_of(lambda shape=shape: network.classify(np.zeros(shape, np.uint8)))
        assert line.endswith("must be uint8 [N, 28, 28], [N, 784] or [28, 28]")
    assert "images of type float32" in message_of(lambda: network.classify(np.zeros((2, 28, 28), np.float32)))
    for path in ("nowhere", "a\0b", "x" * 5000):
        assert ": cannot be read" in message_of(partial(load, path))
    assert "checkpoint=null: must be the directory of a finished run" in message_of(lambda: load(None))
    assert "must be a finished run: there is no checkpoint.pt" in message_of(lambda: load(tmp_path))
    assert "threads=0: must be a whole number from 1 to 1024" in message_of(lambda: load(finished_run, threads=0))
    line = message_of(lambda: load(finished_run, config_dir=tmp_path / "nowhere"))
    assert line.endswith("nowhere: must be an existing folder with the code of custom classes")


def test_a_network_and_its_answers_are_shown_in_one_line(network, finished_run, images):
    of = "nearest_online with lif_stdp: 100 neurons, 784 inputs, 10 classes of mnist"
    assert repr(network) == f"TrainedNetwork({of}; {finished_run})"
    answers = network.classify(images[:12])
    text = repr(answers)
    assert text.startswith(f"Answers(12: {answers.names[0]} ({answers.confidence[0]:.0%}), ")
    assert text.endswith(", ...)") and text.count("%") == 10 and "\n" not in text


@both_engines
@pytest.mark.usefixtures("torch_settings")
def test_loading_and_classifying_leave_the_settings_of_the_process_alone(finished_run, images, monkeypatch, engine):
    monkeypatch.setattr("stdp_run.engines.selection.choose", lambda *_: (engine, "cpu"))
    torch.set_num_threads(3)
    torch.set_float32_matmul_precision("medium")
    network = load(finished_run, threads=2)
    assert network.engine.name == engine
    assert network.classify(images[:2]).counts.shape == (2, 100)
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (3, "medium")


def test_importing_stays_fast():
    program = "import sys, stdp_run\nassert not {'torch', 'numpy'} & sys.modules.keys() and stdp_run.load"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=600)
