"""A first layer against plain loops over positions and blocks, on both engines; and its cache."""

import logging
import os
import zlib

import numpy as np
import pytest
from helpers.networks import ENGINES, both_engines
from helpers.runs import settings_of

from stdp_run.config.build import build_first_layer
from stdp_run.engines.dense.engine import TorchEngine
from stdp_run.evaluation.shifts import shifted
from stdp_run.files import cache_folder, write_cached
from stdp_run.inference import first_layer
from stdp_run.inference.first_layer import FirstLayer, largest_cosine
from stdp_run.network import NetworkState

N_EXC = 5
SIZES = ("dataset.height=9", "dataset.width=8", "first_layer.dataset.height=3", "first_layer.dataset.width=4")
COMMAND = (
    *("dataset=image_folder", *SIZES, "first_layer=patches", f"first_layer.n_exc={N_EXC}"),
    *("first_layer.block=2", "first_layer.min_contrast=1.1", "first_layer.spike_value=60", "seed=7"),
    *("first_layer.encoder.on_off=false", "first_layer.encoder.mean_pixel=80"),
)
RNG = np.random.default_rng(3)
IMAGES = RNG.integers(256, size=(6, 9, 8)).astype(np.uint8) * (RNG.random((6, 9, 8)) < 0.3).astype(np.uint8)
FLAT = IMAGES.reshape(6, -1)
STATE = NetworkState(RNG.uniform(0, 2, (N_EXC, 12)), RNG.uniform(0, 1, N_EXC))


def make(*overrides: str, engine: str = "torch", state: NetworkState = STATE) -> FirstLayer:
    """Return a first layer of the command and some more."""
    settings = settings_of(*COMMAND, *overrides)
    network = ENGINES[engine](build_first_layer(settings), state)
    return FirstLayer(settings.first_layer, settings.dataset, state, network)


