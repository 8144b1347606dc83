"""Input spikes that arrive after the delay of their synapse: sums of weights by the step in which they arrive.

An input spike adds one weight for each neuron, each to the sum of another step: E additions to numbers that lie apart,
where a spike without delays adds E numbers that lie together, in E / 16 instructions. They are made ahead, for `CHUNK`
steps of input at a time, for one vector of neurons after the other, whose sums then stay in the nearest cache; and for
all spikes of a synapse at once, so that its weight and delay are read once, and no addition waits for the one before.
Weights that change in the meantime are the rule's concern (stdp_run.engines.event.plasticity.delayed).
"""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import rarely_called
from stdp_run.engines.event.vectors import VECTOR_BYTES, zeros_for_vectors
from stdp_run.network import Model

CHUNK = 256  # steps
AHEAD = 6  # inputs, whose weights are fetched in good time


class Delays(NamedTuple):
    """The delays of the input synapses, in steps, of at most D steps."""

    longest: int  # D
    by_neuron: np.ndarray  # uint8 [E * I]
    offset: np.ndarray  # uint16 [I, E], how far the sum to which a spike adds lies behind those of its own step


class Arrivals(NamedTuple):
    """What arrives at E neurons in the steps of a chunk and the D steps after it."""

    sums: np.ndarray  # [vectors of neurons, CHUNK + D, lanes], flat
    n_rows: int  # CHUNK + D
    first: np.ndarray  # uint32 [I + 1], where in `offsets` an active input begins, by its place
    offsets: np.ndarray  # uint32, for each of its spikes, where the sums of that step begin, among a vector's


def make_delays(model: Model, n_columns: int) -> Delays:
    """Return the delays of a model for rows of `n_columns` neurons, of which the last may be padding."""
    lanes = VECTOR_BYTES // model.weight_dtype.itemsize
    by_neuron = np.zeros((n_columns, model.n_inputs), np.uint8)
    if model.delays is not None:
        by_neuron[: model.n_exc] = model.delays
    offset = by_neuron.T * np.uint16(lanes) + (np.arange(n_columns) % lanes).astype(np.uint16)
    return Delays(int(by_neuron.max()), by_neuron.reshape(-1), np.ascontiguousarray(offset, np.uint16))


def make_arrivals(model: Model, delays: Delays) -> Arrivals:
    """Return memory for the input of a chunk of steps."""
    n_columns, n_inputs = delays.offset.shape[1], model.n_inputs
    return Arrivals(
        sums=zeros_for_vectors(n_columns * (CHUNK + delays.longest), model.weight_dtype),
        n_rows=CHUNK + delays.longest,
        first=np.zeros(n_inputs + 1, np.uint32),
        offsets=np.zeros(n_inputs * CHUNK, np.uint32),
    )


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


@rarely_called
def shift_arrivals(arrivals):
    """Go on to the next chunk: what arrives after the last one comes first. The sums of steps gone by are 0."""
    sums = arrivals.sums
    lanes = VECTOR_BYTES // sums.itemsize
    size, tail = arrivals.n_rows * lanes, (arrivals.n_rows - CHUNK) * lanes
    for start in range(0, sums.shape[0], size):
        for k in range(0, tail, lanes):
            vectors.store(sums, start + k, vectors.load(sums, start + CHUNK * lanes + k))
            vectors.store(sums, start + CHUNK * lanes + k, vectors.zeros(sums))


@rarely_called
def add_arrivals(arrivals, weight, offset, active_inputs, train, start, n):
    """Add the weights of input spikes, of n steps from `start` on, to the sums of the steps in which they arrive."""
    list_by_input(arrivals, active_inputs.shape[0], train, start, n)
    sums, first, steps = arrivals.sums, arrivals.first, arrivals.offsets
    lanes = VECTOR_BYTES // sums.itemsize
    by_input, offsets, n_columns = weight.reshape(-1), offset.reshape(-1), np.uint64(weight.shape[1])
    # Unsigned numbers, as numba asks of signed ones whether they count from the end.
    for column in range(0, weight.shape[1], lanes):
        base = np.uint64(column * arrivals.n_rows)
        for place in range(active_inputs.shape[0]):
            ahead = np.uint64(active_inputs[min(place + AHEAD, active_inputs.shape[0] - 1)]) * n_columns
            vectors.prefetch(by_input, np.int64(ahead) + column)
            vectors.prefetch(offsets, np.int64(ahead) + column)
            begin, end = np.uint64(first[place]), np.uint64(first[place + 1])
            if begin == end:
                continue
            at = np.uint64(active_inputs[place]) * n_columns + np.uint64(column)
            for lane in range(lanes):
                synapse = at + np.uint64(lane)
                row, w = base + np.uint64(offsets[synapse]), by_input[synapse]
                for s in range(begin, end):
                    sums[row + np.uint64(steps[np.uint64(s)])] += w


def list_by_input(arrivals, n_active, train, start, n):
    """List the steps in which each active input spikes."""
    first, offsets = arrivals.first, arrivals.offsets
    lanes = VECTOR_BYTES // arrivals.sums.itemsize
    for place in range(n_active + 1):
        first[place] = 0
    for s in range(train.first[start], train.first[start + n]):
        first[train.places[s]] += 1
    total = np.uint32(0)
    for place in range(n_active + 1):
        total += first[place]
        first[place] = total
    # Each list is filled from its end, so that `first` ends where the lists begin.
    for step in range(start + n - 1, start - 1, -1):
        for s in range(train.first[step], train.first[step + 1]):
            place = train.places[s]
            first[place] -= np.uint32(1)
            offsets[first[place]] = (step - start) * lanes
