"""The base class of learning rules, the data of one step, and the reduction of a batch of changes to one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import Tensor, Tensors
from stdp_run.parameters import Check

REDUCTIONS = ("sum", "mean", "max")


class Reduction:
    """Combines the weight changes of a batch: "sum", "mean", or "max", the largest rise plus the largest fall."""

    def __init__(self, name: str):
        assert name in REDUCTIONS, name
        self.name = name

    def __call__(self, changes: Tensor) -> Tensor:
        """Return one change [E, I] for `changes` [B, E, I]; the mean of integers is rounded down."""
        if len(changes) == 1:
            return changes[0]
        if self.name == "max":
            return changes.amax(dim=0).clamp(min=0) + changes.amin(dim=0).clamp(max=0)
        total = changes.sum(dim=0, dtype=changes.dtype)
        if self.name == "sum":
            return total
        return total / len(changes) if total.is_floating_point() else total // len(changes)

    def outer(self, post: Tensor, pre: Tensor) -> Tensor:
        """Return the sum or mean of the float changes post[B, E] x pre[B, I] without a tensor [B, E, I]."""
        if len(post) == 1:
            return post[0][:, None] * pre[0]
        total = post.T @ pre
        return total / len(post) if self.name == "mean" else total


class Step(NamedTuple):
    """The data of one step for a rule, with B images in a batch."""

    pre: Tensor  #: [B, I] 0/1 input spikes; with delays [D + 1, B, I], the last D + 1 steps, latest first
    post: Tensor  #: [B, E] 0/1 excitatory spikes, only of neurons that may learn from this image
    theta: Tensor  #: [B, E] theta after this step's neuron update; the threshold in integer groups
    rate: float | Tensor  #: factor of the learning rate schedule
    last: bool  #: whether this is the last step of the image
    reduce: Reduction  #: function from changes [B, E, I] to one change [E, I]
    words: Callable[[], tuple[Tensor, Tensor]]  #: two random words per synapse, [B, E, I] each, for stochastic rounding
    delays: Tensor | None = None  #: int64 [E, I], delay of each synapse in steps, or None without delays


class Rule:
    """A learning rule for the plastic weights `weight[E, I]` from inputs to excitatory neurons.

    Custom rules usually derive from `SpikeRule`, which runs on both engines. A direct subclass of `Rule` defines `step`
    on whole tensors and runs on the torch engine. The class attribute `compiled`, an `Implementation`
    (stdp_run/engines/event/learning), adds the event engine.

    Attributes:
        aliases: further names of the rule.
        arithmetic: "float" or "int", the arithmetic of its neuron groups.
        neuron: a registered neuron group with this arithmetic, for error messages.
        traces_of_image: traces that restart with every image, also in networks without a reset between images.
        parameters: a check of `stdp_run.parameters` for each key of the YAML.
    """

    aliases: tuple[str, ...] = ()
    arithmetic = "float"
    neuron = "lif_stdp"
    traces_of_image: tuple[str, ...] = ()
    parameters: Mapping[str, Check] = {}

    @classmethod
    def check(cls, p: Any) -> None:
        """Raise UserError if a custom class violates an assumption of the engines."""

    @staticmethod
    def persistent(p: Any, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return the state that persists between images, by name, for the initial `weight[E, I]`."""
        return {}

    @staticmethod
    def start(p: Any, persistent: Tensors, pre: Tensor, post: Tensor) -> Tensors:
        """Return the traces at the start of an image, by name, from the `persistent` state.

        `pre` [B, I] (with delays [D + 1, B, I]) and `post` [B, E] are zeros. `p` is the named tuple of the constants.
        """
        return {"x": pre, "y": post}

    @classmethod
    def begin(cls, p: Any, weight: Tensor) -> Tensor:
        """Return weight[E, I] for the start of a training image; unchanged by default."""
        return weight

    @classmethod
    def step(cls, p: Any, step: Step, weight: Tensor, traces: Tensors) -> tuple[Tensor, Tensors]:
        """Return (weight[E, I], traces) after one step."""
        raise NotImplementedError

    @staticmethod
    def finish(p: Any, traces: Tensors) -> Tensors:
        """Return the persistent state, by name, from the traces at the end of an image."""
        return {}


def nearest(trace: Any, decay: Any, spike: Any) -> Any:
    """Advance a trace of the nearest spike by one step: it decays, and a `spike` (0 or 1) sets it to 1."""
    trace = trace * decay
    return trace - trace * spike + spike


def all_to_all(trace: Any, decay: Any, spike: Any) -> Any:
    """Advance a trace of all spikes by one step: it decays, and a `spike` (0 or 1) adds 1."""
    return trace * decay + spike


def pre_at_synapses(rule: Any, p: Any, step: Step, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (presynaptic trace, shaped as `step.pre`; trace at the synapses; spikes at the synapses).

    The last two have shape [B, 1, I] without delays, and [B, E, I] with delays.
    """
    if step.delays is None:
        x = rule.pre_trace(p, x, step.pre)
        return x, x[:, None, :], step.pre[:, None, :]
    x = latest_first(rule.pre_trace(p, x[0], step.pre[0]), x)
    return x, at_synapses(x, step.delays), at_synapses(step.pre, step.delays)


def latest_first(now: Tensor, before: Tensor) -> Tensor:
    """Prepend `now` [B, I] to `before` [D + 1, B, I] and drop the oldest step."""
    import torch

    return torch.cat([now[None], before[:-1]])


def at_synapses(by_step: Tensor, delays: Tensor) -> Tensor:
    """Return the input of each synapse delays[E, I] steps ago, [B, E, I], from [D + 1, B, I], latest first."""
    _, n_images, n_inputs = by_step.shape
    index = delays[:, None, :].expand(-1, n_images, n_inputs)
    return by_step.gather(0, index).transpose(0, 1)
