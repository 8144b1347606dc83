"""The compiled implementation of a `SpikeRule`; stdp_run.rules.spike has the equations.

The weights of a neuron change only while it is active. A neuron becomes active at its first spike in an image, or at
the first step if its row misses the norm or its traces still change weights. The rows are written back at the end of an
image. Between images the state consists of the weights and, in a network that runs on, the traces.

An input spike changes one weight of each active neuron, if the rule depresses. An output spike changes all weights of
its neuron from active inputs and, by some rules, from silent inputs. The critical path is serial: norm, changes, next
norm.
"""

import numpy as np

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.active import gather_weights, scatter_weights, spread, weight_index
from stdp_run.engines.event.jit import Bound, rarely_called
from stdp_run.engines.event.learning.implementation import Implementation, true_weight
from stdp_run.engines.event.learning.rows import Rows, SpikeMemory, allocate, join, scale_column, scale_rows, write_back
from stdp_run.engines.event.presentation import EventStep, span_of
from stdp_run.engines.event.vectors import BLOCK, add_up, largest_of
from stdp_run.rules.spike import BEFORE_PRESENTATION, EVERY_STEP, LAST_STEP

rule = Bound("rule")
synapse = Bound("synapse")

SMALLEST_TRACE = 1e-20  # smaller ones are set to 0, since denormal numbers are slow


def persistent(memory: SpikeMemory, n_exc: int) -> dict[str, np.ndarray]:
    """Return the persistent traces by name; presynaptic traces have the latest step first."""
    x = memory.x.reshape(memory.n_rows, -1)[::-1, : memory.n_inputs]
    x = np.roll(x, memory.turn[0], axis=0) if memory.turn[0] else x  # without a turn no copy, so the engine can write
    return {"x": x if memory.n_rows > 1 else x[0], "y": memory.y_of[:n_exc], "y2": memory.y2_of[:n_exc]}


def start(p, memory, weight, image):
    """Start an image: mark silent inputs, reset traces, and scale rows that are normalised before presentations."""
    active_inputs = image.active_inputs
    memory.is_silent[: memory.n_inputs] = 1
    for k in range(active_inputs.shape[0]):
        memory.is_silent[active_inputs[k]] = 0
    memory.is_active[:] = 0
    memory.is_active[: active_inputs.shape[0]] = 1
    if memory.x_starts_afresh:
        memory.x[:] = memory.x_silent[0]
    if p.normalise == BEFORE_PRESENTATION:
        for i in range(image.counts.shape[0]):
            if memory.misses_norm[i]:
                scale_column(p, memory, weight, i)


def is_first_active(p, memory, image, i):
    """Return whether the row of neuron i must be scaled, or its traces change weights, before it fires."""
    if memory.misses_norm[i] and (p.normalise == EVERY_STEP or p.normalise == LAST_STEP):
        return True
    return memory.runs_on and changes_at_input(p, memory, i)


@rarely_called
def changes_at_input(p, memory, i):
    """Return whether an input spike changes any weight of neuron i by more than `negligible`."""
    for trace in (memory.y_of, memory.y2_of):
        if abs(trace[i]) < SMALLEST_TRACE:
            trace[i] = 0
    y, y2, changes = memory.y_of[i], memory.y2_of[i], False
    for part in range(3):
        change = rule.at_input(p, p.w_max * part / 2 + y * 0, y * 0 + 1, y, y2)
        changes |= abs(change) > memory.negligible
    return changes and rule.depresses(p)


def block_currents(memory, active, step, at):
    """Return the currents into a block of neurons, from their true weights."""
    current = vectors.zeros(active.weights, BLOCK)
    for age in range(synapse.n_ages(memory)):
        begin, end = span_of(step.image, step.number - age)
        spikes = step.image.train.ranks[begin:end]
        for s in range(spikes.shape[0]):
            index = at * active.n_inputs + np.int64(spikes[s]) * BLOCK
            w = vectors.load(active.weights, index, BLOCK)
            current = current + where(synapse.is_age(active, index, age), w, 0)
    return current * vectors.load(memory.scale, at, BLOCK)


def correct_currents(memory, active, step, current):
    """Replace the currents of active neurons; their rows in weight[I, E] are out of date."""
    for at in range(0, active.neuron_of.shape[0], BLOCK):
        vectors.store(memory.row, 0, block_currents(memory, active, step, at))
        spread(active, at, memory.row, current)


