"""exponential: an output spike raises the weights of active inputs and lowers all, exponentially in the weight.

x <- d_pre x + s_in
w <- w + rate * eta (x e^(-beta w) - x_tar e^(-beta (w_max - w)))    at an output spike, for silent inputs too

Source: Diehl & Cook 2015, eq. 4. With beta = 0 changes do not depend on the weight: power_law with mu = 0.
"""

from typing import Any

from stdp_run.elementwise import exp
from stdp_run.parameters import non_negative, number, time_constant
from stdp_run.rules.full_online import FullOnline
from stdp_run.rules.spike import OutputSpikeRule


class Exponential(OutputSpikeRule):
    """Changes at output spikes only, smaller the nearer the weight is to the bound that it goes to."""

    parameters = {
        "eta": number,
        "x_tar": number,
        "beta": non_negative,
        "tau_pre": time_constant("d_pre"),
        **OutputSpikeRule.parameters,
    }

    pre_trace = staticmethod(FullOnline.pre_trace)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.eta * (x * exp(-p.beta * w) - p.x_tar * exp(-p.beta * (p.w_max - w)))
