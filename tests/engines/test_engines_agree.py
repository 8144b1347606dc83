"""The two engines compute the same network on real images; learning off changes nothing; runs resume bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import oracle
from helpers.networks import (
    ALIF,
    ENGINES,
    EPOCH,
    N_LEARNED,
    all_pairs,
    both_engines,
    count,
    largest_difference,
    learn,
    learned,
    make,
    make_model,
    mnist,
    one_pair_per_rule,
    plain_network,
    same_bits,
)

from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING, Encoder, even_out, spikes_below
from stdp_run.engines.event.engine import EventEngine
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.network import initial_state
from stdp_run.rules.reduction import Reduction

# ------------------------------------------------------------------------------------------------------------------
# Learning on


@all_pairs
def test_engines_learn_the_same(pair):
    (torch_counts, torch_state), (event_counts, event_state) = learned("torch", pair), learned("event", pair)
    assert (torch_counts == event_counts).all()
    assert largest_difference(torch_state, event_state) < 1e-9
    if pair[0] == "post_pre_int":
        assert same_bits(torch_state, event_state)
        assert event_state.weight.dtype == event_state.theta.dtype == np.int32
    # The case is not idle: many spikes, of several neurons, and weights at their bound.
    model = make_model(pair)
    assert event_counts.sum() > 100
    assert (event_counts.sum(axis=0) > 0).sum() >= 3
    assert (event_state.weight != initial_state(model).weight).mean() > 0.1
    if pair[0] not in ("meta_nearest_online", "weight_dependent", "multiplicative"):  # which have soft bounds
        assert (event_state.weight == model.rule_parameters.w_max).sum() > 5


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "neuron"), [("nearest_online", "diehl_cook"), ("full_online", "lif_stdp")])
def test_engines_learn_the_same_from_200_intact_images(rule, neuron):
    options = {"a_post": 0.15, "a_pre": 1e-3, "w_norm": 120.0, "w_max": 0.3}
    model = make_model((rule, neuron), n_inputs=784, n_exc=24, n_steps=100, rate_hz=400.0, rule=options)
    networks = [make(engine, model) for engine in ENGINES]
    torch_counts, event_counts = (learn(network, mnist()[:200]) for network in networks)
    assert (torch_counts == event_counts).all()
    assert largest_difference(*(network.state() for network in networks)) < 1e-9
    assert event_counts.sum() > 4000
    assert (event_counts.sum(axis=0) > 0).all()
    # full_online brings rows to their norm after the clamp has cut them, so their largest weights end just below w_max.
    assert (networks[1].state().weight > 0.95 * 0.3).sum() > 20


def test_engines_stay_one_bit_for_bit_with_integers_on_intact_images():
    pair = ("post_pre_int", "diehl_cook_int")
    changed, of_neuron = {"nu1": 400, "w_max": 36, "max_threshold": 2000}, {"max_threshold": 2000}
    model = make_model(pair, n_inputs=784, n_exc=8, n_steps=100, rate_hz=300.0, rule=changed, neuron=of_neuron)
    networks = [make(engine, model) for engine in ENGINES]
    torch_counts, event_counts = (learn(network, mnist()[:25]) for network in networks)
    assert (torch_counts == event_counts).all()
    states = [network.state() for network in networks]
    assert same_bits(*states)
    assert event_counts.sum() > 200
    assert (states[0].weight == 36).sum() > 20
    assert states[0].weight.dtype == states[0].theta.dtype == np.int32


# Inhibition that leaves room for several neurons to fire in an image, in one step too.
WEAK = {"diehl_cook_int": 5}


@one_pair_per_rule
def test_engines_agree_on_who_learns_where_only_the_first_to_fire_do(pair):
    limit, weak = 2, {"w_ie": WEAK.get(pair[1], 4.0)}
    results = {}
    for k_winners in (limit, None):
        model = make_model(pair, neuron=weak, k_winners=k_winners)
        networks = [make(engine, model) for engine in ENGINES]
        torch_counts, event_counts = (learn(network, mnist(2)[:15]) for network in networks)
        states = [network.state() for network in networks]
        assert (torch_counts == event_counts).all()
        assert largest_difference(*states) < 1e-9
        results[k_winners] = states[1]
        assert ((event_counts > 0).sum(axis=1) > limit).sum() > 5, "the limit is not reached"
    assert largest_difference(*results.values()) > 1e-3


def test_engines_agree_where_ever_fewer_neurons_learn_from_an_image():
    pair = ("nearest_online", "diehl_cook")
    model = make_model(pair, neuron={"w_ie": 4.0}, k_winners=3)
    images = mnist(2)[:12]
    index, rates = np.arange(12), np.ones(12)
    falling = np.array([9, 9, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1])
    networks = [make(engine, model) for engine in ENGINES]
    counts = [network.learn(images, index, EPOCH, rates, falling) for network in networks]
    assert (counts[0] == counts[1]).all()
    states = [network.state() for network in networks]
    assert largest_difference(*states) < 1e-9
    # One image after the other, with a constant limit each: the same.
    one_by_one = make("event", model)
    for n, limit in enumerate(falling.tolist()):
        one = make("event", replace(model, k_winners=limit), one_by_one.state())
        one.learn(images[n : n + 1], index[n : n + 1], EPOCH, rates[:1])
        one_by_one = one
    assert same_bits(one_by_one.state(), states[1])
    constant = make("event", model)
    constant.learn(images, index, EPOCH, rates)
    assert largest_difference(constant.state(), states[1]) > 1e-3


@both_engines
def test_only_the_first_neurons_to_fire_in_an_image_change_their_weights(engine):
    weak = {"w_ie": 2.0}
    limit, n_steps = 2, 60
    model = make_model(("full_online", "lif_stdp"), rule={"w_norm": 30.0, "w_max": 10.0}, neuron=weak)
    state = initial_state(model)
    state.weight *= 30.0 / state.weight.sum(axis=1, keepdims=True)
    image = mnist(2)[:1]
    # The same image cut short after t steps tells who has fired by then: a spike train does not depend on its length.
    order = []
    for t in range(1, n_steps + 1):
        short = replace(model, encoder=Encoder(t, 500.0, 1.0), rule_parameters=still(model))
        (fired,) = np.nonzero(learn(make(engine, short, state), image)[0])
        order += [i for i in fired if i not in order]
    assert len(order) > 5
    network = make(engine, replace(model, k_winners=limit), state)
    counts = learn(network, image)
    changed = np.abs(network.state().weight - state.weight).max(axis=1) > 1e-6
    assert sorted(np.nonzero(changed)[0]) == sorted(order[:limit])
    # Thresholds rise with every spike all the same.
    assert network.state().theta == pytest.approx(0.05 * counts[0], rel=1e-4)


def still(model):
    """Return the rule's constants without learning."""
    return model.rule_parameters._replace(a_post=0.0, a_pre=0.0)