def learn(p, memory, weight, theta, step, active, fired):
    """Advance a step: traces, changes at input spikes, then at output spikes, norm and clamp."""
    n_active, n_fired = active.neuron_of.shape[0], fired.shape[0]
    advance_inputs(p, memory, step)
    advance_others(p, memory)
    for f in range(n_fired):
        memory.post[fired[f]] = 1
    normalises = p.normalise == EVERY_STEP or (p.normalise == LAST_STEP and step.is_last)
    for at in range(0, n_active, BLOCK):
        neurons = y, y2, spike = advance_neurons(p, memory, at, n_fired)
        # The rows stay in registers during the step, which is faster than reading them back from memory.
        rows = rows_at(memory, at, vectors.zeros(memory.scale, BLOCK))
        misses = vectors.load(memory.misses, at, BLOCK) != 0
        is_live = (y != 0) | (y2 != 0)
        if rule.depresses(p) and vectors.lanes_where(is_live):
            rows = change_at_inputs(p, memory, step, active, at, neurons, rows, normalises)
            misses = misses | is_live
        if n_fired and vectors.lanes_where(spike != 0):
            for f in range(n_fired):
                if at <= fired[f] < at + BLOCK:
                    change_at_output(p, memory, step, active, fired[f], normalises)
            lost = where(spike != 0, vectors.load(memory.lost, at, BLOCK), rows.lost)
            rows = rows_at(memory, at, vectors.typed_as(memory.scale, lost))
            misses = misses | (spike != 0)
        if vectors.lanes_where(misses):
            vectors.store(memory.changed, at, where(misses, 1, vectors.load(memory.changed, at, BLOCK)))
            if normalises:
                scale_rows(p, memory, active, step.image.active_inputs.shape[0], at, rows, misses)
            else:
                vectors.store(memory.misses, at, misses)
    for f in range(n_fired):
        memory.post[fired[f]] = 0


def rows_at(memory, at, lost):
    """Load the rows of a block from memory."""
    scale, total, peak = memory.scale, memory.total, memory.peak
    return Rows(vectors.load(scale, at, BLOCK), vectors.load(total, at, BLOCK), vectors.load(peak, at, BLOCK), lost)


def advance_inputs(p, memory, step):
    """Advance the presynaptic traces."""
    x, pre, spikes = memory.x, memory.pre, step.spikes
    now, before = synapse.row_ago(memory, step.number, 0), synapse.row_ago(memory, step.number, 1)
    for s in range(spikes.shape[0]):
        pre[spikes[s]] = 1
    for k in range(0, step.image.active_inputs.shape[0], memory.sums.shape[0]):
        vectors.store(x, now + k, rule.pre_trace(p, vectors.load(x, before + k, x), vectors.load(pre, k, pre)))
    for s in range(spikes.shape[0]):
        pre[spikes[s]] = 0


def advance_others(p, memory):
    """Advance the postsynaptic traces of neurons that are not active, in a network that runs on."""
    zeros = vectors.zeros(memory.y_of, memory.y_of)
    if memory.runs_on:
        for i in range(0, memory.y_of.shape[0], memory.sums.shape[0]):
            vectors.store(memory.y_of, i, rule.post_trace(p, vectors.load(memory.y_of, i, memory.y_of), zeros))
            vectors.store(memory.y2_of, i, rule.second_trace(p, vectors.load(memory.y2_of, i, memory.y2_of), zeros))


def advance_neurons(p, memory, at, n_fired):
    """Advance the postsynaptic traces of a block of active neurons; return (y, y2 without this spike, spike)."""
    before, zeros = vectors.load(memory.y2, at, BLOCK), vectors.zeros(memory.y2, BLOCK)
    spike = zeros
    if n_fired:  # a predictable branch: most steps need not wait for the neurons
        spike = vectors.load(memory.post, at, BLOCK)
    y = vectors.typed_as(memory.y, rule.post_trace(p, vectors.load(memory.y, at, BLOCK), spike))
    y2 = vectors.typed_as(memory.y2, rule.second_trace(p, before, zeros))
    vectors.store(memory.y, at, y)
    vectors.store(memory.y2_seen, at, y2)
    vectors.store(memory.y2, at, rule.second_trace(p, before, spike))
    return y, y2, spike


