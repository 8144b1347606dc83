"""What takes the place of a rule while learning is off: it has the contenders' weights at hand, and changes nothing."""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import BLOCK, zeros_for_vectors

LEARNS = False


class FrozenMemory(NamedTuple):
    """The weights of the contenders, C in whole blocks, from I inputs; what no image needs is never touched."""

    own: np.ndarray  # [C * I] weights of inputs that can spike: block of contenders, input, contender
    n_inputs: np.ndarray  # [1]


def make_frozen(n_inputs: int, n_columns: int, dtype) -> FrozenMemory:
    """Return memory for one thread."""
    return FrozenMemory(zeros_for_vectors(n_columns * n_inputs, dtype), np.array([n_inputs]))


# ------------------------------------------------------------------------------------------------------------------
# Compiled code: what a rule does, as in stdp_run.engines.event.plasticity.pair.


def start(p, memory, n_active, n_steps):
    pass


def n_unsettled(memory):
    return 0


def is_unsettled(memory, i):
    return False


def join(p, memory, weight, active, n_active, neurons, n_neurons, n_contenders):
    for f in range(n_neurons):
        i, lane = neurons[f], n_contenders + f
        first = lane // BLOCK * BLOCK * memory.n_inputs[0]
        if lane % BLOCK == 0:
            memory.own[first : first + n_active * BLOCK] = 0
        at = first + lane % BLOCK
        for k in range(n_active):
            memory.own[at + k * BLOCK] = weight[active[k], i]


def scaled(memory, current, at):
    return current


def learn_contenders(
    p, rate, instant, memory, weight, active, n_active, spikes, n_spikes, fired, neuron_of, n_contenders, any_fires
):
    pass


def leave(p, memory, weight, active, n_active, neuron_of, n_contenders):
    pass


EVENT_FUNCTIONS = (start, n_unsettled, is_unsettled, join, scaled, learn_contenders, leave)
