"""The compiled half of meta_nearest_online; stdp_run.rules.meta_nearest_online has the equations."""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import zeros_for_vectors
from stdp_run.rules.meta_nearest_online import SMALLEST_MEAN

# For the event engine: weight[I, E], true weights are weight[:, i] * scale[i]. Since y lasts, every input spike
# touches every neuron, and the loops over neurons run along rows of weight, where they are vectorised.

SCALE_LIMIT = 64.0


class MetaMemory(NamedTuple):
    """What the event engine keeps for the rule, E neurons and I inputs."""

    x: np.ndarray  # [I] presynaptic trace, by place in the list of pixels that are not black
    pre: np.ndarray  # [I] 1 where that input spikes in this step
    y: np.ndarray  # [E] float64, lasts from image to image, like the next two
    target: np.ndarray  # [E] float64
    target_mean: np.ndarray  # [1] float64
    trace: np.ndarray  # [E] y in the type of the weights
    post: np.ndarray  # [E] 1 where that neuron spikes in this step
    scale: np.ndarray  # [E] before this step's update
    next_scale: np.ndarray  # [E] after it
    inverse: np.ndarray  # [E] 1 / next_scale
    changes: np.ndarray  # [E] of the stored weights of one input
    risen: np.ndarray  # [E] their sum over the inputs of this step
    total: np.ndarray  # [E] float64, sum over the row of the unscaled weights


def allocate(rule, p, weight, n_exc):
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count; the engine fills in what persists."""
    n_inputs = len(weight)
    dtype = weight.dtype
    return MetaMemory(
        x=np.zeros(n_inputs, dtype),
        pre=np.zeros(n_inputs, dtype),
        y=zeros_for_vectors(n_exc, np.float64),
        target=zeros_for_vectors(n_exc, np.float64),
        target_mean=np.zeros(1),
        trace=zeros_for_vectors(n_exc, dtype),
        post=zeros_for_vectors(n_exc, dtype),
        scale=np.ones(n_exc, dtype),
        next_scale=np.ones(n_exc, dtype),
        inverse=np.ones(n_exc, dtype),
        changes=zeros_for_vectors(n_exc, dtype),
        risen=zeros_for_vectors(n_exc, dtype),
        total=zeros_for_vectors(n_exc, np.float64),
    )


def begin(p, memory, weight):
    """Start an image: no presynaptic traces, all scales 1, rows added up."""
    memory.x[:] = 0
    memory.scale[:] = 1
    add_up(memory, weight)


def add_up(memory, weight):
    """Add up every row, input by input."""
    memory.total[:] = 0
    for j in range(weight.shape[0]):
        for i in range(memory.total.shape[0]):
            memory.total[i] += weight[j, i]


def correct_current(p, memory, weight, current, spikes, n_spikes):
    """Turn the currents from unscaled weights into true ones."""
    for i in range(memory.scale.shape[0]):
        current[i] *= memory.scale[i]


def learn(p, rate, instant, weight, theta, memory, active, n_active, spikes, n_spikes, fired, n_fired):
    """Advance a step: traces, targets, scales, then the changes at the spikes."""
    for s in range(n_spikes):
        memory.pre[spikes[s]] = 1
    for k in range(n_active):
        memory.x[k] = rule.pre_trace(p, memory.x[k], memory.pre[k])
    for f in range(n_fired):
        memory.post[fired[f]] = 1
    advance_targets(p, rate, memory)
    set_scales(memory, weight.shape[0])
    for i in range(memory.scale.shape[0]):
        if memory.next_scale[i] == 0:
            restart_row(p, rate, memory, weight, i, active, n_active)

    if n_fired or rule.depresses(p):
        invert(memory.next_scale, memory.inverse)
        memory.risen[:] = 0
        for s in range(n_spikes):
            k = spikes[s]
            row = weight[active[k]]
            row_changes(
                p, rate, row, memory.x[k], memory.scale, memory.inverse, memory.trace, memory.post, memory.changes
            )
            add_changes(row, memory.risen, memory.changes)
        for i in range(memory.total.shape[0]):
            memory.total[i] += memory.risen[i]
    for f in range(n_fired):
        i = fired[f]
        for k in range(n_active):
            if memory.x[k] != 0 and memory.pre[k] == 0:
                j = active[k]
                w = weight[j, i] * memory.scale[i]
                changed = rate * rule.change(p, w, memory.x[k], memory.trace[i], memory.pre[k], memory.post[i])
                changed /= memory.next_scale[i]
                weight[j, i] += changed
                memory.total[i] += changed

    for s in range(n_spikes):
        memory.pre[spikes[s]] = 0
    for f in range(n_fired):
        memory.post[fired[f]] = 0
    far = False
    for i in range(memory.scale.shape[0]):
        scale = memory.next_scale[i]
        if scale == np.inf:
            scale = memory.scale[i] / memory.scale[i]
        memory.scale[i] = scale
        far |= scale > SCALE_LIMIT or scale * SCALE_LIMIT < 1
    if far:
        fold(memory, weight)


def advance_targets(p, rate, memory):
    """Update y, and each neuron's target mean weight from it."""
    n_exc = memory.y.shape[0]
    mean_y = 0.0
    for i in range(n_exc):
        memory.y[i] = rule.post_trace(p, memory.y[i], memory.post[i])
        memory.trace[i] = memory.y[i]
        mean_y += memory.y[i]
    mean_y /= n_exc
    mean_target = 0.0
    for i in range(n_exc):
        memory.target[i] -= rate * p.target_share * p.a_pre * (memory.y[i] - mean_y)
        mean_target += memory.target[i]
    mean_target /= n_exc
    for i in range(n_exc):
        memory.target[i] *= memory.target_mean[0] / mean_target


