"""multiplicative: changes at output spikes only, by the order of spikes, with soft bounds.

The trace x is 1 once the input has spiked in this image. At an output spike, these inputs are potentiated, and all
others depressed::

    w <- w + rate * a_plus w (w_max - w)     where x = 1
    w <- w - rate * a_minus w (w_max - w)    elsewhere

Source: Kheradpisheh et al. 2018, eq. 3, where w_max = 1.
"""

from typing import Any

from stdp_run.elementwise import where
from stdp_run.parameters import number
from stdp_run.rules.spike import OutputSpikeRule


class Multiplicative(OutputSpikeRule):
    """Changes at output spikes only, by the order of spikes, with soft bounds."""

    traces_of_image = ("x",)
    parameters = {"a_plus": number, "a_minus": number, **OutputSpikeRule.parameters}

    @staticmethod
    def pre_trace(p: Any, x: Any, spike: Any) -> Any:
        return where(spike > 0, 1.0, x)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return where(x > 0, p.a_plus * w, -p.a_minus * w) * (p.w_max - w)
