"""The frames of float rules: known limits, silent inputs, matrix products, mistakes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stdp_run import replay, rules
from stdp_run.config.build import build_rule, published
from stdp_run.errors import UserError
from stdp_run.rules import NearestOnline, PairRule, SpikeRule, Step
from stdp_run.rules.base import Reduction

SPIKE_RULES = [name for name, rule in rules.registered.items() if issubclass(rule, SpikeRule)]
seeds, gains = st.integers(0, 2**32 - 1), st.floats(1e-4, 0.1)


def spikes(seed=0):
    """Return pre[T, I], post[T, E] and weight[E, I]."""
    rng = np.random.default_rng(seed)
    pre, post = (rng.random((80, n)) < 0.1 for n in (30, 4))
    return pre, post, rng.uniform(0.2, 0.5, (4, 30))


def history(rule, arrays, **constants):
    return replay(rule, *arrays, **{"normalise": "never", **constants})


# Two rules that meet in a limit: the name of each, of its gain at output spikes, and its constants there.
LIMITS = [
    (("power_law", "eta", {"mu": 0.0}), ("exponential", "eta", {"beta": 0.0})),
    (("power_law_pre_post", "eta_post", {"eta_pre": 0.0}), ("power_law", "eta", {})),
    (("triplet", "a_post", {"tau_post_slow": 1e15}), ("nearest_online", "a_post", {})),  # y2 stays 1
]


@pytest.mark.parametrize("rules_alike", LIMITS)
@given(seeds, gains)
def test_rules_are_the_same_in_their_known_limits(rules_alike, seed, gain):
    pre, post, weight = spikes(seed)
    pre[0], post[0] = False, True  # sets y2 to 1
    first, second = (history(rule, (pre, post, weight), **{name: gain}, **more) for rule, name, more in rules_alike)
    assert np.abs(first - second).max() < 1e-12


@given(seeds, st.floats(0, 0.9))
def test_bounds_are_soft_where_changes_shrink_towards_them(seed, gain):
    for rule, names in (("weight_dependent", ("a_post", "a_pre")), ("multiplicative", ("a_plus", "a_minus"))):
        weights = history(rule, spikes(seed), **dict.fromkeys(names, gain))
        assert weights.min() > 0 and weights.max() < 1


@pytest.mark.parametrize("rule", SPIKE_RULES)
def test_only_rules_that_say_so_change_inputs_that_have_not_spiked(rule):
    pre, post, weight = spikes()
    pre[:, :5] = False
    change = history(rule, (pre, post, weight))[-1, :, :5] - weight[:, :5]
    assert (change < 0).all() if rules[rule].changes_silent_inputs else not change.any()


@pytest.mark.parametrize("dt", [1.0, 0.5, 0.1])
def test_recent_is_a_time_and_not_a_number_of_steps(dt):
    steps = round(3 / dt)
    for late in (0, 1):
        pre, post = np.zeros((2, steps + 2, 1), bool)
        pre[0] = post[steps + late] = True
        change = history("rectangular", (pre, post, [[0.5]]), t_ltp=3.0, dt=dt)[-1].item() - 0.5
        assert (change > 0) is (late == 0)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("a_pre", [0.0, 0.2])
def test_products_of_matrices_are_the_step_of_the_frame(a_pre, reduction):
    p = build_rule(PairRule, published("rule", "nearest_online"), 1.0, 784)
    p = p._replace(a_pre=a_pre, a_post=0.3, w_norm=4.0)
    rng = np.random.default_rng(0)
    traces = {name: torch.from_numpy(rng.random((4, n))) for name, n in (("x", 30), ("y", 5), ("y2", 5))}
    pre, post = ((torch.from_numpy(rng.random((4, n))) < 0.4).double() for n in (30, 5))
    weight = torch.from_numpy(rng.uniform(0, 0.3, (5, 30)))
    step = Step(pre, post, post * 0, 0.7, False, Reduction(reduction), lambda: None)
    by_products, kept = NearestOnline.step(p, step, weight, traces)
    by_frame, kept_by_frame = SpikeRule.step.__func__(NearestOnline, p, step, weight, traces)
    assert (by_products - by_frame).abs().max() < 1e-14
    assert (by_products - weight).abs().max() > 0.01
    assert all((kept[name] == kept_by_frame[name]).all() for name in ("x", "y"))


MISTAKES = [
    ("triplet", "pre_trace", lambda p, x, spike: x + 1.0, "leave start_pre as it is"),
    ("triplet", "post_trace", lambda p, y, spike: y + 0.5, "leave 0 as it is"),
    ("triplet", "second_trace", lambda p, y2, spike: 1 - y2, "leave 0 as it is"),
    ("triplet", "at_input", lambda p, w, x, y, y2: -0.1 * w, "be 0 where y and y2 are 0"),
    ("triplet", "at_output", lambda p, w, x, y, y2: x - 0.4, "be 0 for an x before the first input spike"),
    # torch takes a choice of two numbers for float32.
    ("multiplicative", "at_output", lambda p, w, *_: torch.tensor(1.0), "give numbers of the type of its arguments"),
]


@pytest.mark.parametrize(("base", "name", "function", "what"), MISTAKES)
def test_a_rule_about_which_the_engines_would_differ_is_refused(base, name, function, what):
    rule = type("Mistaken", (rules[base],), {name: staticmethod(function)})
    with pytest.raises(UserError, match=rf"Mistaken.{name}: must {what}"):
        rule.check(build_rule(rule, published("rule", base), 1.0, 784))
