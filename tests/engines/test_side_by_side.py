"""K networks side by side learn what each learns alone, on either way of having them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_engines import EPOCH, ONE_PER_RULE, largest_difference, make_model, mnist, pair_name, same_bits

from stdp_run.engines import make_networks
from stdp_run.engines.dense.engine import TorchEngine, TorchNetworks
from stdp_run.engines.side_by_side import EngineNetworks, Lesson
from stdp_run.network import Encoder, initial_state

N_NETWORKS, N_IMAGES = 3, 10


def lessons(n_networks=N_NETWORKS, first=0, learners=None) -> list[Lesson]:
    """Return for each network an order of its own of the same images."""
    rng = np.random.default_rng(first)
    orders = [rng.permutation(N_IMAGES) for _ in range(n_networks)]
    return [Lesson(mnist(2)[order], order, np.linspace(1, 0.5, N_IMAGES), learners) for order in orders]


def learn_alone(model, lesson, device="cpu"):
    engine = TorchEngine(model, initial_state(model), device)
    counts = engine.learn(lesson.pixels, lesson.image_index, EPOCH, lesson.rate, lesson.learners)
    return counts, engine


def seeds(pair):
    return [replace(make_model(pair), seed=seed) for seed in (3, 4, 70)]


def constants(pair):
    """Return networks that differ in a constant of the rule, one of the neurons and one of the encoder at once."""
    models = []
    for k in range(N_NETWORKS):
        model = make_model(pair, neuron={"theta_increment": (0.05, 0.1, 0.2)[k], "refractory": (5, 0, 2)[k]})
        rule = model.rule_parameters._replace(a_post=(0.1, 0.05, 0.02)[k], d_pre=(0.9, 0.95, 0.8)[k])
        encoder = Encoder(60, (500.0, 400.0, 300.0)[k], 1.0)
        models.append(replace(model, rule_parameters=rule, encoder=encoder))
    return models


def assert_like_alone(networks, models, given, device="cpu"):
    counts = networks.learn(range(len(models)), given, EPOCH)
    answers = networks.count_spikes(range(len(models)), mnist(2)[:5], np.arange(5))
    for k, model in enumerate(models):
        expected, alone = learn_alone(model, given[k], device)
        assert expected.sum() > 20
        assert (counts[k] == expected).all()
        assert largest_difference(networks.state(k), alone.state()) < 1e-9
        assert (answers[k] == alone.count_spikes(mnist(2)[:5], np.arange(5))).all()
    assert any((counts[0] != other).any() for other in counts[1:]), "the networks are not copies of one"


@pytest.mark.parametrize("pair", ONE_PER_RULE, ids=pair_name)
def test_networks_with_seeds_of_their_own_learn_what_each_learns_alone(pair):
    models = seeds(pair)
    networks = TorchNetworks(models, [initial_state(model) for model in models])
    assert_like_alone(networks, models, lessons())


@pytest.mark.parametrize("pair", ONE_PER_RULE[:2], ids=pair_name)
def test_networks_with_constants_of_their_own_learn_what_each_learns_alone(pair):
    models = constants(pair)
    networks = TorchNetworks(models, [initial_state(model) for model in models])
    assert_like_alone(networks, models, lessons())


def test_in_float32_constants_keep_the_digits_that_theta_needs():
    pair = ONE_PER_RULE[0]
    models = [replace(model, dtype="float32") for model in constants(pair)]
    models = [
        replace(m, neuron_parameters=m.neuron_parameters._replace(d_theta=1 - 1e-7 * k)) for k, m in enumerate(models)
    ]
    networks = TorchNetworks(models, [initial_state(model) for model in models])
    networks.learn(range(3), lessons(), EPOCH)
    for k, model in enumerate(models):
        _, alone = learn_alone(model, lessons()[k])
        assert networks.state(k).weight.dtype == np.float32
        assert networks.state(k).theta == pytest.approx(alone.state().theta, abs=1e-12)
        assert networks.state(k).weight == pytest.approx(alone.state().weight, abs=1e-4)


def test_who_learns_is_limited_by_network_and_image():
    models = [
        replace(model, max_learners=limit) for model, limit in zip(seeds(ONE_PER_RULE[0]), (1, 3, None), strict=True)
    ]
    given = lessons()
    given[1] = given[1]._replace(learners=np.arange(N_IMAGES, 0, -1))
    assert_like_alone(TorchNetworks(models, [initial_state(model) for model in models]), models, given)


@pytest.mark.parametrize("pair", ONE_PER_RULE[1:3], ids=pair_name)
def test_those_that_do_not_take_part_stay_as_they_are_and_the_others_do_not_notice(pair):
    models = seeds(pair)
    states = [initial_state(model) for model in models]
    together, some = TorchNetworks(models, states), TorchNetworks(models, states)
    given = lessons()
    together.learn(range(3), given, EPOCH)
    some.learn([0, 2], [given[0], given[2]], EPOCH)
    assert same_bits(some.state(1), TorchNetworks(models, states).state(1))
    some.learn([1], [given[1]], EPOCH)
    assert all(same_bits(some.state(k), together.state(k)) for k in range(3))
    assert (some.count_spikes([1], mnist(2)[:3], np.arange(3))[0] > 0).any()


def test_networks_on_threads_learn_the_same_bits_as_alone():
    models = seeds(ONE_PER_RULE[0])
    states = [initial_state(model) for model in models]
    networks = make_networks(models, states, engine="event", threads=2)
    assert isinstance(networks, EngineNetworks)
    given = lessons()
    networks.learn(range(3), given, EPOCH)
    for k, model in enumerate(models):
        alone = make_networks([model], [states[k]], engine="event", threads=1)
        alone.learn([0], [given[k]], EPOCH)
        assert same_bits(networks.state(k), alone.state(0))


def test_what_cannot_be_one_operation_takes_turns_and_says_so(caplog):
    models = seeds(ONE_PER_RULE[0])
    quiet = [replace(m, encoder=replace(m.encoder, min_spikes=5, rate_step_hz=100.0, max_repeats=2)) for m in models]
    caplog.set_level("INFO")
    networks = make_networks(quiet, [initial_state(model) for model in quiet], engine="torch", device="cpu", threads=1)
    assert isinstance(networks, EngineNetworks)
    assert "take turns: encoder.min_spikes" in caplog.text
    assert_like_alone(networks, quiet, lessons())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("pair", ONE_PER_RULE, ids=pair_name)
def test_networks_on_a_gpu_learn_what_each_learns_alone_on_the_cpu(pair):
    models = seeds(pair)
    networks = TorchNetworks(models, [initial_state(model) for model in models], "cuda")
    assert_like_alone(networks, models, lessons())
