"""Pair rules: a spike changes a weight by the trace of the other side; `Triplet` also by that of its own side."""

from typing import Any

from stdp_run.elementwise import Tensor, Tensors
from stdp_run.parameters import number, time_constant
from stdp_run.rules.base import Step, all_to_all, nearest
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


class NearestOnline(PairRule):
    """nearest_online: STDP of the nearest spikes, with normalisation at every step.

    Traces::

        x <- d_pre x,   then x = 1 where s_in = 1
        y <- d_post y,  then y = 1 where s_exc = 1

    Weights::

        w <- w + rate * (a_post s_exc x - a_pre y s_in)
        w <- w_norm w / sum_j |w|, then clamp(w, 0, w_max)    every step

    Source: SPAIC, `nearest_online_stdp`.
    """

    aliases = ("nearest_online_stdp",)


class FullOnline(PairRule):
    """full_online: STDP of all spikes, with normalisation at the end of each image.

    Traces::

        x <- d_pre x + s_in
        y <- d_post y + s_exc

    Weights::

        w <- w + rate * (a_post s_exc x - a_pre y s_in)
        w <- w_norm w / sum_j |w|    at the last step of an image
        w <- clamp(w, 0, w_max)      every step

    Source: SPAIC, `full_online_STDP`.
    """

    aliases = ("full_online_stdp",)

    @staticmethod
    def pre_trace(p: Any, x: Any, spike: Any) -> Any:
        return all_to_all(x, p.d_pre, spike)

    @staticmethod
    def post_trace(p: Any, y: Any, spike: Any) -> Any:
        return all_to_all(y, p.d_post, spike)


class WeightDependent(PairRule):
    """weight_dependent: STDP of the nearest spikes with soft bounds.

    The traces x and y decay. A spike sets its trace to 1::

        w <- w - rate * a_pre y w                at an input spike
        w <- w + rate * a_post x (w_max - w)     at an output spike

    Source: BindsNET, WeightDependentPostPre, here with w_min = 0. In van Rossum et al. 2000 only depression is
    proportional to the weight.
    """

    @staticmethod
    def at_input(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return -p.a_pre * y * w

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.a_post * x * (p.w_max - w)


class Triplet(PairRule):
    """triplet: depression by pairs of spikes, potentiation by triplets (output, input, output).

    The traces x, y and y2 decay with tau_pre, tau_post and tau_post_slow. A spike sets its trace to 1::

        w <- w - rate * a_pre y         at an input spike
        w <- w + rate * a_post x y2     at an output spike, y2 before this spike

    Source: Pfister & Gerstner 2006, eq. 2 and 3, the minimal model for cortex (A2+ = A3- = 0). In the paper all spikes
    add up in the traces. Traces of the nearest spike, as here, are in the scripts of Diehl & Cook 2015.
    """

    parameters = {**PairRule.parameters, "tau_post_slow": time_constant("d_post_slow")}

    @staticmethod
    def second_trace(p: Any, y2: Any, spike: Any) -> Any:
        return nearest(y2, p.d_post_slow, spike)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.a_post * x * y2
