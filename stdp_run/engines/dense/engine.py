"""The dense engine: every synapse at every step, on any device, for any batch size. The readable reference.

What a step does is stated in stdp_run.network; here is which images are shown to it. Cost of a step with B images, E
neurons and I inputs, in numbers of the size of a weight: E I read by the product with the spikes, and while learning
about eight times E I read and written by the rule, however few synapses change.
"""

from collections.abc import Sequence
from contextlib import contextmanager

import numpy as np
import torch

from stdp_run.encoding import presentation_key
from stdp_run.engines.dense.presentation import Alone, Manner, Persistent, Presentation, Variation
from stdp_run.engines.side_by_side import Lesson
from stdp_run.network import Model, NetworkState, Reduction

# Images that are answered side by side. The number is always the same: then the matrix product adds in the same order
# whatever the batch size, and spike counts do not depend on it.
EVALUATION_BATCH = {"cpu": 128, "cuda": 512}


class TorchEngine:
    """A network that learns from images and answers them, `batch_size` at a time."""

    name = "torch"

    def __init__(self, model: Model, state: NetworkState, device: str = "cpu", batch_size: int = 1, reduction="sum"):
        self.model = model
        self.device = torch.device(device)
        self.batch_size = batch_size
        self.evaluation_batch = EVALUATION_BATCH[self.device.type]
        self._reduction = Reduction(reduction)
        self._network = Alone(model)
        self._persistent = Persistent.of([state], self._network, self.device)
        self._presentations: dict[Manner, Presentation] = {}

    def state(self) -> NetworkState:
        """Return a copy of all that persists."""
        return self._persistent.state()

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
            limit = self.model.max_learners if learners is None else learners[start]
            counts[part] = self._show(True, pixels[part], image_index[part], epoch, rate[start], limit)
        return counts

    def count_spikes(self, pixels: np.ndarray, image_index: np.ndarray) -> np.ndarray:
        """Show images with learning off; return the spike counts [N, E] int32. Arguments as in `learn`."""
        counts = np.zeros((len(pixels), self.model.n_exc), np.int32)
        for start in range(0, len(pixels), self.evaluation_batch):
            part = slice(start, start + self.evaluation_batch)
            n_images = len(pixels[part])
            missing = self.evaluation_batch - n_images
            padded = np.pad(pixels[part], ((0, missing), (0, 0)), mode="edge")
            index = np.pad(image_index[part], (0, missing), mode="edge")
            for show in range(self.model.n_presentations):
                counts[part] += self._show(False, padded, index, show)[:n_images]
        return counts

    def _show(self, learning: bool, pixels, image_index, epoch: int, rate=1.0, limit: int | None = None) -> np.ndarray:
        """Show images side by side, and those that evoke too few spikes again; return the last counts of each."""
        encoder = self.model.encoder if learning else self.model.inference_encoder

        def show(chosen: np.ndarray, repeat: int) -> np.ndarray:
            presentation = self._presentation(Manner(np.count_nonzero(chosen), learning, limit is not None))
            limits = encoder.limits(pixels[chosen], repeat)
            return presentation.show(limits, image_index[chosen], presentation_key(epoch, repeat), rate, limit or 0)

        everyone = np.ones(len(pixels), bool)
        counts = show(everyone, 0)
        for repeat in range(1, encoder.max_presentations):
            quiet = counts.sum(axis=1) < encoder.min_spikes
            if not quiet.any():
                break
            again = quiet if learning else everyone  # batches for evaluation stay full
            counts[quiet] = show(again, repeat)[quiet[again]]
        return counts

    def _presentation(self, manner: Manner) -> Presentation:
        if manner not in self._presentations:
            # A number of images that is rare, as of those shown again, is not worth a recording.
            usual = manner.n_images == (self.batch_size if manner.learning else self.evaluation_batch)
            self._presentations[manner] = Presentation(
                self._network, self._persistent, manner, self._reduction, record=usual
            )
        return self._presentations[manner]


