"""`check_rule` and `check_neuron` pass the classes of the package, and name the mistake of a broken class."""

import pytest
from torch import where

from stdp_run import neurons, rules
from stdp_run.config.build import published
from stdp_run.errors import UserError
from stdp_run.neurons import LIF
from stdp_run.parameters import number, positive, time_constant
from stdp_run.rules import PairRule, Rule, Triplet, WeightDependent
from stdp_run.testing import check_neuron, check_rule


def marked(names, *slow):
    """Return parameters, of which some are slow; each other compiles for half a minute, once a week."""
    return [pytest.param(name, marks=pytest.mark.slow if name in slow else pytest.mark.weekly) for name in names]


@pytest.mark.parametrize("name", marked(rules, "post_pre_int"))
def test_the_rules_of_the_package_pass(name):
    check_rule(rules[name])


@pytest.mark.parametrize("name", marked(neurons))
def test_the_neuron_groups_of_the_package_pass(name):
    check_neuron(neurons[name], **published("neuron", name))


class Hebb(Rule):
    """At an output spike, w <- w + eta x, with a trace x of the inputs; w from 0 to w_max."""

    parameters = {"eta": number, "tau_pre": time_constant("d_pre"), "w_max": positive}

    @classmethod
    def step(cls, p, step, weight, traces):
        x = cls.trace(p, step, traces["x"])
        change = step.reduce(step.rate * p.eta * step.post[:, :, None] * x[:, None, :])
        return cls.after(p, weight, change), {**traces, "x": x}

    @staticmethod
    def trace(p, step, x):
        return x * p.d_pre + step.pre

    @staticmethod
    def after(p, w, change):
        return (w + change).clamp(0, p.w_max)


def test_rules_of_the_torch_engine_pass():
    check_rule(Hebb, eta=0.05)
    check_rule(type("Soft", (WeightDependent,), {"compiled": None}), a_pre=0.05, a_post=0.1)


calls = []


def call_number():
    calls.append(0)
    return len(calls)


def lif(**changed):
    """Return LIF's `excitatory` with other results."""
    names = "spike", "v", "refractory", "theta"

    def excitatory(p, learning, *state):
        results = zip(names, LIF.excitatory(p, learning, *state), strict=True)
        return tuple(changed.get(name, lambda value: value)(value) for name, value in results)

    return staticmethod(excitatory)


@classmethod
def hearing_others(cls, p, learning, arrivals, cells, theta):
    return LIF.advance.__func__(cls, p, learning, arrivals + arrivals.mean(), cells, theta)


NOT_LINEAR = lif(v=lambda v: v + 0.1)
BROKEN_RULES = [  # base class, broken function, its name, error
    (Triplet, "at_input", lambda p, w, *_: -w / 10, r"must be 0 where y and y2 are 0; for w=0.25 it is -0.025"),
    (PairRule, "at_output", lambda p, w, x, *_: x * w.mean(), r"\(.*\) = .*, and .* beside other elements"),
    (PairRule, "at_output", lambda p, w, x, *_: x / call_number(), r"\(.*\) = .*, and .* when called again"),
    (PairRule, "at_output", lambda p, w, x, *_: where(x > 0, x / (w - 1), w * 0), r"\(.*\) = inf; must be finite"),
    (PairRule, "post_trace", lambda p, y, s: y.double() * 0.5 + s, "float64; must be torch.float32"),
    (PairRule, "depresses", lambda p: False, "is False, but at_input is not 0 everywhere"),
    (PairRule, "bounded", lambda p, step, w: w, r" with engine=torch and dtype=float64: weight.*; plain loops: "),
    (Hebb, "trace", lambda p, step, x: x + step.pre - step.pre.mean(0), r"image 0 in a batch .* is .*; alone: "),
    (Hebb, "trace", lambda p, step, x: x.mul_(p.d_pre).add_(step.pre), "writes into x; must return new tensors"),
    (Hebb, "after", lambda p, w, change: (w + change / call_number()).clamp(0, 1), "in two calls changes weight"),
    (Hebb, "after", lambda p, w, change: w + 9 * change, "weights from .* to .*; must be from 0 to 1"),
    (Hebb, "after", lambda p, w, change: (w + change)[:, :1], r"returns weights \[5, 1\]"),
    (Hebb, "after", lambda p, w, change: w, "changes no weight"),
]
BROKEN_GROUPS = [  # changed attributes, error
    ({"excitatory": lif(theta=lambda theta: theta + 0.01)}, "excitatory changes theta with learning off"),
    ({"excitatory": lif(v=lambda v: v - 0.1 * (v - v.mean()))}, r"excitatory\(.*\) = .* beside other elements"),
    ({"excitatory": lif(v=lambda v: v.double())}, "excitatory.* has the type torch.float64; must be torch.float32"),
    ({"excitatory": lif(spike=lambda spike: spike.float())}, "the type torch.float32; must be torch.bool"),
    ({"excitatory": lif(spike=lambda spike: spike & False)}, "do not spike even at 2048 Hz"),
    ({"advance": hearing_others}, "spikes of an image depend on images beside it"),
    ({"excitatory": NOT_LINEAR, "linear_excitatory": NOT_LINEAR}, "contradicts `between_spikes`"),
]


@pytest.mark.parametrize(("base", "name", "function", "sentence"), BROKEN_RULES)
def test_a_broken_rule_is_named_with_its_mistake(base, name, function, sentence):
    broken = type("Broken", (base,), {name: staticmethod(function), "compiled": None})
    named = name if hasattr(PairRule, name) and name != "bounded" else ""
    with pytest.raises((AssertionError, UserError), match=f"Broken.*{named}.*{sentence}"):
        check_rule(broken, **({"eta": 0.05} if base is Hebb else {}))


@pytest.mark.parametrize(("changed", "sentence"), BROKEN_GROUPS)
def test_a_broken_neuron_group_is_named_with_its_mistake(changed, sentence):
    broken = type("Broken", (LIF,), {"compiled": False, **changed})
    with pytest.raises((AssertionError, UserError), match=f"Broken.*{sentence}"):
        check_neuron(broken)


def test_missing_and_unknown_constants_and_other_classes_are_refused():
    for cls, constants, sentence in (
        (Hebb, {}, r"rule\.eta: missing; must be a number"),
        (Hebb, {"etta": 1}, r"rule\.etta=1: unknown key; did you mean eta"),
        (LIF, {}, r"must be a class derived from stdp_run\.rules\.base\.Rule"),
    ):
        with pytest.raises(UserError, match=sentence):
            check_rule(cls, **constants)
