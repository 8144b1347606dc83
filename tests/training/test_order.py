"""The order of images, the evaluations on the way, and the records and forgetting of a run by class."""

import numpy as np
import pytest
from helpers.runs import assert_same, intact_run, killed_run, result_of, rows_of, run_in, settings_of

from stdp_run.checkpoint import load
from stdp_run.config.build import build_model
from stdp_run.datasets.selection import load_images
from stdp_run.encoding import image_order
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.training.order import evaluated_after, presentation_order, presented_by_class

CLASSES = np.array([2, 0, 1, 0, 2, 1, 0])


def test_only_the_order_by_class_looks_at_classes():
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
        ("by_class", "null", 1, [3, 5]),  # three images of class 0, two of 1, two of 2; the test comes at 7
        ("by_class", "null", 2, [3, 5, 7, 10, 12]),
        ("by_class", 4, 2, [4, 8, 12]),
        ("shuffled", "null", 2, []),
        ("shuffled", 7, 2, [7, 14]),
        ("as_stored", 15, 2, []),
    ],
)
def test_evaluations_on_the_way(kind, every, epochs, expected):
    options = settings_of(f"trainer.order={kind}", f"trainer.evaluate_every={every}").trainer
    assert list(evaluated_after(options, CLASSES, epochs)) == expected


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
intact = intact_run(*BY_CLASS)


def rows_per_class(directory):
    names = [f"accuracy_per_class/{digit}" for digit in range(10)]
    return {row["images_seen"]: [row[name] for name in names] for row in rows_of(directory) if names[0] in row}


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
    assert {row.get("train/running_accuracy") for row in rows_of(intact)} == {None}


def test_accuracy_on_the_way_is_a_plain_count_and_a_run_killed_there_ends_the_same(intact, without_plots, tmp_path):
    third = list(rows_per_class(intact))[2]
    run = killed_run(tmp_path / "run", third, *BY_CLASS)  # it was saved before it was evaluated
    settings = settings_of(*BY_CLASS)
    data, model = load_images(settings), build_model(settings)
    state = load(run / "checkpoints" / f"images_{third:012}.pt").state()
    engine = make_engine(model, state, EngineOptions("event", "cpu"))
    index = [k for k, c in enumerate(data.train_classes) if c < 3][:15]
    counts = engine.count_spikes(data.train_pixels[index], np.array(index))
    mean = np.array([counts[data.train_classes[index] == c].mean(axis=0) for c in range(3)])
    label = np.where(counts.any(axis=0), mean.argmax(axis=0), -1)
    tested = engine.count_spikes(data.test_pixels, data.test_index)
    score = np.array([tested[:, label == c].sum(axis=1) / max((label == c).sum(), 1) for c in range(3)])
    right = score.any(axis=0) & (score.argmax(axis=0) == data.test_classes)
    assert rows_per_class(intact)[third] == [right[data.test_classes == c].mean() for c in range(10)]
    assert right.sum() > 15
    run_in(run, *BY_CLASS)
    assert_same(run, intact, "plots", "images", "files")


def test_a_first_class_without_labelled_images_is_not_answered(tmp_path, without_plots):
    x, y = np.random.default_rng(0).integers(256, size=(40, 8, 8), dtype=np.uint8), np.repeat([1, 0], 20)
    np.savez(tmp_path / "sorted.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words = ("dataset=arrays", f"dataset.file={tmp_path}/sorted.npz", "trainer.order=by_class", "n_label=20", "n_exc=9")
    run_in(tmp_path / "run", *words, "trainer.log_every=10")
    assert [row["accuracy_per_class/0"] for row in rows_of(tmp_path / "run") if "accuracy_per_class/0" in row] == [0, 0]