# Measured over 50 images, 790 spikes: counts are equal, weights differ by 1.2e-5 at most.
FLOAT32_DIFFERENCE = 6e-5


@pytest.mark.slow
def test_in_float32_the_engines_differ_by_rounding():
    model = make_model(("nearest_online", "lif_stdp"), dtype="float32")
    networks = [make(engine, model) for engine in ENGINES]
    torch_counts, event_counts = (learn(network, mnist(2)[:50]) for network in networks)
    assert (torch_counts == event_counts).all()
    states = [network.state() for network in networks]
    assert states[0].weight.dtype == states[1].weight.dtype == np.float32
    assert 0 < largest_difference(*states) < FLOAT32_DIFFERENCE


@pytest.mark.parametrize("k_winners", [None, 1])
@all_pairs
def test_both_engines_agree_with_the_network_in_plain_loops(pair, k_winners):
    n_images, n_steps, rate_hz, seed = 4, 40, 1000, 11
    images = mnist(4)[:n_images]
    exact = {"nu0": 1, "nu1": 2, "shift": 0, "trace_scale": 5, "max_threshold": 300}
    norm = {"alif_stdp": {"w_norm": 1.5}}.get(pair[1], {"w_norm": 8.0})
    changed = {"post_pre_int": exact, "meta_nearest_online": {}}.get(pair[0], norm)
    of_neuron = {"max_threshold": 300} if pair[1] == "diehl_cook_int" else {}
    options = {"seed": seed, "rule": changed, "neuron": of_neuron, "k_winners": k_winners}
    model = make_model(pair, 49, 4, n_steps, float(rate_hz), **options)
    plain = plain_network(pair, model, initial_state(model))
    networks = [make(engine, model) for engine in ENGINES]
    total = 0
    for learning, stream, epoch in ((True, SPIKES_LEARNING, EPOCH), (False, SPIKES_EVALUATING, 0)):
        counts = []
        for n, image in enumerate(images.tolist()):
            trains = [
                oracle.pixel_spikes(value, j, n, epoch, seed, stream, n_steps, rate_hz) if value else [0] * n_steps
                for j, value in enumerate(image)
            ]
            spikes = plain.present(list(zip(*trains, strict=True)), learning)
            counts.append([sum(each) for each in zip(*spikes, strict=True)])
        for network in networks:
            given = learn(network, images, rates=np.ones(n_images)) if learning else count(network, images)
            assert given.tolist() == counts
            state = network.state()
            assert np.abs(state.weight - np.array(plain.rule.weight)).max() < 1e-9
            assert np.abs(state.theta - [neuron.theta for neuron in plain.excitatory]).max() < 1e-9
        total += np.sum(counts)
    assert total > 20


