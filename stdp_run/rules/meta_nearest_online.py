"""meta_nearest_online: STDP of the nearest spikes, with a target for the mean weight of each neuron.

The target m falls while the neuron is active. Its mean over all neurons stays at M, the mean at the start::

    m <- m - rate * target_share a_pre (y - mean(y))
    m <- m M / mean(m)

Each row of weights is scaled to its target. A change shrinks near the bound that it approaches::

    dw = a_post s_exc x - a_pre y s_in
    w <- w m / max(rowmean(w), 1e-6) + rate * dw exp(-bound / max(room, 1e-4))

    room = w - w_min where dw < 0, w_max - w where dw > 0, before the update

`nearest_online` has the same traces x and y, but here y persists from image to image. In a batch each image has its own
y; at the end of the batch y is their mean.

Source: SPAIC, `meta_nearest_online_stdp`.
"""

from typing import Any

import numpy as np

from stdp_run.elementwise import Tensor, Tensors, exp, maximum, where
from stdp_run.parameters import number, positive, time_constant
from stdp_run.rules.base import Rule, Step, pre_at_synapses
from stdp_run.rules.pair import PairRule

SMALLEST_ROOM = 1e-4
SMALLEST_MEAN = 1e-6


def soft_bound(p: Any, room: Any) -> Any:
    """Return the factor of a change for a weight at distance `room` from its bound."""
    return exp(-p.bound / maximum(room, SMALLEST_ROOM))


class MetaNearestOnline(Rule):
    """Pairs of nearest spikes with soft bounds, and a homeostatic target of the mean weight per neuron."""

    aliases = ("meta_nearest_online_stdp",)
    parameters = {
        "a_post": number,
        "a_pre": number,
        "tau_pre": time_constant("d_pre"),
        "tau_post": time_constant("d_post"),
        "target_share": number,
        "bound": positive,
        "w_min": number,
        "w_max": number,
    }

    pre_trace = staticmethod(PairRule.pre_trace)
    post_trace = staticmethod(PairRule.post_trace)
    depresses = staticmethod(PairRule.depresses)

    @staticmethod
    def change(p: Any, w: Any, x: Any, y: Any, pre: Any, post: Any) -> Any:
        """Return the softly bounded weight change of one synapse."""
        change = p.a_post * post * x - p.a_pre * pre * y
        return change * soft_bound(p, where(change < 0, w - p.w_min, p.w_max - w))

    @staticmethod
    def persistent(p: Any, weight: np.ndarray) -> dict[str, np.ndarray]:
        target = weight.astype(np.float64).mean(axis=1)
        return {"y": np.zeros(len(weight)), "target": target, "target_mean": np.array([target.mean()])}

    @staticmethod
    def start(p: Any, persistent: Tensors, pre: Tensor, post: Tensor) -> Tensors:
        return {**persistent, "x": pre, "y": persistent["y"].to(post.dtype) + post}

    @classmethod
    def step(cls, p: Any, step: Step, weight: Tensor, traces: Tensors) -> tuple[Tensor, Tensors]:
        x, seen, arrived = pre_at_synapses(cls, p, step, traces["x"])
        y = cls.post_trace(p, traces["y"], step.post)
        activity = (y - y.mean(dim=1, keepdim=True)).double().mean(dim=0)
        target = traces["target"] - step.rate * p.target_share * p.a_pre * activity
        target = target * (traces["target_mean"] / target.mean())
        change = cls.change(p, weight, seen, y[:, :, None], arrived, step.post[:, :, None])
        change = step.reduce(step.rate * change)
        factor = target / weight.double().mean(dim=1).clamp(min=SMALLEST_MEAN)
        weight = weight * factor[:, None].to(weight.dtype) + change
        return weight, {**traces, "x": x, "y": y, "target": target}

    @staticmethod
    def finish(p: Any, traces: Tensors) -> Tensors:
        return {"y": traces["y"].double().mean(dim=0), "target": traces["target"], "target_mean": traces["target_mean"]}
