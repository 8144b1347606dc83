"""The active neurons of an image: neurons that fire or might fire, and neurons whose weights can change.

Each active neuron has a slot, in order of activation, and a copy of its weights from active inputs. A few instructions
advance a block of BLOCK slots.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import Bound, rarely_called
from stdp_run.engines.event.sampling import count_ones
from stdp_run.engines.event.vectors import BLOCK, zeros_for_vectors
from stdp_run.network import Model

neuron = Bound("neuron")
implementation = Bound("implementation")


class ActiveNeurons(NamedTuple):
    """C active neurons and their weights from A active inputs, in memory for E neurons and I inputs."""

    neuron_of: np.ndarray  # int32 [C], the neuron in each slot
    weights: np.ndarray  # [E * I] stored weights, ordered by block of slots, active input, slot of the block
    delays: np.ndarray  # uint8, their delays in the same order; empty without delays
    delay_of: np.ndarray  # uint8 [neurons without padding, I], the delays of all synapses; empty without delays
    n_inputs: int  # I
    block: int  # slots of a block


class Cells(NamedTuple):
    """The state of neurons and their inhibitory partners, all [E]: by slot in the interval kernel, else by neuron."""

    v: np.ndarray
    theta: np.ndarray  # only in the interval kernel
    refractory: np.ndarray  # int32
    fired: np.ndarray  # 0 or 1, in this step
    inhibitory_v: np.ndarray
    inhibitory_refractory: np.ndarray  # int32
    inhibitory_spikes: np.ndarray  # 0 or 1
    g_e: np.ndarray  # this and the next two only with conductances
    g_i: np.ndarray
    inhibitory_g_e: np.ndarray


def make_active_neurons(model: Model, n_columns: int, block: int = BLOCK) -> ActiveNeurons:
    """Return memory for one thread; untouched pages take no memory."""
    size = n_columns * model.n_inputs
    delays = np.zeros((0, 0), np.uint8) if model.delays is None else model.delays
    return ActiveNeurons(
        zeros_for_vectors(n_columns, np.int32),
        zeros_for_vectors(size, model.weight_dtype),
        zeros_for_vectors(size if len(delays) else 0, np.uint8),
        delays,
        model.n_inputs,
        block,
    )


def make_cells(model: Model, n_columns: int) -> Cells:
    """Return memory for one thread, with neurons at rest."""
    kinds = dict.fromkeys(Cells._fields, model.weight_dtype) | {"theta": model.theta_dtype}
    kinds |= {"refractory": np.dtype(np.int32), "inhibitory_refractory": np.dtype(np.int32)}
    cells = Cells(**{name: zeros_for_vectors(n_columns, kind) for name, kind in kinds.items()})
    cells.v[:], _, cells.inhibitory_v[:] = model.neuron.initial(model.neuron_parameters)
    return cells


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def first_of(active, slots, n):
    """Return the first n active neurons, as a view of the memory of `active`."""
    return ActiveNeurons(slots[:n], active.weights, active.delays, active.delay_of, active.n_inputs, active.block)


def weight_index(active, slot, k):
    """Return the index in `weights` of the weight from the k-th active input to the neuron in a slot."""
    return ((slot // active.block) * active.n_inputs + k) * active.block + slot % active.block


@rarely_called
def take_weights(active, weight, inputs, slot):
    """Copy a neuron's weights from active inputs to its slot; the first neuron of a block clears the block."""
    i, first = active.neuron_of[slot], weight_index(active, slot, 0)
    if slot % active.block == 0:
        active.weights[first : first + inputs.shape[0] * active.block] = 0
    for k in range(inputs.shape[0]):
        active.weights[first + k * active.block] = weight[inputs[k], i]
    if active.delays.shape[0]:
        for k in range(inputs.shape[0]):
            active.delays[first + k * active.block] = active.delay_of[i, inputs[k]]


def gather_weights(active, slot, n, row):
    """Copy the n weights in a slot to a row."""
    first = weight_index(active, slot, 0)
    for k in range(n):
        row[k] = active.weights[first + k * active.block]


