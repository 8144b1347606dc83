"""In which order images come, what is evaluated when, and what a run by class records, resumes and forgets."""

import json

import numpy as np
import pytest
from helpers.runs import assert_same, intact_run, result_of, run_in, settings_of

from stdp_run.checkpoint import load
from stdp_run.config.build import build_model
from stdp_run.datasets.selection import load_images
from stdp_run.encoding import image_order
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.training import order
from stdp_run.training.order import evaluated_after, presentation_order, presented_by_class
from stdp_run.training.run import label
from stdp_run.training.tracking import Bars, Tracker

CLASSES = np.array([2, 0, 1, 0, 2, 1, 0])


def test_by_class_is_the_shuffled_order_one_class_after_another(monkeypatch):
    monkeypatch.setattr(order, "image_order", lambda n_images, epoch, seed: np.array([6, 2, 0, 5, 3, 1, 4]))
    # Of image 6, 2, 0, 5, 3, 1, 4 the class is 0, 1, 2, 1, 0, 0, 2.
    assert presentation_order("by_class", CLASSES, 0, 0).tolist() == [6, 3, 1, 2, 5, 0, 4]


def test_other_orders_look_at_no_class():
    classes = np.arange(500) % 7
    for epoch, seed in ((0, 0), (1, 0), (0, 1)):
        shuffled = presentation_order("shuffled", classes, epoch, seed)
        assert shuffled.tolist() == image_order(500, epoch, seed).tolist()
        assert presentation_order("as_stored", classes, epoch, seed).tolist() == list(range(500))
        by_class = presentation_order("by_class", classes, epoch, seed)
        expected = [image for c in range(7) for image in shuffled.tolist() if image % 7 == c]
        assert by_class.tolist() == expected


@pytest.mark.parametrize(
    ("kind", "every", "epochs", "expected"),
    [
        ("by_class", None, 1, [3, 5]),  # three images of class 0, two of 1, two of 2; the test comes at 7
        ("by_class", None, 2, [3, 5, 7, 10, 12]),
        ("by_class", 4, 2, [4, 8, 12]),
        ("shuffled", None, 2, []),
        ("shuffled", 7, 2, [7, 14]),
        ("as_stored", 15, 2, []),
    ],
)
def test_evaluations_on_the_way(kind, every, epochs, expected):
    overrides = (f"trainer.order={kind}", f"trainer.evaluate_every={'null' if every is None else every}")
    assert evaluated_after(settings_of(*overrides).trainer, CLASSES, epochs).tolist() == expected


def test_what_was_presented_between_evaluations():
    def presented(*images_seen, least=1):
        found = presented_by_class(CLASSES + 1, 5, images_seen, least)  # no image is of class 0 or 4
        return [np.flatnonzero(row).tolist() for row in found]

    assert presented(3, 5, 7) == [[1], [2], [3]]
    assert presented(2, 4, 7, 9) == [[1], [1, 2], [2, 3], [1]], "a new epoch begins with the first class"
    assert presented(4, 6, 7, least=2) == [[1], [], []], "one image of the next, in a batch, is not yet a class"
    assert presented(7, least=64) == [[1, 2, 3]], "smaller than a batch, but whole"


BY_CLASS = (
    *("dataset=digits", "trainer.order=by_class", "n_exc=12", "n_train=150", "n_label=15", "n_test=100", "epochs=2"),
    *("encoder.steps=60", "trainer.log_every=50", "trainer.checkpoint_every=40", "seed=3"),
)
NO_PLOTS = ("plots", "images", "files")  # what a run lacks that makes none


intact = intact_run(*BY_CLASS)


def rows_per_class(directory):
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    names = [f"accuracy_per_class/{digit}" for digit in range(10)]
    return {row["images_seen"]: [row[name] for name in names] for row in rows if names[0] in row}


