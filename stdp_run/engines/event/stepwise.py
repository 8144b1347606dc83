"""Showing images with every neuron advanced at every step: what always holds.

Per step: one row weight[j, :] of E numbers is added per input spike, one pass over E neurons is made, inhibition is a
sum; only inhibitory neurons whose partner has fired in this image are advanced, the rest is at rest.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import VECTOR_BYTES, zeros_for_vectors
from stdp_run.encoding import presentation_key
from stdp_run.engines.event.jit import (
    sum_block_1,
    sum_block_2,
    sum_block_3,
    sum_block_4,
    sum_block_5,
    sum_block_6,
    sum_block_7,
    sum_block_8,
)
from stdp_run.engines.event.spike_sampling import SpikeTrain, draw_spikes, make_train, next_repeat
from stdp_run.network import Model


class Instant(NamedTuple):
    """Where in time a step stands, for rules that draw random numbers or act at the end of an image."""

    step: int
    last: bool
    image_index: int
    epoch: int  # with the repeat in it, encoding.showing
    seed: int


class Scratch(NamedTuple):
    """Working arrays of one thread; nothing in them outlives an image. E counts the padding of the weights' rows."""

    train: SpikeTrain
    current: np.ndarray  # [E]
    v: np.ndarray  # [E]
    refractory: np.ndarray  # [E] int32
    spiked: np.ndarray  # [E] uint8
    fired: np.ndarray  # [E] int32, the neurons that spike in this step
    inhibitory_v: np.ndarray  # [E]
    inhibitory_refractory: np.ndarray  # [E] int32
    inhibitory_spikes: np.ndarray  # [E], 0 or 1
    awake: np.ndarray  # [E] int32, the inhibitory neurons that are not at rest
    is_awake: np.ndarray  # [E] uint8
    learns: np.ndarray  # [E] uint8, the neurons that were among the first `max_learners` to fire


def make_scratch(model: Model, n_columns: int) -> Scratch:
    """Return working arrays for one thread."""
    n_steps = model.encoder.n_steps
    return Scratch(
        train=make_train(n_steps, model.n_inputs),
        current=zeros_for_vectors(n_columns, model.weight_dtype),
        v=zeros_for_vectors(n_columns, model.weight_dtype),
        refractory=zeros_for_vectors(n_columns, np.int32),
        spiked=zeros_for_vectors(n_columns, np.uint8),
        fired=zeros_for_vectors(n_columns, np.int32),
        inhibitory_v=zeros_for_vectors(n_columns, model.weight_dtype),
        inhibitory_refractory=zeros_for_vectors(n_columns, np.int32),
        inhibitory_spikes=zeros_for_vectors(n_columns, model.weight_dtype),
        awake=zeros_for_vectors(n_columns, np.int32),
        is_awake=zeros_for_vectors(n_columns, np.uint8),
        learns=zeros_for_vectors(n_columns, np.uint8),
    )


# ------------------------------------------------------------------------------------------------------------------
# Compiled code. `rule` and `neuron` are bound by `specialise`.


def add_rows(current, weight, active, spikes, n_spikes):
    """Set current[E] to the sum of the rows of `weight[I, E]` whose inputs spike, added in their order."""
    lanes = VECTOR_BYTES // current.itemsize
    start = 0
    missing = current.shape[0] // lanes
    while missing >= 8:
        sum_block_8(current, weight, active, spikes, n_spikes, start)
        start += 8 * lanes
        missing -= 8
    if missing == 7:
        sum_block_7(current, weight, active, spikes, n_spikes, start)
    elif missing == 6:
        sum_block_6(current, weight, active, spikes, n_spikes, start)
    elif missing == 5:
        sum_block_5(current, weight, active, spikes, n_spikes, start)
    elif missing == 4:
        sum_block_4(current, weight, active, spikes, n_spikes, start)
    elif missing == 3:
        sum_block_3(current, weight, active, spikes, n_spikes, start)
    elif missing == 2:
        sum_block_2(current, weight, active, spikes, n_spikes, start)
    elif missing == 1:
        sum_block_1(current, weight, active, spikes, n_spikes, start)


def inhibit(p, current, inhibitory_spikes, n_inhibitory):
    """Take from each current the inhibition of the step before, from all inhibitory neurons but the partner."""
    total = current[0] * 0 + n_inhibitory
    for i in range(current.shape[0]):
        current[i] -= p.w_ie * (total - inhibitory_spikes[i])


def advance_excitatory(p, learning, current, v, refractory, theta, spiked, fired):
    """Advance the excitatory neurons; return how many spike and list them in `fired`."""
    any_spike = False
    for i in range(theta.shape[0]):
        spike, new_v, new_refractory, new_theta = neuron.excitatory(
            p, learning, current[i], v[i], refractory[i], theta[i]
        )
        v[i] = new_v
        refractory[i] = new_refractory
        theta[i] = new_theta
        spiked[i] = spike
        any_spike |= spike
    n_fired = 0
    if any_spike:
        for i in range(theta.shape[0]):
            if spiked[i]:
                fired[n_fired] = i
                n_fired += 1
    return n_fired


