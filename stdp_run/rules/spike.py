"""Base of rules that define the change of a synapse at an input spike and at an output spike.

Each step advances the traces, applies input spikes, then output spikes, then bounds the weights::

    x <- pre_trace(x, s_in),  y <- post_trace(y, s_exc)

    w <- w + rate * at_input(w, x, y, y2)      at an input spike
    w <- w + rate * at_output(w, x, y, y2)     at an output spike

    w <- w_norm * w / sum_j |w|                if `normalise` says so
    w <- clamp(w, 0, w_max)

The changes see y2 decayed but without the output spike of this step. This spike enters y2 after the changes.

`normalise` is `never`, `every_step`, `last_step` (of an image) or `before_presentation`. The last one scales and clamps
the rows of weights before each presentation of an image.
"""

from typing import Any

from stdp_run.elementwise import Tensor, Tensors, maximum, minimum, where
from stdp_run.errors import UserError
from stdp_run.parameters import choice, positive
from stdp_run.rules.base import Rule, Step, nearest, pre_at_synapses

OCCASIONS = ("never", "last_step", "every_step", "before_presentation")
NEVER, LAST_STEP, EVERY_STEP, BEFORE_PRESENTATION = range(4)


class SpikeRule(Rule):
    """A rule that defines the weight change at an input spike and at an output spike.

    All static methods are elementwise: they compute one synapse, input or neuron with operators and
    `stdp_run.elementwise`. Before the first spike `pre_trace` must keep `start_pre`, and the postsynaptic traces must
    stay 0.

    Attributes:
        changes_silent_inputs: whether an output spike also changes the weights of inputs that have not spiked.
    """

    changes_silent_inputs = False
    parameters = {"normalise": choice(*OCCASIONS), "w_norm": positive, "w_max": positive}

    @staticmethod
    def start_pre(p: Any) -> float:
        """Return the presynaptic trace of an input that has not spiked."""
        return 0.0

    @staticmethod
    def pre_trace(p: Any, x: Any, spike: Any) -> Any:
        """Return the presynaptic trace after this step's `spike` (0 or 1); by default that of the nearest spike."""
        return nearest(x, p.d_pre, spike)

    @staticmethod
    def post_trace(p: Any, y: Any, spike: Any) -> Any:
        """Return the postsynaptic trace after this step's `spike` (0 or 1); by default it stays 0."""
        return y

    @staticmethod
    def second_trace(p: Any, y2: Any, spike: Any) -> Any:
        """Return the second postsynaptic trace after this step's `spike` (0 or 1); by default it stays 0."""
        return y2

    @staticmethod
    def depresses(p: Any) -> bool:
        """Return False if `at_input` is always 0; the engines then skip it."""
        return True

    @staticmethod
    def at_input(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        """Return the weight change at an input spike; it must be 0 where y and y2 are 0."""
        return w * 0

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        """Return the weight change at an output spike, with y2 before this spike.

        It must be 0 for `start_pre`, unless `changes_silent_inputs`.
        """
        return w * 0

    @classmethod
    def check(cls, p: Any) -> None:
        """Raise UserError if a trace or a change violates the conditions above."""
        import torch

        w = p.w_max * torch.linspace(0, 1, 5, dtype=torch.float64)
        zero, one = w * 0, w * 0 + 1
        x = zero + cls.start_pre(p)
        at_output = cls.at_output(p, w, x, one, one)
        silent = "be 0 for an x before the first input spike, or changes_silent_inputs = True"
        cases = [
            ("pre_trace", "leave start_pre as it is until a spike", cls.pre_trace(p, x, zero), x),
            ("post_trace", "leave 0 as it is until a spike", cls.post_trace(p, zero, zero), zero),
            ("second_trace", "leave 0 as it is until a spike", cls.second_trace(p, zero, zero), zero),
            ("at_input", "be 0 where y and y2 are 0", cls.at_input(p, w, one, zero, zero), zero),
            ("at_output", silent, at_output, at_output if cls.changes_silent_inputs else zero),
        ]
        for name, what, result, expected in cases:
            # For example, `where` of two numbers gives float32.
            if torch.as_tensor(result).dtype != w.dtype:
                what = "give numbers of the type of its arguments"
            elif (result == expected).all():
                continue
            else:
                k = int((result != expected).nonzero()[0])
                what += f"; for w={w[k]:g} it is {result[k]:g}"
            raise UserError(f"{cls.__module__}.{cls.__name__}.{name}: must {what}")

    @classmethod
    def start(cls, p: Any, persistent: Tensors, pre: Tensor, post: Tensor) -> Tensors:
        return {"x": pre + cls.start_pre(p), "y": post, "y2": post}

    @classmethod
    def begin(cls, p: Any, weight: Tensor) -> Tensor:
        if p.normalise != BEFORE_PRESENTATION:
            return weight
        return maximum(minimum(scale_rows(weight, p.w_norm), p.w_max), 0.0)

    @classmethod
    def step(cls, p: Any, step: Step, weight: Tensor, traces: Tensors) -> tuple[Tensor, Tensors]:
        kept_x, x, pre = pre_at_synapses(cls, p, step, traces["x"])
        y, y2 = cls.post_trace(p, traces["y"], step.post), cls.second_trace(p, traces["y2"], step.post * 0)
        y_column, y2_column, post = y[:, :, None], y2[:, :, None], step.post[:, :, None]
        if cls.depresses(p):
            change = step.rate * cls.at_input(p, weight, x, y_column, y2_column)
            weight = weight + step.reduce(where(pre > 0, change, 0.0))
        change = step.rate * cls.at_output(p, weight, x, y_column, y2_column)
        weight = weight + step.reduce(where(post > 0, change, 0.0))
        y2 = cls.second_trace(p, traces["y2"], step.post)
        return cls.bounded(p, step, weight), {"x": kept_x, "y": y, "y2": y2}

    @classmethod
    def bounded(cls, p: Any, step: Step, weight: Tensor) -> Tensor:
        """Return weight[E, I] normalised if this step requires it, then clamped to [0, w_max]."""
        if p.normalise == EVERY_STEP or (p.normalise == LAST_STEP and step.last):
            weight = scale_rows(weight, p.w_norm)
        return maximum(minimum(weight, p.w_max), 0.0)


class OutputSpikeRule(SpikeRule):
    """A rule that changes weights at output spikes only, including the weights of silent inputs."""

    changes_silent_inputs = True

    @staticmethod
    def depresses(p: Any) -> bool:
        return False


def scale_rows(weight: Tensor, norm: float) -> Tensor:
    """Return weight[E, I] with each row scaled to L1 norm `norm`; rows of zeros stay."""
    total = weight.abs().sum(dim=1, keepdim=True)
    return weight * (norm / where(total == 0, norm, total))
