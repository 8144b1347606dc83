"""Records every spike of a few images."""

import numpy as np
import torch

from stdp_run import network
from stdp_run.encoding import SPIKES_EVALUATING, spikes_below
from stdp_run.engines.base import Array
from stdp_run.engines.dense.presentation import to_tensors
from stdp_run.network import Model, NetworkState


@torch.no_grad()
def record_spikes(model: Model, state: NetworkState, pixels: Array, image_index: Array) -> tuple[Array, Array, Array]:
    """Present images with learning off; return all spikes: input [B, T, I], excitatory and inhibitory [B, T, E], bool.

    `pixels` is uint8 [B, I]; `image_index` int64 [B] has the index of each image in its dataset. An engine's
    `count_spikes` counts the same spikes in its first presentation. In float32 the event engine differs by rounding.
    """
    encoder = model.inference_encoder
    limits, index = torch.from_numpy(encoder.limits(pixels)), torch.from_numpy(np.array(image_index, np.int64))
    inputs = spikes_below(limits, index, 0, 0, encoder.n_steps, model.seed, SPIKES_EVALUATING)
    weight, theta, kept = to_tensors(state, model, torch.device("cpu"))
    image_state = network.start_image(model, weight, theta, kept, len(index))
    excitatory, inhibitory = [], []
    for input_spikes in inputs:
        image_state, fired = network.step(model, image_state, input_spikes.to(weight.dtype))
        excitatory.append(fired)
        inhibitory.append(image_state.cells["inhibitory_spikes"])

    def by_image(train: torch.Tensor) -> Array:
        return train.bool().transpose(0, 1).numpy()

    return by_image(inputs), by_image(torch.stack(excitatory)), by_image(torch.stack(inhibitory))
