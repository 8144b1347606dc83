"""Both engines are the network in plain loops; runs resume bit for bit; learning off changes nothing; batches."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers.networks import (
    ENGINES,
    EPOCH,
    ONE_PER_RULE,
    TRIPLET,
    both_engines,
    count,
    each_of,
    largest_difference,
    learn,
    make,
    make_model,
    mnist,
    one_pair_per_rule,
    pictures,
    plain_network,
    present_plainly,
    same_bits,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stdp_run.encoding import SPIKES_LEARNING, spikes_below
from stdp_run.engines.event.sampling import IMAGES_AT_ONCE
from stdp_run.network import Model, initial_state
from stdp_run.rules.base import Reduction
from stdp_run.rules.spike import OCCASIONS

FLOAT, _, META, SILENT, INT = ONE_PER_RULE


class Drawn(NamedTuple):
    """A network and its images; `changed` has constants, which a rule or a neuron group takes if it has them."""

    size: tuple[int, int, int] = (16, 4, 30)  # inputs, neurons, steps
    rate_hz: float = 600.0
    n_images: int = 4
    changed: dict = {}
    encoder: dict = {}
    seed: int = 3
    k_winners: int | None = None
    n_presentations: int = 1
    answer_w_ie: int | None = None  # inhibition with learning off; None: w_ie
    is_busy: bool = False  # some neurons fire, and weights change


def network_of(pair, drawn: Drawn) -> tuple[Model, np.ndarray]:
    """Return the model and its images."""
    n_inputs, n_exc, n_steps = drawn.size
    changed, known = dict(drawn.changed), make_model(pair, n_inputs)
    norm = (0.3 if pair[1] == "diehl_cook_2015" else 0.16) * n_inputs
    changed = {"w_norm": norm, **changed}
    if known.neuron.arithmetic == "int":
        changed.pop("w_max", None)  # the weights begin below the pair's
    if known.runs_on:
        changed.pop("normalise", None)  # its plain loops normalise before presentations
    rule = {name: value for name, value in changed.items() if name in known.rule.parameters}
    neuron = {name: value for name, value in changed.items() if name in known.neuron.parameters}
    options = {"rule": rule, "neuron": neuron, "encoder": drawn.encoder, "n_presentations": drawn.n_presentations}
    options |= {"seed": drawn.seed, "k_winners": drawn.k_winners, "inference_w_ie": drawn.answer_w_ie}
    model = make_model(pair, n_inputs, n_exc, n_steps, drawn.rate_hz, **options)
    model = replace(model, inference=replace(model.encoder, n_steps=n_steps + 7))
    return model, pictures(n_inputs)[: drawn.n_images]


def networks(sizes):
    """Return a strategy of networks."""
    again = {"min_spikes": st.integers(1, 20), "rate_step_hz": st.just(300.0), "max_repeats": st.integers(0, 2)}
    grey = {"gamma": st.sampled_from([1.0, 0.5]), "mean_pixel": st.sampled_from([None, 40.0])}
    changed = {
        "w_ie": st.sampled_from([0, 3, 20]),
        "v_threshold": st.sampled_from([-63.0, -66.0]),
        "normalise": st.sampled_from(OCCASIONS),
        "w_max": st.sampled_from([1, 2]),
        "refractory": st.integers(0, 7),
    }
    return st.builds(
        Drawn,
        st.tuples(*map(st.sampled_from, sizes)),
        rate_hz=st.sampled_from([0.0, 300.0, 600.0, 1e6]),
        n_images=st.integers(0, 3),
        changed=st.fixed_dictionaries({}, optional=changed),
        encoder=st.one_of(st.just({}), st.fixed_dictionaries(again), st.fixed_dictionaries(grey)),
        seed=st.integers(0, 2**32 - 1),
        k_winners=st.sampled_from([None, 1, 2]),
        n_presentations=st.integers(1, 2),
        answer_w_ie=st.sampled_from([None, 0, 5]),
        is_busy=st.just(False),
    )


AGAIN = {"min_spikes": 12, "rate_step_hz": 300.0, "max_repeats": 2}
small_networks = networks(([1, 9, 16], [1, 2, 4], [1, 5, 30]))
large_networks = networks(([49, 196], [1, 16, 17, 33], [1, 5, 30]))


@each_of([FLOAT, INT, META, SILENT])
@example(Drawn((49, 4, 40), 1000.0, is_busy=True), [4, 4, 4, 4])
@example(Drawn((49, 4, 40), 1000.0, changed={"w_ie": 4}, is_busy=True), [3, 2, 1, 1])
@example(Drawn((49, 4, 30), 600.0, encoder=AGAIN, n_presentations=3, is_busy=True), [4, 4, 4, 4])
@example(Drawn((49, 4, 40), 1000.0, answer_w_ie=1, is_busy=True), [4, 4, 4, 4])
@example(Drawn((9, 2, 300), 5000.0, n_images=1), [4, 4, 4, 4])  # more spikes of an input than fit into a byte
@example(Drawn(n_images=0), [4, 4, 4, 4])
@settings(max_examples=settings.default.max_examples // 3)
@given(small_networks, st.lists(st.integers(1, 4), min_size=4, max_size=4))
def test_both_engines_are_the_network_in_plain_loops(pair, drawn, winners):
    model, images = network_of(pair, drawn)
    integer = model.neuron.arithmetic == "int"
    n = len(images)
    rates = [1] * n if integer else np.linspace(1, 0, 4)[:n].tolist()
    plain = plain_network(pair, model, initial_state(model))
    learning, (n_presentations, *_) = present_plainly(plain, model, images, rates, winners)
    weight, theta = np.array(plain.weight), np.array(plain.theta)
    answers, activity = present_plainly(plain, model, images)
    assert not drawn.is_busy or (np.sum(learning) > 8 and np.sum(answers) > 0)
    assert drawn.encoder is not AGAIN or n_presentations > n
    for engine in ENGINES:
        network = make(engine, model)
        counts = network.learn(images, np.arange(n), EPOCH, np.array(rates, float), np.array(winners[:n], int))
        assert counts.shape == (n, model.n_exc) and counts.tolist() == learning
        state = network.state()
        assert np.abs(state.weight - weight).max() < (1e-9 if not integer else 1)
        assert np.abs(state.theta - theta).max() < (1e-9 if not integer else 1)
        assert np.concatenate([count(network, images[:1]), count(network, images[1:], 1)]).tolist() == answers
        assert network.take_activity().tolist() == activity, "of all calls with learning off"
        assert not network.take_activity().any()
        assert same_bits(network.state(), state)


@both_engines
def test_a_presentation_shows_the_view_of_its_turn(engine):
    """A black view evokes no spike, so each count is that of the presentations that show the image."""
    once, images = make_model(FLOAT), mnist(2)[:5]
    index, black = np.arange(5), np.zeros_like(images)
    networks = {n: make(engine, replace(once, n_presentations=n)) for n in (1, 2, 3)}
    shown = {n: network.count_spikes(images, index) for n, network in networks.items()}
    first, second, third = shown[1], shown[2] - shown[1], shown[3] - shown[2]
    assert first.any() and (first != second).any() and (second != third).any()
    for views, expected in (
        ([images, black], first + third),
        ([black, images], second),
        ([black, black, images], third),
        ([images, images, images, black], first + second + third),
    ):
        assert (networks[3].count_spikes(np.stack(views), index) == expected).all()


@each_of([FLOAT, INT, META, TRIPLET])
@example(Drawn((196, 17, 40), 500.0, n_images=IMAGES_AT_ONCE + 5, is_busy=True), 7, 2)
@example(Drawn((196, 17, 40), 500.0, n_images=6, changed={"w_ie": 4}, k_winners=2, is_busy=True), 4, 3)
@example(Drawn((196, 33, 40), 250.0, n_images=5, encoder=AGAIN, n_presentations=2, is_busy=True), 1, 5)
@settings(max_examples=settings.default.max_examples // 4)
@given(large_networks, st.integers(0, 3), st.integers(1, 7))
def test_engines_agree_and_resume_on_any_threads_and_batches(pair, drawn, split, n_parallel):
    model, images = network_of(pair, drawn)
    images = images if pair == FLOAT else images[:9]
    backwards, results, states = np.arange(len(images))[::-1], [], []
    for engine in ENGINES:
        whole, resumed = make(engine, model), make(engine, model)
        counts, first = learn(whole, images), learn(resumed, images[:split])
        count(resumed, images[:1])  # an evaluation in between changes nothing
        resumed = make(engine, model, resumed.state(), **({"n_threads": 2} if engine == "event" else {}))
        assert (np.concatenate([first, learn(resumed, images[split:], split)]) == counts).all()
        assert same_bits(resumed.state(), whole.state())
        states.append(whole.state())
        options = {"n_threads": n_parallel} if engine == "event" else {"batch_size": 1 if model.runs_on else n_parallel}
        network = make(engine, model, states[0], **options)
        network._images_per_task = 3  # so that all threads of the event engine answer
        results.append((counts, count(network, images, 100), network.take_activity()))
        assert (network.count_spikes(images[backwards], 100 + backwards)[backwards] == results[-1][1]).all()
        assert same_bits(network.state(), states[0])
    assert all((a == b).all() for a, b in zip(*results, strict=True))
    assert largest_difference(*states) < 1e-9
    assert model.neuron.arithmetic == "float" or same_bits(*states)
    if drawn.is_busy:
        assert results[0][0].sum() > 30 and results[0][1].sum() > 10
        assert (states[0].weight != initial_state(model).weight).mean() > 0.1


@pytest.mark.slow
def test_engines_agree_in_float32_on_intact_images():
    rule = {"a_post": 0.15, "a_pre": 1e-3, "w_norm": 120.0, "w_max": 0.3}
    model = make_model(FLOAT, 784, 24, 100, 400.0, rule=rule, dtype="float32")
    networks = [make(engine, model) for engine in ENGINES]
    torch_counts, event_counts = (learn(network, mnist()[:40]) for network in networks)
    assert (torch_counts == event_counts).all()
    assert event_counts.sum() > 400 and (event_counts.sum(axis=0) > 0).all()
    states = [network.state() for network in networks]
    assert largest_difference(*states) < 6e-5
    assert (states[1].weight == model.rule_parameters.w_max).sum() > 20


# Networks that the properties do not draw.
WIRINGS = {
    "inhibition that excites": {"w_ie": -0.5},
    "fast membranes": {"tau_v": 5.0, "v_threshold": -60.0},
    "thresholds that fall": {"theta_increment": -0.05, "tau_theta": 200.0},
}


def wired(wiring) -> Model:
    rule = {"w_norm": 78.4, "w_max": 1.0}
    return make_model(("nearest_online", "diehl_cook"), 784, 70, 250, 128.0, rule=rule, neuron=WIRINGS[wiring])


@pytest.mark.weekly
@pytest.mark.parametrize("wiring", WIRINGS)
def test_engines_agree_in_unusual_networks(wiring):
    networks = [make(engine, wired(wiring)) for engine in ENGINES]
    learned, expected = (learn(network, mnist()[:8]) for network in networks)
    assert (learned == expected).all() and learned.sum() > 50
    counts, expected = (count(network, mnist()[:8]) for network in networks)
    assert (counts == expected).all() and counts.sum() > 50
    assert largest_difference(*(network.state() for network in networks)) < 1e-9


def test_without_its_bound_an_interval_would_miss_spikes():
    # Fast membranes have forgotten at the end of an interval what happened in its middle.
    engine = make("event", wired("fast membranes"))
    learn(engine, mnist()[:10])
    counts = count(engine, mnist()[:60])
    engine._inference.scratch[0].subthreshold.growth[:] = 0
    assert (count(engine, mnist()[:60]) != counts).any()


@pytest.mark.parametrize(("engine", "pair"), [("torch", META), ("event", FLOAT)])
def test_a_state_that_was_handed_out_or_in_is_a_copy(engine, pair):
    model = make_model(pair)
    state = initial_state(model)
    before = {name: array.copy() for name, array in state.arrays().items()}
    network = make(engine, model, state)
    handed_out = network.state()
    learn(network, pictures(196)[:3])
    assert all((state.arrays()[name] == before[name]).all() for name in before)
    assert all((handed_out.arrays()[name] == before[name]).all() for name in before)
    after = network.state()
    for array in (*state.arrays().values(), *handed_out.arrays().values()):
        array[:] = 7
    assert same_bits(network.state(), after)


each_reduction = pytest.mark.parametrize("reduction", ["sum", "mean", "max"])


@pytest.mark.parametrize("reduction, expected", [("sum", [3, -3, 2]), ("mean", [1, -2, 1]), ("max", [2, -2, 2])])
def test_integer_changes_stay_integers_and_means_round_down(reduction, expected):
    changes = torch.tensor([[[2, -2, 5]], [[1, -1, -3]]], dtype=torch.int32)
    reduced = Reduction(reduction)(changes)
    assert reduced.dtype == torch.int32
    assert reduced.tolist() == [expected]


@each_reduction
def test_one_step_of_a_batch_reduces_what_its_images_would_change_alone(reduction):
    # One step: x is the input spike, y the output spike. So an image changes w by a_post - a_pre where both are.
    a_post, a_pre, norm, n_images = 0.05, 0.02, 78.4, 5
    constants = {"a_post": a_post, "a_pre": a_pre, "w_norm": norm, "w_max": 1.0}
    model = make_model(("nearest_online", "lif_stdp"), 784, 30, 1, 900.0, rule=constants)
    images, index = pictures(784)[:n_images], np.arange(n_images)
    network = make("torch", model, batch_size=n_images, reduction=reduction)
    post = network.learn(images, index, EPOCH, np.ones(n_images))
    limits = torch.from_numpy(model.encoder.limits(images))
    pre = spikes_below(limits, torch.from_numpy(index), EPOCH, 0, 1, model.seed, SPIKES_LEARNING)[0].numpy()
    weight = initial_state(model).weight
    assert (post == (pre @ weight.T > 13)).all()
    assert 0.1 < post.mean() < 0.9

    changes = (a_post - a_pre) * post[:, :, None] * pre[:, None, :]
    changed = weight + getattr(changes, reduction)(axis=0)  # "max" of changes above 0
    expected = np.minimum(norm * changed / changed.sum(axis=1, keepdims=True), 1)
    assert np.abs(network.state().weight - expected).max() < 1e-12
    # Every spike of every image raises its threshold, with each reduction.
    assert network.state().theta == pytest.approx(0.05 * post.sum(axis=0), abs=1e-6)


def test_images_that_learn_side_by_side_are_presented_again_and_do_not_disturb_each_other():
    # With nothing to learn and thresholds that stay, a batch spikes as its images do one by one.
    still = {"a_post": 0.0, "a_pre": 0.0, "w_max": 1.0}
    again = {"min_spikes": 8, "rate_step_hz": 100.0, "max_repeats": 4}
    neuron = {"theta_increment": 0.0}
    model = make_model(("full_online", "lif_stdp"), rate_hz=250.0, rule=still, neuron=neuron, encoder=again)
    state = initial_state(model)
    state.weight *= 30.0 / state.weight.sum(axis=1, keepdims=True)
    images = pictures(196)[:22]
    alone = learn(make("torch", model, state), images)
    assert (learn(make("torch", model, state, batch_size=8), images) == alone).all()
    once = learn(make("torch", replace(model, encoder=replace(model.encoder, min_spikes=0)), state), images)
    assert 3 < (once.sum(axis=1) < 8).sum() < 20


@each_reduction
@one_pair_per_rule
def test_batches_of_every_rule_learn_and_resume_exactly(pair, reduction):
    again = {"min_spikes": 8, "rate_step_hz": 100.0, "max_repeats": 1}
    model, images = make_model(pair, n_steps=40, encoder=again), pictures(196)
    options = {"batch_size": 4, "reduction": reduction}
    whole, resumed = make("torch", model, **options), make("torch", model, **options)
    counts = learn(whole, images[:10])
    assert counts.sum() > 0
    first = learn(resumed, images[:8])
    resumed = make("torch", model, resumed.state(), **options)
    assert (np.concatenate([first, learn(resumed, images[8:10], 8)]) == counts).all()
    assert same_bits(resumed.state(), whole.state())
    assert all(np.isfinite(array).all() for array in whole.state().arrays().values())
