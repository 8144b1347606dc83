"""power_law: changes at output spikes only, a power of the distance to w_max.

Equations::

    x <- d_pre x + s_in
    w <- w + rate * eta (x - x_tar) (w_max - w)^mu    at an output spike

Inputs with a trace below x_tar are depressed. With mu = 0 changes do not depend on the weight.

Source: Diehl & Cook 2015, eq. 2.
"""

from typing import Any

from stdp_run.elementwise import power
from stdp_run.parameters import non_negative, number, time_constant
from stdp_run.rules.full_online import FullOnline
from stdp_run.rules.spike import OutputSpikeRule


class PowerLaw(OutputSpikeRule):
    """Changes at output spikes only, relative to a target of the presynaptic trace."""

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
