"""Showing images where few neurons matter: those that fire, or might, step by step; all others in windows of steps.

After the first spikes of an image inhibition keeps nearly every neuron far below its threshold. A neuron that does
not spike is linear, v <- d (v - v_rest) + v_rest + current, so n steps of it are one:

    v <- d^n (v - v_rest) + v_rest + sum_j c_j w_j - (inhibition within the window)
         c_j = sum over the spikes of input j in the window of d^(steps from the spike to the window's end)

Each row of the weights is read once for all the spikes of its input in the window, and the inhibition is one number
for all these neurons, since none of them has fired. The same sum bounds v at every step s in between, as no weight is
negative and inhibition only lowers it:

    v_s - v_rest <= d^(s - 1) (u + d^(1 - n) sum_j c_j w_j)        u = d (v - v_rest) - inhibition in the first step

A neuron whose bound passes its threshold joins the contenders before the window: it is then advanced step by step,
with all the arithmetic of its group and of the rule. Contenders lie side by side, in blocks, with copies of the
weights that can matter. A window of one step is exact, in the order of the reference, so neurons that charge up side
by side at the start of an image are told apart as there. Length is chosen by the room below the thresholds and the
largest current so far, so that a bound hardly ever fails.

Measured on MNIST with 100 to 1,600 neurons: 4 to 5 windows of one step and 6 to 7 longer ones an image, which read
700 to 800 rows for 3,200 input spikes, and 2 to 5 contenders. What a window costs does not depend on its length, so
it pays from a few steps on. stdp_run.engines.event.subthreshold has the arithmetic of a window.
"""

from typing import NamedTuple

import numpy as np

from stdp_run.elementwise import BLOCK, zeros_for_vectors
from stdp_run.encoding import presentation_key
from stdp_run.engines.event import simd as vectors
from stdp_run.engines.event.jit import float_bits
from stdp_run.engines.event.spike_sampling import (
    PIXELS_PER_WORD,
    SpikeTrain,
    count_ones,
    draw_spikes,
    make_train,
    next_repeat,
)
from stdp_run.engines.event.stepwise import Instant
from stdp_run.engines.event.subthreshold import (
    add_up_coefficients,
    advance_rest,
    choose_length,
    gather_coefficients,
    set_limits,
    weigh_rows,
)

LONGEST_WINDOW = 128
MOST_NEW_CONTENDERS = 4


class WindowScratch(NamedTuple):
    """Constants and working arrays of one thread, E neurons in whole vectors, I inputs, T steps; contenders [E] too."""

    train: SpikeTrain
    all_contend: np.ndarray  # [1] 1 if all neurons are contenders always, as their group is not linear
    decay: np.ndarray  # [LONGEST_WINDOW + 1] d^n
    growth: np.ndarray  # [LONGEST_WINDOW + 1] d^(1 - n), and a little: bounds what a sum over n steps hides in between
    theta_decay: np.ndarray  # [T + 1] float64, the decay of theta over n steps
    coefficient: np.ndarray  # [I] c_j, by place in the list of pixels that are not black
    touched: np.ndarray  # [I] uint32, the places whose coefficient is not 0
    current: np.ndarray  # [E] summed over a window
    v: np.ndarray  # [E]
    v_next: np.ndarray  # [E] at the end of the window
    limit: np.ndarray  # [E] v that is surely below the threshold; infinite for contenders
    crosses: np.ndarray  # [E] uint8
    joining: np.ndarray  # [E] int32, the neurons that become contenders
    neuron_of: np.ndarray  # [E] int32, the contenders
    is_taken: np.ndarray  # [E] int32, 1 where there is a contender, 0 where the last block has lanes to spare
    own_v: np.ndarray  # [E] of the contenders, as all that follows
    own_theta: np.ndarray  # [E]
    refractory: np.ndarray  # [E] int32
    fired: np.ndarray  # [E] 0 or 1
    learns: np.ndarray  # [E] uint8, 1 for those among the first to fire in the image, which may learn from it
    seen: np.ndarray  # [E] 0 or 1, `fired` of those that learn
    inhibitory_v: np.ndarray  # [E]
    inhibitory_refractory: np.ndarray  # [E] int32
    inhibitory_spikes: np.ndarray  # [E] 0 or 1


