"""The base class of learning rules, and what a rule sees of one step."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import Tensor, Tensors
from stdp_run.parameters import Check
from stdp_run.rules.reduction import Reduction


class Step(NamedTuple):
    """One step as a rule sees it, B images side by side."""

    pre: Tensor  # [B, I] 0/1 input spikes; with delays those of the D steps before too, [D + 1, B, I], latest first
    post: Tensor  # [B, E] 0/1 excitatory spikes, of the neurons that may learn from this image
    theta: Tensor  # [B, E] after this step's neuron update; integer groups: the threshold
    rate: float | Tensor  # factor of the learning-rate schedule, on every change of a weight
    last: bool  # this is the image's last step
    reduce: Reduction  # changes [B, E, I] to one change [E, I]
    words: Callable[[], tuple[Tensor, Tensor]]  # two random words a synapse, each [B, E, I], for stochastic rounding
    delays: Tensor | None = None  # int64 [E, I], of the synapses in steps; None: no delays


class Rule:
    """A learning rule for the plastic weights `weight[E, I]` from inputs to excitatory neurons.

    A custom rule that fits the frame of `SpikeRule` derives from it and runs on both engines. Any other derives from
    this class and states its update of whole tensors in `step`: it runs on the torch engine. A compiled implementation
    as class attribute `compiled` (stdp_run/engines/event/README.md) lets the event engine run it too.

    Attributes:
        aliases: further names under which the rule is known.
        arithmetic: "float" or "int", the kind of neuron group that it works with.
        neuron: a registered neuron group that it works with, named where another is refused.
        traces_of_image: the traces that start afresh with every image even where the network runs on between images.
        parameters: every key of the YAML with what its value may be (stdp_run.parameters).
    """

    aliases: tuple[str, ...] = ()
    arithmetic = "float"
    neuron = "lif_stdp"
    traces_of_image: tuple[str, ...] = ()
    parameters: Mapping[str, Check] = {}

    @classmethod
    def check(cls, p: Any) -> None:
        """Raise UserError where a custom class breaks the assumptions of an engine."""

    @staticmethod
    def persistent(p: Any, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the rule keeps from image to image, by name, for the initial `weight[E, I]`."""
        return {}

    @staticmethod
    def start(p: Any, persistent: Tensors, pre: Tensor, post: Tensor) -> Tensors:
        """Return the traces at the start of an image, by name, from what the rule keeps, `persistent`.

        `pre` [B, I] (with delays [D + 1, B, I]) and `post` [B, E] are zeros; `p` are the constants, a named tuple.
        """
        return {"x": pre, "y": post}

    @classmethod
    def begin(cls, p: Any, weight: Tensor) -> Tensor:
        """Return weight[E, I] for the start of an image that is learned from; by default as it is."""
        return weight

    @classmethod
    def step(cls, p: Any, step: Step, weight: Tensor, traces: Tensors) -> tuple[Tensor, Tensors]:
        """Return (weight[E, I], traces) after one step."""
        raise NotImplementedError

    @staticmethod
    def finish(p: Any, traces: Tensors) -> Tensors:
        """Return what the rule keeps, by name, from the traces at the end of an image."""
        return {}


def nearest(trace: Any, decay: Any, spike: Any) -> Any:
    """Return a trace of the nearest spike after a step: it decays, and a `spike` (0 or 1) sets it to 1."""
    trace = trace * decay
    return trace - trace * spike + spike


def all_to_all(trace: Any, decay: Any, spike: Any) -> Any:
    """Return a trace of all spikes after a step: it decays, and a `spike` (0 or 1) adds 1."""
    return trace * decay + spike


def pre_at_synapses(rule: Any, p: Any, step: Step, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (presynaptic trace, shaped as `step.pre`; the trace at the synapses; the spikes that arrive there).

    What lies at the synapses is [B, 1, I], equal for all neurons; with delays it is [B, E, I].
    """
    if step.delays is None:
        x = rule.pre_trace(p, x, step.pre)
        return x, x[:, None, :], step.pre[:, None, :]
    x = latest_first(rule.pre_trace(p, x[0], step.pre[0]), x)
    return x, at_synapses(x, step.delays), at_synapses(step.pre, step.delays)


def latest_first(now: Tensor, before: Tensor) -> Tensor:
    """Return [D + 1, B, I]: `now` [B, I], followed by `before` [D + 1, B, I] without the oldest step."""
    import torch

    return torch.cat([now[None], before[:-1]])


def at_synapses(by_step: Tensor, delays: Tensor) -> Tensor:
    """Return [B, E, I], the value of each synapse's input delays[E, I] steps ago, from [D + 1, B, I], latest first."""
    _, n_images, n_inputs = by_step.shape
    index = delays[:, None, :].expand(-1, n_images, n_inputs)
    return by_step.gather(0, index).transpose(0, 1)
