"""The network of Diehl & Cook 2015: conductances, delays, and state that runs on from image to image.

`test_engines_agree.py` compares it with plain loops and resumes it.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import conductance_oracle
from helpers.networks import (
    ENGINES,
    count,
    largest_difference,
    learn,
    make,
    make_model,
    pictures,
    plain_network,
    present_plainly,
    same_bits,
)
from helpers.runs import settings_of

from stdp_run.config.build import build_model
from stdp_run.engines.event.every_step import make_scratch
from stdp_run.errors import UserError
from stdp_run.network import initial_state
from stdp_run.neurons import DiehlCook2015

PAIR = ("triplet", "diehl_cook_2015")
# Compiling takes 20 s.
each_engine = pytest.mark.parametrize("engine", ["torch", pytest.param("event", marks=pytest.mark.slow)])


@each_engine
def test_every_state_of_an_engine_is_that_of_plain_loops(engine):
    model = make_model(PAIR, 49, 5, 60, 300.0, rule={"w_norm": 14.0}, encoder={"rest_steps": 40})
    plain, images = plain_network(PAIR, model, initial_state(model)), pictures(49)[:4]
    expected, repeats = present_plainly(plain, model, images, [1, 1, 0.5, 0.5])
    assert np.sum(expected) > 20 and (np.sum(expected, axis=0) > 0).sum() > 2
    assert any(repeats), "an image is presented again"
    network = make(engine, model)
    assert learn(network, images, rates=np.array([1, 1, 0.5, 0.5])).tolist() == expected
    state = network.state().arrays()
    running = {
        "v": [cell.v for cell in plain.excitatory],
        "g_i": [cell.g_i for cell in plain.excitatory],
        "inhibitory_v": [cell.v for cell in plain.inhibitory],
        **{"theta": plain.theta, "weight": plain.weight, "y": plain.y, "y2": plain.y2},
    }
    for name, values in running.items():
        assert np.abs(state[name] - np.array(values)).max() < 1e-9, name
    # A synapse has the trace that its input had one delay ago.
    x = state["x"].reshape(-1, 49)
    seen = [[x[plain.delay[i][j], j] for j in range(49)] for i in range(5)]
    assert np.abs(np.array(seen) - np.array(plain.x)).max() < 1e-12
    answers, _ = present_plainly(plain, model, images)
    assert count(network, images).tolist() == answers and np.sum(answers) > 10


@pytest.mark.slow
def test_a_long_rest_is_the_steps_that_it_is_made_of():
    # The event engine makes most of a long rest one step. Who is still refractory or charged must not be lost.
    changed = {"neuron": {"tau_inhibition": 8.0}, "encoder": {"rest_steps": 700}}
    model = make_model(PAIR, n_exc=19, n_steps=120, rate_hz=300.0, **changed)
    networks = [make(engine, model) for engine in ENGINES]
    torch_counts, event_counts = (learn(network, pictures(196)[:4]) for network in networks)
    assert (torch_counts == event_counts).all() and torch_counts.sum() > 20
    assert largest_difference(*(network.state() for network in networks)) < 1e-9


@each_engine
def test_an_image_depends_on_the_one_before_while_the_network_learns_and_only_then(engine):
    model = make_model(PAIR, n_exc=19, rate_hz=400.0)
    first = initial_state(model)
    network, images, order = make(engine, model), pictures(196)[:4], np.array([2, 0, 3, 1])
    counts = count(network, images)
    assert (network.count_spikes(images[order], order) == counts[order]).all()
    assert (count(network, images[3:], 3) == counts[3]).all() and counts.sum() > 10
    assert same_bits(network.state(), first)
    still = replace(model, rule_parameters=model.rule_parameters._replace(a_post=0.0, a_pre=0.0))
    after = make(engine, still, first)
    learn(after, images[:1])
    carried = after.state()
    carried.weight[:], carried.theta[:] = first.weight, first.theta
    alone, later = (learn(make(engine, model, each), images[1:2], 1) for each in (first, carried))
    assert (alone != later).any()


def test_delays_are_uniform_and_follow_from_the_seed():
    model = make_model(PAIR, n_exc=200)
    delays = model.delays
    assert delays.shape == (200, 196) and delays.min() == 0 and delays.max() == 20
    assert np.bincount(delays.ravel()) / delays.size == pytest.approx(np.full(21, 1 / 21), abs=0.005)
    assert (delays == replace(model, dtype="float32").delays).all()
    assert (delays != replace(model, seed=4).delays).mean() > 0.9
    assert [[conductance_oracle.delay_of(i, j, 10.0, 3) for j in range(9)] for i in range(9)] == delays[:9, :9].tolist()
    assert make_model(PAIR, neuron={"max_delay": 0.0}).delays is None


PRESET = "experiment=diehl_cook_2015_400"


@pytest.mark.parametrize(
    "overrides, message",
    [
        ([PRESET, "neuron.max_delay=151"], r"neuron.max_delay=151: must be at most .* = 150 ms"),
        ([PRESET, "neuron.max_delay=140"], r"neuron.max_delay=140: must be at most 255 steps, 127.5 ms"),
        ([PRESET, "neuron.max_delay=-1"], r"neuron.max_delay=-1: must be a number of 0 or more"),
        ([PRESET, "encoder.dt=1.5"], r"encoder.dt=1.5: must be at most neuron.tau_excitatory=1 ms"),
        ([PRESET, "batch_size=2"], r"batch_size=2: must be 1: diehl_cook_2015 runs on from image to image"),
        ([PRESET, "rule=post_pre_int"], r"neuron=diehl_cook_2015: .*use neuron=diehl_cook_int"),
        (["encoder.rest_steps=10"], r"encoder.rest_steps=10: must be 0: lif_stdp starts every image at rest"),
        (["encoder.max_repeats=256"], r"encoder.max_repeats=256: must be a whole number from 0 to 255"),
    ],
)
def test_a_network_that_cannot_run_on_or_be_presented_again_is_refused_in_a_line(overrides, message):
    with pytest.raises(UserError, match=message):
        build_model(settings_of(*overrides))


def test_a_custom_group_rests_step_by_step_on_the_event_engine():
    own = type("Own", (DiehlCook2015,), {"inhibitory": staticmethod(lambda *state: DiehlCook2015.inhibitory(*state))})
    for group, n_at_once in ((DiehlCook2015, 60), (own, 0)):
        model = replace(make_model(PAIR), neuron=group)
        network = SimpleNamespace(neuron_parameters=model.neuron_parameters, theta=np.zeros(model.n_exc))
        assert make_scratch(model, True, network).decay.shape == (3, n_at_once)
