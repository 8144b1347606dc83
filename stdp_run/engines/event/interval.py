"""The kernel for neurons that are linear between spikes: most neurons advance in intervals of many steps.

After the first spikes of an image, inhibition keeps nearly every neuron far below its threshold. A neuron that does not
spike is linear, `v <- d (v - v_rest) + v_rest + current`, so n steps become one::

    v <- d^n (v - v_rest) + v_rest + sum_j c_j w_j - (inhibition within the interval)
         c_j = sum over the spikes of input j in the interval of d^(steps from the spike to the interval's end)

Each weight row is read once for all spikes of its input in the interval. Inhibition is one number for all these
neurons, since none of them has fired. No weight is negative and inhibition only lowers v, so the same sum bounds v at
every step s of the interval::

    v_s - v_rest <= d^(s - 1) (u + d^(1 - n) sum_j c_j w_j)        u = d (v - v_rest) - inhibition in the first step

A neuron becomes active before the interval if its bound exceeds its threshold. Active neurons advance step by step,
with the full arithmetic of their group and of the rule (active.py). An interval of one step is exact, in the order of
the reference. The room below the thresholds and the largest current so far determine the length of an interval, so
bounds rarely exceed thresholds.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.active import (
    ActiveNeurons,
    Cells,
    activate,
    advance_active,
    advance_partners,
    first_of,
    keep_winners,
    make_active_neurons,
    make_cells,
)
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.presentation import EventStep, Network
from stdp_run.engines.event.sampling import PIXELS_PER_WORD, list_bits
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, add_rows, largest_of, zeros_for_vectors
from stdp_run.network import Model

neuron = Bound("neuron")
implementation = Bound("implementation")

LONGEST_INTERVAL = 128
MOST_NEWLY_ACTIVE = 4  # neurons per interval; an interval that would make more of them active is halved


class Subthreshold(NamedTuple):
    """Constants and working arrays for E neurons in whole vectors and I inputs."""

    decay: np.ndarray  # [LONGEST_INTERVAL + 1] d^n
    growth: np.ndarray  # [LONGEST_INTERVAL + 1] d^(1 - n) with a margin, the factor of the bound within an interval
    coefficient: np.ndarray  # [I] c_j, by rank of the active input
    touched: np.ndarray  # [I] uint32, the ranks whose coefficient is not 0
    current: np.ndarray  # [E] sum over an interval
    v: np.ndarray  # [E]
    v_next: np.ndarray  # [E] at the end of the interval
    limit: np.ndarray  # [E] a potential safely below the threshold; infinite for active neurons
    crosses: np.ndarray  # [E] uint8, 1 if the bound exceeds the limit
    numbers: np.ndarray  # [lanes] working memory of `largest_of`


def make_subthreshold(model: Model, d: float, n_columns: int) -> Subthreshold:
    """Return constants and memory for one thread; `d` is the decay of v."""
    dtype = model.weight_dtype
    decay = np.cumprod(np.append(dtype.type(1), np.full(LONGEST_INTERVAL, d, dtype)), dtype=dtype)
    growth = np.ones(LONGEST_INTERVAL + 1, dtype)
    growth[2:] = 1.0001 / np.maximum(decay[1:-1], np.finfo(dtype).tiny)
    return Subthreshold(
        decay,
        growth,
        zeros_for_vectors(model.n_inputs + PIXELS_PER_WORD, dtype),
        np.zeros(model.n_inputs + PIXELS_PER_WORD, np.uint32),
        *(zeros_for_vectors(n_columns, kind) for kind in (*[dtype] * 4, np.uint8)),
        np.zeros(VECTOR_BYTES // dtype.itemsize, dtype),
    )


class IntervalScratch(NamedTuple):
    """Constants and working arrays of one thread, T steps, E neurons in whole vectors."""

    theta_decay: np.ndarray  # [T + 1] float64, the decay of theta over n steps
    joining: np.ndarray  # [E] int32, the neurons that become active
    slots: ActiveNeurons
    cells: Cells
    wins: np.ndarray  # [E] uint8, by slot, the first `k_winners` neurons to fire
    fired: np.ndarray  # [E] int32, the slots that spike
    subthreshold: Subthreshold


def make_scratch(model: Model, learning: bool, network: Network, block: int = BLOCK) -> IntervalScratch:
    """Return constants and memory for one thread."""
    encoder, n_columns = model.encoder if learning else model.inference_encoder, len(network.theta)
    d, _, _, d_theta = model.neuron.between_spikes(network.neuron_parameters)
    return IntervalScratch(
        theta_decay=np.cumprod(np.append(1.0, np.full(encoder.n_steps, d_theta if learning else 1.0))),
        joining=np.zeros(n_columns, np.int32),
        slots=make_active_neurons(model, n_columns, block),
        cells=make_cells(model, n_columns),
        wins=np.zeros(n_columns, np.uint8),
        fired=np.zeros(n_columns, np.int32),
        subthreshold=make_subthreshold(model, d, n_columns),
    )


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def present_in_intervals(network, image, learning, scratch):
    """Present an image; add the excitatory spikes to its counts, and return the number of inhibitory spikes."""
    p, p_rule, memory, weight, theta = network
    theta_decay, joining, slots, cells, wins, fired, arrays = scratch
    active_inputs, counts, train, n_steps = image.active_inputs, image.counts, image.train, image.n_steps
    decay, growth, limit, v, v_next = arrays.decay, arrays.growth, arrays.limit, arrays.v, arrays.v_next
    ranks, first = train.ranks, train.first
    n_exc = counts.shape[0]
    v_rest, _, _ = neuron.initial(p)
    d = decay[1]
    zero = d - d
    v[:] = v_rest
    wins[:] = 0
    set_limits(p, theta, theta_decay[n_steps], limit, n_exc)
    implementation.start(p_rule, memory, weight, image)
    n_joining = np.int64(0)
    for i in range(n_exc):
        if implementation.is_first_active(p_rule, memory, image, i):
            joining[n_joining] = i
            n_joining += 1
            limit[i] = np.inf
    n_active = np.int64(0)
    active = first_of(slots, slots.neuron_of, n_active)
    n_winners = np.int64(0)
    n_inhibitory = all_inhibitory = np.int64(0)
    has_fired = False
    interval_end = 0
    offset, room, charge = zero, zero, zero
    for t in range(n_steps):
        if t == interval_end:
            length = n_steps - t
            if n_active + n_joining < n_exc:
                inhibition = p.w_ie * v.dtype.type(n_inhibitory)
                length = choose_length(min(LONGEST_INTERVAL, length), room + offset + inhibition, charge, growth)
                while True:
                    sum_currents(arrays, train, weight, active_inputs, t, length)
                    any_crosses, room, largest = advance_subthreshold(p, arrays, v, v_next, length, inhibition, offset)
                    if not any_crosses:
                        break
                    n_before = n_joining
                    for i in range(n_exc):
                        if arrays.crosses[i]:
                            joining[n_joining] = i
                            n_joining += 1
                    if length == 1 or n_joining - n_before <= MOST_NEWLY_ACTIVE:
                        break
                    n_joining = n_before
                    length = length // 2
                charge = max(largest / v.dtype.type(length), charge * v.dtype.type(0.5))
            if n_joining:
                for f in range(n_joining):
                    i = joining[f]
                    slots.neuron_of[n_active] = i
                    implementation.join(p_rule, memory, weight, image, slots, n_active)
                    activate(p, cells, n_active, v[i] - offset, theta[i] * theta_decay[t])
                    limit[i] = np.inf
                    n_active += 1
                active = first_of(slots, slots.neuron_of, n_active)
                n_joining = np.int64(0)
            v, v_next = v_next, v
            interval_end = t + length
            offset = zero
        else:
            offset = offset * d + p.w_ie * v.dtype.type(n_inhibitory)
        step = EventStep(t, t == n_steps - 1, ranks[first[t] : first[t + 1]], image)
        any_fires = advance_active(p, learning, memory, active, cells, step, n_inhibitory)
        n_fired = np.int64(0)
        if any_fires:
            has_fired = True
            for slot in range(n_active):
                if cells.fired[slot] != 0:
                    counts[active.neuron_of[slot]] += 1
                    fired[n_fired] = slot
                    n_fired += 1
        if has_fired:
            n_inhibitory = advance_partners(p, cells, n_active, any_fires)
            all_inhibitory += n_inhibitory
        if n_fired and image.k_winners:
            n_fired, n_winners = keep_winners(active, wins, fired[:n_fired], n_winners, image.k_winners)
        implementation.learn(p_rule, memory, weight, theta, step, active, fired[:n_fired])
    if learning:
        for i in range(theta.shape[0]):
            theta[i] *= theta_decay[n_steps]
        for slot in range(n_active):
            theta[active.neuron_of[slot]] = cells.theta[slot]
        implementation.finish(p_rule, memory, weight, image, active)
    return all_inhibitory


def set_limits(p, theta, theta_decay, limit, n_exc):
    """Set each neuron's limit slightly below the lowest threshold that it can have during the image."""
    _, _, v_threshold, _ = neuron.between_spikes(p)
    for i in range(limit.shape[0]):
        threshold = v_threshold + min(theta[i], theta[i] * theta_decay)
        limit[i] = threshold - 1e-6 * abs(threshold)
    for i in range(n_exc, limit.shape[0]):
        limit[i] = np.inf


