"""Every learning rule against plain loops written from the specification, on both engines, by `replay`."""

import numpy as np
import pytest
from helpers import oracle

from stdp_run import neurons, replay, rules
from stdp_run.config.build import published_parameters
from stdp_run.engines.event.learning import implementation_of
from stdp_run.errors import UserError

ENGINES = ("torch", "event")
PAIR_RULES = ("nearest_online", "full_online")
SPAIC = (*PAIR_RULES, "meta_nearest_online")  # whose published constants are those of SPAIC
# Compiling takes seconds: of the rules that share a frame, one stands for the others, which `-m slow` runs.
COMPILED_FAST = ("nearest_online", "post_pre_int")
RUNS = [
    pytest.param(rule, engine, marks=[] if engine == "torch" or rule in COMPILED_FAST else pytest.mark.slow)
    for rule in rules
    for engine in ENGINES
    if engine == "torch" or implementation_of(rules[rule])
]
float_rules = pytest.mark.parametrize(
    ("rule", "engine"), [run for run in RUNS if rules[run.values[0]].arithmetic == "float"]
)


def spike_trains(seed, n_steps, n_inputs, n_exc, pre_rate, post_rate):
    """Return random pre[T, I] and post[T, E]."""
    rng = np.random.default_rng(seed)
    pre = rng.random((n_steps, n_inputs)) < pre_rate
    post = rng.random((n_steps, n_exc)) < post_rate
    return pre.astype(np.uint8), post.astype(np.uint8)


def expected_history(rule, pre, post, weight, threshold=None, **constants):
    threshold = None if threshold is None else threshold.tolist()
    return np.array(oracle.replay(rule, pre.tolist(), post.tolist(), weight.tolist(), threshold, **constants))


# (T, I, E, share of steps in which an input spikes, and a neuron)
SHAPES = {
    "sparse": (120, 50, 7, 0.02, 0.02),
    "dense": (120, 50, 7, 0.4, 0.3),
    "every step": (60, 33, 3, 1.0, 1.0),
    "silent neurons": (60, 33, 3, 0.3, 0.0),
    "silent inputs": (60, 33, 3, 0.0, 0.3),
    "one step": (1, 50, 7, 0.5, 0.5),
    "a whole image": (250, 17, 3, 0.05, 0.03),
    "one input": (80, 1, 3, 0.3, 0.2),
    "one neuron": (80, 50, 1, 0.1, 0.1),
    "one synapse": (50, 1, 1, 0.3, 0.3),
    "many inputs": (40, 300, 2, 0.1, 0.2),
}


@pytest.mark.parametrize("shape", SHAPES)
@float_rules
def test_float_rules_agree_with_the_plain_loops(rule, shape, engine):
    n_steps, n_inputs, n_exc, pre_rate, post_rate = SHAPES[shape]
    pre, post = spike_trains(1, n_steps, n_inputs, n_exc, pre_rate, post_rate)
    weight = np.random.default_rng(2).uniform(0, 0.3, (n_exc, n_inputs))
    norm = {"w_norm": 0.1 * n_inputs} if "w_norm" in rules[rule].parameters else {}
    expected = expected_history(rule, pre, post, weight, **norm)
    history = replay(rule, pre, post, weight, engine=engine)
    assert history.shape == (n_steps, n_exc, n_inputs)
    assert history.dtype == np.float64
    assert np.abs(history - expected).max() < 1e-12


# What a case is for is asserted on the plain loops' weights, so that no case is idle.
def some_at_1(history):
    return 0 < (history[-1] == 1).mean() < 1


def all_at_1(history):
    return (history[-1] == 1).all()


def some_at_0(history):
    return 0.02 < (history[-1] == 0).mean() < 1


def finite(history):
    return np.isfinite(history).all()


