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

from typing import Any

from stdp_run.rules.base import all_to_all
from stdp_run.rules.pair import PairRule


class FullOnline(PairRule):
    """All-spike traces, rows normalised at the end of each image (`normalise: last_step`)."""

    aliases = ("full_online_stdp",)

    @staticmethod
    def pre_trace(p: Any, x: Any, spike: Any) -> Any:
        return all_to_all(x, p.d_pre, spike)

    @staticmethod
    def post_trace(p: Any, y: Any, spike: Any) -> Any:
        return all_to_all(y, p.d_post, spike)
