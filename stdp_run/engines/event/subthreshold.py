"""The neurons that are far from their threshold, all at once: one interval of steps (stdp_run.engines.event.interval).

Cost: the coefficients are A active inputs times the steps of the interval, in whole vectors of inputs, four of them
side by side so that one's additions need not wait for one another; then one row of E weights for each input that
spikes in the interval, eight vectors of it at a time in registers, and about three passes over E neurons.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.arithmetic import float_bits
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.row_sums import add_weighted_rows
from stdp_run.engines.event.spike_sampling import PIXELS_PER_WORD, list_bits
from stdp_run.engines.event.vectors import VECTOR_BYTES, zeros_for_vectors
from stdp_run.network import Model

neuron = Bound("neuron")

LONGEST_INTERVAL = 128


class Subthreshold(NamedTuple):
    """Constants and working arrays for E neurons in whole vectors and I inputs."""

    decay: np.ndarray  # [LONGEST_INTERVAL + 1] d^n
    growth: np.ndarray  # [LONGEST_INTERVAL + 1] d^(1 - n), and a little: bounds what a sum hides in between
    coefficient: np.ndarray  # [I] c_j, by place in the list of active inputs
    touched: np.ndarray  # [I] uint32, the places whose coefficient is not 0
    current: np.ndarray  # [E] summed over an interval
    v: np.ndarray  # [E]
    v_next: np.ndarray  # [E] at the end of the interval
    limit: np.ndarray  # [E] v that is surely below the threshold; infinite for active neurons
    crosses: np.ndarray  # [E] uint8


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
    )


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def set_limits(p, theta, theta_decay, limit, n_exc):
    """Set for each neuron a v that is below its threshold throughout the image, if only by a little."""
    _, _, v_threshold, _ = neuron.between_spikes(p)
    for i in range(limit.shape[0]):
        threshold = v_threshold + min(theta[i], theta[i] * theta_decay)
        limit[i] = threshold - 1e-6 * abs(threshold)
    for i in range(n_exc, limit.shape[0]):
        limit[i] = np.inf


def sum_currents(arrays, train, weight, active_inputs, start, n):
    """Set `current` to what the input spikes of the interval of n steps from `start` on add up to at its end."""
    if n > 4:
        n_touched = add_up_coefficients(arrays, train.bytes, active_inputs.shape[0], start, n)
    else:
        n_touched = gather_coefficients(arrays, train, start, n)
    touched, coefficient = arrays.touched[:n_touched], arrays.coefficient
    add_weighted_rows(arrays.current, weight, active_inputs, touched, coefficient)
    for s in range(n_touched):
        coefficient[touched[s]] = 0


def gather_coefficients(arrays, train, start, n):
    """Set coefficients and the list of inputs for the interval of n steps from `start` on; return their number."""
    decay, coefficient, touched = arrays.decay, arrays.coefficient, arrays.touched
    places, first = train.places, train.first
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


def add_up_coefficients(arrays, by_byte, n_active_inputs, start, n):
    """Do what `gather_coefficients` does, for many steps: four vectors of inputs at a time, straight from the bits."""
    decay, coefficient, touched = arrays.decay, arrays.coefficient, arrays.touched
    lanes = VECTOR_BYTES // coefficient.itemsize
    n_words = (n_active_inputs + 63) // 64
    n_touched = np.int64(0)
    for k in range(0, n_active_inputs, 4 * lanes):
        total_0 = total_1 = total_2 = total_3 = vectors.zeros(coefficient)
        at = start * 8 * n_words + k // 8
        for step in range(n - 1, -1, -1):
            factor = decay[np.uint64(step)]
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


def advance_subthreshold(p, arrays, v, v_next, n, inhibition, offset):
    """Advance all neurons by n steps as if none of them fired; v lacks `offset`, the first step has `inhibition`.

    Return (does any cross its limit within the interval, least room below the limits, largest current), as bits.
    """
    decay, current, limit, crosses = arrays.decay, arrays.current, arrays.limit, arrays.crosses
    d, v_rest, _, _ = neuron.between_spikes(p)
    whole, since_first, grown = decay[n], decay[n - 1], arrays.growth[n]
    late = since_first * inhibition
    none = decay[0] - decay[0]
    any_crosses = False
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
