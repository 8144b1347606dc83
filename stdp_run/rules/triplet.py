"""triplet: depression by pairs, potentiation by an input spike between two output spikes.

x, y, y2 <- decayed with tau_pre, tau_post and tau_post_slow, then 1 where there is a spike
w <- w - rate * a_pre y          at an input spike
w <- w + rate * a_post x y2      at an output spike, with y2 before this spike

Source: Pfister & Gerstner 2006, eq. 2 and 3, the minimal model for cortex (A2+ = A3- = 0). Their traces add all spikes;
those of the nearest spike, as here, are in Diehl & Cook 2015 and their scripts.
"""

from typing import Any

from stdp_run.parameters import time_constant
from stdp_run.rules.base import nearest
from stdp_run.rules.pair import PairRule


class Triplet(PairRule):
    """Triplets of spikes, each trace that of the nearest spike."""

    parameters = {**PairRule.parameters, "tau_post_slow": time_constant("d_post_slow")}

    @staticmethod
    def second_trace(p: Any, y2: Any, spike: Any) -> Any:
        return nearest(y2, p.d_post_slow, spike)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.a_post * x * y2
