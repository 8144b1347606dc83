"""The kernel for neurons that are linear between spikes: most neurons advance in intervals of many steps.

After the first spikes of an image, inhibition keeps nearly every neuron far below its threshold. A neuron that does not
spike is linear, `v <- d (v - v_rest) + v_rest + current`, so n steps become one::

    v <- d^n (v - v_rest) + v_rest + sum_j c_j w_j - (inhibition within the interval)
         c_j = sum over the spikes of input j in the interval of d^(steps from the spike to the interval's end)

Each weight row is read once for all spikes of its input in the interval. Inhibition is one number for all these
neurons, since none of them has fired. No weight is negative and inhibition only lowers v, so the same sum bounds v at
every step s of the interval::

    v_s - v_rest <= d^(s - 1) (u + d^(1 - n) sum_j c_j w_j)        u = d (v - v_rest) - inhibition in the first step

A neuron becomes active before the interval if its bound exceeds its threshold. Active neurons advance step by step,
with the full arithmetic of their group and of the rule (active.py). An interval of one step is exact, in the order of
the reference. The room below the thresholds and the largest current so far determine the length of an interval, so
bounds rarely exceed thresholds. subthreshold.py has the arithmetic.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event.active import (
    ActiveNeurons,
    Cells,
    activate,
    advance_active,
    advance_partners,
    first_of,
    keep_winners,
    make_active_neurons,
    make_cells,
)
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.presentation import EventStep, Network
from stdp_run.engines.event.subthreshold import (
    LONGEST_INTERVAL,
    Subthreshold,
    advance_subthreshold,
    choose_length,
    make_subthreshold,
    set_limits,
    sum_currents,
)
from stdp_run.engines.event.vectors import BLOCK
from stdp_run.network import Model

neuron = Bound("neuron")
implementation = Bound("implementation")

MOST_NEWLY_ACTIVE = 4  # neurons per interval; an interval that would make more of them active is halved


class IntervalScratch(NamedTuple):
    """Constants and working arrays of one thread, T steps, E neurons in whole vectors."""

    theta_decay: np.ndarray  # [T + 1] float64, the decay of theta over n steps
    joining: np.ndarray  # [E] int32, the neurons that become active
    slots: ActiveNeurons
    cells: Cells
    wins: np.ndarray  # [E] uint8, by slot, the first `k_winners` neurons to fire
    fired: np.ndarray  # [E] int32, the slots that spike
    subthreshold: Subthreshold


def make_scratch(model: Model, learning: bool, network: Network, block: int = BLOCK) -> IntervalScratch:
    """Return constants and memory for one thread."""
    encoder, n_columns = model.encoder if learning else model.inference_encoder, len(network.theta)
    d, _, _, d_theta = model.neuron.between_spikes(network.neuron_parameters)
    return IntervalScratch(
        theta_decay=np.cumprod(np.append(1.0, np.full(encoder.n_steps, d_theta if learning else 1.0))),
        joining=np.zeros(n_columns, np.int32),
        slots=make_active_neurons(model, n_columns, block),
        cells=make_cells(model, n_columns),
        wins=np.zeros(n_columns, np.uint8),
        fired=np.zeros(n_columns, np.int32),
        subthreshold=make_subthreshold(model, d, n_columns),
    )


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def present_in_intervals(network, image, learning, scratch):
    """Present an image; add the excitatory spikes to its counts, and return the number of inhibitory spikes."""
    p, p_rule, memory, weight, theta = network
    theta_decay, joining, slots, cells, wins, fired, arrays = scratch
    active_inputs, counts, train, n_steps = image.active_inputs, image.counts, image.train, image.n_steps
    decay, growth, limit, v, v_next = arrays.decay, arrays.growth, arrays.limit, arrays.v, arrays.v_next
    ranks, first = train.ranks, train.first
    n_exc = counts.shape[0]
    v_rest, _, _ = neuron.initial(p)
    d = decay[1]
    zero = d - d
    v[:] = v_rest
    wins[:] = 0
    set_limits(p, theta, theta_decay[n_steps], limit, n_exc)
    implementation.start(p_rule, memory, weight, image)
    n_joining = np.int64(0)
    for i in range(n_exc):
        if implementation.is_first_active(p_rule, memory, image, i):
            joining[n_joining] = i
            n_joining += 1
            limit[i] = np.inf
    n_active = np.int64(0)
    active = first_of(slots, slots.neuron_of, n_active)
    n_winners = np.int64(0)
    n_inhibitory = all_inhibitory = np.int64(0)
    has_fired = False
    interval_end = 0
    offset, room, charge = zero, zero, zero
    for t in range(n_steps):
        if t == interval_end:
            length = n_steps - t
            if n_active + n_joining < n_exc:
                inhibition = p.w_ie * v.dtype.type(n_inhibitory)
                length = choose_length(min(LONGEST_INTERVAL, length), room + offset + inhibition, charge, growth)
                while True:
                    sum_currents(arrays, train, weight, active_inputs, t, length)
                    any_crosses, room, largest = advance_subthreshold(p, arrays, v, v_next, length, inhibition, offset)
                    if not any_crosses:
                        break
                    n_before = n_joining
                    for i in range(n_exc):
                        if arrays.crosses[i]:
                            joining[n_joining] = i
                            n_joining += 1
                    if length == 1 or n_joining - n_before <= MOST_NEWLY_ACTIVE:
                        break
                    n_joining = n_before
                    length = length // 2
                charge = max(largest / v.dtype.type(length), charge * v.dtype.type(0.5))
            if n_joining:
                for f in range(n_joining):
                    i = joining[f]
                    slots.neuron_of[n_active] = i
                    implementation.join(p_rule, memory, weight, image, slots, n_active)
                    activate(p, cells, n_active, v[i] - offset, theta[i] * theta_decay[t])
                    limit[i] = np.inf
                    n_active += 1
                active = first_of(slots, slots.neuron_of, n_active)
                n_joining = np.int64(0)
            v, v_next = v_next, v
            interval_end = t + length
            offset = zero
        else:
            offset = offset * d + p.w_ie * v.dtype.type(n_inhibitory)
        step = EventStep(t, t == n_steps - 1, ranks[first[t] : first[t + 1]], image)
        any_fires = advance_active(p, learning, memory, active, cells, step, n_inhibitory)
        n_fired = np.int64(0)
        if any_fires:
            has_fired = True
            for slot in range(n_active):
                if cells.fired[slot] != 0:
                    counts[active.neuron_of[slot]] += 1
                    fired[n_fired] = slot
                    n_fired += 1
        if has_fired:
            n_inhibitory = advance_partners(p, cells, n_active, any_fires)
            all_inhibitory += n_inhibitory
        if n_fired and image.k_winners:
            n_fired, n_winners = keep_winners(active, wins, fired[:n_fired], n_winners, image.k_winners)
        implementation.learn(p_rule, memory, weight, theta, step, active, fired[:n_fired])
    if learning:
        for i in range(theta.shape[0]):
            theta[i] *= theta_decay[n_steps]
        for slot in range(n_active):
            theta[active.neuron_of[slot]] = cells.theta[slot]
        implementation.finish(p_rule, memory, weight, image, active)
    return all_inhibitory
