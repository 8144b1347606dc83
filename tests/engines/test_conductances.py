"""The network of Diehl & Cook 2015: conductances, delays, and state that runs on from image to image."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from helpers import conductance_oracle, oracle
from helpers.networks import ENGINES, EPOCH, largest_difference, make, mnist, same_bits
from helpers.runs import settings_of

from stdp_run import neurons, rules
from stdp_run.config.build import build_model, build_rule, published, published_parameters
from stdp_run.elementwise import minimum, where
from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING
from stdp_run.engines.selection import EngineOptions, choose
from stdp_run.errors import UserError
from stdp_run.network import Encoder, Model, initial_state
from stdp_run.neurons import DiehlCook2015
from stdp_run.parameters import check_parameters, named_parameters

# Thresholds near rest and short refractory periods: small networks fire often, and several neurons in an image.
NEURON = {"theta_start": 12.0, "theta_increment": 0.3, "w_ie": 3.0, "refractory": 4, "w_init_max": 0.6}
# A pair of rule and group whose weights and spikes change much in a few images.
RULES = {
    "triplet": {"a_post": 0.3, "a_pre": 0.01, "w_norm": 30.0},
    "power_law": {"eta": 0.1, "w_norm": 30.0},
    "power_law_pre_post": {"eta_pre": 0.01, "eta_post": 0.1, "w_norm": 30.0},
    "exponential": {"eta": 0.1, "w_norm": 30.0},
    "weight_dependent": {"a_post": 0.1, "a_pre": 0.01, "w_norm": 30.0},
    "rectangular": {"a_plus": 0.02, "a_minus": 0.01},
    "multiplicative": {"a_plus": 0.05, "a_minus": 0.03},
    "nearest_online": {"a_post": 0.1, "a_pre": 3e-3, "w_norm": 30.0, "w_max": 0.5},
    "full_online": {"a_post": 0.05, "a_pre": 3e-3, "w_norm": 30.0, "w_max": 0.5},
}
# One of each frame: compiling one takes 20 s, and a rule is the same functions with every neuron group.
COMPILED = ("triplet", "power_law_pre_post", "rectangular", "nearest_online", "full_online")
# Compiling takes a while: what needs the event engine is slow.
each_engine = pytest.mark.parametrize("engine", ["torch", pytest.param("event", marks=pytest.mark.slow)])


def running_model(rule="triplet", n_inputs=196, n_exc=19, n_steps=120, rest_steps=60, *, seed=3, **neuron) -> Model:
    group = neurons["diehl_cook_2015"]
    constants = published("neuron", "diehl_cook_2015") | NEURON | neuron
    rule_class, known = published_parameters(rule, n_inputs)
    return Model(
        n_inputs=n_inputs,
        n_exc=n_exc,
        rule=rule_class,
        rule_parameters=build_rule(rule_class, known | RULES[rule], 0.5, n_inputs),
        neuron=group,
        neuron_parameters=named_parameters(group, check_parameters("neuron", group.parameters, constants), 0.5),
        encoder=Encoder(n_steps, 300.0, 0.5, min_spikes=6, rate_step_hz=100.0, max_repeats=2, rest_steps=rest_steps),
        seed=seed,
        dtype="float64",
    )


def learn(engine, images, first=0):
    index = np.arange(first, first + len(images))
    return engine.learn(images, index, EPOCH, np.linspace(1, 0.5, 40)[index])


@cache
def learned(engine, rule):
    network = make(engine, running_model(rule))
    return learn(network, mnist(2)[:10]), network.state()


def plain_counts(plain, image, n, encoder, learning, seed):
    """Return the counts of an image in plain loops, presented again where it evokes too few spikes, and how often."""
    stream, epoch = (SPIKES_LEARNING, EPOCH) if learning else (SPIKES_EVALUATING, 0)
    for repeat in range(encoder.max_repeats + 1):
        word, rate = epoch + repeat * 2**24, encoder.max_rate_hz + repeat * encoder.rate_step_hz
        trains = [
            oracle.pixel_spikes(value, j, n, word, seed, stream, encoder.n_steps, rate, encoder.dt_ms)
            for j, value in enumerate(image)
        ]
        counts = plain.present(list(zip(*trains, strict=True)), encoder.rest_steps, learning)
        if sum(counts) >= encoder.min_spikes:
            break
    return counts, repeat


@each_engine
@pytest.mark.parametrize("max_delay", [10.0, 0.0])
def test_an_engine_is_the_network_in_plain_loops(max_delay, engine):
    model = running_model(n_inputs=49, n_exc=5, n_steps=100, rest_steps=40, max_delay=max_delay)
    model = replace(model, rule_parameters=model.rule_parameters._replace(w_norm=14.0))
    images, n_images = mnist(4)[:6], 6
    p, rule = model.neuron_parameters._asdict(), model.rule_parameters._asdict()
    plain = conductance_oracle.Network(initial_state(model).weight.tolist(), p, rule, max_delay, model.seed)
    expected = [plain_counts(plain, each, n, model.encoder, True, model.seed) for n, each in enumerate(images.tolist())]
    assert sum(sum(counts) for counts, _ in expected) > 30
    assert any(repeat for _, repeat in expected), "no image is presented again"
    assert len({i for counts, _ in expected for i, n in enumerate(counts) if n}) > 2
    running = {
        "v": [cell.v for cell in plain.excitatory],
        "g_i": [cell.g_i for cell in plain.excitatory],
        "inhibitory_v": [cell.v for cell in plain.inhibitory],
        "theta": plain.theta,
        "weight": plain.w,
        "y": plain.y,
        "y2": plain.y2,
    }
    off = [plain_counts(plain, each, n, model.encoder, False, model.seed)[0] for n, each in enumerate(images.tolist())]
    assert sum(map(sum, off)) > 30
    network = make(engine, model)
    counts = network.learn(images, np.arange(n_images), EPOCH, np.ones(n_images))
    assert counts.tolist() == [counts for counts, _ in expected]
    state = network.state().arrays()
    assert {name: np.abs(state[name] - np.array(each)).max() for name, each in running.items()} == pytest.approx(
        dict.fromkeys(running, 0.0), abs=1e-9
    )
    # The trace of a synapse is what its input's was by its delay ago.
    x = state["x"].reshape(-1, 49)
    seen = [[x[plain.delay[i][j], j] for j in range(49)] for i in range(5)]
    assert np.abs(np.array(seen) - np.array(plain.x)).max() < 1e-12
    assert network.count_spikes(images, np.arange(n_images)).tolist() == off


@pytest.mark.slow
@pytest.mark.parametrize("rule", COMPILED)
def test_engines_agree(rule):
    (torch_counts, torch_state), (event_counts, event_state) = learned("torch", rule), learned("event", rule)
    assert (torch_counts == event_counts).all()
    assert largest_difference(torch_state, event_state) < 1e-9
    assert event_counts.sum() > 100
    assert ((event_counts > 0).sum(axis=1) > 1).any()
    assert np.abs(event_state.weight - initial_state(running_model(rule)).weight).max() > 0.01
    images, index = mnist(2)[20:40], np.arange(20, 40)
    model = running_model(rule)
    torch_off, event_off = (make(engine, model, event_state).count_spikes(images, index) for engine in ENGINES)
    assert (torch_off == event_off).all()


@pytest.mark.slow
def test_a_long_rest_is_the_steps_that_it_is_made_of():
    # The event engine makes most of a long rest one step. Who is still refractory or charged must not be lost.
    model = running_model(rest_steps=700, tau_inhibition=8.0)
    networks = [make(engine, model) for engine in ENGINES]
    torch_counts, event_counts = (learn(network, mnist(2)[:4]) for network in networks)
    assert (torch_counts == event_counts).all() and torch_counts.sum() > 20
    assert largest_difference(*(network.state() for network in networks)) < 1e-9


@each_engine
def test_learning_in_several_calls_and_resuming_are_learning_in_one(engine):
    model, (counts, state) = running_model(), learned(engine, "triplet")
    in_calls, resumed = make(engine, model), make(engine, model)
    for n in range(10):
        image = mnist(2)[n : n + 1]
        assert (learn(in_calls, image, n) == counts[n]).all()
        if engine == "event" and n < 3:
            resumed.count_spikes(mnist(2)[20:23], np.arange(20, 23))
        assert (learn(resumed, image, n) == counts[n]).all()
        resumed = make(engine, model, resumed.state())
    assert same_bits(in_calls.state(), state)
    assert same_bits(resumed.state(), state)
    if engine == "event":
        two = make("event", model, n_threads=2)
        assert (learn(two, mnist(2)[:10]) == counts).all()
        assert same_bits(two.state(), state)


@each_engine
def test_an_image_is_answered_from_rest_whatever_came_before(engine):
    network = make(engine, running_model(), learned(engine, "triplet")[1])
    before = network.state()
    images, index = mnist(2)[20:40], np.arange(20, 40)
    counts = network.count_spikes(images, index)
    order = np.random.default_rng(0).permutation(20)
    assert (network.count_spikes(images[order], index[order]) == counts[order]).all()
    assert (network.count_spikes(images[7:8], index[7:8]) == counts[7]).all()
    assert counts.sum() > 100
    assert same_bits(network.state(), before)


@pytest.mark.slow
def test_while_it_learns_an_image_depends_on_the_one_before():
    model, state = running_model(rest_steps=30), learned("event", "triplet")[1]
    alone, after = make("event", model, state), make("event", model, state)
    still = replace(model, rule_parameters=model.rule_parameters._replace(a_post=0.0, a_pre=0.0))
    after = make("event", still, state)
    learn(after, mnist(2)[30:31], 30)
    carried = after.state()
    carried.weight[:], carried.theta[:] = state.weight, state.theta
    assert (learn(make("event", model, carried), mnist(2)[20:21], 20) != learn(alone, mnist(2)[20:21], 20)).any()


@pytest.mark.slow
def test_only_the_first_to_fire_learn_on_both_engines():
    model = replace(running_model(), k_winners=1)
    networks = [make(engine, model) for engine in ENGINES]
    torch_counts, event_counts = (learn(network, mnist(2)[:6]) for network in networks)
    assert (torch_counts == event_counts).all()
    states = [network.state() for network in networks]
    assert largest_difference(*states) < 1e-9
    assert largest_difference(states[0], learned("torch", "triplet")[1]) > 1e-3


def test_delays_are_uniform_and_follow_from_the_seed():
    model = running_model(n_exc=200)
    delays = model.delays
    assert delays.shape == (200, 196) and delays.min() == 0 and delays.max() == 20
    assert np.bincount(delays.ravel()) / delays.size == pytest.approx(np.full(21, 1 / 21), abs=0.005)
    assert (delays == replace(model, dtype="float32").delays).all()
    assert (delays != replace(model, seed=4).delays).mean() > 0.9
    assert [[conductance_oracle.delay_of(i, j, 10.0, 3) for j in range(9)] for i in range(9)] == delays[:9, :9].tolist()
    assert running_model(max_delay=0.0).delays is None


PRESET = "experiment=diehl_cook_2015_400"


@pytest.mark.parametrize(
    "overrides, message",
    [
        ([PRESET, "neuron.max_delay=151"], r"neuron.max_delay=151: must be at most .* = 150 ms"),
        ([PRESET, "neuron.max_delay=140"], r"neuron.max_delay=140: must be at most 255 steps, 127.5 ms"),
        ([PRESET, "neuron.max_delay=-1"], r"neuron.max_delay=-1: must be a number of 0 or more"),
        ([PRESET, "neuron.w_ie=-1"], r"neuron.w_ie=-1: must be a number of 0 or more"),
        ([PRESET, "encoder.dt=1.5"], r"encoder.dt=1.5: must be at most neuron.tau_excitatory=1 ms"),
        ([PRESET, "batch_size=2"], r"batch_size=2: must be 1: diehl_cook_2015 runs on from image to image"),
        (["encoder.rest_steps=10"], r"encoder.rest_steps=10: must be 0: lif_stdp starts every image at rest"),
        ([PRESET, "rule=post_pre_int"], r"neuron=diehl_cook_2015: .*use neuron=diehl_cook_int"),
    ],
)
def test_what_cannot_run_on_is_refused_in_a_line(overrides, message):
    with pytest.raises(UserError, match=message):
        build_model(settings_of(*overrides))


def test_the_yaml_holds_the_constants_of_the_scripts():
    assert published("neuron", "diehl_cook_2015") == {
        **{"w_ei": 10.4, "w_ie": 17.0, "w_init_max": 0.3, "max_delay": 10.0},
        **{"v_start": -105.0, "v_rest": -65.0, "v_reset": -65.0, "v_threshold": -20.0 - 52.0, "tau_v": 100.0},
        **{"v_excitatory": 0.0, "v_inhibitory": -100.0, "tau_excitatory": 1.0, "tau_inhibition": 2.0},
        **{"theta_start": 20.0, "tau_theta": 1e7, "theta_increment": 0.05, "refractory": 5 / 0.5},
        **{"inhibitory_v_start": -100.0, "inhibitory_v_rest": -60.0, "inhibitory_v_reset": -45.0},
        **{"inhibitory_v_threshold": -40.0, "tau_inhibitory": 10.0, "inhibitory_refractory": 2 / 0.5},
    }


def test_every_float_rule_works_with_conductances():
    floats = {name for name in rules if rules[name].arithmetic == "float"}
    assert floats == {*RULES, "meta_nearest_online"}


excitatory_as_published = DiehlCook2015.excitatory  # compiled code finds functions by name, not classes


class Ceiling(DiehlCook2015):
    """Both neurons state their step: theta has a ceiling, and inhibitory neurons charge without a refractory period."""

    @staticmethod
    def excitatory(p, learning, g_e, g_i, v, refractory, theta):
        spike, v, refractory, theta = excitatory_as_published(p, learning, g_e, g_i, v, refractory, theta)
        return spike, v, refractory, minimum(theta, p.theta_start + 0.5) if learning else theta

    @staticmethod
    def inhibitory(p, g_e, v, refractory):
        v = v + p.share_inhibitory * (p.inhibitory_v_rest - v + g_e * (p.v_excitatory - v))
        spike = v > p.inhibitory_v_threshold
        return spike, where(spike, p.inhibitory_v_reset, v), refractory


@pytest.mark.slow
def test_a_custom_group_runs_on_both_engines_and_they_agree():
    # A rest long enough that the engine would make one step of it, had the group left both functions as they are.
    model = replace(running_model(rest_steps=300), neuron=Ceiling)
    networks = [make(engine, model) for engine in ENGINES]
    torch_counts, event_counts = (learn(network, mnist(2)[:8]) for network in networks)
    assert (torch_counts == event_counts).all() and torch_counts.sum() > 60
    states = [network.state() for network in networks]
    assert largest_difference(*states) < 1e-9
    p = model.neuron_parameters
    assert (states[0].theta <= p.theta_start + 0.5).all() and (states[0].theta > p.theta_start + 0.45).any()
    off = [network.count_spikes(mnist(2)[20:24], np.arange(20, 24)) for network in networks]
    assert (off[0] == off[1]).all() and off[0].sum() > 20
    assert largest_difference(states[0], learned("torch", "triplet")[1]) > 1e-3


@pytest.mark.parametrize("engine", ["auto", "event"])
def test_a_custom_group_of_conductances_is_left_to_the_event_engine(engine):
    model = replace(running_model(), neuron=Ceiling)
    assert choose(model, EngineOptions(engine=engine)) == ("event", "cpu")
