"""weight_dependent: STDP of the nearest spikes with soft bounds.

The traces x and y decay. A spike sets its trace to 1::

    w <- w - rate * a_pre y w                at an input spike
    w <- w + rate * a_post x (w_max - w)     at an output spike

Source: BindsNET, WeightDependentPostPre, here with w_min = 0. In van Rossum et al. 2000 only depression is proportional
to the weight.
"""

from typing import Any

from stdp_run.rules.pair import PairRule


class WeightDependent(PairRule):
    """Pairs of nearest spikes with soft bounds on both sides."""

    @staticmethod
    def at_input(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return -p.a_pre * y * w

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.a_post * x * (p.w_max - w)
