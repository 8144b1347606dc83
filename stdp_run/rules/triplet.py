"""triplet: depression by pairs of spikes, potentiation by triplets (output, input, output).

The traces x, y and y2 decay with tau_pre, tau_post and tau_post_slow. A spike sets its trace to 1::

    w <- w - rate * a_pre y         at an input spike
    w <- w + rate * a_post x y2     at an output spike, y2 before this spike

Source: Pfister & Gerstner 2006, eq. 2 and 3, the minimal model for cortex (A2+ = A3- = 0). In the paper all spikes add
up in the traces. Traces of the nearest spike, as here, are in the scripts of Diehl & Cook 2015.
"""

from typing import Any

from stdp_run.parameters import time_constant
from stdp_run.rules.base import nearest
from stdp_run.rules.pair import PairRule


class Triplet(PairRule):
    """Triplets of spikes, with traces of the nearest spike."""

    parameters = {**PairRule.parameters, "tau_post_slow": time_constant("d_post_slow")}

    @staticmethod
    def second_trace(p: Any, y2: Any, spike: Any) -> Any:
        return nearest(y2, p.d_post_slow, spike)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.a_post * x * y2
