"""A run's plots: all of them, of the right state, in the background; files and TensorBoard get the same bytes."""

import io
import logging
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from stdp_run.config.build import published_model
from stdp_run.errors import UserError
from stdp_run.evaluation.metrics import Evaluation
from stdp_run.network import Encoder, NetworkState, initial_state
from stdp_run.reporting import plots
from stdp_run.training.plot_writer import Plotted, PlotWriter

pytestmark = pytest.mark.slow

ALL = {
    "receptive_fields",
    "weight_change",
    "theta",
    "weights",
    "raster",
    "confusion",
    "neurons_per_class",
    "accuracy",
    "accuracy_per_class",
}
CLASSES = [str(digit) for digit in range(10)]


def make_model(rule="nearest_online", neuron="lif_stdp", n_exc=17, height=14, n_steps=50):
    return published_model(rule, neuron, n_exc, Encoder(n_steps, 128.0, 1.0), n_inputs=height * height)


MODEL = make_model()
INTEGERS = make_model("post_pre_int", "diehl_cook_int")


def writer(directory, put=lambda *_: None, model=MODEL, **changes) -> PlotWriter:
    height = round(model.n_inputs**0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (2, model.n_inputs), dtype=np.uint8)
    run = Plotted(model, height, height, CLASSES, pixels, pixels, np.arange(2), ["5", "0"])
    return PlotWriter(directory, put, run, **{"weight": initial_state(model).weight, "images": 0, **changes})


def learned(model=MODEL, by=0.1) -> NetworkState:
    state = initial_state(model)
    return NetworkState(state.weight + np.asarray(by, state.weight.dtype), state.theta + 3, state.persistent)


def evaluation() -> Evaluation:
    confusion = np.eye(10, 11, dtype=np.int64) * 8
    confusion[3, 10] = 20
    return Evaluation(100, {"all_activity": 80}, {"all_activity": confusion}, 20.0, 1000.0)


def labels(model=MODEL) -> np.ndarray:
    return np.arange(model.n_exc) % 11 - 1


class Put:
    """Stands where TensorBoard does, and keeps what it is given."""

    def __init__(self):
        self.entries = []
        self.threads = set()

    def __call__(self, images_seen, name, png, size):
        self.entries.append((images_seen, name, png, size))
        self.threads.add(threading.current_thread())

    def names(self, images_seen):
        return [name for images, name, _, _ in self.entries if images == images_seen]


@pytest.fixture
def titles(monkeypatch):
    """The text of the title of every figure that is made, which then is not rendered."""
    seen = []

    def noted(figure):
        heading = figure.get_suptitle() or figure.axes[0].get_title()
        seen.append((heading, *(axes.get_xlabel() for axes in figure.axes), *(a.get_ylabel() for a in figure.axes)))
        return b""

    monkeypatch.setattr(plots, "to_png", noted)
    return seen


