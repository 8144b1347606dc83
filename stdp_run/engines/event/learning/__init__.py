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
    """Return the compiled implementation of a rule; a rule without one (None) runs on the torch engine only.

    A custom class may carry one as attribute `compiled`. Otherwise it has that of its base class, unless it states a
    `step` of its own, which the implementation of the base would ignore.
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
    """Return the compiled implementation of a rule with a neuron group; None: the event engine cannot run the pair."""
    implementation = implementation_of(rule)
    if implementation is None or not neuron.compiled:
        return None
    # The kernels state these themselves, for currents and for conductances.
    base = ConductanceGroup if issubclass(neuron, ConductanceGroup) else NeuronGroup
    kept = (inspect.getattr_static(neuron, name) is inspect.getattr_static(base, name) for name in ("advance", "cells"))
    if not all(kept) or (neuron.runs_on and not (implementation.has_delays and base is ConductanceGroup)):
        return None
    return implementation
