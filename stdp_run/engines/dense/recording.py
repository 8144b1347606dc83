"""Every spike of a few images, for a picture: the reference's steps, with learning off and nothing left out."""

import numpy as np

from stdp_run import network
from stdp_run.encoding import SPIKES_EVALUATING, poisson_spikes
from stdp_run.network import Model, NetworkState


def record_spikes(
    model: Model, state: NetworkState, pixels: np.ndarray, image_index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Show images with learning off; return all spikes: input [B, T, I], excitatory and inhibitory [B, T, E], bool.

    They are the spikes that an engine's `count_spikes` counts, in the first showing if there are several; in float32
    the event engine's may differ by rounding.

    Args:
        model: the network.
        state: its state, which stays as it is.
        pixels: uint8 [B, I].
        image_index: int64 [B], the place of each image in its data set.
    """
    import torch

    with torch.no_grad():
        encoder = model.inference_encoder
        images = torch.from_numpy(encoder.prepare(np.array(pixels, np.uint8)))
        index = torch.from_numpy(np.array(image_index, np.int64))
        thresholds = torch.from_numpy(encoder.thresholds)
        spikes = poisson_spikes(images, index, 0, thresholds, encoder.n_steps, model.seed, SPIKES_EVALUATING)
        weight = torch.from_numpy(np.array(state.weight, model.weight_dtype))
        theta = torch.from_numpy(np.array(state.theta, model.theta_dtype))
        persistent = {name: torch.from_numpy(np.array(array)) for name, array in state.persistent.items()}
        image_state = network.start_image(model, weight, theta, persistent, len(images))
        excitatory = torch.empty((encoder.n_steps, len(images), model.n_exc), dtype=torch.bool)
        inhibitory = torch.empty_like(excitatory)
        for t in range(encoder.n_steps):
            image_state, fired = network.step(
                model, image_state, spikes[t].to(weight.dtype), False, 0, t == encoder.n_steps - 1, None, None
            )
            excitatory[t] = fired != 0
            inhibitory[t] = image_state.inhibitory_spikes != 0
    return tuple(layer.bool().transpose(0, 1).numpy() for layer in (spikes, excitatory, inhibitory))
