"""Input spikes that arrive after the delay of their synapse.

An input spike adds one weight for each neuron, each to the sum of its step of arrival. Sums are computed ahead, for
CHUNK steps of input at a time. Vectors of neurons follow one another, so their sums stay in the nearest cache. Spikes
are listed by input, so each weight and delay is read once. The weights of active neurons change meanwhile; their sums
are replaced at each step (stdp_run.engines.event.learning.spike_frame).
"""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import rarely_called
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, zeros_for_vectors
from stdp_run.network import Model

CHUNK = 256  # steps


class Arrivals(NamedTuple):
    """The sums of weights that arrive at E neurons in the steps of a chunk and the D steps after it."""

    sums: np.ndarray  # [vectors of neurons, CHUNK + D, lanes], flat
    n_rows: int  # CHUNK + D
    offset: np.ndarray  # uint16 [I, E], from the step of a spike to its sum, in `sums`: delay * lanes + lane
    first: np.ndarray  # uint32 [I + 1], index in `steps` of the first spike of each input
    steps: np.ndarray  # uint32, the step of each spike in the chunk, times the lanes
    spiking: np.ndarray  # uint32 [I], the inputs that spike in the chunk
    weights: np.ndarray  # [I * lanes], weights from these inputs to one vector of neurons
    offsets: np.ndarray  # uint16 [I * lanes], the same part of `offset`


def make_arrivals(model: Model, n_columns: int) -> Arrivals:
    """Return memory for `n_columns` neurons, including the padding of rows."""
    lanes = VECTOR_BYTES // model.weight_dtype.itemsize
    delays = np.zeros((n_columns, model.n_inputs), np.uint16)
    delays[: model.n_exc] = model.delays
    n_rows = CHUNK + int(delays.max())
    return Arrivals(
        sums=zeros_for_vectors(n_columns * n_rows, model.weight_dtype),
        n_rows=n_rows,
        offset=np.ascontiguousarray(delays.T * np.uint16(lanes) + (np.arange(n_columns) % lanes).astype(np.uint16)),
        first=np.zeros(model.n_inputs + 1, np.uint32),
        steps=np.zeros(model.n_inputs * CHUNK, np.uint32),
        spiking=np.zeros(model.n_inputs, np.uint32),
        weights=zeros_for_vectors(model.n_inputs * lanes, model.weight_dtype),
        offsets=zeros_for_vectors(model.n_inputs * lanes, np.uint16),
    )


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def arriving(arrivals, weight, image, t, current):
    """Set current[E] to the sums of the weights of the spikes that arrive in step t."""
    sums, lanes, row = arrivals.sums, VECTOR_BYTES // current.itemsize, t % CHUNK
    if row == 0:
        if t:
            shift_arrivals(arrivals)
        else:
            sums[:] = 0
        if t < image.n_steps:
            add_arrivals(arrivals, weight, image.train, t, min(CHUNK, image.n_steps - t))
    for i in range(0, current.shape[0], lanes):
        at = i * arrivals.n_rows + row * lanes
        vectors.store(current, i, vectors.load(sums, at, sums))
        vectors.store(sums, at, vectors.zeros(sums, sums))


@rarely_called
def shift_arrivals(arrivals):
    """Move the sums of the steps after a chunk to the start of the next chunk. Sums of past steps are 0."""
    sums = arrivals.sums
    lanes = VECTOR_BYTES // sums.itemsize
    size, tail = arrivals.n_rows * lanes, (arrivals.n_rows - CHUNK) * lanes
    for start in range(0, sums.shape[0], size):
        for k in range(0, tail, lanes):
            vectors.store(sums, start + k, vectors.load(sums, start + CHUNK * lanes + k, sums))
            vectors.store(sums, start + CHUNK * lanes + k, vectors.zeros(sums, sums))


@rarely_called
def add_arrivals(arrivals, weight, train, start, n):
    """Add the weights of the input spikes of n steps from `start` to the sums of their steps of arrival."""
    n_spiking = list_by_input(arrivals, train, start, n)
    sums, first, steps = arrivals.sums, arrivals.first, arrivals.steps
    lanes = VECTOR_BYTES // sums.itemsize
    # Unsigned indices: numba checks whether signed ones are negative.
    for column in range(0, weight.shape[1], lanes):
        base = np.uint64(column * arrivals.n_rows)
        for k in range(n_spiking):  # copied first: these reads do not wait for one another
            at = np.int64(arrivals.spiking[k]) * weight.shape[1] + column
            vectors.store(arrivals.weights, np.int64(k) * lanes, vectors.load(weight, at, weight))
            vectors.store(arrivals.offsets, np.int64(k) * lanes, vectors.load(arrivals.offset, at, weight))
        for k in range(n_spiking):
            j = np.uint64(arrivals.spiking[k])
            begin, end = np.uint64(first[j]), np.uint64(first[j + np.uint64(1)])
            for lane in range(lanes):
                synapse = np.uint64(k) * np.uint64(lanes) + np.uint64(lane)
                row, w = base + np.uint64(arrivals.offsets[synapse]), arrivals.weights[synapse]
                for s in range(begin, end):
                    sums[row + np.uint64(steps[np.uint64(s)])] += w


def list_by_input(arrivals, train, start, n):
    """List the inputs that spike in a chunk and the steps of their spikes; return the number of inputs."""
    first, steps = arrivals.first, arrivals.steps
    lanes = VECTOR_BYTES // arrivals.sums.itemsize
    first[:] = 0
    for s in range(train.first[start], train.first[start + n]):
        first[train.ranks[s]] += 1
    total, n_spiking = np.uint32(0), np.uint64(0)
    for j in range(first.shape[0]):
        if first[j]:
            arrivals.spiking[n_spiking] = j
            n_spiking += np.uint64(1)
        total += first[j]
        first[j] = total
    # Each list is filled from its end, which leaves its beginning in `first`.
    for step in range(start + n - 1, start - 1, -1):
        for s in range(train.first[step], train.first[step + 1]):
            j = train.ranks[s]
            first[j] -= np.uint32(1)
            steps[first[j]] = (step - start) * lanes
    return n_spiking


def is_age(active, index, age):
    """Return for a block of synapses, from `index` on, whether their delay is `age` steps."""
    return vectors.load(active.delays, index, BLOCK) == age


def row_ago(memory, t, age):
    """Return the index, in the rule's ring buffer, of the presynaptic traces of step t - `age`."""
    row = (t + memory.turn[0]) % memory.n_rows - age
    return (row + memory.n_rows if row < 0 else row) * memory.pre.shape[0]


PROMPT = {
    "n_ages": lambda memory: 1,
    "is_age": lambda active, index, age: True,
    "age_of": lambda active, index: 0,
    "row_ago": lambda memory, t, age: 0,
}
DELAYED = {
    "n_ages": lambda memory: memory.n_rows,
    "is_age": is_age,
    "age_of": lambda active, index: np.int64(active.delays[index]),
    "row_ago": row_ago,
}
