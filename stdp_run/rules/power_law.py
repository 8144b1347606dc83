"""power_law: an output spike draws weights towards how active their inputs are, with a power of the room left.

x <- d_pre x + s_in
w <- w + rate * eta (x - x_tar) (w_max - w)^mu    at an output spike, for silent inputs too

Source: Diehl & Cook 2015, eq. 2. With mu = 0 changes do not depend on the weight; with x_tar = 0 nothing depresses.
"""

from typing import Any

from stdp_run.elementwise import power
from stdp_run.parameters import non_negative, number, time_constant
from stdp_run.rules.full_online import FullOnline
from stdp_run.rules.spike import OutputSpikeRule


class PowerLaw(OutputSpikeRule):
    """Changes at output spikes only, against a target of the presynaptic trace."""

    parameters = {
        "eta": number,
        "x_tar": number,
        "mu": non_negative,
        "tau_pre": time_constant("d_pre"),
        **OutputSpikeRule.parameters,
    }

    pre_trace = staticmethod(FullOnline.pre_trace)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.eta * (x - p.x_tar) * power(p.w_max - w, p.mu)
