"""Copies, scales, clamps and writes back the weight rows of active neurons, for a `SpikeRule`.

A row holds the weights of one neuron: from active inputs in `active.weights`, from silent inputs in `silent_weights`.
True weights are the stored weights times `scale`, so normalising a row is one multiplication.

Clamping at w_max breaks the norm; the row is scaled at each step until it holds (`misses`). `peak` and `silent_peak`
are upper bounds of the stored weights, and a row is clamped only if a bound exceeds w_max.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.active import take_weights, weight_index
from stdp_run.engines.event.jit import rarely_called
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, add_up, largest_of, zeros_for_vectors
from stdp_run.rules.spike import LAST_STEP, NEVER

SCALE_LIMIT = 1024.0


class Rows(NamedTuple):
    """The rows of a block of active neurons, in registers; vectors of BLOCK numbers."""

    scale: Any
    total: Any
    peak: Any
    lost: Any


class SpikeMemory(NamedTuple):
    """Working memory of the rule: E neurons and I inputs in whole vectors, delays of up to D steps.

    The index of arrays [C] is a slot. Untouched pages take no memory.
    """

    x: np.ndarray  # [(D + 1) * I] a ring buffer of presynaptic traces by step, then by rank of the active input
    turn: np.ndarray  # [1] int64, row of the ring buffer for the first step of this image
    x_seen: np.ndarray  # [I] presynaptic traces after the delays of one neuron
    x_silent: np.ndarray  # [I] presynaptic trace of an input that has not spiked
    pre: np.ndarray  # [I] 1 where that input spikes in this step
    post: np.ndarray  # [C] 1 where that neuron spikes in this step
    y: np.ndarray  # [C] postsynaptic trace
    y2: np.ndarray  # [C] second postsynaptic trace
    y2_seen: np.ndarray  # [C] second postsynaptic trace without this step's spike
    y_of: np.ndarray  # [E] postsynaptic traces of neurons that are not active; 0 unless the network runs on
    y2_of: np.ndarray  # [E] their second postsynaptic traces
    scale: np.ndarray  # [C]
    total: np.ndarray  # [C] float64, sum of the stored weights of active inputs
    silent_total: np.ndarray  # [C] float64, sum of the stored weights of silent inputs
    lost: np.ndarray  # [C] float64, sum of the parts of this step's changes that lie below a weight of 0
    peak: np.ndarray  # [C] upper bound of the stored weights of active inputs
    silent_peak: np.ndarray  # [C] upper bound of the stored weights of silent inputs
    misses: np.ndarray  # [C] int32, 1 where the row must be scaled at the next normalisation
    changed: np.ndarray  # [C] int32, 1 where the row must be written back
    silent_weights: np.ndarray  # [C, I] stored weights, 0 for active inputs
    is_silent: np.ndarray  # [I] 1 for silent inputs, 0 for active ones and the padding
    is_active: np.ndarray  # [I] 1 for ranks of active inputs, else 0
    row: np.ndarray  # [I]
    sums: np.ndarray  # [lanes] float64
    misses_norm: np.ndarray  # [E] uint8, 1 where the row must be scaled at the first normalisation of the next image
    changes_silent: bool  # whether the rule changes the weights of silent inputs
    x_starts_afresh: bool  # whether presynaptic traces are reset with every image
    runs_on: bool  # whether traces run on from image to image
    n_rows: int  # D + 1
    n_inputs: int  # without padding
    tolerance: float  # relative distance from the norm that counts as rounding
    negligible: float  # smaller changes of a weight are left out


def allocate(rule_class: Any, p: Any, weight: np.ndarray, n_exc: int, longest_delay: int | None) -> SpikeMemory:
    """Return the memory for `weight[I, E]` with `n_exc` neurons; a network that runs on has a `longest_delay`."""
    (n_inputs, n_columns), dtype = weight.shape, weight.dtype
    lanes = VECTOR_BYTES // dtype.itemsize
    width, n_rows = -(-n_inputs // lanes) * lanes, 1 + (longest_delay or 0)
    is_single = dtype == np.float32
    tolerance = 1e-5 if is_single else 1e-13
    if p.normalise in (NEVER, LAST_STEP):
        np.minimum(weight, p.w_max, out=weight)  # the reference clamps at the first step
    misses_norm = np.zeros(n_columns, np.uint8)
    if p.normalise != NEVER:
        # The order of the sums is that in `write_back`.
        total = sum(sum(row.astype(np.float64) for row in weight[lane::lanes, :n_exc]) for lane in range(lanes))
        misses = (total > 0) & (abs(total - p.w_norm) > tolerance * p.w_norm)
        misses_norm[:n_exc] = misses | (weight[:, :n_exc].max(axis=0) > p.w_max)

    def by_slot(kind: Any, *names: str) -> dict[str, np.ndarray]:
        return {name: zeros_for_vectors(n_columns, kind) for name in names}

    x = zeros_for_vectors(n_rows * width, dtype)
    x[:] = rule_class.start_pre(p)
    return SpikeMemory(
        x=x,
        turn=np.zeros(1, np.int64),
        x_silent=np.full_like(zeros_for_vectors(width, dtype), rule_class.start_pre(p)),
        **{name: zeros_for_vectors(width, dtype) for name in ("x_seen", "pre", "is_silent", "is_active", "row")},
        **by_slot(dtype, "post", "y", "y2", "y2_seen", "y_of", "y2_of", "scale", "peak", "silent_peak"),
        **by_slot(np.float64, "total", "silent_total", "lost"),
        **by_slot(np.int32, "misses", "changed"),
        silent_weights=zeros_for_vectors((n_columns, width), dtype),
        sums=np.zeros(lanes),
        misses_norm=misses_norm,
        changes_silent=rule_class.changes_silent_inputs and longest_delay is None,  # else every input is active
        x_starts_afresh=longest_delay is None or "x" in rule_class.traces_of_image,
        runs_on=longest_delay is not None,
        n_rows=n_rows,
        n_inputs=n_inputs,
        tolerance=tolerance,
        negligible=1e-9 if is_single else 1e-16,
    )


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


@rarely_called
def join(p, memory, weight, image, active, slot):
    """Copy the weights of a newly active neuron."""
    i, row, inputs = active.neuron_of[slot], memory.silent_weights[slot], image.active_inputs
    take_weights(active, weight, inputs, slot)
    if slot % BLOCK == 0:
        for r in range(slot, slot + BLOCK):  # free slots too
            memory.scale[r] = 1
            memory.y[r] = 0
            memory.y2[r] = 0
            memory.misses[r] = 0
            memory.changed[r] = 0
            memory.peak[r] = 0
    for j in range(weight.shape[0]):
        row[j] = weight[j, i]
    total, peak = 0.0, row[0] * 0
    for k in range(inputs.shape[0]):
        w = row[inputs[k]]
        row[inputs[k]] = 0
        total += w
        peak = max(peak, w)
    memory.total[slot] = total
    memory.peak[slot] = peak
    memory.y[slot] = memory.y_of[i]
    memory.y2[slot] = memory.y2_of[i]
    memory.misses[slot] = memory.misses_norm[i]
    bound_silent(memory, slot, np.inf)


@rarely_called
def bound_silent(memory, slot, ceiling):
    """Clamp the silent weights in a slot to a ceiling; store their sum and their peak."""
    row, lanes = memory.silent_weights[slot], memory.sums.shape[0]
    peaks = vectors.zeros(row, row)
    totals = vectors.typed_as(memory.sums, peaks)
    for j in range(0, row.shape[0], lanes):
        w = minimum(vectors.load(row, j, row), ceiling)
        vectors.store(row, j, w)
        totals = totals + w
        peaks = maximum(peaks, w)
    memory.silent_total[slot] = add_up(memory.sums, totals)
    memory.silent_peak[slot] = largest_of(memory.sums, peaks)


@rarely_called
def write_back(p, memory, weight, inputs, active, slot):
    """Write the true weights of an active neuron to `weight`; store whether the row misses its norm."""
    i, scale, row, lanes = active.neuron_of[slot], memory.scale[slot], memory.silent_weights[slot], memory.sums.shape[0]
    first = weight_index(active, slot, 0)
    for k in range(inputs.shape[0]):
        row[inputs[k]] = active.weights[first + k * BLOCK]
    nearly = p.w_max * (1 - 0.02 * memory.tolerance)  # w_max / scale times scale may differ from w_max by rounding
    totals = vectors.typed_as(memory.sums, vectors.zeros(row, row))
    for j in range(0, row.shape[0], lanes):
        w = vectors.load(row, j, row) * scale
        w = where(w > nearly, p.w_max, w)
        vectors.store(row, j, w)
        totals = totals + w
    for j in range(weight.shape[0]):
        weight[j, i] = row[j]
    total = add_up(memory.sums, totals)
    misses = total > 0 and abs(total - p.w_norm) > memory.tolerance * p.w_norm
    memory.misses_norm[i] = p.normalise != NEVER and misses


@rarely_called
def scale_column(p, memory, weight, i):
    """Scale the weights of a neuron that is not active to their norm, and clamp them."""
    total = after = 0.0
    for j in range(weight.shape[0]):
        total += abs(weight[j, i])
    factor = p.w_norm / total
    for j in range(weight.shape[0]):
        weight[j, i] = min(max(weight[j, i] * factor, 0), p.w_max)
        after += weight[j, i]
    memory.misses_norm[i] = after > 0 and abs(after - p.w_norm) > memory.tolerance * p.w_norm


def scale_rows(p, memory, active, n_active_inputs, at, rows, misses):
    """Scale the rows that miss their norm, then clamp them to w_max, which may break the norm again."""
    norm = (rows.total + vectors.load(memory.silent_total, at, BLOCK) + rows.lost) * rows.scale
    scaled = misses & (norm != 0)
    scale = vectors.typed_as(memory.scale, where(scaled, rows.scale * (p.w_norm / norm), rows.scale))
    vectors.store(memory.scale, at, scale)
    # Negative weights count in the norm and are then clamped to 0, so their row misses the norm again.
    is_short = scaled & (rows.lost > memory.tolerance * (rows.total + vectors.load(memory.silent_total, at, BLOCK)))
    vectors.store(memory.misses, at, is_short)
    too_high = scaled & (rows.peak * scale > p.w_max)
    if vectors.lanes_where(too_high):
        clamp_active(p, memory, active, n_active_inputs, at, scale, too_high)
    is_far = (scale > SCALE_LIMIT) | (scale * SCALE_LIMIT < 1)
    silent = vectors.lanes_where(scaled & ((vectors.load(memory.silent_peak, at, BLOCK) * scale > p.w_max) | is_far))
    for r in range(BLOCK if silent else 0):
        if silent >> np.uint64(r) & np.uint64(1):
            clamp_silent(p, memory, active, n_active_inputs, at + r)


def clamp_active(p, memory, active, n_active_inputs, at, scale, too_high):
    """Clamp the weights from active inputs to a block of neurons to w_max."""
    ceiling = where(too_high, p.w_max / scale, np.inf)
    total, before = vectors.zeros(memory.scale, BLOCK), vectors.load(memory.total, at, BLOCK)
    for k in range(n_active_inputs):
        index = at * active.n_inputs + np.int64(k) * BLOCK
        w = minimum(vectors.load(active.weights, index, BLOCK), ceiling)
        vectors.store(active.weights, index, w)
        total = total + w  # a new sum: differences would add up rounding, if the clamp cuts at every step
    is_cut = too_high & (before - total > memory.tolerance * (before + vectors.load(memory.silent_total, at, BLOCK)))
    vectors.store(memory.total, at, where(too_high, total, before))
    vectors.store(memory.peak, at, minimum(vectors.load(memory.peak, at, BLOCK), ceiling))
    vectors.store(memory.misses, at, is_cut | (vectors.load(memory.misses, at, BLOCK) != 0))


@rarely_called
def clamp_silent(p, memory, active, n_active_inputs, slot):
    """Clamp the weights from silent inputs to a neuron to w_max; keep its scale near 1."""
    scale, before = memory.scale[slot], memory.silent_total[slot]
    bound_silent(memory, slot, p.w_max / scale)
    cut = before - memory.silent_total[slot]
    memory.misses[slot] |= cut > memory.tolerance * (memory.total[slot] + before)
    if scale > SCALE_LIMIT or scale * SCALE_LIMIT < 1:
        first, row = weight_index(active, slot, 0), memory.silent_weights[slot]
        for k in range(n_active_inputs):
            active.weights[first + k * BLOCK] *= scale
        for j in range(row.shape[0]):
            row[j] *= scale
        memory.total[slot] *= scale
        memory.silent_total[slot] *= scale
        memory.peak[slot] *= scale
        memory.silent_peak[slot] *= scale
        memory.scale[slot] = 1
