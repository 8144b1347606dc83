"""The dense engine: every synapse at every step, on any device, for any batch size. The readable reference.

What a step does is stated in stdp_run.network; here is which images are presented to it. Cost of a step with B images,
E neurons and I inputs, in numbers of the size of a weight: E I read by the product with the spikes, and while learning
about eight times E I read and written by the rule, however few synapses change.
"""

import numpy as np
import torch

from stdp_run.encoding import presentation_key
from stdp_run.engines.base import Array
from stdp_run.engines.dense.presentation import Persistent, Presentation, PresentationSpec
from stdp_run.network import Model, NetworkState

# Images that are presented side by side with learning off. The number is always the same: then the matrix product adds
# in the same order whatever the batch size, and spike counts do not depend on it.
INFERENCE_BATCH = {"cpu": 128, "cuda": 512}


class TorchEngine:
    """One network (stdp_run.engines.base.Engine); the changes by `batch_size` images at a time are reduced to one."""

    name = "torch"

    def __init__(
        self, model: Model, state: NetworkState, device: str = "cpu", batch_size: int = 1, reduction: str = "sum"
    ):
        self.model = model
        self.batch_size = batch_size
        place = torch.device(device)
        self.inference_batch = INFERENCE_BATCH[place.type]
        self._reduction = reduction
        self._persistent = Persistent.of(state, model, place)
        self._presentations: dict[PresentationSpec, Presentation] = {}

    def state(self) -> NetworkState:
        """See `Engine.state`."""
        return self._persistent.state()

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
        """See `Engine.count_spikes`."""
        counts = np.zeros((len(pixels), self.model.n_exc), np.int32)
        for start in range(0, len(pixels), self.inference_batch):
            part = slice(start, start + self.inference_batch)
            full_pixels, full_index = _pad_batch(pixels[part], image_index[part], self.inference_batch)
            for presentation in range(self.model.n_presentations):
                counts[part] += self._present(False, full_pixels, full_index, presentation)[: len(pixels[part])]
        return counts

    def _present(
        self, learning: bool, pixels: Array, index: Array, epoch: int, rate: float = 1.0, limit: int | None = None
    ) -> Array:
        """Present images side by side, and those that evoke too few spikes again; return the last counts of each."""
        encoder = self.model.encoder if learning else self.model.inference_encoder

        def present(chosen: Array, repeat: int) -> Array:
            spec = PresentationSpec(int(chosen.sum()), learning, limit is not None, self._reduction)
            if spec not in self._presentations:
                # A number of images that is rare, as of those presented again, is not worth a recording.
                usual = spec.n_images == (self.batch_size if learning else self.inference_batch)
                self._presentations[spec] = Presentation(self.model, self._persistent, spec, record=usual)
            limits, key = encoder.limits(pixels[chosen], repeat), presentation_key(epoch, repeat)
            return self._presentations[spec].present(limits, index[chosen], key, rate, limit or 0)

        everyone = np.ones(len(pixels), bool)
        counts = present(everyone, 0)
        for repeat in range(1, encoder.max_presentations):
            quiet = counts.sum(axis=1) < encoder.min_spikes
            if not quiet.any():
                break
            again = quiet if learning else everyone  # batches for inference stay full
            counts[quiet] = present(again, repeat)[quiet[again]]
        return counts


def _pad_batch(pixels: Array, image_index: Array, n_images: int) -> tuple[Array, Array]:
    """Return pixels [N, I] and indices [N] of at most `n_images` images, the last one repeated to fill the batch."""
    missing = n_images - len(pixels)
    return np.pad(pixels, ((0, missing), (0, 0)), mode="edge"), np.pad(image_index, (0, missing), mode="edge")
