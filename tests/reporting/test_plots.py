"""The plots show the numbers they were given, in the right place, and are drawn in full."""

import ast
import io
import threading
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from stdp_run.reporting import plots
from stdp_run.reporting.plots import Tiles, receptive_fields, weight_change

DIGITS = [str(digit) for digit in range(10)]


def _random_weights(neurons: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(neurons).uniform(0.1, 1.0, (neurons, height * width)).astype(np.float32)


def _drawn(figure) -> np.ndarray:
    """Return the pixels of the figure's PNG file, uint8 [height, width, 3]."""
    return np.asarray(Image.open(io.BytesIO(plots.to_png(figure))))


def _tiles(figure, rows: int, columns: int) -> np.ndarray:
    """Cut the drawn grid back into tiles, uint8 [rows * columns, tall, wide, 3]."""
    box, image = figure.axes[0].get_window_extent(), _drawn(figure)
    grid = image[len(image) - round(box.y1) : len(image) - round(box.y0), round(box.x0) : round(box.x1)]
    tall, wide = len(grid) // rows, grid.shape[1] // columns
    assert grid.shape[:2] == (rows * tall, columns * wide)
    return grid.reshape(rows, tall, columns, wide, 3).transpose(0, 2, 1, 3, 4).reshape(-1, tall, wide, 3)


def _weights(figure, rows: int, columns: int, height: int, width: int, colour_map: str = "magma") -> np.ndarray:
    """Read weights [rows * columns, height, width] off a drawn grid by its colours; NaN in white places.

    Those at the edge of a tile, which the line between tiles covers in part, are NaN too.
    """
    tiles = _tiles(figure, rows, columns)
    scale = tiles.shape[1] // height
    assert tiles.shape[1:3] == (height * scale, width * scale)
    colours = tiles[:, scale // 2 :: scale, scale // 2 :: scale]
    table = matplotlib.colormaps[colour_map](np.arange(256), bytes=True)[:, :3]
    number = {tuple(colour): index for index, colour in enumerate(table.tolist())}
    index = np.full((len(tiles), height, width), np.nan)
    for place in np.ndindex(len(tiles), height - 2, width - 2):
        tile, row, column = place[0], place[1] + 1, place[2] + 1
        index[tile, row, column] = number.get(tuple(colours[tile, row, column].tolist()), np.nan)
    low, high = figure.axes[1].get_ylim()
    return low + (index + 0.5) / 256 * (high - low)


def _texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("neurons", "rows", "columns", "height", "width"),
    [(1, 1, 1, 8, 8), (7, 3, 3, 8, 8), (100, 10, 10, 28, 28), (12, 4, 3, 4, 6)],
)
def test_every_receptive_field_is_upright_at_its_place(neurons, rows, columns, height, width):
    weight = _random_weights(neurons, height, width)
    drawn = _weights(receptive_fields(weight, Tiles(height, width)), rows, columns, height, width)
    inside = drawn[:neurons, 1:-1, 1:-1]
    np.testing.assert_allclose(inside, weight.reshape(neurons, height, width)[:, 1:-1, 1:-1], atol=1 / 256)
    assert np.isnan(drawn[neurons:]).all()


def test_more_neurons_than_400_are_thinned_evenly_and_the_title_says_so():
    weight = np.repeat(np.arange(6400, dtype=np.float64)[:, None], 64, axis=1)
    labels = np.arange(6400) % 10
    figure = receptive_fields(weight, Tiles(8, 8, labels))
    np.testing.assert_allclose(_weights(figure, 20, 20, 8, 8)[:, 5, 5], np.arange(0, 6400, 16), atol=6400 / 256)
    assert figure.axes[0].get_title() == "Receptive fields: 400 of 6,400 neurons, evenly spaced"
    assert _texts(figure.axes[0]) == [str(label) for label in labels[::16]]
    numbers = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert numbers == [str(neuron) for neuron in range(0, 6400, 320)]


def test_labels_are_the_classes_names_in_their_tiles_and_silent_neurons_have_none():
    labels = np.array([2, -1, 0, 1, 2, -1, 0])
    weight = np.zeros((7, 64))
    figure = receptive_fields(weight, Tiles(8, 8, labels, ["cat", "dog", "$x"]))
    assert _texts(figure.axes[0]) == ["$x", "cat", "dog", "$x", "cat"]
    plain = _tiles(receptive_fields(weight, Tiles(8, 8)), 3, 3)
    for label, tile, empty in zip(labels, _tiles(figure, 3, 3), plain, strict=False):
        written = (tile != empty).any(axis=2)
        assert written.any() == (label >= 0)
        tall, wide = written.shape
        assert not written[tall // 5 : -2].any() and not written[:, wide // 2 : -2].any()  # in the corner


def test_a_label_can_be_read_on_a_bright_tile():
    figure = receptive_fields(np.ones((100, 784)), Tiles(28, 28, np.full(100, 3)))
    corner = _tiles(figure, 10, 10)[0].astype(int)[3:24, 3:14].sum(axis=2)
    assert corner.max() > 3 * 240 and corner.min() < 3 * 100


def test_labels_are_left_out_where_tiles_are_too_small():
    for height, written in ((28, True), (4, False)):
        weight = np.zeros((400, height * 64))
        axes = receptive_fields(weight, Tiles(height, 64, np.zeros(400, dtype=int))).axes[0]
        assert bool(axes.texts) == written


def test_large_images_are_shrunk_to_fit():
    figure = receptive_fields(_random_weights(400, 100, 100), Tiles(100, 100))
    assert max(plots.size_in_pixels(figure)) < 1400 and _drawn(figure).std() > 0


def test_colours_span_zero_to_the_largest_weight_and_the_bar_has_them():
    weight = np.linspace(0.0, 2.0, 64)[:, None].repeat(64, axis=1)
    figure = receptive_fields(weight, Tiles(8, 8), quantity="weight (mV)")
    bar = figure.axes[1]
    assert bar.get_ylim() == (0, 2) and bar.get_ylabel() == "weight (mV)"
    image, box = _drawn(figure).astype(int), bar.get_window_extent()
    # Not the ends, where the frame is.
    for tile, value in zip(_tiles(figure, 8, 8).astype(int)[1:-1], weight[1:-1, 0], strict=True):
        y = len(image) - 1 - (box.y0 + (box.height - 1) * value / 2)
        assert np.abs(image[round(y), round((box.x0 + box.x1) / 2)] - tile[9, 9]).max() <= 8


def test_weight_change_is_after_minus_before_around_zero():
    before, after = _random_weights(4, 8, 8), _random_weights(5, 8, 8)[:4]
    figure = weight_change(before, after, Tiles(8, 8, np.array([3, 1, -1, 0])))
    low, high = figure.axes[1].get_ylim()
    assert -low == high == pytest.approx(np.abs(after - before).max())
    drawn = _weights(figure, 2, 2, 8, 8, "RdBu_r")[:, 2:-1, 2:-1]
    np.testing.assert_allclose(drawn, (after - before).reshape(4, 8, 8)[:, 2:-1, 2:-1], atol=2 * high / 256)
    assert figure.axes[1].get_ylabel() == "weight change" and _texts(figure.axes[0]) == ["3", "1", "0"]


@pytest.mark.parametrize("shape", [(4, 63), (4,), (0, 64)])
def test_weights_that_do_not_fit_the_image_are_refused(shape):
    with pytest.raises(ValueError, match="8 x 8"):
        receptive_fields(np.zeros(shape), Tiles(8, 8))


def test_labels_and_weights_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ValueError, match="one per neuron"):
        receptive_fields(np.zeros((4, 64)), Tiles(8, 8, np.zeros(5, int)))
    with pytest.raises(ValueError, match="differ"):
        weight_change(np.zeros((4, 64)), np.zeros((5, 64)), Tiles(8, 8))


# Classes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "silent"), [(3, 0), (3, 1), (10, 1)])
def test_confusion_writes_each_count_into_its_cell(classes, silent):
    matrix = np.random.default_rng(0).integers(0, 2000, (classes, classes + silent))
    axes = plots.confusion(matrix, DIGITS[:classes]).axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(column, row): str(count) for (row, column), count in np.ndenumerate(matrix)}
    np.testing.assert_allclose(axes.images[0].get_array().sum(axis=1), 1)
    np.testing.assert_allclose(axes.images[0].get_array(), matrix / matrix.sum(axis=1, keepdims=True))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == DIGITS[:classes] + ["no\nspikes"] * silent
    assert axes.get_ylim() == (classes - 0.5, -0.5)  # the first class is on top


