"""post_pre_int: integers only, with stochastic rounding, for neuromorphic chips (SPAIC, `postpreint`).

    x <- (trace_decay x) >> 15, then x = trace_scale where s_in = 1;  y likewise with s_exc
    w <- w + s_in sr(nu0 y) + s_exc sr(nu1 x)
    w <- w >> 1 in rows whose threshold, after this step's neuron update, is above max_threshold
    w <- clamp(w, w_min, w_max)
    sr(a) = (a >> shift) + [u < a mod 2^shift],  u uniform in 0..2^shift - 1, sampled anew for every synapse

All of it is int32. With the published nu0 = +14 the presynaptic update adds; its sign is the sign of nu0.
"""

from typing import Any

from stdp_run.elementwise import Tensor, Tensors, maximum, minimum, where
from stdp_run.parameters import Check, whole, whole_non_negative, whole_positive
from stdp_run.rules.base import Rule, Step

TRACE_SHIFT = 15


class PostPreInt(Rule):
    """Integer pairs of a spike and a trace."""

    aliases = ("postpreintstdp", "postpreint")
    arithmetic = "int"
    neuron = "diehl_cook_int"
    parameters = {
        "nu0": whole,
        "nu1": whole,
        "shift": Check("a whole number from 0 to 30", whole=True, minimum=0, maximum=30),
        "trace_decay": Check("a whole number from 0 to 32768", whole=True, minimum=0, maximum=32768),
        "trace_scale": Check("a whole number from 0 to 32767", whole=True, minimum=0, maximum=32767),
        "max_threshold": whole_positive,
        "w_min": whole,
        "w_max": whole_non_negative,
    }

    @staticmethod
    def trace(p: Any, value: Any, spike: Any) -> Any:
        """Return a trace after this step's `spike` (0 or 1)."""
        return where(spike > 0, p.trace_scale, (value * p.trace_decay) >> TRACE_SHIFT)

    @staticmethod
    def rounded(p: Any, amount: Any, word: Any) -> Any:
        """Return `amount` / 2^shift, rounded up with a probability equal to the fraction lost; `word` is random."""
        mask = (1 << p.shift) - 1
        return (amount >> p.shift) + ((word & mask) < (amount & mask))

    @classmethod
    def step(cls, p: Any, step: Step, weight: Tensor, traces: Tensors) -> tuple[Tensor, Tensors]:
        x = cls.trace(p, traces["x"], step.pre)
        y = cls.trace(p, traces["y"], step.post)
        word_pre, word_post = step.words()
        change = cls.rounded(p, p.nu0 * y[:, :, None], word_pre) * step.pre[:, None, :]
        change = change + cls.rounded(p, p.nu1 * x[:, None, :], word_post) * step.post[:, :, None]
        weight = weight + step.reduce(change)
        # The images of a batch share the weights, which halve where the threshold is too high in any of them.
        halved = (step.theta > p.max_threshold).any(dim=0)[:, None]
        weight = where(halved, weight >> 1, weight)
        return maximum(minimum(weight, p.w_max), p.w_min), {"x": x, "y": y}
