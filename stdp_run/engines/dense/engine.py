"""The dense engine: every synapse at every step, on any device, for any batch size. It is the readable reference.

`stdp_run.network` defines a step. With E neurons and I inputs, the product with the spikes reads E I weights in a step.
While learning, the rule reads and writes about eight times as many numbers.
"""

import numpy as np
import torch

from stdp_run.encoding import presentation_key
from stdp_run.engines.base import INPUTS, Array, as_views
from stdp_run.engines.dense.presentation import Presentation, to_tensors
from stdp_run.network import Model, NetworkState
from stdp_run.rules.base import Reduction

# Images presented side by side with learning off. A constant number keeps the order of additions in the matrix product,
# so spike counts do not depend on `batch_size`.
INFERENCE_BATCH = {"cpu": 128, "cuda": 512}


class TorchEngine:
    """One network (`stdp_run.engines.base.Engine`); the weight changes of `batch_size` images are reduced to one."""

    name = "torch"

    def __init__(
        self, model: Model, state: NetworkState, device: str = "cpu", batch_size: int = 1, reduction: str = "sum"
    ):
        self.model, self.device = model, torch.device(device).type
        self.batch_size = batch_size
        self._reduction = Reduction(reduction)
        self._persistent = to_tensors(state, model, torch.device(device))
        self.inference_batch = INFERENCE_BATCH[self.device]
        self._presentations: dict[tuple, Presentation] = {}
        self._activity = np.zeros(INPUTS + model.n_inputs, np.int64)

    def state(self) -> NetworkState:
        weight, theta, kept = self._persistent
        arrays = {name: tensor.cpu().numpy().copy() for name, tensor in kept.items()}
        return NetworkState(weight.cpu().numpy().copy(), theta.cpu().numpy().copy(), arrays)

    def learn(
        self, pixels: Array, image_index: Array, epoch: int, rate: Array, k_winners: Array | None = None
    ) -> Array:
        """See `Engine.learn`; a batch takes the `rate` and the `k_winners` of its first image."""
        counts = np.empty((len(pixels), self.model.n_exc), np.int32)
        for start in range(0, len(pixels), self.batch_size):
            part = slice(start, start + self.batch_size)
            limit = self.model.k_winners if k_winners is None else k_winners[start]
            counts[part] = self._present(True, pixels[part], image_index[part], epoch, rate[start], limit)
        return counts

    def count_spikes(self, pixels: Array, image_index: Array) -> Array:
        views, counts = as_views(pixels), np.zeros((len(image_index), self.model.n_exc), np.int32)
        for start in range(0, len(counts), self.inference_batch):
            part = slice(start, start + self.inference_batch)
            for number in range(self.model.n_presentations):
                counts[part] += self._present(False, views[number % len(views), part], image_index[part], number)
        return counts

    def take_activity(self) -> Array:
        taken, self._activity = self._activity, np.zeros_like(self._activity)
        return taken

    def _present(
        self, learning: bool, pixels: Array, index: Array, epoch: int, rate: float = 1.0, limit: int | None = None
    ) -> Array:
        """Present images side by side, again while they evoke too few spikes; return the counts of the last time."""
        encoder, n_images = self.model.encoder if learning else self.model.inference_encoder, len(pixels)
        if not learning:  # The last image is repeated to fill the batch.
            filled = np.minimum(np.arange(self.inference_batch), n_images - 1)
            pixels, index = pixels[filled], index[filled]
        counts, quiet = np.zeros((len(pixels), self.model.n_exc), np.int32), np.arange(len(pixels)) < n_images
        for repeat in range(encoder.max_presentations):
            chosen = quiet if learning else np.ones_like(quiet)  # batches for inference stay full
            presentation = self._presentation(learning, int(chosen.sum()), limit is not None)
            limits, key = encoder.limits(pixels[chosen], repeat), presentation_key(epoch, repeat)
            counts[quiet] = presentation.present(limits, index[chosen], key, rate, limit)[quiet[chosen]]
            if not learning:
                self._activity += presentation.activity(quiet)
            quiet &= counts.sum(axis=1) < encoder.min_spikes
            if not quiet.any():
                break
        return counts[:n_images]

    def _presentation(self, learning: bool, n_images: int, limits_winners: bool) -> Presentation:
        key = learning, n_images, limits_winners
        if key not in self._presentations:
            reduction = self._reduction if learning else None
            # Recording pays for the usual number of images only, not for the few that are presented again.
            usual = n_images == (self.batch_size if learning else self.inference_batch)
            network = self.model, self._persistent
            self._presentations[key] = Presentation(*network, n_images, reduction, limits_winners, record=usual)
        return self._presentations[key]
