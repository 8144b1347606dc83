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
    """Return the compiled implementation for a rule and a neuron group; None if the event engine cannot run them."""
    implementation = implementation_of(rule)
    if implementation is None or not neuron.compiled:
        return None
    has_conductances = issubclass(neuron, ConductanceGroup)
    if not keeps_frame(neuron) or (neuron.runs_on and not (implementation.has_delays and has_conductances)):
        return None
    return implementation


def keeps_frame(neuron: type[NeuronGroup]) -> bool:
    """Return whether a group has the `advance` and `cells` of its base class; kernels have their own versions."""
    base = ConductanceGroup if issubclass(neuron, ConductanceGroup) else NeuronGroup
    kept = (inspect.getattr_static(neuron, name) is inspect.getattr_static(base, name) for name in ("advance", "cells"))
    return all(kept)