@pytest.mark.parametrize("model", [MODEL, INTEGERS], ids=["float", "int"])
def test_files_are_the_last_that_tensorboard_got(tmp_path, model):
    put = Put()
    with writer(tmp_path, put, model) as made:
        made.while_learning(10, learned(model, 1), None)
        made.while_learning(20, learned(model, 2), labels(model))
        made.after_learning(30, learned(model, 3))
        made.after_labelling(30, learned(model, 3), labels(model))
        history = plots.ClassHistory([20, 30], np.full((2, 10), 0.5), None)
        made.at_the_end(30, evaluation(), "all_activity", ([(10, 0.5)], [(20, 0.7)]), history)
    of_weights = ["receptive_fields", "weight_change", "theta", "weights"]
    assert put.names(10) == put.names(20) == of_weights
    assert put.names(30) == [
        *of_weights[1:],
        "raster",
        "receptive_fields",
        "neurons_per_class",
        "confusion",
        "accuracy",
        "accuracy_per_class",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.png" for name in ALL}
    last = {name: (png, size) for _, name, png, size in put.entries}
    for name, (png, size) in last.items():
        assert (tmp_path / f"{name}.png").read_bytes() == png
        image = np.asarray(Image.open(io.BytesIO(png)))
        assert image.shape == (*size, 3) and image.std() > 0
    assert threading.main_thread() not in put.threads and len(put.threads) == 1


def test_plotting_leaves_torch_its_threads(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with writer(tmp_path) as made:
        made.after_learning(10, learned())
    assert (tmp_path / "raster.png").exists() and torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_titles_and_axes_say_what_is_plotted_and_in_which_unit(tmp_path, titles):
    with writer(tmp_path) as made:
        made.while_learning(1000, learned(by=1), None)
        made.after_learning(60000, learned(by=2))
    shown = dict(zip(["fields", "change", "theta", "weights", "change 2", "theta 2", "weights 2", "raster"], titles))  # noqa: B905
    assert shown["fields"][0] == "Receptive fields after 1,000 images: 17 neurons"
    assert shown["change"][0] == "Weight change from 0 to 1,000 images: 17 neurons"
    assert shown["change 2"][0] == "Weight change from 1,000 to 60,000 images: 17 neurons"
    assert "weight change (mV per spike)" in shown["change"] and "weight (mV per spike)" in shown["fields"]
    assert "adaptive threshold theta (mV)" in shown["theta"] and "number of neurons" in shown["theta"]
    assert "weight (mV per spike)" in shown["weights 2"] and "number of synapses" in shown["weights 2"]
    assert "60,000 images, learning off" in shown["raster"][0] and "time (ms)" in shown["raster"]


def test_units_are_those_of_the_neuron_group(tmp_path, titles):
    for model in (INTEGERS, make_model(neuron="alif_stdp")):
        with writer(tmp_path, model=model) as made:
            made.while_learning(1, learned(model, 1), None)
    assert "threshold theta (units; 16.384 units are 1 mV)" in titles[2] and "weight (units)" in titles[3]
    assert "adaptive threshold theta (no unit)" in titles[6] and "weight (no unit)" in titles[7]


def test_what_was_plotted_last_is_kept_for_a_checkpoint(tmp_path, titles):
    with writer(tmp_path) as made:
        assert made.images == 0
        state = learned()
        kept = state.weight.copy()
        made.while_learning(10, state, None)
        state.weight[:] = 0  # an engine may carry on with its arrays
        assert made.images == 10
        np.testing.assert_array_equal(made.weight, kept)


def test_a_resumed_run_plots_the_same_change(tmp_path):
    put, again = Put(), Put()
    with writer(tmp_path, put) as made:
        made.while_learning(10, learned(by=0.1), None)
        weight, images = made.weight, made.images
        made.while_learning(20, learned(by=0.3), None)
    with writer(tmp_path, again, weight=weight, images=images) as made:
        made.while_learning(20, learned(by=0.3), None)
    assert put.entries[4:] == again.entries


def test_plots_of_a_state_changed_afterwards_are_of_the_state_given(tmp_path):
    put, changed = Put(), Put()
    for target, change in ((put, False), (changed, True)):
        busy = threading.Event()

        def wait(*entry, target=target, busy=busy):
            busy.wait(60)
            target(*entry)

        with writer(tmp_path, wait) as made:
            state, label = learned(), labels()
            made.while_learning(10, state, label)
            made.after_learning(20, state)
            if change:
                for array in (state.weight, state.theta, label):
                    array[:] = 0
            busy.set()
    assert put.entries == changed.entries and len(put.entries) == 8


def test_nothing_is_plotted_twice_of_the_last_state(tmp_path, titles):
    put = Put()
    with writer(tmp_path, put) as made:
        made.while_learning(10, learned(), None)
        made.after_learning(10, learned())
    names = [name for _, name, _, _ in put.entries]
    assert names == ["receptive_fields", "weight_change", "theta", "weights", "raster"]


def test_learning_continues_while_one_set_is_made_and_two_wait_and_none_is_lost(tmp_path, titles, caplog):
    free = threading.Event()
    put = Put()

    def slow(*entry):
        free.wait(60)
        put(*entry)

    with writer(tmp_path, slow) as made:
        for images in (10, 20, 30):
            made.while_learning(images, learned(), None)
        assert put.entries == [] and caplog.text == "", "nobody has waited"
        threading.Timer(0.3, free.set).start()
        with caplog.at_level(logging.WARNING):
            made.while_learning(40, learned(), None)
        assert "waited" in caplog.text and "raise trainer.plot_every" in caplog.text
    assert [images for images, *_ in put.entries] == [10] * 4 + [20] * 4 + [30] * 4 + [40] * 4


def test_what_goes_wrong_in_the_background_reaches_the_caller(tmp_path, titles):
    def fail(*_):
        raise ArithmeticError("in the thread")

    made = writer(tmp_path, fail)
    made.while_learning(10, learned(), None)
    with pytest.raises(ArithmeticError, match="in the thread"):
        made.close()
    made = writer(tmp_path, fail)
    with pytest.raises(ArithmeticError, match="in the thread"):
        for images in range(9):
            made.while_learning(images, learned(), None)
    made.__exit__(ArithmeticError, None, None)


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(tmp_path, titles):
    made = writer(tmp_path / "missing")
    made.while_learning(10, learned(), None)
    with pytest.raises(UserError, match=r"receptive_fields\.png: cannot be written: No such file"):
        made.close()


def test_an_interrupted_run_is_not_held_up_and_keeps_its_own_error(tmp_path, titles, caplog):
    put = Put()

    def fail_late(*entry):
        put(*entry)
        time.sleep(0.2)
        raise ArithmeticError("in the thread")

    with pytest.raises(KeyboardInterrupt), writer(tmp_path, fail_late) as made:
        made.while_learning(10, learned(), None)
        made.while_learning(20, learned(), None)
        raise KeyboardInterrupt
    assert put.names(20) == []
    assert "plotting failed: in the thread" in caplog.text
    assert not any(thread.name.startswith("plots") for thread in threading.enumerate())
