import copy
import functools
import math
import os
import signal

import numpy as np
import pytest
from helpers.runs import settings_of

from stdp_run.config.sections import SCHEDULES
from stdp_run.datasets.selection import Data
from stdp_run.errors import UserError
from stdp_run.evaluation.metrics import RunningAccuracy
from stdp_run.network import NetworkState
from stdp_run.training.signals import Interruption
from stdp_run.training.tracking import Bars
from stdp_run.training.trainer import Progress, Trainer, lr_factor

known_settings = functools.cache(settings_of)


class Recorder:
    """The engine, the tracker and the run of a trainer, which keep what they are given."""

    def __init__(self, progress, classes):
        self.progress, self.classes = progress, classes
        self.calls, self.rows, self.evaluated, self.plotted, self.saved, self.k_winners = [], [], [], [], [], []

    def learn(self, pixels, image_index, epoch, rate, k_winners):
        self.calls.append((image_index.tolist(), epoch, rate.tolist()))
        self.k_winners.append(k_winners)
        return np.eye(3, dtype=np.int32)[self.classes[image_index]]  # neuron k spikes once for an image of class k

    def state(self):
        return NetworkState(np.full((3, 4), 0.5), np.array([1.0, 2.0, 3.0]))

    def scalars(self, images_seen, values):
        self.rows.append((images_seen, values))

    def save(self, _):
        self.saved.append(copy.deepcopy(self.progress.saved()))

    def plot(self, _):
        self.plotted.append(self.progress.images)

    def evaluate(self):
        self.evaluated.append(self.progress.images)


