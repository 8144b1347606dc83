"""Random numbers: the published vectors, exact spike probabilities, and trains that depend on nothing but their key."""

from functools import cache

import numpy as np
import pytest
import torch
from helpers import oracle

from stdp_run.config.build import build_rule, published_parameters
from stdp_run.datasets import MNIST
from stdp_run.encoding import (
    SPIKES_EVALUATING,
    SPIKES_LEARNING,
    WEIGHTS,
    even_out,
    image_order,
    philox,
    spike_thresholds,
    spikes_below,
    words_of_synapses,
)
from stdp_run.engines.event.jit import Kernel
from stdp_run.engines.event.sampling import make_trains, sample_spikes, train_of
from stdp_run.network import Encoder, Model, initial_state
from stdp_run.neurons import LIF, IntegerDiehlCook
from stdp_run.parameters import named_parameters

# Published with Random123 (kat_vectors, "philox4x32 10"): counter, key, words.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
SEED = 20250607


def words_of(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """The first 30 training images, [30, 784]."""
    return MNIST().load().train.pixels[:30].reshape(30, 784)


sample = cache(lambda: Kernel(sample_spikes))


def torch_train(images, index, n_steps, rate_hz, epoch=0, seed=SEED, stream=SPIKES_LEARNING) -> np.ndarray:
    """Return what the torch engine samples, [T, B, I]."""
    limits = torch.from_numpy(Encoder(n_steps, rate_hz, 1.0).limits(np.array(images)))
    return spikes_below(limits, torch.tensor(index), epoch, 0, n_steps, seed, stream).numpy()


def event_train(image, index, n_steps, rate_hz, epoch=0, seed=SEED, stream=SPIKES_LEARNING) -> np.ndarray:
    """Return what the event engine samples, [T, I]."""
    train = train_of(make_trains(1, n_steps, len(image)), 0)
    sample()(image, spike_thresholds(rate_hz, 1.0), index, epoch, seed, stream, train)
    spikes = np.zeros((n_steps, len(image)), np.uint8)
    for t in range(n_steps):
        places = train.active_inputs[train.ranks[train.first[t] : train.first[t + 1]]]
        assert (np.diff(places.astype(int)) > 0).all(), "pixels ascend, none twice"
        spikes[t, places] = 1
    return spikes


# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counter, key, words", KNOWN_ANSWERS)
def test_philox_gives_the_published_words_everywhere(counter, key, words):
    numbers, kernel = [*words_of(counter), *words_of(key)], Kernel(philox)
    assert list(oracle.philox(numbers[:4], numbers[4:])) == words_of(words)
    with np.errstate(over="ignore"):
        by_numpy = philox(*(np.array([n], np.int64) for n in numbers))
    assert [int(word[0]) for word in by_numpy] == words_of(words)
    by_torch = philox(*(torch.tensor([n]) for n in numbers))
    assert [word.item() for word in by_torch] == words_of(words)
    assert list(kernel(*(np.int64(n) for n in numbers))) == words_of(words)


def test_philox_is_the_same_for_random_counters_everywhere():
    numbers = np.random.default_rng(1).integers(0, 2**32, (200, 6))
    expected = np.array([oracle.philox(row[:4], row[4:]) for row in numbers.tolist()])
    with np.errstate(over="ignore"):
        assert (np.stack(philox(*numbers.T), axis=1) == expected).all()
    assert (torch.stack(philox(*torch.from_numpy(numbers.T.copy())), dim=1).numpy() == expected).all()
    kernel = Kernel(philox)
    assert (np.array([kernel(*row) for row in numbers]) == expected).all()


# 1000 Hz x 1 ms is p = 1 for white; 5000 Hz is above 1 from pixel value 51 on.
@pytest.mark.parametrize("rate_hz, dt_ms", [(128, 1), (400, 1), (1000, 1), (5000, 1), (63.75, 0.5), (155, 1), (0, 1)])
def test_spike_threshold_is_exactly_floor_p_times_2_to_32(rate_hz, dt_ms):
    table = spike_thresholds(float(rate_hz), float(dt_ms))
    assert table.dtype == np.int64
    assert table.tolist() == [oracle.spike_threshold(rate_hz, dt_ms, value) for value in range(256)]


def test_a_pixel_with_p_of_1_or_more_spikes_at_every_step_and_a_black_one_never():
    image = np.array([0, 50, 51, 255], np.uint8)
    table = spike_thresholds(5000.0, 1.0)
    assert table[51] == table[255] == 2**32
    assert table[50] < 2**32
    train = torch_train([image], [0], 500, 5000.0)[:, 0]
    assert train[:, 2:].all()
    assert not train[:, 0].any()
    assert 0 < train[:, 1].sum() < 500
    assert (event_train(image, 0, 500, 5000.0) == train).all()


def test_at_rate_0_nothing_spikes(images):
    assert not spike_thresholds(0.0, 1.0).any()
    assert not torch_train(images[:3], [0, 1, 2], 40, 0.0).any()
    assert not event_train(images[0], 0, 40, 0.0).any()


@pytest.mark.parametrize("stream", [SPIKES_LEARNING, SPIKES_EVALUATING])
@pytest.mark.parametrize("place, epoch", [(0, 0), (59_999, 3)])
def test_both_engines_sample_the_train_that_the_specification_states(stream, place, epoch, images):
    image, n_steps = images[7], 101
    key = {"epoch": epoch, "seed": 2**32 - 1, "stream": stream}
    by_torch = torch_train([image], [place], n_steps, 400.0, **key)[:, 0]
    by_event = event_train(image, place, n_steps, 400.0, **key)
    assert (by_torch == by_event).all()
    bright, dim = np.argsort(image)[-3:], np.flatnonzero((image > 0) & (image < 128))[:3]
    for pixel in (*bright.tolist(), *dim.tolist(), 0):
        value = int(image[pixel])
        expected = oracle.pixel_spikes(value, pixel, place, epoch, key["seed"], stream, n_steps, 400)
        assert by_torch[:, pixel].tolist() == expected
    assert by_torch.sum() > 1000


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 5, 250, 256, 257, 300])
def test_engines_sample_the_same_for_every_number_of_steps(n_steps, images):
    for n in range(3):
        by_torch = torch_train(images[n : n + 1], [n], n_steps, 200.0)[:, 0]
        assert (event_train(images[n], n, n_steps, 200.0) == by_torch).all()


