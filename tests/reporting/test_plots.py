"""The plots show the numbers they were given, in the right place, and are drawn in full."""

import ast
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stdp_run.evaluation.metrics import Evaluation
from stdp_run.reporting import plots
from stdp_run.reporting.plots import ClassHistory, Window, receptive_fields

DIGITS = [str(digit) for digit in range(10)]
NO_POINTS = np.zeros((0, 2))


def _drawn(figure) -> np.ndarray:
    """Return the pixels of the figure's PNG file, uint8 [height, width, 3]."""
    return np.asarray(Image.open(io.BytesIO(plots.to_png(figure))).convert("RGB"))


def _texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("neurons", "rows", "columns", "height", "width"),
    [(1, 1, 1, 8, 8), (7, 3, 3, 8, 8), (100, 10, 10, 28, 28), (12, 4, 3, 4, 6)],
)
def test_every_receptive_field_is_upright_in_its_tile(neurons, rows, columns, height, width):
    weight = np.random.default_rng(neurons).uniform(0.1, 1.0, (neurons, height, width)).astype(np.float32)
    figure = receptive_fields(weight, None, DIGITS, "Fields", "weight (mV)")
    axes, image = figure.axes[0], np.asarray(figure.axes[0].images[0].get_array())
    tiles = image.reshape(rows, height, columns, width).swapaxes(1, 2).reshape(-1, height, width)
    np.testing.assert_array_equal(tiles[:neurons], weight)
    assert np.isnan(tiles[neurons:]).all()
    # The first row of pixels is on top, and each weight takes the same whole number of pixels.
    box = axes.get_window_extent()
    assert axes.get_ylim() == (rows * height, 0) and axes.get_xlim() == (0, columns * width)
    scale = round(box.width) // (columns * width)
    assert (round(box.width), round(box.height)) == (columns * width * scale, rows * height * scale)
    assert (
        figure.axes[1].get_ylim() == (0, pytest.approx(weight.max())) and figure.axes[1].get_ylabel() == "weight (mV)"
    )


def test_more_neurons_than_400_are_thinned_evenly_and_the_title_says_so():
    weight = np.repeat(np.arange(6400.0)[:, None, None], 64, axis=1).reshape(-1, 8, 8)
    axes = receptive_fields(weight, np.arange(6400) % 10, DIGITS, "Receptive fields", "weight").axes[0]
    np.testing.assert_array_equal(np.asarray(axes.images[0].get_array())[::8, ::8].ravel(), np.arange(0, 6400, 16))
    assert axes.get_title() == "Receptive fields\n400 of 6,400 neurons, evenly spaced"
    assert _texts(axes) == [str(label % 10) for label in range(0, 6400, 16)]
    assert [label.get_text() for label in axes.get_yticklabels()] == [str(neuron) for neuron in range(0, 6400, 320)]