def test_confusion_title_tells_readout_accuracy_and_interval():
    matrix = np.diag([10, 20, 30])
    axes = plots.confusion(matrix, "abc", accuracy=0.853, interval=(0.831, 0.8719), readout="vote").axes[0]
    assert axes.get_title() == (
        "Confusion matrix, readout: vote\naccuracy 85.3 % on 60 images (95 % interval 83.1 to 87.2 %)"
    )


def test_confusion_refuses_a_matrix_of_another_size():
    with pytest.raises(ValueError, match="3 classes"):
        plots.confusion(np.zeros((3, 5)), "abc")


def test_neurons_per_class_counts_each_class_and_the_silent():
    axes = plots.neurons_per_class(np.array([0, 2, 2, -1, 2, -1]), ["a", "b", "c"]).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1, 0, 3, 2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c", "silent"]
    assert _texts(axes) == ["1", "0", "3", "2"]


# Values, spikes, rules ------------------------------------------------------------------------------------------------


def test_histogram_counts_every_value_and_names_the_unit():
    values = np.random.default_rng(1).gamma(2, 3, (20, 20))
    axes = plots.histogram(values, "theta (mV)", "Thresholds").axes[0]
    counts, edges, _ = axes.patches[0].get_data()
    assert (len(counts), counts.sum()) == (50, 400)
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    assert axes.get_xlabel() == "theta (mV)"


