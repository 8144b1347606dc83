"""The compiled implementation of a rule, and custom rules that bring one."""

import numba
import numpy as np
import pytest
import torch

from stdp_run import replay, rules
from stdp_run.engines.event.engine import compile_errors_named
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.learning import Implementation, implementation_of
from stdp_run.errors import UserError
from stdp_run.neurons import LIF
from stdp_run.parameters import number
from stdp_run.rules import MetaNearestOnline, NearestOnline, PairRule, PostPreInt, Rule, SpikeRule


class Replaced(PairRule):
    """A `step` of its own, which the implementation of its base would ignore."""

    @classmethod
    def step(cls, p, step, weight, traces):
        return weight, traces


class Softer(NearestOnline):
    """Another change at an output spike."""

    @staticmethod
    def at_output(p, w, x, y, y2):
        return p.a_post * x * (p.w_max - w)


rule = Bound("rule")


def allocate(rule_class, p, weight, n_exc, longest_delay):
    return (np.zeros(n_exc),)


def start(p, memory, weight, image):
    memory[0][:] = 0


def learn(p, memory, weight, theta, step, active, fired):
    for f in range(fired.shape[0]):
        i = active.neuron_of[fired[f]]
        for s in range(step.spikes.shape[0]):
            j = step.image.active_inputs[step.spikes[s]]
            weight[j, i] += rule.grown(p, weight[j, i])


class Hebb(Rule):
    """Weights grow where an input and a neuron spike in one step."""

    parameters = {"gain": number}
    compiled = Implementation(allocate, learn, start=start)

    @staticmethod
    def grown(p, w):
        return p.gain * (1 - w)

    @classmethod
    def step(cls, p, step, weight, traces):
        both = step.post[:, :, None] * step.pre[:, None, :]
        return weight + step.reduce(both * cls.grown(p, weight)), traces


def test_rules_have_the_implementation_of_the_base_whose_step_they_keep():
    of_spikes = implementation_of(SpikeRule)
    names = ("PairRule", "NearestOnline", "FullOnline", "Triplet", "Rectangular")
    assert all(implementation_of(getattr(rules, name)) is of_spikes for name in names)
    assert implementation_of(Softer) is of_spikes
    assert len({implementation_of(cls) for cls in (SpikeRule, MetaNearestOnline, PostPreInt)} - {None}) == 3
    assert implementation_of(Hebb) is Hebb.compiled
    for cls in (Rule, Replaced, type("Without", (Softer,), {"compiled": None}), type("Further", (Replaced,), {})):
        assert implementation_of(cls) is None


def test_a_custom_rule_runs_by_the_implementation_that_it_brings():
    rng = np.random.default_rng(0)
    pre, post, weight = rng.integers(0, 2, (20, 6)), rng.integers(0, 2, (20, 4)), rng.random((4, 6))
    with torch.no_grad():
        expected = replay(Hebb, pre, post, weight, gain=0.1)
    assert (expected[-1] > weight).all()
    assert np.abs(replay(Hebb, pre, post, weight, gain=0.1, engine="event") - expected).max() < 1e-12


@pytest.mark.parametrize(("base", "switch"), [(NearestOnline, "compiled = None"), (LIF, "compiled = False")])
def test_a_mistake_in_a_custom_class_is_one_line_that_says_what_to_do(base, switch):
    own = type("Own", (base,), {"__module__": __name__})
    expected = (
        rf"cannot compile Own in .*test_learning.py: .*vars.*; engine=torch may run it, and {switch} in the class"
    )
    with pytest.raises(UserError, match=expected) as error, compile_errors_named(own):
        numba.njit(lambda: vars())()
    assert "\n" not in str(error.value)
