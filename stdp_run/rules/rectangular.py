"""rectangular: changes at output spikes only, with a rectangular STDP window.

The trace x counts the steps since the last input spike::

    x <- 0 where s_in = 1, else x + 1

At an output spike, inputs that spiked within t_ltp are potentiated, and all others depressed::

    w <- w + rate * a_plus e^(-b_plus w / w_max)                where x <= t_ltp

    w <- w - rate * a_minus e^(-b_minus (w_max - w) / w_max)    elsewhere

Source: Querlioz et al. 2013, eq. 1 and 2, here with w_min = 0.
"""

from typing import Any

from stdp_run.elementwise import exp, minimum, where
from stdp_run.parameters import duration, number
from stdp_run.rules.spike import OutputSpikeRule

NEVER_SPIKED = 1e6  # steps, more than any image has


class Rectangular(OutputSpikeRule):
    """Changes at output spikes only; the sign depends on whether the input spiked within t_ltp."""

    parameters = {
        "t_ltp": duration("steps_ltp"),
        "a_plus": number,
        "b_plus": number,
        "a_minus": number,
        "b_minus": number,
        **OutputSpikeRule.parameters,
    }

    @staticmethod
    def start_pre(p: Any) -> float:
        return NEVER_SPIKED

    @staticmethod
    def pre_trace(p: Any, x: Any, spike: Any) -> Any:
        return where(spike > 0, 0.0, minimum(x + 1.0, NEVER_SPIKED))

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        rise = p.a_plus * exp(-p.b_plus / p.w_max * w)
        fall = p.a_minus * exp(-p.b_minus / p.w_max * (p.w_max - w))
        return where(x <= p.steps_ltp, rise, -fall)
