"""Every neuron group against plain loops written from the specification, as torch tensors and compiled."""

import math
from functools import cache
from itertools import chain

import numpy as np
import pytest
import torch
from helpers import oracle
from omegaconf import OmegaConf

from stdp_run import neurons
from stdp_run.config.build import conf_folder
from stdp_run.engines.event.jit import Kernel
from stdp_run.errors import UserError
from stdp_run.parameters import cast, check_parameters, named_parameters

LIF_CONSTANTS = {
    "v_rest": -65.0,
    "v_reset": -60.0,
    "v_threshold": -52.0,
    "tau_v": 100.0,
    "tau_theta": 1e7,
    "theta_increment": 0.05,
    "refractory": 0,
    "inhibitory_v_rest": -60.0,
    "inhibitory_v_reset": -45.0,
    "inhibitory_v_threshold": -40.0,
    "tau_inhibitory": 10.0,
    "inhibitory_refractory": 0,
    "w_ei": 22.5,
    "w_ie": 120.0,
    "w_init_max": 0.3,
}
# As the specification has them.
CONSTANTS = {
    "lif_stdp": LIF_CONSTANTS,
    "diehl_cook": LIF_CONSTANTS | {"refractory": 5, "inhibitory_refractory": 2},
    "alif_stdp": LIF_CONSTANTS
    | {"v_rest": 0.0, "v_reset": 2.0, "v_threshold": 2.0, "tau_theta": 1e5, "theta_increment": 0.001},
    "diehl_cook_int": {
        "v_decay": 1013,
        "v_limit": 32767,
        "current_gain": 154,
        "threshold": 213,
        "max_threshold": 4915,
        "theta_increment": 66,
        "refractory": 5,
        "inhibitory_v_threshold": 1,
        "w_ei": 2,
        "w_ie": 32767,
        "w_init_max": 32,
    },
}
IMPLEMENTATIONS = ("torch", "compiled")
GROUPS = tuple(CONSTANTS)
EXCITATORY = {
    "lif_stdp": oracle.Lif,
    "diehl_cook": lambda theta: oracle.Lif(refractory=5, theta=theta),
    "alif_stdp": oracle.Alif,
    "diehl_cook_int": lambda theta: oracle.IntegerNeuron(theta=theta),
}
INHIBITORY = {
    "lif_stdp": oracle.LifInhibitory,
    "diehl_cook": lambda: oracle.LifInhibitory(refractory=2),
    "alif_stdp": oracle.LifInhibitory,
    "diehl_cook_int": oracle.IntegerInhibitory,
}


def parameters(group, **changed):
    cls = neurons[group]
    return named_parameters(cls, CONSTANTS[group] | changed, 1.0)


def types_of(group):
    """Return the types of (v, theta)."""
    return (np.int32, np.int32) if group == "diehl_cook_int" else (np.float64, np.float64)


@cache
def compiled(function):
    """Return a function as the event engine compiles it."""
    return Kernel(function)


def run_excitatory(implementation, group, currents, theta, learning=True, **changed):
    """Advance N neurons through currents[T, N]; return spikes, v, theta after every step, each [T, N]."""
    p = parameters(group, **changed)
    v_type, theta_type = types_of(group)
    currents = np.asarray(currents, v_type)
    v = np.full(currents.shape[1], neurons[group].initial(p)[0], v_type)
    refractory = np.zeros(len(v), np.int32)
    theta = np.broadcast_to(np.asarray(theta, theta_type), v.shape).copy()
    history = []
    if implementation == "torch":
        v, refractory, theta = (torch.from_numpy(array) for array in (v, refractory, theta))
        for current in torch.from_numpy(currents):
            spike, v, refractory, theta = neurons[group].excitatory(p, learning, current, v, refractory, theta)
            history.append([array.numpy() for array in (spike, v, theta)])
    else:
        p, advance = cast(p, v_type), compiled(neurons[group].excitatory)
        for current in currents:
            spike = np.zeros(len(v), bool)
            for i in range(len(v)):
                spike[i], v[i], refractory[i], theta[i] = advance(
                    p, learning, current[i], v[i], refractory[i], theta[i]
                )
            history.append([spike, v.copy(), theta.copy()])
    return tuple(np.stack(arrays) for arrays in zip(*history, strict=True))