def change_at_inputs(p, memory, step, active, at, neurons, rows, normalises):
    """Change the weights from spiking inputs to a block of neurons; return the rows."""
    (y, y2, spike), rate, inverse = neurons, step.image.rate, 1 / rows.scale
    # Weights of neurons that fire change again in this step and are clamped then, all others now.
    floor, ceiling = where(spike != 0, -np.inf, spike), where(spike != 0, np.inf, p.w_max * inverse)
    if normalises:  # the norm comes before the clamp
        ceiling = ceiling + np.inf
    risen = lost = vectors.zeros(memory.scale, BLOCK)
    peak = rows.peak
    for age in range(synapse.n_ages(memory)):
        row = synapse.row_ago(memory, step.number, age)
        begin, end = span_of(step.image, step.number - age)
        spikes = step.image.train.ranks[begin:end]
        for s in range(spikes.shape[0]):
            k = np.int64(spikes[s])
            index = at * active.n_inputs + k * BLOCK
            before = vectors.load(active.weights, index, BLOCK)
            change = rate * rule.at_input(p, before * rows.scale, memory.x[row + k], y, y2) * inverse
            w = vectors.typed_as(active.weights, before + where(synapse.is_age(active, index, age), change, 0))
            raised = maximum(w, floor)
            lost = lost + (raised - w)
            kept = minimum(raised, ceiling)
            vectors.store(active.weights, index, kept)
            risen = risen + (kept - before)
            peak = maximum(kept, peak)
    total = rows.total + risen
    vectors.store(memory.total, at, total)
    vectors.store(memory.peak, at, peak)
    return Rows(rows.scale, total, peak, lost)


def change_at_output(p, memory, step, active, slot, normalises):
    """Change the weights of a neuron that fires, from active inputs and, by some rules, from silent inputs."""
    n, ceiling = step.image.active_inputs.shape[0], p.w_max / memory.scale[slot]
    if normalises:
        ceiling += np.inf
    gather_weights(active, slot, n, memory.row)
    first = weight_index(active, slot, 0)
    for k in range(n):
        age = synapse.age_of(active, first + k * BLOCK)
        memory.x_seen[k] = memory.x[synapse.row_ago(memory, step.number, age) + k]
    memory.lost[slot] = 0
    total, peak = change_row(p, memory, step, slot, (memory.row, memory.x_seen, memory.is_active, n), ceiling)
    memory.total[slot], memory.peak[slot] = total, peak
    scatter_weights(active, slot, n, memory.row)
    if memory.changes_silent:
        silent = memory.silent_weights[slot], memory.x_silent, memory.is_silent, memory.n_inputs
        total, peak = change_row(p, memory, step, slot, silent, ceiling)
        memory.silent_total[slot], memory.silent_peak[slot] = total, peak


def change_row(p, memory, step, slot, synapses, ceiling):
    """Change the weights of a row at an output spike; return their sum and their peak.

    `synapses` is (stored weights, traces of their inputs, 1 where a synapse exists, n); the arrays are [n]. Weights
    without a synapse become 0.
    """
    row, x, exists, n = synapses
    scale, y, y2, lanes = memory.scale[slot], memory.y[slot], memory.y2_seen[slot], memory.sums.shape[0]
    factor = step.image.rate / scale
    peaks = vectors.zeros(row, row)
    totals = lost = vectors.typed_as(memory.sums, peaks)
    for k in range(0, n, lanes):
        before, is_synapse = vectors.load(row, k, row), vectors.load(exists, k, exists) != 0
        w = before + factor * rule.at_output(p, before * scale, vectors.load(x, k, x), y, y2)
        raised = maximum(w, 0)
        lost = lost + where(is_synapse, raised - w, 0)
        kept = vectors.typed_as(row, where(is_synapse, minimum(raised, ceiling), 0))
        vectors.store(row, k, kept)
        totals = totals + kept
        peaks = maximum(peaks, kept)
    memory.lost[slot] += add_up(memory.sums, lost)
    return add_up(memory.sums, totals), largest_of(memory.sums, peaks)


@rarely_called
def rest(p, memory, active, step, n):
    """Advance the traces by n steps without spikes."""
    for t in range(step.number, step.number + n):
        advance_inputs(p, memory, EventStep(t, False, step.spikes, step.image))
        advance_others(p, memory)
        for at in range(0, active.neuron_of.shape[0], BLOCK):
            advance_neurons(p, memory, at, 0)


@rarely_called
def finish(p, memory, weight, image, active):
    """End an image: write rows back, and store the traces of a network that runs on."""
    for slot in range(active.neuron_of.shape[0]):
        if memory.changed[slot]:
            write_back(p, memory, weight, image.active_inputs, active, slot)
    if memory.runs_on:
        for slot in range(active.neuron_of.shape[0]):
            memory.y_of[active.neuron_of[slot]] = memory.y[slot]
            memory.y2_of[active.neuron_of[slot]] = memory.y2[slot]
        memory.turn[0] = (memory.turn[0] + image.n_steps + image.rest_steps) % memory.n_rows


FUNCTIONS = allocate, learn, start, is_first_active, join, block_currents, correct_currents, rest, finish, persistent
IMPLEMENTATION = Implementation.of(*FUNCTIONS, true_weight, kernel="interval", has_delays=True)
