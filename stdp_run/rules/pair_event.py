"""The event engine's half of a `PairRule`: plain functions that the engine compiles, with the rule's own as `rule`.

The weights lie input-major, weight[I, E]. A row, the weights of one neuron, is open only while
it can change within an image:

  its true weights are what is stored times `scale`, so that normalising is one multiplication;
  if the neuron has fired, the weights of inputs that can spike in this image lie side by side in `own`, where every
  loop over them is vectorised; the dark inputs stay where they are, as only `scale` and the clamp act on them.

A row that the clamp at w_max cuts loses the norm again, and must be scaled at every further step until it has it
back: `near` lists the dark inputs whose weights are close to w_max, the peaks bound all others, and `unsettled` marks
rows that have not reached their norm. At the end of an image open rows are folded: between images the weights are all
there is to know, so that a resumed run opens the same rows.
"""

from typing import NamedTuple

import numpy as np

NEVER, LAST_STEP, EVERY_STEP = range(3)
NEAR_LIMIT = 128
NEAR_SHARE = 0.9
SCALE_LIMIT = 1024.0


class PairMemory(NamedTuple):
    """What the event engine keeps for a `PairRule`, E neurons and I inputs; all but `unsettled` is void between images.

    `own` and `near` go by a row's place among the open ones; memory that no image needs is never touched.
    """

    x: np.ndarray  # [I] presynaptic trace, by place in the list of pixels that are not black
    after_spike: np.ndarray  # [I] the traces of the inputs that spike in this step, in their order
    pre: np.ndarray  # [I] 1 where that input spikes in this step, kept only while a neuron fires
    rows: np.ndarray  # [E] of `row_type`
    open_rows: np.ndarray  # [E] int32, the neurons whose rows are open
    n_open: np.ndarray  # [1] how many
    own: np.ndarray  # [E, I] stored weights of the inputs that can spike, by place in the list of them
    near: np.ndarray  # [E, NEAR_LIMIT] int32, dark inputs whose weight is near w_max
    normalise: np.ndarray  # [1] NEVER, LAST_STEP or EVERY_STEP
    tolerance: np.ndarray  # [1] how far from its norm, relatively, a row still counts as normalised: rounding


def row_type(dtype) -> np.dtype:
    """Return the record kept for a neuron."""
    fields = [
        ("own_total", np.float64),  # sum of the stored weights in `own`
        ("dark_total", np.float64),  # sum of the other stored weights
        ("cut", np.float64),  # sum of |w| below 0 in this step, in true weights
        ("scale", dtype),
        ("y", dtype),  # postsynaptic trace
        ("spike", dtype),  # 1 where the neuron spikes in this step
        ("own_peak", dtype),  # bound on the stored weights in `own`
        ("dark_peak", dtype),  # bound on the other stored weights that `near` does not list
        ("n_near", np.int32),  # above NEAR_LIMIT: too many to list
        ("place", np.int32),  # among the open rows, or -1
        ("has_own", np.int32),
        ("restless", np.int32),  # has to be scaled to its norm at the next step
        ("unsettled", np.int32),  # the same, across the end of an image
    ]
    return np.dtype(fields, align=True)


