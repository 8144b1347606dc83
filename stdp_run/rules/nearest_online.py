"""nearest_online: only the nearest spike of each side counts (SPAIC, `nearest_online_stdp`).

x <- d_pre x,   then x = 1 where s_in = 1
y <- d_post y,  then y = 1 where s_exc = 1
w <- w + rate * (a_post s_exc x - a_pre y s_in)
w <- w_norm w / sum_j |w|, then clamp(w, 0, w_max)    every step
"""

from stdp_run.rules.pair import PairRule


class NearestOnline(PairRule):
    """Traces of the nearest spike, rows normalised at every step (`normalise: every_step`)."""

    aliases = ("nearest_online_stdp",)
