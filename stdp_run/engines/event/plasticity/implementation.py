"""What the event engine asks of the compiled implementation of a learning rule.

All functions but `allocate` and `persistent` are plain functions that the engine compiles; `Bound("rule")` gives them
the rule's own elementwise functions. They share these arguments:

    p               the rule's constants, a named tuple in the types of the kernel
    memory          what `allocate` returned, a named tuple of arrays
    weight          [I, E] the weights, input-major; E counts the padding of rows to whole vectors
    image, step     Image, EventStep (presentation.py)
    active_inputs   uint32 [A] the inputs that can spike in this image, ascending; others are silent
    active_neurons  int32 [C] the active neurons by place, in the order in which they became active; blocks of BLOCK

stdp_run/engines/event/README.md says how to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


def nothing(*arguments):
    """Do nothing."""


def _never(memory, i):
    return False


def _stored_weight(memory, weight, j, i):
    return weight[j, i]


def _unchanged(memory, current, at):
    return current


def _nothing_kept(memory: Any) -> dict[str, np.ndarray]:
    return {}


@dataclass(frozen=True)
class StepwiseFunctions:
    """What presents images with every neuron advanced at every step, and any weight may change at any step."""

    learn: Callable  # (p, memory, weight, theta [E], step, fired): `fired`, int32, lists the neurons that spike
    start: Callable = nothing  # (p, memory, weight, image): at the start of an image
    correct_currents: Callable = nothing  # (memory, current [E], spikes): from those by the stored weights to true ones
    finish: Callable = nothing  # (memory, weight, image): at its end, after which the stored weights are true
    true_weight: Callable = _stored_weight  # (memory, weight, j, i) -> of the synapse from input j to neuron i


@dataclass(frozen=True)
class IntervalFunctions:
    """What presents images in intervals: a neuron's weights change only while it is active.

    `memory.active_weights` holds the weights of active neurons, [C * I]: block of neurons, active input, neuron of the
    block.
    """

    join: Callable  # (p, memory, weight, active_inputs, joining, n_active): neurons become active after n_active others
    learn: Callable  # (p, memory, weight, step, active_neurons, fired [C] of 0 or 1, any_fires)
    start: Callable = nothing  # (p, memory, image): at the start of an image
    is_first_active: Callable = _never  # (memory, i) -> whether neuron i has to be active from the first step on
    true_currents: Callable = _unchanged  # (memory, current, at): of a block of neurons, from those by active_weights
    finish: Callable = nothing  # (p, memory, weight, active_inputs, active_neurons): at the end of an image
    true_weight: Callable = nothing  # as above, for replays of the rule: every neuron and every input is active


@dataclass(frozen=True)
class ConductanceFunctions:
    """What learns in a network of conductances, whose input spikes arrive with delays (conductance.py).

    The memory has `cells`, `delays` and, where it learns, the weights once more; `arrivals` are those of
    delayed_input.py.
    """

    updated: Callable = nothing  # (p, rate, w, x, y, y2, pre, post) -> w of a synapse after this step's spikes
    start: Callable = nothing  # (p, memory, weight, image): at the start of an image
    arrive: Callable = nothing  # (memory, step, arrivals): set what arrives at neurons whose weights may change
    learn: Callable = nothing  # (p, memory, step, train, fired, is_last): `fired`, int32, lists the neurons that spike
    rest: Callable = nothing  # (p, memory, t, n): from step t on, n steps without any spike
    finish: Callable = nothing  # (p, memory, weight, n_steps): at the end of an image, after which `weight` is true


Functions = StepwiseFunctions | IntervalFunctions | ConductanceFunctions


@dataclass(frozen=True)
class Implementation:
    """The compiled implementation of a rule; `IntervalFunctions` are the faster ones."""

    allocate: Callable  # (rule, p, weight, n_exc) -> memory; n_exc columns of the weights are neurons, the rest padding
    functions: StepwiseFunctions | IntervalFunctions
    persistent: Callable = _nothing_kept  # (memory) -> by name the arrays that last from image to image
    with_conductances: ConductanceFunctions | None = None  # None: it does not run with neurons that have conductances