def make_window_scratch(model, parameters, learning: bool, n_columns: int, all_excite: bool) -> WindowScratch:
    """Return constants and memory for one thread; `parameters` are the neuron group's in their types."""
    n_steps, n_inputs, dtype = model.encoder.n_steps, model.n_inputs, model.weight_dtype
    is_linear = takes_windows(model)
    d, _, _, d_theta = model.neuron.between_spikes(parameters) if is_linear else (1, 0, 0, 1)
    decay = np.cumprod(np.append(dtype.type(1), np.full(LONGEST_WINDOW, d, dtype)), dtype=dtype)
    growth = np.ones(LONGEST_WINDOW + 1, dtype)
    growth[2:] = 1.0001 / np.maximum(decay[1:-1], np.finfo(dtype).tiny) if is_linear else 1

    def array(kind=dtype):
        return zeros_for_vectors(n_columns, kind)

    return WindowScratch(
        train=make_train(n_steps, n_inputs),
        all_contend=np.array([not (is_linear and all_excite)]),
        decay=decay,
        growth=growth,
        theta_decay=np.cumprod(np.append(1.0, np.full(n_steps, d_theta if learning else 1.0))),
        coefficient=zeros_for_vectors(n_inputs + PIXELS_PER_WORD, dtype),
        touched=np.zeros(n_inputs + PIXELS_PER_WORD, np.uint32),
        current=array(),
        v=array(),
        v_next=array(),
        limit=array(),
        crosses=array(np.uint8),
        joining=array(np.int32),
        neuron_of=array(np.int32),
        is_taken=array(np.int32),
        own_v=array(),
        own_theta=array(model.theta_dtype),
        refractory=array(np.int32),
        fired=array(),
        learns=array(np.uint8),
        seen=array(),
        inhibitory_v=array(),
        inhibitory_refractory=array(np.int32),
        inhibitory_spikes=array(),
    )


def takes_windows(model) -> bool:
    """Return whether windows hold for a model: neurons linear between spikes, and inhibition that inhibits."""
    return model.neuron.is_linear() and model.neuron_parameters.w_ie >= 0


# ------------------------------------------------------------------------------------------------------------------
# Compiled code. `rule` and `neuron` are bound by `specialise`.


def advance_contenders(
    p,
    learning,
    memory,
    own,
    spikes,
    n_inputs,
    n_inhibitory,
    n_contenders,
    v,
    refractory,
    theta,
    fired,
    inhibitory_spikes,
    is_taken,
):
    """Advance the contenders by a step; return whether any fires, which are those with fired[C] = 1."""
    any_fires = False
    for at in range(0, n_contenders, BLOCK):
        current = vectors.zero_block(v)
        for s in range(spikes.shape[0]):
            current = current + vectors.block(own, at * n_inputs + np.int64(spikes[s]) * BLOCK)
        current = rule.scaled(memory, current, at)
        if n_inhibitory:
            current = current - p.w_ie * (n_inhibitory - vectors.block(inhibitory_spikes, at))
        spike, new_v, new_refractory, new_theta = neuron.excitatory(
            p, learning, current, vectors.block(v, at), vectors.block(refractory, at), vectors.block(theta, at)
        )
        vectors.store(v, at, new_v)
        vectors.store(refractory, at, new_refractory)
        vectors.store(theta, at, new_theta)
        fires = spike & (vectors.block(is_taken, at) != 0)
        vectors.store(fired, at, fires)
        any_fires |= vectors.lanes_where(fires) != 0
    return any_fires


