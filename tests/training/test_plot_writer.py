"""A run's plots: all of them, of the right state, in the background; files and TensorBoard get the same bytes."""

import io
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.runs import settings_of
from PIL import Image

from stdp_run.config.build import build_model
from stdp_run.datasets.selection import Data, FirstLayerRecord
from stdp_run.errors import UserError
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.metrics import Evaluation
from stdp_run.network import NetworkState, initial_state
from stdp_run.reporting import plots
from stdp_run.training.plot_writer import PlotWriter

pytestmark = pytest.mark.slow

OF_THE_NETWORK = ["receptive_fields", "theta", "weights"]
AT_THE_END = ["neurons_per_class", "raster", "confusion", "accuracy", "accuracy_per_class"]
SMALL = ("tuned=none", "n_exc=17", "encoder.steps=50", "dataset.height=14", "dataset.width=14")
LABELS = np.arange(17) % 11 - 1
LABELLED = Labels(LABELS, np.eye(10, 17))
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 196), dtype=np.uint8)
CLASSES = np.arange(12) % 10
DATA = Data(PIXELS, CLASSES, PIXELS[None], PIXELS[None], CLASSES, np.arange(12), tuple("0123456789"))


class Put:
    """Stands for TensorBoard, and keeps what it is given."""

    def __init__(self):
        self.entries, self.threads = [], set()

    def __call__(self, *entry):
        self.entries.append(entry)
        self.threads.add(threading.current_thread())

    def names(self, images_seen):
        return [name for images, name, _ in self.entries if images == images_seen]


def writer(directory, put=lambda *_: None, *words, data=DATA) -> PlotWriter:
    settings = settings_of(*SMALL, *words)
    return PlotWriter(directory, put, settings, build_model(settings), data)


def learned(*words, by=1) -> NetworkState:
    state = initial_state(build_model(settings_of(*SMALL, *words)))
    return NetworkState(state.weight + np.asarray(by, state.weight.dtype), state.theta + 3, state.persistent)


def evaluation() -> Evaluation:
    confusion = np.eye(10, 11, dtype=np.int64) * 8
    confusion[3, 10] = 20
    return Evaluation(100, {"all_activity": 80}, {"all_activity": confusion}, 20.0, 1000.0)


@pytest.fixture
def titles(monkeypatch):
    """The titles and labels of every figure that is made, which then is not rendered."""
    seen = []

    def noted(figure):
        heading = figure.get_suptitle() or figure.axes[0].get_title()
        seen.append((heading, *(axes.get_xlabel() for axes in figure.axes), *(a.get_ylabel() for a in figure.axes)))
        return b""

    monkeypatch.setattr(plots, "to_png", noted)
    return seen


@pytest.mark.usefixtures("torch_settings")
def test_files_are_the_last_that_tensorboard_got(tmp_path):
    put = Put()
    torch.set_num_threads(2)
    with writer(tmp_path, put) as made:
        made.submit(10, made.network(10, learned(by=1), None))
        made.submit(30, made.network(30, learned(by=3), LABELS))
        made.submit(30, made.labelled(30, learned(by=3), LABELLED))
        history = plots.ClassHistory([20, 30], np.full((2, 10), 0.5), None)
        made.submit(30, made.results(evaluation(), np.array([[10, 0.5]]), np.array([[20, 0.7], [30, 0.8]]), history))
    assert torch.get_num_threads() == 2, "the raster leaves other threads theirs"
    assert put.names(10) == OF_THE_NETWORK and put.names(30) == OF_THE_NETWORK + AT_THE_END
    assert {path.stem for path in tmp_path.iterdir()} == {*OF_THE_NETWORK, *AT_THE_END}
    for name, png in {name: png for _, name, png in put.entries}.items():
        assert (tmp_path / f"{name}.png").read_bytes() == png
        assert np.asarray(Image.open(io.BytesIO(png))).std() > 0
    assert threading.main_thread() not in put.threads and len(put.threads) == 1


def test_titles_and_axes_say_what_is_plotted_and_in_which_unit(tmp_path, titles):
    for words in ((), ("rule=post_pre_int", "neuron=diehl_cook_int")):
        with writer(tmp_path, Put(), *words) as made:
            made.submit(0, made.network(60000, learned(*words), LABELS))
    fields, theta, weights, _, theta_int, weights_int = titles
    assert fields[0] == "Receptive fields after 60,000 images\n17 neurons" and "weight (mV per spike)" in fields
    assert "adaptive threshold theta (mV)" in theta and "number of neurons" in theta
    assert "weight (mV per spike)" in weights and "number of synapses" in weights
    assert "threshold theta (units; 16.384 units are 1 mV)" in theta_int and "weight (units)" in weights_int


