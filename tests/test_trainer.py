import math

import numpy as np
import pytest
from omegaconf import OmegaConf

from stdp_run.config import SCHEDULES, conf_folder, read_settings
from stdp_run.errors import UserError
from stdp_run.trainer import learning_rate, train


class Recorder:
    """An engine and a tracker that keep what they are given; neuron k spikes once for each image of class k."""

    def __init__(self, classes):
        self.classes = classes
        self.calls = []
        self.rows = []
        self.learners = []

    def learn(self, pixels, index, epoch, rate, learners=None):
        self.calls.append((index.tolist(), epoch, rate.tolist()))
        self.learners.append(learners)
        return np.eye(3, dtype=np.int32)[self.classes[index]]

    def state(self):
        return self

    weight = np.full((3, 4), 0.5)
    theta = np.array([1.0, 2.0, 3.0])

    def scalars(self, images_seen, values):
        self.rows.append((images_seen, values))


def settings_with(**changes):
    trainer, evaluator = (
        OmegaConf.to_container(OmegaConf.load(conf_folder() / name / "default.yaml"))
        for name in ("trainer", "evaluator")
    )
    base = OmegaConf.to_container(OmegaConf.load(conf_folder() / "config.yaml"))
    for key in ("defaults", "hydra"):
        base.pop(key)
    sections = {"rule": {}, "neuron": {}, "dataset": {}, "evaluator": evaluator}
    return read_settings({**base, **sections, "trainer": {**trainer, **changes.pop("trainer", {})}, **changes})


def run(n_images, **changes):
    classes = np.arange(n_images) % 3
    recorder = Recorder(classes)
    evaluated = []
    pixels = np.zeros((n_images, 4), np.uint8)
    summary = train(recorder, pixels, classes, 3, settings_with(**changes), recorder, evaluated.append)
    return recorder, evaluated, summary


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_every_image_is_shown_once_a_pass_in_an_order_of_its_own(batch_size):
    recorder, _, summary = run(700, epochs=2, batch_size=batch_size, trainer={"log_every": 300})
    shown = {epoch: [k for index, e, _ in recorder.calls if e == epoch for k in index] for epoch in (0, 1)}
    assert sorted(shown[0]) == sorted(shown[1]) == list(range(700))
    assert shown[0] != shown[1] != list(range(700))
    assert summary.images == 1400 and summary.spikes == 1400


def test_without_shuffling_images_come_as_they_lie():
    recorder, _, _ = run(20, trainer={"shuffle": False})
    assert [k for index, _, _ in recorder.calls for k in index] == list(range(20))


def test_rows_of_metrics_and_evaluations_come_when_they_are_due():
    recorder, evaluated, _ = run(700, epochs=2, trainer={"log_every": 300, "evaluate_every": 450})
    assert [images_seen for images_seen, _ in recorder.rows] == [300, 600, 900, 1200, 1400]
    assert evaluated == [450, 900, 1350]
    first, second = recorder.rows[0][1], recorder.rows[1][1]
    assert first["train/running_accuracy"] is None, "there is nothing yet to label neurons by"
    assert second["train/running_accuracy"] == 1.0
    assert second["train/spikes_per_image"] == 1.0
    assert (second["network/theta_mean"], second["network/weight_mean"]) == (2.0, 0.5)


def test_the_learning_rate_falls_over_the_whole_run():
    recorder, _, _ = run(50, epochs=2, trainer={"schedule": "exponential", "rate_end": 0.01})
    rates = [rate for _, _, rates in recorder.calls for rate in rates]
    assert len(rates) == 100
    assert np.allclose(rates, 0.01 ** (np.arange(100) / 100))
    assert recorder.rows[-1][1]["train/learning_rate"] == rates[-1]


def test_the_number_of_learners_falls_over_the_whole_run():
    recorder, _, _ = run(500, epochs=2, max_learners=4, trainer={"learners_start": 16})
    learners = np.concatenate(recorder.learners)
    assert len(learners) == 1000
    assert learners.tolist() == [round(16 * (4 / 16) ** (n / 1000)) for n in range(1000)]
    assert (learners[0], learners[500], learners[-1]) == (16, 8, 4)


def test_the_number_of_learners_is_the_models_own_unless_it_changes():
    recorder, _, _ = run(20, max_learners=4)
    assert recorder.learners == [None]
    with pytest.raises(UserError, match=r"trainer\.learners_start=16: needs the number at the end, max_learners"):
        settings_with(trainer={"learners_start": 16})


def test_logging_and_evaluating_do_not_cut_batches():
    recorder, evaluated, _ = run(700, batch_size=64, trainer={"log_every": 100, "evaluate_every": 150})
    edges = np.cumsum([len(index) for index, _, _ in recorder.calls])
    assert all(edge % 64 == 0 for edge in edges[:-1]) and edges[-1] == 700
    assert [images_seen for images_seen, _ in recorder.rows] == [128, 256, 320, 448, 512, 640, 700]
    assert evaluated == [192, 320, 512, 640]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_run_from_one_to_their_end(schedule):
    rates = learning_rate(schedule, 0.05, np.array([0.0, 0.5, 1.0]))
    middle = {"constant": 1.0, "exponential": math.sqrt(0.05), "cosine": (1 + 0.05) / 2}[schedule]
    assert rates.tolist() == pytest.approx([1.0, middle, 1.0 if schedule == "constant" else 0.05])
