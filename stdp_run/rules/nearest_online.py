"""nearest_online: STDP of the nearest spikes, with normalisation at every step.

Traces::

    x <- d_pre x,   then x = 1 where s_in = 1
    y <- d_post y,  then y = 1 where s_exc = 1

Weights::

    w <- w + rate * (a_post s_exc x - a_pre y s_in)
    w <- w_norm w / sum_j |w|, then clamp(w, 0, w_max)    every step

Source: SPAIC, `nearest_online_stdp`.
"""

from stdp_run.rules.pair import PairRule


class NearestOnline(PairRule):
    """Traces of the nearest spike, rows normalised at every step (`normalise: every_step`)."""

    aliases = ("nearest_online_stdp",)
