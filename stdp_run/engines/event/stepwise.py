"""Presenting an image with every neuron advanced at every step: what always holds.

Per step: one row weight[j, :] of E numbers is added per input spike, one pass over E neurons is made, inhibition is a
sum; only inhibitory neurons whose partner has fired in this image are advanced, the rest is at rest.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.presentation import EventStep, Network
from stdp_run.engines.event.row_sums import add_rows
from stdp_run.engines.event.vectors import zeros_for_vectors
from stdp_run.network import Model

neuron = Bound("neuron")
plasticity = Bound("plasticity")


class StepwiseScratch(NamedTuple):
    """Working arrays of one thread; nothing in them outlives an image. E counts the padding of the weights' rows."""

    fired: np.ndarray  # [neurons without padding] int32, those that spike in this step
    current: np.ndarray  # [E]
    v: np.ndarray  # [E]
    refractory: np.ndarray  # [E] int32
    spiked: np.ndarray  # [E] uint8
    learns: np.ndarray  # [E] uint8, the neurons that were among the first `max_learners` to fire
    inhibitory_v: np.ndarray  # [E]
    inhibitory_refractory: np.ndarray  # [E] int32
    inhibitory_spikes: np.ndarray  # [E], 0 or 1
    awake: np.ndarray  # [E] int32, the inhibitory neurons that are not at rest
    is_awake: np.ndarray  # [E] uint8


def make_scratch(model: Model, learning: bool, network: Network) -> StepwiseScratch:
    """Return working arrays for one thread."""
    dtype = model.weight_dtype
    dtypes = dtype, dtype, np.int32, np.uint8, np.uint8, dtype, np.int32, dtype, np.int32, np.uint8
    arrays = (zeros_for_vectors(len(network.theta), kind) for kind in dtypes)
    return StepwiseScratch(np.zeros(model.n_exc, np.int32), *arrays)


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def inhibit(p, current, inhibitory_spikes, n_inhibitory):
    """Take from each current the inhibition of the step before, from all inhibitory neurons but the partner."""
    total = current[0] * 0 + n_inhibitory
    for i in range(current.shape[0]):
        current[i] -= p.w_ie * (total - inhibitory_spikes[i])


def advance_excitatory(p, learning, scratch, theta):
    """Advance the excitatory neurons; return how many spike and list them in `fired`."""
    current, v, refractory = scratch.current, scratch.v, scratch.refractory
    spiked, fired = scratch.spiked, scratch.fired
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
        for i in range(fired.shape[0]):
            if spiked[i]:
                fired[n_fired] = i
                n_fired += 1
    return n_fired


def advance_inhibitory(p, scratch, fired, n_awake):
    """Advance the inhibitory neurons that are not at rest; return (how many spike, how many are awake)."""
    v, refractory = scratch.inhibitory_v, scratch.inhibitory_refractory
    awake, is_awake = scratch.awake, scratch.is_awake
    for f in range(fired.shape[0]):
        i = fired[f]
        if not is_awake[i]:
            is_awake[i] = 1
            awake[n_awake] = i
            n_awake += 1
    n_spikes = 0
    for a in range(n_awake):
        i = awake[a]
        spike, new_v, new_refractory = neuron.inhibitory(p, p.w_ei * scratch.spiked[i], v[i], refractory[i])
        v[i] = new_v
        refractory[i] = new_refractory
        scratch.inhibitory_spikes[i] = spike
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


def present_stepwise(network, image, train, learning, scratch):
    """Present an image; add the excitatory spikes to its counts."""
    p, p_rule, memory, weight, theta = network
    fired, current, learns = scratch.fired, scratch.current, scratch.learns
    counts, max_learners = image.counts, image.max_learners
    scratch.v[:], _, scratch.inhibitory_v[:] = neuron.initial(p)
    scratch.refractory[:] = 0
    scratch.inhibitory_refractory[:] = 0
    scratch.inhibitory_spikes[:] = 0
    scratch.is_awake[:] = 0
    learns[:] = 0
    n_awake = n_inhibitory = n_learners = 0
    plasticity.start(p_rule, memory, weight, image)
    for t in range(image.n_steps):
        spikes = train.places[train.first[t] : train.first[t + 1]]
        add_rows(current, weight, image.active_inputs, spikes)
        plasticity.correct_currents(memory, current, spikes)
        if n_inhibitory:
            inhibit(p, current, scratch.inhibitory_spikes, n_inhibitory)
        n_fired = advance_excitatory(p, learning, scratch, theta)
        for f in range(n_fired):
            counts[fired[f]] += 1
        if n_fired + n_awake:
            n_inhibitory, n_awake = advance_inhibitory(p, scratch, fired[:n_fired], n_awake)
        if n_fired and max_learners:
            n_fired, n_learners = keep_first(fired[:n_fired], learns, n_learners, max_learners)
        step = EventStep(t, spikes, image)
        plasticity.learn(p_rule, memory, weight, theta, step, fired[:n_fired])
    plasticity.finish(memory, weight, image)