@one_pair_per_rule
def test_an_image_can_be_presented_several_times_for_its_answer(pair):
    # In plain loops: each presentation starts from rest, has spikes of its own, and its counts are added.
    n_presentations, n_steps, rate_hz, seed = 4, 50, 600, 11
    norm = {} if pair[0] in ("post_pre_int", "meta_nearest_online") else {"w_norm": 8.0}
    model = make_model(pair, 49, 4, 40, float(rate_hz), seed=seed, rule=norm)
    model = replace(model, n_presentations=n_presentations, inference=replace(model.encoder, n_steps=n_steps))
    images = mnist(4)[:4]
    networks = [make(engine, model) for engine in ENGINES]
    for network in networks:
        learn(network, images)
    state = networks[1].state()
    assert largest_difference(networks[0].state(), state) < 1e-9

    plain = plain_network(pair, model, state)
    for excitatory, theta in zip(plain.excitatory, state.theta.tolist(), strict=True):
        excitatory.theta = theta
    expected = np.zeros((n_presentations, 4, 4), int)
    for number in range(n_presentations):
        for n, image in enumerate(images.tolist()):
            trains = [
                oracle.pixel_spikes(value, j, n, number, seed, SPIKES_EVALUATING, n_steps, rate_hz)
                if value
                else [0] * n_steps
                for j, value in enumerate(image)
            ]
            spikes = plain.present(list(zip(*trains, strict=True)), False)
            expected[number, n] = np.sum(spikes, axis=0)
    assert (expected.sum(axis=(1, 2)) > 3).all()
    assert (expected != expected[0]).any()
    for network in networks:
        assert (count(network, images) == expected.sum(axis=0)).all()


class InSteps(EventEngine):
    """An event engine that advances every neuron at every step."""

    def _has_intervals(self) -> bool:
        return False


WIRINGS = {
    "as published": {},
    "weak inhibition": {"w_ie": 3.0},
    "no inhibition": {"w_ie": 0.0},
    "inhibition that excites": {"w_ie": -0.5},
    "low thresholds": {"v_threshold": -63.0, "w_ie": 20.0},
    "resting above the threshold": {"v_threshold": -66.0},
    "fast membranes": {"tau_v": 5.0, "v_threshold": -60.0},
    "thresholds that fall": {"theta_increment": -0.05, "tau_theta": 200.0},
}


def check_intervals(neuron: str, rule: dict, changed: dict) -> None:
    """Compare the counts of intervals with those of single steps, from images that are learned from and others."""
    model = make_model(("nearest_online", neuron), 784, 70, 250, 128.0, rule=rule, neuron=changed)
    intervals, steps = make("event", model), InSteps(model, initial_state(model))
    counts = learn(intervals, mnist()[:40])
    assert (learn(steps, mnist()[:40]) == counts).all()
    assert largest_difference(intervals.state(), steps.state()) < 1e-9
    evaluated = count(intervals, mnist()[:40])
    assert (count(steps, mnist()[:40]) == evaluated).all()
    assert counts.sum() > 200
    assert evaluated.sum() > 200


@pytest.mark.parametrize("wiring", WIRINGS)
def test_intervals_of_steps_give_what_single_steps_give(wiring):
    check_intervals("diehl_cook", {"w_norm": 78.4, "w_max": 1.0}, WIRINGS[wiring])


@pytest.mark.slow
def test_so_they_do_without_units():
    check_intervals("alif_stdp", {"w_norm": 15.0}, ALIF)


