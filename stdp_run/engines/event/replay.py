"""A learning rule alone, applied to given spike trains by its compiled implementation (stdp_run.replay)."""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.engines.event.engine import compile_errors_named
from stdp_run.engines.event.jit import Bound, Kernel, Namespace, methods, once, specialise
from stdp_run.engines.event.plasticity import implementation_of
from stdp_run.engines.event.presentation import EventStep
from stdp_run.parameters import cast
from stdp_run.rules.base import Rule

plasticity = Bound("plasticity")


class ReplayArrays(NamedTuple):
    """The spikes, the weights after each step, and working memory; T steps, I inputs, E neurons."""

    pre: np.ndarray  # [T, I] uint8
    post: np.ndarray  # [T, E] uint8
    threshold: np.ndarray  # [T, E]
    history: np.ndarray  # [T, E, I]
    active_inputs: np.ndarray  # [I] uint32: all of them
    spikes: np.ndarray  # [I] uint32, the inputs that spike in a step
    fired: np.ndarray  # [E] int32, the neurons that do


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
    arrays = ReplayArrays(
        np.ascontiguousarray(pre, np.uint8),
        np.ascontiguousarray(post, np.uint8),
        np.ascontiguousarray(threshold),
        np.empty((len(pre), n_exc, n_inputs), weight.dtype),
        np.arange(n_inputs, dtype=np.uint32),
        np.zeros(n_inputs, np.uint32),
        np.zeros(n_exc, np.int32),
    )
    with compile_errors_named(rule):
        _compile_replay(rule)(p, memory, input_major, arrays, seed)
    return arrays.history


@once
def _compile_replay(rule: type[Rule]) -> Kernel:
    functions: Any = implementation_of(rule).replay  # type: ignore[union-attr]  # checked by its caller
    bindings = {"rule": methods("rule", rule)}
    compiled = {name: specialise(function, bindings) for name, function in vars(functions).items()}
    return Kernel(replay_steps, {"plasticity": Namespace("plasticity", compiled)})


def replay_steps(p_rule, memory, weight, arrays, seed):
    """Apply the rule to the spikes step by step, and write the weights after each step to the history. Compiled."""
    pre, post, history, threshold = arrays.pre, arrays.post, arrays.history, arrays.threshold
    spikes, fired = arrays.spikes, arrays.fired
    n_steps, n_inputs = pre.shape
    n_exc = post.shape[1]
    rate = weight[0, 0] * 0 + 1
    plasticity.begin(p_rule, memory, weight)
    for t in range(n_steps):
        n_spikes = 0
        for j in range(n_inputs):
            if pre[t, j]:
                spikes[n_spikes] = j
                n_spikes += 1
        n_fired = 0
        for i in range(n_exc):
            if post[t, i]:
                fired[n_fired] = i
                n_fired += 1
        step = EventStep(t, t == n_steps - 1, rate, spikes[:n_spikes], 0, 0, seed)
        plasticity.learn(p_rule, memory, weight, threshold[t], arrays.active_inputs, step, fired[:n_fired])
        for i in range(n_exc):
            for j in range(n_inputs):
                history[t, i, j] = plasticity.current_weight(memory, weight, j, i)
