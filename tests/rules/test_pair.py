"""Rules of pairs: their changes, their short way by products of matrices, and custom ones on both engines."""

import numpy as np
import pytest
import torch

from stdp_run import replay
from stdp_run.config.build import build_rule, published
from stdp_run.errors import UserError
from stdp_run.rules import FullOnline, NearestOnline, PairRule, SpikeRule, Step
from stdp_run.rules.reduction import Reduction

CONSTANTS = build_rule(PairRule, published("rule", "nearest_online"), 1.0, 784)
rng = np.random.default_rng(0)


class SoftBound(PairRule):
    """Changes that shrink towards the bounds."""

    @staticmethod
    def at_input(p, w, x, y, y2):
        return -p.a_pre * y * w

    @staticmethod
    def at_output(p, w, x, y, y2):
        return p.a_post * x * (p.w_max - w)


def one_step(reduction):
    """Return one step of 4 images, with 30 inputs and 5 neurons, its weights and its traces."""
    tensors = {name: torch.from_numpy(rng.random((4, n))) for name, n in (("x", 30), ("y", 5), ("y2", 5))}
    pre, post = ((torch.from_numpy(rng.random((4, n))) < 0.4).double() for n in (30, 5))
    weight = torch.from_numpy(rng.uniform(0, 0.3, (5, 30)))
    step = Step(pre, post, post * 0, 0.7, False, Reduction(reduction), lambda: None)
    return step, weight, tensors


@pytest.mark.parametrize("rule", [PairRule, NearestOnline, FullOnline, SoftBound])
def test_rules_of_pairs_pass_the_check(rule):
    rule.check(CONSTANTS)


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("at_output", lambda p, w, x, y, y2: x - 0.4, "be 0 for an x before the first input spike"),
        ("at_input", lambda p, w, x, y, y2: y - 0.4, "be 0 where y and y2 are 0"),
    ],
)
def test_a_change_without_a_trace_is_refused(name, change, what):
    rule = type("Mistaken", (PairRule,), {name: staticmethod(change)})
    with pytest.raises(UserError, match=rf"Mistaken.{name}: must {what}"):
        rule.check(CONSTANTS)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("a_pre", [0.0, 0.2])
@pytest.mark.parametrize("rule", [NearestOnline, FullOnline])
def test_products_of_matrices_are_the_step_of_the_frame(rule, a_pre, reduction):
    p = CONSTANTS._replace(a_pre=a_pre, a_post=0.3, w_norm=4.0)
    step, weight, traces = one_step(reduction)
    by_products, kept = rule.step(p, step, weight, traces)
    by_frame, kept_by_frame = SpikeRule.step.__func__(rule, p, step, weight, traces)
    assert (by_products - by_frame).abs().max() < 1e-14
    assert (by_products - weight).abs().max() > 0.01
    assert all((kept[name] == kept_by_frame[name]).all() for name in ("x", "y"))


def test_the_largest_changes_at_input_spikes_come_before_those_at_output_spikes():
    p = CONSTANTS._replace(a_pre=0.02, a_post=0.03, normalise=0)
    step, weight, traces = one_step("max")
    by_rule, _ = NearestOnline.step(p, step, weight, traces)
    x, y = NearestOnline.pre_trace(p, traces["x"], step.pre), NearestOnline.post_trace(p, traces["y"], step.post)
    fall = (p.a_pre * y[:, :, None] * step.pre[:, None, :]).amax(dim=0)
    rise = (p.a_post * step.post[:, :, None] * x[:, None, :]).amax(dim=0)
    expected = (weight + 0.7 * (rise - fall)).clamp(0, 1)
    assert (by_rule - expected).abs().max() < 1e-14
    assert (fall * rise > 0).any()


@pytest.mark.parametrize("engine", ["torch", pytest.param("event", marks=pytest.mark.slow)])
@pytest.mark.parametrize("normalise", ["never", "every_step", "last_step", "before_presentation"])
def test_a_custom_rule_is_the_rule_of_the_package_with_the_same_changes(normalise, engine):
    pre, post, weight = rng.random((90, 30)) < 0.1, rng.random((90, 5)) < 0.2, rng.uniform(0, 0.3, (5, 30))
    constants = {"a_post": 0.2, "a_pre": 0.05, "tau_pre": 20, "tau_post": 10}
    constants |= {"normalise": normalise, "w_norm": 3.0, "w_max": 0.4}
    own = replay(SoftBound, pre, post, weight, engine=engine, **constants)
    expected = replay("weight_dependent", pre, post, weight, **constants)
    assert np.abs(own - expected).max() < 1e-12
    assert np.abs(own[-1] - weight).max() > 0.1
