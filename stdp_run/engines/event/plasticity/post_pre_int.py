"""The compiled half of post_pre_int; stdp_run.rules.post_pre_int has the equations."""

from typing import NamedTuple

import numpy as np

from stdp_run.encoding import ROUNDING, philox

# For the event engine: weight[I, E]. Only neurons whose trace y is not 0 yet, and those that fire, have their
# synapses visited.


class IntMemory(NamedTuple):
    """What the event engine keeps for the rule, E neurons and I inputs; all of it is void between images."""

    x: np.ndarray  # [I] int32 presynaptic trace, by place in the list of pixels that are not black
    pre: np.ndarray  # [I] int32, 1 where that input spikes in this step
    y: np.ndarray  # [E] int32 postsynaptic trace
    post: np.ndarray  # [E] int32, 1 where that neuron spikes in this step
    live: np.ndarray  # [E] int32, the neurons with a trace
    n_live: np.ndarray  # [1]


def allocate(rule, p, weight, n_exc):
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count."""
    n_inputs = len(weight)
    # The reference clamps all weights at the first step; later on only those that changed can be out of bounds.
    np.clip(weight[:, :n_exc], p.w_min, p.w_max, out=weight[:, :n_exc])
    return IntMemory(
        x=np.zeros(n_inputs, np.int32),
        pre=np.zeros(n_inputs, np.int32),
        y=np.zeros(n_exc, np.int32),
        post=np.zeros(n_exc, np.int32),
        live=np.zeros(n_exc, np.int32),
        n_live=np.zeros(1, np.int32),
    )


def begin(p, memory, weight):
    """Start an image: no traces."""
    memory.x[:] = 0
    memory.y[:] = 0
    memory.n_live[0] = 0


def correct_current(p, memory, weight, current, spikes, n_spikes):
    """The weights are true as they lie."""


def learn(p, rate, instant, weight, theta, memory, active, n_active, spikes, n_spikes, fired, n_fired):
    """Advance a step: traces, weight changes at the spikes, halving, clamp."""
    for s in range(n_spikes):
        memory.pre[spikes[s]] = 1
    for k in range(n_active):
        memory.x[k] = rule.trace(p, memory.x[k], memory.pre[k])
    for f in range(n_fired):
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
            for k in range(n_active):
                if memory.x[k] != 0 or memory.pre[k] != 0:
                    change_weight(p, instant, memory, weight, active[k], i, k)
        elif memory.y[i] != 0:
            for s in range(n_spikes):
                change_weight(p, instant, memory, weight, active[spikes[s]], i, spikes[s])
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
            for k in range(n_active):
                clamp_weight(p, weight, active[k], i)
        else:
            for s in range(n_spikes):
                clamp_weight(p, weight, active[spikes[s]], i)

    for s in range(n_spikes):
        memory.pre[spikes[s]] = 0
    for f in range(n_fired):
        memory.post[fired[f]] = 0


def change_weight(p, instant, memory, weight, j, i, k):
    """Add the rounded changes of synapse (i, j), whose input stands at place k of the list; not clamped yet."""
    synapse = np.int64(i) * weight.shape[0] + j
    word_pre, word_post, _, _ = philox(
        np.int64(instant.step), synapse, instant.image_index, instant.epoch, instant.seed, ROUNDING
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


def finish(p, memory, weight, active, n_active):
    """End an image: nothing is pending."""


def current_weight(p, memory, weight, j, i):
    """Return the true weight of synapse (i, j)."""
    return weight[j, i]


EVENT_FUNCTIONS = (begin, correct_current, learn, change_weight, halve_row, clamp_weight, finish, current_weight)
