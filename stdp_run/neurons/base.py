"""The base class of neuron groups: an excitatory population and its inhibitory partners, one to one.

Each group states its arithmetic once, for one neuron and one step, from operators and `stdp_run.elementwise`.
An excitatory neuron has a membrane potential `v`, a refractory counter, perhaps conductances, and a persistent `theta`,
by which its threshold adapts. An inhibitory neuron has the same without theta. All but theta start afresh with every
image, unless the group runs on. A refractory counter of n > 0 means that the input of the next n steps is ignored.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from stdp_run.elementwise import Tensor, Tensors
from stdp_run.errors import UserError
from stdp_run.parameters import number, positive


class Membrane(NamedTuple):
    """An excitatory neuron with learning off, without its refractory period, in terms of u = V - v_rest.

    u <- decay u + gain current + bias;  spike where u > v_threshold - v_rest + theta;
    there V <- v_reset, or V <- V - v_reset where the reset `subtracts`
    """

    decay: float
    v_rest: float
    v_threshold: float
    v_reset: float
    subtracts: bool = False
    gain: float = 1.0
    bias: float = 0.0


class NeuronGroup:
    """A neuron group; a custom group derives from this class or from a registered group.

    Attributes:
        aliases: further names under which the group is known.
        arithmetic: "float" or "int"; a rule works with groups of its own kind.
        compiled: whether the event engine may compile the group; where False it runs on the torch engine alone.
        parameters: every key of the YAML with what its value may be (stdp_run.parameters), among them `w_ei` (one
            excitatory spike onto the inhibitory partner), `w_ie` (one inhibitory spike onto every excitatory neuron
            but the partner) and `w_init_max`, which the wiring and the initial weights use.
        units: of weights, and of potentials and theta, for plots.
        runs_on: whether potentials, conductances and the rule's traces run on from image to image, through the rest
            between them, while it learns; with learning off each image is answered from rest.
        linear_excitatory: the function `excitatory` for which `between_spikes` holds, or None.
    """

    aliases: tuple[str, ...] = ()
    arithmetic = "float"
    compiled = True
    parameters = {"w_ei": number, "w_ie": number, "w_init_max": positive}
    units = ("mV per spike", "mV")
    runs_on = False
    linear_excitatory: Callable | None = None

    @classmethod
    def is_linear(cls) -> bool:
        """Return whether `between_spikes` holds; a class that replaces `excitatory` must declare it anew."""
        return cls.linear_excitatory is cls.excitatory

    @classmethod
    def check(cls, p: Any) -> None:
        """Raise UserError where a custom class declares `linear_excitatory` but is not linear between spikes."""
        if not cls.is_linear() or cls.linear_excitatory.__module__.startswith(__package__):
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
        """Advance by a step; return (spike, v, refractory, theta). With `learning` off theta is frozen."""
        raise NotImplementedError

    @staticmethod
    def between_spikes(p: Any) -> tuple[float, float, float, float]:
        """Return (d, v_rest, v_threshold, d_theta), by which an engine can take several steps of a neuron at once.

        While it is not refractory and does not spike, v <- d (v - v_rest) + v_rest + current, and theta <- d_theta
        theta if it learns; it spikes where v > v_threshold + theta. A class declares that this holds by
        `linear_excitatory = excitatory` in its body; otherwise every neuron is advanced at every step.
        """
        return 0, 0, 0, 0

    @classmethod
    def membrane(cls, p: Any) -> Membrane | None:
        """Return an excitatory neuron in the terms of other programs; None: it does not fit in a `Membrane`."""
        return None

    @staticmethod
    def inhibitory(p: Any, current: Any, v: Any, refractory: Any) -> tuple:
        """Advance inhibitory neurons by a step; return (spike, v, refractory)."""
        raise NotImplementedError

    @classmethod
    def cells(cls, p: Any, none: Tensor) -> Tensors:
        """Return the state of all neurons at rest, without theta, by name; `none` are zeros [B, E] typed as weights."""
        v, _, inhibitory_v = cls.initial(p)
        return {
            "v": none + v,
            "refractory": none.int(),
            "inhibitory_v": none + inhibitory_v,
            "inhibitory_refractory": none.int(),
            "inhibitory_spikes": none,  # of the step before
        }

    @classmethod
    def first_cells(cls, p: Any, none: Tensor) -> Tensors:
        """Return the same before the first image, for a group that runs on."""
        return cls.cells(p, none)

    @classmethod
    def advance(cls, p: Any, learning: bool, arrivals: Tensor, cells: Tensors, theta: Tensor) -> tuple:
        """Advance all neurons by a step; return (which excitatory ones fire, cells, theta), each [B, E].

        `arrivals` [B, E] are the sums of the weights of the input spikes that arrive.
        """
        current = arrivals - p.w_ie * others(cells["inhibitory_spikes"])
        fired, v, refractory, theta = cls.excitatory(p, learning, current, cells["v"], cells["refractory"], theta)
        partners = advance_partners(cls, p, p.w_ei * fired.to(arrivals.dtype), cells)
        return fired, {**cells, "v": v, "refractory": refractory, **partners}, theta


def advance_partners(group: type[NeuronGroup], p: Any, received: Tensor, cells: Tensors) -> Tensors:
    """Return the cells of the inhibitory neurons after a step with a current or conductance `received` [B, E]."""
    fired, v, refractory = group.inhibitory(p, received, cells["inhibitory_v"], cells["inhibitory_refractory"])
    spikes = fired.to(received.dtype)
    return {"inhibitory_v": v, "inhibitory_refractory": refractory, "inhibitory_spikes": spikes}


def others(spikes: Tensor) -> Tensor:
    """Return for each neuron how many of the others spike, [B, E]."""
    return spikes.sum(dim=1, keepdim=True, dtype=spikes.dtype) - spikes
