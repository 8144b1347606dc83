"""Learning in a network of conductances, whose input spikes arrive with delays (stdp_run.engines.event.conductance).

There are two copies of the weights: input-major, from which arriving spikes are summed ahead, and `rows`, by neuron,
which learning changes. In an image the weights of few neurons can change: of those that fire in it, and of those that
fired so lately that a spike which arrives at them still changes a weight. These are the *active neurons*. What arrives
at them is summed when it arrives, by weights as they are then, and replaces the sum that was made ahead; for that the
spikes on their way are listed by the step in which they arrive (`pending`). Their input-major weights are brought up to
date at the end of the image.

A synapse sees spikes and trace of its input late by its delay: traces of inputs are kept for the longest delay's steps.

Cost of a step: the traces of I inputs and E neurons; for each active neuron the inputs that arrive, or all I where it
fires.
"""

from dataclasses import replace

import numpy as np

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.delayed_input import CHUNK
from stdp_run.engines.event.jit import Bound, rarely_called
from stdp_run.engines.event.plasticity.implementation import ConductanceFunctions
from stdp_run.engines.event.vectors import VECTOR_BYTES
from stdp_run.rules.spike import BEFORE_PRESENTATION, EVERY_STEP, LAST_STEP, NEVER

rule = Bound("rule")
synapse = Bound("synapse")

SMALLEST_TRACE = 1e-20  # below, a trace is 0: far above numbers so small that computing with them is slow


# ------------------------------------------------------------------------------------------------------------------
# Compiled code: the start of an image.


@rarely_called
def start(p, memory, weight, image):
    """Start an image: bring rows to their norm where that is due, and list the neurons that are active."""
    memory.n_active[0] = 0
    width = memory.pre.shape[0]
    if memory.traces_of_image:
        reset = rule.start_pre(p)
        for k in range(memory.x.shape[0]):
            memory.x[k] = reset
    for i in range(image.counts.shape[0]):
        if abs(memory.y[i]) < SMALLEST_TRACE:
            memory.y[i] = 0
        if abs(memory.y2[i]) < SMALLEST_TRACE:
            memory.y2[i] = 0
        if memory.off_norm[i]:
            memory.off_norm[i] = misses_norm(p, memory, i)
        if memory.off_norm[i] and memory.normalise == BEFORE_PRESENTATION:
            memory.off_norm[i] = scale_row(p, memory, i)
            write_back(memory, weight, i, width)
        must_join = memory.off_norm[i] != 0 and memory.normalise != BEFORE_PRESENTATION
        if memory.y[i] != 0 or memory.y2[i] != 0:
            must_join |= rule.depresses(p) and changes_at_input(p, memory, i)
        if must_join:
            join(memory, i)


def changes_at_input(p, memory, i):
    """Return whether an input spike changes any weight of a neuron by more than what is negligible."""
    none = memory.y[i] * 0
    one, y, y2 = none + 1, memory.y[i], memory.y2[i]
    largest = none
    for part in range(3):
        w = p.w_max * part / 2 + none
        largest = max(largest, abs(synapse.updated(p, one, w, one, y, y2, one, none) - w))
    return largest > memory.negligible


def join(memory, i):
    """Let a neuron become active."""
    place, n_slots = memory.n_active[0], memory.n_slots
    memory.active[place] = i
    memory.place_of[i] = place
    memory.changed[place] = 0
    for slot in range(n_slots):
        memory.n_pending[place * n_slots + slot] = 0
    memory.n_active[0] += 1


# ------------------------------------------------------------------------------------------------------------------
# A step.


def arrive(memory, step, arrivals):
    """List this step's input spikes for the active neurons, and sum up what arrives at them now."""
    pending, n_pending, by_neuron, rows = memory.pending, memory.n_pending, memory.delays.by_neuron, memory.rows
    n_inputs, width = np.uint64(memory.n_inputs), np.uint64(memory.pre.shape[0])
    lanes = VECTOR_BYTES // arrivals.sums.itemsize
    t, last_slot = np.uint64(step.number), np.uint64(memory.n_slots - 1)
    spikes, active_inputs = step.spikes, step.image.active_inputs
    for place in range(memory.n_active[0]):
        i = memory.active[place]
        slots = np.uint64(place * memory.n_slots)
        for s in range(spikes.shape[0]):
            j = np.uint64(active_inputs[np.uint64(spikes[s])])
            at = slots + ((t + np.uint64(by_neuron[np.uint64(i) * n_inputs + j])) & last_slot)
            n = n_pending[at]
            pending[at * n_inputs + np.uint64(n)] = j
            n_pending[at] = n + 1
        at = slots + (t & last_slot)
        total = arrivals.sums[0] * 0
        for k in range(n_pending[at]):
            total += rows[np.uint64(i) * width + np.uint64(pending[at * n_inputs + np.uint64(k)])]
        arrivals.sums[(i - i % lanes) * arrivals.n_rows + step.number % CHUNK * lanes + i % lanes] = total


