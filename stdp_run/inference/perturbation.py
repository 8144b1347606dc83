"""Perturbations of a trained network or its images: coarse weights, lesions, noise, shifts, occlusion.

Labels stay. The network's seed and an image's index key random choices. A stronger perturbation affects a superset.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from stdp_run.config.custom_code import import_class
from stdp_run.config.schema import Settings
from stdp_run.encoding import LESIONS, words_of_images, words_of_synapses
from stdp_run.engines.base import Array
from stdp_run.evaluation.metrics import slices
from stdp_run.network import NetworkState
from stdp_run.parameters import Check, check_parameters, whole_non_negative

SHARE = Check("a share from 0 to 1", minimum=0.0, maximum=1.0)
NEVER = 1e30  # a threshold that no potential reaches; infinity would give NaN


class Perturbation:
    """Base class of perturbations; subclass it to add your own, and override `network` or `images`.

    Attributes:
        parameters: every key of the YAML with its check (stdp_run.parameters); `strength` is one of them.
        axis: the meaning of `strength` with its unit, for the axis of a plot.
        harmless: the strength without any effect; None: a larger strength has less effect.
    """

    parameters: Mapping[str, Check] = {"strength": SHARE}
    axis = "strength"
    harmless: float | None = 0.0

    def __init__(self, constants: Mapping[str, Any]):
        """Store the constants of the YAML as attributes of `p`; raise UserError for a bad constant."""
        self.p = SimpleNamespace(**check_parameters("perturbation", self.parameters, constants))

    def described(self) -> dict[str, Any]:
        """Return the constants, axis and harmless strength for `result.json`."""
        return {**vars(self.p), "axis": self.axis, "harmless": self.harmless}

    def network(self, state: NetworkState, seed: int) -> NetworkState:
        """Return the perturbed network, weight[E, I] and theta[E]."""
        return state

    def images(self, images: np.ndarray, image_index: np.ndarray, seed: int) -> np.ndarray:
        """Return the perturbed images, uint8 [N, H, W]; image_index [N] int64 is their index in the dataset."""
        return images


class WeightBits(Perturbation):
    """Weights are rounded to 2^n equidistant levels, from 0 (or the smallest weight, if negative) to the largest."""

    parameters = {"strength": Check("a whole number from 1 to 32", whole=True, minimum=1, maximum=32)}
    axis = "bits of each weight"
    harmless = None

    def network(self, state: NetworkState, seed: int) -> NetworkState:
        weight = state.weight.astype(np.float64)
        lowest, highest = min(0.0, weight.min()), max(0.0, weight.max())
        if lowest == highest:
            return state
        distance = (highest - lowest) / (2**self.p.strength - 1)
        levels = lowest + np.rint((weight - lowest) / distance) * distance
        is_whole = state.weight.dtype.kind == "i"
        return replace(state, weight=(np.rint(levels) if is_whole else levels).astype(state.weight.dtype))


class NeuronLesion(Perturbation):
    """A share of the excitatory neurons never fires, and so inhibits no other neuron."""

    axis = "share of neurons lost"

    def network(self, state: NetworkState, seed: int) -> NetworkState:
        lost = lowest_share(words_of_synapses(len(state.theta), 1, seed, 0, LESIONS)[:, 0], self.p.strength)
        never = np.iinfo(state.theta.dtype).max if state.theta.dtype.kind == "i" else NEVER
        return replace(state, theta=np.where(lost, never, state.theta).astype(state.theta.dtype))


class SynapseLesion(Perturbation):
    """A share of the synapses from inputs to excitatory neurons has the weight 0."""

    axis = "share of synapses lost"

    def network(self, state: NetworkState, seed: int) -> NetworkState:
        n_exc, n_inputs = state.weight.shape
        lost = lowest_share(words_of_synapses(n_exc, n_inputs, seed, 0, LESIONS), self.p.strength)
        return replace(state, weight=np.where(lost, 0, state.weight).astype(state.weight.dtype))


class SaltAndPepper(Perturbation):
    """Each pixel is perturbed with the same probability; it becomes black or white with equal probability."""

    axis = "share of pixels black or white"

    def images(self, images: np.ndarray, image_index: np.ndarray, seed: int) -> np.ndarray:
        words = words_of_images(image_index, images[0].size, seed).reshape(images.shape)
        of_each = round(self.p.strength * 2**31)
        return np.where(words < of_each, 0, np.where(words >= 2**32 - of_each, 255, images)).astype(np.uint8)


class Brightness(Perturbation):
    """A number is added to all pixels, which stay in 0..255."""

    parameters = {"strength": Check("a whole number from -255 to 255", whole=True, minimum=-255, maximum=255)}
    axis = "added to all pixels (grey levels)"

    def images(self, images: np.ndarray, image_index: np.ndarray, seed: int) -> np.ndarray:
        return np.clip(images.astype(np.int16) + self.p.strength, 0, 255).astype(np.uint8)


class Shift(Perturbation):
    """Images are shifted in one of four directions; new pixels are black."""

    parameters = {"strength": whole_non_negative}
    axis = "shift (pixels)"

    def images(self, images: np.ndarray, image_index: np.ndarray, seed: int) -> np.ndarray:
        _, height, width = images.shape
        far = min(self.p.strength, max(height, width))
        direction = words_of_images(image_index, 1, seed)[:, 0] * 4 >> 32
        padded, shifted = np.pad(images, ((0, 0), (far, far), (far, far))), np.empty_like(images)
        for number, (top, left) in enumerate(((2 * far, far), (0, far), (far, 2 * far), (far, 0))):  # up, down, ...
            chosen = direction == number
            shifted[chosen] = padded[chosen, top : top + height, left : left + width]
        return shifted


class Occlusion(Perturbation):
    """A black bar, vertical or horizontal, hides a part of each image from edge to edge."""

    parameters = {"strength": whole_non_negative}
    axis = "width of a bar (pixels)"

    def images(self, images: np.ndarray, image_index: np.ndarray, seed: int) -> np.ndarray:
        orientation, position = words_of_images(image_index, 2, seed).T
        is_vertical = orientation >= 2**31
        size = np.where(is_vertical, images.shape[2], images.shape[1])
        width = np.minimum(self.p.strength, size)
        first = position * (size - width + 1) >> 32
        _, row, column = np.ogrid[tuple(map(slice, images.shape))]
        index = np.where(is_vertical[:, None, None], column, row) - first[:, None, None]  # along the axis of the bar
        return np.where((index >= 0) & (index < width[:, None, None]), 0, images)


def lowest_share(words: np.ndarray, share: float) -> np.ndarray:
    """Return a bool mask of the lowest `share` of words, in the shape of `words`."""
    lowest = np.zeros(words.size, bool)
    lowest[np.argsort(words, axis=None, kind="stable")[: round(share * words.size)]] = True
    return lowest.reshape(words.shape)


def build_perturbation(settings: Settings) -> Perturbation | None:
    """Return the perturbation of the settings, or None; raise UserError if its class or a constant is wrong."""
    section = settings.perturbation
    return None if section is None else import_class("perturbation", section.target, Perturbation)(section.constants)


def perturbed_images(perturbation: Perturbation, pixels: Array, image_index: Array, settings: Settings) -> Array:
    """Return perturbed images, uint8 [N, H * W]; `image_index` [N] is their index in the dataset."""
    images = pixels.reshape(-1, settings.dataset.height, settings.dataset.width)
    parts = [perturbation.images(images[part], image_index[part], settings.seed) for part in slices(len(images))]
    return np.concatenate(parts).reshape(pixels.shape)
