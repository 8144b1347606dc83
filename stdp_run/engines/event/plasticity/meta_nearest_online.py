"""meta_nearest_online, compiled; stdp_run.rules.meta_nearest_online has the equations.

Since y lasts, every input spike lowers the weights of every neuron, but by less the longer ago the neuron fired. Only
the *recent* neurons are visited, those whose y can still alter a weight; leaving out the others is exact. With
b = bound > 0, a_pre >= 0 and w_min >= 0, an input spike alone changes a weight w by at most

    |rate| a_pre y exp(-b / room)  <=  |rate| a_pre y w / (e b)

since room = w - w_min <= w, and u exp(-u) <= 1 / e for u = b / room.
Stored is s = w / scale, and to that the change over the scale after the step's update is added. The number next to s
towards 0 is at least 2^-(m + 1) |s| away, with m = 23 bits of mantissa in float32 and 52 in float64; a change of at
most half of that is rounded away, at exactly half too, where |s| is a power of 2 and so even. If the scale falls by no
more than SCALE_RATIO in the step, nothing changes where

    |rate| y  <=  2^-(m + 2) e b / a_pre SCALE_RATIO MARGIN         `largest_quiet_trace`

MARGIN covers the rounding of the change itself, a few parts in 10^6. A neuron whose scale falls further becomes recent
in that step. A weight of 0 or below, or just above w_min, has SMALLEST_ROOM: there the compiled exp has to be 0, or all
neurons are recent, as they are where another condition does not hold. y falls until its neuron fires, which makes that
neuron recent, so that this is decided once an image.

All y - mean(y) add up to 0, so the mean target stays what it is but for rounding, which is corrected once an image.
stdp_run.engines.event.plasticity.recent_rows has the weights of recent neurons, and how rows are folded.

Per step: three passes over E neurons; for each input spike its weights of the recent neurons, which are added to the
currents and changed, with an exponential each; for each output spike those of the neuron from all active inputs. Per
image: the weights of recent neurons are copied there and back, and all weights multiplied by their scale.
"""

import math
from typing import Any

import numpy as np

from stdp_run.elementwise import where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import Bound, rarely_called
from stdp_run.engines.event.plasticity.implementation import Implementation, StepwiseFunctions
from stdp_run.engines.event.plasticity.recent_rows import (
    MetaMemory,
    Rows,
    finish,
    fold,
    join,
    lanes_of,
    release,
    take_rows,
    true_weight,
    weight_at,
)
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, zeros_for_vectors
from stdp_run.rules.meta_nearest_online import SMALLEST_MEAN, SMALLEST_ROOM, MetaNearestOnline, soft_bound

rule = Bound("rule")

SCALE_LIMIT = 64.0
SCALE_RATIO = 0.5
MARGIN = 0.999


