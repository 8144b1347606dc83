"""The compiled implementation of a `PairRule`; stdp_run.rules has the equations.

The weights lie input-major, weight[I, E]. A neuron's row of weights can change within an image only if the neuron is
active (stdp_run.engines.event.interval): then the weights of the active inputs lie in `own`, as many neurons side by
side as a block has places, so that an update of an input's synapses is a few instructions for all active neurons. On
the weights of silent inputs only the norm and the clamp act.

At the end of an image all rows are folded: between images the weights are all there is to know, so that a resumed run
opens the same rows. stdp_run.engines.event.plasticity.pair_rows says how rows are taken, scaled, clamped and folded.

Per step: the rows of the inputs that spike, and all A rows of `own` where a neuron fires; what is longest is to wait,
from the norm over the changes, one after the other, to the next norm. Per active neuron and image: its column of I
weights is read and written once.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import BLOCK, VECTOR_BYTES, maximum, minimum, where, zeros_for_vectors
from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.plasticity.implementation import Implementation, IntervalFunctions, ReplayFunctions
from stdp_run.engines.event.plasticity.pair_rows import (
    EVERY_STEP,
    KEPT_ROWS,
    LAST_STEP,
    NEAR_LIMIT,
    Rows,
    join,
    leave,
    own_at,
    scale_rows,
)
from stdp_run.rules.base import NearestTraces

rule = Bound("rule")

LONGEST_TABLE = 4096


class PairMemory(NamedTuple):
    """What the rule works with, E neurons and I inputs; all but `off_norm` is void between images.

    Arrays [C] go by place among the active neurons; C is E in whole vectors. What no image needs is never touched.
    """

    x: np.ndarray  # [I] presynaptic trace, by place in the list of active inputs
    after_spike: np.ndarray  # [I] the traces of the inputs that spike in this step, in their order
    pre: np.ndarray  # [I] 1 where that input spikes in this step, kept only while a neuron fires
    latest: np.ndarray  # [I] int32, step of that input's latest spike, if `table` is in use
    table: np.ndarray  # [2 LONGEST_TABLE] trace by steps since the spike, then zeros; empty if it depends on more
    uses_table: np.ndarray  # [1]
    own: np.ndarray  # [C * I] stored weights of active inputs: block of active neurons, input, active neuron
    silent: np.ndarray  # [KEPT_ROWS + 1, I in whole vectors] copies of those of silent inputs, 0 for active ones
    sums: np.ndarray  # [lanes] float64
    near: np.ndarray  # [C, NEAR_LIMIT] int32, silent inputs whose weight is near w_max
    n_near: np.ndarray  # [C] int32; above NEAR_LIMIT: too many to list
    scale: np.ndarray  # [C]
    y: np.ndarray  # [C] postsynaptic trace
    own_peak: np.ndarray  # [C] bound on the stored weights in `own`
    near_peak: np.ndarray  # [C] bound on the stored weights that `near` lists
    silent_peak: np.ndarray  # [C] bound on the other silent ones
    own_total: np.ndarray  # [C] float64, sum of the stored weights in `own`
    silent_total: np.ndarray  # [C] float64, sum of those of silent inputs
    must_scale: np.ndarray  # [C] int32, 1 where the row has to be scaled to its norm at the next step
    changed: np.ndarray  # [C] int32, 1 where the row has to be written back
    spikes: np.ndarray  # [C] for replays, and:
    identity: np.ndarray  # uint32, 0, 1, ...
    off_norm: np.ndarray  # [E] uint8, 1 where the row has to be scaled at the start of the next image
    n_off_norm: np.ndarray  # [1] how many
    normalise: np.ndarray  # [1] NEVER, LAST_STEP or EVERY_STEP
    tolerance: np.ndarray  # [1] how far from its norm, relatively, a row still counts as normalised: rounding


def allocate(rule_class: Any, p: Any, weight: np.ndarray, n_exc: int) -> PairMemory:
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count; rows that miss their norm are noted."""
    n_inputs = len(weight)
    dtype = weight.dtype
    lanes = VECTOR_BYTES // dtype.itemsize
    n_places = -(-n_exc // lanes) * lanes

    def vector(kind=dtype):
        return zeros_for_vectors(n_places, kind)

    memory = PairMemory(
        x=np.zeros(n_inputs, dtype),
        after_spike=np.zeros(n_inputs, dtype),
        pre=np.zeros(n_inputs, dtype),
        latest=np.zeros(n_inputs, np.int32),
        table=trace_table(rule_class, p, dtype),
        uses_table=np.zeros(1, np.int32),
        own=zeros_for_vectors(n_places * n_inputs, dtype),
        silent=zeros_for_vectors((min(n_places, KEPT_ROWS) + 1, -(-n_inputs // lanes) * lanes), dtype),
        sums=np.zeros(lanes),
        near=np.empty((n_places, NEAR_LIMIT), np.int32),
        n_near=vector(np.int32),
        scale=vector(),
        y=vector(),
        own_peak=vector(),
        near_peak=vector(),
        silent_peak=vector(),
        own_total=vector(np.float64),
        silent_total=vector(np.float64),
        must_scale=vector(np.int32),
        changed=vector(np.int32),
        spikes=vector(),
        identity=np.arange(max(n_places, n_inputs), dtype=np.uint32),
        off_norm=np.zeros(n_exc, np.uint8),
        n_off_norm=np.zeros(1, np.int64),
        normalise=np.array([("never", "last_step", "every_step").index(rule_class.normalise)]),
        tolerance=np.array([1e-5 if dtype == np.float32 else 1e-13]),
    )
    too_large = weight[:, :n_exc].max(axis=0) > p.w_max
    if rule_class.normalise == "every_step":
        memory.off_norm[:] = too_large
    else:
        np.minimum(weight[:, :n_exc], p.w_max, out=weight[:, :n_exc])  # as the reference does at the first step
    # In the order in which `add_up` adds, so that both come to the same verdict.
    by_lane = np.zeros((lanes, n_exc))
    for j, row in enumerate(weight):
        by_lane[j % lanes] += row[:n_exc]
    total = np.zeros(n_exc)
    for part in by_lane:
        total += part
    if rule_class.normalise != "never":
        memory.off_norm[:] |= (np.abs(total - p.w_norm) > memory.tolerance[0] * p.w_norm) & (total > 0)
    memory.n_off_norm[0] = np.count_nonzero(memory.off_norm)
    return memory


def trace_table(rule_class: Any, p: Any, dtype: np.dtype) -> np.ndarray:
    """Return the presynaptic trace by steps since the latest spike, if it depends on nothing else."""
    if rule_class.pre_trace is not NearestTraces.pre_trace:
        return np.zeros(0, dtype)
    table = np.zeros(2 * LONGEST_TABLE, dtype)
    x = dtype.type(1)
    for steps in range(LONGEST_TABLE):
        table[steps] = x
        x = rule_class.pre_trace(p, x, dtype.type(0))
    return table


# ------------------------------------------------------------------------------------------------------------------
# The start of an image.


def start(p, memory, n_active_inputs, n_steps):
    """Start an image: no traces."""
    memory.x[:n_active_inputs] = 0
    memory.latest[:n_active_inputs] = -LONGEST_TABLE
    memory.uses_table[0] = memory.table.shape[0] > 0 and n_steps <= LONGEST_TABLE


def n_first_active(memory):
    """Return how many rows have to be scaled though their neurons have not fired."""
    return memory.n_off_norm[0]


def is_first_active(memory, i):
    """Return whether the row of neuron i is one of them."""
    return memory.off_norm[i]


def scaled(memory, current, at):
    """Turn the currents of the active neurons from place `at` on, from stored weights, into true ones."""
    return current * vectors.block(memory.scale, at)


# ------------------------------------------------------------------------------------------------------------------
# A step.


def learn(p, memory, weight, active_inputs, step, active_neurons, fired, any_fires):
    """Advance a step: traces, weight changes at the spikes, then norm and clamp; fired[C] is 1 where one spikes."""
    pre, spikes = memory.pre, step.spikes
    depresses = rule.depresses(p)
    advance_traces(p, memory, active_inputs.shape[0], step, any_fires)
    if any_fires:
        for s in range(spikes.shape[0]):
            pre[spikes[s]] = 1
    normalise = memory.normalise[0]
    normalises = normalise == EVERY_STEP or (normalise == LAST_STEP and step.is_last)
    for at in range(0, active_neurons.shape[0], BLOCK):
        spike = vectors.zero_block(fired)
        if any_fires:  # foreseen by the processor, so that in most steps what follows need not wait for the neurons
            spike = vectors.block(fired, at)
        y = rule.post_trace(p, vectors.block(memory.y, at), spike)
        vectors.store(memory.y, at, y)
        # What the step goes on with stays in registers, beside being written: reading it back would take longer.
        must_scale = vectors.block(memory.must_scale, at) != 0
        scale, total = vectors.block(memory.scale, at), vectors.block(memory.own_total, at)
        peak, cut = vectors.block(memory.own_peak, at), vectors.zero_block(memory.scale)
        if any_fires and any_fires_beside(fired, at, active_neurons.shape[0]):
            change = Change(step.rate, ceiling(p, normalises, scale), scale, y, spike)
            cut, risen, peak = change_all(p, memory, active_inputs.shape[0], at, change)
            total, must_scale = note_changes(memory, at, change, total + risen, peak, must_scale)
        elif depresses and vectors.lanes_where(y != 0):
            change = Change(step.rate, ceiling(p, normalises, scale), scale, y, spike)
            cut, risen, peak = change_at_inputs(p, memory, spikes, at, change, peak)
            total, must_scale = note_changes(memory, at, change, total + risen, peak, must_scale)
        if normalises and vectors.lanes_where(must_scale):
            rows = Rows(must_scale, scale, total, peak, cut)
            scale_rows(p, memory, weight, active_inputs, active_neurons, at, rows)
    if any_fires:
        for s in range(spikes.shape[0]):
            pre[spikes[s]] = 0


def any_fires_beside(fired, at, n_active):
    """Return whether one of the active neurons of a whole vector fires: then all their rows are changed, and so scaled.

    By vector, and not by block, because scaling a row that is at its norm can move it by a rounding.
    """
    lanes = VECTOR_BYTES // fired.itemsize
    first = at - at % lanes
    taken = (np.uint64(1) << np.uint64(min(lanes, n_active - first))) - np.uint64(1)
    return (vectors.lanes_where(vectors.load(fired, first, fired) != 0) & taken) != 0


def advance_traces(p, memory, n_active_inputs, step, any_fires):
    """Advance the presynaptic traces; from the table only where they are looked at."""
    x, latest, after_spike, spikes = memory.x, memory.latest, memory.after_spike, step.spikes
    zero = x[0] - x[0]
    one = zero + 1
    if memory.uses_table[0]:
        for s in range(spikes.shape[0]):
            latest[spikes[s]] = step.number
        if any_fires:
            for k in range(n_active_inputs):
                x[k] = memory.table[np.uint64(step.number - latest[k])]
        return
    for s in range(spikes.shape[0]):
        after_spike[s] = rule.pre_trace(p, x[spikes[s]], one)
    for k in range(n_active_inputs):
        x[k] = rule.pre_trace(p, x[k], zero)
    for s in range(spikes.shape[0]):
        x[spikes[s]] = after_spike[s]


class Change(NamedTuple):
    """What the weights of a block of active neurons change by in a step; vectors of BLOCK numbers but for `rate`."""

    rate: Any
    ceiling: Any  # what the stored weights are clamped to
    scale: Any
    y: Any
    spike: Any


def ceiling(p, normalises, scale):
    """Return what the stored weights are clamped to: w_max, but only where no norm is due first."""
    inverse = 1 / scale
    return np.inf * inverse if normalises else p.w_max * inverse


def change_all(p, memory, n_active_inputs, at, change):
    """Change all weights in `own` of a block of active neurons of which one spikes.

    Return (what is cut off below 0, in true weights, how much the stored weights rose, their peak).
    """
    own, x, pre = memory.own, memory.x, memory.pre
    first = at * x.shape[0]
    scale, inverse = change.scale, 1 / change.scale
    fallen, risen, peak = vectors.zero_block(x), vectors.zero_block(x), vectors.zero_block(x)
    for k in range(n_active_inputs):
        before = vectors.block(own, first + k * BLOCK)
        w = before + change.rate * rule.change(p, before * scale, x[k], change.y, pre[k], change.spike) * inverse
        fallen = fallen + minimum(w, 0)
        w = minimum(maximum(w, 0), change.ceiling)
        vectors.store(own, first + k * BLOCK, w)
        risen = risen + (w - before)
        peak = maximum(w, peak)
    return 0 - fallen * scale, risen, peak


def change_at_inputs(p, memory, spikes, at, change, peak):
    """Change the weights of a block of active neurons of which none spikes, at the inputs that spike."""
    own, x = memory.own, memory.x
    first = at * x.shape[0]
    one = x[0] - x[0] + 1
    uses_table = memory.uses_table[0] != 0
    scale, inverse = change.scale, 1 / change.scale
    fallen, risen = vectors.zero_block(x), vectors.zero_block(x)
    for s in range(spikes.shape[0]):
        k = spikes[s]
        at_input = first + np.int64(k) * BLOCK
        before = vectors.block(own, at_input)
        trace = one if uses_table else x[k]
        w = before + change.rate * rule.change(p, before * scale, trace, change.y, one, change.spike) * inverse
        fallen = fallen + minimum(w, 0)
        w = minimum(maximum(w, 0), change.ceiling)
        vectors.store(own, at_input, w)
        risen = risen + (w - before)
        peak = maximum(w, peak)
    return 0 - fallen * scale, risen, peak


def note_changes(memory, at, change, total, peak, must_scale):
    """Keep sums and peaks after a change of weights; return (sum of the stored weights, which rows to scale)."""
    is_live = (change.y != 0) | (change.spike != 0)
    vectors.store(memory.own_total, at, total)
    vectors.store(memory.own_peak, at, peak)
    vectors.store(memory.must_scale, at, where(must_scale | is_live, 1, vectors.block(memory.must_scale, at)))
    vectors.store(memory.changed, at, where(is_live, 1, vectors.block(memory.changed, at)))
    return total, must_scale | is_live


# ------------------------------------------------------------------------------------------------------------------
# For replays of the rule alone: every neuron is active, and every input stands at its own place.


def begin_replay(p, memory, weight):
    """Start a replay."""
    n_inputs, n_exc = weight.shape
    join(p, memory, weight, memory.identity[:n_inputs], memory.identity[:n_exc], 0)
    start(p, memory, n_inputs, LONGEST_TABLE + 1)


def learn_replay(p, memory, weight, theta, active_inputs, step, fired):
    """Advance a step of a replay."""
    for f in range(fired.shape[0]):
        memory.spikes[fired[f]] = 1
    neurons = memory.identity[: memory.off_norm.shape[0]]
    learn(p, memory, weight, active_inputs, step, neurons, memory.spikes, fired.shape[0] > 0)
    for f in range(fired.shape[0]):
        memory.spikes[fired[f]] = 0


def current_weight(memory, weight, j, i):
    """Return the true weight of synapse (i, j) in a replay."""
    return memory.own[own_at(memory, i, j)] * memory.scale[i]


IMPLEMENTATION = Implementation(
    allocate,
    IntervalFunctions(start, n_first_active, is_first_active, join, scaled, learn, leave),
    ReplayFunctions(begin_replay, learn_replay, current_weight),
)
