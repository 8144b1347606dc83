import copy
import math

import numpy as np
import pytest
from omegaconf import OmegaConf

from stdp_run.config.build import conf_folder
from stdp_run.config.schema import SCHEDULES, read_settings
from stdp_run.errors import UserError
from stdp_run.network import NetworkState
from stdp_run.training.signals import Interruption
from stdp_run.training.trainer import Learning, Progress, learning_rate, train


class Recorder:
    """What one network and its run are given; neuron k spikes once for each image of class k."""

    def __init__(self, settings, progress):
        self.progress = progress
        self.learning = Learning(settings, progress, self)
        self.calls = []
        self.rows = []
        self.evaluated = []
        self.drawn = []
        self.saved = []
        self.learners = []

    def scalars(self, images_seen, values):
        self.rows.append((images_seen, values))


class Recorders:
    """Networks, and the runs that learning is a part of, which keep what they are given."""

    def __init__(self, recorders, classes):
        self.recorders = recorders
        self.classes = classes
        self.together = []

    def learn(self, chosen, lessons, epoch):
        self.together.append((list(chosen), len(lessons[0].pixels)))
        for k, lesson in zip(chosen, lessons, strict=True):
            self.recorders[k].calls.append((lesson.image_index.tolist(), epoch, lesson.rate.tolist()))
            self.recorders[k].learners.append(lesson.learners)
        return [np.eye(3, dtype=np.int32)[self.classes[lesson.image_index]] for lesson in lessons]

    def state(self, k):
        return NetworkState(np.full((3, 4), 0.5), np.array([1.0, 2.0, 3.0]))

    def evaluate(self, chosen):
        for k in chosen:
            self.recorders[k].evaluated.append(self.recorders[k].progress.images)

    def draw(self, k):
        self.recorders[k].drawn.append(self.recorders[k].progress.images)

    def save(self, chosen):
        for k in chosen:
            progress = self.recorders[k].progress
            self.recorders[k].saved.append((progress.position(), copy.deepcopy(progress.arrays())))


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


def run_several(n_images, saved, all_changes):
    """Have networks with settings of their own learn side by side, each from what was saved, if anything was."""
    classes = np.arange(n_images) % 3
    pixels = np.zeros((n_images, 4), np.uint8)
    recorders = []
    for position_and_arrays, changes in zip(saved, all_changes, strict=True):
        settings = settings_with(**changes)
        progress = Progress.start(3, settings.trainer)
        if position_and_arrays is not None:
            progress.restore(*position_and_arrays)
        recorders.append(Recorder(settings, progress))
    everything = Recorders(recorders, classes)
    with Interruption() as interruption:
        train(everything, [each.learning for each in recorders], pixels, classes, everything, interruption)
    return everything


def run(n_images, saved=None, **changes):
    [recorder] = run_several(n_images, [saved], [changes]).recorders
    return recorder, recorder.evaluated, recorder.progress


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
    recorder, _, _ = run(700, epochs=2, trainer={"plot_every": 500, "checkpoint_every": 400, "evaluate_every": 650})
    assert recorder.drawn == [500, 1000]
    # An evaluation can take long, so that everything is saved before it; and so it is before labelling begins.
    assert [position["images"] for position, _ in recorder.saved] == [400, 650, 800, 1200, 1300, 1400]


def without_times(rows):
    return [(n, {k: v for k, v in values.items() if k != "train/images_per_second"}) for n, values in rows]


@pytest.mark.parametrize("batch_size", [1, 64])
def test_going_on_from_any_checkpoint_does_what_is_left_and_nothing_twice(batch_size):
    options = {"log_every": 300, "evaluate_every": 450, "plot_every": 350, "checkpoint_every": 90}
    options.update(schedule="cosine", label_window=600)
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


DUE = {"log_every": 300, "evaluate_every": 450, "plot_every": 350, "checkpoint_every": 90, "label_window": 600}


def seeds(*numbers):
    schedules = (("constant", 0.5), ("cosine", 0.1), ("exponential", 0.01))
    return [
        {"seed": seed, "epochs": 2, "trainer": {**DUE, "schedule": schedule, "rate_end": end}}
        for seed, (schedule, end) in zip(numbers, schedules, strict=True)
    ]


def assert_recorded_the_same(one, other, from_image=0):
    assert without_times(row for row in one.rows if row[0] >= from_image) == without_times(
        row for row in other.rows if row[0] >= from_image
    )
    for name in ("evaluated", "drawn"):
        assert [n for n in getattr(one, name) if n >= from_image] == [
            n for n in getattr(other, name) if n >= from_image
        ]
    shown = [[image for call in each.calls for image in zip(*call[::2], strict=True)] for each in (one, other)]
    n_images = min(map(len, shown))
    assert shown[0][-n_images:] == shown[1][-n_images:]


def test_side_by_side_each_network_learns_as_it_would_alone():
    together = run_several(700, [None] * 3, seeds(4, 5, 9))
    assert all(chosen == [0, 1, 2] for chosen, _ in together.together), "they stay in step"
    orders = [each.calls[0][0] for each in together.recorders]
    assert len({tuple(order) for order in orders}) == 3, "each has an order of its own"
    for recorder, changes in zip(together.recorders, seeds(4, 5, 9), strict=True):
        alone, _, _ = run(700, **changes)
        assert_recorded_the_same(recorder, alone)
        assert [position["images"] for position, _ in recorder.saved] == [n["images"] for n, _ in alone.saved]


def test_networks_that_are_behind_catch_up_before_all_go_on_in_step():
    whole = run_several(700, [None] * 3, seeds(4, 5, 9))
    first, second, third = (each.saved for each in whole.recorders)
    saved = [first[2], copy.deepcopy(second[11]), copy.deepcopy(third[2])]  # of two passes, the second is in the later
    behind, ahead = (position["images"] for position, _ in (saved[0], saved[1]))
    assert behind < 700 < ahead < 1400
    rest = run_several(700, saved, seeds(4, 5, 9))
    for recorder, uninterrupted, at in zip(rest.recorders, whole.recorders, (behind, ahead, behind), strict=True):
        assert_recorded_the_same(recorder, uninterrupted, from_image=at)
        assert sum(len(index) for index, _, _ in recorder.calls) == 1400 - at
    assert [chosen for chosen, _ in rest.together] == sorted((chosen for chosen, _ in rest.together), key=len)
    assert sum(n for chosen, n in rest.together if chosen == [0, 2]) == ahead - behind
    assert sum(n for chosen, n in rest.together if chosen == [0, 1, 2]) == 1400 - ahead


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_run_from_one_to_their_end(schedule):
    rates = learning_rate(schedule, 0.05, np.array([0.0, 0.5, 1.0]))
    middle = {"constant": 1.0, "exponential": math.sqrt(0.05), "cosine": (1 + 0.05) / 2}[schedule]
    assert rates.tolist() == pytest.approx([1.0, middle, 1.0 if schedule == "constant" else 0.05])
