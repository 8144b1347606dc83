"""Rules made of pairs of a spike and a trace: nearest_online, full_online, and the frame for rules of one's own.

The first half is the reference, on whole tensors. The second half is the same for the event engine: plain functions
over single numbers, which that engine compiles with the rule's own `pre_trace`, `post_trace` and `change` as `rule`.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.parameters import number, positive
from stdp_run.rules.base import Rule


class PairRule(Rule):
    """A rule whose weights change only where a spike meets a trace.

        x <- pre_trace(x, s_in),  y <- post_trace(y, s_exc)
        w <- w + rate * change(w, x, y, s_in, s_exc)
        w <- w_norm * w / sum_j |w|    every step, at the last step of an image, or never, as `normalise` says
        w <- clamp(w, 0, w_max)        every step

    The three functions are elementwise, for one synapse, one input or one neuron. `change` is 0 unless the input
    spikes and y is not 0, or the neuron spikes and x is not 0; a trace that is 0 stays 0 until its own spike.
    """

    event_module = __name__
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
    def pre_trace(p, x, spike):
        """Return the presynaptic trace after this step's `spike` (0 or 1): by default the nearest spike's, at most 1."""
        return x * p.d_pre * (1 - spike) + spike

    @staticmethod
    def post_trace(p, y, spike):
        """Return the postsynaptic trace after this step's `spike` (0 or 1)."""
        return y * p.d_post * (1 - spike) + spike

    @staticmethod
    def change(p, w, x, y, pre, post):
        """Return the weight change of one synapse from its weight, traces and this step's spikes (0 or 1)."""
        return p.a_post * post * x - p.a_pre * pre * y

    @staticmethod
    def depresses(p):
        """Return False where an input spike without an output spike never changes a weight: work saved, not a change."""
        return p.a_pre != 0

    @classmethod
    def step(cls, p, moment, weight, traces):
        """Advance a step; shapes as in `Rule.step`."""
        x = cls.pre_trace(p, traces["x"], moment.pre)
        y = cls.post_trace(p, traces["y"], moment.post)
        synapses = (weight, x[:, None, :], y[:, :, None], moment.pre[:, None, :], moment.post[:, :, None])
        weight = weight + moment.reduce(moment.rate * cls.change(p, *synapses))
        if cls.normalise == "every_step" or (cls.normalise == "last_step" and moment.last):
            weight = scale_rows(weight, p.w_norm)
        return weight.clamp(0.0, p.w_max), {"x": x, "y": y}


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
    return weight * (norm / total.masked_fill(total == 0, norm))


# ------------------------------------------------------------------------------------------------------------------
# For the event engine. The weights lie input-major, weight[I, E]. While a neuron's row is open, its true weights are
# weight[:, i] * scale[i], so that normalising is one multiplication; rows are open only while they can change within
# an image, and at its end the scale is multiplied in. So between images the weights are all there is to know, and a
# resumed run opens the same rows.
#
# A row that the clamp at w_max cuts loses the norm again and must be scaled at every further step until it has it:
# `near` lists the inputs whose weights are close to w_max, `peak` bounds all others, and `unsettled` marks rows that
# have not reached the norm.

NEVER, LAST_STEP, EVERY_STEP = range(3)
NEAR_LIMIT = 128
NEAR_SHARE = 0.9
SCALE_LIMIT = 1024.0


class PairMemory(NamedTuple):
    """What the event engine keeps for a `PairRule`, E neurons and I inputs; all but `unsettled` is void between images."""

    x: np.ndarray  # [I] presynaptic trace, by place in the list of pixels that are not black
    pre: np.ndarray  # [I] 1 where that input spikes in this step
    rows: np.ndarray  # [E] of `row_type`
    open_rows: np.ndarray  # [E] int32, the neurons whose rows are open
    n_open: np.ndarray  # [1] how many
    near: np.ndarray  # [E, NEAR_LIMIT] int32, per open row the inputs whose weight is near w_max
    normalise: np.ndarray  # [1] NEVER, LAST_STEP or EVERY_STEP
    tolerance: np.ndarray  # [1] how far from its norm, relatively, a row still counts as normalised: rounding


def row_type(dtype) -> np.dtype:
    """Return the record kept for a neuron."""
    fields = [
        ("total", np.float64),  # sum over the row of the unscaled weights
        ("cut", np.float64),  # sum of |w| below 0 in this step, in true weights
        ("scale", dtype),
        ("y", dtype),  # postsynaptic trace
        ("spike", dtype),  # 1 where the neuron spikes in this step
        ("peak", dtype),  # bound on the unscaled weights that `near` does not list
        ("n_near", np.int32),  # above NEAR_LIMIT: too many to list
        ("is_open", np.int32),
        ("unsettled", np.int32),
    ]
    return np.dtype(fields, align=True)


