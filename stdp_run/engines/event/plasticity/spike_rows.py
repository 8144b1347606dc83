"""Rows of true weights of active neurons during an image, for a `SpikeRule`: taken, scaled, clamped, brought back.

Of silent inputs there are rows for the first KEPT_ROWS active neurons. Where very many neurons are active, as when all
rows have to be normalised at the start, the others share the last one, which is filled from `weight` and brought back
at every use.
"""

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import rarely_called
from stdp_run.engines.event.vectors import BLOCK
from stdp_run.rules.spike import BEFORE_PRESENTATION, NEVER

KEPT_ROWS = 256


@rarely_called
def join(p, memory, weight, active_inputs, joining, n_active):
    """Let neurons become active, behind those that are: take their weights."""
    own, n_inputs = memory.active_weights, weight.shape[0]
    for f in range(joining.shape[0]):
        i, place = joining[f], n_active + f
        at = weight_at(n_inputs, place, 0)
        if place % BLOCK == 0:
            own[at : at + active_inputs.shape[0] * BLOCK] = 0
            for r in range(place, place + BLOCK):  # also those that stay free
                memory.y[r] = 0
                memory.y2[r] = 0
                memory.must_scale[r] = 0
                memory.changed[r] = 0
        for k in range(active_inputs.shape[0]):
            own[at + k * BLOCK] = weight[active_inputs[k], i]
        if memory.takes_silent and place < memory.silent_weights.shape[0] - 1:
            copy_column(memory, weight, i, memory.silent_weights[place])
        memory.must_scale[place] = memory.off_norm[i]
    if p.normalise == BEFORE_PRESENTATION and n_active == 0:  # those that miss their norm are the first to join
        for at in range(0, joining.shape[0], BLOCK):
            scale_rows(p, memory, weight, active_inputs.shape[0], joining, at)


def weight_at(n_inputs, place, k):
    """Return where in `active_weights` the weight of the neuron at `place` from the k-th active input lies."""
    return ((place // BLOCK) * n_inputs + k) * BLOCK + place % BLOCK


def copy_column(memory, weight, i, row):
    """Copy the weights from silent inputs to neuron i into a row, with zeros behind them."""
    n_silent = memory.n_silent[0]
    for m in range(n_silent):
        row[m] = weight[memory.silent_inputs[m], i]
    row[n_silent:] = 0


# ------------------------------------------------------------------------------------------------------------------
# The weights of silent inputs.


def open_row(memory, weight, i, place):
    """Return which row of `silent_weights` an active neuron has; where it is the shared one, fill it."""
    last = memory.silent_weights.shape[0] - 1
    if place >= last:
        copy_column(memory, weight, i, memory.silent_weights[last])
    return min(place, last)


def close_row(memory, weight, i, place):
    """Bring a row back that has been changed, where it is the shared one."""
    last = memory.silent_weights.shape[0] - 1
    if place >= last:
        write_row(memory, weight, i, memory.silent_weights[last])


def write_row(memory, weight, i, row):
    """Write a row of silent weights to `weight`."""
    for m in range(memory.n_silent[0]):
        weight[memory.silent_inputs[m], i] = row[m]


@rarely_called
def silent_norm(memory, weight, i, place):
    """Return the L1 norm of the weights of silent inputs to a neuron."""
    row = memory.silent_weights[open_row(memory, weight, i, place)]
    total = vectors.typed_as(memory.sums, vectors.zeros(row))
    for m in range(0, memory.n_silent[0], memory.sums.shape[0]):
        total = total + abs(vectors.load(row, m))
    return add_up(memory.sums, total)


@rarely_called
def scale_silent(p, memory, weight, i, place, factor):
    """Scale and clamp the weights of silent inputs to a neuron; return their sum."""
    row = memory.silent_weights[open_row(memory, weight, i, place)]
    total = vectors.typed_as(memory.sums, vectors.zeros(row))
    factors = vectors.typed_as(row, vectors.zeros(row) + factor)
    for m in range(0, memory.n_silent[0], memory.sums.shape[0]):
        w = minimum(maximum(vectors.load(row, m) * factors, 0), p.w_max)
        vectors.store(row, m, w)
        total = total + w
    close_row(memory, weight, i, place)
    return add_up(memory.sums, total)


def add_up(sums, total):
    """Return the sum of the numbers of a vector."""
    vectors.store(sums, 0, total)
    whole = 0.0
    for r in range(sums.shape[0]):
        whole += sums[r]
    return whole


# ------------------------------------------------------------------------------------------------------------------
# The norm and the clamp.


def note_changes(memory, at, changes):
    """Note which rows of a block have been changed."""
    vectors.store(memory.must_scale, at, where(changes, 1, vectors.block(memory.must_scale, at)))
    vectors.store(memory.changed, at, where(changes, 1, vectors.block(memory.changed, at)))


@rarely_called
def scale_rows(p, memory, weight, n_active_inputs, neurons, at):
    """Scale those rows of a block to their norm that must be, and clamp them, after which they may miss it again."""
    own, first = memory.active_weights, weight_at(weight.shape[0], at, 0)
    must_scale = vectors.block(memory.must_scale, at) != 0
    total, after = vectors.zero_block(memory.total), vectors.zero_block(memory.total)
    for k in range(n_active_inputs):
        total = total + abs(vectors.block(own, first + k * BLOCK))
    vectors.store(memory.total, at, after)
    for place in range(at, min(at + BLOCK, neurons.shape[0])):
        if memory.must_scale[place]:
            memory.total[place] = silent_norm(memory, weight, neurons[place], place)
    total = total + vectors.block(memory.total, at)
    factor = where(must_scale & (total != 0), p.w_norm / total, 1)
    vectors.store(memory.total, at, factor)
    factor = vectors.typed_as(own, factor)
    for k in range(n_active_inputs):
        w = minimum(maximum(vectors.block(own, first + k * BLOCK) * factor, 0), p.w_max)
        vectors.store(own, first + k * BLOCK, w)
        after = after + w
    for place in range(at, min(at + BLOCK, neurons.shape[0])):
        if memory.must_scale[place]:
            memory.total[place] = scale_silent(p, memory, weight, neurons[place], place, memory.total[place])
    after = after + vectors.block(memory.total, at)
    misses = must_scale & (after != 0) & (abs(after - p.w_norm) > memory.tolerance * p.w_norm)
    note_changes(memory, at, must_scale)
    vectors.store(memory.must_scale, at, misses)


# ------------------------------------------------------------------------------------------------------------------
# The end of an image.


@rarely_called
def finish(p, memory, weight, active_inputs, active_neurons):
    """End an image: bring the rows back that have changed, and note which of them miss their norm."""
    n_inputs = weight.shape[0]
    for place in range(active_neurons.shape[0]):
        if memory.changed[place]:
            i, at = active_neurons[place], weight_at(n_inputs, place, 0)
            for k in range(active_inputs.shape[0]):
                weight[active_inputs[k], i] = memory.active_weights[at + k * BLOCK]
            if memory.takes_silent and place < memory.silent_weights.shape[0] - 1:
                write_row(memory, weight, i, memory.silent_weights[place])
            total = 0.0
            for j in range(n_inputs):
                total += weight[j, i]
            misses = abs(total - p.w_norm) > memory.tolerance * p.w_norm
            memory.off_norm[i] = p.normalise != NEVER and total > 0 and misses
