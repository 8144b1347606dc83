"""Every spike of a few images, for a plot: the reference's steps, with learning off and nothing left out."""

import numpy as np
import torch

from stdp_run import network
from stdp_run.encoding import SPIKES_EVALUATING, spikes_below
from stdp_run.engines.dense.presentation import Persistent
from stdp_run.network import Model, NetworkState


@torch.no_grad()
def record_spikes(
    model: Model, state: NetworkState, pixels: np.ndarray, image_index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Present images with learning off; return all spikes: input [B, T, I], excitatory and inhibitory [B, T, E], bool.

    They are the spikes that an engine's `count_spikes` counts, in the first presentation if there are several; in
    float32 the event engine's may differ by rounding. `pixels` are uint8 [B, I], `image_index` int64 [B] is the place
    of each image in its data set; `state` stays as it is.
    """
    encoder = model.inference_encoder
    limits, index = torch.from_numpy(encoder.limits(pixels)), torch.from_numpy(np.array(image_index, np.int64))
    spikes = spikes_below(limits, index, 0, 0, encoder.n_steps, model.seed, SPIKES_EVALUATING)
    persistent = Persistent.of(state, model, torch.device("cpu"))
    image_state = network.start_image(model, *persistent, n_images=len(index))
    excitatory, inhibitory = [], []
    for input_spikes in spikes:
        image_state, fired = network.step(model, image_state, input_spikes.to(persistent.weight.dtype))
        excitatory.append(fired)
        inhibitory.append(image_state.cells["inhibitory_spikes"])

    def by_image(train: torch.Tensor) -> np.ndarray:
        return train.bool().transpose(0, 1).numpy()

    return by_image(spikes), by_image(torch.stack(excitatory)), by_image(torch.stack(inhibitory))
