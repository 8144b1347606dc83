"""The frame of float rules: known limits, silent inputs, when rows are normalised, and bad input."""

import numpy as np
import pytest
from helpers.networks import largest_difference, learn, make, make_model, mnist

from stdp_run import replay, rules
from stdp_run.config.build import build_rule, published
from stdp_run.errors import UserError
from stdp_run.network import initial_state
from stdp_run.parameters import cast, choice, duration, named_parameters
from stdp_run.rules import SpikeRule
from stdp_run.rules.spike import OCCASIONS

rng = np.random.default_rng(0)
PRE, POST = (rng.random((80, n)) < share for n, share in ((30, 0.1), (4, 0.1)))
WEIGHT = rng.uniform(0.2, 0.5, (4, 30))
SPIKE_RULES = [name for name, rule in rules.registered.items() if issubclass(rule, SpikeRule)]


def history(rule, pre=PRE, post=POST, weight=WEIGHT, **constants):
    return replay(rule, pre, post, weight, **{"normalise": "never", **constants})


# ------------------------------------------------------------------------------------------------------------------
# Known limits


def test_with_mu_0_and_beta_0_the_power_law_and_the_exponential_are_additive_and_the_same():
    power = history("power_law", mu=0)
    assert np.abs(power - history("exponential", beta=0)).max() < 1e-14
    # Additive: what a weight changes by does not depend on it, away from the bounds.
    shifted = history("power_law", mu=0, weight=WEIGHT + 0.1)
    away = (power > 0).all(axis=0) & (shifted < 1).all(axis=0)
    assert away.mean() > 0.9
    assert np.abs(shifted - power - 0.1)[:, away].max() < 1e-14
    assert np.abs(history("power_law", mu=0.5, weight=WEIGHT + 0.1) - history("power_law", mu=0.5) - 0.1).max() > 0.01


@pytest.mark.parametrize("rule", ["power_law", "exponential"])
def test_with_a_target_of_0_nothing_depresses(rule):
    assert (np.diff(history(rule, x_tar=0.0), axis=0) >= 0).all()
    assert (np.diff(history(rule), axis=0) < 0).any()


def test_a_power_law_without_depression_at_input_spikes_is_the_power_law_of_output_spikes():
    both = history("power_law_pre_post", eta_pre=0.0, eta_post=0.02), history("power_law", eta=0.02)
    assert (both[0] == both[1]).all()


def test_the_triplet_rule_with_its_second_trace_at_1_is_the_pair_rule():
    pre, post = PRE.copy(), POST.copy()
    pre[0], post[0] = False, True  # the spike from which y2 stays at 1; as no input has spiked, it changes nothing
    pairs = history("nearest_online", pre, post, a_post=0.05, a_pre=0.02)
    triplets = history("triplet", pre, post, a_post=0.05, a_pre=0.02, tau_post_slow=1e15)
    assert np.abs(pairs - triplets).max() < 1e-12
    assert np.abs(pairs - history("triplet", pre, post, a_post=0.05, a_pre=0.02)).max() > 0.01


def test_bounds_are_soft_where_changes_shrink_towards_them():
    for rule, strong in (("weight_dependent", {"a_post": 0.5, "a_pre": 0.5}), ("multiplicative", {"a_plus": 0.9})):
        weights = history(rule, **strong)
        assert weights.min() > 0 and weights.max() < 1 and weights.max() > 0.9


# ------------------------------------------------------------------------------------------------------------------
# Silent inputs, the time since the last spike, steps


@pytest.mark.parametrize("rule", SPIKE_RULES)
def test_only_rules_that_say_so_change_inputs_that_have_not_spiked(rule):
    pre = PRE.copy()
    pre[:, :5] = False
    change = history(rule, pre)[-1, :, :5] - WEIGHT[:, :5]
    assert (change < 0).all() if rules[rule].changes_silent_inputs else not change.any()


