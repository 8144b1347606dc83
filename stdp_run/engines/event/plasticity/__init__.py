"""The compiled implementations of learning rules; `stdp_run.rules` has the equations."""

from stdp_run.engines.event.plasticity import meta_nearest_online, pair, post_pre_int, spike
from stdp_run.engines.event.plasticity.implementation import Implementation, IntervalFunctions, StepwiseFunctions
from stdp_run.rules import MetaNearestOnline, PairRule, PostPreInt, Rule, SpikeRule

__all__ = ["Implementation", "IntervalFunctions", "StepwiseFunctions", "implementation_of"]

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
