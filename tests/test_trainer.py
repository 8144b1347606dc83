import copy
import math

import numpy as np
import pytest
from omegaconf import OmegaConf

from stdp_run.config import SCHEDULES, conf_folder, read_settings
from stdp_run.errors import UserError
from stdp_run.interruption import Interruption
from stdp_run.trainer import Progress, learning_rate, train


class Recorder:
    """An engine, a tracker and a run that keep what they are given; neuron k spikes once for each image of class k."""

    def __init__(self, classes):
        self.classes = classes
        self.calls = []
        self.rows = []
        self.evaluated = []
        self.drawn = []
        self.saved = []
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

    def evaluate(self, images_seen):
        self.evaluated.append(images_seen)

    def draw(self, progress):
        self.drawn.append(progress.images)

    def save(self, progress):
        self.saved.append((progress.position(), copy.deepcopy(progress.arrays())))


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


def run(n_images, saved=None, **changes):
    classes = np.arange(n_images) % 3
    recorder = Recorder(classes)
    pixels = np.zeros((n_images, 4), np.uint8)
    settings = settings_with(**changes)
    progress = Progress.start(3, settings.trainer)
    if saved is not None:
        progress.restore(*saved)
    with Interruption() as interruption:
        train(recorder, pixels, classes, progress, settings, recorder, recorder, interruption)
    return recorder, recorder.evaluated, progress


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
    assert set(recorder.learners) == {None}
    with pytest.raises(UserError, match=r"trainer\.learners_start=16: needs the number at the end, max_learners"):
        settings_with(trainer={"learners_start": 16})


def test_logging_and_evaluating_do_not_cut_batches():
    recorder, evaluated, _ = run(700, batch_size=64, trainer={"log_every": 100, "evaluate_every": 150})
    edges = np.cumsum([len(index) for index, _, _ in recorder.calls])
    assert all(edge % 64 == 0 for edge in edges[:-1]) and edges[-1] == 700
    assert [images_seen for images_seen, _ in recorder.rows] == [128, 256, 320, 448, 512, 640, 700]
    assert evaluated == [192, 320, 512, 640]


def test_pictures_and_checkpoints_come_when_they_are_due():
    recorder, _, _ = run(700, epochs=2, trainer={"draw_every": 500, "checkpoint_every": 400, "evaluate_every": 650})
    assert recorder.drawn == [500, 1000]
    # An evaluation can take long, so that everything is saved before it; and so it is before labelling begins.
    assert [position["images"] for position, _ in recorder.saved] == [400, 650, 800, 1200, 1300, 1400]


def without_times(rows):
    return [(n, {k: v for k, v in values.items() if k != "train/images_per_second"}) for n, values in rows]


@pytest.mark.parametrize("batch_size", [1, 64])
def test_going_on_from_any_checkpoint_does_what_is_left_and_nothing_twice(batch_size):
    options = {"log_every": 300, "evaluate_every": 450, "draw_every": 350, "checkpoint_every": 90}
    options.update(schedule="cosine", estimate_from=600)
    whole, _, end = run(700, epochs=2, batch_size=batch_size, trainer=options)
    assert len(whole.saved) > 10
    for position, arrays in whole.saved:
        at = position["images"]
        rest, evaluated, progress = run(
            700, (position, copy.deepcopy(arrays)), epochs=2, batch_size=batch_size, trainer=options
        )
        assert without_times(rest.rows) == without_times(row for row in whole.rows if row[0] >= at)
        assert evaluated == [n for n in whole.evaluated if n >= at]
        assert rest.drawn == [n for n in whole.drawn if n >= at]
        shown = [index for call in whole.calls for index in zip(*call[::2], strict=True)]
        assert [index for call in rest.calls for index in zip(*call[::2], strict=True)] == shown[at:]
        assert (progress.images, progress.spikes) == (end.images, end.spikes) == (1400, 1400)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_run_from_one_to_their_end(schedule):
    rates = learning_rate(schedule, 0.05, np.array([0.0, 0.5, 1.0]))
    middle = {"constant": 1.0, "exponential": math.sqrt(0.05), "cosine": (1 + 0.05) / 2}[schedule]
    assert rates.tolist() == pytest.approx([1.0, middle, 1.0 if schedule == "constant" else 0.05])
