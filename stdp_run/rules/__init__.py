"""The learning rules; `list(stdp_run.rules)` names them."""

from stdp_run.registry import make_registry
from stdp_run.rules.base import Rule as Rule
from stdp_run.rules.base import Step as Step
from stdp_run.rules.exponential import Exponential as Exponential
from stdp_run.rules.full_online import FullOnline as FullOnline
from stdp_run.rules.meta_nearest_online import MetaNearestOnline as MetaNearestOnline
from stdp_run.rules.multiplicative import Multiplicative as Multiplicative
from stdp_run.rules.nearest_online import NearestOnline as NearestOnline
from stdp_run.rules.pair import PairRule as PairRule
from stdp_run.rules.post_pre_int import PostPreInt as PostPreInt
from stdp_run.rules.power_law import PowerLaw as PowerLaw
from stdp_run.rules.power_law_pre_post import PowerLawPrePost as PowerLawPrePost
from stdp_run.rules.rectangular import Rectangular as Rectangular
from stdp_run.rules.spike import SpikeRule as SpikeRule
from stdp_run.rules.triplet import Triplet as Triplet
from stdp_run.rules.weight_dependent import WeightDependent as WeightDependent

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
