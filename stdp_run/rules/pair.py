"""The frame for rules made of pairs of a spike and a trace, such as nearest_online, full_online and those of one's own.

x <- pre_trace(x, s_in),  y <- post_trace(y, s_exc)
w <- w + rate * change(w, x, y, s_in, s_exc)
w <- w_norm * w / sum_j |w|    every step, at the last step of an image, or never, as `normalise` says
w <- clamp(w, 0, w_max)        every step
"""

from typing import Any

from stdp_run.elementwise import Tensor, Tensors, maximum, minimum, where
from stdp_run.errors import UserError
from stdp_run.parameters import number, positive, time_constant
from stdp_run.rules.base import NearestTraces, Step, pre_at_synapses


class PairRule(NearestTraces):
    """A rule whose weights change only where a spike meets a trace.

    The functions `pre_trace`, `post_trace` and `change` are elementwise, for one input, one neuron and one synapse:
    operators and `stdp_run.elementwise`. `change` is 0 unless the input spikes and y is not 0, or the neuron spikes
    and x is not 0; a trace that is 0 stays 0 until its own spike.
    """

    normalise = "every_step"  # or "last_step" of each image, or "never"
    parameters = {
        "a_post": number,
        "a_pre": number,
        "tau_pre": time_constant("d_pre"),
        "tau_post": time_constant("d_post"),
        "w_norm": positive,
        "w_max": positive,
    }

    @classmethod
    def check(cls, p: Any) -> None:
        """Raise UserError where `change` is not 0 though no spike meets a trace: then the engines would differ."""
        if cls.change is PairRule.change:
            return
        import torch

        w, one, zero = p.w_max * torch.linspace(0, 1, 5), torch.ones(5), torch.zeros(5)
        cases = {
            "input and neuron do not spike": (one, one, zero, zero),
            "the neuron spikes and x is 0": (zero, one, zero, one),
            "the input spikes and y is 0": (one, zero, one, zero),
        }
        for what, case in cases.items():
            if (torch.as_tensor(cls.change(p, w, *case)) != 0).any():
                name = f"{cls.__module__}.{cls.__name__}"
                raise UserError(
                    f"{name}.change: must be 0 where {what}; a rule that changes more derives from SpikeRule"
                )

    @staticmethod
    def change(p: Any, w: Any, x: Any, y: Any, pre: Any, post: Any) -> Any:
        """Return the weight change of one synapse from its weight, traces and this step's spikes (0 or 1)."""
        return p.a_post * post * x - p.a_pre * pre * y

    @classmethod
    def step(cls, p: Any, step: Step, weight: Tensor, traces: Tensors) -> tuple[Tensor, Tensors]:
        y = cls.post_trace(p, traces["y"], step.post)
        if step.delays is None and cls.change is PairRule.change and step.reduce.adds:
            x = cls.pre_trace(p, traces["x"], step.pre)
            weight = weight + cls._changes_of_pairs(p, step, x, y)
        else:
            x, seen, arrived = pre_at_synapses(cls, p, step, traces["x"])
            change = cls.change(p, weight, seen, y[:, :, None], arrived, step.post[:, :, None])
            weight = weight + step.reduce(step.rate * change)
        if cls.normalise == "every_step" or (cls.normalise == "last_step" and step.last):
            weight = scale_rows(weight, p.w_norm)
        return maximum(minimum(weight, p.w_max), 0.0), {"x": x, "y": y}

    @classmethod
    def _changes_of_pairs(cls, p: Any, step: Step, x: Tensor, y: Tensor) -> Tensor:
        """Return the change of all weights, [E, I], of all images together, where `change` is the one stated here.

        Products of spikes and traces add up in a product of matrices, without a tensor [B, E, I].
        """
        change = step.reduce.outer(step.rate * p.a_post * step.post, x)
        if isinstance(p.a_pre, float) and not cls.depresses(p):  # a tensor [] is not looked into
            return change
        return change - step.reduce.outer(step.rate * p.a_pre * y, step.pre)


def scale_rows(weight: Tensor, norm: float) -> Tensor:
    """Return `weight[E, I]` with each row scaled to L1 norm `norm`; a row of zeros stays."""
    total = weight.abs().sum(dim=1, keepdim=True)
    return weight * (norm / where(total == 0, norm, total))
