"""Presenting an image to neurons with conductances, whose input spikes are delayed and whose state runs on.

A conductance multiplies the potential, so that many steps cannot be added up to one, as they can with currents
(stdp_run.engines.event.interval): every excitatory neuron is advanced at every step. What is left out all the same:

- theta is looked at only where a potential is above `limit`, a bound just below the neuron's threshold;
- an inhibitory neuron is advanced from a spike of its partner on until it is at rest again;
- once conductances no longer matter in the rest after an image, the steps that are left are one: potentials decay.

Cost of an image with S input spikes and T steps, those of the rest included: S E additions to sums of what arrives in a
step (stdp_run.engines.event.delayed_input), and T passes over E neurons with a division and an exponential each.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import maximum, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.delayed_input import CHUNK, Arrivals, add_arrivals, make_arrivals, shift_arrivals
from stdp_run.engines.event.jit import Bound, rarely_called
from stdp_run.engines.event.presentation import EventStep, Network
from stdp_run.engines.event.stepwise import keep_first
from stdp_run.engines.event.vectors import VECTOR_BYTES, zeros_for_vectors
from stdp_run.network import Model
from stdp_run.neurons.conductance import charged

neuron = Bound("neuron")
plasticity = Bound("plasticity")

SMALLEST_CONDUCTANCE = 1e-30  # below, a conductance is 0
CHECK_EVERY = 8  # steps of the rest, from one look at whether conductances still matter to the next


class Cells(NamedTuple):
    """The state of E neurons, all [E]; what its names mean stands in stdp_run.neurons."""

    v: np.ndarray
    refractory: np.ndarray  # int32
    g_e: np.ndarray
    g_i: np.ndarray
    inhibitory_v: np.ndarray
    inhibitory_refractory: np.ndarray  # int32
    inhibitory_g_e: np.ndarray
    inhibitory_spikes: np.ndarray  # 0 or 1


class ConductanceScratch(NamedTuple):
    """Constants and working arrays of one thread, for E neurons."""

    rest_steps: int  # after each presentation, without input
    negligible: float  # a conductance below this changes no potential by as much as its last bit
    arrivals: Arrivals
    limit: np.ndarray  # [E] a potential below the neuron's threshold throughout the image
    spiked: np.ndarray  # [E] 0 or 1
    fired: np.ndarray  # [neurons without padding] int32
    learns: np.ndarray  # [E] uint8, the neurons that were among the first `max_learners` to fire
    awake: np.ndarray  # [E] int32, the inhibitory neurons that are not at rest
    is_awake: np.ndarray  # [E] uint8


def make_cells(model: Model, n_columns: int) -> Cells:
    """Return memory for the state of the neurons, at rest."""
    dtype = model.weight_dtype
    dtypes = dtype, np.int32, dtype, dtype, dtype, np.int32, dtype, dtype
    cells = Cells(*(zeros_for_vectors(n_columns, kind) for kind in dtypes))
    cells.v[:], _, cells.inhibitory_v[:] = model.neuron.initial(model.neuron_parameters)  # also of the padding
    return cells


def make_conductance_scratch(model: Model, learning: bool, network: Network) -> ConductanceScratch:
    """Return working arrays for one thread."""
    dtype, n_columns = model.weight_dtype, len(network.theta)
    dtypes = dtype, dtype, np.int32, np.uint8, np.int32, np.uint8
    sizes = n_columns, n_columns, model.n_exc, n_columns, n_columns, n_columns
    return ConductanceScratch(
        model.encoder.rest_steps if learning else 0,
        float(np.finfo(dtype).eps) * 1e-3,
        make_arrivals(model, network.memory.delays),
        *(zeros_for_vectors(size, kind) for size, kind in zip(sizes, dtypes, strict=True)),
    )


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def present_to_conductances(network, image, train, learning, scratch):
    """Present an image, and the rest after it; add the excitatory spikes to its counts."""
    p, p_rule, memory, weight, theta = network
    cells, delays, arrivals = memory.cells, memory.delays, scratch.arrivals
    fired, learns, counts, max_learners = scratch.fired, scratch.learns, image.counts, image.max_learners
    if not learning:
        rest(p, cells)
    plasticity.start(p_rule, memory, weight, image)
    n_awake = list_awake(p, cells, scratch)
    set_limits(p, theta, scratch.limit, image.n_steps + scratch.rest_steps)
    arrivals.sums[:] = 0
    learns[:] = 0
    n_inhibitory = np.int64(0)
    for i in range(fired.shape[0]):
        n_inhibitory += cells.inhibitory_spikes[i] != 0
    n_learners = np.int64(0)
    n_steps = image.n_steps + scratch.rest_steps
    t = np.int64(0)
    while t < n_steps:
        row = t % CHUNK
        if row == 0:
            if t:
                shift_arrivals(arrivals)
            if t < image.n_steps:
                n = min(CHUNK, image.n_steps - t)
                add_arrivals(arrivals, weight, delays.offset, image.active_inputs, train, t, n)
        spikes = train.places[train.first[t] : train.first[t + 1]] if t < image.n_steps else train.places[:0]
        step = EventStep(t, spikes, image)
        plasticity.arrive(memory, step, arrivals)
        may_fire = advance_cells(p, cells, arrivals, row, n_inhibitory, scratch.limit)
        n_fired = np.int64(0)
        if may_fire:
            n_fired = fire(p, learning, cells, theta, (t, n_steps), scratch)
        if n_fired + n_awake:
            n_inhibitory, n_awake = advance_partners(p, cells, scratch, fired[:n_fired], n_awake)
        if t < image.n_steps:
            for f in range(n_fired):
                counts[fired[f]] += 1
        n_learning = n_fired
        if n_fired and max_learners:
            n_learning, n_learners = keep_first(fired[:n_fired], learns, n_learners, max_learners)
        plasticity.learn(p_rule, memory, step, train, fired[:n_learning], t == n_steps - 1)
        t += 1
        if t >= image.n_steps + delays.longest and t % CHECK_EVERY == 0:
            n = n_steps - 1 - t
            if n > 0 and is_quiet(cells, n_inhibitory, scratch.negligible):
                decay_cells(p, cells, n)
                plasticity.rest(p_rule, memory, t, n)
                t += n
    if learning:
        decay_theta(p, theta, n_steps)
    plasticity.finish(p_rule, memory, weight, n_steps)


@rarely_called
def rest(p, cells):
    """Put all neurons at rest."""
    cells.v[:], _, cells.inhibitory_v[:] = neuron.initial(p)
    cells.refractory[:] = 0
    cells.inhibitory_refractory[:] = 0
    for zeros in (cells.g_e, cells.g_i, cells.inhibitory_g_e, cells.inhibitory_spikes):
        zeros[:] = 0


@rarely_called
def list_awake(p, cells, scratch):
    """List the inhibitory neurons that are not at rest; return their number."""
    _, _, v_rest = neuron.initial(p)
    n_awake = np.int64(0)
    for i in range(scratch.fired.shape[0]):
        awake = cells.inhibitory_v[i] != v_rest or cells.inhibitory_g_e[i] != 0 or cells.inhibitory_refractory[i] > 0
        scratch.is_awake[i] = awake
        if awake:
            scratch.awake[n_awake] = i
            n_awake += 1
    return n_awake


@rarely_called
def set_limits(p, theta, limit, n_steps):
    """Set for each neuron a potential that lies just below the lowest threshold it may have in the next n_steps."""
    for i in range(limit.shape[0]):
        set_limit(p, theta, limit, i, n_steps)


def set_limit(p, theta, limit, i, n_steps):
    """Do so for one neuron. Until its next spike theta falls, and by its decay alone."""
    _, _, v_threshold, d_theta = neuron.between_spikes(p)
    lowest = min(theta[i], theta[i] * (1 - (1 - d_theta) * n_steps))
    limit[i] = v_threshold + lowest - 1e-5 * (abs(v_threshold) + abs(theta[i]))


def advance_cells(p, cells, arrivals, row, n_inhibitory, limit):
    """Advance conductances and potentials of all excitatory neurons; return whether any is above its limit."""
    v, refractory, sums, n_rows = cells.v, cells.refractory, arrivals.sums, arrivals.n_rows
    lanes = VECTOR_BYTES // v.itemsize
    may_fire = False
    for i in range(0, v.shape[0], lanes):
        at = i * n_rows + row * lanes
        g_e = decayed(vectors.load(cells.g_e, i), p.d_excitatory) + vectors.load(sums, at)
        vectors.store(sums, at, vectors.zeros(sums))
        g_i = decayed(vectors.load(cells.g_i, i), p.d_inhibition)
        if n_inhibitory:
            g_i = g_i + p.w_ie * (n_inhibitory - vectors.load(cells.inhibitory_spikes, i))
        counter = vectors.load_as_many(refractory, i, v)
        new_v = charged(p, g_e, g_i, vectors.load(v, i), counter)
        vectors.store(cells.g_e, i, g_e)
        vectors.store(cells.g_i, i, g_i)
        vectors.store(v, i, new_v)
        vectors.store(refractory, i, maximum(counter - 1, 0))
        may_fire |= vectors.lanes_where(new_v > vectors.load(limit, i)) != 0
    return may_fire


def decayed(g, d):
    """Return conductances after their decay; 0 long before they become so small that computing with them is slow."""
    g = g * d
    return where(g > SMALLEST_CONDUCTANCE, g, 0)


@rarely_called
def fire(p, learning, cells, theta, time, scratch):
    """Let the neurons above their threshold fire; return how many do, and list them in `fired`."""
    v, limit, fired = cells.v, scratch.limit, scratch.fired
    t, n_steps = time
    _, _, v_threshold, d_theta = neuron.between_spikes(p)
    n_fired = np.int64(0)
    for i in range(fired.shape[0]):
        if v[i] > limit[i]:
            # theta[i] is what it would have been at the start of the image had it only decayed since.
            decayed = np.float64(d_theta) ** (t + 1) if learning else 1.0
            if v[i] > v_threshold + theta[i] * decayed:
                fired[n_fired] = i
                n_fired += 1
                v[i] = p.v_reset
                cells.refractory[i] = p.refractory
                if learning:
                    theta[i] += p.theta_increment / decayed
                    set_limit(p, theta, limit, i, n_steps)
    return n_fired


def advance_partners(p, cells, scratch, fired, n_awake):
    """Advance the inhibitory neurons that are not at rest; return (how many spike, how many are awake)."""
    v, g_e, refractory, spikes = cells.inhibitory_v, cells.inhibitory_g_e, cells.inhibitory_refractory, scratch.spiked
    awake, is_awake = scratch.awake, scratch.is_awake
    _, _, v_rest = neuron.initial(p)
    for f in range(fired.shape[0]):
        i = fired[f]
        spikes[i] = 1
        if not is_awake[i]:
            is_awake[i] = 1
            awake[n_awake] = i
            n_awake += 1
    near_rest = 1e3 * scratch.negligible * abs(v_rest) * 16
    n_spikes = np.int64(0)
    kept = np.int64(0)
    for a in range(n_awake):
        i = awake[a]
        g_e[i] = g_e[i] * p.d_excitatory + p.w_ei * spikes[i]
        spikes[i] = 0
        spike, new_v, new_refractory = neuron.inhibitory(p, g_e[i], v[i], refractory[i])
        v[i] = new_v
        refractory[i] = new_refractory
        cells.inhibitory_spikes[i] = spike
        n_spikes += spike
        # Rounding keeps a potential from reaching its rest by itself.
        is_awake[i] = spike or new_refractory > 0 or g_e[i] > scratch.negligible or abs(new_v - v_rest) > near_rest
        if is_awake[i]:
            awake[kept] = i
            kept += 1
        else:
            v[i] = v_rest
            g_e[i] = 0
    return n_spikes, kept


@rarely_called
def is_quiet(cells, n_inhibitory, negligible):
    """Return whether potentials do nothing but decay from now on: no conductance, nobody refractory."""
    if n_inhibitory:
        return False
    most, refractory = cells.g_e[0], cells.refractory[0]
    for i in range(cells.v.shape[0]):
        most = max(most, max(cells.g_e[i], max(cells.g_i[i], cells.inhibitory_g_e[i])))
        refractory = max(refractory, max(cells.refractory[i], cells.inhibitory_refractory[i]))
    return most < negligible and refractory == 0


@rarely_called
def decay_cells(p, cells, n):
    """Let potentials decay for n steps without conductances."""
    v_rest, _, inhibitory_v_rest = neuron.initial(p)
    decay, inhibitory_decay = np.float64(p.d_v) ** n, np.float64(p.d_inhibitory) ** n
    for i in range(cells.v.shape[0]):
        cells.v[i] = v_rest + (cells.v[i] - v_rest) * decay
        cells.inhibitory_v[i] = inhibitory_v_rest + (cells.inhibitory_v[i] - inhibitory_v_rest) * inhibitory_decay
    for zeros in (cells.g_e, cells.g_i, cells.inhibitory_g_e):
        zeros[:] = 0


@rarely_called
def decay_theta(p, theta, n):
    """Let theta decay by n steps."""
    _, _, _, d_theta = neuron.between_spikes(p)
    decay = np.float64(d_theta) ** n
    for i in range(theta.shape[0]):
        theta[i] *= decay
