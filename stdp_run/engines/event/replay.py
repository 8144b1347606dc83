"""A learning rule alone, applied to given spike trains by its compiled implementation (stdp_run.replay)."""

from functools import cache
from typing import Any

import numpy as np

from stdp_run.engines.event.engine import compile_errors_named
from stdp_run.engines.event.jit import Bound, Kernel, methods, namespace
from stdp_run.engines.event.plasticity import Implementation, IntervalFunctions, implementation_of
from stdp_run.engines.event.presentation import EventStep, Image
from stdp_run.engines.event.vectors import VECTOR_BYTES, zeros_for_vectors
from stdp_run.parameters import cast
from stdp_run.rules.base import Rule

plasticity = Bound("plasticity")


def replay_on_event_engine(
    rule: type[Rule],
    parameters: Any,
    pre: np.ndarray,
    post: np.ndarray,
    weight: np.ndarray,
    threshold: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Return the weights after every step, [T, E, I], of one image with the given spikes.

    pre[T, I] and post[T, E] are spikes, 0 or 1; `weight` [E, I] before the first step has the type to compute in;
    threshold[T, E] is each neuron's after that step's neuron update, which only integer rules look at; `seed` is the
    key of the stochastic rounding. The rule has a compiled implementation; `parameters` are its constants.
    """
    implementation = implementation_of(rule)
    assert implementation is not None, f"{rule} was chosen for the event engine"
    p, input_major = cast(parameters, weight.dtype.type), np.ascontiguousarray(weight.T)
    n_inputs, n_exc = input_major.shape
    memory = implementation.allocate(rule, p, input_major, n_exc)
    persistent = implementation.persistent(memory)
    for name, array in rule.persistent(p, weight).items():
        persistent[name][:] = array
    inputs, neurons = np.arange(n_inputs, dtype=np.uint32), np.arange(n_exc, dtype=np.int32)
    image = Image(len(pre), inputs, np.zeros(n_exc, np.int32), 1.0, max_learners=0, index=0, presentation=0, seed=seed)
    history = np.empty((len(pre), n_exc, n_inputs), weight.dtype)
    kernel = _compile_replay(rule, implementation)
    in_intervals = isinstance(implementation.functions, IntervalFunctions)
    with compile_errors_named(rule):
        for t in range(len(pre)):
            step = EventStep(t, np.flatnonzero(pre[t]).astype(np.uint32), image)
            fired = np.flatnonzero(post[t]).astype(np.int32)
            if in_intervals:
                fired = zeros_for_vectors(n_exc + VECTOR_BYTES, weight.dtype)
                fired[:n_exc] = post[t]
            kernel(p, memory, input_major, threshold[t], step, fired, neurons, history)
    return history


@cache
def _compile_replay(rule: type[Rule], implementation: Implementation) -> Kernel:
    functions = implementation.functions
    kernel = replay_in_intervals if isinstance(functions, IntervalFunctions) else replay_stepwise
    return Kernel(kernel, {"plasticity": namespace(vars(functions), {"rule": methods(rule)})})


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def replay_stepwise(p, memory, weight, theta, step, fired, neurons, history):
    """Apply the rule to a step, where `fired` lists neurons, and write the weights to history[T, E, I]."""
    if step.number == 0:
        plasticity.start(p, memory, weight, step.image)
    plasticity.learn(p, memory, weight, theta, step, fired)
    note_weights(memory, weight, history[step.number])


def replay_in_intervals(p, memory, weight, theta, step, fired, neurons, history):
    """The same, where `fired` is 0 or 1 for each neuron; all of them are active."""
    inputs = step.image.active_inputs
    if step.number == 0:
        plasticity.start(p, memory, step.image)
        plasticity.join(p, memory, weight, inputs, neurons, 0)
    any_fires = False
    for i in range(neurons.shape[0]):
        any_fires |= fired[i] != 0
    plasticity.learn(p, memory, weight, step, neurons, fired, any_fires)
    note_weights(memory, weight, history[step.number])


def note_weights(memory, weight, result):
    """Write the true weights to result[E, I]."""
    for i in range(result.shape[0]):
        for j in range(result.shape[1]):
            result[i, j] = plasticity.true_weight(memory, weight, j, i)
