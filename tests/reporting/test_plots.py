"""The plots show the numbers they were given, in the right place, and are drawn in full."""

import io

import numpy as np
import pytest
from PIL import Image

from stdp_run.evaluation.metrics import Evaluation
from stdp_run.reporting import plots
from stdp_run.reporting.plots import ClassHistory, Window, receptive_fields

DIGITS = [str(digit) for digit in range(10)]


def _texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(("neurons", "rows", "columns", "height", "width"), [(7, 3, 3, 8, 8), (12, 4, 3, 4, 6)])
def test_every_receptive_field_is_upright_in_its_tile(neurons, rows, columns, height, width):
    weight = np.random.default_rng(neurons).uniform(0.1, 1.0, (neurons, height, width)).astype(np.float32)
    axes, bar = receptive_fields(weight, None, DIGITS, "Fields", "weight (mV)").axes
    tiles = np.asarray(axes.images[0].get_array()).reshape(rows, height, columns, width).swapaxes(1, 2)
    tiles = tiles.reshape(-1, height, width)
    np.testing.assert_array_equal(tiles[:neurons], weight)
    assert np.isnan(tiles[neurons:]).all()
    assert axes.get_ylim() == (rows * height, 0), "the first row of pixels is on top"
    assert bar.get_ylim() == (0, pytest.approx(weight.max())) and bar.get_ylabel() == "weight (mV)"


def test_more_neurons_than_400_are_thinned_evenly_and_the_title_says_so():
    weight = np.repeat(np.arange(6400.0)[:, None, None], 64, axis=1).reshape(-1, 8, 8)
    axes = receptive_fields(weight, np.arange(6400) % 10, DIGITS, "Receptive fields", "weight").axes[0]
    np.testing.assert_array_equal(np.asarray(axes.images[0].get_array())[::8, ::8].ravel(), np.arange(0, 6400, 16))
    assert axes.get_title() == "Receptive fields\n400 of 6,400 neurons, evenly spaced"
    assert _texts(axes) == [str(label % 10) for label in range(0, 6400, 16)]


