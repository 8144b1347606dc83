"""What takes the place of a rule's implementation while learning is off: it changes nothing."""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import BLOCK, zeros_for_vectors
from stdp_run.engines.event.plasticity.implementation import IntervalFunctions


class ActiveWeights(NamedTuple):
    """The weights of the active neurons, C in whole blocks, from I inputs; what no image needs is never touched."""

    own: np.ndarray  # [C * I] weights of active inputs: block of active neurons, input, active neuron


def allocate(n_inputs: int, n_columns: int, dtype: np.dtype) -> ActiveWeights:
    """Return memory for one thread."""
    return ActiveWeights(zeros_for_vectors(n_columns * n_inputs, dtype))


def start(p, memory, n_active_inputs, n_steps):
    pass


def n_first_active(memory):
    return 0


def is_first_active(memory, i):
    return False


def join(p, memory, weight, active_inputs, joining, n_active):
    for f in range(joining.shape[0]):
        i, place = joining[f], n_active + f
        first = place // BLOCK * BLOCK * weight.shape[0]
        if place % BLOCK == 0:
            memory.own[first : first + active_inputs.shape[0] * BLOCK] = 0
        at = first + place % BLOCK
        for k in range(active_inputs.shape[0]):
            memory.own[at + k * BLOCK] = weight[active_inputs[k], i]


def scaled(memory, current, at):
    return current


def learn(p, memory, weight, active_inputs, step, active_neurons, fired, any_fires):
    pass


def leave(p, memory, weight, active_inputs, active_neurons):
    pass


FUNCTIONS = IntervalFunctions(start, n_first_active, is_first_active, join, scaled, learn, leave)
