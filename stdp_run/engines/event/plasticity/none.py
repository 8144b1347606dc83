"""What takes the place of a rule's implementation while learning is off: it changes nothing."""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event.plasticity.implementation import (
    ConductanceFunctions,
    IntervalFunctions,
    StepwiseFunctions,
    nothing,
)
from stdp_run.engines.event.vectors import BLOCK, zeros_for_vectors


class ActiveWeights(NamedTuple):
    """The weights of the active neurons, C in whole blocks, from I inputs; what no image needs is never touched."""

    active_weights: np.ndarray  # [C * I] block of active neurons, active input, active neuron


def allocate(n_inputs: int, n_columns: int, dtype: np.dtype) -> ActiveWeights:
    """Return memory for one thread."""
    return ActiveWeights(zeros_for_vectors(n_columns * n_inputs, dtype))


def join(p, memory, weight, active_inputs, joining, n_active):
    """Let neurons become active, behind those that are: copy their weights."""
    for f in range(joining.shape[0]):
        i, place = joining[f], n_active + f
        first = place // BLOCK * BLOCK * weight.shape[0]
        if place % BLOCK == 0:
            memory.active_weights[first : first + active_inputs.shape[0] * BLOCK] = 0
        at = first + place % BLOCK
        for k in range(active_inputs.shape[0]):
            memory.active_weights[at + k * BLOCK] = weight[active_inputs[k], i]


IN_INTERVALS = IntervalFunctions(join, nothing)
STEPWISE = StepwiseFunctions(nothing)
WITH_CONDUCTANCES = ConductanceFunctions()
