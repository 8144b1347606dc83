"""The compiled implementation of post_pre_int; stdp_run.rules.post_pre_int has the equations.

Only synapses of active neurons with a trace above 0 change, directly in `weight[I, E]`.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.encoding import ROUNDING, philox
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.learning.implementation import Implementation

rule = Bound("rule")


class IntegerMemory(NamedTuple):
    """Working memory of the rule for E neurons and I inputs; int32, reset with every image."""

    x: np.ndarray  # [I] presynaptic trace, by rank of the active input
    pre: np.ndarray  # [I] 1 where that input spikes in this step
    y: np.ndarray  # [E] postsynaptic trace, by slot
    post: np.ndarray  # [E] 1 where the neuron in that slot spikes in this step


def allocate(rule_class: Any, p: Any, weight: np.ndarray, n_exc: int, longest_delay: int | None) -> IntegerMemory:
    """Return the memory for `weight[I, E]` with `n_exc` neurons; other columns are padding."""
    # The reference clamps all weights at the first step; later only changed ones can be out of bounds.
    np.clip(weight[:, :n_exc], p.w_min, p.w_max, out=weight[:, :n_exc])
    return IntegerMemory(*(np.zeros(n, np.int32) for n in (len(weight), len(weight), n_exc, n_exc)))


def start(p, memory, weight, image):
    """Start an image: reset the traces."""
    memory.x[:] = 0
    memory.y[:] = 0


def learn(p, memory, weight, theta, step, active, fired):
    """Advance a step: traces, weight changes at the spikes, halving, clamp."""
    spikes, active_inputs = step.spikes, step.image.active_inputs
    for s in range(spikes.shape[0]):
        memory.pre[spikes[s]] = 1
    for k in range(active_inputs.shape[0]):
        memory.x[k] = rule.trace(p, memory.x[k], memory.pre[k])
    for f in range(fired.shape[0]):
        memory.post[fired[f]] = 1
    for slot in range(active.neuron_of.shape[0]):
        memory.y[slot] = rule.trace(p, memory.y[slot], memory.post[slot])
        if memory.post[slot] != 0:
            for k in range(active_inputs.shape[0]):
                if memory.x[k] != 0 or memory.pre[k] != 0:
                    change_weight(p, memory, weight, theta, step, active.neuron_of[slot], slot, k)
        elif memory.y[slot] != 0:
            for s in range(spikes.shape[0]):
                change_weight(p, memory, weight, theta, step, active.neuron_of[slot], slot, spikes[s])
    for i in range(memory.y.shape[0]):
        if theta[i] > p.max_threshold:
            for j in range(weight.shape[0]):
                weight[j, i] = min(max(weight[j, i] >> 1, p.w_min), p.w_max)
    for s in range(spikes.shape[0]):
        memory.pre[spikes[s]] = 0
    for f in range(fired.shape[0]):
        memory.post[fired[f]] = 0


def change_weight(p, memory, weight, theta, step, i, slot, k):
    """Change the weight from the k-th active input to neuron i in a slot; a row to be halved is clamped after that."""
    j, image = step.image.active_inputs[k], step.image
    synapse = np.int64(i) * weight.shape[0] + j
    word_pre, word_post, _, _ = philox(
        np.int64(step.number), synapse, image.index, image.presentation, image.seed, ROUNDING
    )
    if memory.pre[k] != 0:
        weight[j, i] += rule.rounded(p, p.nu0 * memory.y[slot], word_pre)
    if memory.post[slot] != 0:
        weight[j, i] += rule.rounded(p, p.nu1 * memory.x[k], word_post)
    if theta[i] <= p.max_threshold:
        weight[j, i] = min(max(weight[j, i], p.w_min), p.w_max)


IMPLEMENTATION = Implementation(allocate, learn, start=start)