def test_labels_are_the_classes_names_in_their_tiles_and_silent_neurons_have_none():
    labels = np.array([2, -1, 0, 1, 2, -1, 0])
    axes = receptive_fields(np.ones((7, 8, 8)), labels, ["cat", "dog", "$x"], "Fields", "weight").axes[0]
    assert _texts(axes) == ["$x", "cat", "dog", "$x", "cat"]
    tiles = [(int(x // 8), int(y // 8)) for x, y in (text.get_position() for text in axes.texts)]
    assert tiles == [(0, 0), (2, 0), (0, 1), (1, 1), (0, 2)]
    assert all(text.get_color() == "white" and text.get_bbox_patch() is not None for text in axes.texts)


@pytest.mark.parametrize(("height", "name", "written"), [(28, "3", True), (4, "3", False), (28, "long " * 20, False)])
def test_labels_are_left_out_where_tiles_are_too_small(height, name, written):
    figure = receptive_fields(np.zeros((400, height, 64)), np.zeros(400, dtype=int), [name], "Fields", "weight")
    assert bool(figure.axes[0].texts) == written


# Classes --------------------------------------------------------------------------------------------------------------


def _confusion(matrix, classes):
    n_correct = {"vote": int(np.trace(matrix))}
    return plots.confusion(Evaluation(int(matrix.sum()), n_correct, {"vote": matrix}, 20.0, 1.0), classes, "vote")


def test_confusion_writes_each_count_into_its_cell_and_the_accuracy_above():
    matrix = np.eye(3, 4, dtype=int) * [10, 20, 20, 0] + [0, 0, 0, 5]
    axes = _confusion(matrix, DIGITS[:3]).axes[0]
    accuracy = "accuracy 76.9% on 65 images (95 % interval 65.4% to 85.5%)"
    assert axes.get_title() == f"Confusion matrix, readout: vote\n{accuracy}"
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(column, row): str(count) for (row, column), count in np.ndenumerate(matrix)}
    np.testing.assert_allclose(axes.images[0].get_array(), 100 * matrix / matrix.sum(axis=1, keepdims=True))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_xticklabels()] == [*DIGITS[:3], "no\nspikes"]
    assert axes.get_ylim() == (2.5, -0.5)  # the first class is on top


def test_neurons_per_class_counts_each_class_and_the_silent():
    axes = plots.neurons_per_class(np.array([0, 2, 2, -1, 2, -1]), ["a", "b", "c"]).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1, 0, 3, 2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c", "silent"]
    assert _texts(axes) == ["1", "0", "3", "2"]


# Values, spikes, rules ------------------------------------------------------------------------------------------------


def test_histogram_counts_every_finite_value_and_names_the_unit():
    values = np.append(np.random.default_rng(1).gamma(2, 3, 400), [np.nan, np.inf]).reshape(2, -1)
    axes = plots.histogram(values, "theta (mV)", "Thresholds", "neurons").axes[0]
    corners = axes.patches[0].get_xy()
    assert corners[:, 0].min() == np.nanmin(values) and corners[:, 0].max() == values[np.isfinite(values)].max()
    counts = corners[1:101:2, 1]
    assert (len(counts), counts.sum()) == (50, 400)
    assert axes.get_xlabel() == "theta (mV)" and axes.get_title().startswith("Thresholds\n400 neurons, smallest ")


def test_a_histogram_on_a_logarithmic_scale_shows_a_single_value_among_many():
    values = [0.0] * 100_000 + [1.0]
    axes = plots.histogram(values, "weight", "Weights", "synapses", log_counts=True).axes[0]
    heights = axes.patches[0].get_xy()[:, 1]
    assert axes.get_yscale() == "log" and axes.get_ylim()[0] < 1
    assert {1.0, 100_000.0} <= set(heights) and axes.get_ylabel() == "number of synapses"


def test_raster_puts_every_spike_at_its_time_and_neuron():
    layers = [np.random.default_rng(size).random((2, 100, size)) < 0.05 for size in (64, 4, 4)]
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(np.uint8)
    figure = plots.raster(layers, images, ["true cat, answer none", "$x"], 0.5, "Spikes of two")
    panels = np.array(figure.axes).reshape(4, 2)
    for b, name in enumerate(["true cat, answer none", "$x"]):
        assert panels[0, b].get_title() == name
        np.testing.assert_array_equal(panels[0, b].images[0].get_array(), images[b])
        for axes, spikes in zip(panels[1:, b], layers, strict=True):
            drawn = np.zeros_like(spikes[b])
            steps, neurons = axes.lines[0].get_xydata().T
            drawn[(2 * steps).astype(int), neurons.astype(int)] = True
            np.testing.assert_array_equal(drawn, spikes[b])
            assert axes.get_xlim() == (0, 50)
    names = [axes.get_ylabel() for axes in panels[1:, 0]]
    assert names == [f"{layer} neuron (number)" for layer in ("input", "excitatory", "inhibitory")]
    assert [axes.get_xlabel() for axes in panels[3]] == ["time (ms)"] * 2


def test_a_window_is_drawn_and_no_line_crosses_zero():
    delta = np.array([-2.0, -1.0, 0.0, 1.0, 3.0])
    change = np.array([-0.2, -0.1, 0.05, 0.1, 0.3])
    published = Window(delta, change, "weight change (%)", "a_post=2 (published 1)", published=2 * change)
    axes = plots.stdp_windows({"pair": published}, {}).axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines[2:]}
    dashed = drawn.pop("with published constants")
    assert np.array_equal(dashed, [[-2, -0.4], [-1, -0.2], [0, np.nan], [1, 0.2], [3, 0.6]], equal_nan=True)
    assert drawn == {
        "post before pre": [[-2, -0.2], [-1, -0.1]],
        "same step": [[0, 0.05]],
        "pre before post": [[1, 0.1], [3, 0.3]],
    }
    assert "ms" in axes.get_xlabel() and axes.get_ylabel() == "weight change (%)"
    assert axes.get_title() == "pair\nwith a_post=2 (published 1)"


