"""What the event engine asks of the compiled implementation of a learning rule.

All functions but `allocate` and `persistent` are plain functions that the engine compiles; `Bound("rule")` gives them
the rule's own elementwise functions. They share these arguments:

    p               the rule's constants, a named tuple in the types of the kernel
    memory          what `allocate` returned, a named tuple of arrays
    weight          [I, E] the weights, input-major; E counts the padding of rows to whole vectors
    active_inputs   uint32 [A] the inputs that can spike in this image, ascending; others are silent
    step            EventStep: its number, the input spikes as places in `active_inputs`, the learning rate, ...
    active_neurons  int32 [C] the active neurons by place, in the order in which they became active; blocks of BLOCK

stdp_run/engines/event/README.md says how to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


def _nothing(memory: Any) -> dict[str, np.ndarray]:
    return {}


@dataclass(frozen=True)
class StepwiseFunctions:
    """What presents images with every neuron advanced at every step, and any weight may change at any step."""

    begin: Callable  # (p, memory, weight): at the start of an image
    correct_currents: Callable  # (memory, current [E]): from currents by the weights as they lie to true ones
    learn: Callable  # (p, memory, weight, theta [E], active_inputs, step, fired): `fired`, int32, lists the neurons
    finish: Callable  # (memory, weight): at the end of an image, after which the weights are true as they lie


@dataclass(frozen=True)
class IntervalFunctions:
    """What presents images in intervals: a neuron's weights change only while it is active.

    `memory.own` holds the weights of active neurons, [C * I]: block of neurons, input, neuron of the block.
    """

    start: Callable  # (p, memory, n_active_inputs, n_steps): at the start of an image
    n_first_active: Callable  # (memory) -> how many neurons have to be active from the first step on
    is_first_active: Callable  # (memory, i) -> whether neuron i is one of them
    join: Callable  # (p, memory, weight, active_inputs, joining, n_active): neurons become active after n_active others
    scaled: Callable  # (memory, current, at) -> true currents of the block at place `at`, from those by `memory.own`
    learn: Callable  # (p, memory, weight, active_inputs, step, active_neurons, fired [C] of 0 or 1, any_fires)
    leave: Callable  # (p, memory, weight, active_inputs, active_neurons): at the end of an image


@dataclass(frozen=True)
class ReplayFunctions:
    """What applies the rule alone to given spikes (stdp_run.replay); arguments as above, all inputs are active."""

    begin: Callable  # (p, memory, weight)
    learn: Callable  # (p, memory, weight, theta, active_inputs, step, fired)
    current_weight: Callable  # (memory, weight, j, i) -> the true weight of the synapse from input j to neuron i


@dataclass(frozen=True)
class Implementation:
    """The compiled implementation of a rule. With `interval` it is the faster kernel that presents its images."""

    allocate: Callable  # (rule, p, weight, n_exc) -> memory; n_exc columns of the weights are neurons, the rest padding
    functions: StepwiseFunctions | IntervalFunctions
    replay: ReplayFunctions
    persistent: Callable = _nothing  # (memory) -> by name the arrays that last from image to image (`Rule.persistent`)