def learn(p, memory, step, train, fired, is_last):
    """Advance a step: traces, weight changes at the spikes, then norm and clamp."""
    t, n_slots = step.number, memory.n_slots
    now = advance_traces(p, memory, step, fired)
    for f in range(fired.shape[0]):
        if memory.place_of[fired[f]] < 0:
            join(memory, fired[f])
            list_on_their_way(memory, step, train, fired[f])
    depresses = rule.depresses(p)
    normalises = memory.normalise == EVERY_STEP or (memory.normalise == LAST_STEP and is_last)
    for place in range(memory.n_active[0]):
        i, at = memory.active[place], place * n_slots + (t & (n_slots - 1))
        changes = True
        if memory.post[i] != 0:
            change_all(p, memory, step.image.rate, i, at, now, normalises)
        elif depresses and memory.n_pending[at]:
            change_at_arrivals(p, memory, step.image.rate, i, at, now, normalises)
        else:
            changes = False
        memory.n_pending[at] = 0
        if changes:
            memory.changed[place] = 1
            memory.off_norm[i] = memory.normalise != NEVER
        if normalises and memory.off_norm[i]:
            memory.off_norm[i] = scale_row(p, memory, i)
            memory.changed[place] = 1
    for f in range(fired.shape[0]):
        memory.post[fired[f]] = 0


def advance_traces(p, memory, step, fired):
    """Advance all traces by a step; return the row of `x` in which the traces of inputs are now."""
    x, pre, width = memory.x, memory.pre, memory.pre.shape[0]
    lanes = VECTOR_BYTES // x.itemsize
    n_rows = memory.delays.longest + 1
    now = n_rows - 1 - step.number % n_rows
    before = now + 1 if now + 1 < n_rows else 0
    spikes, active_inputs = step.spikes, step.image.active_inputs
    for s in range(spikes.shape[0]):
        pre[active_inputs[spikes[s]]] = 1
    for k in range(0, width, lanes):
        trace = rule.pre_trace(p, vectors.load(x, before * width + k), vectors.load(pre, k))
        vectors.store(x, now * width + k, trace)
    for s in range(spikes.shape[0]):
        pre[active_inputs[spikes[s]]] = 0
    for f in range(fired.shape[0]):
        memory.post[fired[f]] = 1
    none = vectors.zeros(memory.post)
    for i in range(0, memory.y.shape[0], lanes):
        spike, y2 = vectors.load(memory.post, i), vectors.load(memory.y2, i)
        vectors.store(memory.y, i, rule.post_trace(p, vectors.load(memory.y, i), spike))
        vectors.store(memory.y2_seen, i, rule.second_trace(p, y2, none))
        vectors.store(memory.y2, i, rule.second_trace(p, y2, spike))
    return now


@rarely_called
def list_on_their_way(memory, step, train, i):
    """List the spikes that arrive at a neuron now or later, of this step and those before: it becomes active."""
    place = memory.place_of[i]
    for t in range(max(0, step.number - memory.delays.longest), min(step.number + 1, step.image.n_steps)):
        for s in range(train.first[t], train.first[t + 1]):
            j = step.image.active_inputs[train.places[s]]
            arrival = t + np.int64(memory.delays.by_neuron[i * memory.n_inputs + j])
            if arrival >= step.number:
                at = place * memory.n_slots + (arrival & (memory.n_slots - 1))
                memory.pending[at * memory.n_inputs + memory.n_pending[at]] = j
                memory.n_pending[at] += 1


def change_at_arrivals(p, memory, rate, i, at, now, normalises):
    """Change a neuron's weights of the inputs whose spikes arrive."""
    n_inputs, width, n_rows = memory.n_inputs, np.uint64(memory.pre.shape[0]), memory.delays.longest + 1
    y, y2 = memory.y[i], memory.y2_seen[i]
    none = y * 0
    for k in range(memory.n_pending[at]):
        j = np.uint64(memory.pending[np.uint64(at * n_inputs + k)])
        ago = now + np.int64(memory.delays.by_neuron[np.uint64(i * n_inputs) + j])
        x = memory.x[np.uint64(ago if ago < n_rows else ago - n_rows) * width + j]
        synapse_at = np.uint64(i) * width + j
        w = synapse.updated(p, rate, memory.rows[synapse_at], x, y, y2, none + 1, none)
        memory.rows[synapse_at] = w if normalises else min(max(w, 0), p.w_max)


