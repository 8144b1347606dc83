"""The compiled implementations of learning rules; `stdp_run.rules` has the equations."""

import inspect

from stdp_run.engines.event.learning import integer_pairs, meta, spike_frame
from stdp_run.engines.event.learning.implementation import NOTHING_LEARNS, Implementation
from stdp_run.neurons import ConductanceGroup, NeuronGroup
from stdp_run.rules import MetaNearestOnline, PairRule, PostPreInt, Rule, SpikeRule

__all__ = ["NOTHING_LEARNS", "Implementation", "implementation_for", "implementation_of"]

_BUILT_IN: dict[type[Rule], Implementation] = {
    MetaNearestOnline: meta.IMPLEMENTATION,
    PostPreInt: integer_pairs.IMPLEMENTATION,
    SpikeRule: spike_frame.IMPLEMENTATION,
    PairRule: spike_frame.IMPLEMENTATION,
}


def implementation_of(rule: type[Rule]) -> Implementation | None:
    """Return the compiled implementation of a rule, or None: the rule then runs on the torch engine only.

    A custom class may set the attribute `compiled`. Otherwise it inherits the implementation of its base class, unless
    it overrides `step`, which that implementation would ignore.
    """
    for cls in rule.__mro__:
        if "compiled" in vars(cls):
            return vars(cls)["compiled"]
        if cls in _BUILT_IN:
            return _BUILT_IN[cls]
        if "step" in vars(cls):
            return None
    return None


def implementation_for(rule: type[Rule], neuron: type[NeuronGroup]) -> Implementation | None:
    """Return the compiled implementation for a rule and a neuron group; None if the event engine cannot run them.

    Kernels have their own versions of `advance` and `cells`, so a group must keep those of its base class.
    """
    implementation = implementation_of(rule)
    base = ConductanceGroup if issubclass(neuron, ConductanceGroup) else NeuronGroup
    kept = (inspect.getattr_static(neuron, name) is inspect.getattr_static(base, name) for name in ("advance", "cells"))
    if implementation is None or not neuron.compiled or not all(kept):
        return None
    can_run_on = implementation.has_delays and base is ConductanceGroup
    return implementation if can_run_on or not neuron.runs_on else None