def test_histogram_tells_of_values_that_are_not_finite():
    axes = plots.histogram([1.0, 2.0, np.nan, np.inf], "theta (mV)", "Thresholds").axes[0]
    assert axes.get_title() == "Thresholds\n2 values, smallest 1, largest 2; 2 more not finite"


def test_a_histogram_of_weights_begins_at_0_where_the_smallest_is_next_to_it():
    axes = plots.histogram([1.5e-9, 0.5, 0.9999], "weight", "Weights", counted_as="synapses").axes[0]
    assert axes.get_title() == "Weights\n3 synapses, smallest 0, largest 0.9999"
    assert axes.get_xlim()[0] == 0


def test_a_histogram_on_a_logarithmic_scale_shows_a_single_value_among_many():
    axes = plots.histogram([0.0] * 100_000 + [1.0], "weight", "Weights", counted_as="synapses", log_counts=True).axes[0]
    counts, _, baseline = axes.patches[0].get_data()
    assert axes.get_yscale() == "log" and axes.get_ylim()[0] < 1
    assert (counts[0], counts[-1]) == (100_000, 1) and 0 < baseline < 1
    assert axes.get_ylabel() == "number of synapses"


def test_raster_puts_every_spike_at_its_time_and_neuron():
    layers = [np.random.default_rng(size).random((2, 100, size)) < 0.05 for size in (64, 4, 4)]
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(np.uint8)
    figure = plots.raster(*layers, images, ["cat", "$x"], dt_ms=0.5, title="Spikes of two")
    panels = np.array(figure.axes).reshape(4, 2)
    for b, name in enumerate(["class cat", "class $x"]):
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


@pytest.mark.parametrize("neurons", [400, 6400])
def test_a_single_excitatory_spike_can_be_seen(neurons):
    def drawn(step):
        none, spikes = np.zeros((1, 350, 784), bool), np.zeros((1, 350, neurons), bool)
        spikes[0, step, step] = True
        silent = np.zeros_like(spikes)
        return _drawn(plots.raster(none, spikes, silent, np.zeros((1, 28, 28), np.uint8), "0"))

    differing = np.any(drawn(200) != drawn(100), axis=2)
    assert differing.sum() > 2 * 15


