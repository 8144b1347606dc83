"""The event engine's half of a `PairRule`: plain functions that the engine compiles, with the rule's own as `rule`.

The weights lie input-major, weight[I, E]. A neuron's row of weights can change within an image only if the neuron is
a contender (stdp_run.engines.event.interval): then the weights of the inputs that can spike in this image lie in `own`, as
many neurons side by side as a block has lanes, so that an update of an input's synapses is a few instructions for all
contenders. On the weights of the dark inputs only the norm and the clamp act.

At the end of an image all rows are folded: between images the weights are all there is to know, so that a resumed run
opens the same rows. stdp_run.engines.event.plasticity.pair_rows says how rows are taken, scaled, clamped and folded.

Per step: the rows of the inputs that spike, and all A rows of `own` where a neuron fires; what is longest is to wait,
from the norm over the changes, one after the other, to the next norm. Per contender and image: its column of I weights
is read and written once.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import BLOCK, VECTOR_BYTES, maximum, minimum, where, zeros_for_vectors
from stdp_run.engines.event.plasticity.pair_rows import (
    EVERY_STEP,
    KEPT_ROWS,
    LAST_STEP,
    NEAR_LIMIT,
    ROW_FUNCTIONS,
    join,
    place_of,
    scale_rows,
)
from stdp_run.engines.event.plasticity.pair_rows import RARE as RARE
from stdp_run.rules.base import NearestTraces

LEARNS = True
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
    dark: np.ndarray  # [KEPT_ROWS + 1, I in whole vectors] copies of the others, 0 for inputs that can spike
    sums: np.ndarray  # [lanes] float64
    near: np.ndarray  # [C, NEAR_LIMIT] int32, dark inputs whose weight is near w_max
    n_near: np.ndarray  # [C] int32; above NEAR_LIMIT: too many to list
    scale: np.ndarray  # [C]
    y: np.ndarray  # [C] postsynaptic trace
    own_peak: np.ndarray  # [C] bound on the stored weights in `own`
    near_peak: np.ndarray  # [C] bound on the stored weights that `near` lists
    dark_peak: np.ndarray  # [C] bound on the other dark ones
    own_total: np.ndarray  # [C] float64, sum of the stored weights in `own`
    dark_total: np.ndarray  # [C] float64, sum of the others
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
        dark=zeros_for_vectors((min(n_lanes, KEPT_ROWS) + 1, -(-n_inputs // lanes) * lanes), dtype),
        sums=np.zeros(lanes),
        near=np.empty((n_lanes, NEAR_LIMIT), np.int32),
        n_near=vector(np.int32),
        scale=vector(),
        y=vector(),
        own_peak=vector(),
        near_peak=vector(),
        dark_peak=vector(),
        own_total=vector(np.float64),
        dark_total=vector(np.float64),
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


def scaled(memory, current, at):
    """Turn the currents of the contenders from `at` on, from stored weights, into true ones."""
    return current * vectors.block(memory.scale, at)


# ------------------------------------------------------------------------------------------------------------------
# A step.


def learn_contenders(
    p, rate, instant, memory, weight, active, n_active, spikes, n_spikes, fired, neuron_of, n_contenders, any_fires
):
    """Advance a step: traces, weight changes at the spikes, then norm and clamp; fired[C] is 1 where one spikes."""
    x, pre = memory.x, memory.pre
    depresses = rule.depresses(p)
    advance_traces(p, memory, instant.step, n_active, spikes, n_spikes, any_fires)
    if any_fires:
        for s in range(n_spikes):
            pre[spikes[s]] = 1
    normalise = memory.normalise[0]
    normalises = normalise == EVERY_STEP or (normalise == LAST_STEP and instant.last)
    for at in range(0, n_contenders, BLOCK):
        spike = vectors.zero_block(fired)
        if any_fires:  # foreseen by the processor, so that in most steps what follows need not wait for the neurons
            spike = vectors.block(fired, at)
        y = rule.post_trace(p, vectors.block(memory.y, at), spike)
        vectors.store(memory.y, at, y)
        # What the step goes on with stays in registers, beside being written: reading it back would take longer.
        unrest = vectors.block(memory.restless, at) != 0
        scale, own_total = vectors.block(memory.scale, at), vectors.block(memory.own_total, at)
        peak, cut = vectors.block(memory.own_peak, at), vectors.zero_block(memory.scale)
        if any_fires and fires_beside(fired, at, n_contenders, x):
            cut, risen, peak = change_all(p, rate, normalises, memory, at, n_active, scale, y, spike)
            own_total, unrest = note_changes(memory, at, y, spike, own_total, risen, peak, unrest)
        elif depresses and vectors.lanes_where(y != 0):
            cut, risen, peak = change_at_inputs(
                p, rate, normalises, memory, at, spikes, n_spikes, scale, y, spike, peak
            )
            own_total, unrest = note_changes(memory, at, y, spike, own_total, risen, peak, unrest)
        if normalises and vectors.lanes_where(unrest):
            scale_rows(p, memory, weight, active, n_active, neuron_of, at, unrest, scale, own_total, cut, peak)
    if any_fires:
        for s in range(n_spikes):
            pre[spikes[s]] = 0


def fires_beside(fired, at, n_contenders, x):
    """Return whether one of the contenders of a whole vector fires: then all their rows are changed, and so scaled.

    By vector, and not by block, because scaling a row that is at its norm can move it by a rounding.
    """
    lanes = VECTOR_BYTES // x.itemsize
    first = at - at % lanes
    taken = (np.uint64(1) << np.uint64(min(lanes, n_contenders - first))) - np.uint64(1)
    return (vectors.lanes_where(vectors.load(fired, first, x) != 0) & taken) != 0


def advance_traces(p, memory, step, n_active, spikes, n_spikes, any_fires):
    """Advance the presynaptic traces; from the table only where they are looked at."""
    x, latest, after_spike = memory.x, memory.latest, memory.after_spike
    zero = x[0] - x[0]
    one = zero + 1
    if memory.uses_table[0]:
        for s in range(n_spikes):
            latest[spikes[s]] = step
        if any_fires:
            for k in range(n_active):
                x[k] = memory.table[np.uint64(step - latest[k])]
        return
    for s in range(n_spikes):
        after_spike[s] = rule.pre_trace(p, x[spikes[s]], one)
    for k in range(n_active):
        x[k] = rule.pre_trace(p, x[k], zero)
    for s in range(n_spikes):
        x[spikes[s]] = after_spike[s]


def change_all(p, rate, normalises, memory, at, n_active, scale, y, spike):
    """Change all weights in `own` of a block of contenders of which one spikes.

    Return (what is cut off below 0, in true weights, how much the stored weights rose, their peak).
    """
    own, x, pre = memory.own, memory.x, memory.pre
    first = at * x.shape[0]
    inverse = 1 / scale
    highest = ceiling(p, normalises, inverse)
    fallen, risen, peak = vectors.zero_block(x), vectors.zero_block(x), vectors.zero_block(x)
    for k in range(n_active):
        before = vectors.block(own, first + k * BLOCK)
        w = before + rate * rule.change(p, before * scale, x[k], y, pre[k], spike) * inverse
        fallen = fallen + minimum(w, 0)
        w = minimum(maximum(w, 0), highest)
        vectors.store(own, first + k * BLOCK, w)
        risen = risen + (w - before)
        peak = maximum(w, peak)
    return 0 - fallen * scale, risen, peak


def change_at_inputs(p, rate, normalises, memory, at, spikes, n_spikes, scale, y, spike, peak):
    """Change the weights of a block of contenders of which none spikes, from the inputs that spike; as `change_all`."""
    own, x = memory.own, memory.x
    first = at * x.shape[0]
    one = x[0] - x[0] + 1
    uses_table = memory.uses_table[0] != 0
    inverse = 1 / scale
    highest = ceiling(p, normalises, inverse)
    fallen, risen = vectors.zero_block(x), vectors.zero_block(x)
    for s in range(n_spikes):
        k = spikes[s]
        place = first + np.int64(k) * BLOCK
        before = vectors.block(own, place)
        trace = one if uses_table else x[k]
        w = before + rate * rule.change(p, before * scale, trace, y, one, spike) * inverse
        fallen = fallen + minimum(w, 0)
        w = minimum(maximum(w, 0), highest)
        vectors.store(own, place, w)
        risen = risen + (w - before)
        peak = maximum(w, peak)
    return 0 - fallen * scale, risen, peak


def ceiling(p, normalises, inverse):
    """Return what the stored weights are clamped to: w_max, but only where no norm is due first."""
    return np.inf * inverse if normalises else p.w_max * inverse


def note_changes(memory, at, y, spike, own_total, risen, peak, unrest):
    """Keep sums and peaks after a change of weights; return (sum of the stored weights, which rows are restless)."""
    own_total = own_total + risen
    is_live = (y != 0) | (spike != 0)
    vectors.store(memory.own_total, at, own_total)
    vectors.store(memory.own_peak, at, peak)
    vectors.store(memory.restless, at, where(unrest | is_live, 1, vectors.block(memory.restless, at)))
    vectors.store(memory.changed, at, where(is_live, 1, vectors.block(memory.changed, at)))
    return own_total, unrest | is_live


# ------------------------------------------------------------------------------------------------------------------
# For replays of the rule alone: every neuron is a contender, and every input stands at its own place.


def begin(p, memory, weight):
    """Start a replay."""
    n_inputs = weight.shape[0]
    join(p, memory, weight, memory.identity, n_inputs, memory.identity, memory.unsettled.shape[0], 0)
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
    *ROW_FUNCTIONS,
    start,
    n_unsettled,
    is_unsettled,
    scaled,
    fires_beside,
    advance_traces,
    ceiling,
    note_changes,
    change_all,
    change_at_inputs,
    learn_contenders,
    begin,
    learn,
    current_weight,
    finish,
)
