"""The compiled implementation of meta_nearest_online; stdp_run.rules.meta_nearest_online has the equations.

The trace y persists between images. So every input spike lowers the weights of every neuron, by less the longer the
neuron has been silent. Only neurons whose y can still change a weight are active: neurons that fire and, from the start
of an image, neurons with `|rate| y` above `largest_quiet_trace`. With b = bound > 0, a_pre >= 0, w_min >= 0 and
room = w - w_min, an input spike alone changes a weight w by at most::

    |rate| a_pre y exp(-b / room)  <=  |rate| a_pre y w / (e b)        since room <= w and u exp(-u) <= 1 / e

A change below 2^-(m + 2) w is rounded away; m, the bits of the mantissa, is 23 in float32 and 52 in float64. So no
weight changes if `|rate| y <= 2^-(m + 2) e b / a_pre`. The compiled exp must be 0 at rooms below SMALLEST_ROOM;
otherwise all neurons are active.

True weights are the stored weights times `scale`, which brings the mean weight of each row to its target. The targets
couple the scales of all neurons to every output spike, so the rule needs the every_step kernel.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.active import gather_weights, scatter_weights, spread, take_weights, weight_index
from stdp_run.engines.event.jit import Bound, rarely_called
from stdp_run.engines.event.learning.implementation import Implementation, join, true_weight
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, add_up, zeros_for_vectors
from stdp_run.rules.meta_nearest_online import SMALLEST_MEAN, SMALLEST_ROOM, MetaNearestOnline, soft_bound

rule = Bound("rule")

SCALE_LIMIT = 64.0
SMALLEST_SCALE = 1e-20  # weights cannot be divided by a scale of 0


class MetaMemory(NamedTuple):
    """Working memory of the rule: E neurons and I inputs in whole vectors."""

    x: np.ndarray  # [I] presynaptic trace, by rank of the active input
    pre: np.ndarray  # [I] 1 where that input spikes in this step
    row: np.ndarray  # [I]
    y: np.ndarray  # [E] float64, postsynaptic trace
    target: np.ndarray  # [E] float64, mean weight
    target_mean: np.ndarray  # [1] float64
    total: np.ndarray  # [E] float64, sum over the row of the stored weights
    previous_scale: np.ndarray  # [E] before this step
    scale: np.ndarray  # [E]
    post: np.ndarray  # [E] 1 where that neuron spikes in this step
    fall: np.ndarray  # [E] change of a stored weight at an input spike, without the soft bound
    of_block: np.ndarray  # [5 * lanes] previous scale, fall, y, post, rate / scale of a block of active neurons
    sums: np.ndarray  # [lanes] float64
    largest_quiet_trace: float
    n_inputs: int  # without padding
    n_exc: int


def allocate(rule_class: Any, p: Any, weight: np.ndarray, n_exc: int, longest_delay: int | None) -> MetaMemory:
    """Return the memory for `weight[I, E]` with `n_exc` neurons; the engine sets the persistent arrays."""
    (n_inputs, n_columns), dtype = weight.shape, weight.dtype
    lanes = VECTOR_BYTES // dtype.itemsize
    width = -(-n_inputs // lanes) * lanes
    memory = MetaMemory(
        **{name: zeros_for_vectors(width, dtype) for name in ("x", "pre", "row")},
        **{name: zeros_for_vectors(n_columns, np.float64) for name in ("y", "target", "total")},
        target_mean=np.zeros(1),
        **{name: zeros_for_vectors(n_columns, dtype) for name in ("previous_scale", "scale", "fall", "post")},
        of_block=np.ones(5 * lanes, dtype),
        sums=np.zeros(lanes),
        largest_quiet_trace=largest_quiet_trace(rule_class, p, dtype),
        n_inputs=n_inputs,
        n_exc=n_exc,
    )
    memory.scale[:] = 1
    memory.total[:] = sum(row.astype(np.float64) for row in weight)  # in the order of `finish`
    return memory


def largest_quiet_trace(rule_class: Any, p: Any, dtype: np.dtype) -> float:
    """Return the largest `|rate| y` that changes no weight at an input spike; -1 if the bound does not hold."""
    own = all(getattr(rule_class, name) is getattr(MetaNearestOnline, name) for name in ("change", "post_trace"))
    vanishes = float(p.bound) / SMALLEST_ROOM > (88 if dtype == np.float32 else 710)
    if not own or not vanishes or p.w_min < 0 or p.a_pre < 0:
        return -1.0
    return float(np.finfo(dtype).eps) / 4 * math.e * float(p.bound) / float(p.a_pre) if p.a_pre else math.inf


def persistent(memory: MetaMemory, n_exc: int) -> dict[str, np.ndarray]:
    """Return the persistent arrays by name."""
    return {"y": memory.y[:n_exc], "target": memory.target[:n_exc], "target_mean": memory.target_mean}


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def start(p, memory, weight, image):
    """Start an image: reset the presynaptic traces, and scale the targets to their exact mean."""
    memory.x[:] = 0
    total = 0.0
    for i in range(memory.n_exc):
        total += memory.target[i]
    for i in range(memory.n_exc):
        memory.target[i] *= memory.target_mean[0] * memory.n_exc / total  # rounding moves the mean target


def is_first_active(p, memory, image, i):
    """Return whether input spikes can change the weights of neuron i before it fires in this image."""
    return abs(image.rate) * memory.y[i] > memory.largest_quiet_trace


def correct_currents(memory, active, step, current):
    """Correct currents from stored weights: active neurons use their copies, and all are multiplied by `scale`."""
    lanes = VECTOR_BYTES // memory.x.itemsize
    for at in range(0, active.neuron_of.shape[0], lanes):
        total, first = vectors.zeros(active.weights, active.weights), weight_index(active, at, 0)
        for s in range(step.spikes.shape[0]):
            total = total + vectors.load(active.weights, first + np.int64(step.spikes[s]) * lanes, active.weights)
        vectors.store(memory.row, 0, total)
        spread(active, at, memory.row, current)
    for i in range(memory.n_exc):
        current[i] *= memory.scale[i]


def learn(p, memory, weight, theta, step, active, fired):
    """Advance a step: traces, targets, scales, then the changes at the spikes."""
    rate, spikes, inputs = step.image.rate, step.spikes, step.image.active_inputs
    n_active, n_fired, x, pre = active.neuron_of.shape[0], fired.shape[0], memory.x, memory.pre
    for s in range(spikes.shape[0]):
        pre[spikes[s]] = 1
    for k in range(0, inputs.shape[0], memory.sums.shape[0]):
        vectors.store(x, k, rule.pre_trace(p, vectors.load(x, k, x), vectors.load(pre, k, pre)))
    for f in range(n_fired):
        memory.post[active.neuron_of[fired[f]]] = 1
    any_far = advance_rows(p, memory, rate, mean_trace(p, memory))
    if n_fired or rule.depresses(p):
        for at in range(0, n_active, active.block):
            change_at_inputs(p, memory, rate, spikes, active, at, n_fired)
    for f in range(n_fired):
        change_at_output(p, memory, rate, active, fired[f], inputs.shape[0])
    for s in range(spikes.shape[0]):
        pre[spikes[s]] = 0
    for f in range(n_fired):
        memory.post[active.neuron_of[fired[f]]] = 0
    if any_far:
        finish(p, memory, weight, step.image, active)
        for slot in range(n_active):
            take_weights(active, weight, inputs, slot)


def mean_trace(p, memory):
    """Advance the postsynaptic traces; return their mean."""
    sums = vectors.zeros(memory.y, BLOCK)
    for at in range(0, memory.y.shape[0], BLOCK):
        y = rule.post_trace(p, vectors.load(memory.y, at, BLOCK), vectors.load(memory.post, at, BLOCK))
        vectors.store(memory.y, at, y)
        sums = sums + y
    vectors.store(memory.sums, 0, sums)
    total = 0.0
    for r in range(BLOCK):
        total += memory.sums[r]
    return total / memory.n_exc


def advance_rows(p, memory, rate, mean_y):
    """Advance targets, and scale each row to its target; return whether a scale is far from 1."""
    any_far = np.uint64(0)
    for at in range(0, memory.scale.shape[0], BLOCK):
        y, before = vectors.load(memory.y, at, BLOCK), vectors.load(memory.scale, at, BLOCK)
        target = vectors.load(memory.target, at, BLOCK) - rate * p.target_share * p.a_pre * (y - mean_y)
        vectors.store(memory.target, at, target)
        total = vectors.load(memory.total, at, BLOCK)
        is_small = total * before <= SMALLEST_MEAN * memory.n_inputs
        wanted = where(is_small, before * (target / SMALLEST_MEAN), target * memory.n_inputs / total)
        wanted = where(total == 0, 1, wanted)  # rows of zeros, and padding
        scale = vectors.typed_as(memory.scale, where(wanted == 0, SMALLEST_SCALE, wanted))
        vectors.store(memory.previous_scale, at, before)
        vectors.store(memory.scale, at, scale)
        vectors.store(memory.fall, at, (0 - p.a_pre * y) * rate / scale)
        any_far |= vectors.lanes_where((abs(scale) > SCALE_LIMIT) | (abs(scale) * SCALE_LIMIT < 1))
    return any_far != 0


def change_at_inputs(p, memory, rate, spikes, active, at, n_fired):
    """Change the weights from spiking inputs to a block of active neurons."""
    lanes, first, block = VECTOR_BYTES // memory.x.itemsize, weight_index(active, at, 0), memory.of_block
    n = min(lanes, active.neuron_of.shape[0] - at)
    is_general = n_fired > 0 or memory.largest_quiet_trace < 0
    for r in range(n):
        i = active.neuron_of[at + r]
        block[r], block[lanes + r] = memory.previous_scale[i], memory.fall[i]
        if is_general:
            block[2 * lanes + r], block[3 * lanes + r] = memory.y[i], memory.post[i]
            block[4 * lanes + r] = rate / memory.scale[i]
    before_scale, fall = vectors.load(block, 0, block), vectors.load(block, lanes, block)
    y, post = vectors.load(block, 2 * lanes, block), vectors.load(block, 3 * lanes, block)
    factor, risen, one = vectors.load(block, 4 * lanes, block), fall - fall, memory.x[0] * 0 + 1
    for s in range(spikes.shape[0]):
        index = first + np.int64(spikes[s]) * lanes
        before = vectors.load(active.weights, index, memory.x)
        if is_general:
            change = rule.change(p, before * before_scale, memory.x[spikes[s]], y, one, post) * factor
        else:  # the same with fewer instructions: without output spikes the change is a depression
            change = fall * soft_bound(p, before * before_scale - p.w_min)
        w = before + change
        vectors.store(active.weights, index, w)
        risen = risen + (w - before)
    vectors.store(memory.row, 0, risen)
    for r in range(n):
        memory.total[active.neuron_of[at + r]] += memory.row[r]


@rarely_called
def change_at_output(p, memory, rate, active, slot, n_active_inputs):
    """Change the weights to a neuron that fires, from active inputs that do not spike."""
    i, row, lanes = active.neuron_of[slot], memory.row, memory.sums.shape[0]
    y, post, before_scale = row[0] * 0 + memory.y[i], memory.post[i], memory.previous_scale[i]
    factor = rate / memory.scale[i]
    row[:] = 0
    gather_weights(active, slot, n_active_inputs, row)
    risen = vectors.typed_as(memory.sums, vectors.zeros(row, row))
    for k in range(0, n_active_inputs, lanes):
        before, pre = vectors.load(row, k, row), vectors.load(memory.pre, k, memory.pre)
        change = rule.change(p, before * before_scale, vectors.load(memory.x, k, memory.x), y, pre, post)
        w = before + where(pre == 0, change, 0) * factor
        vectors.store(row, k, w)
        risen = risen + (w - before)
    scatter_weights(active, slot, n_active_inputs, row)
    memory.total[i] += add_up(memory.sums, risen)


@rarely_called
def finish(p, memory, weight, image, active):
    """End an image: multiply the weights by the scales, and sum the rows again in order of inputs."""
    inputs, lanes, n_active = image.active_inputs, VECTOR_BYTES // memory.x.itemsize, active.neuron_of.shape[0]
    for at in range(0, n_active, lanes):
        first = weight_index(active, at, 0)
        for k in range(inputs.shape[0]):
            for r in range(min(lanes, n_active - at)):
                weight[inputs[k], active.neuron_of[at + r]] = active.weights[first + k * lanes + r]
    memory.total[:] = 0
    for first in range(0, weight.size, weight.shape[1]):
        for i in range(0, weight.shape[1], BLOCK):
            w = vectors.load(weight, first + i, BLOCK) * vectors.load(memory.scale, i, BLOCK)
            vectors.store(weight, first + i, w)
            vectors.store(memory.total, i, vectors.load(memory.total, i, BLOCK) + w)
    memory.scale[:] = 1


FUNCTIONS = allocate, learn, start, is_first_active, join, correct_currents, finish, persistent, true_weight
IMPLEMENTATION = Implementation.of(*FUNCTIONS, whole_vectors=True)