def test_without_its_bound_an_interval_would_miss_spikes():
    # Fast membranes have forgotten at the end of an interval what happened in its middle.
    changed, fast = {"w_norm": 78.4, "w_max": 1.0}, WIRINGS["fast membranes"]
    model = make_model(("nearest_online", "diehl_cook"), 784, 70, 250, 128.0, rule=changed, neuron=fast)
    engine = make("event", model)
    learn(engine, mnist()[:10])
    counts = count(engine, mnist()[:60])
    engine._inference.scratch[0].subthreshold.growth[:] = 0
    assert (count(engine, mnist()[:60]) != counts).any()


# ------------------------------------------------------------------------------------------------------------------
# Learning off


@all_pairs
def test_with_learning_off_counts_are_the_same_on_engines_threads_and_batches(pair):
    model, (_, state) = make_model(pair), learned("event", pair)
    images = mnist(2)[100:220]
    expected = count(make("torch", model, state), images, 100)
    assert expected.sum() > 100
    for n_threads in (1, 2, 5):
        assert (count(make("event", model, state, n_threads=n_threads), images, 100) == expected).all()
    for batch_size in (1, 7, 64):
        assert (count(make("torch", model, state, batch_size=batch_size), images, 100) == expected).all()
    # Some images, in another order, and a single one.
    chosen = np.array([110, 17, 3, 64])
    for engine in ENGINES:
        network = make(engine, model, state)
        assert (network.count_spikes(images[chosen], 100 + chosen) == expected[chosen]).all()
        assert (network.count_spikes(images[3:4], np.array([103])) == expected[3:4]).all()


@both_engines
@all_pairs
def test_with_learning_off_nothing_changes(pair, engine):
    model, (_, state) = make_model(pair), learned("event", pair)
    network = make(engine, model, state)
    before = network.state()
    assert same_bits(before, state)
    first, again = (count(network, mnist(2)[100:160], 100) for _ in range(2))
    assert (first == again).all()
    assert first.sum() > 50
    assert same_bits(network.state(), before)


@both_engines
@one_pair_per_rule
def test_evaluating_in_between_does_not_change_what_is_learned(pair, engine):
    network = make(engine, make_model(pair))
    images = mnist(2)[:N_LEARNED]
    counts = []
    for start in range(0, N_LEARNED, 10):
        count(network, mnist(2)[100:110], 100)
        counts.append(learn(network, images[start : start + 10], start))
    expected, state = learned(engine, pair)
    assert (np.concatenate(counts) == expected).all()
    assert same_bits(network.state(), state)


# ------------------------------------------------------------------------------------------------------------------
# Resuming


@both_engines
@all_pairs
def test_learning_in_several_calls_and_resuming_are_learning_in_one(pair, engine):
    model = make_model(pair)
    in_calls, resumed = make(engine, model), make(engine, model)
    counts, counts_resumed = [], []
    for start, stop in ((0, 7), (7, 8), (8, N_LEARNED)):
        images = mnist(2)[start:stop]
        counts.append(learn(in_calls, images, start))
        counts_resumed.append(learn(resumed, images, start))
        resumed = make(engine, model, resumed.state())
    expected, state = learned(engine, pair)
    assert (np.concatenate(counts) == expected).all()
    assert (np.concatenate(counts_resumed) == expected).all()
    assert same_bits(in_calls.state(), state)
    assert same_bits(resumed.state(), state)


@both_engines
def test_resuming_is_exact_in_float32_too_and_after_every_image(engine):
    model = make_model(("nearest_online", "lif_stdp"), dtype="float32")
    whole, resumed = make(engine, model), make(engine, model)
    counts = learn(whole, mnist(2)[:20])
    for n in range(20):
        assert (learn(resumed, mnist(2)[n : n + 1], n) == counts[n]).all()
        resumed = make(engine, model, resumed.state())
    assert same_bits(resumed.state(), whole.state())


@both_engines
def test_a_state_that_was_handed_out_or_in_is_a_copy(engine):
    model = make_model(("meta_nearest_online", "diehl_cook"))
    state = initial_state(model)
    before = {name: array.copy() for name, array in state.arrays().items()}
    network = make(engine, model, state)
    handed_out = network.state()
    learn(network, mnist(2)[:3])
    assert all((state.arrays()[name] == before[name]).all() for name in before)
    assert all((handed_out.arrays()[name] == before[name]).all() for name in before)
    after = network.state()
    for array in (*state.arrays().values(), *handed_out.arrays().values()):
        array[:] = 7
    assert same_bits(network.state(), after)


