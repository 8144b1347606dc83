"""meta_nearest_online: each neuron's mean weight follows a target that sinks while the neuron is busy (SPAIC)."""

import numpy as np

from stdp_run.elementwise import exp, maximum, where
from stdp_run.parameters import number, positive
from stdp_run.rules.base import NearestTraces

SMALLEST_ROOM = 1e-4
SMALLEST_MEAN = 1e-6


class MetaNearestOnline(NearestTraces):
    """Nearest-spike pairs with a soft bound and a homeostatic target per neuron (SPAIC `meta_nearest_online_stdp`).

        x, y as in nearest_online, but y lasts from image to image
        m <- m - rate * target_share a_pre (y - mean(y));  m <- m M / mean(m)     M = mean(m) at the start
        dw = a_post s_exc x - a_pre y s_in
        w <- w m / max(rowmean(w), 1e-6) + rate * dw exp(-bound / max(room, 1e-4))
             room = w - w_min where dw < 0, w_max - w where dw > 0, of the weight before the update

    With several images at once, y is kept per image during the images and averaged over them at their end.
    """

    aliases = ("meta_nearest_online_stdp",)
    event_module = "stdp_run.engines.event.plasticity.meta_nearest_online"
    parameters = {
        "a_post": number,
        "a_pre": number,
        "tau_pre": positive,
        "tau_post": positive,
        "target_share": number,
        "bound": positive,
        "w_min": number,
        "w_max": number,
    }

    @staticmethod
    def change(p, w, x, y, pre, post):
        """Return the softly bounded weight change of one synapse."""
        change = p.a_post * post * x - p.a_pre * pre * y
        room = where(change < 0, w - p.w_min, p.w_max - w)
        return change * exp(-p.bound / maximum(room, SMALLEST_ROOM))

    @staticmethod
    def persistent(p, weight):
        target = weight.astype(np.float64).mean(axis=1)
        return {"y": np.zeros(len(weight)), "target": target, "target_mean": np.array([target.mean()])}

    @staticmethod
    def start(p, persistent, pre, post):
        return {**persistent, "x": pre, "y": persistent["y"].to(post.dtype) + post}

    @classmethod
    def step(cls, p, moment, weight, traces):
        """Advance a step; shapes as in `Rule.step`."""
        x = cls.pre_trace(p, traces["x"], moment.pre)
        y = cls.post_trace(p, traces["y"], moment.post)
        busy = (y - y.mean(dim=1, keepdim=True)).double().mean(dim=0)
        target = traces["target"] - moment.rate * p.target_share * p.a_pre * busy
        target = target * (traces["target_mean"] / target.mean())
        synapses = (weight, x[:, None, :], y[:, :, None], moment.pre[:, None, :], moment.post[:, :, None])
        change = moment.reduce(moment.rate * cls.change(p, *synapses))
        factor = target / weight.double().mean(dim=1).clamp(min=SMALLEST_MEAN)
        weight = weight * factor[:, None].to(weight.dtype) + change
        return weight, {**traces, "x": x, "y": y, "target": target}

    @staticmethod
    def finish(p, traces):
        return {
            "y": traces["y"].double().mean(dim=0),
            "target": traces["target"],
            "target_mean": traces["target_mean"],
        }
