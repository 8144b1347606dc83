"""Rows of weights of active neurons during an image: taken, kept at their norm, clamped, and brought back.

An active neuron's weights of the active inputs are stored in `active_weights`, beside those of the other active
neurons. Those of silent inputs stay in `weight[I, E]`, with a copy in a row of `silent_weights` that saves reading a
column at the end of the image; where very many neurons are active, as at the start, only the first of them have one.
The true weights are what is stored times `scale`, so that normalising is one multiplication a row.

A row that the clamp at w_max cuts loses the norm again, and must be scaled at every further step until it has it
back: `near` lists the silent inputs whose weights are close to w_max, the peaks bound all weights, so that they are
looked at only where one is too high, and `off_norm` marks rows that have not reached their norm.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import rarely_called
from stdp_run.engines.event.vectors import BLOCK

NEVER, LAST_STEP, EVERY_STEP = range(3)
NEAR_LIMIT = 128
NEAR_SHARE = 0.9
SCALE_LIMIT = 1024.0
KEPT_ROWS = 64


# ------------------------------------------------------------------------------------------------------------------
# Neurons become active.


@rarely_called
def join(p, memory, weight, active_inputs, joining, n_active):
    """Let neurons become active, behind those that are: take their weights."""
    for f in range(joining.shape[0]):
        place = n_active + f
        if place % BLOCK == 0:
            open_block(memory, active_inputs.shape[0], place)
        take_row(p, memory, weight, active_inputs, joining[f], place)


@rarely_called
def open_block(memory, n_active_inputs, place):
    """Make room for a block of active neurons, from `place` on: weights of 0 until they are there."""
    first = weight_at(memory, place, 0)
    memory.active_weights[first : first + n_active_inputs * BLOCK] = 0
    for r in range(place, place + BLOCK):  # also those that stay free; what else they have is never looked at
        memory.scale[r] = 1
        memory.y[r] = 0
        memory.must_scale[r] = 0
        memory.changed[r] = 0


def weight_at(memory, place, k):
    """Return where in `active_weights` the weight of the neuron at `place` from the k-th active input lies."""
    return ((place // BLOCK) * memory.x.shape[0] + k) * BLOCK + place % BLOCK


@rarely_called
def take_row(p, memory, weight, active_inputs, i, place):
    """Take the weights of neuron i as those of the active neuron at place `place`."""
    own, row = memory.active_weights, memory.silent_weights[silent_row_of(memory, place)]
    for j in range(weight.shape[0]):
        row[j] = weight[j, i]
    active_total = 0.0
    peak = row[0] * 0
    at = weight_at(memory, place, 0)
    for k in range(active_inputs.shape[0]):
        w = row[active_inputs[k]]
        own[at + k * BLOCK] = w
        row[active_inputs[k]] = 0
        active_total += w
        peak = max(peak, w)
    memory.active_total[place] = active_total
    memory.active_peak[place] = peak
    memory.silent_total[place] = add_up(row, memory.sums)
    memory.must_scale[place] = memory.off_norm[i]
    list_near(p, memory, row, place)


def silent_row_of(memory, place):
    """Return which row of `silent_weights` is that of `place`: the last is shared by all for which there is none."""
    return min(place, memory.silent_weights.shape[0] - 1)


def find_row(memory, weight, active_inputs, i, place):
    """Return which row of `silent_weights` an active neuron has; where it is the shared one, fill it."""
    number = silent_row_of(memory, place)
    if place >= memory.silent_weights.shape[0] - 1:
        row = memory.silent_weights[number]
        for j in range(weight.shape[0]):
            row[j] = weight[j, i]
        for k in range(active_inputs.shape[0]):
            row[active_inputs[k]] = 0
    return number


@rarely_called
def add_up(row, sums):
    """Return the sum of a row, lane by lane."""
    lanes = sums.shape[0]
    total = vectors.typed_as(sums, vectors.load(row, 0))
    for j in range(lanes, row.shape[0], lanes):
        total = total + vectors.load(row, j)
    vectors.store(sums, 0, total)
    whole = 0.0
    for r in range(lanes):
        whole += sums[r]
    return whole


@rarely_called
def list_near(p, memory, row, place):
    """Find, in a row of silent weights, those near w_max, their peak, and that of all others."""
    lanes = memory.sums.shape[0]
    threshold = p.w_max * NEAR_SHARE / memory.scale[place]
    peaks = vectors.zeros(row)
    for j in range(0, row.shape[0], lanes):
        peaks = maximum(vectors.load(row, j), peaks)
    vectors.store(memory.sums, 0, peaks)
    peak = row[0] * 0
    for r in range(lanes):
        peak = max(peak, row[0] * 0 + memory.sums[r])
    n_near = 0
    memory.near_peak[place] = 0
    if peak > threshold:
        memory.near_peak[place] = peak
        peak -= peak
        for j in range(row.shape[0]):
            w = row[j]
            if w > threshold:
                if n_near < NEAR_LIMIT:
                    memory.near[place, n_near] = j
                n_near += 1
            else:
                peak = max(peak, w)
    memory.silent_peak[place] = peak
    memory.n_near[place] = n_near


# ------------------------------------------------------------------------------------------------------------------
# The norm and the clamp.


class Rows(NamedTuple):
    """What a step knows of the rows of a block of active neurons, in registers; all vectors of BLOCK numbers."""

    must_scale: Any  # whether the row has to be scaled to its norm at the next occasion
    scale: Any
    total: Any  # the sum of the stored weights in `active_weights`
    peak: Any  # a bound on them
    cut: Any  # the sum of the |w| that this step's changes left below 0, true weights


def scale_rows(p, memory, weight, active_inputs, active_neurons, at, rows):
    """Scale rows to their norm where they must be, as the reference does before it clamps, then clamp them to w_max."""
    must_scale, scale = rows.must_scale, rows.scale
    norm = (rows.total + vectors.block(memory.silent_total, at)) * scale + rows.cut
    scale = vectors.typed_as(memory.scale, where(must_scale & (norm != 0), scale * (p.w_norm / norm), scale))
    vectors.store(memory.scale, at, scale)
    vectors.store(memory.must_scale, at, where(must_scale, 0, vectors.block(memory.must_scale, at)))
    vectors.store(memory.changed, at, where(must_scale, 1, vectors.block(memory.changed, at)))
    scaled = must_scale & (norm != 0)
    too_high = scaled & (rows.peak * scale > p.w_max)
    if vectors.lanes_where(too_high):
        clamp_active(p, memory, at, active_inputs.shape[0], scale, too_high)
    is_far = (scale > SCALE_LIMIT) | (scale * SCALE_LIMIT < 1)
    peak = maximum(vectors.block(memory.silent_peak, at), vectors.block(memory.near_peak, at))
    look_at = vectors.lanes_where(scaled & ((peak * scale > p.w_max) | is_far))
    place = at
    while look_at:
        if look_at & np.uint64(1):
            clamp_row(p, memory, weight, active_inputs, active_neurons[place], place)
        place += 1
        look_at >>= np.uint64(1)


def clamp_active(p, memory, at, n_active_inputs, scale, too_high):
    """Clamp the weights in `active_weights` to w_max. A row that this cuts must be scaled again."""
    own = memory.active_weights
    first = at * memory.x.shape[0]
    highest = where(too_high, p.w_max / scale, np.inf)
    cut = vectors.zero_block(own)
    for k in range(n_active_inputs):
        before = vectors.block(own, first + k * BLOCK)
        w = minimum(before, highest)
        vectors.store(own, first + k * BLOCK, w)
        cut = cut + (before - w)
    active_total = vectors.block(memory.active_total, at)
    is_cut = cut > memory.tolerance * (active_total + vectors.block(memory.silent_total, at))
    vectors.store(memory.active_total, at, active_total - cut)
    vectors.store(memory.active_peak, at, minimum(vectors.block(memory.active_peak, at), highest))
    vectors.store(memory.must_scale, at, where(is_cut, 1, vectors.block(memory.must_scale, at)))


@rarely_called
def clamp_row(p, memory, weight, active_inputs, i, place):
    """Clamp the silent weights of a row to w_max, which may make it miss its norm; keep its scale near 1."""
    scale = memory.scale[place]
    before = memory.active_total[place] + memory.silent_total[place]
    if memory.silent_peak[place] * scale > p.w_max:
        list_near(p, memory, memory.silent_weights[find_row(memory, weight, active_inputs, i, place)], place)
    peak = scale * 0
    if memory.n_near[place] > NEAR_LIMIT:
        row = memory.silent_weights[find_row(memory, weight, active_inputs, i, place)]
        for j in range(weight.shape[0]):
            if row[j] != 0:
                peak = max(peak, clamp_silent(p, memory, weight, i, j, place))
    else:
        for k in range(memory.n_near[place]):
            peak = max(peak, clamp_silent(p, memory, weight, i, memory.near[place, k], place))
    memory.near_peak[place] = peak
    after = memory.active_total[place] + memory.silent_total[place]
    memory.must_scale[place] |= abs(after - before) > memory.tolerance * before
    if scale > SCALE_LIMIT or scale * SCALE_LIMIT < 1:
        must_scale = memory.must_scale[place]
        fold_row(p, memory, weight, active_inputs, i, place)
        take_row(p, memory, weight, active_inputs, i, place)
        memory.must_scale[place] = must_scale


def clamp_silent(p, memory, weight, i, j, place):
    """Lower the stored weight of the silent input j to what w_max allows; return what it is then."""
    before = weight[j, i]
    if before * memory.scale[place] > p.w_max:
        weight[j, i] = p.w_max / memory.scale[place]
        memory.silent_weights[silent_row_of(memory, place), j] = weight[j, i]
        memory.silent_total[place] += np.float64(weight[j, i]) - np.float64(before)
    return weight[j, i]


# ------------------------------------------------------------------------------------------------------------------
# The end of an image.


@rarely_called
def finish(p, memory, weight, active_inputs, active_neurons):
    """End an image for the active neurons: fold the rows that changed, and mark those that still miss their norm."""
    for place in range(active_neurons.shape[0]):
        if memory.changed[place]:
            i = active_neurons[place]
            total = fold_row(p, memory, weight, active_inputs, i, place)
            misses = abs(total - p.w_norm) > memory.tolerance * p.w_norm
            memory.off_norm[i] = memory.normalise != NEVER and total > 0 and misses


@rarely_called
def fold_row(p, memory, weight, active_inputs, i, place):
    """Bring the true weights of a row back into `weight`; return their sum."""
    row = memory.silent_weights[find_row(memory, weight, active_inputs, i, place)]
    lanes = memory.sums.shape[0]
    scale = memory.scale[place]
    at = weight_at(memory, place, 0)
    for k in range(active_inputs.shape[0]):
        row[active_inputs[k]] = memory.active_weights[at + k * BLOCK]
    # What was clamped to w_max / scale is w_max but for rounding, and is to be w_max.
    nearly = p.w_max * (1 - 0.02 * memory.tolerance)
    for j in range(0, row.shape[0], lanes):
        w = vectors.load(row, j) * scale
        vectors.store(row, j, where(w > nearly, p.w_max, w))
    for j in range(weight.shape[0]):
        weight[j, i] = row[j]
    memory.scale[place] = 1
    return add_up(row, memory.sums)
