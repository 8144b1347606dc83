"""Plain loops over synapses and neurons, for the checks of custom classes: one number at a time."""

from functools import partial
from typing import Any

import numpy as np
import torch

from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING, spikes_below
from stdp_run.engines.base import Array
from stdp_run.network import Model, initial_state
from stdp_run.neurons import ConductanceGroup
from stdp_run.rules import SpikeRule
from stdp_run.rules.spike import BEFORE_PRESENTATION, EVERY_STEP, LAST_STEP


def weights_of_rule(rule: type[SpikeRule], p: Any, pre: Array, post: Array, weight: Array) -> Array:
    """Return the weights after every step, [T, E, I], by the equations of `stdp_run.rules.spike`."""
    number = partial(torch.tensor, dtype=torch.float64)
    rows = _bounded(p, [[number(w) for w in row] for row in weight], p.normalise == BEFORE_PRESENTATION)
    x = [number(rule.start_pre(p)) for _ in pre[0]]
    y, y2, history = [number(0) for _ in rows], [number(0) for _ in rows], []
    for t, (inputs, outputs) in enumerate(zip(pre.astype(float), post.astype(float), strict=True)):
        x = [rule.pre_trace(p, trace, number(spike)) for trace, spike in zip(x, inputs, strict=True)]
        y = [rule.post_trace(p, trace, number(spike)) for trace, spike in zip(y, outputs, strict=True)]
        decayed = [rule.second_trace(p, trace, number(0)) for trace in y2]
        y2 = [rule.second_trace(p, trace, number(spike)) for trace, spike in zip(y2, outputs, strict=True)]
        for i, row in enumerate(rows):
            for j in range(len(row)):
                if inputs[j]:
                    row[j] = row[j] + rule.at_input(p, row[j], x[j], y[i], decayed[i])
                if outputs[i]:
                    row[j] = row[j] + rule.at_output(p, row[j], x[j], y[i], decayed[i])
        rows = _bounded(p, rows, p.normalise == EVERY_STEP or (p.normalise == LAST_STEP and t == len(pre) - 1))
        history.append([[w.item() for w in row] for row in rows])
    return np.array(history)


def _bounded(p: Any, rows: list[list], normalise: bool) -> list[list]:
    factors = [p.w_norm / sum(map(abs, row)) if normalise and any(row) else 1.0 for row in rows]
    return [[(w * factor).clamp(0.0, p.w_max) for w in row] for row, factor in zip(rows, factors, strict=True)]


def present(model: Model, images: Array, theta: Array, epoch: int | None) -> tuple[Array, Array]:
    """Present images[N, I] to neurons one by one, with initial weights; return (spike counts [N, E], theta [E]).

    `epoch` None turns learning off. Weights stay, so the rule of the model must change none.
    """
    group, p, encoder, learning = model.neuron, model.neuron_parameters, model.encoder, epoch is not None
    weight, counts = initial_state(model).weight, np.zeros((len(images), model.n_exc), int)
    stream, index = SPIKES_LEARNING if learning else SPIKES_EVALUATING, torch.arange(len(images))
    limits = torch.from_numpy(encoder.limits(images))
    trains = spikes_below(limits, index, epoch or 0, 0, encoder.n_steps, model.seed, stream).numpy()  # [T, N, I]
    trains = np.pad(trains, ((0, encoder.rest_steps if learning else 0), (0, 0), (0, 0)))
    delays = np.zeros(weight.shape, int) if model.delays is None else model.delays.astype(int)
    zero, thetas, cells = torch.from_numpy(weight).new_zeros(()), list(torch.from_numpy(theta)), []
    for n in range(len(images)):
        if not (learning and group.runs_on and n):
            start = group.first_cells if learning and group.runs_on else group.cells
            cells = [start(p, zero) for _ in weight]
        for t in range(len(trains)):
            inhibition = [cell["inhibitory_spikes"] for cell in cells]
            for i, cell in enumerate(cells):
                sent = t - delays[i]  # the step of the spike that arrives now, for each input
                arrives = (sent >= 0) & (trains[np.maximum(sent, 0), n, range(model.n_inputs)] > 0)
                inputs = zero + sum(weight[i, arrives].tolist()), sum(inhibition) - inhibition[i]
                fired, cells[i], thetas[i] = _advanced(model, learning, inputs, cell, thetas[i])
                counts[n, i] += fired and t < encoder.n_steps
    return counts, np.array([each.item() for each in thetas])


def _advanced(model: Model, learning: bool, inputs: tuple, cell: dict, theta: torch.Tensor) -> tuple:
    """Advance one neuron and its partner by a step; return (whether it fires, its state, theta).

    `inputs` are the sum of arriving weights and the number of inhibitory spikes of the other neurons.
    """
    group: Any = model.neuron
    p, (arrivals, others) = model.neuron_parameters, inputs
    has_conductances = issubclass(group, ConductanceGroup)
    received: tuple = (arrivals - p.w_ie * others,)
    if has_conductances:
        received = cell["g_e"] * p.d_excitatory + arrivals, cell["g_i"] * p.d_inhibition + p.w_ie * others
    fired, v, refractory, theta = group.excitatory(p, learning, *received, cell["v"], cell["refractory"], theta)
    drive = p.w_ei * fired.to(v.dtype) + (cell["inhibitory_g_e"] * p.d_excitatory if has_conductances else 0)
    spike, partner_v, wait = group.inhibitory(p, drive, cell["inhibitory_v"], cell["inhibitory_refractory"])
    cell = {**cell, "v": v, "refractory": refractory, "inhibitory_v": partner_v, "inhibitory_refractory": wait}
    if has_conductances:
        cell |= {"g_e": received[0], "g_i": received[1], "inhibitory_g_e": drive}
    return bool(fired), {**cell, "inhibitory_spikes": spike.to(v.dtype)}, theta