def set_scales(memory, n_inputs):
    """Set the scale that brings each row's mean weight to its target."""
    for i in range(memory.scale.shape[0]):
        mean = memory.total[i] * memory.scale[i] / n_inputs
        memory.next_scale[i] = memory.scale[i] * (memory.target[i] / max(mean, SMALLEST_MEAN))


def restart_row(p, rate, memory, weight, i, active, n_active):
    """Set the weights of a neuron whose target is 0 to this step's changes alone; a scale of 0 could not be undone.

    Its next scale is infinite until the end of the step, so that the loops over all neurons add nothing to it.
    """
    memory.total[i] = 0
    place = 0
    for j in range(weight.shape[0]):
        changed = memory.scale[i] * 0
        if place < n_active and active[place] == j:
            x, pre = memory.x[place], memory.pre[place]
            w = weight[j, i] * memory.scale[i]
            changed = rate * rule.change(p, w, x, memory.trace[i], pre, memory.post[i])
            place += 1
        weight[j, i] = changed
        memory.total[i] += changed
    memory.scale[i] = 1
    memory.next_scale[i] = np.inf


def invert(values, inverse):
    """Set `inverse` to 1 / values: one division a step and neuron instead of one a synapse."""
    for i in range(values.shape[0]):
        inverse[i] = 1 / values[i]


def row_changes(p, rate, row, x, scale, inverse, trace, post, changes):
    """Compute the changes of all synapses of one input that spikes, whose stored weights are row[E]."""
    spike = x / x  # 1: the trace of an input that spikes is not 0
    for i in range(changes.shape[0]):
        changes[i] = rate * rule.change(p, row[i] * scale[i], x, trace[i], spike, post[i]) * inverse[i]


def add_changes(row, risen, changes):
    """Add the changes to the stored weights, and to the sums of this step's changes."""
    for i in range(changes.shape[0]):
        row[i] += changes[i]
        risen[i] += changes[i]


def fold(memory, weight):
    """Multiply the scales into the weights and add the rows up anew."""
    for j in range(weight.shape[0]):
        for i in range(memory.scale.shape[0]):
            weight[j, i] *= memory.scale[i]
    memory.scale[:] = 1
    add_up(memory, weight)


def finish(p, memory, weight, active, n_active):
    """End an image."""
    fold(memory, weight)


def current_weight(p, memory, weight, j, i):
    """Return the true weight of synapse (i, j)."""
    return weight[j, i] * memory.scale[i]


EVENT_FUNCTIONS = (
    begin,
    add_up,
    correct_current,
    learn,
    advance_targets,
    set_scales,
    restart_row,
    invert,
    row_changes,
    add_changes,
    fold,
    finish,
    current_weight,
)
