"""The frame for rules that say what an input spike and what an output spike does to a synapse.

x <- pre_trace(x, s_in),  y <- post_trace(y, s_exc),  y2 <- second_trace(y2, 0)
w <- w + rate * at_input(w, x, y, y2)     where the input spikes
w <- w + rate * at_output(w, x, y, y2)    where the neuron spikes
w <- w_norm * w / sum_j |w|               every step, at the last step of an image, or never, as `normalise` says
w <- clamp(w, 0, w_max)
y2 <- second_trace(y2 of the step before, s_exc)    so that a change sees y2 without the spike that it is for

With `normalise: before_presentation` rows are scaled, and clamped, before each presentation of an image.
"""

from typing import Any

from stdp_run.elementwise import Tensor, Tensors, maximum, minimum, where
from stdp_run.errors import UserError
from stdp_run.parameters import choice, positive
from stdp_run.rules.base import NearestTraces, Step, pre_at_synapses
from stdp_run.rules.pair import scale_rows

OCCASIONS = ("never", "last_step", "every_step", "before_presentation")
NEVER, LAST_STEP, EVERY_STEP, BEFORE_PRESENTATION = range(4)


def nearest(trace: Any, decay: Any, spike: Any) -> Any:
    """Return a trace of the nearest spike after a step: it decays, and a `spike` (0 or 1) sets it to 1."""
    trace = trace * decay
    return trace - trace * spike + spike


def all_to_all(trace: Any, decay: Any, spike: Any) -> Any:
    """Return a trace of all spikes after a step: it decays, and a `spike` (0 or 1) adds 1."""
    return trace * decay + spike


class SpikeRule(NearestTraces):
    """A rule stated by what an input spike and an output spike do to a synapse.

    All static methods are elementwise, for one synapse, one input or one neuron: operators and `stdp_run.elementwise`.
    `pre_trace` leaves `start_pre` as it is until a spike, the postsynaptic traces 0. There are none unless stated.

    Attributes:
        changes_silent_inputs: whether an output spike changes the weights of inputs too that have not spiked.
    """

    changes_silent_inputs = False
    parameters = {"normalise": choice(*OCCASIONS), "w_norm": positive, "w_max": positive}

    @staticmethod
    def post_trace(p: Any, y: Any, spike: Any) -> Any:
        """Return the postsynaptic trace after this step's `spike`, 0 before the first one: here there is none."""
        return y

    @staticmethod
    def depresses(p: Any) -> bool:
        """Return False where `at_input` is 0 always: that saves work, and changes nothing."""
        return True

    @staticmethod
    def at_input(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        """Return the change of a weight at an input spike; it is 0 where y and y2 are 0."""
        return w * 0

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        """Return the change at an output spike, of which y2 does not know; 0 for `start_pre` unless declared."""
        return w * 0

    @classmethod
    def check(cls, p: Any) -> None:
        """Raise UserError where a trace or a change is not what the engines take it for: they would differ."""
        import torch

        w = p.w_max * torch.linspace(0, 1, 5, dtype=torch.float64)
        zero, one = w * 0, w * 0 + 1
        x = zero + cls.start_pre(p)
        cases = [
            ("pre_trace", "leave start_pre as it is until a spike", cls.pre_trace(p, x, zero), x),
            ("post_trace", "leave 0 as it is until a spike", cls.post_trace(p, zero, zero), zero),
            ("second_trace", "leave 0 as it is until a spike", cls.second_trace(p, zero, zero), zero),
            ("at_input", "be 0 where y and y2 are 0", cls.at_input(p, w, one, zero, zero), zero),
        ]
        at_output = cls.at_output(p, w, x, one, one)
        silent = "be 0 for an x before the first input spike, or changes_silent_inputs = True"
        cases.append(("at_output", silent, at_output, at_output if cls.changes_silent_inputs else zero))
        for name, what, result, expected in cases:
            # `where` of two numbers gives float32, for one.
            if torch.as_tensor(result).dtype != w.dtype:
                what = "give numbers of the type of its arguments"
            elif (result == expected).all():
                continue
            raise UserError(f"{cls.__module__}.{cls.__name__}.{name}: must {what}")

    @classmethod
    def start(cls, p: Any, persistent: Tensors, pre: Tensor, post: Tensor) -> Tensors:
        return {"x": pre + cls.start_pre(p), "y": post, "y2": post}

    @classmethod
    def begin(cls, p: Any, weight: Tensor) -> Tensor:
        return _clamped(p, scale_rows(weight, p.w_norm)) if p.normalise == BEFORE_PRESENTATION else weight

    @classmethod
    def step(cls, p: Any, step: Step, weight: Tensor, traces: Tensors) -> tuple[Tensor, Tensors]:
        kept_x, x, pre = pre_at_synapses(cls, p, step, traces["x"])
        y, y2 = cls.post_trace(p, traces["y"], step.post), cls.second_trace(p, traces["y2"], step.post * 0)
        of_neurons, post = (y[:, :, None], y2[:, :, None]), step.post[:, :, None]
        if cls.depresses(p) is not False:  # a tensor [] is not looked into
            change = step.rate * cls.at_input(p, weight, x, *of_neurons)
            weight = weight + step.reduce(where(pre > 0, change, 0.0))
        change = step.rate * cls.at_output(p, weight, x, *of_neurons)
        weight = weight + step.reduce(where(post > 0, change, 0.0))
        if p.normalise == EVERY_STEP or (p.normalise == LAST_STEP and step.last):
            weight = scale_rows(weight, p.w_norm)
        y2 = cls.second_trace(p, traces["y2"], step.post)
        return _clamped(p, weight), {"x": kept_x, "y": y, "y2": y2}


class OutputSpikeRule(SpikeRule):
    """A rule that changes weights at output spikes alone, those of silent inputs too."""

    changes_silent_inputs = True

    @staticmethod
    def depresses(p: Any) -> bool:
        return False


def _clamped(p: Any, weight: Tensor) -> Tensor:
    return maximum(minimum(weight, p.w_max), 0.0)