@pytest.mark.parametrize("rules", [1, 3, 4])
def test_windows_of_several_rules_have_a_named_panel_each_and_changes_by_frequency_come_last(rules):
    windows = {f"rule {size}": Window(np.linspace(-5, 5, size), np.ones(size)) for size in range(10, 10 + rules)}
    changes = plots.ByFrequency(np.array([5, 10]), np.array([1, 2]), np.array([-1, 3]), 10)
    *panels, last = plots.stdp_windows(windows, {"triplet": changes}).axes
    assert [axes.get_title() for axes in panels] == [f"{name}\nconstants as published" for name in windows]
    assert sum(len(line.get_xdata()) for line in panels[-1].lines[2:]) == 9 + rules
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


def test_many_evaluations_are_named_as_far_as_there_is_room():
    history = ClassHistory(range(1, 301), np.zeros((300, 3)), None)
    axes = plots.accuracy_per_class(history, "abc", "vote").axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert len(names) == 20 and names[-1] == "300" and _texts(axes) == []


# All of them ----------------------------------------------------------------------------------------------------------

NONE = np.zeros(0, dtype=int)


def _fields(weight, labels=None):
    return receptive_fields(weight, labels, DIGITS, "Fields", "weight")


def _raster(inputs, spikes):
    images, names = np.zeros((len(inputs), 1, 1), np.uint8), ["long " * 9] * len(inputs)
    return plots.raster((inputs, spikes, spikes), images, names, 1.0, "Spikes")


DEGENERATE = {
    "one neuron": lambda: _fields(np.full((1, 8, 8), 0.3), np.array([0])),
    "one weight": lambda: _fields(np.ones((1, 1, 1))),
    "large images": lambda: _fields(np.random.default_rng(0).random((400, 100, 100))),
    "weights not a number": lambda: _fields(np.full((2, 8, 8), np.nan)),
    "silent neurons": lambda: _fields(np.ones((3, 8, 8)), np.full(3, -1)),
    "long names": lambda: _confusion(np.eye(2, 3, dtype=int), ["long " * 20, "$" * 40]),
    "many classes": lambda: _confusion(np.eye(47, 48, dtype=int) * 1000, list(map(str, range(47)))),
    "no values above 0": lambda: plots.histogram(np.zeros(9), "weight", "zeros", "synapses", log_counts=True),
    "no values": lambda: plots.histogram([np.nan], "theta (mV)", "none", "neurons"),
    "nearly equal": lambda: plots.histogram(1.0 + 1e-16 * np.arange(9), "theta (mV)", "near", "neurons"),
    "no neurons": lambda: plots.neurons_per_class(NONE, DIGITS),
    "no spikes": lambda: _raster(np.zeros((1, 350, 784), bool), np.zeros((1, 350, 1), bool)),
    "all spikes": lambda: _raster(np.ones((1, 2, 1), bool), np.ones((1, 2, 3), bool)),
    "one evaluation": lambda: plots.accuracy_curve(NO_POINTS, np.array([[60_000, 1.0]]), 0.1, "vote"),
    "one evaluation of a class": lambda: plots.accuracy_per_class(
        ClassHistory([5], np.array([[1.0]]), None), ["$ long " * 20], "vote"
    ),
    "no class with images": lambda: plots.accuracy_per_class(
        ClassHistory([1, 2], np.full((2, 40), np.nan), np.ones((2, 40), bool)), DIGITS * 4, "naive_bayes"
    ),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_input_is_drawn_in_full_and_without_warnings(case):
    image = _drawn(DEGENERATE[case]())
    assert max(image.shape) < 2300 and image.std() > 0
    # Nothing is cut off: the outermost pixels are blank.
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (edge == 255).all()


def test_a_png_has_the_figures_size_and_is_the_same_each_time():
    figure = _confusion(np.eye(3, 4, dtype=int), "abc")
    wide, tall = figure.get_size_inches()
    png = plots.to_png(figure)
    assert Image.open(io.BytesIO(png)).size == (round(100 * wide), round(100 * tall))
    assert png == plots.to_png(_confusion(np.eye(3, 4, dtype=int), "abc"))


def test_costly_libraries_are_imported_on_first_use_and_pyplot_never():
    for path in Path(plots.__file__).parents[1].rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                module = node.module if isinstance(node, ast.ImportFrom) else names[0]
                assert "pyplot" not in (*module.split("."), *names), path
                costly = module.split(".")[0] in ("matplotlib", "pandas", "PIL", "jinja2")
                assert not (costly and node in tree.body), f"{path.name} imports {module} with itself"
