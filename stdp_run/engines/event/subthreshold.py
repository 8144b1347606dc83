"""Advances all neurons that are far from their threshold by an interval of steps (interval.py)."""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.sampling import PIXELS_PER_WORD, list_bits
from stdp_run.engines.event.vectors import VECTOR_BYTES, add_rows, largest_of, zeros_for_vectors
from stdp_run.network import Model

neuron = Bound("neuron")

LONGEST_INTERVAL = 128


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


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


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