def advance_inhibitory(p, spiked, fired, n_fired, v, refractory, spikes, awake, is_awake, n_awake):
    """Advance the inhibitory neurons that are not at rest; return (how many spike, how many are awake)."""
    for f in range(n_fired):
        i = fired[f]
        if not is_awake[i]:
            is_awake[i] = 1
            awake[n_awake] = i
            n_awake += 1
    n_spikes = 0
    for a in range(n_awake):
        i = awake[a]
        spike, new_v, new_refractory = neuron.inhibitory(p, p.w_ei * spiked[i], v[i], refractory[i])
        v[i] = new_v
        refractory[i] = new_refractory
        spikes[i] = spike
        n_spikes += spike
    return n_spikes, n_awake


def keep_first(fired, n_fired, learns, n_learners, max_learners):
    """Keep in `fired` the first neurons to fire in the image (network.admit); return (how many now, in all)."""
    kept = 0
    for f in range(n_fired):
        i = fired[f]
        if not learns[i] and n_learners < max_learners:
            learns[i] = 1
            n_learners += 1
        if learns[i]:
            fired[kept] = i
            kept += 1
    return kept, n_learners


def present(
    p,
    p_rule,
    learning,
    memory,
    scratch,
    pixels,
    image_index,
    epoch,
    seed,
    stream,
    limits,
    min_spikes,
    rate,
    learners,
    weight,
    theta,
    counts,
):
    """Show images one after the other; add the excitatory spikes to counts[N, E].

    pixels[N, I] uint8, rate[N], weight[I, E], theta[E]; weight, theta and memory change if `learning`, from the spikes
    of the first learners[N] neurons to fire in each image, 0: of all. An image with fewer than `min_spikes` spikes is
    shown again with the next of limits[R, 256], as long as there is one; its counts are those of the last showing.
    """
    # Arrays are taken out of the tuple once: taking them out at every step costs more than the step.
    train, current, v, refractory, spiked = (
        scratch.train,
        scratch.current,
        scratch.v,
        scratch.refractory,
        scratch.spiked,
    )
    active, places, first = train.active, train.places, train.first
    inhibitory_v, inhibitory_refractory = scratch.inhibitory_v, scratch.inhibitory_refractory
    inhibitory_spikes, fired, awake, is_awake, learns = (
        scratch.inhibitory_spikes,
        scratch.fired,
        scratch.awake,
        scratch.is_awake,
        scratch.learns,
    )
    n_steps = first.shape[0] - 1
    v_rest, _, inhibitory_v_rest = neuron.initial(p)
    n = repeat = np.int64(0)
    while n < pixels.shape[0]:
        presentation = presentation_key(epoch, repeat)
        n_active = draw_spikes(pixels[n], limits[repeat], image_index[n], presentation, seed, stream, train)
        v[:] = v_rest
        refractory[:] = 0
        inhibitory_v[:] = inhibitory_v_rest
        inhibitory_refractory[:] = 0
        inhibitory_spikes[:] = 0
        is_awake[:] = 0
        n_awake = 0
        n_inhibitory = 0
        learns[:] = 0
        n_learners = 0
        if learning:
            rule.begin(p_rule, memory, weight)
        for t in range(n_steps):
            spikes = places[first[t] : first[t + 1]]
            n_spikes = spikes.shape[0]
            add_rows(current, weight, active, spikes, n_spikes)
            if learning:
                rule.correct_current(p_rule, memory, weight, current, spikes, n_spikes)
            if n_inhibitory:
                inhibit(p, current, inhibitory_spikes, n_inhibitory)
            n_fired = advance_excitatory(p, learning, current, v, refractory, theta, spiked, fired)
            for f in range(n_fired):
                counts[n, fired[f]] += 1
            if n_fired + n_awake:
                n_inhibitory, n_awake = advance_inhibitory(
                    p,
                    spiked,
                    fired,
                    n_fired,
                    inhibitory_v,
                    inhibitory_refractory,
                    inhibitory_spikes,
                    awake,
                    is_awake,
                    n_awake,
                )
            if learning:
                if n_fired and learners[n]:
                    n_fired, n_learners = keep_first(fired, n_fired, learns, n_learners, learners[n])
                instant = Instant(t, t == n_steps - 1, image_index[n], presentation, seed)
                rule.learn(
                    p_rule,
                    rate[n],
                    instant,
                    weight,
                    theta,
                    memory,
                    active,
                    n_active,
                    spikes,
                    n_spikes,
                    fired,
                    n_fired,
                )
        if learning:
            rule.finish(p_rule, memory, weight, active, n_active)
        repeat = next_repeat(counts[n], min_spikes, repeat, limits.shape[0])
        n += repeat == 0


STEP_KERNELS = (add_rows, inhibit, advance_excitatory, advance_inhibitory, keep_first)
