"""The compiled implementation of a `PairRule`; stdp_run.rules has the equations.

The weights lie input-major, weight[I, E]. A neuron's row of weights can change within an image only if the neuron is
active (stdp_run.engines.event.interval): then the weights of the active inputs lie in `active_weights`, as many
neurons side by side as a block has places, so that an update of an input's synapses is a few instructions for all
active neurons. On the weights of silent inputs only the norm and the clamp act.

At the end of an image all rows are folded: between images the weights are all there is to know, so that a resumed run
opens the same rows. stdp_run.engines.event.plasticity.pair_rows says how rows are taken, scaled, clamped and folded.

Per step: the rows of the inputs that spike, and all A rows of `active_weights` where a neuron fires; what takes longest
is to wait, from the norm over the changes, one after the other, to the next norm. Per active neuron and image: its
column of I weights is read and written once.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.plasticity import delayed
from stdp_run.engines.event.plasticity.implementation import Implementation, IntervalFunctions
from stdp_run.engines.event.plasticity.pair_rows import (
    EVERY_STEP,
    KEPT_ROWS,
    LAST_STEP,
    NEAR_LIMIT,
    NEVER,
    Rows,
    finish,
    join,
    scale_rows,
    weight_at,
)
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, zeros_for_vectors
from stdp_run.rules.base import NearestTraces

rule = Bound("rule")

LONGEST_TABLE = 4096


class PairMemory(NamedTuple):
    """What the rule works with, E neurons and I inputs; all but `off_norm` is void between images.

    Arrays [C] go by place among the active neurons; C is E in whole vectors. What no image needs is never touched.
    """

    x: np.ndarray  # [I] presynaptic trace, by place in the list of active inputs
    pre: np.ndarray  # [I] 1 where that input spikes in this step, where it is looked at
    latest: np.ndarray  # [I] int32, step of that input's latest spike, where `table` is used
    table: np.ndarray  # [2 LONGEST_TABLE] trace by steps since the spike, then zeros; empty if it depends on more
    active_weights: np.ndarray  # [C * I] stored weights: block of active neurons, active input, neuron of the block
    silent_weights: (
        np.ndarray
    )  # [KEPT_ROWS + 1, I in whole vectors] copies of those of silent inputs, 0 for active ones
    sums: np.ndarray  # [lanes] float64
    near: np.ndarray  # [C, NEAR_LIMIT] int32, silent inputs whose weight is near w_max
    n_near: np.ndarray  # [C] int32; above NEAR_LIMIT: too many to list
    scale: np.ndarray  # [C]
    y: np.ndarray  # [C] postsynaptic trace
    active_peak: np.ndarray  # [C] bound on the stored weights of active inputs
    near_peak: np.ndarray  # [C] bound on the stored weights that `near` lists
    silent_peak: np.ndarray  # [C] bound on the other silent ones
    active_total: np.ndarray  # [C] float64, sum of the stored weights of active inputs
    silent_total: np.ndarray  # [C] float64, sum of those of silent inputs
    must_scale: np.ndarray  # [C] int32, 1 where the row has to be scaled to its norm at the next step
    changed: np.ndarray  # [C] int32, 1 where the row has to be written back
    off_norm: np.ndarray  # [E] uint8, 1 where the row has to be scaled at the start of the next image
    normalise: int  # NEVER, LAST_STEP or EVERY_STEP
    tolerance: float  # how far from its norm, relatively, a row still counts as normalised: rounding


def allocate(rule_class: Any, p: Any, weight: np.ndarray, n_exc: int) -> PairMemory:
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count; rows that miss their norm are noted."""
    n_inputs, dtype, weight = len(weight), weight.dtype, weight[:, :n_exc]
    lanes = VECTOR_BYTES // dtype.itemsize
    n_places = -(-n_exc // lanes) * lanes
    normalise = ("never", "last_step", "every_step").index(rule_class.normalise)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    off_norm = np.zeros(n_exc, bool)
    if normalise == EVERY_STEP:
        off_norm = weight.max(axis=0) > p.w_max
    else:
        np.minimum(weight, p.w_max, out=weight)  # as the reference does at the first step
    if normalise != NEVER:
        # In the order in which `add_up` adds, so that both come to the same verdict.
        total = sum(sum(row.astype(np.float64) for row in weight[lane::lanes]) for lane in range(lanes))
        off_norm |= (np.abs(total - p.w_norm) > tolerance * p.w_norm) & (total > 0)

    def places(kind: Any, *names: str) -> dict[str, np.ndarray]:
        return {name: zeros_for_vectors(n_places, kind) for name in names}

    return PairMemory(
        x=np.zeros(n_inputs, dtype),
        pre=np.zeros(n_inputs, dtype),
        latest=np.zeros(n_inputs, np.int32),
        table=trace_table(rule_class, p, dtype),
        active_weights=zeros_for_vectors(n_places * n_inputs, dtype),
        silent_weights=zeros_for_vectors((min(n_places, KEPT_ROWS) + 1, -(-n_inputs // lanes) * lanes), dtype),
        sums=np.zeros(lanes),
        near=np.empty((n_places, NEAR_LIMIT), np.int32),
        **places(dtype, "scale", "y", "active_peak", "near_peak", "silent_peak"),
        **places(np.float64, "active_total", "silent_total"),
        **places(np.int32, "n_near", "must_scale", "changed"),
        off_norm=off_norm.astype(np.uint8),
        normalise=normalise,
        tolerance=tolerance,
    )


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


def start(p, memory, image):
    """Start an image: no traces."""
    n_active_inputs = image.active_inputs.shape[0]
    memory.x[:n_active_inputs] = 0
    memory.latest[:n_active_inputs] = -LONGEST_TABLE


def is_first_active(memory, i):
    """Return whether a row has to be scaled though its neuron has not fired."""
    return memory.off_norm[i]


def true_currents(memory, current, at):
    """Turn the currents of the active neurons from place `at` on, from stored weights, into true ones."""
    return current * vectors.block(memory.scale, at)


# ------------------------------------------------------------------------------------------------------------------
# A step.


def learn(p, memory, weight, step, active_neurons, fired, any_fires):
    """Advance a step: traces, weight changes at the spikes, then norm and clamp; fired[C] is 1 where one spikes."""
    pre, spikes, active_inputs = memory.pre, step.spikes, step.image.active_inputs
    depresses = rule.depresses(p)
    looks_at_pre = any_fires or not uses_table(memory, step)
    if looks_at_pre:
        for s in range(spikes.shape[0]):
            pre[spikes[s]] = 1
    advance_traces(p, memory, active_inputs.shape[0], step, any_fires)
    normalises = memory.normalise == EVERY_STEP or (
        memory.normalise == LAST_STEP and step.number == step.image.n_steps - 1
    )
    for at in range(0, active_neurons.shape[0], BLOCK):
        spike = vectors.zero_block(fired)
        if any_fires:  # foreseen by the processor, so that in most steps what follows need not wait for the neurons
            spike = vectors.block(fired, at)
        y = rule.post_trace(p, vectors.block(memory.y, at), spike)
        vectors.store(memory.y, at, y)
        # What the step goes on with stays in registers, beside being written: reading it back would take longer.
        must_scale = vectors.block(memory.must_scale, at) != 0
        scale, total = vectors.block(memory.scale, at), vectors.block(memory.active_total, at)
        peak, cut = vectors.block(memory.active_peak, at), vectors.zero_block(memory.scale)
        changes_all = any_fires and any_fires_beside(fired, at, active_neurons.shape[0])
        if changes_all or (depresses and vectors.lanes_where(y != 0)):
            # Where a norm is due first, the changes are not clamped to w_max.
            ceiling = (np.inf if normalises else p.w_max) * (1 / scale)
            change = Change(step.image.rate, ceiling, scale, y, spike)
            if changes_all:
                cut, risen, peak = change_all(p, memory, active_inputs.shape[0], at, change)
            else:
                cut, risen, peak = change_at_inputs(p, memory, step, at, change, peak)
            total = total + risen
            must_scale = note_changes(memory, at, change, total, peak, must_scale)
        if normalises and vectors.lanes_where(must_scale):
            rows = Rows(must_scale, scale, total, peak, cut)
            scale_rows(p, memory, weight, active_inputs, active_neurons, at, rows)
    if looks_at_pre:
        for s in range(spikes.shape[0]):
            pre[spikes[s]] = 0


def any_fires_beside(fired, at, n_active):
    """Return whether one of the active neurons of a whole vector fires: then all their rows are changed, and so scaled.

    By vector, and not by block, because scaling a row that is at its norm can move it by a rounding.
    """
    lanes = VECTOR_BYTES // fired.itemsize
    first = at - at % lanes
    taken = (np.uint64(1) << np.uint64(min(lanes, n_active - first))) - np.uint64(1)
    return (vectors.lanes_where(vectors.load(fired, first) != 0) & taken) != 0


def uses_table(memory, step):
    """Return whether traces are taken from the table."""
    return memory.table.shape[0] > 0 and step.image.n_steps <= LONGEST_TABLE


def advance_traces(p, memory, n_active_inputs, step, any_fires):
    """Advance the presynaptic traces; from the table only where they are looked at."""
    x, latest, spikes = memory.x, memory.latest, step.spikes
    if uses_table(memory, step):
        for s in range(spikes.shape[0]):
            latest[spikes[s]] = step.number
        if any_fires:
            for k in range(n_active_inputs):
                x[k] = memory.table[np.uint64(step.number - latest[k])]
    else:
        for k in range(n_active_inputs):
            x[k] = rule.pre_trace(p, x[k], memory.pre[k])


class Change(NamedTuple):
    """What the weights of a block of active neurons change by in a step; vectors of BLOCK numbers but for `rate`."""

    rate: Any
    ceiling: Any  # what the stored weights are clamped to
    scale: Any
    y: Any
    spike: Any


def change_all(p, memory, n_active_inputs, at, change):
    """Change all weights of active inputs to a block of active neurons of which one spikes.

    Return (what is cut off below 0, in true weights, how much the stored weights rose, their peak).
    """
    x, none = memory.x, vectors.zero_block(memory.x)
    sums = none, none, none
    for k in range(n_active_inputs):
        sums = change_input(p, memory, at, k, x[k], memory.pre[k], change, sums)
    return 0 - sums[0] * change.scale, sums[1], sums[2]


def change_at_inputs(p, memory, step, at, change, peak):
    """Do so at the inputs that spike only, where none of the neurons does."""
    x, none = memory.x, vectors.zero_block(memory.x)
    one = x[0] - x[0] + 1
    sums = none, none, peak
    for s in range(step.spikes.shape[0]):
        k = step.spikes[s]
        trace = one if uses_table(memory, step) else x[k]
        sums = change_input(p, memory, at, k, trace, one, change, sums)
    return 0 - sums[0] * change.scale, sums[1], sums[2]


def change_input(p, memory, at, k, x, pre, change, sums):
    """Change the weights of the k-th active input; return the sums (fallen below 0, risen, peak of stored weights)."""
    fallen, risen, peak = sums
    place = at * memory.x.shape[0] + np.int64(k) * BLOCK
    before = vectors.block(memory.active_weights, place)
    difference = change.rate * rule.change(p, before * change.scale, x, change.y, pre, change.spike)
    w = before + difference * (1 / change.scale)
    fallen = fallen + minimum(w, 0)
    w = minimum(maximum(w, 0), change.ceiling)
    vectors.store(memory.active_weights, place, w)
    return fallen, risen + (w - before), maximum(w, peak)


def note_changes(memory, at, change, total, peak, must_scale):
    """Keep sums and peaks after a change of weights; return which rows must be scaled."""
    is_live = (change.y != 0) | (change.spike != 0)
    vectors.store(memory.active_total, at, total)
    vectors.store(memory.active_peak, at, peak)
    vectors.store(memory.must_scale, at, where(must_scale | is_live, 1, vectors.block(memory.must_scale, at)))
    vectors.store(memory.changed, at, where(is_live, 1, vectors.block(memory.changed, at)))
    return must_scale | is_live


def true_weight(memory, weight, j, i):
    """Return the true weight of the synapse from input j to neuron i where all are active."""
    return memory.active_weights[weight_at(memory, i, j)] * memory.scale[i]


IMPLEMENTATION = Implementation(
    allocate,
    IntervalFunctions(join, learn, start, is_first_active, true_currents, finish, true_weight),
    with_conductances=delayed.PAIRS,
)
