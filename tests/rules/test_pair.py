"""A pair rule of the user's own fits the frame, or is refused: else the engines would come to different weights."""

import pytest

from stdp_run.config.build import build_rule, published
from stdp_run.errors import UserError
from stdp_run.rules import FullOnline, NearestOnline, PairRule

CONSTANTS = build_rule(PairRule, published("rule", "nearest_online"), 1.0, 784)


class SoftBound(PairRule):
    @staticmethod
    def change(p, w, x, y, pre, post):
        return p.a_post * post * x * (p.w_max - w) - p.a_pre * pre * y * w


@pytest.mark.parametrize("rule", [NearestOnline, FullOnline, SoftBound])
def test_what_fits_the_frame_passes(rule):
    rule.check(CONSTANTS)


@pytest.mark.parametrize(
    "change, what",
    [
        (lambda p, w, x, y, pre, post: post * (x - 0.4), "the neuron spikes and x is 0"),
        (lambda p, w, x, y, pre, post: pre * (y - 0.4), "the input spikes and y is 0"),
        (lambda p, w, x, y, pre, post: -1e-6 * w, "input and neuron do not spike"),
    ],
)
def test_a_change_where_no_spike_meets_a_trace_is_refused(change, what):
    rule = type("Mistaken", (PairRule,), {"change": staticmethod(change)})
    with pytest.raises(UserError, match=rf"Mistaken.change: must be 0 where {what}; .* derives from SpikeRule"):
        rule.check(CONSTANTS)
