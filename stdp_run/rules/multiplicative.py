"""multiplicative: an output spike raises the weights of inputs that have spiked in this image, and lowers all others.

x <- 1 once the input has spiked
w <- w + rate * a_plus w (w_max - w)      at an output spike, where x = 1
w <- w - rate * a_minus w (w_max - w)     at an output spike, elsewhere, for silent inputs too

Source: Kheradpisheh et al. 2018, eq. 3, where w_max = 1.
"""

from typing import Any

from stdp_run.elementwise import where
from stdp_run.parameters import number
from stdp_run.rules.spike import OutputSpikeRule


class Multiplicative(OutputSpikeRule):
    """Changes at output spikes only, by the order of spikes and not by their times, soft-bounded on both sides."""

    traces_of_image = ("x",)
    parameters = {"a_plus": number, "a_minus": number, **OutputSpikeRule.parameters}

    @staticmethod
    def pre_trace(p: Any, x: Any, spike: Any) -> Any:
        return where(spike > 0, 1.0, x)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return where(x > 0, p.a_plus * w, -p.a_minus * w) * (p.w_max - w)