def allocate(rule_class: Any, p: Any, weight: np.ndarray, n_exc: int) -> MetaMemory:
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count; the engine fills in what persists."""
    dtype, n_inputs = weight.dtype, len(weight)
    lanes = VECTOR_BYTES // dtype.itemsize
    n_places = -(-n_exc // lanes) * lanes

    def places(kind: Any) -> np.ndarray:
        return zeros_for_vectors(n_places, kind)

    def rows() -> Rows:
        return Rows(*(places(np.float64) for _ in range(4)), *(places(dtype) for _ in range(3)))

    memory = MetaMemory(
        **{name: zeros_for_vectors(n_inputs + lanes, dtype) for name in ("x", "pre", "working")},
        **{name: places(dtype) for name in ("post", "recent_post", "current")},
        quiet=rows(),
        recent=rows(),
        target_mean=np.zeros(1),
        neuron_of=places(np.int32),
        place_of=np.full(n_exc, -1, np.int32),
        n_recent=np.zeros(1, np.int64),
        recent_weights=zeros_for_vectors(n_places * n_inputs, dtype),
        sums=np.zeros(BLOCK),
        largest_quiet_trace=largest_quiet_trace(rule_class, p, dtype),
        n_inputs=n_inputs,
    )
    memory.quiet.scale[:n_exc] = 1
    total = sum(row.astype(np.float64) for row in weight[:, :n_exc])  # input by input, as `fold` adds
    memory.quiet.total[:n_exc] = total
    with np.errstate(divide="ignore"):
        memory.quiet.inputs_per_total[:n_exc] = n_inputs / total
    return memory


def largest_quiet_trace(rule_class: Any, p: Any, dtype: np.dtype) -> float:
    """Return the largest y, times the rate, that alters no weight at an input spike; below 0 where no bound is known.

    The bound is for the rule's own changes and traces, for depression, and where exp vanishes at the smallest room.
    """
    own = all(getattr(rule_class, name) is getattr(MetaNearestOnline, name) for name in ("change", "post_trace"))
    vanishes = float(p.bound) / SMALLEST_ROOM > (88 if dtype == np.float32 else 710)
    if not own or not vanishes or p.w_min < 0 or p.a_pre < 0:
        return -1.0
    rounded_away = float(np.finfo(dtype).eps) / 4
    return rounded_away * math.e * float(p.bound) / float(p.a_pre) * SCALE_RATIO * MARGIN if p.a_pre else math.inf


def persistent(memory: MetaMemory) -> dict[str, np.ndarray]:
    """Return the arrays that last from image to image."""
    n_exc = len(memory.place_of)
    y, target = memory.quiet.y[:n_exc], memory.quiet.target[:n_exc]
    return {"y": y, "target": target, "target_mean": memory.target_mean}


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def start(p, memory, weight, image):
    """Start an image: no presynaptic traces; targets at their mean; the recent neurons."""
    memory.x[:] = 0
    y, target, n_exc = memory.quiet.y, memory.quiet.target, memory.place_of.shape[0]
    mean = 0.0
    for i in range(n_exc):
        mean += target[i]
    mean /= n_exc
    n_recent = 0
    for i in range(n_exc):
        target[i] *= memory.target_mean[0] / mean
        if abs(image.rate) * y[i] > memory.largest_quiet_trace:
            memory.neuron_of[n_recent] = i
            n_recent += 1
    take_rows(memory, weight, image.active_inputs, n_recent)


def correct_currents(memory, current, spikes):
    """Turn the currents from unscaled weights into true ones; those of recent neurons come from their own weights."""
    for i in range(memory.place_of.shape[0]):
        current[i] *= memory.quiet.scale[i]
    lanes, n_recent, recent = lanes_of(memory), memory.n_recent[0], memory.recent
    for at in range(0, n_recent, lanes):
        first = at * memory.n_inputs
        total = vectors.zeros(memory.current)
        for s in range(spikes.shape[0]):
            total = total + vectors.load(memory.recent_weights, first + np.int64(spikes[s]) * lanes)
        vectors.store(memory.current, at, total * vectors.load(recent.scale, at))
    for place in range(n_recent):
        current[memory.neuron_of[place]] = memory.current[place]


def learn(p, memory, weight, theta, step, fired):
    """Advance a step: traces, targets, scales, then the changes at the spikes."""
    rate, spikes, active_inputs = step.image.rate, step.spikes, step.image.active_inputs
    n_fired, recent = fired.shape[0], memory.recent
    for s in range(spikes.shape[0]):
        memory.pre[spikes[s]] = 1
    for k in range(active_inputs.shape[0]):
        memory.x[k] = rule.pre_trace(p, memory.x[k], memory.pre[k])
    for f in range(n_fired):
        if memory.place_of[fired[f]] < 0:
            join(memory, weight, active_inputs, fired[f])
        memory.post[fired[f]] = 1
        memory.recent_post[memory.place_of[fired[f]]] = 1
    mean_y = advance_traces(p, memory, n_fired)
    restarts, far = advance_recent(p, rate, memory, mean_y)
    falls, far_as_well = advance_quiet(p, rate, memory, mean_y)
    if falls:
        restarts |= join_falling(memory, weight, active_inputs)
    if restarts:
        restart_rows(p, rate, memory, weight, active_inputs)
    if n_fired or rule.depresses(p):
        for at in range(0, memory.n_recent[0], lanes_of(memory)):
            change_at_inputs(p, rate, memory, spikes, at)
    for f in range(n_fired):
        change_at_neuron(p, rate, memory, memory.place_of[fired[f]], active_inputs.shape[0])
    if restarts:
        for place in range(memory.n_recent[0]):
            if recent.scale[place] == np.inf:
                recent.scale[place] = 1
    for s in range(spikes.shape[0]):
        memory.pre[spikes[s]] = 0
    for f in range(n_fired):
        memory.post[fired[f]] = 0
        memory.recent_post[memory.place_of[fired[f]]] = 0
    if far | far_as_well:
        n_recent = memory.n_recent[0]
        release(memory, weight, active_inputs)
        fold(memory, weight)
        take_rows(memory, weight, active_inputs, n_recent)


def advance_traces(p, memory, n_fired):
    """Update y of all neurons; return its mean. Recent neurons have a copy of theirs by place."""
    y, sums, n_recent = memory.quiet.y, vectors.zero_block(memory.quiet.y), memory.n_recent[0]
    for at in range(0, y.shape[0], BLOCK):
        spike = vectors.zero_block(memory.post)
        if n_fired:
            spike = vectors.block(memory.post, at)
        new = rule.post_trace(p, vectors.block(y, at), spike)
        vectors.store(y, at, new)
        sums = sums + new
    for at in range(0, n_recent, BLOCK):
        new = rule.post_trace(p, vectors.block(memory.recent.y, at), vectors.block(memory.recent_post, at))
        vectors.store(memory.recent.y, at, new)
        vectors.store(memory.recent.trace, at, new)
    vectors.store(memory.sums, 0, sums)
    total = 0.0
    for lane in range(BLOCK):
        total += memory.sums[lane]
    return total / memory.place_of.shape[0]


def advance_quiet(p, rate, memory, mean_y):
    """Update targets and scales of all neurons; return (does a scale fall by more than half, is one far from 1)."""
    rows = memory.quiet
    any_falls, any_far = np.uint64(0), np.uint64(0)
    for at in range(0, rows.scale.shape[0], BLOCK):
        falls, far = advance_block(p, rate, memory.n_inputs, rows, at, mean_y)
        any_falls |= vectors.lanes_where(falls)
        any_far |= vectors.lanes_where(far)
    return any_falls != 0, any_far != 0


def advance_recent(p, rate, memory, mean_y):
    """Do so for recent neurons; return (is a scale 0, is one far from 1)."""
    rows = memory.recent
    restarts, any_far = np.uint64(0), np.uint64(0)
    for at in range(0, memory.n_recent[0], BLOCK):
        vectors.store(rows.inputs_per_total, at, memory.n_inputs / vectors.block(rows.total, at))
        falls, far = advance_block(p, rate, memory.n_inputs, rows, at, mean_y)
        restarts |= vectors.lanes_where(falls & (vectors.block(rows.scale, at) == 0))
        any_far |= vectors.lanes_where(far)
    return restarts != 0, any_far != 0


def advance_block(p, rate, n_inputs, rows, at, mean_y):
    """Update the targets of a block of neurons, and their scales so that each row's mean weight is at its target."""
    target = vectors.block(rows.target, at) - rate * p.target_share * p.a_pre * (vectors.block(rows.y, at) - mean_y)
    vectors.store(rows.target, at, target)
    before = vectors.block(rows.scale, at)
    is_small = vectors.block(rows.total, at) * before <= SMALLEST_MEAN * n_inputs
    wanted = where(is_small, before * (target / SMALLEST_MEAN), target * vectors.block(rows.inputs_per_total, at))
    scale = vectors.typed_as(rows.scale, where(before == 0, 0, wanted))
    vectors.store(rows.previous_scale, at, before)
    vectors.store(rows.scale, at, scale)
    size = abs(scale)
    far = (before != 0) & (size != 0) & ((size > SCALE_LIMIT) | (size * SCALE_LIMIT < 1))
    return size < abs(before) * SCALE_RATIO, far