# ------------------------------------------------------------------------------------------------------------------
# Batches on the torch engine


def combine(reduction, changes):
    """Reduce the changes of one synapse in plain numbers."""
    if reduction == "sum":
        return sum(changes)
    if reduction == "mean":
        return sum(changes) / len(changes)
    return max(0.0, *changes) + min(0.0, *changes)


@pytest.mark.parametrize("reduction", ["sum", "mean", "max"])
def test_a_reduction_combines_the_changes_synapse_by_synapse(reduction):
    rng = np.random.default_rng(1)
    changes = rng.normal(size=(3, 6, 8)).round(3) * (rng.random((3, 6, 8)) < 0.8)
    assert (changes < 0).all(axis=0).any(), "some weights fall with every image"
    assert (changes > 0).all(axis=0).any()
    reduced = Reduction(reduction)(torch.from_numpy(changes)).numpy()
    expected = [[combine(reduction, changes[:, i, j].tolist()) for j in range(8)] for i in range(6)]
    assert reduced == pytest.approx(np.array(expected), abs=1e-15)
    assert (Reduction(reduction)(torch.from_numpy(changes[:1])).numpy() == changes[0]).all()


@pytest.mark.parametrize("reduction, expected", [("sum", [3, -3, 2]), ("mean", [1, -2, 1]), ("max", [2, -2, 2])])
def test_integer_changes_stay_integers_and_means_round_down(reduction, expected):
    changes = torch.tensor([[[2, -2, 5]], [[1, -1, -3]]], dtype=torch.int32)
    reduced = Reduction(reduction)(changes)
    assert reduced.dtype == torch.int32
    assert reduced.tolist() == [expected]


@pytest.mark.parametrize("reduction", ["sum", "mean", "max"])
def test_one_step_of_a_batch_reduces_what_its_images_would_change_alone(reduction):
    # One step: x is the input spike, y the output spike. So an image changes w by a_post - a_pre where both are.
    a_post, a_pre, norm, n_images = 0.05, 0.02, 78.4, 5
    constants = {"a_post": a_post, "a_pre": a_pre, "w_norm": norm, "w_max": 1.0}
    pair = ("nearest_online", "lif_stdp")
    model = make_model(pair, n_inputs=784, n_exc=30, n_steps=1, rate_hz=900.0, rule=constants)
    images, index = mnist()[:n_images], np.arange(n_images)
    network = make("torch", model, batch_size=n_images, reduction=reduction)
    post = network.learn(images, index, EPOCH, np.ones(n_images))
    limits = torch.from_numpy(model.encoder.limits(images))
    pre = spikes_below(limits, torch.from_numpy(index), EPOCH, 0, 1, model.seed, SPIKES_LEARNING)[0].numpy()
    weight = initial_state(model).weight
    assert (post == (pre @ weight.T > 13)).all()
    assert 0.1 < post.mean() < 0.9

    for i in range(model.n_exc):
        row = []
        for j in range(model.n_inputs):
            changes = [(a_post - a_pre) * float(post[b, i] * pre[b, j]) for b in range(n_images)]
            row.append(weight[i, j] + combine(reduction, changes))
        expected = np.minimum(norm * np.array(row) / sum(row), 1)
        assert np.abs(network.state().weight[i] - expected).max() < 1e-12
    # Thresholds rise for every spike of every image, whatever the reduction.
    assert network.state().theta == pytest.approx(0.05 * post.sum(axis=0), abs=1e-6)


def test_images_that_learn_side_by_side_do_not_disturb_each_other():
    # With nothing to learn and thresholds that stay, a batch spikes as its images do one by one.
    still = {"a_post": 0.0, "a_pre": 0.0, "w_max": 1.0}
    constant = {"theta_increment": 0.0}
    model = make_model(("full_online", "lif_stdp"), rule=still, neuron=constant)
    state = initial_state(model)
    state.weight *= 30.0 / state.weight.sum(axis=1, keepdims=True)
    images = mnist(2)[:22]
    alone = learn(make("torch", model, state), images)
    together = learn(make("torch", model, state, batch_size=8), images)
    assert alone.sum() > 100
    assert (together == alone).all()


