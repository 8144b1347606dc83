"""Neuron groups: an excitatory population and its inhibitory partner, one to one.

Each group states its arithmetic once, for one neuron and one step, from operators and `stdp_run.elementwise`.
State of an excitatory neuron: membrane potential `v` and refractory counter (both start afresh with every image), and
the persistent `theta`, by which its threshold adapts. An inhibitory neuron has `v` and a refractory counter only.
A refractory counter of n > 0 means that the input of the next n steps is ignored.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.errors import UserError
from stdp_run.parameters import number, number64, positive, time_constant, whole, whole_non_negative, whole_positive
from stdp_run.registry import make_registry


class NeuronGroup:
    """What an engine asks of a neuron group; a group of one's own derives from this or from one of those below.

    Attributes:
        aliases: further names under which the group is known.
        arithmetic: "float" or "int"; a rule works with groups of its own kind.
        compiled: whether the event engine may compile the group; where False it runs on the torch engine alone.
        parameters: every key of the YAML with what its value may be (stdp_run.parameters), among them `w_ei` (one
            excitatory spike onto the inhibitory partner), `w_ie` (one inhibitory spike onto every excitatory neuron
            but the partner) and `w_init_max`, which the wiring and the initial weights use.
        units: of weights, and of potentials and theta, for plots.
        linear_excitatory: the very function `excitatory` of which `between_spikes` is true, or None.
    """

    aliases: tuple[str, ...] = ()
    arithmetic = "float"
    compiled = True
    parameters = {"w_ei": number, "w_ie": number, "w_init_max": positive}
    units = ("mV per spike", "mV")
    linear_excitatory: Callable | None = None

    @classmethod
    def is_linear(cls) -> bool:
        """Return whether `between_spikes` holds: not where a class replaced `excitatory` and said no more about it."""
        return cls.linear_excitatory is cls.excitatory

    @classmethod
    def check(cls, p: Any) -> None:
        """Raise UserError where a class is not linear between spikes though it says so: the engines would differ."""
        if not cls.is_linear() or cls.linear_excitatory in (LIF.excitatory, ALIF.excitatory):
            return
        import torch

        d, v_rest, v_threshold, d_theta = cls.between_spikes(p)
        theta, rest = torch.linspace(0, 5, 6, dtype=torch.float64), torch.zeros(6, dtype=torch.int32)
        v = v_rest + (v_threshold - v_rest) * torch.linspace(-0.5, 0.5, 6, dtype=torch.float64)
        spike, v_next, _, theta_next = cls.excitatory(p, True, v - v_rest, v, rest, theta)
        expected = d * (v - v_rest) + v
        same = partial(torch.allclose, rtol=1e-12, atol=1e-12)
        is_linear = same(v_next[~spike], expected[~spike]) and same(theta_next[~spike], d_theta * theta[~spike])
        if not is_linear or not torch.equal(spike, expected > v_threshold + d_theta * theta):
            name = f"{cls.__module__}.{cls.__name__}"
            raise UserError(f"{name}: `excitatory` is not what `between_spikes` says; leave out linear_excitatory")

    @staticmethod
    def initial(p: Any) -> tuple[float, float, float]:
        """Return the values at rest: (excitatory v, theta, inhibitory v)."""
        raise NotImplementedError

    @staticmethod
    def excitatory(p: Any, learning: bool, current: Any, v: Any, refractory: Any, theta: Any) -> tuple:
        """Advance by a step; return (spike, v, refractory, theta). Where `learning` is False, theta is frozen."""
        raise NotImplementedError

    @staticmethod
    def between_spikes(p: Any) -> tuple[float, float, float, float]:
        """Return (d, v_rest, v_threshold, d_theta), by which an engine can take several steps of a neuron at once.

        While it is not refractory and does not spike, v <- d (v - v_rest) + v_rest + current, and theta <- d_theta
        theta if it learns; it spikes where v > v_threshold + theta. A class of which this is true says so with
        `linear_excitatory = excitatory` in its body; without it, every neuron is advanced at every step.
        """
        return 0, 0, 0, 0

    @staticmethod
    def inhibitory(p: Any, current: Any, v: Any, refractory: Any) -> tuple:
        """Advance inhibitory neurons by a step; return (spike, v, refractory)."""
        raise NotImplementedError


class LIF(NeuronGroup):
    """Leaky integrate-and-fire neurons with an adaptive threshold (Diehl & Cook 2015, eq. 1 and section 2.3).

    V     <- d_v (V - V_rest) + V_rest + current           (current is ignored while refractory)
    theta <- d_theta theta
    spike where V > V_threshold + theta; there V <- V_reset, theta <- theta + theta_increment
    """

    parameters = {
        **NeuronGroup.parameters,
        "v_rest": number,
        "v_reset": number,
        "v_threshold": number,
        "tau_v": time_constant("d_v"),
        "tau_theta": time_constant("d_theta", float64=True),  # a decay of 1e-7 a step is below float32's resolution
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

    @staticmethod
    def inhibitory(p: Any, current: Any, v: Any, refractory: Any) -> tuple:
        v = p.d_inhibitory * (v - p.inhibitory_v_rest) + p.inhibitory_v_rest + where(refractory > 0, 0, current)
        spike = v > p.inhibitory_v_threshold
        v = where(spike, p.inhibitory_v_reset, v)
        return spike, v, where(spike, p.inhibitory_refractory, maximum(refractory - 1, 0))


class DiehlCook(LIF):
    """LIF with the refractory periods of Diehl & Cook 2015: the YAML sets them, the arithmetic is the same."""


class ALIF(LIF):
    """LIF without units, with a soft reset and a threshold that grows in proportion (SPAIC's adaptive LIF).

    spike where V > V_threshold + theta; there V <- V - V_reset, theta <- theta + theta_increment (V_threshold + theta)
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

    linear_excitatory = excitatory  # between spikes it is as LIF is


class IntegerDiehlCook(NeuronGroup):
    """Integer neurons after Diehl & Cook for neuromorphic chips (SPAIC); 16.384 units are 1 mV, all state is int32.

    current <- current clamped to +-v_limit
    theta   <- theta >> 1 where theta > max_threshold           (theta is the whole threshold; only while learning)
    V       <- (v_decay V) >> 10, and + (current_gain current) >> 10 where the refractory counter <= 0
    spike where V > theta; there V <- 0, theta <- theta + theta_increment (while learning)
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

    @staticmethod
    def inhibitory(p: Any, current: Any, v: Any, refractory: Any) -> tuple:
        v = v + current
        spike = v > p.inhibitory_v_threshold
        return spike, where(spike, 0, v), refractory


registered = make_registry(
    __name__, lif_stdp=LIF, alif_stdp=ALIF, diehl_cook=DiehlCook, diehl_cook_int=IntegerDiehlCook
)