def run_inhibitory(implementation, group, currents):
    """As above, for the inhibitory partner; return spikes and v."""
    p = parameters(group)
    v_type = types_of(group)[0]
    currents = np.asarray(currents, v_type)
    v = np.full(currents.shape[1], neurons[group].initial(p)[2], v_type)
    refractory = np.zeros(len(v), np.int32)
    history = []
    if implementation == "torch":
        v, refractory = torch.from_numpy(v), torch.from_numpy(refractory)
        for current in torch.from_numpy(currents):
            spike, v, refractory = neurons[group].inhibitory(p, current, v, refractory)
            history.append([spike.numpy(), v.numpy()])
    else:
        p, advance = cast(p, v_type), compiled(neurons[group].inhibitory)
        for current in currents:
            spike = np.zeros(len(v), bool)
            for i in range(len(v)):
                spike[i], v[i], refractory[i] = advance(p, current[i], v[i], refractory[i])
            history.append([spike, v.copy()])
    return tuple(np.stack(arrays) for arrays in zip(*history, strict=True))


def random_currents(group, n_steps=300, n=12, seed=1):
    """Return currents that make neurons spike often, with strong inhibition now and then."""
    rng = np.random.default_rng(seed)
    inhibited = rng.random((n_steps, n)) < 0.005
    if group == "diehl_cook_int":
        return np.where(inhibited, -40 * 32767, rng.integers(0, 2500, (n_steps, n)))
    scale = 0.3 if group == "alif_stdp" else 3.0
    return np.where(inhibited, -10 * scale, scale * rng.random((n_steps, n)))


# ------------------------------------------------------------------------------------------------------------------


def test_every_group_is_tested():
    assert {*GROUPS, "diehl_cook_2015"} == set(neurons)  # the last one in engines/test_conductances.py


@pytest.mark.parametrize("group", GROUPS)
def test_the_yaml_holds_the_constants_of_the_specification(group):
    def load(name):
        section = OmegaConf.to_container(OmegaConf.load(conf_folder() / "neuron" / f"{name}.yaml"))
        bases = [base for base in section.pop("defaults", []) if base != "_self_"]
        return dict(chain.from_iterable(load(base).items() for base in bases)) | section

    section = load(group)
    assert section.pop("name") == group
    module, _, name = section.pop("_target_").rpartition(".")
    assert (module, name) == ("stdp_run.neurons", neurons[group].__name__)
    expected = dict(CONSTANTS[group])
    if group == "alif_stdp":  # its weight scales are left to us
        expected |= {name: section[name] for name in ("w_ie", "w_init_max")}
    assert section == expected
    check_parameters("neuron", neurons[group].parameters, section)


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("group", GROUPS)
def test_excitatory_neurons_agree_with_the_plain_loops(group, implementation, learning):
    currents = random_currents(group)
    thetas = np.linspace(190, 5200, 12).astype(int) if group == "diehl_cook_int" else np.linspace(0, 2, 12)
    if group == "diehl_cook_int":
        currents[:, 6:] *= 4
    spikes, v, theta = run_excitatory(implementation, group, currents, thetas, learning)
    for i in range(currents.shape[1]):
        neuron = EXCITATORY[group](theta=thetas[i].item())
        for t in range(len(currents)):
            assert bool(spikes[t, i]) == neuron.step(currents[t, i].item(), learning)
            assert v[t, i] == pytest.approx(neuron.v, abs=1e-12)
            assert theta[t, i] == pytest.approx(neuron.theta, abs=1e-12)
            if group == "diehl_cook_int":
                assert (v[t, i], theta[t, i]) == (neuron.v, neuron.theta)
    assert spikes.sum() > 60
    assert v.dtype == types_of(group)[0]
    assert theta.dtype == types_of(group)[1]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("group", GROUPS)