def scatter_weights(active, slot, n, row):
    """Copy a row back to the n weights in a slot."""
    first = weight_index(active, slot, 0)
    for k in range(n):
        active.weights[first + k * active.block] = row[k]


def sum_weights(active, spikes, at):
    """Return the sums of stored weights that input spikes add to a block of neurons."""
    current = vectors.zeros(active.weights, BLOCK)
    for s in range(spikes.shape[0]):
        current = current + vectors.load(active.weights, at * active.n_inputs + np.int64(spikes[s]) * BLOCK, BLOCK)
    return current


def spread(active, at, values, current):
    """Write the currents of a block of active neurons to current[E]; `values` are in slots from `at` on."""
    for r in range(min(active.block, active.neuron_of.shape[0] - at)):
        current[active.neuron_of[at + r]] = values[r]


def activate(p, cells, slot, v, theta):
    """Set the state of a newly active neuron in `slot`, the first free one."""
    if slot % BLOCK == 0:
        v_rest, _, inhibitory_v_rest = neuron.initial(p)
        for r in range(slot, slot + BLOCK):
            cells.v[r] = v_rest
            cells.theta[r] = np.inf  # a free slot never fires
            cells.refractory[r] = 0
            cells.fired[r] = 0
            cells.inhibitory_v[r] = inhibitory_v_rest
            cells.inhibitory_refractory[r] = 0
            cells.inhibitory_spikes[r] = 0
    cells.v[slot] = v
    cells.theta[slot] = theta


def advance_active(p, learning, memory, active, cells, step, n_inhibitory):
    """Advance the active neurons by a step and set `fired`; return whether any neuron fires."""
    v, theta, refractory = cells.v, cells.theta, cells.refractory
    any_fires = False
    for at in range(0, active.neuron_of.shape[0], BLOCK):
        current = implementation.block_currents(memory, active, step, at)
        if n_inhibitory:
            current = current - p.w_ie * (n_inhibitory - vectors.load(cells.inhibitory_spikes, at, BLOCK))
        spike, new_v, new_refractory, new_theta = neuron.excitatory(
            p,
            learning,
            current,
            vectors.load(v, at, BLOCK),
            vectors.load(refractory, at, BLOCK),
            vectors.load(theta, at, BLOCK),
        )
        vectors.store(v, at, new_v)
        vectors.store(refractory, at, new_refractory)
        vectors.store(theta, at, new_theta)
        vectors.store(cells.fired, at, spike)
        any_fires |= vectors.lanes_where(spike) != 0
    return any_fires


def advance_partners(p, cells, n_active, any_fires):
    """Advance the inhibitory partners of the active neurons; return the number of their spikes."""
    fired, v, refractory = cells.fired, cells.inhibitory_v, cells.inhibitory_refractory
    n_spikes = np.int64(0)
    for at in range(0, n_active, BLOCK):
        fires = vectors.zeros(fired, BLOCK)
        if any_fires:  # a predictable branch: most steps need not wait for the neurons
            fires = vectors.load(fired, at, BLOCK)
        spike, new_v, new_refractory = neuron.inhibitory(
            p, p.w_ei * fires, vectors.load(v, at, BLOCK), vectors.load(refractory, at, BLOCK)
        )
        vectors.store(v, at, new_v)
        vectors.store(refractory, at, new_refractory)
        vectors.store(cells.inhibitory_spikes, at, spike)
        n_spikes += count_ones(vectors.lanes_where(spike))
    return n_spikes


def keep_winners(active, wins, fired, n_winners, k_winners):
    """Keep only winners, the first neurons to fire in the image, in `fired`, a list of slots (network.first_to_fire).

    `wins` [E] marks the slots of winners. Return (number of slots kept, number of winners so far).
    """
    while n_winners < k_winners:
        first = -1  # slot of the neuron with the lowest index
        for f in range(fired.shape[0]):
            slot = fired[f]
            if not wins[slot] and (first < 0 or active.neuron_of[slot] < active.neuron_of[first]):
                first = slot
        if first < 0:
            break
        wins[first] = 1
        n_winners += 1
    kept = 0
    for f in range(fired.shape[0]):
        if wins[fired[f]]:
            fired[kept] = fired[f]
            kept += 1
    return kept, n_winners
