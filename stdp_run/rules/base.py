"""What a learning rule is, and what it sees of one step."""

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
    reduce: Reduction  # makes of changes [B, E, I] one change [E, I]
    words: Callable[[], tuple[Tensor, Tensor]]  # two random words a synapse, each [B, E, I], for stochastic rounding
    delays: Tensor | None = None  # int64 [E, I], in steps, of the synapses; None: there are none


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
        """Raise UserError where the class is not what an engine takes it for; for a rule of the user's own."""

    @staticmethod
    def persistent(p: Any, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the rule keeps from image to image, by name, for the initial `weight[E, I]`."""
        return {}

    @staticmethod
    def start(p: Any, persistent: Tensors, pre: Tensor, post: Tensor) -> Tensors:
        """Return the traces at the start of an image, by name, from what the rule keeps, `persistent`.

        `pre` [B, I] and `post` [B, E] are zeros of the shape and type of traces, `pre` [D + 1, B, I] where there are
        delays; `p` are the constants, a named tuple.
        """
        return {"x": pre, "y": post}

    @classmethod
    def begin(cls, p: Any, weight: Tensor) -> Tensor:
        """Return weight[E, I] with which an image begins that is learned from: as it is, or normalised."""
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
    """Return (the presynaptic trace to keep, that trace at the synapses, the spikes that arrive there).

    The trace to keep has the shape of `step.pre`. What lies at the synapses is [B, 1, I], the same for all neurons, or
    with delays [B, E, I]: a synapse sees spike and trace as they were by its delay ago.
    """
    if step.delays is None:
        x = rule.pre_trace(p, x, step.pre)
        return x, x[:, None, :], step.pre[:, None, :]
    x = latest_first(rule.pre_trace(p, x[0], step.pre[0]), x)
    return x, at_synapses(x, step.delays), at_synapses(step.pre, step.delays)


def latest_first(now: Tensor, before: Tensor) -> Tensor:
    """Return what is now, [B, I], in front of the steps before, [D + 1, B, I], of which the oldest is left out."""
    import torch

    return torch.cat([now[None], before[:-1]])


def at_synapses(by_step: Tensor, delays: Tensor) -> Tensor:
    """Return [B, E, I]: for each synapse what its input had delays[E, I] steps ago, from [D + 1, B, I]."""
    _, n_images, n_inputs = by_step.shape
    index = delays[:, None, :].expand(-1, n_images, n_inputs)
    return by_step.gather(0, index).transpose(0, 1)
