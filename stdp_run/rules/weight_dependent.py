"""weight_dependent: pairs of spikes with soft bounds: changes shrink in proportion to the room left.

x, y <- decayed, then 1 where there is a spike
w <- w - rate * a_pre y w                 at an input spike
w <- w + rate * a_post x (w_max - w)      at an output spike

Source: van Rossum et al. 2000 have depression in proportion to the weight; in this form, with potentiation in
proportion to the room, BindsNET's WeightDependentPostPre, here with w_min = 0.
"""

from typing import Any

from stdp_run.rules.pair import PairRule


class WeightDependent(PairRule):
    """Nearest-spike pairs, multiplicative on both sides."""

    @staticmethod
    def at_input(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return -p.a_pre * y * w

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.a_post * x * (p.w_max - w)
