import copy
import math
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import settings_of

from stdp_run.datasets.selection import Data
from stdp_run.errors import UserError
from stdp_run.network import NetworkState
from stdp_run.training.order import lr_factor, presentation_order
from stdp_run.training.preparation import Prepared, Progress
from stdp_run.training.signals import Stop
from stdp_run.training.tracking import Bars
from stdp_run.training.trainer import Trainer

STATE = NetworkState(np.full((3, 4), 0.5), np.array([1.0, 2.0, 3.0]))


class Recorder:
    """The engine and the outputs of a trainer, which keep what they are given."""

    path = Path("run")

    def __init__(self, classes):
        self.classes = classes
        self.calls, self.rows, self.evaluated, self.plotted, self.saved, self.k_winners = [], [], [], [], [], []

    def learn(self, pixels, image_index, epoch, rate, k_winners):
        self.calls.append((image_index.tolist(), epoch, rate.tolist()))
        self.k_winners.append(k_winners)
        return np.eye(3, dtype=np.int32)[self.classes[image_index]]  # neuron k spikes once for an image of class k

    def state(self):
        return STATE

    def scalars(self, images_seen, values):
        self.rows.append((images_seen, {k: v for k, v in values.items() if k != "train/images_per_second"}))

    def network(self, images_seen, state, labels):
        return [images_seen]

    def submit(self, images_seen, figures):
        assert figures == [images_seen]
        self.plotted.append(images_seen)

    def wait(self):
        self.waited = True

    def save(self, content=None, keep_all=None):
        if content:  # else it is the tracker that saves
            assert self.waited, "a checkpoint must not be ahead of the plots"
            self.saved.append(copy.deepcopy(content))

    @property
    def images(self):
        """(image, epoch, rate) of each image that was learned from."""
        return [(k, epoch, rate) for index, epoch, rates in self.calls for k, rate in zip(index, rates, strict=True)]


def train(n_images, recorder_class=Recorder, **changes):
    """Have a network learn; return the recorder."""
    trainer = {"plot_every": None, "checkpoint_seconds": None, **changes.pop("trainer", {})}
    overrides = {**changes, "n_exc": 3, **{f"trainer.{key}": value for key, value in trainer.items()}}
    settings = settings_of(*(f"{key}={'null' if value is None else value}" for key, value in overrides.items()))
    classes, pixels = np.arange(n_images) % 3, np.zeros((n_images, 4), np.uint8)
    recorder = recorder_class(classes)
    data = Data(pixels, classes, pixels[None], pixels[None], classes, np.arange(n_images), ("a", "b", "c"))
    recorder.progress = Progress.of(settings, data, None)

    class Here(Trainer):
        def _evaluate(self):
            recorder.evaluated.append(self._progress.images)

    with Stop() as stop:
        progress, choice = recorder.progress, ("event", "cpu")
        run = Prepared(settings, recorder, None, data, None, choice, None, progress, time.perf_counter())
        Here(run, data, recorder, recorder, recorder, stop).train(Bars(visible=False))
    return recorder


class Diverging(Recorder):
    """Weights that are no numbers after seven images."""

    def state(self):
        Diverging.latest = self
        return STATE if len(self.images) < 8 else NetworkState(STATE.weight * np.nan, STATE.theta)


def test_weights_that_are_no_numbers_are_not_saved():
    with pytest.raises(UserError, match=r"^run: weight is not finite after 8 images and was not saved; a constant"):
        train(12, recorder_class=Diverging, trainer={"checkpoint_every": 4})
    assert [each.global_step for each in Diverging.latest.saved] == [4]


