"""post_pre_int: integer STDP with stochastic rounding, for neuromorphic chips.

Traces::

    x <- (trace_decay x) >> 15, then x = trace_scale where s_in = 1
    y <- (trace_decay y) >> 15, then y = trace_scale where s_exc = 1

Weights::

    w <- w + s_in sr(nu0 y) + s_exc sr(nu1 x)
    w <- w >> 1    in rows whose updated threshold exceeds max_threshold
    w <- clamp(w, w_min, w_max)

Stochastic rounding, with a new random u for each synapse::

    sr(a) = (a >> shift) + [u < a mod 2^shift],  u uniform in 0..2^shift - 1

All numbers are int32. The published nu0 is positive, so an input spike potentiates; a negative nu0 depresses.

Source: SPAIC, `postpreint`.
"""

from typing import Any

from stdp_run.elementwise import Tensor, Tensors, maximum, minimum, where
from stdp_run.parameters import Check, whole, whole_non_negative, whole_positive
from stdp_run.rules.base import Rule, Step

TRACE_SHIFT = 15


class PostPreInt(Rule):
    """Integer pairs of nearest spikes."""

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
        """Return `amount` / 2^shift, stochastically rounded with the random `word`."""
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
        # A batch shares the weights: one image with a high threshold halves the row.
        halved = (step.theta > p.max_threshold).any(dim=0)[:, None]
        weight = where(halved, weight >> 1, weight)
        return maximum(minimum(weight, p.w_max), p.w_min), {"x": x, "y": y}
