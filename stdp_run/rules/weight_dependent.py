"""weight_dependent: pairs of spikes with soft bounds: changes shrink in proportion to the room left.

x, y <- decayed, then 1 where there is a spike
w <- w - rate * a_pre y w                 at an input spike
w <- w + rate * a_post x (w_max - w)      at an output spike

Source: van Rossum et al. 2000 have depression in proportion to the weight; in this form, with potentiation in
proportion to the room, BindsNET's WeightDependentPostPre, here with w_min = 0.
"""

from typing import Any

from stdp_run.parameters import number, time_constant
from stdp_run.rules.base import nearest
from stdp_run.rules.spike import SpikeRule


class WeightDependent(SpikeRule):
    """Nearest-spike pairs, multiplicative on both sides."""

    parameters = {
        "a_post": number,
        "a_pre": number,
        "tau_pre": time_constant("d_pre"),
        "tau_post": time_constant("d_post"),
        **SpikeRule.parameters,
    }

    @staticmethod
    def post_trace(p: Any, y: Any, spike: Any) -> Any:
        return nearest(y, p.d_post, spike)

    @staticmethod
    def depresses(p: Any) -> bool:
        return p.a_pre != 0

    @staticmethod
    def at_input(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return -p.a_pre * y * w

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.a_post * x * (p.w_max - w)