@pytest.mark.parametrize("reduction", ["sum", "mean", "max"])
@one_pair_per_rule
def test_batches_of_every_rule_learn_and_resume_exactly(pair, reduction):
    model = make_model(pair)
    options = {"batch_size": 6, "reduction": reduction}
    whole, resumed = make("torch", model, **options), make("torch", model, **options)
    counts = learn(whole, mnist(2)[:14])
    assert counts.sum() > 10
    first = learn(resumed, mnist(2)[:12])
    resumed = make("torch", model, resumed.state(), **options)
    assert (np.concatenate([first, learn(resumed, mnist(2)[12:14], 12)]) == counts).all()
    assert same_bits(resumed.state(), whole.state())
    assert all(np.isfinite(array).all() for array in whole.state().arrays().values())


# ------------------------------------------------------------------------------------------------------------------
# Edges


EDGES = {
    "black images": {"black": True},
    "rate 0": {"rate_hz": 0.0},
    "a rate that saturates": {"rate_hz": 1e6},
    "one neuron": {"n_exc": 1},
    "one step": {"n_steps": 1, "rate_hz": 1000.0},
    "one image": {"n_images": 1},
    "no image": {"n_images": 0},
    "one neuron, one step, one image": {"n_exc": 1, "n_steps": 1, "n_images": 1},
    "16 neurons": {"n_exc": 16},
    "33 neurons, 5 steps": {"n_exc": 33, "n_steps": 5, "rate_hz": 1000.0},
}


@pytest.mark.parametrize("edge", EDGES)
@one_pair_per_rule
def test_engines_agree_and_stay_finite_at_the_edges(pair, edge):
    options = dict(EDGES[edge])
    images = mnist(2)[: options.pop("n_images", 4)]
    if options.pop("black", False):
        images = np.zeros_like(images)
    model = make_model(pair, **options)
    results = []
    for engine in ENGINES:
        network = make(engine, model)
        results.append((learn(network, images), count(network, images), network.state()))
    (torch_counts, torch_off, torch_state), (event_counts, event_off, event_state) = results
    assert torch_counts.shape == event_counts.shape == (len(images), model.n_exc)
    assert (torch_counts == event_counts).all()
    assert (torch_off == event_off).all()
    assert all(np.isfinite(array).all() for array in event_state.arrays().values())
    assert largest_difference(torch_state, event_state) < 1e-9
    if edge in ("black images", "rate 0", "no image"):
        assert not event_counts.any()
    if edge in ("a rate that saturates", "16 neurons", "one neuron"):
        assert event_counts.any()


@both_engines
def test_a_rate_of_0_learns_nothing_but_thresholds(engine):
    model = make_model(("nearest_online", "diehl_cook"), rule={"w_max": 1.0})
    state = initial_state(model)
    state.weight *= 30.0 / state.weight.sum(axis=1, keepdims=True)
    network = make(engine, model, state)
    counts = learn(network, mnist(2)[:5], rates=np.zeros(5))
    assert np.abs(network.state().weight - state.weight).max() < 1e-12
    assert network.state().theta == pytest.approx(0.05 * counts.sum(axis=0), rel=1e-4)


@pytest.mark.parametrize("engine", ["torch", "event", "auto"])
def test_the_factory_makes_the_engine_that_is_asked_for(engine):
    model = make_model(("nearest_online", "diehl_cook"))
    made = make_engine(model, initial_state(model), EngineOptions(engine, "cpu", threads=1))
    assert made.name == ("event" if engine == "auto" else engine)
    expected = learned("event", ("nearest_online", "diehl_cook"))[0][:3]
    assert (learn(made, mnist(2)[:3]) == expected).all()


def test_engines_present_the_images_that_the_encoder_prepares():
    pair = ("nearest_online", "diehl_cook")
    plain = make_model(pair)
    even = replace(plain, encoder=replace(plain.encoder, gamma=0.5, mean_pixel=40.0))
    images = mnist(2)[:12]
    prepared = even_out(images, 0.5, 40.0)
    assert (prepared != images).any(axis=1).all()
    expected, expected_off = learned_counts("event", plain, prepared)
    assert expected.sum() > 50
    for engine in ENGINES:
        counts, off = learned_counts(engine, even, images)
        assert (counts == expected).all()
        assert (off == expected_off).all()


def learned_counts(engine, model, images):
    """Return the counts of images while they are learned from, and afterwards."""
    network = make(engine, model)
    return learn(network, images), count(network, images)
