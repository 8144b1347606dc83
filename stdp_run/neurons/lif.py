"""Leaky integrate-and-fire neurons with float state; an input spike adds its weight to the potential."""

from typing import Any

from stdp_run.elementwise import maximum, where
from stdp_run.neurons.base import Membrane, NeuronGroup
from stdp_run.parameters import number, number64, time_constant, whole_non_negative


class LIF(NeuronGroup):
    """Leaky integrate-and-fire neurons with an adaptive threshold (Diehl & Cook 2015, eq. 1 and section 2.3).

    The current is ignored while the neuron is refractory. theta changes only while learning::

        V     <- d_v (V - V_rest) + V_rest + current
        theta <- d_theta theta
        spike if V > V_threshold + theta; at a spike V <- V_reset, theta <- theta + theta_increment
    """

    parameters = {
        **NeuronGroup.parameters,
        "v_rest": number,
        "v_reset": number,
        "v_threshold": number,
        "tau_v": time_constant("d_v"),
        "tau_theta": time_constant("d_theta", float64=True),  # float32 cannot resolve a decay of 1e-7 per step
        "theta_increment": number64,
        "refractory": whole_non_negative,
        "inhibitory_v_rest": number,
        "inhibitory_v_reset": number,
        "inhibitory_v_threshold": number,
        "tau_inhibitory": time_constant("d_inhibitory"),
        "inhibitory_refractory": whole_non_negative,
    }

    @staticmethod
    def initial(p: Any) -> tuple[float, float, float]:
        return p.v_rest, 0.0, p.inhibitory_v_rest

    @staticmethod
    def excitatory(p: Any, learning: bool, current: Any, v: Any, refractory: Any, theta: Any) -> tuple:
        v = p.d_v * (v - p.v_rest) + p.v_rest + where(refractory > 0, 0, current)
        theta = theta * p.d_theta if learning else theta
        spike = v > p.v_threshold + theta
        theta = where(spike, theta + p.theta_increment, theta) if learning else theta
        return spike, where(spike, p.v_reset, v), where(spike, p.refractory, maximum(refractory - 1, 0)), theta

    linear_excitatory = excitatory

    @staticmethod
    def between_spikes(p: Any) -> tuple[float, float, float, float]:
        return p.d_v, p.v_rest, p.v_threshold, p.d_theta

    @classmethod
    def membrane(cls, p: Any) -> Membrane | None:
        unchanged = cls.excitatory is LIF.excitatory
        return Membrane(p.d_v, p.v_rest, p.v_threshold, p.v_reset) if unchanged else None

    @staticmethod
    def inhibitory(p: Any, current: Any, v: Any, refractory: Any) -> tuple:
        v = p.d_inhibitory * (v - p.inhibitory_v_rest) + p.inhibitory_v_rest + where(refractory > 0, 0, current)
        spike = v > p.inhibitory_v_threshold
        v = where(spike, p.inhibitory_v_reset, v)
        return spike, v, where(spike, p.inhibitory_refractory, maximum(refractory - 1, 0))


class ALIF(LIF):
    """LIF without units, with a soft reset and a threshold that grows in proportion (SPAIC's adaptive LIF).

    It differs from LIF at a spike::

        V     <- V - V_reset
        theta <- theta + theta_increment (V_threshold + theta)
    """

    units = ("no unit", "no unit")

    @staticmethod
    def excitatory(p: Any, learning: bool, current: Any, v: Any, refractory: Any, theta: Any) -> tuple:
        v = p.d_v * (v - p.v_rest) + p.v_rest + where(refractory > 0, 0, current)
        theta = theta * p.d_theta if learning else theta
        spike = v > p.v_threshold + theta
        grown = theta + p.theta_increment * (p.v_threshold + theta)
        theta = where(spike, grown, theta) if learning else theta
        return spike, where(spike, v - p.v_reset, v), where(spike, p.refractory, maximum(refractory - 1, 0)), theta

    linear_excitatory = excitatory  # between spikes it equals LIF

    @classmethod
    def membrane(cls, p: Any) -> Membrane | None:
        unchanged = cls.excitatory is ALIF.excitatory
        return Membrane(p.d_v, p.v_rest, p.v_threshold, p.v_reset, subtracts=True) if unchanged else None
