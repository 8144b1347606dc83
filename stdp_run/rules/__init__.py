"""The learning rules; `list(stdp_run.rules)` names them. Each acts at every step, on traces of inputs and neurons."""

from stdp_run.registry import make_registry
from stdp_run.rules.base import Rule, Step
from stdp_run.rules.exponential import Exponential
from stdp_run.rules.full_online import FullOnline
from stdp_run.rules.meta_nearest_online import MetaNearestOnline
from stdp_run.rules.multiplicative import Multiplicative
from stdp_run.rules.nearest_online import NearestOnline
from stdp_run.rules.pair import PairRule
from stdp_run.rules.post_pre_int import PostPreInt
from stdp_run.rules.power_law import PowerLaw
from stdp_run.rules.power_law_pre_post import PowerLawPrePost
from stdp_run.rules.rectangular import Rectangular
from stdp_run.rules.spike import SpikeRule
from stdp_run.rules.triplet import Triplet
from stdp_run.rules.weight_dependent import WeightDependent

__all__ = [
    "Exponential",
    "FullOnline",
    "MetaNearestOnline",
    "Multiplicative",
    "NearestOnline",
    "PairRule",
    "PostPreInt",
    "PowerLaw",
    "PowerLawPrePost",
    "Rectangular",
    "Rule",
    "SpikeRule",
    "Step",
    "Triplet",
    "WeightDependent",
]

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