def test_inhibitory_neurons_agree_with_the_plain_loops(group, implementation):
    rng = np.random.default_rng(2)
    strength = CONSTANTS[group]["w_ei"]
    currents = (rng.random((200, 6)) < [0.02, 0.1, 0.3, 0.5, 0.9, 1.0]) * strength
    spikes, v = run_inhibitory(implementation, group, currents)
    for i in range(6):
        neuron = INHIBITORY[group]()
        for t in range(200):
            assert bool(spikes[t, i]) == neuron.step(currents[t, i].item())
            assert v[t, i] == pytest.approx(neuron.v, abs=1e-12)
    assert spikes.any(axis=0).all()


@pytest.mark.parametrize("group", GROUPS)
def test_compiled_and_torch_neurons_are_equal_bit_for_bit(group):
    currents = random_currents(group, seed=3)
    start = 213 if group == "diehl_cook_int" else 0
    by_torch, by_compiler = (run_excitatory(each, group, currents, start) for each in IMPLEMENTATIONS)
    assert all((a == b).all() for a, b in zip(by_torch, by_compiler, strict=True))


# ------------------------------------------------------------------------------------------------------------------
# One property at a time, with numbers written out.


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("group, start, floor", [("lif_stdp", -65.0, -65.0), ("alif_stdp", 0.0, 0.0)])
def test_a_potential_decays_to_rest_by_a_hundredth_per_step(group, start, floor, implementation):
    currents = np.zeros((101, 1))
    currents[0] = 1.5
    _, v, _ = run_excitatory(implementation, group, currents, 0.0)
    assert v[0, 0] == pytest.approx(start + 1.5, abs=1e-12)
    assert v[100, 0] == pytest.approx(floor + 1.5 / math.e, abs=1e-12)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_spike_needs_more_than_the_threshold_and_resets(implementation):
    # From -65, a current of 13 reaches -52 exactly: no spike. A step later 13 - 13 d_v is needed to be there again.
    first = np.array([[13.0, 13.0 + 1e-9, 13.0]])
    spikes, v, theta = run_excitatory(implementation, "lif_stdp", first, [0.0, 0.0, 1e-6])
    assert spikes.tolist() == [[False, True, False]]
    assert v[0].tolist() == [-52.0, -60.0, -52.0]
    assert theta[0].tolist() == [0.0, 0.05, pytest.approx(1e-6 * math.exp(-1e-7), rel=1e-15)]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_alif_resets_softly_and_its_threshold_grows_in_proportion(implementation):
    spikes, v, theta = run_excitatory(implementation, "alif_stdp", [[5.0], [0.0], [0.0]], 0.5)
    d_theta = math.exp(-1e-5)
    grown = 0.5 * d_theta + 0.001 * (2 + 0.5 * d_theta)
    assert spikes[:, 0].tolist() == [True, True, False]
    assert v[:2, 0].tolist() == [3.0, pytest.approx(3 * math.exp(-0.01) - 2, abs=1e-15)]
    assert theta[0, 0] == pytest.approx(grown, abs=1e-15)
    assert theta[1, 0] == pytest.approx(grown * d_theta + 0.001 * (2 + grown * d_theta), abs=1e-15)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("refractory", [0, 1, 5, 8])
@pytest.mark.parametrize("group", GROUPS)
def test_input_is_ignored_in_exactly_the_steps_of_the_refractory_period(group, refractory, implementation):
    # The first step makes it spike; then one neuron per later step gets a small input in that step alone.
    first, small = {"alif_stdp": (2.5, 0.4), "diehl_cook_int": (2000, 100)}.get(group, (20.0, 1.0))
    start = 213 if group == "diehl_cook_int" else 0.0
    n_steps = 12
    currents = np.zeros((n_steps, n_steps))
    currents[1:, 1:] = np.eye(n_steps - 1) * small
    currents[0] = first
    spikes, v, _ = run_excitatory(implementation, group, currents, start, refractory=refractory)
    assert spikes[0].all()
    assert not spikes[1:].any()
    undisturbed = v[:, 0]
    for step in range(1, n_steps):
        heard = (v[:, step] != undisturbed).any()
        assert heard == (step > refractory)
    if group != "diehl_cook_int":
        rest = CONSTANTS[group]["v_rest"]
        decayed = rest + (undisturbed[0] - rest) * np.exp(-0.01 * np.arange(n_steps))
        assert undisturbed == pytest.approx(decayed, abs=1e-12)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_an_inhibitory_neuron_of_diehl_cook_ignores_input_for_two_steps(implementation):
    currents = np.zeros((5, 5))
    currents[1:, 1:] = np.eye(4)
    currents[0] = 22.5
    spikes, v = run_inhibitory(implementation, "diehl_cook", currents)
    assert spikes[0].all()
    assert [(v[:, i] != v[:, 0]).any() for i in range(1, 5)] == [False, False, True, True]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_integer_inhibitory_neuron_passes_each_spike_on(implementation):
    train = np.array([[0], [1], [1], [0], [1], [1], [1]])
    spikes, v = run_inhibitory(implementation, "diehl_cook_int", 2 * train)
    assert (spikes == train).all()
    assert not v.any()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("group", GROUPS)
