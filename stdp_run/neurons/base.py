"""The base class of neuron groups: an excitatory population and its inhibitory partners, one to one.

A group defines its arithmetic once, for one neuron and one step, with operators and `stdp_run.elementwise`. An
excitatory neuron has a membrane potential `v`, a refractory counter, optional conductances, and a persistent adaptive
threshold `theta`. An inhibitory neuron has the same state without theta. All state but theta is reset with every image,
unless the group runs on. With a refractory counter of n > 0, a neuron ignores its input for the next n steps.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from stdp_run.elementwise import Tensor, Tensors
from stdp_run.errors import UserError
from stdp_run.parameters import number, positive


class Membrane(NamedTuple):
    """An excitatory neuron with learning off and without a refractory period.

    With u = V - v_rest, a step is::

        u <- decay u + gain current + bias
        spike if u > v_threshold - v_rest + theta
        at a spike V <- v_reset, or V <- V - v_reset if the reset `subtracts`
    """

    decay: float
    v_rest: float
    v_threshold: float
    v_reset: float
    subtracts: bool = False
    gain: float = 1.0
    bias: float = 0.0


class NeuronGroup:
    """Base class of neuron groups; subclass it, or a registered group, to add your own.

    Attributes:
        aliases: further names of the group.
        arithmetic: "float" or "int"; a rule works with groups of the same arithmetic.
        compiled: whether the event engine may compile the group; if False, it runs on the torch engine only.
        parameters: every key of the YAML with its check (stdp_run.parameters). `w_ei` is the effect of an excitatory
            spike on the inhibitory partner. `w_ie` is the effect of an inhibitory spike on every excitatory neuron but
            the partner. `w_init_max` is the largest initial weight.
        units: (unit of weights, unit of potentials and theta), for plots.
        runs_on: whether potentials, conductances and the rule's traces run on from image to image, through a rest
            between images, while the network learns. With learning off each image starts from rest.
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
        """Return whether `between_spikes` holds; a class that overrides `excitatory` must declare it again."""
        return cls.linear_excitatory is cls.excitatory

    @classmethod
    def check(cls, p: Any) -> None:
        """Raise UserError if a custom class declares `linear_excitatory` but is not linear between spikes."""
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
            raise UserError(f"{name}: `excitatory` contradicts `between_spikes`; remove linear_excitatory")

    @staticmethod
    def initial(p: Any) -> tuple[float, float, float]:
        """Return the values at rest: (excitatory v, theta, inhibitory v)."""
        raise NotImplementedError

    @staticmethod
    def excitatory(p: Any, learning: bool, current: Any, v: Any, refractory: Any, theta: Any) -> tuple:
        """Advance excitatory neurons by a step; return (spike, v, refractory, theta). Only `learning` changes theta."""
        raise NotImplementedError

    @staticmethod
    def between_spikes(p: Any) -> tuple[float, float, float, float]:
        """Return (d, v_rest, v_threshold, d_theta) of neurons that are linear between spikes.

        An engine can then advance them by several steps at once. While a neuron is not refractory and does not spike::

            v <- d (v - v_rest) + v_rest + current
            theta <- d_theta theta, while learning
            spike if v > v_threshold + theta

        A class declares this by `linear_excitatory = excitatory` in its body. Otherwise every neuron advances at every
        step.
        """
        return 0, 0, 0, 0

    @classmethod
    def membrane(cls, p: Any) -> Membrane | None:
        """Return an excitatory neuron as a `Membrane`, for export; None if it does not fit."""
        return None

    @staticmethod
    def inhibitory(p: Any, current: Any, v: Any, refractory: Any) -> tuple:
        """Advance inhibitory neurons by a step; return (spike, v, refractory)."""
        raise NotImplementedError

    @classmethod
    def cells(cls, p: Any, zeros: Tensor) -> Tensors:
        """Return the state of all neurons at rest, without theta, by name; `zeros` [B, E] are typed as weights."""
        v, _, inhibitory_v = cls.initial(p)
        return {
            "v": zeros + v,
            "refractory": zeros.int(),
            "inhibitory_v": zeros + inhibitory_v,
            "inhibitory_refractory": zeros.int(),
            "inhibitory_spikes": zeros,  # of the previous step
        }

    @classmethod
    def first_cells(cls, p: Any, zeros: Tensor) -> Tensors:
        """Return the state before the first image, for a group that runs on; as `cells`."""
        return cls.cells(p, zeros)

    @classmethod
    def advance(cls, p: Any, learning: bool, arrivals: Tensor, cells: Tensors, theta: Tensor) -> tuple:
        """Advance all neurons by a step; return (excitatory neurons that fire, cells, theta), each [B, E].

        `arrivals` [B, E] are the sums of the weights of arriving input spikes.
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
    """Return for each neuron the number of other neurons that spike, [B, E]."""
    return spikes.sum(dim=1, keepdim=True, dtype=spikes.dtype) - spikes
