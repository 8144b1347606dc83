"""K networks side by side learn what each learns alone, on either way of having them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.networks import (
    EPOCH,
    ONE_PER_RULE,
    each_of,
    largest_difference,
    make,
    make_model,
    mnist,
    one_pair_per_rule,
    same_bits,
)

from stdp_run.encoding import Encoder
from stdp_run.engines.base import InferenceBatch, TrainingBatch, answer
from stdp_run.engines.dense.engine import TorchEngine
from stdp_run.engines.dense.stacked import StackedNetworks
from stdp_run.engines.selection import EngineOptions, make_group
from stdp_run.engines.side_by_side import EngineGroup
from stdp_run.network import initial_state

pytestmark = pytest.mark.slow

N_NETWORKS, N_IMAGES = 3, 6


def batches() -> dict[int, TrainingBatch]:
    """Return for each network an order of its own of the same images, and an epoch of its own."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(N_IMAGES) for _ in range(N_NETWORKS)]
    rate = np.linspace(1, 0.5, N_IMAGES)
    return {k: TrainingBatch(mnist(2)[order], order, EPOCH + k, rate) for k, order in enumerate(orders)}


def to_count(n_images=5, first=0) -> InferenceBatch:
    part = slice(first, first + n_images)
    return InferenceBatch(mnist(2)[part], np.arange(first, first + n_images))


def stacked(models, device="cpu") -> StackedNetworks:
    return StackedNetworks(models, [initial_state(model) for model in models], device)


def learned_alone(model, batch):
    engine = TorchEngine(model, initial_state(model))
    return answer(engine, batch), engine


def seeds(pair):
    return [replace(make_model(pair), seed=seed, n_presentations=2) for seed in (3, 4, 70)]


def constants(pair):
    """Return networks that differ in a constant of the rule, one of the neurons and one of the encoder at once."""
    models = []
    for k in range(N_NETWORKS):
        model = make_model(pair, neuron={"theta_increment": (0.05, 0.1, 0.2)[k], "refractory": (5, 0, 2)[k]})
        rule = model.rule_parameters._replace(a_post=(0.1, 0.05, 0.02)[k], d_pre=(0.9, 0.95, 0.8)[k])
        encoder = Encoder(60, (500.0, 400.0, 300.0)[k], 1.0)
        models.append(replace(model, rule_parameters=rule, encoder=encoder))
    return models


def assert_like_alone(group, models, given):
    counts = group.answer(given)
    # Each counts images of its own, as many as it likes: the first ones are answered.
    asked = {k: to_count(5 + k, first=k) for k in range(len(models))}
    found = group.answer(asked)
    for k, model in enumerate(models):
        expected, alone = learned_alone(model, given[k])
        assert expected.sum() > 20
        assert (counts[k] == expected).all()
        assert largest_difference(group.state(k), alone.state()) < 1e-9
        assert len(found[k]) >= 5
        assert (found[k] == answer(alone, asked[k])[: len(found[k])]).all()
    assert any((counts[0] != counts[k]).any() for k in counts), "the networks are not copies of one"


@one_pair_per_rule
def test_networks_with_seeds_of_their_own_learn_what_each_learns_alone(pair):
    models = seeds(pair)
    assert_like_alone(stacked(models), models, batches())


@each_of(ONE_PER_RULE[:2])
def test_networks_with_constants_of_their_own_learn_what_each_learns_alone(pair):
    models = constants(pair)
    assert_like_alone(stacked(models), models, batches())


def test_in_float32_constants_keep_the_digits_that_theta_needs():
    models = [replace(model, dtype="float32") for model in constants(ONE_PER_RULE[0])]
    models = [
        replace(m, neuron_parameters=m.neuron_parameters._replace(d_theta=1 - 1e-7 * k)) for k, m in enumerate(models)
    ]
    networks = stacked(models)
    networks.answer(batches())
    for k, model in enumerate(models):
        _, alone = learned_alone(model, batches()[k])
        assert networks.state(k).weight.dtype == np.float32
        assert networks.state(k).theta == pytest.approx(alone.state().theta, abs=1e-12)
        assert networks.state(k).weight == pytest.approx(alone.state().weight, abs=1e-4)


def test_who_learns_is_limited_by_network_and_image():
    models = [
        replace(model, max_learners=limit) for model, limit in zip(seeds(ONE_PER_RULE[0]), (1, 3, None), strict=True)
    ]
    given = batches()
    given[1] = given[1]._replace(max_learners=np.arange(N_IMAGES, 0, -1))
    assert_like_alone(stacked(models), models, given)


@each_of(ONE_PER_RULE[1:3])
def test_those_that_are_not_asked_stay_as_they_are_and_the_others_do_not_notice(pair):
    models, given = seeds(pair), batches()
    together, some, fresh = (stacked(models) for _ in range(3))
    together.answer(given)
    some.answer({0: given[0], 2: given[2]})
    assert same_bits(some.state(1), fresh.state(1))
    some.answer({1: given[1]})
    assert all(same_bits(some.state(k), together.state(k)) for k in range(N_NETWORKS))


def test_training_is_answered_first_and_of_unequal_requests_as_many_images_as_the_shortest_has():
    models, given = seeds(ONE_PER_RULE[0]), batches()
    whole, parts = stacked(models), stacked(models)
    expected = whole.answer({0: given[0], 1: given[1]})
    first = {
        0: given[0],
        1: TrainingBatch(*(part[:4] if np.ndim(part) else part for part in given[1])),
        2: to_count(),
    }
    found = parts.answer(first)
    assert {k: len(counts) for k, counts in found.items()} == {0: 4, 1: 4}
    rest = {k: TrainingBatch(*(part[4:] if np.ndim(part) else part for part in given[k])) for k in (0, 1)}
    found = {k: np.concatenate([found[k], counts]) for k, counts in parts.answer(rest).items()}
    assert all((found[k] == expected[k]).all() and same_bits(parts.state(k), whole.state(k)) for k in (0, 1))
    assert list(parts.answer({2: to_count()})) == [2]


def test_networks_on_threads_learn_the_same_bits_as_alone():
    models, given = seeds(ONE_PER_RULE[0]), batches()
    states = [initial_state(model) for model in models]
    group = make_group(models, states, EngineOptions(engine="event", threads=2))
    assert isinstance(group, EngineGroup)
    mixed = {0: given[0], 1: to_count(), 2: given[2]}
    counts = group.answer(mixed)
    for k, model in enumerate(models):
        alone = make("event", model)
        assert (answer(alone, mixed[k]) == counts[k]).all()
        assert same_bits(group.state(k), alone.state())


def test_what_cannot_be_one_operation_takes_turns_and_says_so(caplog):
    models = [
        replace(m, encoder=replace(m.encoder, min_spikes=5, rate_step_hz=100.0, max_repeats=2))
        for m in seeds(ONE_PER_RULE[0])
    ]
    caplog.set_level("INFO")
    options = EngineOptions(engine="torch", device="cpu", threads=1)
    group = make_group(models, [initial_state(model) for model in models], options)
    assert isinstance(group, EngineGroup)
    assert "take turns: encoder.min_spikes" in caplog.text
    assert_like_alone(group, models, batches())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@one_pair_per_rule
def test_networks_on_a_gpu_learn_what_each_learns_alone_on_the_cpu(pair):
    models = seeds(pair)
    assert_like_alone(stacked(models, "cuda"), models, batches())