PAIR_CASES = {
    "no a_pre": ({"a_pre": 0.0}, finite),
    "neither": ({"a_pre": 0.0, "a_post": 0.0}, finite),
    "quarter of the inputs": ({"w_norm": 10.0, "a_post": 0.1}, finite),
    "clamp at 1 binds": ({"w_norm": 25.0, "a_post": 0.5}, some_at_1),
    "clamp at 1 binds nearly everywhere": ({"w_norm": 39.0, "a_post": 0.5, "a_pre": 0.01}, some_at_1),
    "all saturate": ({"w_norm": 400.0}, all_at_1),
    "tiny norm": ({"w_norm": 0.01}, finite),
    "clamp at 0 binds": ({"a_pre": 0.2, "a_post": 0.1}, some_at_0),
    "clamps at 0 and 1 bind": ({"a_pre": 0.3, "a_post": 0.6, "w_norm": 15.0}, lambda h: some_at_0(h) and some_at_1(h)),
    "rises at input spikes, falls at output spikes": ({"a_pre": -0.05, "a_post": -0.05}, finite),
    "falls at output spikes, below 0": ({"a_pre": 0.0, "a_post": -0.05}, some_at_0),
    "slow traces": ({"tau_pre": 500.0, "tau_post": 300.0, "a_post": 0.02}, finite),
    "fast traces": ({"tau_pre": 0.5, "tau_post": 1.0, "a_post": 0.3}, finite),
    "w_max below 1": ({"w_max": 0.35, "w_norm": 10.0, "a_post": 0.2}, lambda h: (h[-1] == 0.35).any()),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pre_rate, post_rate", [(0.05, 0.03), (0.3, 0.2)])
@pytest.mark.parametrize("case", PAIR_CASES)
@pytest.mark.parametrize("rule", PAIR_RULES)
def test_pair_rules_agree_with_the_plain_loops_where_norm_and_clamps_bind(rule, case, pre_rate, post_rate, engine):
    constants, purpose = PAIR_CASES[case]
    constants = {"w_norm": 4.0, **constants}
    pre, post = spike_trains(3, 100, 40, 5, pre_rate, post_rate)
    post[:, 0] = 0
    post[40, 1:] = 1
    weight = np.random.default_rng(4).uniform(0, 0.3, (5, 40))
    expected = expected_history(rule, pre, post, weight, **constants)
    assert purpose(expected) or (rule == "full_online" and case != "all saturate"), "the case must do what it says"
    history = replay(rule, pre, post, weight, engine=engine, **constants)
    assert np.abs(history - expected).max() < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("w_norm", [78.4, 150.0, 260.0, 500.0])
@pytest.mark.parametrize("rule", PAIR_RULES)
def test_pair_rules_agree_with_the_plain_loops_where_hundreds_of_weights_saturate(rule, w_norm, engine):
    pre, post = spike_trains(5, 40, 300, 2, 0.2, 0.2)
    weight = np.random.default_rng(6).uniform(0, 0.3, (2, 300))
    constants = {"w_norm": w_norm, "a_post": 0.3, "a_pre": 0.02}
    expected = expected_history(rule, pre, post, weight, **constants)
    if w_norm > 200:
        assert (expected == 1).sum(axis=2).max() > 128
    history = replay(rule, pre, post, weight, engine=engine, **constants)
    assert np.abs(history - expected).max() < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("a_pre", [0.0, 1e-4, 0.5])
@pytest.mark.parametrize("rule", PAIR_RULES)
def test_a_row_of_zeros_stays_until_its_own_spike(rule, a_pre, engine):
    pre, post = spike_trains(7, 60, 30, 4, 0.2, 0.1)
    post[:, 1] = 0
    weight = np.random.default_rng(8).uniform(0, 0.3, (4, 30))
    weight[:2] = 0
    constants = {"w_norm": 3.0, "a_pre": a_pre}
    expected = expected_history(rule, pre, post, weight, **constants)
    history = replay(rule, pre, post, weight, engine=engine, **constants)
    assert not history[:, 1].any()
    assert history[-1, 0].any()
    assert np.abs(history - expected).max() < 1e-12


@pytest.mark.parametrize("seed", range(12))
@float_rules
def test_float_rules_agree_with_the_plain_loops_for_random_constants(rule, seed, engine):
    rng = np.random.default_rng(100 + seed)
    n_steps, n_inputs, n_exc = (int(n) for n in rng.integers((20, 2, 1), (80, 60, 7)))
    pre, post = spike_trains(seed, n_steps, n_inputs, n_exc, *(10 ** rng.uniform(-2, -0.3, 2)))
    constants = {
        "a_post": 10 ** rng.uniform(-3, -0.3),
        "a_pre": 10 ** rng.uniform(-5, -0.5),
        "tau_pre": 10 ** rng.uniform(0, 2.5),
        "tau_post": 10 ** rng.uniform(0, 2.5),
    }
    if rule == "meta_nearest_online":
        constants["a_pre"] *= 1e-2
    else:
        constants["w_norm"] = n_inputs * 10 ** rng.uniform(-2, 0.3)
    for name in ("eta", "eta_post", "a_plus", "a_minus"):
        constants[name] = constants["a_post"]
    constants |= {
        "eta_pre": constants["a_pre"],
        "tau_post_slow": 3 * constants["tau_post"],
        "x_tar": rng.uniform(0, 2),
        "mu": rng.uniform(0, 2),
        "beta": rng.uniform(0, 3),
        "b_minus": rng.uniform(0, 3),
        "t_ltp": float(rng.integers(1, 40)),
        "normalise": ("never", "last_step", "every_step", "before_presentation")[seed % 4],
    }
    constants = {name: value for name, value in constants.items() if name in rules[rule].parameters}
    weight = rng.uniform(0, 0.3, (n_exc, n_inputs))
    expected = expected_history(rule, pre, post, weight, **constants)
    history = replay(rule, pre, post, weight, engine=engine, **constants)
    assert np.abs(history - expected).max() < 1e-12


META_CASES = {
    "no a_pre": {"a_pre": 0.0},
    "large changes": {"a_post": 0.2, "a_pre": 0.01},
    "bounds within the weights": {"w_min": 0.1, "w_max": 0.2, "a_post": 0.1, "a_pre": 1e-3},
    "bounds below 0": {"w_min": -0.5, "w_max": 0.5, "a_post": 0.1, "a_pre": 1e-3},
    "fast traces": {"tau_pre": 2.0, "tau_post": 3.0, "a_post": 0.1},
    "other shares": {"target_share": 0.5, "bound": 0.02, "a_post": 0.1, "a_pre": 1e-3},
    "changes of the other sign": {"a_post": -0.02, "a_pre": -1e-3},
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", META_CASES)
def test_meta_nearest_online_agrees_with_the_plain_loops_at_its_bounds(case, engine):
    pre, post = spike_trains(9, 100, 40, 5, 0.2, 0.1)
    weight = np.random.default_rng(10).uniform(0, 0.3, (5, 40))
    expected = expected_history("meta_nearest_online", pre, post, weight, **META_CASES[case])
    history = replay("meta_nearest_online", pre, post, weight, engine=engine, **META_CASES[case])
    assert np.abs(history - expected).max() < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
def test_meta_nearest_online_agrees_with_the_plain_loops_where_a_row_is_zero(engine):
    pre, post = spike_trains(9, 100, 40, 5, 0.2, 0.1)
    weight = np.random.default_rng(10).uniform(0, 0.3, (5, 40))
    weight[2] = 0
    expected = expected_history("meta_nearest_online", pre, post, weight)
    history = replay("meta_nearest_online", pre, post, weight, engine=engine)
    assert np.abs(history - expected).max() < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rule", ["full_online", "post_pre_int"])
def test_weights_that_start_above_w_max_are_clamped_at_the_first_step(rule, engine):
    start, w_max = {"full_online": (0.3, 0.2), "post_pre_int": (32, 16)}[rule]
    history = replay(rule, np.zeros((2, 3)), np.zeros((2, 1)), np.full((1, 3), start), engine=engine, w_max=w_max)
    assert (history[0] == w_max).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_halved_weights_are_clamped_to_w_min(engine):
    silence = np.zeros((1, 1), int)
    history = replay("post_pre_int", silence, silence, [[10]], engine=engine, threshold=[[5000]], w_min=8)
    assert history.item() == 8


@pytest.mark.parametrize("engine", ENGINES)
def test_nearest_online_by_hand(engine):
    # 2 inputs, 1 neuron, d = 1/2 per step, a_post = 0.5, a_pre = 0.25, w_norm = 1, w_max = 0.75.
    #   step  s_in   s_exc  x          y    w + dw                                norm   scaled        clamped
    #   1     1 0    0      1    0     0    0.2, 0.3                              0.5    0.4, 0.6      0.4, 0.6
    #   2     0 0    1      0.5  0     1    0.4 + 0.5 * 0.5 = 0.65, 0.6           1.25   0.52, 0.48    0.52, 0.48
    #   3     0 1    1      0.25 1     1    0.52 + 0.5 * 0.25, 0.48 + 0.5 - 0.25  1.375  0.645, 0.73   as shares
    history = replay(
        "nearest_online",
        [[1, 0], [0, 0], [0, 1]],
        [[0], [1], [1]],
        [[0.2, 0.3]],
        engine=engine,
        tau_pre=1 / np.log(2),
        tau_post=1 / np.log(2),
        a_post=0.5,
        a_pre=0.25,
        w_norm=1.0,
        w_max=0.75,
    )
    expected = [[[0.4, 0.6]], [[0.52, 0.48]], [[0.645 / 1.375, 0.73 / 1.375]]]
    assert np.abs(history - expected).max() < 1e-15


@pytest.mark.parametrize("engine", ENGINES)
def test_full_online_by_hand(engine):
    # As above, but two spikes of an input add up to x = 1.5, and the norm comes at the last step only.
    constants = {"tau_pre": 1 / np.log(2), "tau_post": 1 / np.log(2), "a_post": 0.5, "a_pre": 0.25, "w_norm": 1.0}
    pre, post = [[1, 0], [1, 0], [0, 1]], [[0], [1], [0]]
    history = replay("full_online", pre, post, [[0.2, 0.3]], engine=engine, **constants)
    # Step 2: x = 1.5, y = 1: 0.2 + 0.75 - 0.25 = 0.7.  Step 3: y = 0.5: 0.3 - 0.125 = 0.175, then both over 0.875.
    assert np.abs(history - [[[0.2, 0.3]], [[0.7, 0.3]], [[0.8, 0.2]]]).max() < 1e-15


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rule", SPAIC)
def test_left_out_constants_have_the_published_values(rule, engine):
    pre, post = spike_trains(11, 60, 20, 3, 0.2, 0.1)
    weight = np.random.default_rng(12).uniform(0, 0.3, (3, 20))
    stated = {
        "nearest_online": {"a_post": 1e-2, "a_pre": 1e-4, "tau_pre": 20, "tau_post": 20, "w_norm": 2.0, "w_max": 1},
        "full_online": {"a_post": 1e-2, "a_pre": 1e-4, "tau_pre": 20, "tau_post": 20, "w_norm": 2.0, "w_max": 1},
        "meta_nearest_online": {
            "a_post": 1e-2,
            "a_pre": 1e-4,
            "tau_pre": 30,
            "tau_post": 200,
            "target_share": 0.1,
            "bound": 0.2,
            "w_min": 0,
            "w_max": 1,
        },
    }[rule]
    left_out = replay(rule, pre, post, weight, engine=engine)
    assert (left_out == replay(rule, pre, post, weight, engine=engine, **stated)).all()


# Measured: 4.3e-7 (meta_nearest_online on torch) or less. Weights are below 1, where float32 has steps of 6e-8.
FLOAT32_DIFFERENCE = 2e-6


# The event engine compiles anew for float32, which takes seconds: a rule of each frame.
IN_FLOAT32 = [(rule, "torch") for rule in (*SPAIC, "triplet", "power_law_pre_post")]
IN_FLOAT32 += [pytest.param(rule, "event", marks=pytest.mark.slow) for rule in ("nearest_online", "triplet")]


@pytest.mark.parametrize(("rule", "engine"), IN_FLOAT32)
def test_in_float32_the_difference_is_rounding(rule, engine):
    pre, post = spike_trains(13, 250, 100, 5, 0.05, 0.05)
    weight = np.random.default_rng(14).uniform(0, 0.3, (5, 100))
    fine = replay(rule, pre, post, weight, engine=engine)
    coarse = replay(rule, pre, post, weight, engine=engine, dtype="float32")
    assert coarse.dtype == np.float32
    assert 0 < np.abs(coarse - fine).max() < FLOAT32_DIFFERENCE


@pytest.mark.parametrize(("rule", "engine"), RUNS)
def test_replay_leaves_its_arguments_alone_and_gives_the_same_again(rule, engine):
    pre, post = spike_trains(15, 20, 16, 16, 0.3, 0.3)
    whole = rules[rule].arithmetic == "int"
    weight = np.random.default_rng(16).integers(0, 32, (16, 16)) * (1 if whole else 0.01)
    weight = weight.astype(np.int32 if whole else np.float64)
    threshold = np.full((20, 16), 5000, np.int32)
    before = [array.copy() for array in (pre, post, weight, threshold)]
    first = replay(rule, pre, post, weight, engine=engine, threshold=threshold)
    again = replay(rule, pre, post, weight, engine=engine, threshold=threshold)
    assert (first == again).all()
    assert all((a == b).all() for a, b in zip(before, (pre, post, weight, threshold), strict=True))


# ------------------------------------------------------------------------------------------------------------------
# post_pre_int


INT_CASES = {
    "both rise": {"nu0": 1, "nu1": 1, "shift": 0, "w_max": 1000},
    "input spikes depress": {"nu0": -3 * 4, "nu1": 2 * 4, "shift": 2, "w_min": -20000, "w_max": 20000},
    "clamp at 109 binds": {"nu0": 16384, "nu1": 16384, "shift": 14},
    "clamp at 0 binds": {"nu0": -16384, "nu1": 0, "shift": 14},
    "both clamps bind": {"nu0": -2, "nu1": 1, "shift": 0},
    "small traces": {"nu0": 8, "nu1": 16, "shift": 3, "trace_scale": 5, "w_max": 500},
    "slow decay": {"nu0": 1, "nu1": 1, "shift": 0, "trace_decay": 32767, "w_max": 30000},
    "no decay, no memory": {"nu0": 4, "nu1": 8, "shift": 2, "trace_decay": 0, "w_max": 900},
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", ["sparse", "dense", "every step", "one step", "one synapse", "a whole image"])
@pytest.mark.parametrize("case", INT_CASES)
def test_post_pre_int_agrees_exactly_where_nothing_is_rounded(case, shape, engine):
    n_steps, n_inputs, n_exc, pre_rate, post_rate = SHAPES[shape]
    pre, post = spike_trains(21, n_steps, n_inputs, n_exc, pre_rate, post_rate)
    rng = np.random.default_rng(22)
    weight = rng.integers(0, 33, (n_exc, n_inputs))
    threshold = rng.choice([213, 4914, 4915, 4916, 9000], (n_steps, n_exc), p=[0.6, 0.1, 0.15, 0.1, 0.05])
    expected = expected_history("post_pre_int", pre, post, weight, threshold, **INT_CASES[case])
    history = replay("post_pre_int", pre, post, weight, engine=engine, threshold=threshold, **INT_CASES[case])
    assert history.dtype == np.int32
    assert (history == expected).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_halve_only_above_the_threshold_and_before_the_clamp(engine):
    # No spikes but one: input 1 and the neurons 0 and 1 at step 2, where nu1 x = 127 units are added.
    pre, post = np.zeros((3, 2), int), np.zeros((3, 3), int)
    pre[1, 1] = post[1, 0] = post[1, 1] = 1
    threshold = np.array([[4915, 4916, 213], [4916, 4915, 9999], [213, 213, 213]])
    weight = np.array([[33, 100], [33, 100], [33, 100]])
    history = replay(
        "post_pre_int", pre, post, weight, engine=engine, threshold=threshold, nu0=0, nu1=1, shift=0, max_threshold=4915
    )
    assert history[0].tolist() == [[33, 100], [16, 50], [33, 100]]
    # Neuron 0: (100 + 127) >> 1 = 113, clamped to 109. Neuron 1: 50 + 127, clamped. Neuron 2 halves without a spike.
    assert history[1].tolist() == [[16, 109], [16, 109], [16, 50]]
    assert (history[2] == history[1]).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("nu0, nu1", [(14, 141), (-14, 141), (14, -141), (-100, 20000), (1, 1)])
def test_stochastic_rounding_has_the_right_mean_and_variance(nu0, nu1, engine):
    # Each of 40,000 synapses gets sr(127 nu0) and sr(127 nu1) in one step, rounded independently.
    n = 200
    ones = np.ones((1, n), np.uint8)
    bounds = {"w_min": -(10**6), "w_max": 10**6}
    history = replay("post_pre_int", ones, ones, np.zeros((n, n), int), engine=engine, nu0=nu0, nu1=nu1, **bounds)
    exact = [127 * nu / 2**14 for nu in (nu0, nu1)]
    share = [value - np.floor(value) for value in exact]
    variance = sum(p * (1 - p) for p in share)
    change = history[0].astype(float)
    assert abs(change.mean() - sum(exact)) < 4 * np.sqrt(variance / n**2)
    # The fourth central moment of a sum of two independent 0/1 draws bounds the spread of the sample variance.
    fourth = sum(p * (1 - p) * (1 - 3 * p * (1 - p)) for p in share) + 6 * np.prod([p * (1 - p) for p in share])
    assert abs(change.var() - variance) < 5 * np.sqrt((fourth - variance**2) / n**2)
    assert set(np.unique(history)) <= {sum(np.floor(exact)) + k for k in (0, 1, 2)}


@pytest.mark.parametrize("engine", ENGINES)
def test_stochastic_rounding_draws_anew_for_every_synapse_step_and_seed(engine):
    # With trace_decay = 2^15 and nu1 x = 1/2 each output spike is a fair coin.
    n = 100
    ones = np.ones((8, n), np.uint8)
    constants = {"nu0": 0, "nu1": 1, "shift": 1, "trace_scale": 1, "w_max": 10**6, "engine": engine}
    start = np.zeros((n, n), int)
    coins = np.diff(replay("post_pre_int", ones, ones, start, **constants), axis=0, prepend=start[None]) - 0.5
    other = np.diff(replay("post_pre_int", ones, ones, start, seed=1, **constants), axis=0, prepend=start[None]) - 0.5
    assert set(np.unique(coins)) == {-0.5, 0.5}

    def unrelated(a, b):
        return abs((a * b).mean()) < 5 * 0.25 / np.sqrt(a.size)

    assert unrelated(coins[1:], coins[:-1])
    assert unrelated(coins[:, 1:], coins[:, :-1])
    assert unrelated(coins[:, :, 1:], coins[:, :, :-1])
    assert unrelated(coins, coins.transpose(0, 2, 1)[:, ::-1])
    assert unrelated(coins, other)


@pytest.mark.parametrize("density", [(0.05, 0.03), (0.4, 0.3)])
@pytest.mark.parametrize("constants", [{}, {"nu0": -14}, {"nu0": 300, "nu1": -700}, {"nu1": 3000, "w_max": 40}])
def test_post_pre_int_is_the_same_bit_for_bit_on_both_engines(constants, density):
    pre, post = spike_trains(23, 100, 50, 7, *density)
    rng = np.random.default_rng(24)
    weight = rng.integers(0, 33, (7, 50))
    threshold = rng.choice([213, 5000], (100, 7), p=[0.9, 0.1])
    by_torch, by_event = (
        replay("post_pre_int", pre, post, weight, engine=engine, threshold=threshold, seed=9, **constants)
        for engine in ENGINES
    )
    assert by_torch.dtype == by_event.dtype == np.int32
    assert (by_torch == by_event).all()
    assert (by_torch[-1] != weight).any()


@pytest.mark.parametrize("engine", ENGINES)
def test_post_pre_int_rounds_with_the_stated_random_words(engine):
    # counter = (step, neuron * I + pixel, image index, epoch); word 0 presynaptic, word 1 postsynaptic; stream 4.
    pre, post = spike_trains(25, 30, 6, 4, 0.4, 0.3)
    weight = np.full((4, 6), 16)
    history = replay("post_pre_int", pre, post, weight, engine=engine, seed=77)
    state = oracle.PostPreInt(weight.tolist(), nu0=0, nu1=0)
    expected = weight.copy()
    for t in range(30):
        state.step(pre[t].tolist(), post[t].tolist(), False, [0] * 4)
        for i in range(4):
            for j in range(6):
                words = oracle.philox((t, i * 6 + j, 0, 0), (77, 4))
                for spikes, amount, word in (
                    (pre[t, j], 14 * state.y[i], words[0]),
                    (post[t, i], 141 * state.x[j], words[1]),
                ):
                    if spikes:
                        expected[i, j] += amount // 2**14 + (word % 2**14 < amount % 2**14)
        expected = expected.clip(0, 109)
        assert (history[t] == expected).all()


def test_the_default_presynaptic_update_adds():
    ones = np.ones((1, 100), np.uint8)
    history = replay("post_pre_int", ones, ones, np.zeros((100, 100), int), nu1=0)
    assert 0.08 < history.mean() < 0.14  # 14 * 127 / 2^14 = 0.1085


# ------------------------------------------------------------------------------------------------------------------
# Names and errors


def test_the_registries_list_what_is_published():
    assert list(rules) == list(oracle.RULES)
    assert len(rules) == len(oracle.RULES) >= 4


@pytest.mark.parametrize(
    "spelling, name",
    [
        ("Nearest_Online", "nearest_online"),
        ("nearest_online_stdp", "nearest_online"),
        ("NEAREST_ONLINE_STDP", "nearest_online"),
        ("full_online_STDP", "full_online"),
        ("full_online_stdp", "full_online"),
        ("Full_Online", "full_online"),
        ("meta_nearest_online_stdp", "meta_nearest_online"),
        ("META_nearest_online", "meta_nearest_online"),
        ("postpreintstdp", "post_pre_int"),
        ("PostPreIntSTDP", "post_pre_int"),
        ("postpreint", "post_pre_int"),
        ("POST_PRE_INT", "post_pre_int"),
    ],
)
def test_published_spellings_in_any_case_mean_the_rule(spelling, name):
    assert spelling in rules
    assert rules[spelling] is rules[name]
    weight = np.full((1, 2), 3)
    both = [replay(each, [[1, 0]], [[1]], weight) for each in (spelling, name, rules[name], rules[name]())]
    assert all((history == both[0]).all() for history in both)


@pytest.mark.parametrize("name", ["", "nearest", "stdp", "nearest_online "])
def test_other_names_are_not_in_the_registries(name):
    assert name not in rules
    assert name not in neurons
    with pytest.raises(KeyError):
        rules[name]
    with pytest.raises(KeyError):
        neurons[name]


def test_neuron_groups_are_found_in_any_case():
    assert neurons["Diehl_Cook"] is neurons["diehl_cook"]


@pytest.mark.parametrize(
    "arguments, named",
    [
        ({"rule": "hebb"}, ("rule=hebb", *rules)),
        ({"engine": "spaic"}, ("engine=spaic", "torch", "event")),
        ({"zz": 1}, ("zz=1", "a_post", "w_norm")),
        ({"a_post": "much"}, ("a_post=much", "a number")),
        ({"a_post": float("nan")}, ("a_post=nan", "a number")),
        ({"a_post": True}, ("a_post=true", "a number")),
        ({"tau_pre": 0}, ("tau_pre=0", "above 0")),
        ({"w_norm": -1}, ("w_norm=-1", "above 0")),
        ({"nu0": 1}, ("nu0=1", "a_post")),
        ({"rule": "post_pre_int", "shift": 31}, ("shift=31", "0 to 30")),
        ({"rule": "post_pre_int", "nu0": 1.5}, ("nu0=1.5", "whole")),
        ({"rule": "post_pre_int", "a_post": 1}, ("a_post=1", "nu0")),
        ({"pre": np.ones((4, 3))}, ("(4, 3)", "pre[T, I]")),
        ({"pre": np.ones((5, 2))}, ("(5, 2)", "pre[T, I]")),
        ({"post": np.ones((4, 3))}, ("(4, 3)", "post[T, E]")),
        ({"post": np.ones(4)}, ("(4,)", "post[T, E]")),
        ({"weight": np.ones(2)}, ("(2,)", "weight[E, I]")),
        ({"threshold": np.ones((3, 1))}, ("(3, 1)", "threshold[T, E]")),
    ],
)
def test_mistakes_are_told_in_one_line_with_what_is_allowed(arguments, named):
    given = {"rule": "nearest_online", "pre": np.ones((4, 2)), "post": np.ones((4, 1)), "weight": np.ones((1, 2))}
    with pytest.raises(UserError) as caught:
        replay(**{**given, **arguments})
    text = str(caught.value)
    assert "\n" not in text
    for part in named:
        assert part in text


@pytest.mark.parametrize("rule", SPAIC)
def test_the_published_constants_stand_in_the_yaml(rule):
    _, constants = published_parameters(rule, 784)
    assert constants["a_post"] == 1e-2
    assert constants["a_pre"] == 1e-4
    taus = (30, 200) if rule == "meta_nearest_online" else (20, 20)
    assert (constants["tau_pre"], constants["tau_post"]) == taus
    assert constants.get("w_norm", 78.4) == pytest.approx(78.4, rel=1e-15)
    assert constants["w_max"] == 1


def test_the_published_constants_of_post_pre_int_stand_in_the_yaml():
    assert published_parameters("post_pre_int", 784)[1] == {
        "nu0": 14,
        "nu1": 141,
        "shift": 14,
        "trace_decay": 31169,
        "trace_scale": 127,
        "max_threshold": 4915,
        "w_min": 0,
        "w_max": 109,
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"dtype": "float99"}, "dtype=float99: must be one of float32, float64"),
        ({"dt": 0}, "dt=0: must be a number above 0"),
        ({"seed": -1}, "seed=-1: must be a whole number from 0"),
        ({"pre": [[2.0, 0.0]]}, "pre: spikes must be 0 or 1"),
        ({"weight": 0.5}, r"weight \(\), threshold"),
        ({"weight": [[-0.1, 0.2]]}, "weight: must be 0 or more"),
        ({"rule": 3}, "rule=3: must be the name of a rule"),
        ({"rule": "post_pre_int", "weight": [[0.5, 1]]}, "weight: must be whole numbers"),
    ],
)
def test_replay_refuses_what_it_cannot_mean(arguments, expected):
    given = {"rule": "nearest_online", "pre": [[1, 0]], "post": [[1]], "weight": [[0.1, 0.2]], **arguments}
    with pytest.raises(UserError, match=expected):
        replay(given.pop("rule"), given.pop("pre"), given.pop("post"), given.pop("weight"), **given)