def test_a_window_is_drawn_in_order_and_no_line_crosses_zero():
    delta = np.array([3.0, -1.0, 0.0, -2.0, 1.0])
    change = np.array([0.3, -0.1, 0.05, -0.2, 0.1])
    published = plots.Window(delta, change, "weight change (%)", "a_post=2 (published 1)", published=2 * change)
    axes = plots.stdp_windows({"pair": published}).axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines[2:]}
    dashed = drawn.pop("with published constants")
    assert np.array_equal(dashed, [[-2, -0.4], [-1, -0.2], [0, np.nan], [1, 0.2], [3, 0.6]], equal_nan=True)
    assert drawn == {
        "post before pre": [[-2, -0.2], [-1, -0.1]],
        "same step": [[0, 0.05]],
        "pre before post": [[1, 0.1], [3, 0.3]],
    }
    assert "ms" in axes.get_xlabel() and axes.get_ylabel() == "weight change (%)"
    assert axes.get_title().replace("\N{NO-BREAK SPACE}", " ") == "pair\nwith a_post=2 (published 1)"


@pytest.mark.parametrize("rules", [1, 3, 4])
def test_windows_of_several_rules_have_a_named_panel_each(rules):
    windows = {f"rule {size}": plots.Window(np.linspace(-5, 5, size), np.ones(size)) for size in range(10, 10 + rules)}
    figure = plots.stdp_windows(windows)
    assert [axes.get_title() for axes in figure.axes] == [f"{name}\nconstants as published" for name in windows]
    assert sum(len(line.get_xdata()) for line in figure.axes[-1].lines[2:]) == 9 + rules


def test_accuracies_are_drawn_in_percent():
    axes = plots.accuracy_curve([100, 200], [0.25, 0.5], chance=0.1).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[100, 25], [200, 50]]
    axes = plots.accuracy_curve([100, 200], [0.25, 0.5], evaluations=([150, 200], [0.375, 0.625])).axes[0]
    assert axes.lines[1].get_xydata().tolist() == [[150, 37.5], [200, 62.5]]
    assert _texts(axes) == ["62.5"]


def test_the_accuracy_of_each_class_stands_where_its_row_and_column_are():
    accuracy = np.array([[0.125, 0.5, np.nan], [0.25, 0.75, 1.0]])
    axes = plots.accuracy_per_class(plots.ClassHistory([40, 1500], accuracy, None), "abc").axes[0]
    image = np.asarray(axes.images[0].get_array())
    assert np.array_equal(image, [[12.5, 25], [50, 75], [np.nan, 100]], equal_nan=True)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["40", "1,500"]
    assert _texts(axes) == ["12", "25", "50", "75", "", "100"] and not axes.patches


def test_what_was_presented_is_outlined_and_nothing_is_said_of_a_class_before():
    presented = np.array([[True, False], [True, True], [False, True]])
    axes = plots.accuracy_per_class(plots.ClassHistory([1, 2, 3], np.full((3, 2), 0.5), presented), "ab").axes[0]
    assert [(patch.get_xy(), patch.get_width()) for patch in axes.patches] == [((-0.5, -0.5), 2), ((0.5, 0.5), 2)]
    assert _texts(axes) == ["50", "50", "50", "", "50", "50"]


def test_many_evaluations_are_named_as_far_as_there_is_room():
    history = plots.ClassHistory(range(1, 301), np.zeros((300, 3)), None)
    axes = plots.accuracy_per_class(history, "abc").axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert len(names) == 20 and names[-1] == "300" and _texts(axes) == []


# All of them ----------------------------------------------------------------------------------------------------------

NONE = np.zeros(0, dtype=int)


def _raster(inputs, spikes):
    return plots.raster(inputs, spikes, spikes, np.zeros((len(inputs), 1, 1), np.uint8), ["long " * 9] * len(inputs))