def allocate(rule, p, weight, n_exc):
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count; rows not at their norm are unsettled."""
    n_inputs = len(weight)
    dtype = weight.dtype
    memory = PairMemory(
        x=np.zeros(n_inputs, dtype),
        after_spike=np.zeros(n_inputs, dtype),
        pre=np.zeros(n_inputs, dtype),
        rows=np.zeros(n_exc, row_type(dtype)),
        open_rows=np.zeros(n_exc, np.int32),
        n_open=np.zeros(1, np.int32),
        own=np.empty((n_exc, n_inputs), dtype),
        near=np.empty((n_exc, NEAR_LIMIT), np.int32),
        normalise=np.array([("never", "last_step", "every_step").index(rule.normalise)]),
        tolerance=np.array([1e-5 if dtype == np.float32 else 1e-13]),
    )
    # Input by input, as `fold_row` adds, so that both come to the same verdict.
    total = np.zeros(n_exc)
    for row in weight:
        total += row[:n_exc]
    too_large = weight[:, :n_exc].max(axis=0) > p.w_max
    if rule.normalise == "every_step":
        memory.rows["unsettled"] = too_large
    else:
        np.minimum(weight[:, :n_exc], p.w_max, out=weight[:, :n_exc])  # as the reference does at the first step
    memory.rows["unsettled"] |= (np.abs(total - p.w_norm) > memory.tolerance[0] * p.w_norm) & (total > 0)
    memory.rows["place"] = -1
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
    """Put neuron i among the open rows with scale 1, all inputs taken as dark."""
    row = rows[i]
    list_row(row, open_rows, n_open, i)
    total = 0.0
    for j in range(weight.shape[0]):
        total += weight[j, i]
    row.dark_total = total
    list_near(p, row, near[row.place], weight, i)


def list_row(row, open_rows, n_open, i):
    """Give the row of neuron i a place among the open ones."""
    row.place = n_open[0]
    open_rows[n_open[0]] = i
    n_open[0] += 1
    row.has_own = 0
    row.y = 0
    row.scale = 1
    row.cut = 0
    row.own_total = 0
    row.own_peak = 0
    row.restless = 1


def take_own(p, row, own, near, weight, i, active, n_active):
    """Move the weights of the inputs that can spike into `own`; the row's scale must be 1.

    Until the row is folded, `weight` has 0 for them, so that passes over the dark inputs need not ask which is which.
    """
    threshold = p.w_max * NEAR_SHARE
    zero = weight[0, i] * 0
    own_total, dark_total = 0.0, 0.0
    own_peak, dark_peak = zero, zero
    n_near = 0
    place = 0
    next_active = np.int64(active[0]) if n_active else -1
    for j in range(weight.shape[0]):
        w = weight[j, i]
        if j == next_active:
            own[place] = w
            weight[j, i] = zero
            own_total += w
            own_peak = max(own_peak, w)
            place += 1
            next_active = np.int64(active[place]) if place < n_active else -1
        else:
            dark_total += w
            if w > threshold:
                if n_near < NEAR_LIMIT:
                    near[n_near] = j
                n_near += 1
            else:
                dark_peak = max(dark_peak, w)
    row.own_total, row.dark_total = own_total, dark_total
    row.own_peak, row.dark_peak = own_peak, dark_peak
    row.n_near = n_near
    row.has_own = 1


def list_near(p, row, near, weight, i):
    """Find the dark inputs of neuron i whose weight is near w_max, and the bound on all others."""
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
    row.dark_peak = peak
    row.n_near = n_near


def correct_current(p, memory, weight, current, spikes, n_spikes):
    """Replace the currents of open rows, which were added up from stored weights, by those of the true ones."""
    for r in range(memory.n_open[0]):
        i = memory.open_rows[r]
        row = memory.rows[i]
        if row.has_own:
            own = memory.own[r]
            total = current[i] * 0
            for s in range(n_spikes):
                total += own[spikes[s]]
            current[i] = total * row.scale
        else:
            current[i] *= row.scale


def learn(p, rate, instant, weight, theta, memory, active, n_active, spikes, n_spikes, fired, n_fired):
    """Advance a step: traces, weight changes at the spikes, then norm and clamp of the open rows."""
    x, pre, rows, open_rows, n_open = memory.x, memory.pre, memory.rows, memory.open_rows, memory.n_open
    advance_traces(p, x, memory.after_spike, n_active, spikes, n_spikes)
    if n_fired:
        for s in range(n_spikes):
            pre[spikes[s]] = 1
    for f in range(n_fired):
        i = fired[f]
        row = rows[i]
        row.spike = 1
        if row.place < 0:
            list_row(row, open_rows, n_open, i)
        if not row.has_own:
            if row.scale != 1:
                fold_row(p, row, memory.own[row.place], weight, i, active, 0)
            take_own(p, row, memory.own[row.place], memory.near[row.place], weight, i, active, n_active)

    normalise = memory.normalise[0]
    normalises = normalise == EVERY_STEP or (normalise == LAST_STEP and instant.last)
    depresses = rule.depresses(p)
    for r in range(n_open[0]):
        i = open_rows[r]
        row = rows[i]
        own = memory.own[r]
        row.y = rule.post_trace(p, row.y, row.spike)
        if row.spike != 0:
            change_at_output_spike(p, rate, row, own, x, pre, n_active)
            settle_own(p, normalises, row, own, n_active)
        elif depresses and row.y != 0:
            change_at_input_spikes(p, rate, normalises, row, own, x, spikes, n_spikes)
        if normalises and row.restless:
            normalise_row(p, memory.tolerance[0], row, own, memory.near[r], weight, i, active, n_active)

    if n_fired:
        for s in range(n_spikes):
            pre[spikes[s]] = 0
    for f in range(n_fired):
        rows[fired[f]].spike = 0


def advance_traces(p, x, after_spike, n_active, spikes, n_spikes):
    """Advance the presynaptic traces: those of inputs that spike, and in one vectorised loop all others."""
    zero = x[0] - x[0]
    one = zero + 1
    for s in range(n_spikes):
        after_spike[s] = rule.pre_trace(p, x[spikes[s]], one)
    for k in range(n_active):
        x[k] = rule.pre_trace(p, x[k], zero)
    for s in range(n_spikes):
        x[spikes[s]] = after_spike[s]


def change_at_output_spike(p, rate, row, own, x, pre, n_active):
    """Change the weights of a neuron that spikes; what leaves the bounds is for `settle_own`."""
    scale, y, spike = row.scale, row.y, row.spike
    inverse = spike / scale
    for k in range(n_active):
        own[k] += rate * rule.change(p, own[k] * scale, x[k], y, pre[k], spike) * inverse


def settle_own(p, normalises, row, own, n_active):
    """Clamp the weights in `own` at 0, at w_max only where no norm is due first, and add them up."""
    highest = p.w_max / row.scale
    total = 0.0
    peak = own[0] * 0
    for k in range(n_active):
        w = own[k]
        if w < 0:
            if normalises:
                row.cut -= w * row.scale
            w -= w
            own[k] = w
        elif w > highest and not normalises:
            w = highest
            own[k] = w
        total += w
        peak = max(peak, w)
    row.own_total = total
    row.own_peak = peak
    row.restless = 1


def change_at_input_spikes(p, rate, normalises, row, own, x, spikes, n_spikes):
    """Change the weights of a neuron that does not spike but has a trace, from the inputs that spike."""
    scale, y, spike = row.scale, row.y, row.spike
    one = spike + 1
    inverse = one / scale
    highest = p.w_max / scale
    risen = one - one
    peak = row.own_peak
    for s in range(n_spikes):
        k = spikes[s]
        before = own[k]
        w = before + rate * rule.change(p, before * scale, x[k], y, one, spike) * inverse
        if w < 0:
            if normalises:
                row.cut -= w * scale
            w -= w
        elif w > highest and not normalises:
            w = highest
        own[k] = w
        risen += w - before
        peak = max(peak, w)
    row.own_total += risen
    row.own_peak = peak
    row.restless = 1


def normalise_row(p, tolerance, row, own, near, weight, i, active, n_active):
    """Scale a row to its norm, as the reference does before it clamps, then clamp it to w_max.

    A row that the clamp has cut is restless: scaling it again at the next step changes it, though no spike does.
    """
    norm = (row.own_total + row.dark_total) * row.scale + row.cut
    row.cut = 0
    row.restless = 0
    if norm == 0:
        return
    row.scale *= p.w_norm / norm
    before = row.own_total + row.dark_total
    scale = row.scale
    if row.has_own and row.own_peak * scale > p.w_max:
        highest = p.w_max / scale
        total = 0.0
        for k in range(n_active):
            own[k] = min(own[k], highest)
            total += own[k]
        row.own_total = total
        row.own_peak = highest
    if row.dark_peak * scale > p.w_max:
        list_near(p, row, near, weight, i)
    if row.n_near > NEAR_LIMIT:
        for j in range(weight.shape[0]):
            clamp_dark(p, row, weight, i, j)
    else:
        for k in range(row.n_near):
            clamp_dark(p, row, weight, i, near[k])
    row.restless = abs(row.own_total + row.dark_total - before) > tolerance * before
    if scale > SCALE_LIMIT or scale * SCALE_LIMIT < 1:
        had_own = row.has_own
        fold_row(p, row, own, weight, i, active, n_active if had_own else 0)
        list_near(p, row, near, weight, i)
        if had_own:
            take_own(p, row, own, near, weight, i, active, n_active)


def clamp_dark(p, row, weight, i, j):
    """Lower the stored weight of the dark input j to what w_max allows."""
    before = weight[j, i]
    if before * row.scale > p.w_max:
        weight[j, i] = p.w_max / row.scale
        row.dark_total += np.float64(weight[j, i]) - np.float64(before)


def fold_row(p, row, own, weight, i, active, n_active):
    """Bring the true weights of a row back into `weight`, where they are all dark again; return their sum."""
    scale = row.scale
    total = 0.0
    place = 0
    next_active = np.int64(active[0]) if n_active else -1
    for j in range(weight.shape[0]):
        w = weight[j, i]
        if j == next_active:
            w = own[place]
            place += 1
            next_active = np.int64(active[place]) if place < n_active else -1
        w = min(w * scale, p.w_max)
        weight[j, i] = w
        total += w
    row.scale = 1
    row.has_own = 0
    row.own_total = 0
    row.own_peak = 0
    row.dark_total = total
    return total


def finish(p, memory, weight, active, n_active):
    """End an image: fold every open row, and mark those that still miss their norm."""
    for r in range(memory.n_open[0]):
        i = memory.open_rows[r]
        row = memory.rows[i]
        total = fold_row(p, row, memory.own[r], weight, i, active, n_active if row.has_own else 0)
        row.place = -1
        row.unsettled = total > 0 and abs(total - p.w_norm) > memory.tolerance[0] * p.w_norm
    memory.n_open[0] = 0


def current_weight(p, memory, weight, j, i):
    """Return the true weight of synapse (i, j); input j must stand at place j of the list, as in a replay."""
    row = memory.rows[i]
    if row.place < 0:
        return weight[j, i]
    if row.has_own:
        return memory.own[row.place, j] * row.scale
    return weight[j, i] * row.scale


EVENT_FUNCTIONS = (
    begin,
    open_row,
    list_row,
    take_own,
    list_near,
    correct_current,
    learn,
    advance_traces,
    change_at_output_spike,
    settle_own,
    change_at_input_spikes,
    normalise_row,
    clamp_dark,
    fold_row,
    finish,
    current_weight,
)
