"""The compiled implementation of a `SpikeRule`; stdp_run.rules.spike has the equations.

A neuron's weights change only while it is active (stdp_run.engines.event.interval): from its first spike in an image
on, and from the first step on where its row has to be normalised. Then the weights of the active inputs lie in
`active_weights`, as many neurons side by side as a block has places, and those of the silent inputs, where they can
change at all, in a row of `silent_weights`. All of them are true weights; at the end of an image they are brought back,
so that between images the weights are all there is to know. stdp_run.engines.event.plasticity.spike_rows says how rows
are taken, scaled, clamped and brought back.

Per step: the rows of the inputs that spike, if the rule depresses; where a neuron fires, all A rows of its block and
its S silent weights; where rows are normalised at every step, as much for each neuron whose weights have changed.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import maximum, minimum, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import Bound, rarely_called
from stdp_run.engines.event.plasticity import delayed
from stdp_run.engines.event.plasticity.implementation import Implementation, IntervalFunctions
from stdp_run.engines.event.plasticity.spike_rows import (
    KEPT_ROWS,
    close_row,
    finish,
    join,
    note_changes,
    open_row,
    scale_rows,
    weight_at,
)
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, zeros_for_vectors
from stdp_run.rules.spike import EVERY_STEP, LAST_STEP, NEVER

rule = Bound("rule")


class SpikeMemory(NamedTuple):
    """What the rule works with, E neurons and I inputs; all but `off_norm` is void between images.

    Arrays [C] go by place among the active neurons; C is E in whole vectors. What no image needs is never touched.
    """

    x: np.ndarray  # [I in whole vectors] presynaptic trace, by place in the list of active inputs
    pre: np.ndarray  # [I in whole vectors] 1 where that input spikes in this step
    silent_inputs: np.ndarray  # [I] int32
    n_silent: np.ndarray  # [1] int64
    active_weights: np.ndarray  # [C * I] block of active neurons, active input, neuron of the block
    silent_weights: np.ndarray  # [KEPT_ROWS + 1, I in whole vectors] by place in the list of silent inputs, then zeros
    takes_silent: bool  # whether the weights of silent inputs can change, by the rule or by the norm
    changes_silent: bool  # whether they can by the rule
    y: np.ndarray  # [C] postsynaptic trace
    y2: np.ndarray  # [C] the second one
    y2_before: np.ndarray  # [C] the second one without this step's spike
    total: np.ndarray  # [C] float64, L1 norm of the silent weights of rows that have to be scaled
    must_scale: np.ndarray  # [C] int32, 1 where the row has to be scaled to its norm at the next occasion
    changed: np.ndarray  # [C] int32, 1 where the row has to be written back
    sums: np.ndarray  # [lanes] float64
    off_norm: np.ndarray  # [E] uint8, 1 where the row has to be scaled in the next image in any case
    tolerance: float  # how far from its norm, relatively, a row still counts as normalised: rounding


def allocate(rule_class: Any, p: Any, weight: np.ndarray, n_exc: int) -> SpikeMemory:
    """Return the memory for `weight[I, E]`, of which `n_exc` columns count; rows that miss their norm are noted."""
    n_inputs, dtype, weight = len(weight), weight.dtype, weight[:, :n_exc]
    lanes = VECTOR_BYTES // dtype.itemsize
    n_places, n_padded = -(-n_exc // lanes) * lanes, -(-n_inputs // lanes) * lanes
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    too_high = weight.max(axis=0) > p.w_max
    if p.normalise in (NEVER, LAST_STEP):
        np.minimum(weight, p.w_max, out=weight)  # as the reference does at the first step
        too_high[:] = False
    total = sum(row.astype(np.float64) for row in weight)  # input by input, as `finish` adds
    off_norm = (np.abs(total - p.w_norm) > tolerance * p.w_norm) & (total > 0)

    def places(kind: Any, *names: str) -> dict[str, np.ndarray]:
        return {name: zeros_for_vectors(n_places, kind) for name in names}

    return SpikeMemory(
        x=zeros_for_vectors(n_padded, dtype),
        pre=zeros_for_vectors(n_padded, dtype),
        silent_inputs=np.zeros(n_inputs, np.int32),
        n_silent=np.zeros(1, np.int64),
        active_weights=zeros_for_vectors(n_places * n_inputs, dtype),
        silent_weights=zeros_for_vectors((min(n_places, KEPT_ROWS) + 1, n_padded), dtype),
        takes_silent=bool(rule_class.changes_silent_inputs or p.normalise != NEVER),
        changes_silent=rule_class.changes_silent_inputs,
        **places(dtype, "y", "y2", "y2_before"),
        **places(np.float64, "total"),
        **places(np.int32, "must_scale", "changed"),
        sums=np.zeros(lanes),
        off_norm=((off_norm | too_high) & (p.normalise != NEVER)).astype(np.uint8),
        tolerance=tolerance,
    )


# ------------------------------------------------------------------------------------------------------------------
# The start of an image.


def start(p, memory, image):
    """Start an image: traces as before the first spike, and the list of silent inputs."""
    memory.x[:] = rule.start_pre(p)
    active_inputs = image.active_inputs
    k = n_silent = 0
    for j in range(memory.silent_inputs.shape[0]):
        if k < active_inputs.shape[0] and active_inputs[k] == j:
            k += 1
        else:
            memory.silent_inputs[n_silent] = j
            n_silent += 1
    memory.n_silent[0] = n_silent


def is_first_active(memory, i):
    """Return whether a row has to be scaled though its neuron has not fired."""
    return memory.off_norm[i]


# ------------------------------------------------------------------------------------------------------------------
# A step.


def learn(p, memory, weight, step, active_neurons, fired, any_fires):
    """Advance a step: traces, changes at input spikes, then at output spikes, norm and clamp; fired[C] is 0 or 1."""
    n_active_inputs, n_active = step.image.active_inputs.shape[0], active_neurons.shape[0]
    advance_inputs(p, memory, step, n_active_inputs)
    normalises = p.normalise == EVERY_STEP or (p.normalise == LAST_STEP and step.number == step.image.n_steps - 1)
    # Where a norm is due first, changes are not clamped.
    low, high = (-np.inf, np.inf) if normalises else (0.0, np.float64(p.w_max))
    for at in range(0, n_active, BLOCK):
        spike = vectors.zero_block(fired)
        if any_fires:  # foreseen by the processor, so that in most steps what follows need not wait for the neurons
            spike = vectors.block(fired, at)
        neurons = advance_neurons(p, memory, at, spike)
        fires = vectors.lanes_where(spike != 0)
        is_live = (neurons.y != 0) | (neurons.y2 != 0)
        depresses = rule.depresses(p) and step.spikes.shape[0] > 0 and vectors.lanes_where(is_live) != 0
        if depresses:
            if fires:
                change_at_inputs(p, memory, step, weight_at(weight.shape[0], at, 0), neurons, -np.inf, np.inf)
            else:
                change_at_inputs(p, memory, step, weight_at(weight.shape[0], at, 0), neurons, low, high)
            note_changes(memory, at, is_live)
        if fires:
            first = weight_at(weight.shape[0], at, 0)
            change_at_outputs(p, memory, step, first, neurons, low, high)
            if memory.changes_silent:
                for place in range(at, min(at + BLOCK, n_active)):
                    if fired[place] != 0:
                        change_silent(p, memory, weight, step.image.rate, active_neurons[place], place, low, high)
            note_changes(memory, at, spike != 0)
        if normalises and vectors.lanes_where(vectors.block(memory.must_scale, at) != 0):
            scale_rows(p, memory, weight, n_active_inputs, active_neurons, at)


def advance_inputs(p, memory, step, n_active_inputs):
    """Advance the presynaptic traces."""
    x, pre, spikes = memory.x, memory.pre, step.spikes
    for s in range(spikes.shape[0]):
        pre[spikes[s]] = 1
    for k in range(0, n_active_inputs, memory.sums.shape[0]):
        vectors.store(x, k, rule.pre_trace(p, vectors.load(x, k), vectors.load(pre, k)))
    for s in range(spikes.shape[0]):
        pre[spikes[s]] = 0


class Neurons(NamedTuple):
    """What a step knows of a block of active neurons; vectors of BLOCK numbers."""

    y: Any
    y2: Any  # before this step's spike
    spike: Any


def advance_neurons(p, memory, at, spike):
    """Advance the postsynaptic traces of a block; return what the changes see of it."""
    before, none = vectors.block(memory.y2, at), vectors.zero_block(memory.y2)
    y = vectors.typed_as(memory.y, rule.post_trace(p, vectors.block(memory.y, at), spike))
    y2 = vectors.typed_as(memory.y2, rule.second_trace(p, before, none))
    vectors.store(memory.y, at, y)
    vectors.store(memory.y2_before, at, y2)
    vectors.store(memory.y2, at, rule.second_trace(p, before, spike))
    return Neurons(y, y2, spike)


def change_at_inputs(p, memory, step, first, neurons, low, high):
    """Change the weights, from `first` on, of the inputs that spike to a block of neurons."""
    for s in range(step.spikes.shape[0]):
        k = np.int64(step.spikes[s])
        w = vectors.block(memory.active_weights, first + k * BLOCK)
        w = w + step.image.rate * rule.at_input(p, w, memory.x[k], neurons.y, neurons.y2)
        vectors.store(memory.active_weights, first + k * BLOCK, minimum(maximum(w, low), high))


def change_at_outputs(p, memory, step, first, neurons, low, high):
    """Change the weights of all active inputs to those of a block of neurons that spike."""
    for k in range(step.image.active_inputs.shape[0]):
        w = vectors.block(memory.active_weights, first + k * BLOCK)
        change = step.image.rate * rule.at_output(p, w, memory.x[k], neurons.y, neurons.y2)
        w = w + where(neurons.spike != 0, change, 0)
        vectors.store(memory.active_weights, first + k * BLOCK, minimum(maximum(w, low), high))


@rarely_called
def change_silent(p, memory, weight, rate, i, place, low, high):
    """Change the weights of silent inputs to a neuron that spikes."""
    row, y = memory.silent_weights[open_row(memory, weight, i, place)], memory.y[place]
    n_silent, lanes = memory.n_silent[0], memory.sums.shape[0]
    x = vectors.zeros(row) + rule.start_pre(p)
    y2 = memory.y2_before[place]
    for m in range(0, n_silent, lanes):
        w = vectors.load(row, m)
        w = w + rate * rule.at_output(p, w, x, y, y2)
        vectors.store(row, m, minimum(maximum(w, low), high))
    row[n_silent:] = 0
    close_row(memory, weight, i, place)


def true_weight(memory, weight, j, i):
    """Return the true weight of the synapse from input j to neuron i where all are active."""
    return memory.active_weights[weight_at(weight.shape[0], i, j)]


IMPLEMENTATION = Implementation(
    allocate,
    IntervalFunctions(join, learn, start, is_first_active, finish=finish, true_weight=true_weight),
    with_conductances=delayed.SPIKES,
)
