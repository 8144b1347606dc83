"""Input spikes that arrive after the delay of their synapse: sums of weights by the step in which they arrive.

An input spike adds one number for each neuron, each to the sum of another step: E additions to numbers that lie apart,
where a spike without delays adds E numbers that lie together, in E / 16 instructions. They are made for `CHUNK` steps
of input at a time, for one vector of neurons after the other: then the sums of a vector, one cache line a step, stay in
the nearest cache, and so do the weights, as every input spikes about once in a chunk.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event.jit import rarely_called
from stdp_run.engines.event.vectors import VECTOR_BYTES, zeros_for_vectors
from stdp_run.network import Model

CHUNK = 32


class Delays(NamedTuple):
    """The delays of the input synapses, in steps, of at most D steps."""

    longest: int  # D
    by_neuron: np.ndarray  # uint8 [E, I]
    offset: (
        np.ndarray
    )  # uint16 [I, E], where a synapse's number is added, counted from the sums of the step of the spike


def make_delays(model: Model, n_columns: int) -> Delays:
    """Return the delays of a model for rows of `n_columns` neurons, of which the last may be padding."""
    lanes = VECTOR_BYTES // model.weight_dtype.itemsize
    by_neuron = np.zeros((n_columns, model.n_inputs), np.uint8)
    if model.delays is not None:
        by_neuron[: model.n_exc] = model.delays
    offset = by_neuron.T * np.uint16(lanes) + (np.arange(n_columns) % lanes).astype(np.uint16)
    return Delays(int(by_neuron.max()), by_neuron, np.ascontiguousarray(offset, np.uint16))


def make_arrivals(model: Model, delays: Delays) -> np.ndarray:
    """Return sums for the steps of a chunk and the D steps after it: [vectors of neurons, CHUNK + D, lanes], flat."""
    n_columns = delays.offset.shape[1]
    return zeros_for_vectors(n_columns * (CHUNK + delays.longest), model.weight_dtype)


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


@rarely_called
def shift_arrivals(arrivals, n_rows, n_vectors):
    """Go on to the next chunk: what arrives after the chunk comes first, all else is 0."""
    lanes = VECTOR_BYTES // arrivals.itemsize
    size, tail = n_rows * lanes, (n_rows - CHUNK) * lanes
    for vector in range(n_vectors):
        start = vector * size
        for k in range(tail):
            arrivals[start + k] = arrivals[start + CHUNK * lanes + k]
        for k in range(tail, size):
            arrivals[start + k] = 0


@rarely_called
def add_arrivals(arrivals, n_rows, weight, offset, active_inputs, train, start, n):
    """Add the weights of input spikes, of n steps from `start` on, to the sums of the steps in which they arrive."""
    places, first = train.places, train.first
    lanes = VECTOR_BYTES // arrivals.itemsize
    by_input, offsets, n_columns = weight.reshape(-1), offset.reshape(-1), np.uint64(weight.shape[1])
    # Unsigned numbers, as numba asks of signed ones whether they count from the end.
    for column in range(0, weight.shape[1], lanes):
        base = np.uint64(column * n_rows)
        for step in range(start, start + n):
            for s in range(first[step], first[step + 1]):
                at = np.uint64(active_inputs[places[np.uint64(s)]]) * n_columns + np.uint64(column)
                for lane in range(lanes):
                    synapse = at + np.uint64(lane)
                    arrivals[base + np.uint64(offsets[synapse])] += by_input[synapse]
            base += np.uint64(lanes)
