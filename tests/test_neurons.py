"""Every neuron group against plain loops, as torch tensors and compiled."""

from functools import cache

import numpy as np
import pytest
import torch
from helpers import oracle
from hypothesis import example, given
from hypothesis import strategies as st

from stdp_run import neurons
from stdp_run.config.build import published
from stdp_run.engines.event.jit import Kernel
from stdp_run.parameters import cast, named_parameters

# The constants of the specification; 2015: of the authors' scripts.
LIF_CONSTANTS = {
    **{"v_rest": -65.0, "v_reset": -60.0, "v_threshold": -52.0, "tau_v": 100.0},
    **{"tau_theta": 1e7, "theta_increment": 0.05, "refractory": 0},
    **{"inhibitory_v_rest": -60.0, "inhibitory_v_reset": -45.0, "inhibitory_v_threshold": -40.0},
    **{"tau_inhibitory": 10.0, "inhibitory_refractory": 0, "w_ei": 22.5, "w_ie": 120.0, "w_init_max": 0.3},
}
ALIF_CONSTANTS = {
    **{"v_rest": 0.0, "v_reset": 2.0, "v_threshold": 2.0, "tau_theta": 1e5, "theta_increment": 0.001},
    **{"w_ie": 10.1, "w_init_max": 0.0127},  # not of SPAIC
}
CONSTANTS = {
    "lif_stdp": LIF_CONSTANTS,
    "diehl_cook": LIF_CONSTANTS | {"refractory": 5, "inhibitory_refractory": 2},
    "alif_stdp": LIF_CONSTANTS | ALIF_CONSTANTS,
    "diehl_cook_int": {
        **{"v_decay": 1013, "v_limit": 32767, "current_gain": 154, "threshold": 213, "max_threshold": 4915},
        **{"theta_increment": 66, "refractory": 5, "inhibitory_v_threshold": 1},
        **{"w_ei": 2, "w_ie": 32767, "w_init_max": 32},
    },
    "diehl_cook_2015": LIF_CONSTANTS
    | {
        **{"w_ei": 10.4, "w_ie": 17.0, "max_delay": 10.0, "v_start": -105.0, "v_reset": -65.0, "v_threshold": -72.0},
        **{"v_excitatory": 0.0, "v_inhibitory": -100.0, "tau_excitatory": 1.0, "tau_inhibition": 2.0},
        **{"theta_start": 20.0, "refractory": 10, "inhibitory_v_start": -100.0, "inhibitory_refractory": 4},
    },
}
IMPLEMENTATIONS = ("torch", "compiled")
INTEGER = "diehl_cook_int"
OF_CURRENTS = [name for name in neurons if not neurons[name].runs_on]  # others: engines/test_conductances.py


def parameters(group, **changed):
    return named_parameters(neurons[group], CONSTANTS[group] | changed, 1.0)


@cache
def compiled(function):
    """Return a function as the event engine compiles it."""
    return Kernel(function)


def run(implementation, group, currents, theta=None, learning=True, **changed):
    """Advance N neurons through currents[T, N]; return spikes, v, theta after every step, each [T, N].

    Without `theta` they are inhibitory partners, and the result is spikes and v.
    """
    cls, p, dtype = neurons[group], parameters(group, **changed), np.int32 if group == INTEGER else np.float64
    function, given = (cls.inhibitory, ()) if theta is None else (cls.excitatory, (learning,))
    currents = np.asarray(currents, dtype)
    n, (v, _, inhibitory_v) = currents.shape[1], cls.initial(p)
    state = [np.full(n, inhibitory_v if theta is None else v, dtype), np.zeros(n, np.int32)]
    state += [] if theta is None else [np.broadcast_to(np.asarray(theta, dtype), n).copy()]
    history = []
    for current in currents:
        if implementation == "torch":
            tensors = map(torch.from_numpy, (current, *state))
            spike, *after = (each.numpy() for each in function(p, *given, *tensors))
        else:
            one_by_one = zip(current, *state, strict=True)
            results = [compiled(function)(cast(p, dtype), *given, *each) for each in one_by_one]
            spike, *after = (np.array(each) for each in zip(*results, strict=True))
        state = [each.astype(old.dtype) for each, old in zip(after, state, strict=True)]
        history.append([spike, *state[:1], *state[2:]])
    return tuple(np.stack(arrays) for arrays in zip(*history, strict=True))