def test_the_raster_has_class_and_answer_and_plots_of_patches_have_no_labels(tmp_path, monkeypatch):
    drawn = {"raster": [], "receptive_fields": []}
    for name, calls in drawn.items():
        monkeypatch.setattr(plots, name, lambda *arguments, calls=calls: calls.append(arguments))
    monkeypatch.setattr(plots, "to_png", lambda _: b"")
    all_of_3 = Labels(np.full(17, 3), np.eye(10)[:, np.full(17, 3)])
    white = replace(DATA, test_pixels=np.full_like(DATA.test_pixels, 255))
    for words in ((), ("dataset=patches",)):
        put = Put()
        with writer(tmp_path, put, *words, data=white) as made:
            made.submit(10, made.network(10, learned(by=5), LABELS))
            made.submit(10, made.labelled(10, learned(by=5), all_of_3))
            made.submit(10, made.results(evaluation(), np.array([[10, 0.5]]), np.array([[20, 0.7]]), None))
    assert [names for _, _, names, *_ in drawn["raster"]] == [[f"true {k}, answer 3" for k in range(3)], [""] * 3]
    assert [labels is None for _, labels, *_ in drawn["receptive_fields"]] == [False, True]
    assert put.names(10) == [*OF_THE_NETWORK, "raster"]


@pytest.mark.parametrize("on_off", ["false", "true"])
def test_a_second_layer_is_drawn_through_the_first_and_as_it_is(tmp_path, monkeypatch, on_off):
    words = ("dataset=digits", "first_layer=patches", "n_exc=5", "encoder.steps=50", "first_layer.n_exc=6")
    settings = settings_of(*words, "tuned=none", f"encoder.on_off={on_off}")
    model, drawn = build_model(settings), []
    monkeypatch.setattr(plots, "receptive_fields", lambda weight, *_: drawn.append(weight) or plots.to_png)
    monkeypatch.setattr(plots, "to_png", lambda _: b"")
    down, across = settings.first_layer.blocks(settings.dataset)
    projection = np.random.default_rng(1).random((model.n_pixels, 64))
    pixels = np.zeros((1, 2, model.n_pixels), np.uint8)
    record = FirstLayerRecord({}, projection, np.zeros((2, 64), np.uint8), {}, {})
    data = replace(DATA, test_pixels=pixels, test_classes=np.arange(2), test_index=np.arange(2), first_layer=record)
    state = initial_state(model)
    with PlotWriter(tmp_path, lambda *_: None, settings, model, data) as made:
        made.submit(10, made.network(10, state, np.zeros(5, np.int64)))
        made.submit(10, made.labelled(10, state, Labels(np.zeros(5, np.int64), np.ones((10, 5)))))
    fields, blocks = drawn
    weight = state.weight
    if on_off == "true":
        weight = weight[:, : model.n_pixels] - weight[:, model.n_pixels :]
    np.testing.assert_array_equal(fields, (weight @ projection).reshape(5, 8, 8))
    assert (blocks[:, down:, :across] != blocks[:, :down, :across]).any()
    # The map of a first-layer neuron: 6 of them stand as 2 rows of 3; inputs are blocks x neurons.
    inputs = weight.reshape(5, down, across, 6)
    np.testing.assert_array_equal(blocks[:, down:, across : 2 * across], inputs[..., 4])


def test_learning_continues_while_one_set_is_made_and_two_wait_and_none_is_lost(tmp_path, titles):
    free, put = threading.Event(), Put()

    def slow(*entry):
        free.wait(60)
        put(*entry)

    with writer(tmp_path, slow) as made:
        for images in (10, 20, 30):
            made.submit(images, made.network(images, learned(), None))
        assert put.entries == [], "nobody has waited"
        threading.Timer(0.3, free.set).start()
        made.submit(40, made.network(40, learned(), None))
        assert put.names(10) == OF_THE_NETWORK, "the fourth has waited for the first"
        made.wait()
        assert put.names(40) == OF_THE_NETWORK
    assert [images for images, *_ in put.entries] == [10] * 3 + [20] * 3 + [30] * 3 + [40] * 3


def test_what_goes_wrong_in_the_background_reaches_the_caller_in_one_line(tmp_path, titles):
    line = r"receptive_fields\.png: cannot be written: No such file"
    for sets in (1, 9):
        with pytest.raises(UserError, match=line), writer(tmp_path / "missing") as made:
            for images in range(sets):
                made.submit(images, made.network(images, learned(), None))
            assert sets == 1, "it is raised as soon as more sets are submitted"


def test_an_interrupted_run_is_not_held_up_and_keeps_its_own_error(tmp_path, titles):
    put = Put()

    def fail_late(*entry):
        put(*entry)
        time.sleep(0.2)
        raise ArithmeticError("in the thread")

    state = learned()
    with pytest.raises(KeyboardInterrupt), writer(tmp_path, fail_late) as made:
        made.submit(10, made.network(10, state, None))
        made.submit(20, made.network(20, state, None))
        raise KeyboardInterrupt
    assert put.names(20) == []
    assert not any(thread.name.startswith("plots") for thread in threading.enumerate())
