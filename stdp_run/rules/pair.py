"""Base of pair rules: a spike changes a weight by the trace of the other side."""

from typing import Any

from stdp_run.elementwise import Tensor, Tensors
from stdp_run.parameters import number, time_constant
from stdp_run.rules.base import Step, nearest
from stdp_run.rules.spike import SpikeRule


class PairRule(SpikeRule):
    """A `SpikeRule` with traces of the nearest spike and changes proportional to a trace.

    Changes: `-a_pre y` at an input spike, `a_post x` at an output spike.
    """

    parameters = {
        "a_post": number,
        "a_pre": number,
        "tau_pre": time_constant("d_pre"),
        "tau_post": time_constant("d_post"),
        **SpikeRule.parameters,
    }

    @staticmethod
    def post_trace(p: Any, y: Any, spike: Any) -> Any:
        return nearest(y, p.d_post, spike)

    @staticmethod
    def depresses(p: Any) -> bool:
        return p.a_pre != 0

    @staticmethod
    def at_input(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return -p.a_pre * y

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.a_post * x

    @classmethod
    def step(cls, p: Any, step: Step, weight: Tensor, traces: Tensors) -> tuple[Tensor, Tensors]:
        unchanged = cls.at_input is PairRule.at_input and cls.at_output is PairRule.at_output
        if not unchanged or step.delays is not None or step.reduce.name == "max":
            return super().step(p, step, weight, traces)
        # A matrix product sums over the batch without a tensor [B, E, I].
        x, y = cls.pre_trace(p, traces["x"], step.pre), cls.post_trace(p, traces["y"], step.post)
        change = step.reduce.outer(step.rate * p.a_post * step.post, x)
        if cls.depresses(p):
            change = change - step.reduce.outer(step.rate * p.a_pre * y, step.pre)
        return cls.bounded(p, step, weight + change), {**traces, "x": x, "y": y}