def test_labels_are_the_classes_names_in_their_tiles_and_silent_neurons_have_none():
    labels = np.array([2, -1, 0, 1, 2, -1, 0])
    axes = receptive_fields(np.ones((7, 8, 8)), labels, ["cat", "dog", "$x"], "Fields", "weight").axes[0]
    assert _texts(axes) == ["$x", "cat", "dog", "$x", "cat"]
    tiles = [(int(x // 8), int(y // 8)) for x, y in (text.get_position() for text in axes.texts)]
    assert tiles == [(0, 0), (2, 0), (0, 1), (1, 1), (0, 2)]
    for height, name in ((4, "3"), (28, "long " * 20)):  # no room in a tile
        figure = receptive_fields(np.zeros((100, height, 64)), np.zeros(100, dtype=int), [name], "Fields", "weight")
        assert not figure.axes[0].texts


def _confusion(matrix, classes):
    n_correct = {"vote": int(np.trace(matrix))}
    return plots.confusion(Evaluation(int(matrix.sum()), n_correct, {"vote": matrix}, 20.0, 1.0), classes, "vote")


def test_confusion_writes_each_count_into_its_cell_and_the_accuracy_above():
    matrix = np.eye(3, 4, dtype=int) * [10, 20, 20, 0] + [0, 0, 0, 5]
    axes = _confusion(matrix, DIGITS[:3]).axes[0]
    assert axes.get_title().endswith("vote\naccuracy 76.9% on 65 images (95 % interval 65.4% to 85.5%)")
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(column, row): str(count) for (row, column), count in np.ndenumerate(matrix)}
    np.testing.assert_allclose(axes.images[0].get_array(), 100 * matrix / matrix.sum(axis=1, keepdims=True))
    assert (axes.get_ylabel(), axes.get_ylim()) == ("true class", (2.5, -0.5)), "the first class is on top"


def test_neurons_per_class_counts_each_class_and_the_silent():
    axes = plots.neurons_per_class(np.array([0, 2, 2, -1, 2, -1]), ["a", "b", "c"]).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1, 0, 3, 2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c", "silent"]
    assert _texts(axes) == ["1", "0", "3", "2"]


def test_histogram_counts_every_finite_value_and_a_logarithmic_one_shows_a_single_value_among_many():
    values = np.append(np.random.default_rng(1).gamma(2, 3, 400), [np.nan, np.inf]).reshape(2, -1)
    axes = plots.histogram(values, "theta (mV)", "Thresholds", "neurons").axes[0]
    corners = axes.patches[0].get_xy()
    assert corners[:, 0].min() == np.nanmin(values) and corners[:, 0].max() == values[np.isfinite(values)].max()
    counts = corners[1:101:2, 1]
    assert (len(counts), counts.sum()) == (50, 400)
    assert axes.get_xlabel() == "theta (mV)" and axes.get_title().startswith("Thresholds\n400 neurons, smallest ")
    axes = plots.histogram([0.0] * 100_000 + [1.0], "weight", "Weights", "synapses", log_counts=True).axes[0]
    assert axes.get_yscale() == "log" and axes.get_ylim()[0] < 1
    assert {1.0, 100_000.0} <= set(axes.patches[0].get_xy()[:, 1]) and axes.get_ylabel() == "number of synapses"


def test_raster_puts_every_spike_at_its_time_and_neuron():
    layers = [np.random.default_rng(size).random((2, 100, size)) < 0.05 for size in (64, 4, 4)]
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(np.uint8)
    names = ["true cat, answer none", "$x"]
    panels = np.array(plots.raster(layers, images, names, 0.5, "Spikes of two").axes).reshape(4, 2)
    for b, name in enumerate(names):
        assert panels[0, b].get_title() == name
        np.testing.assert_array_equal(panels[0, b].images[0].get_array(), images[b])
        for axes, spikes in zip(panels[1:, b], layers, strict=True):
            drawn = np.zeros_like(spikes[b])
            milliseconds, neurons = axes.lines[0].get_xydata().T
            drawn[(2 * milliseconds).astype(int), neurons.astype(int)] = True
            np.testing.assert_array_equal(drawn, spikes[b])
            assert axes.get_xlim() == (0, 50)
    assert [axes.get_ylabel().split()[0] for axes in panels[1:, 0]] == ["input", "excitatory", "inhibitory"]


def test_windows_do_not_cross_zero_and_changes_by_frequency_come_last():
    delta, change = np.array([-2.0, -1.0, 0.0, 1.0, 3.0]), np.array([-0.2, -0.1, 0.05, 0.1, 0.3])
    constants = "a_post=2 (published 1)"
    windows = {
        "pair": Window(delta, change, "weight change (%)", constants, published=2 * change),
        "other": Window(delta, change),
    }
    changes = plots.ByFrequency(np.array([5, 10]), np.array([1, 2]), np.array([-1, 3]), 10)
    pair, other, last = plots.stdp_windows(windows, {"triplet": changes}).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in pair.lines[2:]}
    dashed = drawn.pop("with published constants")
    assert np.array_equal(dashed, [[-2, -0.4], [-1, -0.2], [0, np.nan], [1, 0.2], [3, 0.6]], equal_nan=True)
    solid = {
        "post before pre": [[-2, -0.2], [-1, -0.1]],
        "same step": [[0, 0.05]],
        "pre before post": [[1, 0.1], [3, 0.3]],
    }
    assert drawn == solid == {line.get_label(): line.get_xydata().tolist() for line in other.lines[2:]}
    assert pair.get_title() == f"pair\nwith {constants}" and other.get_title() == "other\nconstants as published"
    assert last.get_title() == "triplet\npairs of spikes 10 ms apart, by their frequency"
    drawn = {line.get_label(): line.get_xydata().tolist() for line in last.lines[1:]}
    assert drawn == {"pre before post": [[5, 1], [10, 2]], "post before pre": [[5, -1], [10, 3]]}


def test_accuracies_are_drawn_in_percent():
    running, evaluations = np.array([[100, 0.25], [200, 0.5]]), np.array([[150, 0.375], [200, 0.625]])
    axes = plots.accuracy_curve(running, evaluations, 0.1, "vote").axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[100, 25], [200, 50]]
    assert axes.lines[1].get_xydata().tolist() == [[150, 37.5], [200, 62.5]]
    assert _texts(axes) == ["62.5"] and axes.lines[2].get_ydata()[0] == 10


