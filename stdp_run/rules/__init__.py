"""The learning rules; `list(stdp_run.rules)` names them."""

# ruff: noqa: F401  these names are given on

from stdp_run.registry import make_registry
from stdp_run.rules.base import Rule, Step
from stdp_run.rules.meta_nearest_online import MetaNearestOnline
from stdp_run.rules.output_spike import Exponential, Multiplicative, PowerLaw, PowerLawPrePost, Rectangular
from stdp_run.rules.pair import FullOnline, NearestOnline, PairRule, Triplet, WeightDependent
from stdp_run.rules.post_pre_int import PostPreInt
from stdp_run.rules.spike import SpikeRule

registered = make_registry(
    __name__,
    nearest_online=NearestOnline,
    full_online=FullOnline,
    meta_nearest_online=MetaNearestOnline,
    post_pre_int=PostPreInt,
    triplet=Triplet,
    power_law=PowerLaw,
    power_law_pre_post=PowerLawPrePost,
    exponential=Exponential,
    weight_dependent=WeightDependent,
    rectangular=Rectangular,
    multiplicative=Multiplicative,
)