@rarely_called
def change_all(p, memory, rate, i, at, now, normalises):
    """Change all weights of a neuron that fires."""
    n_inputs, width, n_rows = memory.n_inputs, memory.pre.shape[0], memory.delays.longest + 1
    lanes = VECTOR_BYTES // memory.x.itemsize
    for j in range(n_inputs):
        ago = now + np.int64(memory.delays.by_neuron[i * n_inputs + j])
        memory.x_seen[j] = memory.x[(ago if ago < n_rows else ago - n_rows) * width + j]
    for k in range(memory.n_pending[at]):
        memory.pre_seen[memory.pending[at * n_inputs + k]] = 1
    y, y2 = memory.y[i], memory.y2_seen[i]
    spike = y * 0 + 1
    for k in range(0, width, lanes):
        w, x, pre = (
            vectors.load(memory.rows, i * width + k),
            vectors.load(memory.x_seen, k),
            vectors.load(memory.pre_seen, k),
        )
        w = synapse.updated(p, rate, w, x, y, y2, pre, spike)
        if not normalises:
            w = minimum(maximum(w, 0), p.w_max)
        vectors.store(memory.rows, i * width + k, w)
    for j in range(n_inputs, width):
        memory.rows[i * width + j] = 0
    for k in range(memory.n_pending[at]):
        memory.pre_seen[memory.pending[at * n_inputs + k]] = 0


@rarely_called
def misses_norm(p, memory, i):
    """Return whether a neuron's weights miss their norm by more than rounding, or exceed w_max.

    That depends on the weights alone, so that a resumed run goes on with the same rows.
    """
    width, rows = memory.pre.shape[0], memory.rows
    total, largest = np.float64(0), rows[i * width]
    for j in range(i * width, (i + 1) * width):
        total += abs(np.float64(rows[j]))
        largest = max(largest, rows[j])
    return total > 0 and (abs(total - p.w_norm) > memory.tolerance * p.w_norm or largest > p.w_max)


@rarely_called
def scale_row(p, memory, i):
    """Scale a neuron's weights to their norm, then clamp them; return whether that made them miss it."""
    width, rows = memory.pre.shape[0], memory.rows
    total = np.float64(0)
    for j in range(i * width, (i + 1) * width):
        total += abs(np.float64(rows[j]))
    if total == 0:
        return False
    factor, is_cut = p.w_norm / total, False
    for j in range(i * width, (i + 1) * width):
        w = rows[j] * factor
        rows[j] = min(max(w, 0), p.w_max)
        is_cut |= rows[j] != w
    return is_cut


# ------------------------------------------------------------------------------------------------------------------
# The rest after an image, and its end.


@rarely_called
def rest(p, memory, t, n):
    """Let the traces go on for n steps from step t on, without any spike."""
    width, n_rows = memory.pre.shape[0], memory.delays.longest + 1
    lanes = VECTOR_BYTES // memory.x.itemsize
    none = vectors.zeros(memory.x)
    for step in range(t, t + n):
        now = n_rows - 1 - step % n_rows
        before = now + 1 if now + 1 < n_rows else 0
        for k in range(0, width, lanes):
            vectors.store(
                memory.x, now * width + k, rule.pre_trace(p, vectors.load(memory.x, before * width + k), none)
            )
    for i in range(0, memory.y.shape[0], lanes):
        y, y2 = vectors.load(memory.y, i), vectors.load(memory.y2, i)
        for _ in range(n):
            y, y2 = rule.post_trace(p, y, none), rule.second_trace(p, y2, none)
        vectors.store(memory.y, i, y)
        vectors.store(memory.y2, i, y2)


@rarely_called
def finish(p, memory, weight, n_steps):
    """End an image: bring weights up to date, and turn the traces of inputs so that the latest come first."""
    width, n_rows = memory.pre.shape[0], memory.delays.longest + 1
    for place in range(memory.n_active[0]):
        i = memory.active[place]
        memory.place_of[i] = -1
        if memory.changed[place]:
            write_back(memory, weight, i, width)
    for k in range(memory.x.shape[0]):
        memory.x_turned[k] = memory.x[k]
    latest = n_rows - 1 - (n_steps - 1) % n_rows
    for ago in range(n_rows):
        row = latest + ago if latest + ago < n_rows else latest + ago - n_rows
        for k in range(width):
            memory.x[ago * width + k] = memory.x_turned[row * width + k]


@rarely_called
def write_back(memory, weight, i, width):
    """Bring the input-major weights of a neuron up to date."""
    for j in range(weight.shape[0]):
        weight[j, i] = memory.rows[i * width + j]


# ------------------------------------------------------------------------------------------------------------------
# What a synapse does, as rules of either frame state it.


def updated_by_pairs(p, rate, w, x, y, y2, pre, post):
    """Return a weight after a step, by the rule's `change`."""
    return w + rate * rule.change(p, w, x, y, pre, post)


def updated_by_spikes(p, rate, w, x, y, y2, pre, post):
    """Return it by what the rule states for an input spike and, after that, for an output spike."""
    w = where(pre > 0, w + rate * rule.at_input(p, w, x, y, y2), w)
    return where(post > 0, w + rate * rule.at_output(p, w, x, y, y2), w)


PAIRS = ConductanceFunctions(updated_by_pairs, start, arrive, learn, rest, finish)
SPIKES = replace(PAIRS, updated=updated_by_spikes)