class TorchNetworks:
    """K networks whose steps are one operation for all (stdp_run.engines.side_by_side.Networks), one image each.

    What a network comes to depends on no other, but operations on all of them may add in another order than those on
    one: in float32, a network alone differs by rounding. All K are shown images in every call, so that shapes, and with
    them the order, stay; those that do not take part are shown nothing, and put back.
    """

    name = "torch"

    def __init__(self, models: Sequence[Model], states: Sequence[NetworkState], device: str = "cpu"):
        obstacle = obstacle_side_by_side(models)
        if obstacle:
            raise ValueError(obstacle)
        self.models = list(models)
        self.device = torch.device(device)
        self._networks = Variation(self.models, self.device)
        self._persistent = Persistent.of(list(states), self._networks, self.device)
        limits = [model.max_learners for model in models]
        self._learning = Manner(1, True, any(limit is not None for limit in limits))
        self._evaluating = Manner(max(1, EVALUATION_BATCH[self.device.type] // len(self.models)), False, False)
        self._presentations: dict[Manner, Presentation] = {}

    def state(self, k: int) -> NetworkState:
        """See `Networks.state`."""
        return self._persistent.state(k)

    def learn(self, chosen: Sequence[int], lessons: Sequence[Lesson], epoch: int) -> list[np.ndarray]:
        """See `Networks.learn`."""
        first, n_images = self.models[0], len(lessons[0].pixels)
        limits = np.zeros((n_images, len(self.models), 1, first.n_inputs), np.int64)
        index = np.zeros((n_images, len(self.models), 1), np.int64)
        rate, learners = np.zeros((2, n_images, len(self.models)))
        for k, lesson in zip(chosen, lessons, strict=True):
            model = self.models[k]
            limits[:, k, 0] = model.encoder.limits(lesson.pixels)
            index[:, k, 0] = lesson.image_index
            rate[:, k] = lesson.rate
            limit = model.max_learners if lesson.learners is None else lesson.learners
            learners[:, k] = model.n_exc if limit is None else limit
        present = self._presentation(self._learning)
        with self._only(chosen):
            counts = [
                present.show(limits[n], index[n], epoch, rate[n], learners[n])  # one image for each network
                for n in range(n_images)
            ]
        return list(np.concatenate(counts, axis=1)[list(chosen)])

    def count_spikes(self, chosen: Sequence[int], pixels: np.ndarray, image_index: np.ndarray) -> list[np.ndarray]:
        """See `Networks.count_spikes`."""
        present, batch = self._presentation(self._evaluating), self._evaluating.n_images
        n_images, first = len(pixels), self.models[0]
        counts = np.zeros((len(self.models), n_images, first.n_exc), np.int32)
        for start in range(0, n_images, batch):
            part = slice(start, min(start + batch, n_images))
            missing = batch - (part.stop - start)
            padded = np.pad(pixels[part], ((0, missing), (0, 0)), mode="edge")
            index = np.tile(np.pad(image_index[part], (0, missing), mode="edge"), (len(self.models), 1))
            limits = np.stack([model.inference_encoder.limits(padded) for model in self.models])
            for show in range(first.n_presentations):
                counts[:, part] += present.show(limits, index, show)[:, : part.stop - start]
        return list(counts[list(chosen)])

    def _presentation(self, manner: Manner) -> Presentation:
        if manner not in self._presentations:
            self._presentations[manner] = Presentation(self._networks, self._persistent, manner, Reduction("sum"))
        return self._presentations[manner]

    @contextmanager
    def _only(self, chosen: Sequence[int]):
        """Put the networks that are not among the chosen back to where they were, afterwards."""
        others = [k for k in range(len(self.models)) if k not in chosen]
        tensors = [self._persistent.weight, self._persistent.theta, *self._persistent.kept.values()] if others else []
        before = [tensor[others].clone() for tensor in tensors]
        yield
        for tensor, saved in zip(tensors, before, strict=True):
            tensor[others] = saved


def obstacle_side_by_side(models: Sequence[Model]) -> str | None:
    """Return why networks cannot be one operation; None: they can."""
    if any(encoder.max_presentations > 1 for model in models for encoder in (model.encoder, model.inference_encoder)):
        return "encoder.min_spikes: networks would show an image again at different times"
    return None