def killed_at(directory, images):
    """Start the run, and kill it where it would record something after some images."""
    write = Tracker.scalars

    def scalars(self, images_seen, values):
        if images_seen == images:
            raise InterruptedError
        write(self, images_seen, values)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(Tracker, "scalars", scalars)
        run_in(directory, *BY_CLASS)


def test_a_run_by_class_records_what_it_keeps_and_forgets(intact):
    classes = load_images(settings_of(*BY_CLASS)).train_classes
    ends = np.cumsum(np.bincount(classes)).tolist()
    measured, result = rows_per_class(intact), result_of(intact)
    assert list(measured) == [*ends, *(150 + end for end in ends)]
    for number, end in enumerate(ends[:-1]):
        assert not any(measured[end][number + 1 :]), "what was not presented has no labels, and is not answered"
    accuracy = np.array([*measured.values()])
    assert accuracy[-1].tolist() == [*result["accuracy_per_class"]["all_activity"].values()]
    lost = {str(c): max(row[c] for row in accuracy[:-1]) - accuracy[-1][c] for c in range(9)}
    assert result["forgetting_per_class"] == lost and result["forgetting"] == np.mean([*lost.values()]) > 0
    assert (intact / "accuracy_per_class.png").exists()
    assert "forgetting, all_activity" in (intact / "report.html").read_text()
    running = [json.loads(line) for line in (intact / "metrics.jsonl").read_text().splitlines()]
    assert {row["train/running_accuracy"] for row in running if "train/running_accuracy" in row} == {None}


def test_killed_at_the_end_of_a_class_a_run_ends_the_same(intact, without_plots, tmp_path):
    killed_at(tmp_path / "run", list(rows_per_class(intact))[3])
    run_in(tmp_path / "run", *BY_CLASS)
    assert_same(tmp_path / "run", intact, *NO_PLOTS)


def test_the_accuracy_of_a_class_on_the_way_is_that_of_a_plain_count(intact, without_plots, tmp_path):
    third = list(rows_per_class(intact))[2]
    killed_at(tmp_path / "run", third)  # it was saved before it was evaluated
    settings = settings_of(*BY_CLASS)
    data, model = load_images(settings), build_model(settings)
    state = load(tmp_path / "run" / "checkpoints" / f"images_{third:012}.pt").state()
    engine = make_engine(model, state, EngineOptions("event", "cpu", 1, "sum", False, 1))
    place = [k for k, c in enumerate(data.train_classes) if c < 3][:15]
    counts = engine.count_spikes(data.train_pixels[place], np.array(place))
    mean = [
        [np.mean([n[i] for n, k in zip(counts, place, strict=True) if data.train_classes[k] == c]) for i in range(12)]
        for c in range(3)
    ]
    label = [max(range(3), key=lambda c, i=i: mean[c][i]) if counts[:, i].any() else None for i in range(12)]
    right, there = [0] * 10, [0] * 10
    for n, c in zip(engine.count_spikes(data.test_pixels, data.test_index), data.test_classes, strict=True):
        members = [[n[i] for i in range(12) if label[i] == k] for k in range(3)]
        score = [sum(each) / max(len(each), 1) for each in members]
        right[c] += max(score) > 0 and score.index(max(score)) == c
        there[c] += 1
    assert rows_per_class(intact)[third] == [r / n for r, n in zip(right, there, strict=True)]
    assert sum(right) > 15


def test_labels_come_from_the_first_images_of_known_classes():
    class Asked:
        inference_batch = 128

        def count_spikes(self, pixels, image_index):
            self.pixels, self.image_index = pixels, image_index
            return np.ones((len(pixels), 12), np.int32)

    settings, engine, bars = settings_of(*BY_CLASS), Asked(), Bars(visible=False)
    data, known = load_images(settings), np.arange(10) < 3
    label(engine, data, settings, bars, known=known)
    first = [k for k, c in enumerate(data.train_classes) if c < 3][:15]
    assert engine.image_index.tolist() == first and (engine.pixels == data.train_pixels[first]).all()
    label(engine, data, settings, bars)
    assert engine.image_index.tolist() == list(range(15))
