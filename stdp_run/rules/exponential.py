"""exponential: changes at output spikes only, exponential in the weight.

Equations::

    x <- d_pre x + s_in
    w <- w + rate * eta (x e^(-beta w) - x_tar e^(-beta (w_max - w)))    at an output spike

Inputs without a recent spike are depressed. With beta = 0 the rule equals `power_law` with mu = 0.

Source: Diehl & Cook 2015, eq. 4.
"""

from typing import Any

from stdp_run.elementwise import exp
from stdp_run.parameters import non_negative, number, time_constant
from stdp_run.rules.full_online import FullOnline
from stdp_run.rules.spike import OutputSpikeRule


class Exponential(OutputSpikeRule):
    """Changes at output spikes only, with exponential weight dependence."""

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
