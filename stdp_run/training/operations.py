"""Operations, energy and memory of a network that answers an image, under the names of NeuroBench.

NeuroBench: Yik et al. 2025, doi 10.1038/s41467-025-56739-4. An accumulate is effective if a spike arrives at a synapse
whose weight is not 0. Dense counts every synapse at every step. Refractory periods and delays change neither.
"""

from functools import reduce
from typing import Any

import numpy as np

from stdp_run.engines.base import EXCITATORY, INHIBITORY, INPUTS, PRESENTATIONS, Array
from stdp_run.network import Model, NetworkState

# Energy of one addition of 32-bit floats in 45 nm, without any access to memory (Horowitz, ISSCC 2014).
MICROJOULE_PER_ACCUMULATE = 0.9e-6


def layer_operations(activity: Array, model: Model, state: NetworkState, n_images: int) -> dict[str, Any]:
    """Return the figures of one layer: those with a unit are per image, from the `activity` [3 + I] of `n_images`."""
    import torch

    p, n_exc = model.inference_parameters, model.n_exc
    n_excitatory, n_inhibitory = int(activity[EXCITATORY]), int(activity[INHIBITORY])
    steps = int(activity[PRESENTATIONS]) * model.inference_encoder.n_steps / n_images
    spikes = (n_excitatory + n_inhibitory) / n_images
    synapses = {
        "input_to_excitatory": state.weight.size,
        "excitatory_to_inhibitory": n_exc,
        "inhibition": n_exc * (n_exc - 1),
    }
    of_input = np.count_nonzero(state.weight, axis=0)  # [I], the synapses of each input whose weight is not 0
    of_excitatory, of_inhibitory = int(p.w_ei != 0), (n_exc - 1) * int(p.w_ie != 0)
    effective = {
        "input_to_excitatory": int(activity[INPUTS:] @ of_input),
        "excitatory_to_inhibitory": n_excitatory * of_excitatory,
        "inhibition": n_inhibitory * of_inhibitory,
    }
    connections = {
        name: {"Effective_ACs": effective[name] / n_images, "Dense": steps * size} for name, size in synapses.items()
    }
    in_sum = reduce(_add, connections.values())
    n_used = int(of_input.sum()) + n_exc * (of_excitatory + of_inhibitory)
    cells = model.neuron.cells(p, torch.zeros((1, n_exc), dtype=getattr(torch, model.weight_dtype.name)))
    kept = state.weight, state.theta, *(() if model.delays is None else (model.delays,))
    return {
        "synaptic_operations": in_sum,
        "connections": connections,
        "membrane_updates": 2 * n_exc * steps,
        "activation_sparsity": 1 - spikes / max(2 * n_exc * steps, 1),
        "synapses": sum(synapses.values()),
        "connection_sparsity": 1 - n_used / sum(synapses.values()),
        "footprint": sum(each.nbytes for each in (*kept, *(each.numpy() for each in cells.values()))),
        "energy_uj": in_sum["Effective_ACs"] * MICROJOULE_PER_ACCUMULATE,
    }


def operations(*layers: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a network, in sum and for each layer, from the input on."""
    total = dict(reduce(_add, layers))
    for share, of in (("activation_sparsity", "membrane_updates"), ("connection_sparsity", "synapses")):
        total[share] = sum(layer[share] * layer[of] for layer in layers) / max(total[of], 1)
    return {**total, "layers": list(layers)}


def _add(first: Any, second: Any) -> Any:
    """Return the sums of two dicts by key, at every depth."""
    if isinstance(first, dict):
        return {key: _add(first[key], second[key]) for key in first}
    return first + second