@rarely_called
def join_falling(memory, weight, active_inputs):
    """Make quiet neurons recent whose scale has fallen by more than half; return whether one has fallen to 0."""
    restarts = False
    for i in range(memory.place_of.shape[0]):
        if memory.place_of[i] < 0 and abs(memory.quiet.scale[i]) < abs(memory.quiet.previous_scale[i]) * SCALE_RATIO:
            restarts |= memory.quiet.scale[i] == 0
            join(memory, weight, active_inputs, i)
    return restarts


@rarely_called
def restart_rows(p, rate, memory, weight, active_inputs):
    """Set the weights of neurons whose target is 0 to this step's changes alone; a scale of 0 could not be undone.

    Their scale is infinite until the end of the step, so that the changes at spikes add nothing to them.
    """
    recent = memory.recent
    for place in range(memory.n_recent[0]):
        if recent.scale[place] != 0:
            continue
        i, before, total = memory.neuron_of[place], recent.previous_scale[place], 0.0
        for j in range(weight.shape[0]):
            weight[j, i] = before * 0
        for k in range(active_inputs.shape[0]):
            at, x, pre = weight_at(memory, place, k), memory.x[k], memory.pre[k]
            w = memory.recent_weights[at] * before
            changed = rate * rule.change(p, w, x, recent.trace[place], pre, memory.recent_post[place])
            memory.recent_weights[at] = changed
            total += changed
        recent.total[place] = total
        recent.scale[place] = np.inf