def test_a_longer_train_begins_with_the_shorter_one(images):
    assert (torch_train(images[:2], [0, 1], 50, 128.0) == torch_train(images[:2], [0, 1], 203, 128.0)[:50]).all()


def test_an_image_spikes_the_same_whatever_else_is_in_the_batch(images):
    alone = torch_train(images[4:5], [4], 60, 128.0)[:, 0]
    whole = torch_train(images, range(30), 60, 128.0)
    turned = torch_train(images[::-1], range(29, -1, -1), 60, 128.0)
    assert (whole[:, 4] == alone).all()
    assert (turned[:, 25] == alone).all()
    assert (whole[:, 4] != whole[:, 5]).any()


@pytest.mark.parametrize("changed", [{"seed": SEED + 1}, {"epoch": 1}, {"stream": SPIKES_EVALUATING}, {"place": 5}])
def test_seed_epoch_purpose_and_place_each_change_the_train(changed, images):
    changed = dict(changed)
    place = changed.pop("place", 4)
    first = torch_train(images[4:5], [4], 100, 128.0)
    other = torch_train(images[4:5], [place], 100, 128.0, **changed)
    # Independent trains rarely coincide: of about 1,300 spikes some 100 fall together.
    assert (first & other).sum() < 0.2 * first.sum()


def test_the_mean_rate_is_the_configured_one(images):
    n_steps = 400
    p = np.minimum(1, 0.128 * images.astype(float) / 255)
    train = torch_train(images, range(30), n_steps, 128.0)
    expected, sigma = n_steps * p.sum(), np.sqrt(n_steps * (p * (1 - p)).sum())
    assert abs(train.sum() - expected) < 4 * sigma
    # And pixel by pixel: standardised counts have variance 1.
    grey = p > 0.05
    scores = (train.sum(axis=0)[grey] - n_steps * p[grey]) / np.sqrt(n_steps * p[grey] * (1 - p[grey]))
    assert np.abs(scores).max() < 5.5
    assert scores.var() == pytest.approx(1, abs=5 * np.sqrt(2 / scores.size))


