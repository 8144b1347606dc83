"""The active neurons of an image, a step at a time: those that fire, or might (stdp_run.engines.event.interval).

They lie side by side in blocks of BLOCK places, in the order in which they became active, so that a step of eight of
them is a few instructions. S input spikes read S blocks of their weights for each block of neurons.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.spike_sampling import count_ones
from stdp_run.engines.event.vectors import BLOCK, zeros_for_vectors
from stdp_run.network import Model

neuron = Bound("neuron")
plasticity = Bound("plasticity")


class ActiveNeurons(NamedTuple):
    """The active neurons and their inhibitory partners, by place; as many places as there are neurons, E."""

    neuron_of: np.ndarray  # [E] int32, which neuron it is
    is_taken: np.ndarray  # [E] int32, 1 where there is one, 0 where the last block has places to spare
    v: np.ndarray  # [E]
    theta: np.ndarray  # [E]
    refractory: np.ndarray  # [E] int32
    fired: np.ndarray  # [E] 0 or 1
    learns: np.ndarray  # [E] uint8, 1 for those among the first to fire in the image, which may learn from it
    fired_of_learners: np.ndarray  # [E] 0 or 1, `fired` of those that learn
    inhibitory_v: np.ndarray  # [E]
    inhibitory_refractory: np.ndarray  # [E] int32
    inhibitory_spikes: np.ndarray  # [E] 0 or 1


def make_active_neurons(model: Model, n_columns: int) -> ActiveNeurons:
    """Return memory for one thread."""
    dtype = model.weight_dtype
    dtypes = np.int32, np.int32, dtype, model.theta_dtype, np.int32, dtype, np.uint8, dtype, dtype, np.int32, dtype
    return ActiveNeurons(*(zeros_for_vectors(n_columns, kind) for kind in dtypes))


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def activate(p, active, place, i, v, theta):
    """Make neuron i active at a place, the first that is free."""
    if place % BLOCK == 0:
        v_rest, theta_rest, inhibitory_v_rest = neuron.initial(p)
        for at in range(place, place + BLOCK):
            active.v[at] = v_rest
            active.theta[at] = theta_rest
            active.refractory[at] = 0
            active.is_taken[at] = 0
            active.fired[at] = 0
            active.learns[at] = 0
            active.fired_of_learners[at] = 0
            active.inhibitory_v[at] = inhibitory_v_rest
            active.inhibitory_refractory[at] = 0
            active.inhibitory_spikes[at] = 0
    active.neuron_of[place] = i
    active.is_taken[place] = 1
    active.v[place] = v
    active.theta[place] = theta


def advance_active(p, learning, memory, n_inputs, active, n_active, spikes, n_inhibitory):
    """Advance the active neurons by a step; return whether any fires, which are those where `fired` is 1."""
    v, theta, refractory = active.v, active.theta, active.refractory
    any_fires = False
    for at in range(0, n_active, BLOCK):
        current = vectors.zero_block(v)
        for s in range(spikes.shape[0]):
            current = current + vectors.block(memory.active_weights, at * n_inputs + np.int64(spikes[s]) * BLOCK)
        current = plasticity.true_currents(memory, current, at)
        if n_inhibitory:
            current = current - p.w_ie * (n_inhibitory - vectors.block(active.inhibitory_spikes, at))
        spike, new_v, new_refractory, new_theta = neuron.excitatory(
            p, learning, current, vectors.block(v, at), vectors.block(refractory, at), vectors.block(theta, at)
        )
        vectors.store(v, at, new_v)
        vectors.store(refractory, at, new_refractory)
        vectors.store(theta, at, new_theta)
        fires = spike & (vectors.block(active.is_taken, at) != 0)
        vectors.store(active.fired, at, fires)
        any_fires |= vectors.lanes_where(fires) != 0
    return any_fires


def advance_partners(p, active, n_active, any_fires):
    """Advance the inhibitory partners of the active neurons; return how many spike."""
    fired, v, refractory = active.fired, active.inhibitory_v, active.inhibitory_refractory
    n_spikes = np.int64(0)
    for at in range(0, n_active, BLOCK):
        fires = vectors.zero_block(fired)
        if any_fires:  # foreseen by the processor, so that in most steps this need not wait for the neurons
            fires = vectors.block(fired, at)
        spike, new_v, new_refractory = neuron.inhibitory(
            p, p.w_ei * fires, vectors.block(v, at), vectors.block(refractory, at)
        )
        vectors.store(v, at, new_v)
        vectors.store(refractory, at, new_refractory)
        vectors.store(active.inhibitory_spikes, at, spike)
        n_spikes += count_ones(vectors.lanes_where(spike))
    return n_spikes


def keep_learners(active, n_active, n_learners, max_learners):
    """Set `fired_of_learners` to the spikes of the first neurons to fire in the image (network.first_to_fire).

    Return (does any of them spike, how many neurons learn).
    """
    fired, neuron_of, learns = active.fired, active.neuron_of, active.learns
    while n_learners < max_learners:
        # Of several that fire for the first time the lowest number is first, whatever their places.
        first = -1
        for place in range(n_active):
            if fired[place] != 0 and not learns[place] and (first < 0 or neuron_of[place] < neuron_of[first]):
                first = place
        if first < 0:
            break
        learns[first] = 1
        n_learners += 1
    any_fires = False
    for place in range(n_active):
        active.fired_of_learners[place] = fired[place] * learns[place]
        any_fires |= active.fired_of_learners[place] != 0
    return any_fires, n_learners
