"""The neurons that are far from their threshold, all at once: one window of steps (stdp_run.engines.event.interval).

Cost: the coefficients are A inputs times the steps of the window, in whole vectors of inputs, four of them side by
side so that one's additions need not wait for one another; then one row of E weights for each input that spikes in
the window, eight vectors of it at a time in registers, and about three passes over E neurons.
"""

import numpy as np

from stdp_run.elementwise import VECTOR_BYTES, where
from stdp_run.engines.event import simd as vectors
from stdp_run.engines.event.jit import (
    float_bits,
    weigh_block_1,
    weigh_block_2,
    weigh_block_3,
    weigh_block_4,
    weigh_block_5,
    weigh_block_6,
    weigh_block_7,
    weigh_block_8,
)
from stdp_run.engines.event.spike_sampling import list_bits

# `neuron` is bound by `specialise`.


def set_limits(p, theta, theta_decay, limit, n_exc):
    """Set for each neuron a v that is below its threshold throughout the image, if only by a little."""
    _, _, v_threshold, _ = neuron.between_spikes(p)
    for i in range(limit.shape[0]):
        threshold = v_threshold + min(theta[i], theta[i] * theta_decay)
        limit[i] = threshold - 1e-6 * abs(threshold)
    for i in range(n_exc, limit.shape[0]):
        limit[i] = np.inf


def gather_coefficients(places, first, start, n, decay, coefficient, touched):
    """Set coefficients and the list of inputs for the window of n steps from `start` on; return their number."""
    n_touched = np.int64(0)
    for step in range(n):
        factor = decay[n - 1 - step]
        for s in range(first[start + step], first[start + step + 1]):
            k = places[s]
            before = coefficient[k]
            touched[n_touched] = k
            n_touched += before == 0
            coefficient[k] = before + factor
    return n_touched


def add_up_coefficients(bits, by_byte, n_active, start, n, decay, coefficient, touched):
    """Do what `gather_coefficients` does, for many steps: four vectors of inputs at a time, straight from the bits."""
    lanes = VECTOR_BYTES // coefficient.itemsize
    n_words = (n_active + 63) // 64
    n_touched = np.int64(0)
    for k in range(0, n_active, 4 * lanes):
        total_0 = total_1 = total_2 = total_3 = vectors.zeros(coefficient, coefficient)
        at = start * 8 * n_words + k // 8
        for step in range(n - 1, -1, -1):
            factor = vectors.take(decay, step)
            total_0 = where(vectors.load_bits(by_byte, at, coefficient), total_0 + factor, total_0)
            total_1 = where(vectors.load_bits(by_byte, at + lanes // 8, coefficient), total_1 + factor, total_1)
            total_2 = where(vectors.load_bits(by_byte, at + lanes // 4, coefficient), total_2 + factor, total_2)
            total_3 = where(vectors.load_bits(by_byte, at + 3 * lanes // 8, coefficient), total_3 + factor, total_3)
            at += 8 * n_words
        lit = np.uint64(0)
        for total in (total_3, total_2, total_1, total_0):
            lit = lit << np.uint64(lanes) | vectors.lanes_where(total != 0)
        vectors.store(coefficient, k, total_0)
        vectors.store(coefficient, k + lanes, total_1)
        vectors.store(coefficient, k + 2 * lanes, total_2)
        vectors.store(coefficient, k + 3 * lanes, total_3)
        n_touched += list_bits(lit, k, touched, n_touched)
    return n_touched


def weigh_rows(current, weight, active, touched, n_touched, coefficient):
    """Set current[E] to the weighted sum of the rows of `weight[I, E]` that are listed; clear the coefficients."""
    lanes = VECTOR_BYTES // current.itemsize
    start = 0
    missing = current.shape[0] // lanes
    while missing >= 8:
        weigh_block_8(current, weight, active, touched, n_touched, start, coefficient)
        start += 8 * lanes
        missing -= 8
    if missing == 7:
        weigh_block_7(current, weight, active, touched, n_touched, start, coefficient)
    elif missing == 6:
        weigh_block_6(current, weight, active, touched, n_touched, start, coefficient)
    elif missing == 5:
        weigh_block_5(current, weight, active, touched, n_touched, start, coefficient)
    elif missing == 4:
        weigh_block_4(current, weight, active, touched, n_touched, start, coefficient)
    elif missing == 3:
        weigh_block_3(current, weight, active, touched, n_touched, start, coefficient)
    elif missing == 2:
        weigh_block_2(current, weight, active, touched, n_touched, start, coefficient)
    elif missing == 1:
        weigh_block_1(current, weight, active, touched, n_touched, start, coefficient)
    for s in range(n_touched):
        coefficient[touched[s]] = 0


def advance_rest(p, n, inhibition, offset, decay, growth, current, v, v_next, limit, crosses):
    """Advance all neurons by n steps as if none of them fired; v lacks `offset`, the first step has `inhibition`.

    Return (does any cross its limit within the window, least room below the limits, largest current), as bits.
    """
    d, v_rest, _, _ = neuron.between_spikes(p)
    whole, since_first, grown = decay[n], decay[n - 1], growth[n]
    late = since_first * inhibition
    none = decay[0] - decay[0]
    any_crosses = False
    least_room = float_bits(limit[limit.shape[0] - 1])
    for i in range(v.shape[0]):
        above = v[i] - offset - v_rest
        new = whole * above + v_rest + (current[i] - late)
        first = d * above - inhibition
        highest = max(first + current[i] * grown, none) + v_rest
        crossed = (highest > limit[i]) | (new > limit[i])
        v_next[i] = new
        crosses[i] = crossed
        any_crosses |= crossed
    largest = float_bits(none)
    least_room = float_bits(none + np.float32(1e30))
    for i in range(v.shape[0]):
        room = limit[i] - v_next[i]
        least_room = min(least_room, float_bits(max(room, none)))
        largest = max(largest, float_bits(max(current[i], none)))
    return any_crosses, least_room, largest


def choose_length(longest, room, charge, growth):
    """Return for how many steps neurons with a charge of at most `charge` a step surely stay below their limits."""
    length = longest if charge > 0 else 1
    while length > 1 and growth[length] * length * charge > room:
        length = (3 * length) // 4
    return length


# By what they are bound to: nothing, and the neuron group.
GATHERING = (gather_coefficients, add_up_coefficients, weigh_rows, choose_length)
RESTING = (set_limits, advance_rest)
