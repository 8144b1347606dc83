"""power_law_pre_post: `power_law` with depression at input spikes as well.

Traces::

    x <- d_pre x + s_in
    y <- d_post y + s_exc

Weights::

    w <- w - rate * eta_pre y w^mu                         at an input spike
    w <- w + rate * eta_post (x - x_tar) (w_max - w)^mu    at an output spike

Source: Diehl & Cook 2015, eq. 3.
"""

from typing import Any

from stdp_run.elementwise import power
from stdp_run.parameters import non_negative, number, time_constant
from stdp_run.rules.full_online import FullOnline
from stdp_run.rules.spike import SpikeRule


class PowerLawPrePost(SpikeRule):
    """Changes at input and output spikes, with a power-law dependence on the weight."""

    changes_silent_inputs = True
    parameters = {
        "eta_post": number,
        "eta_pre": number,
        "x_tar": number,
        "mu": non_negative,
        "tau_pre": time_constant("d_pre"),
        "tau_post": time_constant("d_post"),
        **SpikeRule.parameters,
    }

    pre_trace = staticmethod(FullOnline.pre_trace)
    post_trace = staticmethod(FullOnline.post_trace)

    @staticmethod
    def at_input(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return -p.eta_pre * y * power(w, p.mu)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.eta_post * (x - p.x_tar) * power(p.w_max - w, p.mu)
