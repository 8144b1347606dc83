"""The event engine's half of a `PairRule`: plain functions that the engine compiles, with the rule's own as `rule`.

The weights lie input-major, weight[I, E]. A neuron's row of weights can change within an image only if the neuron is
a contender (stdp_run.engines.windows): then the weights of the inputs that can spike in this image lie in `own`, as
many neurons side by side as a vector has lanes, so that an update of an input's synapses is a few instructions for all
contenders. The weights of the dark inputs stay where they are, as only the norm and the clamp act on them: the true
weights are what is stored times `scale`, so that normalising is one multiplication per row.

A row that the clamp at w_max cuts loses the norm again, and must be scaled at every further step until it has it
back: `near` lists the dark inputs whose weights are close to w_max, the peaks bound all others, and `unsettled` marks
rows that have not reached their norm. At the end of an image all rows are folded: between images the weights are all
there is to know, so that a resumed run opens the same rows.

Per step: the rows of the inputs that spike, and all A rows of `own` where a neuron fires. Per contender and image: its
column of I weights is read and written once.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import VECTOR_BYTES, maximum, minimum, where, zeros_for_vectors
from stdp_run.rules.base import NearestTraces

NEVER, LAST_STEP, EVERY_STEP = range(3)
LEARNS = True
NEAR_LIMIT = 128
NEAR_SHARE = 0.9
SCALE_LIMIT = 1024.0
LONGEST_TABLE = 4096


class PairMemory(NamedTuple):
    """What the event engine keeps for a `PairRule`, E neurons and I inputs; all but `unsettled` is void between images.

    Arrays [C] go by contender; C is E in whole vectors. Memory that no image needs is never touched.
    """

    x: np.ndarray  # [I] presynaptic trace, by place in the list of pixels that are not black
    after_spike: np.ndarray  # [I] the traces of the inputs that spike in this step, in their order
    pre: np.ndarray  # [I] 1 where that input spikes in this step, kept only while a neuron fires
    latest: np.ndarray  # [I] int32, step of that input's latest spike, if `table` is in use
    table: np.ndarray  # [2 LONGEST_TABLE] trace by steps since the spike, then zeros; empty if it depends on more
    uses_table: np.ndarray  # [1]
    own: np.ndarray  # [C * I] stored weights of inputs that can spike: block of contenders, input, contender
    column: np.ndarray  # [I in whole vectors] a neuron's stored weights
    sums: np.ndarray  # [lanes] float64
    near: np.ndarray  # [C, NEAR_LIMIT] int32, dark inputs whose weight is near w_max
    n_near: np.ndarray  # [C] int32; above NEAR_LIMIT: too many to list
    scale: np.ndarray  # [C]
    y: np.ndarray  # [C] postsynaptic trace
    own_peak: np.ndarray  # [C] bound on the stored weights in `own`
    dark_peak: np.ndarray  # [C] bound on the other stored weights that `near` does not list
    own_total: np.ndarray  # [C] float64, sum of the stored weights in `own`
    dark_total: np.ndarray  # [C] float64, sum of the others
    cut: np.ndarray  # [C] sum of |w| below 0 in this step, in true weights
    restless: np.ndarray  # [C] int32, 1 where the row has to be scaled to its norm at the next step
    changed: np.ndarray  # [C] int32, 1 where the row has to be written back
    spikes: np.ndarray  # [C] for replays, and:
    identity: np.ndarray  # uint32, 0, 1, ...
    unsettled: np.ndarray  # [E] uint8, 1 where the row has to be scaled at the start of the next image
    n_unsettled: np.ndarray  # [1] how many
    normalise: np.ndarray  # [1] NEVER, LAST_STEP or EVERY_STEP
    tolerance: np.ndarray  # [1] how far from its norm, relatively, a row still counts as normalised: rounding


def allocate(rule, p, weight, n_exc):
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count; rows not at their norm are unsettled."""
    n_inputs = len(weight)
    dtype = weight.dtype
    lanes = VECTOR_BYTES // dtype.itemsize
    n_lanes = -(-n_exc // lanes) * lanes

    def vector(kind=dtype):
        return zeros_for_vectors(n_lanes, kind)

    memory = PairMemory(
        x=np.zeros(n_inputs, dtype),
        after_spike=np.zeros(n_inputs, dtype),
        pre=np.zeros(n_inputs, dtype),
        latest=np.zeros(n_inputs, np.int32),
        table=trace_table(rule, p, dtype),
        uses_table=np.zeros(1, np.int32),
        own=zeros_for_vectors(n_lanes * n_inputs, dtype),
        column=zeros_for_vectors(-(-n_inputs // lanes) * lanes, dtype),
        sums=np.zeros(lanes),
        near=np.empty((n_lanes, NEAR_LIMIT), np.int32),
        n_near=vector(np.int32),
        scale=vector(),
        y=vector(),
        own_peak=vector(),
        dark_peak=vector(),
        own_total=vector(np.float64),
        dark_total=vector(np.float64),
        cut=vector(),
        restless=vector(np.int32),
        changed=vector(np.int32),
        spikes=vector(),
        identity=np.arange(max(n_lanes, n_inputs), dtype=np.uint32),
        unsettled=np.zeros(n_exc, np.uint8),
        n_unsettled=np.zeros(1, np.int64),
        normalise=np.array([("never", "last_step", "every_step").index(rule.normalise)]),
        tolerance=np.array([1e-5 if dtype == np.float32 else 1e-13]),
    )
    too_large = weight[:, :n_exc].max(axis=0) > p.w_max
    if rule.normalise == "every_step":
        memory.unsettled[:] = too_large
    else:
        np.minimum(weight[:, :n_exc], p.w_max, out=weight[:, :n_exc])  # as the reference does at the first step
    # In the order in which `add_up` adds, so that both come to the same verdict.
    by_lane = np.zeros((lanes, n_exc))
    for j, row in enumerate(weight):
        by_lane[j % lanes] += row[:n_exc]
    total = np.zeros(n_exc)
    for part in by_lane:
        total += part
    if rule.normalise != "never":
        memory.unsettled[:] |= (np.abs(total - p.w_norm) > memory.tolerance[0] * p.w_norm) & (total > 0)
    memory.n_unsettled[0] = np.count_nonzero(memory.unsettled)
    return memory


def trace_table(rule, p, dtype):
    """Return the presynaptic trace by steps since the latest spike, if it depends on nothing else."""
    if rule.pre_trace is not NearestTraces.pre_trace:
        return np.zeros(0, dtype)
    table = np.zeros(2 * LONGEST_TABLE, dtype)
    x = dtype.type(1)
    for steps in range(LONGEST_TABLE):
        table[steps] = x
        x = rule.pre_trace(p, x, dtype.type(0))
    return table


# ------------------------------------------------------------------------------------------------------------------
# The start of an image, and neurons that become contenders.


def start(p, memory, n_active, n_steps):
    """Start an image: no traces."""
    memory.x[:n_active] = 0
    memory.latest[:n_active] = -LONGEST_TABLE
    memory.uses_table[0] = memory.table.shape[0] > 0 and n_steps <= LONGEST_TABLE


def n_unsettled(memory):
    """Return how many rows have to be scaled though their neurons have not fired."""
    return memory.n_unsettled[0]


def is_unsettled(memory, i):
    """Return whether the row of neuron i is one of them."""
    return memory.unsettled[i]


def open_block(memory, n_active, lane):
    """Make place for as many contenders as a vector has lanes, from `lane` on: weights of 0 until they are there."""
    lanes = memory.sums.shape[0]
    first = lane * memory.x.shape[0]
    memory.own[first : first + n_active * lanes] = 0
    for r in range(lane, lane + lanes):
        memory.scale[r] = 1
        memory.y[r] = 0
        memory.n_near[r] = 0
        memory.own_peak[r] = 0
        memory.dark_peak[r] = 0
        memory.own_total[r] = 0
        memory.dark_total[r] = 0
        memory.cut[r] = 0
        memory.restless[r] = 0
        memory.changed[r] = 0


def place_of(memory, lane, k):
    """Return where in `own` the weight of contender `lane` from the k-th input that can spike lies."""
    lanes = memory.sums.shape[0]
    return ((lane // lanes) * memory.x.shape[0] + k) * lanes + lane % lanes


def join(p, memory, weight, active, n_active, i, lane):
    """Make neuron i the contender `lane`: take its weights."""
    column, own = memory.column, memory.own
    lanes = memory.sums.shape[0]
    for j in range(weight.shape[0]):
        column[j] = weight[j, i]
    own_total = 0.0
    peak = column[0] * 0
    at = place_of(memory, lane, 0)
    for k in range(n_active):
        w = column[active[k]]
        own[at + k * lanes] = w
        column[active[k]] = 0
        own_total += w
        peak = max(peak, w)
    memory.own_total[lane] = own_total
    memory.own_peak[lane] = peak
    memory.dark_total[lane] = add_up(column, memory.sums)
    memory.restless[lane] = memory.unsettled[i]
    list_near(p, memory, lane)


def add_up(column, sums):
    """Return the sum of a column, lane by lane."""
    lanes = sums.shape[0]
    total = vectors.load(column, 0, column) + vectors.zeros(sums, column)
    for j in range(lanes, column.shape[0], lanes):
        total = total + vectors.load(column, j, column)
    vectors.store(sums, 0, total)
    whole = 0.0
    for r in range(lanes):
        whole += sums[r]
    return whole


def list_near(p, memory, lane):
    """Find, among the dark weights in `column`, those near w_max, and the bound on all others."""
    column = memory.column
    lanes = memory.sums.shape[0]
    threshold = p.w_max * NEAR_SHARE / memory.scale[lane]
    peaks = vectors.zeros(column, column)
    for j in range(0, column.shape[0], lanes):
        peaks = maximum(vectors.load(column, j, column), peaks)
    vectors.store(memory.sums, 0, peaks)
    peak = column[0] * 0
    for r in range(lanes):
        peak = max(peak, column[0] * 0 + memory.sums[r])
    n_near = 0
    if peak > threshold:
        peak -= peak
        for j in range(column.shape[0]):
            w = column[j]
            if w > threshold:
                if n_near < NEAR_LIMIT:
                    memory.near[lane, n_near] = j
                n_near += 1
            else:
                peak = max(peak, w)
    memory.dark_peak[lane] = peak
    memory.n_near[lane] = n_near


def scaled(memory, current, at):
    """Turn the currents of the contenders from `at` on, from stored weights, into true ones."""
    return current * vectors.load(memory.scale, at, memory.x)


# ------------------------------------------------------------------------------------------------------------------
# A step.


def learn_contenders(
    p, rate, instant, memory, weight, active, n_active, spikes, n_spikes, fired, neuron_of, n_contenders, any_fires
):
    """Advance a step: traces, weight changes at the spikes, then norm and clamp; fired[C] is 1 where one spikes."""
    x, pre, y, restless = memory.x, memory.pre, memory.y, memory.restless
    advance_traces(p, memory, instant.step, n_active, spikes, n_spikes, any_fires)
    if any_fires:
        for s in range(n_spikes):
            pre[spikes[s]] = 1
    normalise = memory.normalise[0]
    normalises = normalise == EVERY_STEP or (normalise == LAST_STEP and instant.last)
    depresses = rule.depresses(p)
    for at in range(0, n_contenders, memory.sums.shape[0]):
        spike = vectors.load(fired, at, x)
        trace = rule.post_trace(p, vectors.load(y, at, x), spike)
        vectors.store(y, at, trace)
        first = at * x.shape[0]
        if any_fires and vectors.lanes_where(spike != 0):
            change_all(p, rate, normalises, memory, first, at, n_active, trace, spike)
        elif depresses and vectors.lanes_where(trace != 0):
            change_at_inputs(p, rate, normalises, memory, first, at, spikes, n_spikes, trace, spike)
        if normalises:
            unrest = vectors.load(restless, at, x) != 0
            if vectors.lanes_where(unrest):
                scale_rows(p, memory, weight, active, n_active, neuron_of, at, unrest)
    if any_fires:
        for s in range(n_spikes):
            pre[spikes[s]] = 0


def advance_traces(p, memory, step, n_active, spikes, n_spikes, any_fires):
    """Advance the presynaptic traces; from the table only where they are looked at."""
    x, latest, after_spike = memory.x, memory.latest, memory.after_spike
    zero = x[0] - x[0]
    one = zero + 1
    if memory.uses_table[0]:
        for s in range(n_spikes):
            x[spikes[s]] = one
            latest[spikes[s]] = step
        if any_fires:
            for k in range(n_active):
                x[k] = memory.table[step - latest[k]]
        return
    for s in range(n_spikes):
        after_spike[s] = rule.pre_trace(p, x[spikes[s]], one)
    for k in range(n_active):
        x[k] = rule.pre_trace(p, x[k], zero)
    for s in range(n_spikes):
        x[spikes[s]] = after_spike[s]


def change_all(p, rate, normalises, memory, first, at, n_active, y, spike):
    """Change all weights in `own` of a block of contenders of which one spikes."""
    own, x, pre = memory.own, memory.x, memory.pre
    lanes = memory.sums.shape[0]
    scale = vectors.load(memory.scale, at, x)
    inverse = 1 / scale
    highest = ceiling(p, normalises, inverse)
    fallen, risen, peak = vectors.zeros(x, x), vectors.zeros(x, x), vectors.zeros(x, x)
    for k in range(n_active):
        before = vectors.load(own, first + k * lanes, x)
        w = before + rate * rule.change(p, before * scale, x[k], y, pre[k], spike) * inverse
        fallen = fallen + minimum(w, 0)
        w = minimum(maximum(w, 0), highest)
        vectors.store(own, first + k * lanes, w)
        risen = risen + (w - before)
        peak = maximum(w, peak)
    note_changes(normalises, memory, at, y, spike, scale, fallen, risen, peak)


def change_at_inputs(p, rate, normalises, memory, first, at, spikes, n_spikes, y, spike):
    """Change the weights of a block of contenders of which none spikes, from the inputs that spike."""
    own, x = memory.own, memory.x
    lanes = memory.sums.shape[0]
    one = x[0] - x[0] + 1
    scale = vectors.load(memory.scale, at, x)
    inverse = 1 / scale
    highest = ceiling(p, normalises, inverse)
    fallen, risen, peak = vectors.zeros(x, x), vectors.zeros(x, x), vectors.load(memory.own_peak, at, x)
    for s in range(n_spikes):
        k = spikes[s]
        place = first + np.int64(k) * lanes
        before = vectors.load(own, place, x)
        w = before + rate * rule.change(p, before * scale, x[k], y, one, spike) * inverse
        fallen = fallen + minimum(w, 0)
        w = minimum(maximum(w, 0), highest)
        vectors.store(own, place, w)
        risen = risen + (w - before)
        peak = maximum(w, peak)
    note_changes(normalises, memory, at, y, spike, scale, fallen, risen, peak)


def ceiling(p, normalises, inverse):
    """Return what the stored weights are clamped to: w_max, but only where no norm is due first."""
    return np.inf * inverse if normalises else p.w_max * inverse


def note_changes(normalises, memory, at, y, spike, scale, fallen, risen, peak):
    """Keep sums and peaks after a change of weights."""
    x = memory.x
    if normalises:
        vectors.store(memory.cut, at, vectors.load(memory.cut, at, x) - fallen * scale)
    vectors.store(memory.own_total, at, vectors.load(memory.own_total, at, x) + risen)
    vectors.store(memory.own_peak, at, peak)
    is_live = (y != 0) | (spike != 0)
    vectors.store(memory.restless, at, where(is_live, 1, vectors.load(memory.restless, at, x)))
    vectors.store(memory.changed, at, where(is_live, 1, vectors.load(memory.changed, at, x)))


def scale_rows(p, memory, weight, active, n_active, neuron_of, at, unrest):
    """Scale restless rows to their norm, as the reference does before it clamps, then clamp them to w_max."""
    x = memory.x
    scale = vectors.load(memory.scale, at, x)
    norm = (vectors.load(memory.own_total, at, x) + vectors.load(memory.dark_total, at, x)) * scale + vectors.load(
        memory.cut, at, x
    )
    scale = where(unrest & (norm != 0), scale * (p.w_norm / norm), scale)
    vectors.store(memory.scale, at, scale)
    scale = vectors.load(memory.scale, at, x)
    vectors.store(memory.cut, at, vectors.zeros(x, x))
    vectors.store(memory.restless, at, where(unrest, 0, vectors.load(memory.restless, at, x)))
    vectors.store(memory.changed, at, where(unrest, 1, vectors.load(memory.changed, at, x)))
    unrest = unrest & (norm != 0)
    too_high = unrest & (vectors.load(memory.own_peak, at, x) * scale > p.w_max)
    if vectors.lanes_where(too_high):
        clamp_own(p, memory, at, n_active, scale, too_high)
    is_far = (scale > SCALE_LIMIT) | (scale * SCALE_LIMIT < 1)
    dark_is_near = (vectors.load(memory.dark_peak, at, x) * scale > p.w_max) | (vectors.load(memory.n_near, at, x) != 0)
    look_at = vectors.lanes_where(unrest & (dark_is_near | is_far))
    lane = at
    while look_at:
        if look_at & np.uint64(1):
            clamp_row(p, memory, weight, active, n_active, neuron_of[lane], lane)
        lane += 1
        look_at >>= np.uint64(1)


def clamp_own(p, memory, at, n_active, scale, too_high):
    """Clamp the weights in `own` to w_max. A row that this cuts is restless: the next step scales it again."""
    own, x = memory.own, memory.x
    lanes = memory.sums.shape[0]
    first = at * x.shape[0]
    highest = where(too_high, p.w_max / scale, np.inf)
    cut = vectors.zeros(x, x)
    for k in range(n_active):
        before = vectors.load(own, first + k * lanes, x)
        w = minimum(before, highest)
        vectors.store(own, first + k * lanes, w)
        cut = cut + (before - w)
    own_total = vectors.load(memory.own_total, at, x)
    is_cut = cut > memory.tolerance[0] * (own_total + vectors.load(memory.dark_total, at, x))
    vectors.store(memory.own_total, at, own_total - cut)
    vectors.store(memory.own_peak, at, minimum(vectors.load(memory.own_peak, at, x), highest))
    vectors.store(memory.restless, at, where(is_cut, 1, vectors.load(memory.restless, at, x)))


def clamp_row(p, memory, weight, active, n_active, i, lane):
    """Clamp the dark weights of a row to w_max, which may make it restless; keep its scale near 1."""
    scale = memory.scale[lane]
    before = memory.own_total[lane] + memory.dark_total[lane]
    if memory.dark_peak[lane] * scale > p.w_max:
        take_dark(memory, weight, active, n_active, i)
        list_near(p, memory, lane)
    if memory.n_near[lane] > NEAR_LIMIT:
        take_dark(memory, weight, active, n_active, i)
        for j in range(weight.shape[0]):
            if memory.column[j] != 0:
                clamp_dark(p, memory, weight, i, j, lane)
    else:
        for k in range(memory.n_near[lane]):
            clamp_dark(p, memory, weight, i, memory.near[lane, k], lane)
    after = memory.own_total[lane] + memory.dark_total[lane]
    memory.restless[lane] |= abs(after - before) > memory.tolerance[0] * before
    if scale > SCALE_LIMIT or scale * SCALE_LIMIT < 1:
        is_restless = memory.restless[lane]
        fold_row(p, memory, weight, active, n_active, i, lane)
        join(p, memory, weight, active, n_active, i, lane)
        memory.restless[lane] = is_restless


def take_dark(memory, weight, active, n_active, i):
    """Copy the stored weights of a row to `column`, with 0 for the inputs that can spike."""
    for j in range(weight.shape[0]):
        memory.column[j] = weight[j, i]
    for k in range(n_active):
        memory.column[active[k]] = 0


def clamp_dark(p, memory, weight, i, j, lane):
    """Lower the stored weight of the dark input j to what w_max allows."""
    before = weight[j, i]
    if before * memory.scale[lane] > p.w_max:
        weight[j, i] = p.w_max / memory.scale[lane]
        memory.dark_total[lane] += np.float64(weight[j, i]) - np.float64(before)


# ------------------------------------------------------------------------------------------------------------------
# The end of an image.


def fold_row(p, memory, weight, active, n_active, i, lane):
    """Bring the true weights of a row back into `weight`; return their sum."""
    column = memory.column
    lanes = memory.sums.shape[0]
    scale = memory.scale[lane]
    for j in range(weight.shape[0]):
        column[j] = weight[j, i]
    at = place_of(memory, lane, 0)
    for k in range(n_active):
        column[active[k]] = memory.own[at + k * lanes]
    # What was clamped to w_max / scale is w_max but for rounding, and is to be w_max.
    nearly = p.w_max * (1 - 0.02 * memory.tolerance[0])
    for j in range(0, column.shape[0], lanes):
        w = vectors.load(column, j, column) * scale
        vectors.store(column, j, where(w > nearly, p.w_max, w))
    for j in range(weight.shape[0]):
        weight[j, i] = column[j]
    memory.scale[lane] = 1
    return add_up(column, memory.sums)


def leave(p, memory, weight, active, n_active, i, lane):
    """End an image for a contender: fold its row, and mark it if it still misses its norm."""
    if not memory.changed[lane]:
        return
    total = fold_row(p, memory, weight, active, n_active, i, lane)
    misses = abs(total - p.w_norm) > memory.tolerance[0] * p.w_norm
    unsettled = memory.normalise[0] != NEVER and total > 0 and misses
    memory.n_unsettled[0] += np.int64(unsettled) - np.int64(memory.unsettled[i])
    memory.unsettled[i] = unsettled


# ------------------------------------------------------------------------------------------------------------------
# For replays of the rule alone: every neuron is a contender, and every input stands at its own place.


def begin(p, memory, weight):
    """Start a replay."""
    n_inputs = weight.shape[0]
    for i in range(memory.unsettled.shape[0]):
        if i % memory.sums.shape[0] == 0:
            open_block(memory, n_inputs, i)
        join(p, memory, weight, memory.identity, n_inputs, i, i)
    start(p, memory, n_inputs, LONGEST_TABLE + 1)


def learn(p, rate, instant, weight, theta, memory, active, n_active, spikes, n_spikes, fired, n_fired):
    """Advance a step of a replay."""
    for f in range(n_fired):
        memory.spikes[fired[f]] = 1
    learn_contenders(
        p, rate, instant, memory, weight, active, n_active, spikes, n_spikes, memory.spikes, memory.identity,
        memory.unsettled.shape[0], n_fired > 0,
    )  # fmt: skip
    for f in range(n_fired):
        memory.spikes[fired[f]] = 0


def current_weight(p, memory, weight, j, i):
    """Return the true weight of synapse (i, j) in a replay."""
    return memory.own[place_of(memory, i, j)] * memory.scale[i]


def finish(p, memory, weight, active, n_active):
    """End a replay."""


EVENT_FUNCTIONS = (
    start,
    n_unsettled,
    is_unsettled,
    place_of,
    add_up,
    list_near,
    open_block,
    join,
    scaled,
    advance_traces,
    ceiling,
    note_changes,
    change_all,
    change_at_inputs,
    take_dark,
    clamp_dark,
    fold_row,
    clamp_own,
    clamp_row,
    scale_rows,
    learn_contenders,
    leave,
    begin,
    learn,
    current_weight,
    finish,
)
RARE = ("join", "clamp_row", "fold_row", "leave", "open_block", "add_up", "list_near")
