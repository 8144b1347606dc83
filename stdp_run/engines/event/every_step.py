"""The kernel that advances every neuron at every step: for integers, conductances, and all groups that are not linear.

A step adds the weights of the input spikes and makes one pass over E neurons. Inhibitory neurons advance only while
they are away from rest. In a network that runs on, potentials only decay once conductances are negligible in the rest;
one step then replaces the remaining steps of the rest.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.active import ActiveNeurons, Cells, first_of, keep_winners, make_active_neurons, make_cells
from stdp_run.engines.event.delays import arriving, make_arrivals
from stdp_run.engines.event.jit import Bound, rarely_called
from stdp_run.engines.event.presentation import EventStep, Network, span_of
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, add_rows, zeros_for_vectors
from stdp_run.network import Model
from stdp_run.neurons import ConductanceGroup

neuron = Bound("neuron")
implementation = Bound("implementation")
group = Bound("group")

SMALLEST_CONDUCTANCE = 1e-30  # smaller ones are set to 0, since denormal numbers are slow
CHECK_EVERY = 8  # steps of the rest between two checks for negligible conductances


class EveryStepScratch(NamedTuple):
    """Constants and working arrays of one thread, for E neurons."""

    cells: Cells
    runs_on: bool  # the cells keep their state from the previous image
    negligible: float  # a conductance below it does not change even the last bit of a potential
    decay: np.ndarray  # float64 [3, rest], decay of v, inhibitory v, theta over n steps; empty: rest step by step
    arrivals: Any  # Arrivals; 0 without delays
    longest_delay: int  # steps
    current: np.ndarray  # [E] sums of weights that arrive
    fired: np.ndarray  # [neurons without padding] int32
    slots: ActiveNeurons
    slot_of: np.ndarray  # [E] int32, slot + 1 of each neuron; 0: not active
    wins: np.ndarray  # [E] uint8, by slot, the first `k_winners` neurons to fire
    awake: np.ndarray  # [E] int32, the inhibitory neurons that are not at rest
    is_awake: np.ndarray  # [E] uint8


def make_scratch(model: Model, learning: bool, network: Network, block: int = BLOCK) -> EveryStepScratch:
    """Return constants and memory for one thread."""
    dtype, n_columns = model.weight_dtype, len(network.theta)
    has_conductances = issubclass(model.neuron, ConductanceGroup)
    p, decay = network.neuron_parameters, np.zeros((3, 0))
    own = any(
        getattr(model.neuron, name) is not getattr(ConductanceGroup, name) for name in ("excitatory", "inhibitory")
    )
    if has_conductances and learning and not own:  # then potentials only decay in the rest
        by_step = np.array([[p.d_v], [p.d_inhibitory], [p.d_theta]], np.float64)
        decay = by_step ** np.arange(model.encoder.rest_steps)
    arrays = {"current": dtype, "slot_of": np.int32, "wins": np.uint8, "awake": np.int32, "is_awake": np.uint8}
    return EveryStepScratch(
        make_cells(model, n_columns),
        runs_on=learning and model.runs_on,
        decay=decay,
        negligible=float(np.finfo(dtype).eps) * 1e-3 if has_conductances else 0.0,
        longest_delay=0 if model.delays is None else int(model.delays.max()),
        arrivals=0 if model.delays is None else make_arrivals(model, n_columns),
        slots=make_active_neurons(model, n_columns, block),
        fired=np.zeros(model.n_exc, np.int32),
        **{name: zeros_for_vectors(n_columns, kind) for name, kind in arrays.items()},
    )


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def present_every_step(network, image, learning, scratch):
    """Present an image and its rest; add excitatory spikes to its counts; return the number of inhibitory ones."""
    p, p_rule, memory, weight, theta = network
    cells, fired, counts = scratch.cells, scratch.fired, image.counts
    n_awake = start_cells(p, cells, scratch)
    implementation.start(p_rule, memory, weight, image)
    n_active = np.int64(0)
    for i in range(counts.shape[0]):
        if implementation.is_first_active(p_rule, memory, image, i):
            n_active = join(p_rule, memory, weight, image, scratch, n_active, i)
    active = first_of(scratch.slots, scratch.slots.neuron_of, n_active)
    n_inhibitory = all_inhibitory = np.int64(0)
    for i in range(counts.shape[0]):
        n_inhibitory += cells.inhibitory_spikes[i] != 0
    n_winners = np.int64(0)
    n_steps = image.n_steps + image.rest_steps
    t = np.int64(0)
    while t < n_steps:
        begin, end = span_of(image, t)
        step = EventStep(t, t == n_steps - 1, image.train.ranks[begin:end], image)
        group.collect(scratch, weight, step)
        implementation.correct_currents(memory, active, step, scratch.current)
        n_fired = advance_excitatory(p, learning, scratch, theta, n_inhibitory)
        if n_fired + n_awake:
            n_inhibitory, n_awake = advance_partners(p, cells, scratch, fired[:n_fired], n_awake)
            all_inhibitory += n_inhibitory
        if t < image.n_steps:
            for f in range(n_fired):
                counts[fired[f]] += 1
        if learning:
            for f in range(n_fired):
                if scratch.slot_of[fired[f]] == 0:
                    n_active = join(p_rule, memory, weight, image, scratch, n_active, fired[f])
                    active = first_of(scratch.slots, scratch.slots.neuron_of, n_active)
                fired[f] = scratch.slot_of[fired[f]] - 1
            if n_fired and image.k_winners:
                n_fired, n_winners = keep_winners(active, scratch.wins, fired[:n_fired], n_winners, image.k_winners)
            implementation.learn(p_rule, memory, weight, theta, step, active, fired[:n_fired])
        t += 1
        n = n_steps - 1 - t
        if t >= image.n_steps + scratch.longest_delay and n > 0 and is_quiet(scratch, n_inhibitory, t):
            decay_cells(p, cells, theta, scratch.decay, n)
            step = EventStep(t, False, step.spikes, image)
            implementation.rest(p_rule, memory, active, step, n)
            t += n
    if learning:
        implementation.finish(p_rule, memory, weight, image, active)
        for slot in range(n_active):
            scratch.slot_of[active.neuron_of[slot]] = 0
    return all_inhibitory


@rarely_called
def start_cells(p, cells, scratch):
    """Reset neurons to rest, unless the network runs on; return the number of inhibitory neurons listed as awake."""
    v_rest, _, inhibitory_v_rest = neuron.initial(p)
    scratch.wins[:] = 0
    scratch.is_awake[:] = 0
    if not scratch.runs_on:
        cells.v[:] = v_rest
        cells.inhibitory_v[:] = inhibitory_v_rest
        cells.refractory[:] = 0
        cells.inhibitory_refractory[:] = 0
        for zeros in (cells.inhibitory_spikes, cells.g_e, cells.g_i, cells.inhibitory_g_e):
            zeros[:] = 0
        return np.int64(0)
    near_rest = 1.6e4 * scratch.negligible * abs(inhibitory_v_rest)  # rounding keeps a potential from reaching rest
    n_awake = np.int64(0)
    for i in range(scratch.fired.shape[0]):
        is_away = abs(cells.inhibitory_v[i] - inhibitory_v_rest) > near_rest or cells.inhibitory_spikes[i] != 0
        if is_away or cells.inhibitory_g_e[i] > scratch.negligible or cells.inhibitory_refractory[i] > 0:
            scratch.is_awake[i] = 1
            scratch.awake[n_awake] = i
            n_awake += 1
        else:
            cells.inhibitory_v[i] = inhibitory_v_rest
            cells.inhibitory_g_e[i] = 0
    return n_awake


def join(p, memory, weight, image, scratch, n_active, i):
    """Make neuron i active; return the number of active neurons."""
    scratch.slots.neuron_of[n_active] = i
    scratch.slot_of[i] = n_active + 1
    implementation.join(p, memory, weight, image, scratch.slots, n_active)
    return n_active + 1


def advance_excitatory(p, learning, scratch, theta, n_inhibitory):
    """Advance the excitatory neurons and list those that spike in `fired`; return their number."""
    cells, fired, v, refractory = scratch.cells, scratch.fired, scratch.cells.v, scratch.cells.refractory
    any_spike = np.uint64(0)
    for i in range(0, v.shape[0], VECTOR_BYTES // v.itemsize):
        counter, threshold = vectors.load(refractory, i, v), vectors.load(theta, i, v)
        arrived = vectors.load(scratch.current, i, scratch.current)
        spike, new_v, new_refractory, new_theta = group.excite(
            p, learning, cells, (i, n_inhibitory), arrived, counter, threshold
        )
        vectors.store(v, i, new_v)
        vectors.store(refractory, i, new_refractory)
        vectors.store(theta, i, new_theta)
        vectors.store(cells.fired, i, spike)
        any_spike |= vectors.lanes_where(spike)
    n_fired = 0
    if any_spike:
        for i in range(fired.shape[0]):
            if cells.fired[i] != 0:
                fired[n_fired] = i
                n_fired += 1
    return n_fired


def advance_partners(p, cells, scratch, fired, n_awake):
    """Advance the inhibitory neurons that are not at rest; return (number that spike, number awake)."""
    awake, is_awake = scratch.awake, scratch.is_awake
    for f in range(fired.shape[0]):
        if not is_awake[fired[f]]:
            is_awake[fired[f]] = 1
            awake[n_awake] = fired[f]
            n_awake += 1
    n_spikes = np.int64(0)
    for a in range(n_awake):
        i = awake[a]
        spike, new_v, new_refractory = group.inhibit(p, cells, cells.fired[i], i)
        cells.inhibitory_v[i] = new_v
        cells.inhibitory_refractory[i] = new_refractory
        cells.inhibitory_spikes[i] = spike
        n_spikes += spike
    return n_spikes, n_awake


@rarely_called
def is_quiet(scratch, n_inhibitory, t):
    """Return whether potentials only decay from step t on: conductances are negligible, no neuron is refractory."""
    cells = scratch.cells
    if n_inhibitory or not scratch.decay.shape[1] or t % CHECK_EVERY:
        return False
    largest, refractory = cells.g_e[0], cells.refractory[0]
    for i in range(cells.v.shape[0]):
        largest = max(largest, max(cells.g_e[i], max(cells.g_i[i], cells.inhibitory_g_e[i])))
        refractory = max(refractory, max(cells.refractory[i], cells.inhibitory_refractory[i]))
    return largest < scratch.negligible and refractory == 0


@rarely_called
def decay_cells(p, cells, theta, decay, n):
    """Let potentials and theta decay for n steps without conductances."""
    v_rest, _, inhibitory_v_rest = neuron.initial(p)
    for i in range(cells.v.shape[0]):
        cells.v[i] = v_rest + (cells.v[i] - v_rest) * decay[0, n]
        cells.inhibitory_v[i] = inhibitory_v_rest + (cells.inhibitory_v[i] - inhibitory_v_rest) * decay[1, n]
        theta[i] *= decay[2, n]
    for zeros in (cells.g_e, cells.g_i, cells.inhibitory_g_e):
        zeros[:] = 0


def collect_now(scratch, weight, step):
    """Set `current` to the sums of the weights of this step's spikes."""
    add_rows(scratch.current, weight, step.image.active_inputs, step.spikes, None)


