"""Rules made of pairs of a spike and a trace: nearest_online, full_online, and the frame for rules of one's own.

This is the reference, on whole tensors; stdp_run.engines.event.plasticity.pair does the same for the event engine with the three
elementwise functions of the rule.
"""

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.parameters import number, positive
from stdp_run.rules.base import NearestTraces


class PairRule(NearestTraces):
    """A rule whose weights change only where a spike meets a trace.

        x <- pre_trace(x, s_in),  y <- post_trace(y, s_exc)
        w <- w + rate * change(w, x, y, s_in, s_exc)
        w <- w_norm * w / sum_j |w|    every step, at the last step of an image, or never, as `normalise` says
        w <- clamp(w, 0, w_max)        every step

    The three functions are elementwise, for one synapse, one input or one neuron. `change` is 0 unless the input
    spikes and y is not 0, or the neuron spikes and x is not 0; a trace that is 0 stays 0 until its own spike.
    """

    event_module = "stdp_run.engines.event.plasticity.pair"
    normalise = "every_step"  # or "last_step" of each image, or "never"
    parameters = {
        "a_post": number,
        "a_pre": number,
        "tau_pre": positive,
        "tau_post": positive,
        "w_norm": positive,
        "w_max": positive,
    }

    @staticmethod
    def change(p, w, x, y, pre, post):
        """Return the weight change of one synapse from its weight, traces and this step's spikes (0 or 1)."""
        return p.a_post * post * x - p.a_pre * pre * y

    @classmethod
    def step(cls, p, moment, weight, traces):
        """Advance a step; shapes as in `Rule.step`."""
        x = cls.pre_trace(p, traces["x"], moment.pre)
        y = cls.post_trace(p, traces["y"], moment.post)
        weight = weight + cls._changes(p, moment, weight, x, y)
        if cls.normalise == "every_step" or (cls.normalise == "last_step" and moment.last):
            weight = scale_rows(weight, p.w_norm)
        return maximum(minimum(weight, p.w_max), 0.0), {"x": x, "y": y}

    @classmethod
    def _changes(cls, p, moment, weight, x, y):
        """Return the change of all weights, [E, I], of all images together."""
        if cls.change is PairRule.change and moment.reduce.adds:
            # Without a tensor [B, E, I]: products of spikes and traces add up in a product of matrices.
            change = moment.reduce.outer(moment.rate * p.a_post * moment.post, x)
            if _is_zero(p.a_pre):
                return change
            return change - moment.reduce.outer(moment.rate * p.a_pre * y, moment.pre)
        synapses = (weight, x[:, None, :], y[:, :, None], moment.pre[:, None, :], moment.post[:, :, None])
        return moment.reduce(moment.rate * cls.change(p, *synapses))


def _is_zero(constant) -> bool:
    """Return whether a constant is the number 0; a tensor, of networks side by side, is not looked into."""
    return isinstance(constant, float) and constant == 0.0


class NearestOnline(PairRule):
    """Only the nearest spike counts, rows are normalised at every step (SPAIC `nearest_online_stdp`)."""

    aliases = ("nearest_online_stdp",)


class FullOnline(PairRule):
    """All spikes add up in the traces, rows are normalised at the end of each image (SPAIC `full_online_STDP`)."""

    aliases = ("full_online_stdp",)
    normalise = "last_step"

    @staticmethod
    def pre_trace(p, x, spike):
        return x * p.d_pre + spike

    @staticmethod
    def post_trace(p, y, spike):
        return y * p.d_post + spike


def scale_rows(weight, norm: float):
    """Return `weight[E, I]` with each row scaled to L1 norm `norm`; a row of zeros stays."""
    total = weight.abs().sum(dim=1, keepdim=True)
    return weight * (norm / where(total == 0, norm, total))
