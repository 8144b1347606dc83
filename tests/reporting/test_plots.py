"""The pictures show the numbers they were given, in the right place, and are written whole."""

import io
import os
import subprocess
import sys
import threading

import matplotlib
import numpy as np
import pytest
from PIL import Image

from stdp_run.reporting import plots as figures

pytestmark = pytest.mark.filterwarnings("error")

DIGITS = [str(digit) for digit in range(10)]


def _random_weights(neurons: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(neurons).uniform(0.1, 1.0, (neurons, height * width)).astype(np.float32)


def _decoded(path) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))


def _tiles(figure, rows: int, columns: int) -> np.ndarray:
    """Cut the drawn grid back into tiles, uint8 [rows * columns, tall, wide, 3]: 2 pixels lie around each."""
    image, box = figures.to_image(figure), figure.axes[0].get_window_extent()
    grid = image[len(image) - round(box.y1) : len(image) - round(box.y0), round(box.x0) : round(box.x1)]
    tall, wide = ((edge - 2) // count for edge, count in zip(grid.shape, (rows, columns), strict=False))
    assert (tall * rows + 2, wide * columns + 2) == grid.shape[:2]
    tiles = grid[2:, 2:].reshape(rows, tall, columns, wide, 3).transpose(0, 2, 1, 3, 4).reshape(-1, tall, wide, 3)
    assert (tiles[0, -2:] == 0xB0).all() and (tiles[0, :, -2:] == 0xB0).all()
    return tiles[:, :-2, :-2]


def _weights(figure, rows: int, columns: int, height: int, width: int, colour_map: str = "magma") -> np.ndarray:
    """Read weights [rows * columns, height, width] off a drawn grid by its colours; NaN in white places."""
    tiles = _tiles(figure, rows, columns)
    scale = tiles.shape[1] // height
    colours = tiles[:, ::scale, ::scale]
    np.testing.assert_array_equal(colours.repeat(scale, axis=1).repeat(scale, axis=2), tiles)
    table = matplotlib.colormaps[colour_map](np.arange(256), bytes=True)[:, :3]
    number = {tuple(colour): index for index, colour in enumerate(table.tolist())} | {(255, 255, 255): np.nan}
    index = np.array([number[tuple(colour)] for colour in colours.reshape(-1, 3).tolist()])
    low, high = figure.axes[1].get_ylim()
    return (low + (index + 0.5) / 256 * (high - low)).reshape(-1, height, width)


def _texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("neurons", "rows", "columns", "height", "width"),
    [(1, 1, 1, 8, 8), (7, 3, 3, 8, 8), (100, 10, 10, 28, 28), (400, 20, 20, 28, 28), (12, 4, 3, 4, 6)],
)
def test_every_receptive_field_is_upright_at_its_place(neurons, rows, columns, height, width):
    weight = _random_weights(neurons, height, width)
    drawn = _weights(figures.receptive_fields(weight, height, width), rows, columns, height, width)
    np.testing.assert_allclose(drawn[:neurons], weight.reshape(neurons, height, width), atol=1 / 256)
    assert np.isnan(drawn[neurons:]).all()


def test_a_bright_weight_is_bright_at_its_place_in_the_drawn_picture():
    weight = np.zeros((4, 64))
    weight[1, 8 * 2 + 6] = 1.0  # neuron 1: top right tile; row 2, column 6
    figure = figures.receptive_fields(weight, 8, 8)
    image = figures.to_image(figure).astype(int)
    box = figure.axes[0].get_window_extent()
    left, right = round(box.x0), round(box.x1)
    top, bottom = image.shape[0] - round(box.y1), image.shape[0] - round(box.y0)
    brightness = image[top:bottom, left:right].sum(axis=2)
    # The map's highest colour is the only one above the grey of the separators.
    rows, columns = np.nonzero(brightness > 3 * 200)
    # 16 weights across two tiles: the bright one is the third from the top and the second from the right.
    assert (rows.mean() / brightness.shape[0], columns.mean() / brightness.shape[1]) == pytest.approx(
        (2.5 / 16, 14.5 / 16), abs=0.01
    )