def advance_inhibitory_contenders(p, n_contenders, fired, any_fires, v, refractory, spikes):
    """Advance the contenders' inhibitory partners; return how many spike."""
    n_spikes = np.int64(0)
    for at in range(0, n_contenders, BLOCK):
        fires = vectors.zero_block(fired)
        if any_fires:  # foreseen by the processor, so that in most steps this need not wait for the neurons
            fires = vectors.block(fired, at)
        spike, new_v, new_refractory = neuron.inhibitory(
            p, p.w_ei * fires, vectors.block(v, at), vectors.block(refractory, at)
        )
        vectors.store(v, at, new_v)
        vectors.store(refractory, at, new_refractory)
        vectors.store(spikes, at, spike)
        n_spikes += count_ones(vectors.lanes_where(spike))
    return n_spikes


def keep_learners(fired, neuron_of, n_contenders, learns, n_learners, max_learners, seen):
    """Set seen[C] to the spikes of the first neurons to fire in the image (network.admit).

    Return (does any of them spike, how many neurons learn).
    """
    while n_learners < max_learners:
        # Of several that fire for the first time the lowest number is first, whatever lanes they have.
        first = -1
        for lane in range(n_contenders):
            if fired[lane] != 0 and not learns[lane] and (first < 0 or neuron_of[lane] < neuron_of[first]):
                first = lane
        if first < 0:
            break
        learns[first] = 1
        n_learners += 1
    any_seen = False
    for lane in range(n_contenders):
        seen[lane] = fired[lane] * learns[lane]
        any_seen |= seen[lane] != 0
    return any_seen, n_learners