@pytest.mark.parametrize("order", ["shuffled", "as_stored", "by_class"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_every_image_is_presented_once_an_epoch_in_its_order(batch_size, order):
    recorder = train(700, epochs=2, batch_size=batch_size, trainer={"log_every": 300, "order": order})
    presented = [[k for k, e, _ in recorder.images if e == epoch] for epoch in (0, 1)]
    assert presented == [presentation_order(order, np.arange(700) % 3, epoch, 0).tolist() for epoch in (0, 1)]
    assert recorder.progress.images == recorder.progress.spikes == 1400 and recorder.progress.seconds > 0
    # Each class ends with an evaluation, after whole batches; the last with the test.
    ends = {1: [234, 467, 700, 934, 1167], 7: [238, 469, 700, 938, 1169], 64: [256, 512, 700, 956, 1212]}[batch_size]
    assert recorder.evaluated == (ends if order == "by_class" else [])
    assert set(recorder.evaluated) <= {saved.global_step for saved in recorder.saved}


def test_all_comes_when_it_is_due():
    every = {"log_every": 300, "evaluate_every": 450, "plot_every": 500, "checkpoint_every": 400}
    recorder = train(700, epochs=2, trainer=every)
    assert [images_seen for images_seen, _ in recorder.rows] == [300, 600, 900, 1200, 1400]
    assert (recorder.evaluated, recorder.plotted) == ([450, 900, 1350], [500, 1000])
    # An evaluation can take long, so that everything is saved before it; and so it is before labelling begins.
    saved = [(each.global_step, each.epoch) for each in recorder.saved]
    assert saved == [(400, 0), (450, 0), (800, 1), (900, 1), (1200, 1), (1350, 1), (1400, 2)]
    np.testing.assert_equal(recorder.saved[0].state_dict, STATE.arrays())
    first, second = recorder.rows[0][1], recorder.rows[1][1]
    assert first["train/running_accuracy"] is None, "there is nothing yet to label neurons by"
    assert (second["train/running_accuracy"], second["train/spikes_per_image"]) == (1.0, 1.0)
    assert (second["network/theta_mean"], second["network/weight_mean"]) == (2.0, 0.5)


@pytest.mark.parametrize(("n_images", "epochs", "expected"), [(150, 1, 2), (2000, 1, 20), (700, 3, 20), (24000, 1, 24)])
def test_rows_of_metrics_follow_the_length_of_the_run(n_images, epochs, expected):
    recorder = train(n_images, epochs=epochs)
    assert len(recorder.rows) == expected and recorder.rows[-1][0] == n_images * epochs


def test_what_is_due_does_not_cut_batches():
    recorder = train(700, batch_size=64, trainer={"log_every": 100, "evaluate_every": 150})
    edges = np.cumsum([len(index) for index, _, _ in recorder.calls])
    assert all(edge % 64 == 0 for edge in edges[:-1]) and edges[-1] == 700
    assert [images_seen for images_seen, _ in recorder.rows] == [128, 256, 320, 448, 512, 640, 700]
    assert recorder.evaluated == [192, 320, 512, 640]


def test_rate_and_number_of_winners_fall_over_the_whole_run():
    schedules = {"schedule": "exponential", "rate_end": 0.01, "k_winners_start": 16}
    recorder = train(500, epochs=2, k_winners=4, trainer=schedules)
    rates = [rate for _, _, rate in recorder.images]
    assert np.allclose(rates, 0.01 ** (np.arange(1000) / 1000))
    assert recorder.rows[-1][1]["train/lr_factor"] == rates[-1]
    assert np.concatenate(recorder.k_winners).tolist() == [round(16 * (4 / 16) ** (n / 1000)) for n in range(1000)]
    assert set(train(20, k_winners=4).k_winners) == {None}
    for schedule, middle in (("constant", 1.0), ("exponential", math.sqrt(0.05)), ("cosine", (1 + 0.05) / 2)):
        expected = [1.0, middle, 1.0 if schedule == "constant" else 0.05]
        options = settings_of(f"trainer.schedule={schedule}", "trainer.rate_end=0.05").trainer
        assert lr_factor(options, np.array([0.0, 0.5, 1.0])).tolist() == pytest.approx(expected)


class Timed(Recorder):
    """Learns for so many seconds from an image."""

    now, seconds = 0.0, 0.01

    def learn(self, pixels, *others):
        Timed.now += self.seconds * len(pixels)
        return super().learn(pixels, *others)


@pytest.mark.parametrize(("seconds", "at_once"), [(0.01, 50), (0.7, 1), (1e-5, 250)])
def test_as_many_images_are_presented_at_once_as_take_half_a_second(monkeypatch, seconds, at_once):
    monkeypatch.setattr("time.perf_counter", lambda: Timed.now)
    monkeypatch.setattr(Timed, "seconds", seconds)
    options = {"schedule": "cosine", "log_every": 1000}
    timed = train(1000, recorder_class=Timed, trainer=options)
    assert [len(index) for index, *_ in timed.calls][:3] == [1, at_once, at_once]
    assert timed.progress.seconds == pytest.approx(1000 * seconds)
    monkeypatch.undo()
    plain = train(1000, trainer=options)
    assert timed.images == plain.images and timed.rows == plain.rows