DEGENERATE = {
    "equal weights": lambda: receptive_fields(np.zeros((4, 64)), Tiles(8, 8)),
    "one neuron": lambda: receptive_fields(np.full((1, 64), 0.3), Tiles(8, 8, np.array([0]))),
    "one weight": lambda: receptive_fields(np.ones((1, 1)), Tiles(1, 1)),
    "weights not a number": lambda: receptive_fields(np.full((2, 64), np.nan), Tiles(8, 8)),
    "silent neurons": lambda: receptive_fields(np.ones((3, 64)), Tiles(8, 8, np.full(3, -1), DIGITS)),
    "no change": lambda: weight_change(np.ones((4, 64)), np.ones((4, 64)), Tiles(8, 8)),
    "no images": lambda: plots.confusion(np.zeros((3, 4), int), "abc"),
    "one class": lambda: plots.confusion(np.array([[1]]), "a", accuracy=1.0),
    "long names": lambda: plots.confusion(np.eye(2, 3, dtype=int), ["long " * 20, "$" * 40]),
    "no values above 0": lambda: plots.histogram(np.zeros(9), "weight", "zeros", log_counts=True),
    "no values": lambda: plots.histogram([], "theta (mV)", "none"),
    "nearly equal": lambda: plots.histogram(1.0 + 1e-16 * np.arange(9), "theta (mV)", "near"),
    "no neurons": lambda: plots.neurons_per_class(NONE, DIGITS),
    "no spikes": lambda: _raster(np.zeros((1, 350, 784), bool), np.zeros((1, 350, 1), bool)),
    "no steps": lambda: _raster(np.zeros((3, 0, 1), bool), np.zeros((3, 0, 1), bool)),
    "all spikes": lambda: _raster(np.ones((1, 2, 1), bool), np.ones((1, 2, 3), bool)),
    "no pairs": lambda: plots.stdp_windows({"pair": plots.Window(NONE, NONE)}),
    "no effect": lambda: plots.stdp_windows({"pair": plots.Window(np.arange(-3, 4), np.zeros(7))}),
    "no accuracy": lambda: plots.accuracy_curve([], []),
    "one evaluation": lambda: plots.accuracy_curve([], [], evaluations=([60_000], [1.0]), chance=0.1),
    "one evaluation of a class": lambda: plots.accuracy_per_class(
        plots.ClassHistory([5], np.array([[1.0]]), None), ["$ long " * 20]
    ),
    "no class with images": lambda: plots.accuracy_per_class(
        plots.ClassHistory([1, 2], np.full((2, 40), np.nan), np.ones((2, 40), bool)), range(40), readout="naive_bayes"
    ),
    "accuracy of no images": lambda: plots.accuracy_curve([0], [0.0], evaluations=([0], [0.0])),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_input_is_drawn_in_full_and_without_warnings(case):
    image = _drawn(DEGENERATE[case]())
    assert image.std() > 0
    # Nothing is cut off: the outermost pixels are blank.
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (edge == 255).all()


def test_a_png_has_the_figures_size_and_is_the_same_each_time():
    def new_figure():
        return plots.confusion(np.diag([1, 2, 3]), "abc")

    figure = new_figure()
    png = plots.to_png(figure)
    wide, tall = figure.get_size_inches()
    assert plots.size_in_pixels(figure) == (round(100 * tall), round(100 * wide))
    assert np.asarray(Image.open(io.BytesIO(png))).shape == (*plots.size_in_pixels(figure), 3)
    assert png == plots.to_png(new_figure())
    plots.release(figure)
    assert figure.axes == []


def test_threads_draw_the_same_plots_as_one_thread():
    def draw(number):
        return plots.to_png(plots.confusion(np.arange(9).reshape(3, 3) + number, "abc", accuracy=number / 10))

    drawn = {}
    threads = [threading.Thread(target=lambda n=number: drawn.update({n: draw(n)})) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == {number: draw(number) for number in range(4)}


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
