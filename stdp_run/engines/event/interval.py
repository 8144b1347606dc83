"""Presenting an image where few neurons matter: active neurons step by step, all others in intervals of steps.

After the first spikes of an image inhibition keeps nearly every neuron far below its threshold. A neuron that does
not spike is linear, v <- d (v - v_rest) + v_rest + current, so n steps of it are one:

    v <- d^n (v - v_rest) + v_rest + sum_j c_j w_j - (inhibition within the interval)
         c_j = sum over the spikes of input j in the interval of d^(steps from the spike to the interval's end)

Each row of the weights is read once for all the spikes of its input in the interval, and the inhibition is one number
for all these neurons, since none of them has fired. The same sum bounds v at every step s in between, as no weight is
negative and inhibition only lowers it:

    v_s - v_rest <= d^(s - 1) (u + d^(1 - n) sum_j c_j w_j)        u = d (v - v_rest) - inhibition in the first step

A neuron whose bound passes its threshold becomes active before the interval: it is then advanced step by step, with
all the arithmetic of its group and of the rule (stdp_run.engines.event.active), on a copy of the weights that can
matter. An interval of one step is exact, in the order of the reference, so neurons that charge up side by side at the
start of an image are told apart as there. Its length is chosen by the room below the thresholds and the largest
current so far, so that a bound hardly ever fails. stdp_run.engines.event.subthreshold has the arithmetic.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event.active import (
    ActiveNeurons,
    activate,
    advance_active,
    advance_partners,
    keep_learners,
    make_active_neurons,
)
from stdp_run.engines.event.arithmetic import float_bits
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
from stdp_run.network import Model

neuron = Bound("neuron")
plasticity = Bound("plasticity")

MOST_NEWLY_ACTIVE = 4


class IntervalScratch(NamedTuple):
    """Constants and working arrays of one thread, T steps, E neurons in whole vectors."""

    all_active: bool  # all neurons are active always, as their group is not linear
    theta_decay: np.ndarray  # [T + 1] float64, the decay of theta over n steps
    joining: np.ndarray  # [E] int32, the neurons that become active
    active: ActiveNeurons
    subthreshold: Subthreshold


def make_interval_scratch(model: Model, learning: bool, network: Network) -> IntervalScratch:
    """Return constants and memory for one thread."""
    n_steps, n_columns = model.encoder.n_steps, len(network.theta)
    is_linear = has_intervals(model)
    d, _, _, d_theta = model.neuron.between_spikes(network.neuron_parameters) if is_linear else (1, 0, 0, 1)
    return IntervalScratch(
        all_active=not (is_linear and (network.weight >= 0).all()),
        theta_decay=np.cumprod(np.append(1.0, np.full(n_steps, d_theta if learning else 1.0))),
        joining=np.zeros(n_columns, np.int32),
        active=make_active_neurons(model, n_columns),
        subthreshold=make_subthreshold(model, d, n_columns),
    )


def has_intervals(model: Model) -> bool:
    """Return whether intervals hold for a model: neurons linear between spikes, and inhibition that inhibits."""
    return model.neuron.is_linear() and model.neuron_parameters.w_ie >= 0


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def list_first_active(memory, all_active, n_exc, joining, limit):
    """List the neurons that have to be active from the first step on; return their number."""
    n_joining = np.int64(0)
    for i in range(n_exc):
        if all_active or plasticity.is_first_active(memory, i):
            joining[n_joining] = i
            n_joining += 1
            limit[i] = np.inf
    return n_joining


def present_in_intervals(network, image, train, learning, scratch):
    """Present an image; add the excitatory spikes to its counts."""
    p, p_rule, memory, weight, theta = network
    all_active, theta_decay, joining, active, arrays = scratch
    active_inputs, counts, max_learners = image.active_inputs, image.counts, image.max_learners
    decay, growth, limit, v, v_next = arrays.decay, arrays.growth, arrays.limit, arrays.v, arrays.v_next
    places, first = train.places, train.first
    n_exc = counts.shape[0]
    n_steps = image.n_steps
    v_rest, _, _ = neuron.initial(p)
    d = decay[1]
    zero = d - d
    v[:] = v_rest
    set_limits(p, theta, theta_decay[n_steps], limit, n_exc)
    plasticity.start(p_rule, memory, image)
    n_joining = list_first_active(memory, all_active, n_exc, joining, limit)
    n_active = np.int64(0)
    active_neurons = active.neuron_of[:n_active]
    n_learners = np.int64(0)
    n_inhibitory = np.int64(0)
    has_fired = False
    interval_end = 0
    offset, room, charge = zero, zero, zero
    for t in range(n_steps):
        if t == interval_end:
            length = n_steps - t
            if n_active + n_joining < n_exc:
                length = choose_length(
                    min(LONGEST_INTERVAL, n_steps - t), room + offset + p.w_ie * n_inhibitory, charge, growth
                )
                while True:
                    inhibition = p.w_ie * (zero + n_inhibitory)
                    sum_currents(arrays, train, weight, active_inputs, t, length)
                    any_crosses, least, largest = advance_subthreshold(p, arrays, v, v_next, length, inhibition, offset)
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
                room = float_bits(least)
                charge = max(float_bits(largest) / (zero + length), charge * (zero + np.float32(0.5)))
            if n_joining:
                plasticity.join(p_rule, memory, weight, active_inputs, joining[:n_joining], n_active)
                for f in range(n_joining):
                    i = joining[f]
                    activate(p, active, n_active, i, v[i] - offset, theta[i] * theta_decay[t])
                    limit[i] = np.inf
                    n_active += 1
                active_neurons = active.neuron_of[:n_active]
                n_joining = np.int64(0)
            v, v_next = v_next, v
            interval_end = t + length
            offset = zero
        else:
            offset = offset * d + p.w_ie * (zero + n_inhibitory)
        spikes = places[first[t] : first[t + 1]]
        any_fires = advance_active(p, learning, memory, weight.shape[0], active, n_active, spikes, n_inhibitory)
        if any_fires:
            has_fired = True
            for place in range(n_active):
                counts[active_neurons[place]] += active.fired[place] != 0
        if has_fired:
            n_inhibitory = advance_partners(p, active, n_active, any_fires)
        step = EventStep(t, spikes, image)
        fired = active.fired
        if any_fires and max_learners:
            any_fires, n_learners = keep_learners(active, n_active, n_learners, max_learners)
            fired = active.fired_of_learners
        plasticity.learn(p_rule, memory, weight, step, active_neurons, fired, any_fires)
    if learning:
        for i in range(theta.shape[0]):
            theta[i] *= theta_decay[n_steps]
        for place in range(n_active):
            theta[active_neurons[place]] = active.theta[place]
        plasticity.finish(p_rule, memory, weight, active_inputs, active_neurons)