def test_more_neurons_than_the_limit_are_thinned_evenly_and_the_title_says_so():
    weight = np.repeat(np.arange(6400, dtype=np.float64)[:, None], 64, axis=1)
    figure = figures.receptive_fields(weight, 8, 8)
    drawn = _weights(figure, 20, 20, 8, 8)
    np.testing.assert_allclose(drawn[:, 0, 0], np.arange(0, 6400, 16), atol=6400 / 256)
    assert figure.axes[0].get_title() == "Receptive fields: 400 of 6,400 neurons, evenly spaced"
    labelled = _tiles(figures.receptive_fields(0 * weight, 8, 8, labels=np.arange(6400) % 10), 20, 20)
    for neuron, tile in zip(range(0, 6400, 16), labelled, strict=True):
        same = [other for other in range(0, 80, 16) if other % 10 == neuron % 10]
        np.testing.assert_array_equal(tile, labelled[same[0] // 16])
    assert _texts(figure.axes[0]) == [str(neuron) for neuron in range(0, 6400, 320)]


def test_labels_are_the_classes_names_in_their_tiles_and_silent_neurons_have_none():
    labels = np.array([2, -1, 0, 1, 2, -1, 0])
    weight = np.zeros((7, 64))
    tiles = _tiles(figures.receptive_fields(weight, 8, 8, labels=labels, classes=["cat", "dog", "$x"]), 3, 3)
    other = _tiles(figures.receptive_fields(weight, 8, 8, labels=labels, classes=["cat", "dog", "x"]), 3, 3)
    plain = _tiles(figures.receptive_fields(weight, 8, 8), 3, 3)
    for neuron, label in enumerate(labels):
        written = (tiles[neuron] != plain[neuron]).any(axis=2)
        assert written.any() == (label >= 0)
        assert not written[len(written) // 5 :].any() and not written[:, written.shape[1] // 2 :].any()  # in the corner
        first = list(labels).index(label)
        np.testing.assert_array_equal(tiles[neuron], tiles[first])
        assert (tiles[neuron] == other[neuron]).all() == (label != 2)
    assert not np.array_equal(tiles[2], tiles[3])


def test_a_label_can_be_read_on_a_bright_tile():
    weight = np.ones((100, 784))
    tile = _tiles(figures.receptive_fields(weight, 28, 28, labels=np.full(100, 3)), 10, 10)[0].astype(int)
    corner = tile[:24, :14].sum(axis=2)
    assert corner.max() == 3 * 255 and corner.min() < 3 * 100


def test_labels_are_left_out_where_tiles_are_too_small():
    for neurons, written in ((1600, True), (2500, False)):
        weight, labels = np.zeros((neurons, 64)), np.zeros(neurons, dtype=int)
        named = figures.to_image(figures.receptive_fields(weight, 8, 8, labels=labels, limit=neurons))
        plain = figures.to_image(figures.receptive_fields(weight, 8, 8, limit=neurons))
        assert (named != plain).any() == written


def test_colours_span_zero_to_the_largest_weight_or_the_range_given():
    weight = _random_weights(9, 8, 8)
    assert figures.receptive_fields(weight, 8, 8).axes[1].get_ylim() == pytest.approx((0, weight.max()))
    figure = figures.receptive_fields(weight, 8, 8, value_range=(0.0, 2.0))
    np.testing.assert_allclose(_weights(figure, 3, 3, 8, 8), weight.reshape(9, 8, 8), atol=2 / 256)
    assert figure.axes[1].get_ylim() == (0, 2)
    assert figure.axes[1].get_ylabel() == "weight"


def test_the_colour_bar_has_the_colours_of_the_tiles():
    weight = np.linspace(0.0, 2.0, 64)[:, None].repeat(64, axis=1)
    figure = figures.receptive_fields(weight, 8, 8)
    image, box = figures.to_image(figure).astype(int), figure.axes[1].get_window_extent()
    # Not the ends, where the frame is.
    for tile, value in zip(_tiles(figure, 8, 8).astype(int)[1:-1], weight[1:-1, 0], strict=True):
        y = len(image) - 1 - (box.y0 + (box.height - 1) * value / 2)
        assert np.abs(image[round(y), round((box.x0 + box.x1) / 2)] - tile[0, 0]).max() <= 8


def test_weight_change_is_after_minus_before_around_zero():
    before, after = _random_weights(4, 8, 8), _random_weights(5, 8, 8)[:4]
    figure = figures.weight_change(before, after, 8, 8)
    low, high = figure.axes[1].get_ylim()
    assert -low == high == pytest.approx(np.abs(after - before).max())
    drawn = _weights(figure, 2, 2, 8, 8, "RdBu_r")
    np.testing.assert_allclose(drawn, (after - before).reshape(4, 8, 8), atol=2 * high / 256)
    assert figure.axes[1].get_ylabel() == "weight change"
    named = _tiles(figures.weight_change(before, after, 8, 8, labels=np.array([3, 1, -1, 0])), 2, 2)
    assert [(tile != plain).any() for tile, plain in zip(named, _tiles(figure, 2, 2), strict=True)] == [1, 1, 0, 1]


def test_colours_of_equal_weights_still_span_a_range():
    ones = np.ones((4, 64))
    assert figures.weight_change(ones, ones, 8, 8).axes[1].get_ylim() == (-1, 1)
    assert figures.receptive_fields(0 * ones, 8, 8).axes[1].get_ylim() == (0, 1)
    assert figures.receptive_fields(ones, 8, 8).axes[1].get_ylim() == (0, 1)


@pytest.mark.parametrize("shape", [(4, 63), (4,), (0, 64)])
def test_weights_that_do_not_fit_the_image_are_refused(shape):
    with pytest.raises(ValueError, match="8 x 8"):
        figures.receptive_fields(np.zeros(shape), 8, 8)


def test_labels_that_do_not_fit_the_neurons_are_refused():
    with pytest.raises(ValueError, match="one per neuron"):
        figures.receptive_fields(np.zeros((4, 64)), 8, 8, labels=np.zeros(5, int))
    with pytest.raises(ValueError, match="differ"):
        figures.weight_change(np.zeros((4, 64)), np.zeros((5, 64)), 8, 8)


# Classes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "silent"), [(3, 0), (3, 1), (10, 1)])
def test_confusion_writes_each_count_into_its_cell(classes, silent):
    matrix = np.random.default_rng(0).integers(0, 2000, (classes, classes + silent))
    axes = figures.confusion(matrix, DIGITS[:classes]).axes[0]
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
    axes = figures.confusion(matrix, "abc", accuracy=0.853, interval=(0.831, 0.8719), readout="vote").axes[0]
    assert axes.get_title() == (
        "Confusion matrix, readout: vote\naccuracy 85.3 % on 60 images (95 % interval 83.1 to 87.2 %)"
    )


def test_confusion_refuses_a_matrix_of_another_size():
    with pytest.raises(ValueError, match="3 classes"):
        figures.confusion(np.zeros((3, 5)), "abc")


def test_neurons_per_class_counts_each_class_and_the_silent():
    axes = figures.neurons_per_class(np.array([0, 2, 2, -1, 2, -1]), ["a", "b", "c"]).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1, 0, 3, 2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c", "silent"]
    assert _texts(axes) == ["1", "0", "3", "2"]


# Values, spikes, rules ------------------------------------------------------------------------------------------------


def test_histogram_counts_every_value_and_names_the_unit():
    values = np.random.default_rng(1).gamma(2, 3, (20, 20))
    axes = figures.histogram(values, "theta (mV)", "Thresholds", bins=30).axes[0]
    counts, edges, _ = axes.patches[0].get_data()
    assert (len(counts), counts.sum()) == (30, 400)
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    assert axes.get_xlabel() == "theta (mV)"


def test_histogram_tells_of_values_that_are_not_finite():
    axes = figures.histogram([1.0, 2.0, np.nan, np.inf], "theta (mV)", "Thresholds").axes[0]
    assert axes.get_title() == "Thresholds\n2 values, 1 to 2, 2 more not finite"


def test_a_histogram_on_a_logarithmic_scale_shows_a_single_value_among_many():
    axes = figures.histogram([0.0] * 100_000 + [1.0], "weight", "Weights", counted_as="synapses", log_counts=True).axes[
        0
    ]
    counts, _, baseline = axes.patches[0].get_data()
    assert axes.get_yscale() == "log" and axes.get_ylim()[0] < 1
    assert (counts[0], counts[-1]) == (100_000, 1) and 0 < baseline < 1
    assert axes.get_ylabel() == "number of synapses"


def test_raster_puts_every_spike_at_its_time_and_neuron():
    layers = [np.random.default_rng(size).random((2, 100, size)) < 0.05 for size in (64, 4, 4)]
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(np.uint8)
    figure = figures.raster(*layers, images, ["cat", "$x"], dt_ms=0.5, title="Spikes of two")
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
        return figures.to_image(figures.raster(none, spikes, silent, np.zeros((1, 28, 28), np.uint8), "0"))

    differing = np.any(drawn(200) != drawn(100), axis=2)
    assert differing.sum() > 2 * 15


def test_a_window_is_drawn_in_order_and_no_line_crosses_zero():
    delta = np.array([3.0, -1.0, 0.0, -2.0, 1.0])
    change = np.array([0.3, -0.1, 0.05, -0.2, 0.1])
    axes = figures.stdp_window(delta, change, "pair").axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines[2:]}
    assert drawn == {
        "post before pre": [[-2, -0.2], [-1, -0.1]],
        "same step": [[0, 0.05]],
        "pre before post": [[1, 0.1], [3, 0.3]],
    }
    assert "ms" in axes.get_xlabel() and "pair" in axes.get_title()


@pytest.mark.parametrize("rules", [1, 3, 4])
def test_windows_of_several_rules_have_a_named_panel_each(rules):
    windows = {f"rule {size}": (np.linspace(-5, 5, size), np.ones(size)) for size in range(10, 10 + rules)}
    figure = figures.stdp_windows(windows)
    assert [axes.get_title() for axes in figure.axes] == list(windows)
    assert sum(len(line.get_xdata()) for line in figure.axes[-1].lines[2:]) == 9 + rules


def test_accuracies_are_drawn_in_percent():
    axes = figures.accuracy_curve([100, 200], [0.25, 0.5], chance=0.1).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[100, 25], [200, 50]]
    axes = figures.accuracy_curve([100, 200], [0.25, 0.5], evaluations=([150, 200], [0.375, 0.625])).axes[0]
    assert axes.lines[1].get_xydata().tolist() == [[150, 37.5], [200, 62.5]]
    assert _texts(axes) == ["62.5"]
    axes = figures.accuracy_by_setting(["a", "b"], [0.25, 0.5], intervals=[[0.2, 0.3], [0.4, 0.6]]).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[25, 0], [50, 1]]
    np.testing.assert_allclose(axes.collections[0].get_segments(), [[[20, 0], [30, 0]], [[40, 1], [60, 1]]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


# All of them ----------------------------------------------------------------------------------------------------------

NONE = np.zeros(0, dtype=int)


def _raster(inputs, spikes):
    return figures.raster(inputs, spikes, spikes, np.zeros((len(inputs), 1, 1), np.uint8), ["long " * 9] * len(inputs))


DEGENERATE = {
    "equal weights": lambda: figures.receptive_fields(np.zeros((4, 64)), 8, 8),
    "one neuron": lambda: figures.receptive_fields(np.full((1, 64), 0.3), 8, 8, labels=np.array([0])),
    "one weight": lambda: figures.receptive_fields(np.ones((1, 1)), 1, 1),
    "weights not a number": lambda: figures.receptive_fields(np.full((2, 64), np.nan), 8, 8),
    "silent neurons": lambda: figures.receptive_fields(np.ones((3, 64)), 8, 8, labels=np.full(3, -1), classes=DIGITS),
    "no change": lambda: figures.weight_change(np.ones((4, 64)), np.ones((4, 64)), 8, 8),
    "no images": lambda: figures.confusion(np.zeros((3, 4), int), "abc"),
    "one class": lambda: figures.confusion(np.array([[1]]), "a", accuracy=1.0),
    "long names": lambda: figures.confusion(np.eye(2, 3, dtype=int), ["long " * 20, "$" * 40]),
    "no values above 0": lambda: figures.histogram(np.zeros(9), "weight", "zeros", log_counts=True),
    "no values": lambda: figures.histogram([], "theta (mV)", "none"),
    "one value": lambda: figures.histogram([20.0], "theta (mV)", "one"),
    "zeros": lambda: figures.histogram(np.zeros(9), "theta (mV)", "zeros"),
    "nearly equal": lambda: figures.histogram(1.0 + 1e-16 * np.arange(9), "theta (mV)", "near"),
    "no neurons": lambda: figures.neurons_per_class(NONE, DIGITS),
    "no spikes": lambda: _raster(np.zeros((1, 350, 784), bool), np.zeros((1, 350, 1), bool)),
    "no steps": lambda: _raster(np.zeros((3, 0, 1), bool), np.zeros((3, 0, 1), bool)),
    "all spikes": lambda: _raster(np.ones((1, 2, 1), bool), np.ones((1, 2, 3), bool)),
    "no pairs": lambda: figures.stdp_window(NONE, NONE, "pair"),
    "no effect": lambda: figures.stdp_windows({"pair": (np.arange(-3, 4), np.zeros(7))}),
    "no accuracy": lambda: figures.accuracy_curve([], []),
    "one evaluation": lambda: figures.accuracy_curve([], [], evaluations=([60_000], [1.0]), chance=0.1),
    "accuracy of no images": lambda: figures.accuracy_curve([0], [0.0], evaluations=([0], [0.0])),
    "one accuracy": lambda: figures.accuracy_by_setting(["only"], [0.5]),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_input_is_drawn_without_warnings(case, tmp_path):
    figure = DEGENERATE[case]()
    figures.save_png(figure, tmp_path / "figure.png")
    image = _decoded(tmp_path / "figure.png")
    assert image.std() > 0
    # Nothing is cut off: the outermost pixels are blank.
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (edge == 255).all()


def test_a_png_has_the_figures_size_and_its_pixels(tmp_path):
    def new_figure():
        return figures.confusion(np.diag([1, 2, 3]), "abc")

    figure = new_figure()
    png = figures.to_png(figure)
    figures.save_png(new_figure(), tmp_path / "a.png")
    image = figures.to_image(new_figure())
    wide, tall = figure.get_size_inches()
    assert image.dtype == np.uint8 and image.shape == (round(100 * tall), round(100 * wide), 3)
    assert figures.size_in_pixels(figure) == image.shape[:2]
    assert (tmp_path / "a.png").read_bytes() == png
    np.testing.assert_array_equal(_decoded(tmp_path / "a.png"), image)
    with Image.open(tmp_path / "a.png") as opened:
        opened.verify()  # checks the CRC of every chunk


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        figures.save_png(figures.histogram([1.0, 2.0], "theta (mV)", "two"), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_draw_the_same_pictures_as_one_thread():
    def draw(number):
        matrix = np.arange(9).reshape(3, 3) + number
        return figures.to_image(figures.confusion(matrix, "abc", accuracy=number / 10))

    drawn = {}
    threads = [threading.Thread(target=lambda n=number: drawn.update({n: draw(n)})) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_array_equal(drawn[number], draw(number))


def test_matplotlib_is_imported_on_first_use_and_pyplot_never():
    code = """
import sys
from stdp_run.reporting import plots as figures
assert "matplotlib" not in sys.modules
figures.to_image(figures.receptive_fields([[1.0, 0.0, 0.0, 0.0]], 2, 2, labels=[0]))
figures.to_image(figures.raster([[[1]]], [[[1]]], [[[1]]], [[[9]]], "0"))
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=600)
