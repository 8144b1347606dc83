"""Random numbers: the published vectors, exact spike probabilities, and trains that follow from their key."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from helpers import oracle
from helpers.networks import make_model
from hypothesis import example, given
from hypothesis import strategies as st

from stdp_run.encoding import (
    SPIKES_EVALUATING,
    SPIKES_LEARNING,
    WEIGHTS,
    even_out,
    image_order,
    on_off,
    philox,
    presentation_key,
    spike_thresholds,
    spikes_below,
    words_of_synapses,
)
from stdp_run.engines.event.jit import Kernel
from stdp_run.engines.event.sampling import make_trains, sample_spikes, train_of
from stdp_run.network import Encoder, initial_state

# Published with Random123 (kat_vectors, "philox4x32 10"): counter, key, words.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
SEED = 20250607


sample = cache(lambda: Kernel(sample_spikes))


def words_of(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def event_train(image, rate_hz, n_steps, *key) -> np.ndarray:
    """Return what the event engine samples, [T, I]."""
    train = train_of(make_trains(1, n_steps, len(image)), 0)
    sample()(image, spike_thresholds(rate_hz, 1.0), *key, train)
    spikes = np.zeros((n_steps, len(image)), np.uint8)
    for t in range(n_steps):
        fired = train.active_inputs[train.ranks[train.first[t] : train.first[t + 1]]]
        assert (np.diff(fired.astype(int)) > 0).all(), "pixels ascend, none twice"
        spikes[t, fired] = 1
    return spikes


@pytest.mark.parametrize("counter, key, words", KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter, key, words):
    assert list(oracle.philox(words_of(counter), words_of(key))) == words_of(words)
    with np.errstate(over="ignore"):
        by_numpy = philox(*(np.array([n], np.int64) for n in (*words_of(counter), *words_of(key))))
    assert [int(word[0]) for word in by_numpy] == words_of(words)


# 1000 Hz x 1 ms is p = 1 for white; 5000 Hz is above 1 from pixel value 51 on.
@pytest.mark.parametrize("rate_hz, dt_ms", [(128, 1), (400, 1), (1000, 1), (5000, 1), (63.75, 0.5), (155, 1), (0, 1)])
def test_spike_threshold_is_exactly_floor_p_times_2_to_32(rate_hz, dt_ms):
    table = spike_thresholds(float(rate_hz), float(dt_ms))
    assert table.dtype == np.int64
    assert table.tolist() == [oracle.spike_threshold(rate_hz, dt_ms, value) for value in range(256)]


def test_rates_rise_by_the_step():
    encoder = Encoder(700, 63.75, 0.5, min_spikes=5, rate_step_hz=32.0, max_repeats=3)
    table = encoder.thresholds_by_repeat
    rates = [63.75, 95.75, 127.75, 159.75]
    assert table.tolist() == [[oracle.spike_threshold(rate, 0.5, value) for value in range(256)] for rate in rates]
    assert len(replace(encoder, min_spikes=0).thresholds_by_repeat) == 1


def test_each_presentation_has_its_own_word_and_the_first_is_the_epoch():
    words = {presentation_key(epoch, repeat) for epoch in range(20) for repeat in range(256)}
    assert len(words) == 20 * 256 and max(words) < 2**32
    assert [presentation_key(epoch, 0) for epoch in range(20)] == list(range(20))


pixels = st.lists(st.integers(0, 255), min_size=1, max_size=9)
words = st.integers(0, 2**32 - 1)


@given(pixels, st.integers(1, 270), st.sampled_from([0.0, 200.0, 1000.0, 5000.0]), words, words, words, st.booleans())
@example([0, 50, 51, 255], 257, 5000.0, 59_999, 3, 2**32 - 1, True)
def test_both_engines_sample_the_train_that_the_specification_states(
    image, n_steps, rate_hz, index, epoch, seed, learning
):
    stream = SPIKES_LEARNING if learning else SPIKES_EVALUATING
    expected = np.array(oracle.image_spikes(image, index, epoch, seed, stream, n_steps, rate_hz))
    batch = np.array([image, image[::-1]], np.uint8)
    limits = torch.from_numpy(Encoder(n_steps, rate_hz, 1.0).limits(batch))
    by_torch = spikes_below(limits, torch.tensor([index, 5]), epoch, 0, n_steps, seed, stream).numpy()
    assert (by_torch[:, 0] == expected).all()
    assert (event_train(batch[0], rate_hz, n_steps, index, epoch, seed, stream) == expected).all()
    certain = np.array(image) * rate_hz >= 255_000
    assert expected[:, certain].all() and not expected[:, np.array(image) * rate_hz == 0].any()


@given(st.integers(0, 300), st.integers(0, 99), words)
@example(300, 2, SEED)
def test_the_order_of_images_sorts_them_by_their_random_words(n_images, epoch, seed):
    keys = [oracle.philox((n, 0, 0, epoch), (seed, 2))[:2] for n in range(n_images)]
    order = image_order(n_images, epoch, seed)
    assert order.dtype == np.int64
    assert order.tolist() == sorted(range(n_images), key=lambda n: keys[n])


@given(words)
@example(SEED)
def test_initial_weights_are_uniform_words_of_the_stated_counters(seed):
    lif = initial_state(make_model(("nearest_online", "lif_stdp"), 5, 7, seed=seed, neuron={"w_init_max": 0.3}))
    integer = initial_state(make_model(("post_pre_int", "diehl_cook_int"), 5, 7, seed=seed, neuron={"w_init_max": 32}))
    expected = [[oracle.philox((i // 4, j, 0, 0), (seed, 3))[i % 4] for j in range(5)] for i in range(7)]
    assert (words_of_synapses(7, 5, seed, 0, WEIGHTS) == expected).all()
    assert lif.weight == pytest.approx(0.3 * np.array(expected) / 2**32, rel=1e-15)
    assert integer.weight.tolist() == [[word * 33 // 2**32 for word in row] for row in expected]
    assert integer.weight.dtype == integer.theta.dtype == np.int32


def test_rows_sampled_in_parts_are_those_sampled_at_once():
    model = make_model(("nearest_online", "lif_stdp"), 3, 300, seed=SEED, neuron={"w_init_max": 1.0})
    assert (initial_state(model).weight * 2**32 == words_of_synapses(300, 3, SEED, 0, WEIGHTS)).all()


def test_on_and_off_inputs_are_the_excess_and_the_deficit_of_each_pixel_with_an_even_mean():
    encoder = Encoder(10, 100.0, 1.0, on_off=True, mean_pixel=30)
    assert encoder.prepare(np.array([[0, 0, 0, 40]], np.uint8)).tolist() == [[0, 0, 0, 120, 40, 40, 40, 0]]


@given(seed=st.integers(0, 1000), n_pixels=st.integers(1, 30))
def test_on_less_off_is_the_pixel_less_the_mean_and_one_of_them_is_0(seed, n_pixels):
    pixels = np.random.default_rng(seed).integers(256, size=(3, n_pixels), dtype=np.uint8)
    on, off = np.split(on_off(pixels).astype(int), 2, axis=1)
    assert (np.minimum(on, off) == 0).all()
    assert (np.abs(on - off - (pixels - pixels.mean(axis=1, keepdims=True))) <= 0.5).all()


def test_even_images_have_the_same_mean_and_the_same_shape():
    images = np.array([[0, 10, 20, 50], [0, 3, 0, 0], [200, 250, 100, 150], [0, 0, 0, 0]], np.uint8)
    even = even_out(images, mean_pixel=40)
    assert even.dtype == np.uint8
    # 160 in all for each: 2 times the first, 3 times 160 / 3, the third times 160 / 700; black stays black.
    assert even.tolist() == [[0, 20, 40, 100], [0, 160, 0, 0], [46, 57, 23, 34], [0, 0, 0, 0]]
    assert even_out(images, mean_pixel=100)[1].tolist() == [0, 255, 0, 0], "no pixel is whiter than white"


def test_gamma_bends_the_scale_of_grey_before_the_mean_is_set():
    grey = np.array([[0, 1, 64, 128, 255]], np.uint8)
    assert even_out(grey, gamma=0.5).tolist() == [[0, 16, 128, 181, 255]]  # 255 sqrt(v / 255)
    assert even_out(grey, gamma=2.0).tolist() == [[0, 0, 16, 64, 255]]
    assert even_out(grey, gamma=0.5, mean_pixel=58).tolist() == [[0, 8, 64, 90, 128]]
    assert even_out(grey) is grey
