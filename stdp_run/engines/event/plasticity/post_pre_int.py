"""post_pre_int, compiled; stdp_run.rules.post_pre_int has the equations.

Only neurons whose trace y is not 0 yet, and those that fire, have their synapses visited.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.encoding import ROUNDING, philox
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.plasticity.implementation import Implementation, StepwiseFunctions

rule = Bound("rule")


class IntMemory(NamedTuple):
    """What the rule works with, E neurons and I inputs; all of it is void between images."""

    x: np.ndarray  # [I] int32 presynaptic trace, by place in the list of active inputs
    pre: np.ndarray  # [I] int32, 1 where that input spikes in this step
    y: np.ndarray  # [E] int32 postsynaptic trace
    post: np.ndarray  # [E] int32, 1 where that neuron spikes in this step
    live: np.ndarray  # [E] int32, the neurons with a trace
    n_live: np.ndarray  # [1]


def allocate(rule_class: Any, p: Any, weight: np.ndarray, n_exc: int) -> IntMemory:
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count."""
    # The reference clamps all weights at the first step; later on only those that changed can be out of bounds.
    np.clip(weight[:, :n_exc], p.w_min, p.w_max, out=weight[:, :n_exc])
    x, pre = (np.zeros(len(weight), np.int32) for _ in range(2))
    y, post, live = (np.zeros(n_exc, np.int32) for _ in range(3))
    return IntMemory(x, pre, y, post, live, np.zeros(1, np.int32))


def start(p, memory, weight, image):
    """Start an image: no traces."""
    memory.x[:] = 0
    memory.y[:] = 0
    memory.n_live[0] = 0


def learn(p, memory, weight, theta, step, fired):
    """Advance a step: traces, weight changes at the spikes, halving, clamp."""
    spikes, active_inputs = step.spikes, step.image.active_inputs
    for s in range(spikes.shape[0]):
        memory.pre[spikes[s]] = 1
    for k in range(active_inputs.shape[0]):
        memory.x[k] = rule.trace(p, memory.x[k], memory.pre[k])
    for f in range(fired.shape[0]):
        i = fired[f]
        memory.post[i] = 1
        if memory.y[i] == 0:
            memory.live[memory.n_live[0]] = i
            memory.n_live[0] += 1

    kept = 0
    for r in range(memory.n_live[0]):
        i = memory.live[r]
        memory.y[i] = rule.trace(p, memory.y[i], memory.post[i])
        if memory.post[i] != 0:
            for k in range(active_inputs.shape[0]):
                if memory.x[k] != 0 or memory.pre[k] != 0:
                    change_weight(p, memory, weight, step, active_inputs[k], i, k)
        elif memory.y[i] != 0:
            for s in range(spikes.shape[0]):
                change_weight(p, memory, weight, step, active_inputs[spikes[s]], i, spikes[s])
        if memory.y[i] != 0 or memory.post[i] != 0:
            memory.live[kept] = i
            kept += 1
    memory.n_live[0] = kept

    for i in range(memory.y.shape[0]):
        if theta[i] > p.max_threshold:
            halve_row(p, weight, i)
    for r in range(kept):
        i = memory.live[r]
        if memory.post[i] != 0:
            for k in range(active_inputs.shape[0]):
                clamp_weight(p, weight, active_inputs[k], i)
        else:
            for s in range(spikes.shape[0]):
                clamp_weight(p, weight, active_inputs[spikes[s]], i)

    for s in range(spikes.shape[0]):
        memory.pre[spikes[s]] = 0
    for f in range(fired.shape[0]):
        memory.post[fired[f]] = 0


def change_weight(p, memory, weight, step, j, i, k):
    """Add the rounded changes of synapse (i, j), whose input stands at place k of the list; not clamped yet."""
    synapse, image = np.int64(i) * weight.shape[0] + j, step.image
    word_pre, word_post, _, _ = philox(
        np.int64(step.number), synapse, image.index, image.presentation, image.seed, ROUNDING
    )
    if memory.pre[k] != 0:
        weight[j, i] += rule.rounded(p, p.nu0 * memory.y[i], word_pre)
    if memory.post[i] != 0:
        weight[j, i] += rule.rounded(p, p.nu1 * memory.x[k], word_post)


def halve_row(p, weight, i):
    """Halve all weights of neuron i, and clamp them."""
    for j in range(weight.shape[0]):
        weight[j, i] >>= 1
        clamp_weight(p, weight, j, i)


def clamp_weight(p, weight, j, i):
    """Clamp the weight of synapse (i, j)."""
    weight[j, i] = min(max(weight[j, i], p.w_min), p.w_max)


IMPLEMENTATION = Implementation(allocate, StepwiseFunctions(learn, start))