def sum_currents(arrays, train, weight, active_inputs, start, n):
    """Set `current` to the decayed sum of the input spikes of n steps from `start`, at the end of the interval."""
    decay, coefficient, touched = arrays.decay, arrays.coefficient, arrays.touched
    n_words = (active_inputs.shape[0] + PIXELS_PER_WORD - 1) // PIXELS_PER_WORD
    n_touched = np.int64(0)
    for word in range(n_words):
        total = vectors.zeros(coefficient, PIXELS_PER_WORD)
        for step in range(n):
            spikes = vectors.conditions(train.bits[np.uint64((start + step) * n_words + word)])
            total = where(spikes, total + decay[np.uint64(n - 1 - step)], total)
        vectors.store(coefficient, PIXELS_PER_WORD * word, total)
        n_touched += list_bits(vectors.lanes_where(total != 0), PIXELS_PER_WORD * word, touched, n_touched)
    add_rows(arrays.current, weight, active_inputs, touched[:n_touched], coefficient)


def advance_subthreshold(p, arrays, v, v_next, n, inhibition, offset):
    """Advance all neurons by n steps, provided that none of them fires.

    Potentials are v - `offset`, and `inhibition` acts in the first step. Return (whether any neuron crosses its limit
    within the interval, least room below the limits, largest current).
    """
    d, v_rest, _, _ = neuron.between_spikes(p)
    whole, grown, late = arrays.decay[n], arrays.growth[n], arrays.decay[n - 1] * inhibition
    largest = vectors.zeros(v, v)
    least_room, any_crosses = largest + 1e30, np.uint64(0)
    for i in range(0, v.shape[0], VECTOR_BYTES // v.itemsize):
        current, limit = vectors.load(arrays.current, i, v), vectors.load(arrays.limit, i, v)
        above = vectors.load(v, i, v) - offset - v_rest
        new = whole * above + v_rest + (current - late)
        highest = maximum(d * above - inhibition + current * grown, 0) + v_rest
        crosses = (highest > limit) | (new > limit)
        vectors.store(v_next, i, new)
        vectors.store(arrays.crosses, i, crosses)
        any_crosses |= vectors.lanes_where(crosses)
        least_room = minimum(maximum(limit - new, 0), least_room)
        largest = maximum(current, largest)
    return any_crosses != 0, -largest_of(arrays.numbers, -least_room), largest_of(arrays.numbers, largest)


def choose_length(longest, room, charge, growth):
    """Return a number of steps for which neurons stay below their limits with at most `charge` per step."""
    length = longest if charge > 0 else 1
    while length > 1 and growth[length] * length * charge > room:
        length = (3 * length) // 4
    return length
