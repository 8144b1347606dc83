"""Integer neurons for neuromorphic chips."""

from typing import Any

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.neurons.base import Membrane, NeuronGroup
from stdp_run.parameters import whole, whole_non_negative, whole_positive


class IntegerDiehlCook(NeuronGroup):
    """Integer neurons after Diehl & Cook, as in SPAIC. 16.384 units are 1 mV, and all state is int32.

    theta is the whole threshold and changes only while learning::

        current <- current clamped to +-v_limit
        theta   <- theta >> 1 if theta > max_threshold
        V       <- (v_decay V) >> 10
        V       <- V + ((current_gain current) >> 10) unless refractory
        spike if V > theta; at a spike V <- 0, theta <- theta + theta_increment
    """

    arithmetic = "int"
    units = ("units", "units; 16.384 units are 1 mV")
    parameters = {
        "w_ei": whole,
        "w_ie": whole,
        "w_init_max": whole_positive,
        "v_decay": whole,
        "v_limit": whole_positive,
        "current_gain": whole,
        "threshold": whole,
        "max_threshold": whole_positive,
        "theta_increment": whole,
        "refractory": whole_non_negative,
        "inhibitory_v_threshold": whole,
    }

    @staticmethod
    def initial(p: Any) -> tuple[float, float, float]:
        return 0, p.threshold, 0

    @staticmethod
    def excitatory(p: Any, learning: bool, current: Any, v: Any, refractory: Any, theta: Any) -> tuple:
        current = maximum(minimum(current, p.v_limit), -p.v_limit)
        theta = where(theta > p.max_threshold, theta >> 1, theta) if learning else theta
        v = (v * p.v_decay) >> 10
        v = v + where(refractory > 0, 0, (current * p.current_gain) >> 10)
        spike = v > theta
        theta = where(spike, theta + p.theta_increment, theta) if learning else theta
        v = maximum(where(spike, 0, v), -p.v_limit)
        return spike, v, where(spike, p.refractory, maximum(refractory - 1, 0)), theta

    @classmethod
    def membrane(cls, p: Any) -> Membrane | None:
        """Return the neuron in real numbers; each of its two shifts rounds down by half a unit on average."""
        unchanged = cls.excitatory is IntegerDiehlCook.excitatory
        return Membrane(p.v_decay / 1024, 0.0, 0.0, 0.0, gain=p.current_gain / 1024, bias=-1.0) if unchanged else None

    @staticmethod
    def inhibitory(p: Any, current: Any, v: Any, refractory: Any) -> tuple:
        v = v + current
        spike = v > p.inhibitory_v_threshold
        return spike, where(spike, 0, v), refractory
