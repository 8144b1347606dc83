"""Rows of weights of meta_nearest_online during an image: those of recent neurons apart, all with a scale.

The true weights are what is stored times `scale`. Those of recent neurons from active inputs lie side by side in
`recent_weights`, a vector of neurons after the other, and are brought back at the end of the image, when all rows are
folded: between images the weights are all there is to know.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event.jit import rarely_called
from stdp_run.engines.event.vectors import VECTOR_BYTES


class Rows(NamedTuple):
    """What is known of each neuron's row of weights, N neurons in whole vectors; zeros where there is no neuron."""

    y: np.ndarray  # [N] float64, postsynaptic trace
    target: np.ndarray  # [N] float64, mean weight
    total: np.ndarray  # [N] float64, sum over the row of the stored weights
    inputs_per_total: np.ndarray  # [N] float64
    trace: np.ndarray  # [N] y in the type of the weights; of recent neurons
    previous_scale: np.ndarray  # [N] before this step's update
    scale: np.ndarray  # [N] after it


class MetaMemory(NamedTuple):
    """What the rule works with, E neurons, C places of recent neurons (E in whole vectors) and I inputs."""

    x: np.ndarray  # [I and a vector] presynaptic trace, by place in the list of active inputs
    pre: np.ndarray  # [I and a vector] 1 where that input spikes in this step
    working: np.ndarray  # [I and a vector]
    quiet: Rows  # by neuron; y and target of all, the rest void for recent neurons, whose scale here is 0
    recent: Rows  # by place
    target_mean: np.ndarray  # [1] float64, lasts from image to image, like y and target
    post: np.ndarray  # [C] 1 where that neuron spikes in this step
    recent_post: np.ndarray  # [C] the same by place
    current: np.ndarray  # [C] by place
    neuron_of: np.ndarray  # [C] int32, which neuron is at a place
    place_of: np.ndarray  # [E] int32, -1 where it is quiet
    n_recent: np.ndarray  # [1] int64
    recent_weights: np.ndarray  # [C * I] stored weights: vector of recent neurons, active input, neuron of the vector
    sums: np.ndarray  # [BLOCK] float64
    largest_quiet_trace: float
    n_inputs: int


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def lanes_of(memory):
    """Return how many weights a vector has."""
    return VECTOR_BYTES // memory.x.itemsize


def weight_at(memory, place, k):
    """Return where in `recent_weights` the weight of the k-th active input to the neuron at a place is."""
    lanes = lanes_of(memory)
    return (place // lanes * memory.n_inputs + k) * lanes + place % lanes


@rarely_called
def take_rows(memory, weight, active_inputs, n_recent):
    """Make the first `n_recent` neurons of the list recent, and no other."""
    for place in range(n_recent):
        take_place(memory, active_inputs, place, memory.neuron_of[place])
    memory.n_recent[0] = n_recent
    lanes, n_inputs = lanes_of(memory), memory.n_inputs
    for k in range(active_inputs.shape[0]):  # row by row, in the order in which they lie in the memory
        row = weight[active_inputs[k]]
        for at in range(0, n_recent, lanes):
            first = (at // lanes * n_inputs + k) * lanes
            for place in range(at, min(at + lanes, n_recent)):
                memory.recent_weights[first + place - at] = row[memory.neuron_of[place]]


def take_place(memory, active_inputs, place, i):
    """Put neuron i, without its weights, at a place; the first of a vector clears all of it."""
    quiet, recent, lanes = memory.quiet, memory.recent, lanes_of(memory)
    if place % lanes == 0:
        first = place * memory.n_inputs
        memory.recent_weights[first : first + active_inputs.shape[0] * lanes] = 0
        for rows in (recent.y, recent.target, recent.total):
            rows[place : place + lanes] = 0
        for rows in (recent.trace, recent.previous_scale, recent.scale):
            rows[place : place + lanes] = 0
    memory.neuron_of[place] = i
    memory.place_of[i] = place
    recent.y[place] = quiet.y[i]
    recent.trace[place] = quiet.y[i]
    recent.target[place] = quiet.target[i]
    recent.total[place] = quiet.total[i]
    recent.previous_scale[place] = quiet.previous_scale[i]
    recent.scale[place] = quiet.scale[i]
    quiet.scale[i] = 0


@rarely_called
def join(memory, weight, active_inputs, i):
    """Make a quiet neuron recent."""
    place = memory.n_recent[0]
    memory.n_recent[0] += 1
    take_place(memory, active_inputs, place, i)
    for k in range(active_inputs.shape[0]):
        memory.recent_weights[weight_at(memory, place, k)] = weight[active_inputs[k], i]


@rarely_called
def release(memory, weight, active_inputs):
    """Bring the weights of all recent neurons back, unscaled; none is recent any more, though the list remains."""
    lanes, n_inputs, n_recent = lanes_of(memory), memory.n_inputs, memory.n_recent[0]
    for k in range(active_inputs.shape[0]):
        row = weight[active_inputs[k]]
        for at in range(0, n_recent, lanes):
            first = (at // lanes * n_inputs + k) * lanes
            for place in range(at, min(at + lanes, n_recent)):
                row[memory.neuron_of[place]] = memory.recent_weights[first + place - at]
    for place in range(n_recent):
        i = memory.neuron_of[place]
        memory.quiet.scale[i] = memory.recent.scale[place]
        memory.place_of[i] = -1
    memory.n_recent[0] = 0


@rarely_called
def fold(memory, weight):
    """Multiply the scales into the weights and add the rows up anew, input by input; no neuron is recent."""
    scale, total, n_exc = memory.quiet.scale, memory.quiet.total, memory.place_of.shape[0]
    total[:] = 0
    for j in range(weight.shape[0]):
        for i in range(n_exc):
            weight[j, i] *= scale[i]
            total[i] += weight[j, i]
    for i in range(n_exc):
        scale[i] = 1
        memory.quiet.inputs_per_total[i] = weight.shape[0] / total[i]


def finish(memory, weight, image):
    """End an image: all weights are stored as they are."""
    release(memory, weight, image.active_inputs)
    fold(memory, weight)


def true_weight(memory, weight, j, i):
    """Return the true weight of synapse (i, j) where all inputs are active."""
    place = memory.place_of[i]
    if place >= 0:
        return memory.recent_weights[weight_at(memory, place, j)] * memory.recent.scale[place]
    return weight[j, i] * memory.quiet.scale[i]