@both_engines
@pytest.mark.parametrize("stride", [1, 2])
def test_spikes_of_every_position_are_summed_over_blocks(engine, stride):
    layer = make(f"first_layer.stride={stride}", engine=engine)
    settings = settings_of(*COMMAND)
    network = ENGINES[engine](build_first_layer(settings), STATE)
    rows, columns = range(0, 9 - 3 + 1, stride), range(0, 8 - 4 + 1, stride)
    blocks = (-(-len(rows) // 2), -(-len(columns) // 2))
    middles = [[2 * (block + 0.5) - 0.5 for block in range(n)] for n in blocks]
    expected, empty = np.zeros((6, *blocks, N_EXC)), 0
    for n, image in enumerate(IMAGES):
        for down, top in enumerate(rows):
            for across, left in enumerate(columns):
                patch = image[top : top + 3, left : left + 4]
                if np.linalg.norm(patch / 255 - (patch / 255).mean()) < 1.1:
                    empty += 1
                    continue
                position = down * len(columns) + across
                [spikes] = network.count_spikes(patch.reshape(1, 12), np.array([position]))
                for i, j in np.ndindex(*blocks):
                    near = [max(0, 1 - abs(down - middles[0][i]) / 2), max(0, 1 - abs(across - middles[1][j]) / 2)]
                    expected[n, i, j] += near[0] * near[1] * spikes
    [counts] = layer.counts(FLAT)
    assert empty and expected.max() > 2
    assert (counts == 16 * expected.reshape(6, -1)).all()
    assert counts.shape[1] == settings_of(*COMMAND, f"first_layer.stride={stride}").n_inputs
    assert (layer.seen(counts) == np.minimum(np.rint(60 * expected.reshape(6, -1)), 255)).all()


def test_an_answer_depends_on_the_image_and_the_seed_alone_and_is_the_first_view(monkeypatch):
    layer = make()
    whole = layer.counts(FLAT)
    monkeypatch.setattr(first_layer, "IMAGES_AT_ONCE", 4)
    assert (layer.counts(FLAT[::-1]) == whole[:, ::-1]).all()
    assert (layer.counts(FLAT[2:3]) == whole[:, 2:3]).all()
    assert (layer.counts(FLAT, shifts=2)[:1] == whole).all()
    assert not (make("seed=8").counts(FLAT) == whole).all()
    assert (make("first_layer.seed=7", "seed=8").counts(FLAT) == whole).all()


def test_views_are_the_answers_to_shifted_images():
    """Black and white pixels spike in no step and in every step, so that random numbers do not matter."""
    images = np.where(IMAGES > 150, 255, 0).astype(np.uint8)
    layer = make("first_layer.encoder.max_rate_hz=1000", "first_layer.encoder.mean_pixel=null")
    counts = layer.counts(images.reshape(6, -1), shifts=1)
    for view, moved in zip(counts, shifted(images, 1), strict=True):
        assert (view == layer.counts(moved.reshape(6, -1))[0]).all() and view.any()


def test_on_and_off_inputs_are_drawn_as_their_difference():
    on, off = STATE.weight, np.roll(STATE.weight, 1, axis=1)
    both = NetworkState(np.concatenate([on, off], axis=1), STATE.theta)
    drawn = make("first_layer.encoder.on_off=true", state=both).projection()
    expected = make(state=NetworkState(on - off, STATE.theta)).projection()
    np.testing.assert_allclose(drawn, expected, atol=1e-6)


def test_the_largest_cosine_is_1_if_two_neurons_are_alike_up_to_a_factor():
    weight = np.array([[3.0, 0, 4, 0], [0, 2, 0, 0], [0.3, 0, 0.4, 0.5]])
    assert largest_cosine(weight) == pytest.approx(0.5**0.5)
    assert largest_cosine(np.vstack([weight, 7 * weight[1]])) == pytest.approx(1)
    assert largest_cosine(np.zeros((2, 3))) == 0


def test_an_input_is_drawn_as_its_neuron_at_all_positions_of_its_block():
    fields = make().projection().reshape(4, 3, N_EXC, 9, 8)  # 7 x 5 positions in blocks of 2 x 2
    expected, total = np.zeros((9, 8)), 0.0
    for top in range(7):
        for left in range(5):
            share = max(0, 1 - abs(top - 2.5) / 2) * max(0, 1 - abs(left - 4.5) / 2)  # of block (1, 2)
            expected[top : top + 3, left : left + 4] += share * STATE.weight[1].reshape(3, 4)
            total += share
    np.testing.assert_allclose(fields[1, 2, 1], expected / total, rtol=1e-5)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder of the cache, which is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder(first_layer.CACHE)


def test_what_was_computed_is_taken_from_the_cache(kept, monkeypatch):
    layer = make()
    counts = layer.counts(FLAT, cached=True)
    assert (layer.counts(FLAT) == counts).all() and len(list(kept.iterdir())) == 1
    activity = layer.activity  # of the last call, which computed again
    monkeypatch.delattr(TorchEngine, "count_spikes")
    again = make()
    assert (again.counts(FLAT, cached=True) == counts).all()
    assert (again.activity == activity).all() and activity.min() > 0
    for other in (
        make("seed=8"),
        make("first_layer.block=3"),
        make("first_layer.min_contrast=1"),
        make("first_layer.neuron.w_ie=1"),
        make("first_layer.evaluator.w_ie=1"),
        make(state=NetworkState(STATE.weight, STATE.theta + 1)),
    ):
        with pytest.raises(AttributeError, match="count_spikes"):
            other.counts(FLAT, cached=True)
    monkeypatch.setattr(first_layer, "PROGRAM_DIGEST", b"of another version")
    with pytest.raises(AttributeError, match="count_spikes"):
        make().counts(FLAT, cached=True)


def test_a_damaged_file_is_made_again(kept):
    counts = make().counts(FLAT, cached=True)
    [file] = kept.iterdir()
    intact = file.read_bytes()
    for damaged in (b"", intact[:-1], intact[:-1] + bytes([intact[-1] ^ 1]), zlib.compress(b"other")):
        file.write_bytes(damaged)
        assert (make().counts(FLAT, cached=True) == counts).all()
        assert file.read_bytes() == intact


def test_the_least_recently_used_files_leave_a_full_cache(kept):
    noise = RNG.bytes(57)  # 100 bytes when compressed
    for age, name in enumerate("cba"):
        assert write_cached(first_layer.CACHE, name, noise, 1000)
        os.utime(kept / name, (1000 - age, 1000 - age))
    write_cached(first_layer.CACHE, "d", noise, 300)
    assert {file.name for file in kept.iterdir()} == {"d", "c", "b"}


def test_a_cache_that_cannot_be_written_is_named_once(kept, monkeypatch, caplog):
    kept.parent.parent.mkdir(exist_ok=True)
    kept.parent.write_text("a file where the folder would be")
    monkeypatch.setattr(first_layer, "IMAGES_AT_ONCE", 2)
    with caplog.at_level(logging.WARNING):
        counts = make().counts(FLAT, cached=True)
    assert caplog.text.count("the cache cannot be written") == 1
    assert (counts == make().counts(FLAT)).all()