def test_spikes_of_one_pixel_are_independent_from_step_to_step():
    train = torch_train(np.full((1, 500), 255, np.uint8), [0], 400, 250.0)[:, 0].astype(float) - 0.25
    for lag in (1, 2, 3, 4, 8):
        covariance = (train[lag:] * train[:-lag]).mean()
        assert abs(covariance) < 5 * 0.25 * 0.75 / np.sqrt(train[lag:].size)


# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_images", [0, 1, 2, 1000, 60_000])
def test_the_order_of_images_is_a_permutation(n_images):
    order = image_order(n_images, 0, SEED)
    assert order.dtype == np.int64
    assert (np.sort(order) == np.arange(n_images)).all()


def test_the_order_is_fixed_by_seed_and_epoch_and_differs_between_them():
    orders = [image_order(1000, epoch, seed) for epoch in (0, 1) for seed in (0, 1)]
    assert (image_order(1000, 1, 0) == orders[2]).all()
    for a in range(4):
        for b in range(a):
            # Two random permutations agree in about one place.
            assert (orders[a] == orders[b]).sum() < 10
        assert (orders[a] == np.arange(1000)).sum() < 10


def test_the_order_of_images_sorts_them_by_their_random_words():
    words = [oracle.philox((n, 0, 0, 2), (SEED, 2))[:2] for n in range(300)]
    assert image_order(300, 2, SEED).tolist() == sorted(range(300), key=lambda n: words[n])


# ------------------------------------------------------------------------------------------------------------------


def fresh_state(neuron, n_exc, n_inputs, seed, **wiring):
    names = "nearest_online" if neuron.arithmetic == "float" else "post_pre_int"
    rule, constants = published_parameters(names, n_inputs)
    rule_constants = build_rule(rule, constants, 1.0, n_inputs)
    known = dict.fromkeys(neuron.parameters, 1) | wiring
    p = named_parameters(neuron, known, 1.0)
    return initial_state(Model(n_inputs, n_exc, rule, rule_constants, neuron, p, Encoder(1, 1.0, 1.0), seed, "float64"))


def test_initial_weights_are_uniform_below_0_3():
    weight = fresh_state(LIF, 101, 784, 1, w_init_max=0.3).weight
    assert weight.shape == (101, 784)
    assert weight.min() >= 0
    assert weight.max() < 0.3
    counts, _ = np.histogram(weight, 30, (0, 0.3))
    expected = weight.size / 30
    assert ((counts - expected) ** 2 / expected).sum() < 29 + 5 * np.sqrt(2 * 29)
    assert abs(np.corrcoef(weight[:, 1:].ravel(), weight[:, :-1].ravel())[0, 1]) < 5 / np.sqrt(weight.size)
    assert abs(np.corrcoef(weight[1:].ravel(), weight[:-1].ravel())[0, 1]) < 5 / np.sqrt(weight.size)


def test_initial_integer_weights_are_uniform_from_0_to_32():
    state = fresh_state(IntegerDiehlCook, 101, 784, 1, w_init_max=32, threshold=213)
    assert state.weight.dtype == np.int32
    assert (state.theta == 213).all()
    counts = np.bincount(state.weight.ravel())
    assert len(counts) == 33
    expected = state.weight.size / 33
    assert ((counts - expected) ** 2 / expected).sum() < 32 + 5 * np.sqrt(2 * 32)


@pytest.mark.parametrize("neuron, largest", [(LIF, 0.3), (IntegerDiehlCook, 32)])
def test_the_seed_controls_the_initial_weights(neuron, largest):
    first, again, other = (fresh_state(neuron, 9, 50, seed, w_init_max=largest).weight for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).mean() > 0.9


def test_initial_weights_come_of_the_stated_counters():
    words = words_of_synapses(7, 5, SEED, 0, WEIGHTS)
    for i in range(7):
        for j in range(5):
            assert words[i, j] == oracle.philox((i // 4, j, 0, 0), (SEED, 3))[i % 4]


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


def test_real_digits_come_out_even(images):
    before = images.mean(axis=1)
    even = even_out(images, 0.5, 15.0).mean(axis=1)
    assert before.max() > 2 * before.min()
    assert abs(even - 15.0).max() < 0.2