def change_at_inputs(p, rate, memory, spikes, at):
    """Change the weights of a vector of recent neurons at the inputs that spike."""
    own, x, recent, lanes = memory.recent_weights, memory.x, memory.recent, lanes_of(memory)
    scale, next_scale = vectors.load(recent.previous_scale, at), vectors.load(recent.scale, at)
    factor = where(next_scale != 0, rate * (1 / next_scale), 0)  # 0: there is no neuron
    trace, post = vectors.load(recent.trace, at), vectors.load(memory.recent_post, at)
    risen, one = vectors.zeros(x), x[0] - x[0] + 1
    if memory.largest_quiet_trace < 0 or vectors.lanes_where(post != 0):
        for s in range(spikes.shape[0]):
            k = np.int64(spikes[s])
            place = at * memory.n_inputs + k * lanes
            before = vectors.load(own, place)
            after = before + rule.change(p, before * scale, x[k], trace, one, post) * factor
            vectors.store(own, place, after)
            risen = risen + (after - before)
    else:  # the same numbers with fewer instructions: the rule's own change where no neuron fires, a depression
        fall = 0 - p.a_pre * trace
        for s in range(spikes.shape[0]):
            place = at * memory.n_inputs + np.int64(spikes[s]) * lanes
            before = vectors.load(own, place)
            after = before + fall * soft_bound(p, before * scale - p.w_min) * factor
            vectors.store(own, place, after)
            risen = risen + (after - before)
    vectors.store(memory.working, 0, risen)
    for part in range(0, lanes, BLOCK):
        total = vectors.block(recent.total, at + part) + vectors.block(memory.working, part)
        vectors.store(recent.total, at + part, total)


def change_at_neuron(p, rate, memory, place, n_active_inputs):
    """Change the weights of a recent neuron that fires from the active inputs that do not spike."""
    own, x, working, lanes = memory.recent_weights, memory.x, memory.working, lanes_of(memory)
    first, recent = weight_at(memory, place, 0), memory.recent
    scale, factor, risen = recent.previous_scale[place], rate * (1 / recent.scale[place]), vectors.zeros(x)
    vectors.store(working, n_active_inputs, vectors.zeros(x))
    for k in range(n_active_inputs):
        working[k] = own[first + k * lanes]
    for k in range(0, n_active_inputs, lanes):
        before, pre = vectors.load(working, k), vectors.load(memory.pre, k)
        change = rule.change(p, before * scale, vectors.load(x, k), recent.trace[place], pre, memory.recent_post[place])
        after = before + where(pre == 0, change, 0) * factor
        vectors.store(working, k, after)
        risen = risen + (after - before)
    for k in range(n_active_inputs):
        own[first + k * lanes] = working[k]
    vectors.store(working, 0, risen)
    for lane in range(lanes):
        recent.total[place] += working[lane]


IMPLEMENTATION = Implementation(
    allocate, StepwiseFunctions(learn, start, correct_currents, finish, true_weight), persistent
)
