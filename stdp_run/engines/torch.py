"""The dense engine: every synapse at every step, on any device, for any batch size. The readable reference."""

from functools import partial

import numpy as np
import torch

from stdp_run import network
from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING, poisson_spikes, showing
from stdp_run.network import Model, NetworkState


class TorchEngine:
    """A network that learns from images and answers them, `batch_size` at a time."""

    name = "torch"
    # Evaluation has a batch of its own, always full: then the matrix product adds in the same order whatever the
    # batch size, and spike counts do not depend on it.
    evaluation_batch = 128

    def __init__(self, model: Model, state: NetworkState, device: str = "cpu", batch_size: int = 1, reduction="sum"):
        self.model = model
        self.device = torch.device(device)
        self.batch_size = batch_size
        self._reduction = network.make_reduction(reduction)
        self._load(state)

    def _load(self, state: NetworkState) -> None:
        def tensor(array):
            return torch.from_numpy(np.array(array)).to(self.device)

        self._weight = tensor(state.weight.astype(self.model.weight_dtype))
        self._theta = tensor(state.theta.astype(self.model.theta_dtype))
        self._persistent = {name: tensor(array) for name, array in state.persistent.items()}

    def state(self) -> NetworkState:
        """Return a copy of all that persists."""
        persistent = {name: array.cpu().numpy().copy() for name, array in self._persistent.items()}
        return NetworkState(self._weight.cpu().numpy().copy(), self._theta.cpu().numpy().copy(), persistent)

    def learn(
        self,
        pixels: np.ndarray,
        image_index: np.ndarray,
        epoch: int,
        rate: np.ndarray,
        learners: np.ndarray | None = None,
    ) -> np.ndarray:
        """Show images with learning on; return the spike counts [N, E] int32.

        Args:
            pixels: uint8 [N, I].
            image_index: int64 [N], the place of each image in its data set.
            epoch: the pass over the data, from 0.
            rate: factor of the learning-rate schedule, [N]; a batch takes that of its first image.
            learners: neurons that may learn from each image, [N], likewise; None: the model's `max_learners`.
        """
        counts = np.empty((len(pixels), self.model.n_exc), np.int32)
        for start in range(0, len(pixels), self.batch_size):
            part = slice(start, start + self.batch_size)
            limit = self.model.max_learners if learners is None else learners[start].item()
            counts[part] = self._show(pixels[part], image_index[part], epoch, True, rate[start].item(), limit)
        return counts

    def count_spikes(self, pixels: np.ndarray, image_index: np.ndarray) -> np.ndarray:
        """Show images with learning off; return the spike counts [N, E] int32. Arguments as in `learn`."""
        counts = np.empty((len(pixels), self.model.n_exc), np.int32)
        for start in range(0, len(pixels), self.evaluation_batch):
            part = slice(start, start + self.evaluation_batch)
            missing = self.evaluation_batch - len(pixels[part])
            padded = np.pad(pixels[part], ((0, missing), (0, 0)), mode="edge")
            index = np.pad(image_index[part], (0, missing), mode="edge")
            shows = [self._show(padded, index, show, False, 0) for show in range(self.model.shows)]
            counts[part] = sum(shows)[: len(pixels[part])]
        return counts

    def _show(self, pixels, image_index, epoch: int, learning: bool, rate, max_learners=None) -> np.ndarray:
        """Show images side by side, and those that evoke too few spikes again; return the last counts of each."""
        encoder = self.model.encoder if learning else self.model.answering_encoder
        first, *brighter = encoder.thresholds_by_repeat
        counts = self._present(pixels, image_index, epoch, learning, rate, max_learners, first)
        for repeat, thresholds in enumerate(brighter, 1):
            quiet = counts.sum(axis=1) < encoder.min_spikes
            if not quiet.any():
                break
            again = quiet if learning else np.ones_like(quiet)  # batches for evaluation stay full
            shown = self._present(
                pixels[again], image_index[again], showing(epoch, repeat), learning, rate, max_learners, thresholds
            )
            counts[quiet] = shown[quiet[again]]
        return counts

    @torch.no_grad()
    def _present(self, pixels, image_index, epoch: int, learning: bool, rate, max_learners, thresholds) -> np.ndarray:
        """Show images side by side once; `epoch` tells the spikes of one showing from those of another."""
        model = self.model
        index = torch.from_numpy(np.ascontiguousarray(image_index)).to(self.device)
        encoder = model.encoder if learning else model.answering_encoder
        images = torch.from_numpy(np.ascontiguousarray(encoder.prepare(pixels))).to(self.device)
        thresholds = torch.from_numpy(thresholds).to(self.device)
        n_steps = encoder.n_steps
        stream = SPIKES_LEARNING if learning else SPIKES_EVALUATING
        spikes = poisson_spikes(images, index, epoch, thresholds, n_steps, model.seed, stream)
        state = network.start_image(model, self._weight, self._theta, self._persistent, len(images))
        counts = state.v.new_zeros(state.v.shape, dtype=torch.int32)
        for t in range(n_steps):
            words = partial(network.rounding_words, (model.n_exc, model.n_inputs), index, epoch, t, model.seed)
            input_spikes = spikes[t].to(self._weight.dtype)
            state, fired = network.step(
                model, state, input_spikes, learning, rate, t == n_steps - 1, self._reduction, words, max_learners
            )
            counts += fired.to(torch.int32)
        if learning:
            self._weight, self._theta = state.weight, state.theta
            self._persistent = model.rule.finish(model.rule_parameters, state.traces)
        return counts.cpu().numpy()
