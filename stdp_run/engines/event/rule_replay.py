"""Applies the compiled implementation of a learning rule to given spike trains (stdp_run.replay)."""

from functools import cache
from typing import Any

import numpy as np

from stdp_run.engines.base import Array
from stdp_run.engines.event.active import ActiveNeurons
from stdp_run.engines.event.delays import PROMPT
from stdp_run.engines.event.engine import compile_errors_named
from stdp_run.engines.event.jit import Bound, Kernel, methods, namespace
from stdp_run.engines.event.learning import Implementation, implementation_of
from stdp_run.engines.event.presentation import EventStep, Image
from stdp_run.engines.event.sampling import make_trains, train_of
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, zeros_for_vectors
from stdp_run.parameters import cast
from stdp_run.rules.base import Rule

implementation = Bound("implementation")


def replay_on_event_engine(
    rule: type[Rule], parameters: Any, pre: Array, post: Array, weight: Array, threshold: Array, seed: int
) -> Array:
    """Return the weights after every step, [T, E, I]; arguments as in `stdp_run.replay`, checked and typed."""
    compiled = implementation_of(rule)
    assert compiled is not None, f"{rule} was chosen for the event engine"
    p, (n_exc, n_inputs), dtype = cast(parameters, weight.dtype.type), weight.shape, weight.dtype
    lanes = VECTOR_BYTES // dtype.itemsize
    n_columns = -(-n_exc // lanes) * lanes
    input_major = zeros_for_vectors((n_inputs, n_columns), dtype)
    input_major[:, :n_exc] = weight.T
    memory = compiled.allocate(rule, p, input_major, n_exc, None)
    for name, array in rule.persistent(p, weight).items():
        compiled.persistent(memory, n_exc)[name][:] = array
    train, spikes = train_of(make_trains(1, len(pre), n_inputs), 0), [np.flatnonzero(each) for each in pre]
    train.first[1:] = np.cumsum([len(each) for each in spikes])
    train.ranks[: train.first[-1]] = np.concatenate(spikes)
    inputs, counts = np.arange(n_inputs, dtype=np.uint32), np.zeros(n_exc, np.int32)
    image = Image(len(pre), 0, inputs, train, counts, 1.0, 0, 0, 0, seed)
    own_weights, empty = zeros_for_vectors(n_columns * n_inputs, dtype), np.zeros((1, 0), np.uint8)
    block = lanes if compiled.whole_vectors else BLOCK
    active = ActiveNeurons(np.arange(n_exc, dtype=np.int32), own_weights, empty[0], empty, n_inputs, block)
    history = np.empty((len(pre), n_exc, n_inputs), dtype)
    kernel = _compile_replay(rule, compiled)
    with compile_errors_named(rule):
        for t in range(len(pre)):
            step = EventStep(t, t == len(pre) - 1, train.ranks[train.first[t] : train.first[t + 1]], image)
            fired = np.flatnonzero(post[t]).astype(np.int32)
            kernel(p, memory, input_major, threshold[t], step, active, fired, history)
    return history


@cache
def _compile_replay(rule: type[Rule], compiled: Implementation) -> Kernel:
    bindings = {"rule": methods(rule), "synapse": namespace(PROMPT, {})}
    return Kernel(replay_step, {"implementation": namespace(compiled.functions(), bindings)})


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def replay_step(p, memory, weight, theta, step, active, fired, history):
    """Apply the rule to one step with all neurons active; write the weights to history[T, E, I]."""
    if step.number == 0:
        implementation.start(p, memory, weight, step.image)
        for slot in range(active.neuron_of.shape[0]):
            implementation.join(p, memory, weight, step.image, active, slot)
    implementation.learn(p, memory, weight, theta, step, active, fired)
    weights = history[step.number]
    for i in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            weights[i, j] = implementation.true_weight(memory, weight, active, j, i)
