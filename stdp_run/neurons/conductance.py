"""Neurons whose synapses are conductances."""

from typing import Any

from stdp_run.elementwise import Tensor, Tensors, exp, maximum, where
from stdp_run.errors import UserError
from stdp_run.neurons.base import NeuronGroup, advance_partners, others
from stdp_run.neurons.lif import LIF
from stdp_run.parameters import non_negative, number, number64, time_constant


class ConductanceGroup(NeuronGroup):
    """Neurons whose synapses are conductances, in units of the leak (Diehl & Cook 2015, eq. 1 and 2).

    The equations, and the exponential Euler step that integrates them::

        g_e <- d_e g_e + sum of the weights of arriving spikes
        g_i <- d_i g_i + w_ie (number of inhibitory spikes without the partner's)
        tau dV/dt = (V_rest - V) + g_e (E_e - V) + g_i (E_i - V)

        g = 1 + g_e + g_i,  V_inf = (V_rest + g_e E_e + g_i E_i) / g
        V <- V_inf + (V - V_inf) exp(-dt g / tau)

    The step is exact for constant conductances. Explicit Euler steps of 0.5 ms are unstable if many inhibitory neurons
    fire at once. E_e is `v_excitatory`, E_i is `v_inhibitory`. Inhibitory neurons have only g_e; a spike of the partner
    adds w_ei to it. An input spike arrives after the delay of its synapse, which is fixed and drawn uniformly from
    0..max_delay. A custom group derives from this class; both engines call its `excitatory` and `inhibitory`.
    """

    runs_on = True
    units = ("leak conductances", "mV")
    parameters = {
        **LIF.parameters,
        "w_ei": non_negative,
        "w_ie": non_negative,
        "max_delay": non_negative,
        "v_start": number,
        "v_excitatory": number,
        "v_inhibitory": number,
        "tau_v": time_constant("d_v", share="share_v"),
        "tau_excitatory": time_constant("d_excitatory", share="share_excitatory"),
        "tau_inhibition": time_constant("d_inhibition", share="share_inhibition"),
        "theta_start": number64,
        "inhibitory_v_start": number,
        "tau_inhibitory": time_constant("d_inhibitory", share="share_inhibitory"),
    }

    @staticmethod
    def initial(p: Any) -> tuple[float, float, float]:
        return p.v_rest, p.theta_start, p.inhibitory_v_rest

    @classmethod
    def check(cls, p: Any) -> None:
        """Raise UserError if a step is longer than the time constant of a conductance."""
        for name in ("excitatory", "inhibition"):
            share, tau = getattr(p, f"share_{name}"), getattr(p, f"tau_{name}")
            if share > 1:
                raise UserError.bad_value("encoder.dt", share * tau, f"at most neuron.tau_{name}={tau:g} ms")

    @staticmethod
    def excitatory(p: Any, learning: bool, g_e: Any, g_i: Any, v: Any, refractory: Any, theta: Any) -> tuple:  # type: ignore[override]
        """Advance excitatory neurons by a step with conductances g_e and g_i; return (spike, v, refractory, theta)."""
        g = g_e + g_i + 1
        v_infinite = (g_e * p.v_excitatory + g_i * p.v_inhibitory + p.v_rest) / g
        v = where(refractory > 0, v, v_infinite + (v - v_infinite) * exp(-p.share_v * g))
        theta = theta * p.d_theta if learning else theta
        spike = v > p.v_threshold + theta
        theta = where(spike, theta + p.theta_increment, theta) if learning else theta
        return spike, where(spike, p.v_reset, v), where(spike, p.refractory, maximum(refractory - 1, 0)), theta

    @staticmethod
    def inhibitory(p: Any, g_e: Any, v: Any, refractory: Any) -> tuple:
        """Advance inhibitory neurons by a step with conductance g_e; return (spike, v, refractory)."""
        g = g_e + 1
        v_infinite = (g_e * p.v_excitatory + p.inhibitory_v_rest) / g
        v = where(refractory > 0, v, v_infinite + (v - v_infinite) * exp(-p.share_inhibitory * g))
        spike = v > p.inhibitory_v_threshold
        v = where(spike, p.inhibitory_v_reset, v)
        return spike, v, where(spike, p.inhibitory_refractory, maximum(refractory - 1, 0))

    @classmethod
    def cells(cls, p: Any, zeros: Tensor) -> Tensors:
        return {**super().cells(p, zeros), "g_e": zeros, "g_i": zeros, "inhibitory_g_e": zeros}

    @classmethod
    def first_cells(cls, p: Any, zeros: Tensor) -> Tensors:
        return {**cls.cells(p, zeros), "v": zeros + p.v_start, "inhibitory_v": zeros + p.inhibitory_v_start}

    @classmethod
    def advance(cls, p: Any, learning: bool, arrivals: Tensor, cells: Tensors, theta: Tensor) -> tuple:
        g_e = cells["g_e"] * p.d_excitatory + arrivals
        g_i = cells["g_i"] * p.d_inhibition + p.w_ie * others(cells["inhibitory_spikes"])
        fired, v, refractory, theta = cls.excitatory(p, learning, g_e, g_i, cells["v"], cells["refractory"], theta)
        inhibitory_g_e = cells["inhibitory_g_e"] * p.d_excitatory + p.w_ei * fired.to(v.dtype)
        partners = advance_partners(cls, p, inhibitory_g_e, cells)
        conductances = {"g_e": g_e, "g_i": g_i, "inhibitory_g_e": inhibitory_g_e}
        return fired, {**cells, "v": v, "refractory": refractory, **conductances, **partners}, theta


class DiehlCook2015(ConductanceGroup):
    """The network of Diehl & Cook 2015, as in the authors' scripts: conductances, delays, rest between images."""
