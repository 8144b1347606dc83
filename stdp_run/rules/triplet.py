"""triplet: depression by pairs, potentiation by an input spike between two output spikes.

x, y, y2 <- decayed with tau_pre, tau_post and tau_post_slow, then 1 where there is a spike
w <- w - rate * a_pre y          at an input spike
w <- w + rate * a_post x y2      at an output spike, with y2 before this spike

Source: Pfister & Gerstner 2006, eq. 2 and 3, the minimal model for cortex (A2+ = A3- = 0), there with traces to which
all spikes add; with those of the nearest spike, which are here, Diehl & Cook 2015 and their scripts.
"""

from typing import Any

from stdp_run.parameters import number, time_constant
from stdp_run.rules.base import nearest
from stdp_run.rules.spike import SpikeRule


class Triplet(SpikeRule):
    """Triplets of spikes, each trace that of the nearest spike."""

    parameters = {
        "a_post": number,
        "a_pre": number,
        "tau_pre": time_constant("d_pre"),
        "tau_post": time_constant("d_post"),
        "tau_post_slow": time_constant("d_post_slow"),
        **SpikeRule.parameters,
    }

    @staticmethod
    def post_trace(p: Any, y: Any, spike: Any) -> Any:
        return nearest(y, p.d_post, spike)

    @staticmethod
    def second_trace(p: Any, y2: Any, spike: Any) -> Any:
        return nearest(y2, p.d_post_slow, spike)

    @staticmethod
    def depresses(p: Any) -> bool:
        return p.a_pre != 0

    @staticmethod
    def at_input(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return -p.a_pre * y

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.a_post * x * y2