@pytest.mark.parametrize("dt", [1.0, 0.5, 0.1])
def test_recent_is_a_time_and_not_a_number_of_steps(dt):
    steps = round(3 / dt)
    for late in (0, 1):
        pre, post = np.zeros((2, steps + 2, 1), bool)
        pre[0] = post[steps + late] = True
        change = history("rectangular", pre, post, [[0.5]], t_ltp=3.0, dt=dt)[-1].item() - 0.5
        assert (change > 0) is (late == 0)


def test_a_duration_is_had_in_steps_and_a_word_by_its_place():
    class Owner:
        parameters = {"wait": duration("steps_wait"), "when": choice("never", "always")}

    p = named_parameters(
        Owner, {key: check(key, {"wait": 0.3, "when": "always"}[key]) for key, check in Owner.parameters.items()}, 0.1
    )
    assert p == (0.3, 1, 3.0)
    assert cast(p, np.float32).when.dtype == np.int32


# ------------------------------------------------------------------------------------------------------------------
# The norm


@pytest.mark.parametrize("when", OCCASIONS)
def test_rows_have_their_norm_when_the_rule_says(when):
    sums = history("power_law", eta=0.01, mu=2.0, normalise=when, w_norm=6.0).sum(axis=2)
    has_norm = np.isclose(sums, 6.0, rtol=1e-12).all(axis=1)
    expected = {"never": [], "last_step": [79], "every_step": range(80)}.get(when)
    if when == "before_presentation":
        assert has_norm[: POST.any(axis=1).argmax()].all() and not has_norm[-1]
    else:
        assert np.flatnonzero(has_norm).tolist() == list(expected)


@pytest.mark.parametrize("when", ["before_presentation", "every_step"])
def test_rows_that_the_clamp_cuts_are_scaled_again(when):
    changed = {"normalise": when, "w_max": 0.3}
    model = make_model(("power_law_pre_post", "lif_stdp"), rule=changed)
    networks = [make(engine, model, initial_state(model)) for engine in ("torch", "event")]
    counts = [learn(network, mnist(2)[:6]) for network in networks]
    assert (counts[0] == counts[1]).all() and counts[0].sum() > 20
    states = [network.state() for network in networks]
    assert largest_difference(*states) < 1e-9
    assert (states[1].weight == 0.3).mean() > 0.01


def test_with_learning_off_no_row_is_scaled():
    model = make_model(("power_law_pre_post", "lif_stdp"))
    network = make("torch", model)
    network.count_spikes(mnist(2)[:2], np.arange(2))
    assert (network.state().weight == initial_state(model).weight).all()


# ------------------------------------------------------------------------------------------------------------------
# Mistakes


@pytest.mark.parametrize("rule", SPIKE_RULES)
def test_the_rules_of_the_package_fit_the_frame(rule):
    rules[rule].check(build_rule(rules[rule], published("rule", rule), 1.0, 784))


MISTAKES = {
    "pre_trace": (lambda p, x, spike: x + 1.0, "leave start_pre as it is"),
    "post_trace": (lambda p, y, spike: y + 0.5, "leave 0 as it is"),
    "second_trace": (lambda p, y2, spike: 1 - y2, "leave 0 as it is"),
    "at_input": (lambda p, w, x, y, y2: -0.1 * w, "be 0 where y and y2 are 0"),
    "at_output": (lambda p, w, x, y, y2: x - 0.4, "be 0 for an x before the first input spike, or changes_silent"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_the_engines_would_differ_about_is_refused(name):
    function, what = MISTAKES[name]
    rule = type("Mistaken", (rules.Triplet,), {name: staticmethod(function)})
    with pytest.raises(UserError, match=rf"Mistaken.{name}: must {what}"):
        rule.check(build_rule(rule, published("rule", "triplet"), 1.0, 784))


def test_a_choice_of_two_numbers_which_torch_takes_for_float32_is_refused():
    import torch

    rule = type("Mistaken", (rules.Multiplicative,), {"at_output": staticmethod(lambda p, w, *_: torch.tensor(1.0))})
    with pytest.raises(UserError, match="at_output: must give numbers of the type of its arguments"):
        rule.check(build_rule(rule, published("rule", "multiplicative"), 1.0, 784))
