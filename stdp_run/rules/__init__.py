"""The learning rules; `list(stdp_run.rules)` names them. Each acts at every step, on traces of inputs and neurons."""

from stdp_run.registry import make_registry
from stdp_run.rules.base import Rule, Step
from stdp_run.rules.full_online import FullOnline
from stdp_run.rules.meta_nearest_online import MetaNearestOnline
from stdp_run.rules.nearest_online import NearestOnline
from stdp_run.rules.pair import PairRule
from stdp_run.rules.post_pre_int import PostPreInt

__all__ = ["FullOnline", "MetaNearestOnline", "NearestOnline", "PairRule", "PostPreInt", "Rule", "Step"]

registered = make_registry(
    __name__,
    nearest_online=NearestOnline,
    full_online=FullOnline,
    meta_nearest_online=MetaNearestOnline,
    post_pre_int=PostPreInt,
)
