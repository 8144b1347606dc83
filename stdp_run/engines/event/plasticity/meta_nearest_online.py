"""meta_nearest_online, compiled; stdp_run.rules.meta_nearest_online has the equations.

True weights are weight[:, i] * scale[i]. Since y lasts, every input spike touches every neuron, and the loops over
neurons run along rows of weight, where they are vectorised.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.plasticity.implementation import Implementation, StepwiseFunctions
from stdp_run.engines.event.vectors import zeros_for_vectors
from stdp_run.rules.meta_nearest_online import SMALLEST_MEAN

rule = Bound("rule")

SCALE_LIMIT = 64.0


class MetaMemory(NamedTuple):
    """What the rule works with, E neurons and I inputs."""

    x: np.ndarray  # [I] presynaptic trace, by place in the list of active inputs
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


def allocate(rule_class: Any, p: Any, weight: np.ndarray, n_exc: int) -> MetaMemory:
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count; the engine fills in what persists."""
    dtype = weight.dtype
    x, pre = np.zeros((2, len(weight)), dtype)
    y, target, total = (zeros_for_vectors(n_exc, np.float64) for _ in range(3))
    trace, post, changes, risen = (zeros_for_vectors(n_exc, dtype) for _ in range(4))
    scale, next_scale, inverse = np.ones((3, n_exc), dtype)
    total[:] = sum(row.astype(np.float64) for row in weight[:, :n_exc])  # input by input, as `fold` adds
    return MetaMemory(x, pre, y, target, np.zeros(1), trace, post, scale, next_scale, inverse, changes, risen, total)


def persistent(memory: MetaMemory) -> dict[str, np.ndarray]:
    """Return the arrays that last from image to image."""
    return {"y": memory.y, "target": memory.target, "target_mean": memory.target_mean}


def start(p, memory, image):
    """Start an image: no presynaptic traces."""
    memory.x[:] = 0


def correct_currents(memory, current):
    """Turn the currents from unscaled weights into true ones."""
    for i in range(memory.scale.shape[0]):
        current[i] *= memory.scale[i]


def learn(p, memory, weight, theta, step, fired):
    """Advance a step: traces, targets, scales, then the changes at the spikes."""
    rate, spikes, active_inputs = step.image.rate, step.spikes, step.image.active_inputs
    for s in range(spikes.shape[0]):
        memory.pre[spikes[s]] = 1
    for k in range(active_inputs.shape[0]):
        memory.x[k] = rule.pre_trace(p, memory.x[k], memory.pre[k])
    for f in range(fired.shape[0]):
        memory.post[fired[f]] = 1
    advance_targets(p, rate, memory)
    set_scales(memory, weight.shape[0])
    for i in range(memory.scale.shape[0]):
        if memory.next_scale[i] == 0:
            restart_row(p, rate, memory, weight, active_inputs, i)

    if fired.shape[0] or rule.depresses(p):
        for i in range(memory.inverse.shape[0]):  # one division a step and neuron instead of one a synapse
            memory.inverse[i] = 1 / memory.next_scale[i]
        memory.risen[:] = 0
        for s in range(spikes.shape[0]):
            change_row(p, rate, memory, weight[active_inputs[spikes[s]]], memory.x[spikes[s]])
        for i in range(memory.total.shape[0]):
            memory.total[i] += memory.risen[i]
    for f in range(fired.shape[0]):
        i = fired[f]
        for k in range(active_inputs.shape[0]):
            if memory.x[k] != 0 and memory.pre[k] == 0:
                j = active_inputs[k]
                w = weight[j, i] * memory.scale[i]
                changed = rate * rule.change(p, w, memory.x[k], memory.trace[i], memory.pre[k], memory.post[i])
                changed /= memory.next_scale[i]
                weight[j, i] += changed
                memory.total[i] += changed

    for s in range(spikes.shape[0]):
        memory.pre[spikes[s]] = 0
    for f in range(fired.shape[0]):
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


def restart_row(p, rate, memory, weight, active_inputs, i):
    """Set the weights of a neuron whose target is 0 to this step's changes alone; a scale of 0 could not be undone.

    Its next scale is infinite until the end of the step, so that the loops over all neurons add nothing to it.
    """
    memory.total[i] = 0
    place = 0
    for j in range(weight.shape[0]):
        changed = memory.scale[i] * 0
        if place < active_inputs.shape[0] and active_inputs[place] == j:
            x, pre = memory.x[place], memory.pre[place]
            w = weight[j, i] * memory.scale[i]
            changed = rate * rule.change(p, w, x, memory.trace[i], pre, memory.post[i])
            place += 1
        weight[j, i] = changed
        memory.total[i] += changed
    memory.scale[i] = 1
    memory.next_scale[i] = np.inf


def change_row(p, rate, memory, row, x):
    """Add the changes of all synapses of one input that spikes to their stored weights, row[E], and to `risen`."""
    scale, inverse, trace, post, changes = memory.scale, memory.inverse, memory.trace, memory.post, memory.changes
    spike = x / x  # 1: the trace of an input that spikes is not 0
    for i in range(changes.shape[0]):
        changes[i] = rate * rule.change(p, row[i] * scale[i], x, trace[i], spike, post[i]) * inverse[i]
    for i in range(changes.shape[0]):
        row[i] += changes[i]
        memory.risen[i] += changes[i]


def fold(memory, weight):
    """Multiply the scales into the weights and add the rows up anew, input by input."""
    memory.total[:] = 0
    for j in range(weight.shape[0]):
        for i in range(memory.scale.shape[0]):
            weight[j, i] *= memory.scale[i]
            memory.total[i] += weight[j, i]
    memory.scale[:] = 1


def true_weight(memory, weight, j, i):
    """Return the true weight of synapse (i, j)."""
    return weight[j, i] * memory.scale[i]


IMPLEMENTATION = Implementation(
    allocate, StepwiseFunctions(learn, start, correct_currents, fold, true_weight), persistent
)
