"""The trained network from Python: a real run's checkpoint, loaded and asked."""

import subprocess
import sys

import numpy as np
import pytest

from stdp_run import checkpoint
from stdp_run.errors import UserError
from stdp_run.inference.export import export
from stdp_run.inference.load import load


@pytest.fixture(scope="module")
def network(finished_run):
    return load(finished_run)


@pytest.fixture(scope="module")
def images(mnist):
    return mnist.test.pixels[:300]


def test_it_recognises_digits(network, images, mnist):
    answers = network.classify(images)
    classes = mnist.test.labels[:300]
    assert (answers.class_index == classes).mean() > 0.65
    assert answers.names == tuple(str(index) for index in answers.class_index)
    assert answers.classes == tuple("0123456789")
    assert answers.counts.shape == (300, 100) and answers.counts.sum() > 0
    right = answers.class_index == classes
    assert answers.confidence[right].mean() > answers.confidence[~right].mean() + 0.1


def test_score_and_confidence_come_of_the_counts(network, images):
    answers = network.classify(images[:50])
    label = network.labels.label
    for n in range(50):
        score = np.array([answers.counts[n, label == c].mean() if (label == c).any() else 0 for c in range(10)])
        assert answers.score[n] == pytest.approx(score)
        assert answers.class_index[n] == score.argmax()
        temperature, floor = network.labels.calibration["all_activity"]
        power = (score / score.max() + floor) ** (1 / temperature)
        assert answers.confidence[n] == pytest.approx(power.max() / power.sum())


def test_confidence_is_how_often_answers_are_right(network, mnist):
    answers = network.classify(mnist.test.pixels[:2000])
    accuracy = (answers.class_index == mnist.test.labels[:2000]).mean()
    shares = answers.score.max(axis=1) / answers.score.sum(axis=1)
    assert abs(answers.confidence.mean() - accuracy) < 0.08 < 0.15 < abs(shares.mean() - accuracy)


def test_without_a_calibration_confidence_is_a_share_and_the_log_says_so(finished_run, tmp_path, images, caplog):
    saved = checkpoint.load(finished_run / "checkpoint.pt")
    extra = {key: value for key, value in saved.extra.items() if key != "calibration"}
    checkpoint.save(tmp_path / "early.pt", checkpoint.Checkpoint(saved.config, saved.arrays, extra=extra))
    answers = load(tmp_path / "early.pt").classify(images[:50])
    assert "checkpoint without calibration" in caplog.text
    assert answers.confidence == pytest.approx(answers.score.max(axis=1) / answers.score.sum(axis=1))


def test_a_picture_gets_the_same_answer_wherever_it_stands(finished_run, network, images):
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


@pytest.mark.parametrize("wrong", [(28, 27), (2, 27, 28), (3, 783), (784,), (1, 1, 28, 28), ()])
def test_other_shapes_and_types_are_refused(network, wrong):
    with pytest.raises(UserError, match=r"must be uint8 \[N, 28, 28\], \[N, 784\] or \[28, 28\]"):
        network.classify(np.zeros(wrong, np.uint8))
    with pytest.raises(UserError, match="images of type float32"):
        network.classify(np.zeros((2, 28, 28), np.float32))


def test_what_is_no_finished_run_is_refused(finished_run, tmp_path):
    with pytest.raises(UserError, match=r"checkpoint=.*nowhere: cannot be read"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"checkpoint=.*must be a finished run: there is no checkpoint\.pt"):
        load(tmp_path)
    saved = checkpoint.load(finished_run / "checkpoint.pt")
    checkpoint.save(tmp_path / "early.pt", checkpoint.Checkpoint(saved.config, saved.arrays))
    for use in (load, lambda path: export(path, tmp_path / "x.npz")):
        with pytest.raises(UserError, match=r"early\.pt: must be .*not labelled yet"):
            use(tmp_path / "early.pt")
    with pytest.raises(UserError, match="threads=0: must be a whole number of 1 or more, or null"):
        load(finished_run, threads=0)


def test_a_network_is_shown_in_one_line(network, finished_run):
    of = "nearest_online with lif_stdp: 100 neurons, 784 inputs, 10 classes of mnist"
    assert repr(network) == f"TrainedNetwork({of}; {finished_run})"


def test_answers_are_shown_in_one_line(network, images):
    answers = network.classify(images[:12])
    text = repr(answers)
    assert text.startswith(f"Answers(12: {answers.names[0]} ({answers.confidence[0]:.0%}), ") and text.endswith(
        ", ...)"
    )
    assert text.count("%") == 10 and "\n" not in text


def test_classes_go_by_the_names_in_the_checkpoint(finished_run, tmp_path):
    saved = checkpoint.load(finished_run / "checkpoint.pt")
    extra = {**saved.extra, "classes": list("abcdefghij")}
    checkpoint.save(tmp_path / "named.pt", checkpoint.Checkpoint(saved.config, saved.arrays, extra=extra))
    assert load(tmp_path / "named.pt").classes == tuple("abcdefghij")


@pytest.mark.parametrize("engine", ["event", "torch"])
def test_loading_and_classifying_leave_the_settings_of_the_process_alone(finished_run, images, monkeypatch, engine):
    import numba
    import torch

    monkeypatch.setattr("stdp_run.engines.selection.choose", lambda *_: (engine, "cpu"))
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    cache = numba.config.CACHE_DIR
    torch.set_num_threads(3)
    torch.set_float32_matmul_precision("medium")
    try:
        network = load(finished_run, threads=2)
        assert network.engine.name == engine
        assert network.classify(images[:2]).counts.shape == (2, 100)
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (3, "medium")
        assert cache == numba.config.CACHE_DIR
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


def test_load_is_at_hand_and_importing_stays_fast(finished_run):
    program = f"""
import sys, stdp_run
assert "torch" not in sys.modules and "numpy" not in sys.modules
print(len(stdp_run.load({str(finished_run)!r}).classes))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.stdout == "10\n", done.stderr