@pytest.mark.parametrize("group", neurons)
def test_the_yaml_holds_the_constants_of_the_specification(group):
    assert published("neuron", group) == CONSTANTS[group]


@pytest.mark.parametrize("group", OF_CURRENTS)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 8), st.sampled_from([0.3, 1.0, 4.0, 40.0]))
@example(1, True, 5, 1.0)
@example(1, False, 0, 4.0)
def test_excitatory_neurons_are_plain_loops(group, seed, learning, refractory, scale):
    rng, changed = np.random.default_rng(seed), {"refractory": refractory}
    inhibited = rng.random((60, 6)) < 0.02
    if group == INTEGER:
        currents = np.where(inhibited, -40 * 32767, rng.integers(0, round(2500 * scale), (60, 6)))
        thetas = rng.integers(190, 5200, 6)
    else:
        unit = scale * (0.3 if group == "alif_stdp" else 3.0)
        currents = np.where(inhibited, -10 * unit, unit * rng.random((60, 6)))
        thetas = rng.uniform(0, 2, 6)
    by_torch, by_compiler = (run(each, group, currents, thetas, learning, **changed) for each in IMPLEMENTATIONS)
    assert all((a == b).all() for a, b in zip(by_torch, by_compiler, strict=True)), "equal to the last bit"
    spikes, v, theta = by_torch
    for i in range(6):
        neuron = oracle.GROUPS[group][0](CONSTANTS[group] | changed, thetas[i].item())
        for t, current in enumerate(currents[:, i].tolist()):
            assert bool(spikes[t, i]) == neuron.step(current, learning)
            assert (v[t, i], theta[t, i]) == pytest.approx((neuron.v, neuron.theta), abs=1e-12)
    assert learning or (theta == thetas).all()
    assert scale < 1 or spikes.any()


@pytest.mark.parametrize("group", OF_CURRENTS)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.3, 1.0]), st.integers(0, 4))
@example(2, 1.0, 2)
def test_inhibitory_neurons_are_plain_loops(group, seed, share, refractory):
    changed = {} if group == INTEGER else {"inhibitory_refractory": refractory}
    currents = (np.random.default_rng(seed).random((60, 3)) < share) * CONSTANTS[group]["w_ei"]
    by_torch, by_compiler = (run(each, group, currents, **changed) for each in IMPLEMENTATIONS)
    assert all((a == b).all() for a, b in zip(by_torch, by_compiler, strict=True))
    for i in range(3):
        neuron = oracle.GROUPS[group][1](CONSTANTS[group] | changed)
        for t, current in enumerate(currents[:, i].tolist()):
            assert bool(by_torch[0][t, i]) == neuron.step(current)
            assert by_torch[1][t, i] == pytest.approx(neuron.v, abs=1e-12)
    assert share < 1 or by_torch[0].any()


def test_a_spike_needs_more_than_the_threshold_and_resets():
    # From -65, a current of 13 reaches -52 exactly: no spike.
    spikes, v, theta = run("torch", "lif_stdp", [[13.0, 13.0 + 1e-9, 13.0]], [0.0, 0.0, 1e-6])
    assert spikes.tolist() == [[False, True, False]]
    assert v.tolist() == [[-52.0, -60.0, -52.0]]
    assert theta.tolist() == [[0.0, 0.05, pytest.approx(1e-6 * np.exp(-1e-7), rel=1e-15)]]


def test_the_integer_threshold_halves_one_step_after_it_rose_above_the_maximum():
    # 4850 + 66 = 4916 is above 4915: the step itself still shows it, the next one the half. 4849 + 66 stays.
    spikes, _, theta = run("torch", INTEGER, [[32767, 32767], [0, 0], [0, 0]], [4849, 4850])
    assert spikes[0].all()
    assert theta.tolist() == [[4915, 4916], [4915, 2458], [4915, 2458]]
    # 20000 * 154 >> 10 = 3007 lies between 4916 / 2 and 4916.
    assert [each.item() for each in run("torch", INTEGER, [[20000]], 4916)] == [True, 0, 2458 + 66]
    assert [each.item() for each in run("torch", INTEGER, [[20000]], 4916, False)] == [False, 3007, 4916]
