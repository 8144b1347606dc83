"""Presenting images with every neuron advanced at every step: what always holds.

Per step: one row weight[j, :] of E numbers is added per input spike, one pass over E neurons is made, inhibition is a
sum; only inhibitory neurons whose partner has fired in this image are advanced, the rest is at rest.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import zeros_for_vectors
from stdp_run.encoding import presentation_key
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.presentation import EventStep
from stdp_run.engines.event.row_sums import add_rows
from stdp_run.engines.event.spike_sampling import SpikeTrain, make_train, next_repeat, sample_spikes
from stdp_run.network import Model

neuron = Bound("neuron")
plasticity = Bound("plasticity")


class Excitatory(NamedTuple):
    """The excitatory neurons during an image. E counts the padding of the weights' rows."""

    current: np.ndarray  # [E]
    v: np.ndarray  # [E]
    refractory: np.ndarray  # [E] int32
    spiked: np.ndarray  # [E] uint8
    fired: np.ndarray  # [E] int32, the neurons that spike in this step
    learns: np.ndarray  # [E] uint8, the neurons that were among the first `max_learners` to fire


class Inhibitory(NamedTuple):
    """The inhibitory neurons during an image."""

    v: np.ndarray  # [E]
    refractory: np.ndarray  # [E] int32
    spikes: np.ndarray  # [E], 0 or 1
    awake: np.ndarray  # [E] int32, the neurons that are not at rest
    is_awake: np.ndarray  # [E] uint8


class StepwiseScratch(NamedTuple):
    """Working arrays of one thread; nothing in them outlives an image."""

    train: SpikeTrain
    excitatory: Excitatory
    inhibitory: Inhibitory


def make_scratch(model: Model, n_columns: int) -> StepwiseScratch:
    """Return working arrays for one thread."""

    def arrays(*dtypes) -> list[np.ndarray]:
        return [zeros_for_vectors(n_columns, dtype) for dtype in dtypes]

    dtype = model.weight_dtype
    return StepwiseScratch(
        make_train(model.encoder.n_steps, model.n_inputs),
        Excitatory(*arrays(dtype, dtype, np.int32, np.uint8, np.int32, np.uint8)),
        Inhibitory(*arrays(dtype, np.int32, dtype, np.int32, np.uint8)),
    )


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def inhibit(p, current, inhibitory_spikes, n_inhibitory):
    """Take from each current the inhibition of the step before, from all inhibitory neurons but the partner."""
    total = current[0] * 0 + n_inhibitory
    for i in range(current.shape[0]):
        current[i] -= p.w_ie * (total - inhibitory_spikes[i])


def advance_excitatory(p, learning, excitatory, theta):
    """Advance the excitatory neurons; return how many spike and list them in `fired`."""
    current, v, refractory = excitatory.current, excitatory.v, excitatory.refractory
    spiked, fired = excitatory.spiked, excitatory.fired
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


def advance_inhibitory(p, inhibitory, spiked, fired, n_awake):
    """Advance the inhibitory neurons that are not at rest; return (how many spike, how many are awake)."""
    v, refractory, awake, is_awake = inhibitory.v, inhibitory.refractory, inhibitory.awake, inhibitory.is_awake
    for f in range(fired.shape[0]):
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
        inhibitory.spikes[i] = spike
        n_spikes += spike
    return n_spikes, n_awake


def keep_first(fired, learns, n_learners, max_learners):
    """Keep in `fired` the first neurons to fire in the image (network.first_to_fire); return (how many now, in all)."""
    kept = 0
    for f in range(fired.shape[0]):
        i = fired[f]
        if not learns[i] and n_learners < max_learners:
            learns[i] = 1
            n_learners += 1
        if learns[i]:
            fired[kept] = i
            kept += 1
    return kept, n_learners


def present_stepwise(network, images, presentation, scratch):
    """Present images one after the other; add the excitatory spikes to their counts.

    Where `presentation.learning`, weight, theta and memory change. An image with fewer than `min_spikes` spikes is
    presented again, as long as there are further thresholds; its counts are those of the last presentation.
    """
    p, p_rule, memory = network.neuron_parameters, network.rule_parameters, network.memory
    weight, theta, counts = network.weight, network.theta, images.counts
    learning, seed, thresholds = presentation.learning, presentation.seed, presentation.thresholds
    train, excitatory, inhibitory = scratch.train, scratch.excitatory, scratch.inhibitory
    current, fired, learns = excitatory.current, excitatory.fired, excitatory.learns
    places, first = train.places, train.first
    n_steps = first.shape[0] - 1
    v_rest, _, inhibitory_v_rest = neuron.initial(p)
    n = repeat = np.int64(0)
    while n < images.pixels.shape[0]:
        index, rate, max_learners = images.image_index[n], images.rate[n], images.max_learners[n]
        key = presentation_key(presentation.epoch, repeat)
        n_active = sample_spikes(images.pixels[n], thresholds[repeat], index, key, seed, presentation.stream, train)
        active_inputs = train.active_inputs[:n_active]
        excitatory.v[:] = v_rest
        excitatory.refractory[:] = 0
        inhibitory.v[:] = inhibitory_v_rest
        inhibitory.refractory[:] = 0
        inhibitory.spikes[:] = 0
        inhibitory.is_awake[:] = 0
        n_awake = 0
        n_inhibitory = 0
        learns[:] = 0
        n_learners = 0
        if learning:
            plasticity.begin(p_rule, memory, weight)
        for t in range(n_steps):
            spikes = places[first[t] : first[t + 1]]
            add_rows(current, weight, active_inputs, spikes)
            if learning:
                plasticity.correct_currents(memory, current)
            if n_inhibitory:
                inhibit(p, current, inhibitory.spikes, n_inhibitory)
            n_fired = advance_excitatory(p, learning, excitatory, theta)
            for f in range(n_fired):
                counts[n, fired[f]] += 1
            if n_fired + n_awake:
                n_inhibitory, n_awake = advance_inhibitory(p, inhibitory, excitatory.spiked, fired[:n_fired], n_awake)
            if learning:
                if n_fired and max_learners:
                    n_fired, n_learners = keep_first(fired[:n_fired], learns, n_learners, max_learners)
                step = EventStep(t, t == n_steps - 1, rate, spikes, index, key, seed)
                plasticity.learn(p_rule, memory, weight, theta, active_inputs, step, fired[:n_fired])
        if learning:
            plasticity.finish(memory, weight)
        repeat = next_repeat(counts[n], presentation.min_spikes, repeat, thresholds.shape[0])
        n += repeat == 0