def present_windows(
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
    """Show images one after the other; add the excitatory spikes to counts[N, E]. Arguments as in `present`."""
    # Arrays are taken out of the tuple once: taking them out at every step costs more than the step.
    train, own = scratch.train, memory.own
    active, places, first = train.active, train.places, train.first
    decay, growth, theta_decay = scratch.decay, scratch.growth, scratch.theta_decay
    coefficient, touched, current = scratch.coefficient, scratch.touched, scratch.current
    v, v_next, limit, crosses, joining = scratch.v, scratch.v_next, scratch.limit, scratch.crosses, scratch.joining
    neuron_of, is_taken, own_v, own_theta, refractory = (
        scratch.neuron_of,
        scratch.is_taken,
        scratch.own_v,
        scratch.own_theta,
        scratch.refractory,
    )
    fired, learns, seen, inhibitory_v, inhibitory_refractory, inhibitory_spikes = (
        scratch.fired,
        scratch.learns,
        scratch.seen,
        scratch.inhibitory_v,
        scratch.inhibitory_refractory,
        scratch.inhibitory_spikes,
    )
    n_exc = counts.shape[1]
    n_inputs = weight.shape[0]
    n_steps = first.shape[0] - 1
    v_rest, theta_rest, inhibitory_v_rest = neuron.initial(p)
    d = decay[1]
    zero = d - d
    n = repeat = np.int64(0)
    while n < pixels.shape[0]:
        presentation = presentation_key(epoch, repeat)
        n_active = draw_spikes(pixels[n], limits[repeat], image_index[n], presentation, seed, stream, train)
        v[:] = v_rest
        set_limits(p, theta, theta_decay[n_steps], limit, n_exc)
        rule.start(p_rule, memory, n_active, n_steps)
        n_contenders = np.int64(0)
        n_joining = np.int64(0)
        n_learners = np.int64(0)
        if scratch.all_contend[0] or rule.n_unsettled(memory):
            for i in range(n_exc):
                if scratch.all_contend[0] or rule.is_unsettled(memory, i):
                    joining[n_joining] = i
                    n_joining += 1
                    limit[i] = np.inf
        n_inhibitory = np.int64(0)
        is_calm = True
        window_end = 0
        offset, room, charge = zero, zero, zero
        for t in range(n_steps):
            if t == window_end:
                length = n_steps - t
                if n_contenders + n_joining < n_exc:
                    length = choose_length(
                        min(LONGEST_WINDOW, n_steps - t), room + offset + p.w_ie * n_inhibitory, charge, growth
                    )
                    while True:
                        inhibition = p.w_ie * (zero + n_inhibitory)
                        if length > 4:
                            n_touched = add_up_coefficients(
                                train.bits, train.bytes, n_active, t, length, decay, coefficient, touched
                            )
                        else:
                            n_touched = gather_coefficients(places, first, t, length, decay, coefficient, touched)
                        weigh_rows(current, weight, active, touched, n_touched, coefficient)
                        any_crosses, least, largest = advance_rest(
                            p, length, inhibition, offset, decay, growth, current, v, v_next, limit, crosses
                        )
                        if not any_crosses:
                            break
                        n_before = n_joining
                        for i in range(n_exc):
                            if crosses[i]:
                                joining[n_joining] = i
                                n_joining += 1
                        if length == 1 or n_joining - n_before <= MOST_NEW_CONTENDERS:
                            break
                        n_joining = n_before
                        length = length // 2
                    room = float_bits(least)
                    charge = max(float_bits(largest) / (zero + length), charge * (zero + np.float32(0.5)))
                if n_joining:
                    rule.join(p_rule, memory, weight, active, n_active, joining, n_joining, n_contenders)
                for f in range(n_joining):
                    i = joining[f]
                    if n_contenders % BLOCK == 0:
                        for lane in range(n_contenders, n_contenders + BLOCK):
                            own_v[lane] = v_rest
                            own_theta[lane] = theta_rest
                            refractory[lane] = 0
                            is_taken[lane] = 0
                            fired[lane] = 0
                            learns[lane] = 0
                            seen[lane] = 0
                            inhibitory_v[lane] = inhibitory_v_rest
                            inhibitory_refractory[lane] = 0
                            inhibitory_spikes[lane] = 0
                    neuron_of[n_contenders] = i
                    is_taken[n_contenders] = 1
                    own_v[n_contenders] = v[i] - offset
                    own_theta[n_contenders] = theta[i] * theta_decay[t]
                    limit[i] = np.inf
                    n_contenders += 1
                n_joining = np.int64(0)
                v, v_next = v_next, v
                window_end = t + length
                offset = zero
            else:
                offset = offset * d + p.w_ie * (zero + n_inhibitory)
            spikes = places[first[t] : first[t + 1]]
            any_fires = advance_contenders(
                p, learning, memory, own, spikes, n_inputs, n_inhibitory, n_contenders, own_v, refractory, own_theta,
                fired, inhibitory_spikes, is_taken,
            )  # fmt: skip
            if any_fires:
                is_calm = False
                for lane in range(n_contenders):
                    counts[n, neuron_of[lane]] += fired[lane] != 0
            if not is_calm:
                n_inhibitory = advance_inhibitory_contenders(
                    p, n_contenders, fired, any_fires, inhibitory_v, inhibitory_refractory, inhibitory_spikes
                )
            instant = Instant(t, t == n_steps - 1, image_index[n], presentation, seed)
            learned, any_learned = fired, any_fires
            if any_fires and learners[n]:
                any_learned, n_learners = keep_learners(
                    fired, neuron_of, n_contenders, learns, n_learners, learners[n], seen
                )
                learned = seen
            rule.learn_contenders(
                p_rule, rate[n], instant, memory, weight, active, n_active, spikes, spikes.shape[0], learned, neuron_of,
                n_contenders, any_learned,
            )  # fmt: skip
        if learning:
            for i in range(theta.shape[0]):
                theta[i] *= theta_decay[n_steps]
            for lane in range(n_contenders):
                theta[neuron_of[lane]] = own_theta[lane]
            rule.leave(p_rule, memory, weight, active, n_active, neuron_of, n_contenders)
        repeat = next_repeat(counts[n], min_spikes, repeat, limits.shape[0])
        n += repeat == 0


# By what they are bound to: nothing, the neuron group, that and the rule.
ADMITTING = (keep_learners,)
PARTNERS = (advance_inhibitory_contenders,)
CONTENDING = (advance_contenders,)