def collect_delayed(scratch, weight, step):
    """Set `current` to the sums of the weights of the spikes that arrive in this step."""
    arriving(scratch.arrivals, weight, step.image, step.number, scratch.current)


def excite_by_currents(p, learning, cells, at, arrived, refractory, theta):
    """Advance a vector of excitatory neurons; `at` is (its first neuron, number of inhibitory spikes)."""
    i, n_inhibitory = at
    if n_inhibitory:
        arrived = arrived - p.w_ie * (n_inhibitory - vectors.load(cells.inhibitory_spikes, i, cells.inhibitory_spikes))
    return neuron.excitatory(p, learning, arrived, vectors.load(cells.v, i, cells.v), refractory, theta)


def excite_by_conductances(p, learning, cells, at, arrived, refractory, theta):
    """Advance a vector of excitatory neurons by conductances; arguments as in `excite_by_currents`."""
    i, n_inhibitory = at
    g_e = decayed(vectors.load(cells.g_e, i, cells.g_e), p.d_excitatory) + arrived
    g_i = decayed(vectors.load(cells.g_i, i, cells.g_i), p.d_inhibition)
    if n_inhibitory:
        g_i = g_i + p.w_ie * (n_inhibitory - vectors.load(cells.inhibitory_spikes, i, cells.inhibitory_spikes))
    vectors.store(cells.g_e, i, g_e)
    vectors.store(cells.g_i, i, g_i)
    return neuron.excitatory(p, learning, g_e, g_i, vectors.load(cells.v, i, cells.v), refractory, theta)


def decayed(g, d):
    """Return conductances after their decay."""
    g = g * d
    return where(g > SMALLEST_CONDUCTANCE, g, 0)


def inhibit_by_current(p, cells, spike, i):
    """Advance inhibitory neuron i; `spike` is 1 if its partner spikes, else 0."""
    return neuron.inhibitory(p, p.w_ei * spike, cells.inhibitory_v[i], cells.inhibitory_refractory[i])


def inhibit_by_conductance(p, cells, spike, i):
    """Advance inhibitory neuron i by its conductance; arguments as in `inhibit_by_current`."""
    cells.inhibitory_g_e[i] = decayed(cells.inhibitory_g_e[i], p.d_excitatory) + p.w_ei * spike
    return neuron.inhibitory(p, cells.inhibitory_g_e[i], cells.inhibitory_v[i], cells.inhibitory_refractory[i])


CURRENTS = {"excite": excite_by_currents, "inhibit": inhibit_by_current}
CONDUCTANCES = {"excite": excite_by_conductances, "inhibit": inhibit_by_conductance}