def test_learning_off_freezes_theta_to_the_last_bit(group, implementation):
    thetas = [213, 4000, 9000] if group == "diehl_cook_int" else [0.0, 0.3, 1.7]
    currents = random_currents(group, n=3) * (40 if group == "diehl_cook_int" else 4)
    spikes, _, theta = run_excitatory(implementation, group, currents, thetas, learning=False)
    assert (theta == thetas).all()
    assert spikes.any(axis=0).all()
    _, _, moved = run_excitatory(implementation, group, currents, thetas, learning=True)
    assert (moved[-1] != thetas).all()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_threshold_halves_one_step_after_it_rose_above_the_maximum(implementation):
    # 4850 + 66 = 4916 is above 4915: the step itself still shows it, the next one the half. 4849 + 66 stays.
    spikes, _, theta = run_excitatory(implementation, "diehl_cook_int", [[32767, 32767], [0, 0], [0, 0]], [4849, 4850])
    assert spikes[0].all()
    assert theta.tolist() == [[4915, 4916], [4915, 2458], [4915, 2458]]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_halved_threshold_is_the_one_that_is_compared_with(implementation):
    # 20000 * 154 >> 10 = 3007 lies between 4916 / 2 and 4916.
    spikes, _, theta = run_excitatory(implementation, "diehl_cook_int", [[20000]], 4916)
    assert (spikes.item(), theta.item()) == (True, 2458 + 66)
    frozen, v, theta = run_excitatory(implementation, "diehl_cook_int", [[20000]], 4916, learning=False)
    assert (frozen.item(), v.item(), theta.item()) == (False, 3007, 4916)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_integer_current_and_potential_are_bounded_and_shifts_round_down(implementation):
    currents = np.array([[32767, 40000, -40000, -1, 1, 7]] + [[0, 0, -(2**31), 0, 0, 0]] * 60)
    _, v, _ = run_excitatory(implementation, "diehl_cook_int", currents, 10**6, learning=False)
    assert v[0].tolist() == [4927, 4927, -4928, -1, 0, 1]
    assert v[1].tolist() == [4927 * 1013 >> 10, 4927 * 1013 >> 10, (-4928 * 1013 >> 10) - 4928, -1, 0, 0]
    assert v.min() == v[-1, 2] == -32767


def test_a_group_that_is_linear_as_it_says_passes():
    class Delegating(neurons.LIF):
        @staticmethod
        def excitatory(p, *state):
            return neurons.LIF.excitatory(p, *state)

        linear_excitatory = excitatory

    Delegating.check(parameters("lif_stdp"))


@pytest.mark.parametrize("place, change", [(1, 1e-6), (3, 1e-7)], ids=["v", "theta"])
def test_a_group_that_is_not_linear_though_it_says_so_is_refused(place, change):
    class Drifting(neurons.LIF):
        @staticmethod
        def excitatory(p, *state):
            after = list(neurons.LIF.excitatory(p, *state))
            after[place] = after[place] + change
            return tuple(after)

        linear_excitatory = excitatory

    with pytest.raises(UserError, match="Drifting: `excitatory` is not what `between_spikes` says"):
        Drifting.check(parameters("lif_stdp"))