def test_the_accuracy_of_each_class_stands_where_its_row_and_column_are():
    accuracy = np.array([[0.125, 0.5, np.nan], [0.25, 0.75, 1.0]])
    axes = plots.accuracy_per_class(ClassHistory([40, 1500], accuracy, None), "abc", "vote").axes[0]
    image = np.asarray(axes.images[0].get_array())
    assert np.array_equal(image, [[12.5, 25], [50, 75], [np.nan, 100]], equal_nan=True)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["40", "1,500"]
    assert _texts(axes) == ["12", "25", "50", "75", "100"] and not axes.patches
    assert axes.texts[-1].get_position() == (1, 2), "a class without images has an empty cell"


def test_what_was_presented_is_outlined_and_nothing_is_said_of_a_class_before():
    presented = np.array([[True, False], [True, True], [False, True]])
    axes = plots.accuracy_per_class(ClassHistory([1, 2, 3], np.full((3, 2), 0.5), presented), "ab", "vote").axes[0]
    assert [(patch.get_xy(), patch.get_width()) for patch in axes.patches] == [
        ((column - 0.5, row - 0.5), 1) for column, row in ((0, 0), (1, 0), (1, 1), (2, 1))
    ]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1)]

    many = ClassHistory(range(1, 301), np.zeros((300, 3)), None)  # more than there is room for
    axes = plots.accuracy_per_class(many, "abc", "vote").axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert len(names) == 20 and names[-1] == "300" and _texts(axes) == []


def _raster(spikes):
    images, names = np.zeros((len(spikes), 1, 1), np.uint8), ["long " * 9] * len(spikes)
    return plots.raster((spikes, spikes, spikes), images, names, 1.0, "Spikes")


SPARSE = np.full((2, 21), np.nan)
SPARSE[1, 0] = 1.0
DEGENERATE = {
    "one weight, no label": lambda: receptive_fields(np.ones((1, 1, 1)), np.array([-1]), DIGITS, "Fields", "weight"),
    "more pixels than the picture": lambda: receptive_fields(np.ones((4, 600, 600)), None, DIGITS, "Fields", "weight"),
    "weights not a number": lambda: receptive_fields(np.full((2, 8, 8), np.nan), None, DIGITS, "Fields", "weight"),
    "long names": lambda: _confusion(np.eye(12, 13, dtype=int) * 1000, ["long " * 20, "$" * 40] * 6),
    "no values": lambda: plots.histogram([np.nan], "theta (mV)", "none", "neurons"),
    "nearly equal": lambda: plots.histogram(1 + 1e-16 * np.arange(9), "theta", "near", "neurons", log_counts=True),
    "no neurons": lambda: plots.neurons_per_class(np.zeros(0, dtype=int), DIGITS),
    "no spikes and all spikes": lambda: _raster(np.arange(2)[:, None, None] * np.ones((2, 2, 3), bool)),
    "one evaluation": lambda: plots.accuracy_curve(np.zeros((0, 2)), np.array([[60_000, 1.0]]), 0.1, "vote"),
    "classes without images": lambda: plots.accuracy_per_class(
        ClassHistory([1, 2], SPARSE, np.ones((2, 21), bool)), ["$ long " * 20, *DIGITS * 2], "naive_bayes"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_input_is_drawn_in_full_and_without_warnings(case):
    figure = DEGENERATE[case]()
    image = np.asarray(Image.open(io.BytesIO(plots.to_png(figure))).convert("RGB"))
    assert image.shape[1::-1] == tuple(np.rint(100 * figure.get_size_inches())) and max(image.shape) < 2300
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert image.std() > 0 and (edge == 255).all(), "nothing is cut off"
