"""The compiled implementations of learning rules; `stdp_run.rules` has the equations."""

import inspect

from stdp_run.engines.event.plasticity import meta_nearest_online, pair, post_pre_int, spike
from stdp_run.engines.event.plasticity.implementation import (
    ConductanceFunctions,
    Functions,
    Implementation,
    IntervalFunctions,
    StepwiseFunctions,
)
from stdp_run.neurons import ConductanceGroup, NeuronGroup
from stdp_run.rules import MetaNearestOnline, PairRule, PostPreInt, Rule, SpikeRule

__all__ = [
    "ConductanceFunctions",
    "Functions",
    "Implementation",
    "IntervalFunctions",
    "StepwiseFunctions",
    "functions_of",
    "implementation_of",
]

_BUILT_IN: dict[type[Rule], Implementation] = {
    PairRule: pair.IMPLEMENTATION,
    MetaNearestOnline: meta_nearest_online.IMPLEMENTATION,
    PostPreInt: post_pre_int.IMPLEMENTATION,
    SpikeRule: spike.IMPLEMENTATION,
}


def implementation_of(rule: type[Rule]) -> Implementation | None:
    """Return the compiled implementation of a rule, or None: then it runs on the torch engine alone.

    A class of one's own may carry one as attribute `compiled`. Else it has that of the rule it is derived from, unless
    it states a `step` of its own, of which that knows nothing.
    """
    for cls in rule.__mro__:
        if "compiled" in vars(cls):
            return vars(cls)["compiled"]
        if cls in _BUILT_IN:
            return _BUILT_IN[cls]
        if "step" in vars(cls):
            return None
    return None


def functions_of(rule: type[Rule], neuron: type[NeuronGroup]) -> Functions | None:
    """Return what a rule is learned by in a network of such neurons, or None: it does not run on the event engine."""
    implementation = implementation_of(rule)
    if implementation is None or not neuron.compiled:
        return None
    # What the kernels have in code of their own must be what the group has.
    if issubclass(neuron, ConductanceGroup):
        same = _has_methods_of(neuron, ConductanceGroup, "advance", "cells", "excitatory")
        return implementation.with_conductances if same else None
    return implementation.functions if _has_methods_of(neuron, NeuronGroup, "advance", "cells") else None


def _has_methods_of(neuron: type[NeuronGroup], group: type[NeuronGroup], *names: str) -> bool:
    """Return whether a neuron group has the methods of a class that it is derived from."""
    return all(inspect.getattr_static(neuron, name) is inspect.getattr_static(group, name) for name in names)
