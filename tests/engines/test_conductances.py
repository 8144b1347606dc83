"""The network of Diehl & Cook 2015: conductances, delays, and state that runs on from image to image.

`test_engines_agree.py` compares it with plain loops and resumes it.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import conductance_oracle
from helpers.networks import TRIPLET, count, learn, make, make_model, pictures, plain_network, present_plainly

from stdp_run.engines.event.every_step import make_scratch
from stdp_run.network import initial_state
from stdp_run.neurons import DiehlCook2015


@pytest.mark.parametrize(
    ("engine", "rest_steps", "held"),
    [
        ("torch", 40, 4),
        pytest.param("event", 40, 4, marks=pytest.mark.slow),  # compiling takes 20 s
        # The event engine makes the end of a long rest one step, once no neuron is refractory.
        pytest.param("event", 600, 450, marks=pytest.mark.slow),
    ],
)
def test_every_state_of_an_engine_is_that_of_plain_loops(engine, rest_steps, held):
    changed = {"encoder": {"rest_steps": rest_steps}, "neuron": {"inhibitory_refractory": held}}
    model = make_model(TRIPLET, 49, 5, 60, 600.0, rule={"w_norm": 14.0}, **changed)
    plain, images = plain_network(TRIPLET, model, initial_state(model)), pictures(49)[:4]
    expected, (n_presentations, *_) = present_plainly(plain, model, images, [1, 1, 0.5, 0.5])
    assert np.sum(expected) >= 20 and (np.sum(expected, axis=0) > 0).sum() > 2
    assert n_presentations > 4, "an image is presented again"
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
    answers, activity = present_plainly(plain, model, images)
    assert count(network, images).tolist() == answers and np.sum(answers) > 10
    assert network.take_activity().tolist() == activity


def test_delays_are_uniform_and_follow_from_the_seed():
    model = make_model(TRIPLET, n_exc=200)
    delays = model.delays
    assert delays.shape == (200, 196) and delays.min() == 0 and delays.max() == 20
    assert np.bincount(delays.ravel()) / delays.size == pytest.approx(np.full(21, 1 / 21), abs=0.005)
    assert (delays == replace(model, dtype="float32").delays).all()
    assert (delays != replace(model, seed=4).delays).mean() > 0.9
    assert [[conductance_oracle.delay_of(i, j, 10.0, 3) for j in range(9)] for i in range(9)] == delays[:9, :9].tolist()
    assert make_model(TRIPLET, neuron={"max_delay": 0.0}).delays is None


def test_a_custom_group_rests_step_by_step_on_the_event_engine():
    own = type("Own", (DiehlCook2015,), {"inhibitory": staticmethod(lambda *state: DiehlCook2015.inhibitory(*state))})
    for group, n_at_once in ((DiehlCook2015, 60), (own, 0)):
        model = replace(make_model(TRIPLET), neuron=group)
        network = SimpleNamespace(neuron_parameters=model.neuron_parameters, theta=np.zeros(model.n_exc))
        assert make_scratch(model, True, network).decay.shape == (3, n_at_once)