def train(n_images, saved=None, recorder_class=Recorder, **changes):
    """Have a network learn, from what was saved if anything was."""
    trainer = changes.pop("trainer", {})
    nothing_by_time = {"plot_every": None, "checkpoint_seconds": None}
    overrides = {**changes, **{f"trainer.{key}": value for key, value in {**nothing_by_time, **trainer}.items()}}
    settings = known_settings(*(f"{key}={'null' if value is None else value}" for key, value in overrides.items()))
    classes = np.arange(n_images) % 3
    windows = max(1, settings.trainer.label_window // settings.trainer.log_every)
    progress = Progress(RunningAccuracy(3, windows))
    if saved is not None:
        progress.restore(saved)
    recorder = recorder_class(progress, classes)
    pixels = np.zeros((n_images, 4), np.uint8)
    with Interruption(".") as interruption:
        data = Data(pixels, classes, pixels, classes, np.arange(n_images), ("a", "b", "c"))
        trainer = Trainer(settings, data, progress, recorder, interruption)
        trainer.train(recorder, recorder, Bars(visible=False))
    return recorder


def images_of(recorder):
    return [image for index, epoch, rates in recorder.calls for image in zip(index, [epoch] * len(index), rates)]  # noqa: B905


def without_times(rows):
    return [(n, {k: v for k, v in values.items() if k != "train/images_per_second"}) for n, values in rows]


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_every_image_is_presented_once_an_epoch_in_an_order_of_its_own(batch_size):
    recorder = train(700, epochs=2, batch_size=batch_size, trainer={"log_every": 300})
    presented = {epoch: [k for index, e, _ in recorder.calls if e == epoch for k in index] for epoch in (0, 1)}
    assert sorted(presented[0]) == sorted(presented[1]) == list(range(700))
    assert presented[0] != presented[1] != list(range(700))
    progress = recorder.progress
    assert progress.images == progress.spikes == 1400 and progress.seconds > 0


def test_without_shuffling_images_come_as_they_lie():
    recorder = train(20, trainer={"order": "as_stored"})
    assert [k for index, _, _ in recorder.calls for k in index] == list(range(20))


@pytest.mark.parametrize("batch_size", [1, 64])
def test_by_class_one_class_follows_another_in_every_epoch(batch_size):
    recorder = train(700, epochs=2, batch_size=batch_size, trainer={"order": "by_class"})
    for epoch in (0, 1):
        presented = [k for index, e, _ in recorder.calls if e == epoch for k in index]
        assert [k % 3 for k in presented] == [0] * 234 + [1] * 233 + [2] * 233
        assert sorted(presented) == list(range(700)) and presented[:234] != sorted(presented[:234])
    ends = {1: [234, 467, 700, 934, 1167], 64: [256, 512, 700, 956, 1212]}  # whole batches
    assert recorder.evaluated == ends[batch_size], "each class ends with an evaluation, and the last with the test"
    assert set(ends[batch_size]) <= {saved["images"] for saved in recorder.saved}


def test_rows_of_metrics_and_evaluations_come_when_they_are_due():
    recorder = train(700, epochs=2, trainer={"log_every": 300, "evaluate_every": 450})
    assert [images_seen for images_seen, _ in recorder.rows] == [300, 600, 900, 1200, 1400]
    assert recorder.evaluated == [450, 900, 1350]
    first, second = recorder.rows[0][1], recorder.rows[1][1]
    assert first["train/running_accuracy"] is None, "there is nothing yet to label neurons by"
    assert second["train/running_accuracy"] == 1.0
    assert second["train/spikes_per_image"] == 1.0
    assert (second["network/theta_mean"], second["network/weight_mean"]) == (2.0, 0.5)


def test_the_rate_falls_over_the_whole_run():
    recorder = train(50, epochs=2, trainer={"schedule": "exponential", "rate_end": 0.01})
    rates = [rate for _, _, rates in recorder.calls for rate in rates]
    assert len(rates) == 100
    assert np.allclose(rates, 0.01 ** (np.arange(100) / 100))
    assert recorder.rows[-1][1]["train/lr_factor"] == rates[-1]


def test_the_number_of_winners_falls_over_the_whole_run_if_it_is_to_change():
    recorder = train(500, epochs=2, k_winners=4, trainer={"k_winners_start": 16})
    winners = np.concatenate(recorder.k_winners)
    assert winners.tolist() == [round(16 * (4 / 16) ** (n / 1000)) for n in range(1000)]
    assert (winners[0], winners[500], winners[-1]) == (16, 8, 4)
    assert set(train(20, k_winners=4).k_winners) == {None}
    with pytest.raises(UserError, match=r"trainer\.k_winners_start=16: needs the number at the end, k_winners"):
        settings_of("trainer.k_winners_start=16")


def test_what_is_due_does_not_cut_batches():
    recorder = train(700, batch_size=64, trainer={"log_every": 100, "evaluate_every": 150})
    edges = np.cumsum([len(index) for index, _, _ in recorder.calls])
    assert all(edge % 64 == 0 for edge in edges[:-1]) and edges[-1] == 700
    assert [images_seen for images_seen, _ in recorder.rows] == [128, 256, 320, 448, 512, 640, 700]
    assert recorder.evaluated == [192, 320, 512, 640]


def test_plots_and_checkpoints_come_when_they_are_due():
    recorder = train(700, epochs=2, trainer={"plot_every": 500, "checkpoint_every": 400, "evaluate_every": 650})
    assert recorder.plotted == [500, 1000]
    # An evaluation can take long, so that everything is saved before it; and so it is before labelling begins.
    assert [saved["images"] for saved in recorder.saved] == [400, 650, 800, 1200, 1300, 1400]


OPTIONS = {"log_every": 300, "evaluate_every": 450, "plot_every": 350, "checkpoint_every": 90}
OPTIONS |= {"schedule": "cosine", "label_window": 600}


class Timed(Recorder):
    """One that learns for so many seconds from an image."""

    now, seconds = 0.0, 0.01

    def learn(self, pixels, *others):
        Timed.now += self.seconds * len(pixels)
        return super().learn(pixels, *others)


@pytest.mark.parametrize(("seconds", "asked"), [(0.01, 50), (0.7, 1), (1e-5, 250)])
def test_as_many_images_are_presented_at_once_as_take_half_a_second(monkeypatch, seconds, asked):
    monkeypatch.setattr("time.perf_counter", lambda: Timed.now)
    monkeypatch.setattr(Timed, "seconds", seconds)
    options = {**OPTIONS, "log_every": 1000, "evaluate_every": None, "checkpoint_every": None}
    timed = train(1000, recorder_class=Timed, trainer={**options, "plot_every": None})
    assert [len(index) for index, *_ in timed.calls][:3] == [1, asked, asked]
    assert timed.progress.seconds == pytest.approx(1000 * seconds)
    monkeypatch.undo()
    plain = train(1000, trainer={**options, "plot_every": None})
    assert images_of(timed) == images_of(plain)
    assert without_times(timed.rows) == without_times(plain.rows)


def test_a_signal_is_handed_on_when_all_is_saved():
    handed_on = []

    class Signalled(Recorder):
        def learn(self, *batch):
            if len(self.calls) == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().learn(*batch)

    # A handler that returns, as submitit's does, lets the run carry on.
    before = signal.signal(signal.SIGTERM, lambda *_: handed_on.append(True))
    try:
        recorder = train(300, recorder_class=Signalled)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handed_on == [True] and recorder.progress.images == 300
    assert [saved["images"] for saved in recorder.saved] == [sum(len(index) for index, *_ in recorder.calls[:2]), 300]


@pytest.mark.parametrize("options", [{}, {"order": "by_class", "evaluate_every": None}], ids=["shuffled", "by_class"])
@pytest.mark.parametrize("batch_size", [1, 64])
def test_resumed_from_any_checkpoint_it_does_what_is_left_and_nothing_twice(batch_size, options):
    options = {**OPTIONS, **options}
    intact = train(700, epochs=2, batch_size=batch_size, trainer=options)
    assert len(intact.saved) > 10
    for saved in intact.saved:
        at = saved["images"]
        rest = train(700, copy.deepcopy(saved), epochs=2, batch_size=batch_size, trainer=options)
        assert without_times(rest.rows) == without_times(row for row in intact.rows if row[0] >= at)
        assert rest.evaluated == [n for n in intact.evaluated if n >= at]
        assert rest.plotted == [n for n in intact.plotted if n >= at]
        assert images_of(rest) == images_of(intact)[at:]
        assert (rest.progress.images, rest.progress.spikes) == (1400, 1400)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_run_from_one_to_their_end(schedule):
    rates = lr_factor(schedule, 0.05, np.array([0.0, 0.5, 1.0]))
    middle = {"constant": 1.0, "exponential": math.sqrt(0.05), "cosine": (1 + 0.05) / 2}[schedule]
    assert rates.tolist() == pytest.approx([1.0, middle, 1.0 if schedule == "constant" else 0.05])