def allocate(rule, p, weight, n_exc):
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count; rows not at their norm are unsettled."""
    n_inputs = len(weight)
    dtype = weight.dtype
    memory = PairMemory(
        x=np.zeros(n_inputs, dtype),
        pre=np.zeros(n_inputs, dtype),
        rows=np.zeros(n_exc, row_type(dtype)),
        open_rows=np.zeros(n_exc, np.int32),
        n_open=np.zeros(1, np.int32),
        near=np.zeros((n_exc, NEAR_LIMIT), np.int32),
        normalise=np.array([("never", "last_step", "every_step").index(rule.normalise)]),
        tolerance=np.array([1e-5 if dtype == np.float32 else 1e-13]),
    )
    # Input by input, as `fold_row` adds, so that both come to the same verdict.
    total = np.zeros(n_exc)
    for row in weight:
        total += row[:n_exc]
    memory.rows["unsettled"] = (np.abs(total - p.w_norm) > memory.tolerance[0] * p.w_norm) & (total > 0)
    return memory


def begin(p, memory, weight):
    """Start an image: no traces, and the rows open that have not reached their norm."""
    memory.x[:] = 0
    memory.n_open[0] = 0
    if memory.normalise[0] == NEVER:
        return
    for i in range(memory.rows.shape[0]):
        if memory.rows[i].unsettled:
            open_row(p, memory.rows, memory.open_rows, memory.n_open, memory.near, weight, i)


def open_row(p, rows, open_rows, n_open, near, weight, i):
    """Put neuron i among the open rows, its scale 1."""
    row = rows[i]
    open_rows[n_open[0]] = i
    n_open[0] += 1
    row.is_open = 1
    row.y = 0
    row.scale = 1
    row.cut = 0
    total = 0.0
    for j in range(weight.shape[0]):
        total += weight[j, i]
    row.total = total
    list_near(p, row, near[i], weight, i)


def list_near(p, row, near, weight, i):
    """Find the inputs of neuron i whose weight is near w_max, and the bound on all others."""
    threshold = p.w_max * NEAR_SHARE / row.scale
    peak = weight[0, i] * 0
    n_near = 0
    for j in range(weight.shape[0]):
        w = weight[j, i]
        if w > threshold:
            if n_near < NEAR_LIMIT:
                near[n_near] = j
            n_near += 1
        elif w > peak:
            peak = w
    row.peak = peak
    row.n_near = n_near


def note_rise(p, row, near, j, w):
    """Keep `near` and `peak` true after the unscaled weight of input j rose to `w`."""
    if w * row.scale <= p.w_max * NEAR_SHARE:
        if w > row.peak:
            row.peak = w
        return
    n_near = row.n_near
    if n_near > NEAR_LIMIT:
        return
    for k in range(n_near):
        if near[k] == j:
            return
    if n_near < NEAR_LIMIT:
        near[n_near] = j
    row.n_near = n_near + 1


def rescale_current(p, memory, current):
    """Turn the currents from unscaled weights into true ones; only open rows have a scale."""
    for r in range(memory.n_open[0]):
        i = memory.open_rows[r]
        current[i] *= memory.rows[i].scale


def learn(p, rate, instant, weight, theta, memory, active, n_active, spikes, n_spikes, fired, n_fired):
    """Advance a step: traces, weight changes at the spikes, then norm and clamp of the open rows."""
    x, pre, rows, near = memory.x, memory.pre, memory.rows, memory.near
    for s in range(n_spikes):
        pre[spikes[s]] = 1
    for k in range(n_active):
        x[k] = rule.pre_trace(p, x[k], pre[k])
    for f in range(n_fired):
        row = rows[fired[f]]
        row.spike = 1
        if not row.is_open:
            open_row(p, rows, memory.open_rows, memory.n_open, near, weight, fired[f])

    normalise = memory.normalise[0]
    normalises = normalise == EVERY_STEP or (normalise == LAST_STEP and instant.last)
    depresses = rule.depresses(p)
    for r in range(memory.n_open[0]):
        i = memory.open_rows[r]
        row = rows[i]
        row.y = rule.post_trace(p, row.y, row.spike)
        if row.spike != 0:
            change_at_output_spike(p, rate, normalises, row, near[i], weight, i, active, n_active, x, pre)
        elif depresses and row.y != 0:
            change_at_input_spikes(p, rate, normalises, row, near[i], weight, i, active, spikes, n_spikes, x)
        if normalises:
            normalise_row(p, row, near[i], weight, i)

    for s in range(n_spikes):
        pre[spikes[s]] = 0
    for f in range(n_fired):
        rows[fired[f]].spike = 0


def change_at_output_spike(p, rate, normalises, row, near, weight, i, active, n_active, x, pre):
    """Change the weights of neuron i, which spikes, from all inputs with a trace."""
    scale, y, spike = row.scale, row.y, row.spike
    inverse = spike / scale
    total = row.total
    for k in range(n_active):
        if x[k] == 0:
            continue
        j = active[k]
        before = weight[j, i]
        w = before * scale
        w += rate * rule.change(p, w, x[k], y, pre[k], spike)
        if w < 0 or (not normalises and w > p.w_max):
            w = clamp(p, row, normalises, w)
        w *= inverse
        weight[j, i] = w
        total += np.float64(w) - np.float64(before)
        if w > before:
            note_rise(p, row, near, j, w)
    row.total = total


def change_at_input_spikes(p, rate, normalises, row, near, weight, i, active, spikes, n_spikes, x):
    """Change the weights of neuron i, which does not spike but has a trace, from the inputs that spike."""
    scale, y, spike = row.scale, row.y, row.spike
    one = spike + 1
    inverse = one / scale
    total = row.total
    for s in range(n_spikes):
        k = spikes[s]
        j = active[k]
        before = weight[j, i]
        w = before * scale
        w += rate * rule.change(p, w, x[k], y, one, spike)
        if w < 0 or (not normalises and w > p.w_max):
            w = clamp(p, row, normalises, w)
        w *= inverse
        weight[j, i] = w
        total += np.float64(w) - np.float64(before)
        if w > before:
            note_rise(p, row, near, j, w)
    row.total = total


def clamp(p, row, normalises, w):
    """Return the true weight `w`, which is out of bounds, clamped. Above w_max only where no norm is due first."""
    if w > 0:
        return p.w_max
    if normalises:
        row.cut -= w
    return p.w_max * 0


def normalise_row(p, row, near, weight, i):
    """Scale row i to its norm, as the reference does before it clamps, then clamp it to w_max."""
    norm = row.total * row.scale + row.cut
    row.cut = 0
    if norm == 0 or norm == p.w_norm:
        return
    row.scale *= p.w_norm / norm
    if row.peak * row.scale > p.w_max:
        list_near(p, row, near, weight, i)
    if row.n_near > NEAR_LIMIT:
        for j in range(weight.shape[0]):
            clamp_weight(p, row, weight, i, j)
    else:
        for k in range(row.n_near):
            clamp_weight(p, row, weight, i, near[k])
    if row.scale > SCALE_LIMIT or row.scale * SCALE_LIMIT < 1:
        fold_row(p, row, weight, i)
        list_near(p, row, near, weight, i)


def clamp_weight(p, row, weight, i, j):
    """Lower the unscaled weight of synapse (i, j) to what w_max allows."""
    before = weight[j, i]
    if before * row.scale > p.w_max:
        weight[j, i] = p.w_max / row.scale
        row.total += np.float64(weight[j, i]) - np.float64(before)


def fold_row(p, row, weight, i):
    """Multiply the scale into row i and add the row up anew."""
    scale = row.scale
    total = 0.0
    for j in range(weight.shape[0]):
        w = min(weight[j, i] * scale, p.w_max)
        weight[j, i] = w
        total += w
    row.total = total
    row.scale = 1


def finish(p, memory, weight):
    """End an image: fold every open row, and mark those that still miss their norm."""
    for r in range(memory.n_open[0]):
        i = memory.open_rows[r]
        row = memory.rows[i]
        fold_row(p, row, weight, i)
        row.is_open = 0
        row.unsettled = row.total > 0 and abs(row.total - p.w_norm) > memory.tolerance[0] * p.w_norm
    memory.n_open[0] = 0


def current_weight(p, memory, weight, j, i):
    """Return the true weight of synapse (i, j)."""
    if memory.rows[i].is_open:
        return weight[j, i] * memory.rows[i].scale
    return weight[j, i]


EVENT_FUNCTIONS = (
    begin,
    open_row,
    list_near,
    note_rise,
    rescale_current,
    learn,
    change_at_output_spike,
    change_at_input_spikes,
    clamp,
    normalise_row,
    clamp_weight,
    fold_row,
    finish,
    current_weight,
)
