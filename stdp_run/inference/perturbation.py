"""What may befall a trained network where it is used: coarse weights, lost neurons and synapses, perturbed images.

Labels, thresholds and what the readouts know of the neurons stay as they were learned. What is random is keyed by the
network's seed, and by the image where it is about images, so that the same command gives the same figures; and more of
a perturbation strikes whatever less of it does, and more.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from stdp_run.config.own_code import import_class
from stdp_run.config.schema import Settings
from stdp_run.encoding import LESIONS, words_of_images, words_of_synapses
from stdp_run.network import NetworkState
from stdp_run.parameters import Check, check_parameters, whole_non_negative

SHARE = Check("a share from 0 to 1", minimum=0.0, maximum=1.0)
NEVER = 1e30  # a threshold that no potential reaches; infinity less infinity would be no number
IMAGES_AT_ONCE = 500  # whose random words stay in a processor's cache


class Perturbation:
    """What befalls a network or its images; one of one's own derives from this and replaces one of the functions.

    Attributes:
        parameters: every key of the YAML with what its value may be (stdp_run.parameters), among them `strength`.
        axis: what `strength` is, with its unit, for the axis of a plot.
        harmless: the strength that changes nothing; None: there is none, and the larger it is the less is changed.
    """

    parameters: Mapping[str, Check] = {"strength": SHARE}
    axis = "strength"
    harmless: float | None = 0.0

    def __init__(self, constants: Mapping[str, Any]):
        """Take the constants of the YAML, which `p` has then by name; UserError: one of them is not allowed."""
        self.p = SimpleNamespace(**check_parameters("perturbation", self.parameters, constants))

    def described(self) -> dict[str, Any]:
        """Return for `result.json` the constants, and what an axis needs to know of the strength."""
        return {**vars(self.p), "axis": self.axis, "harmless": self.harmless}

    def network(self, state: NetworkState, seed: int) -> NetworkState:
        """Return a network, weight[E, I] and theta[E], as it is then."""
        return state

    def images(self, images: np.ndarray, image_index: np.ndarray, seed: int) -> np.ndarray:
        """Return images, uint8 [N, H, W], as they are then; image_index [N] int64 is the place of each in its data."""
        return images


class WeightBits(Perturbation):
    """Weights are rounded to 2^n levels at equal distances, from 0 (or the least, if below) to the largest weight."""

    parameters = {"strength": Check("a whole number from 1 to 32", whole=True, minimum=1, maximum=32)}
    axis = "bits of each weight"
    harmless = None

    def network(self, state: NetworkState, seed: int) -> NetworkState:
        weight = state.weight.astype(np.float64)
        lowest, highest = min(0.0, weight.min()), max(0.0, weight.max())
        if lowest == highest:  # all of them are 0
            return state
        distance = (highest - lowest) / (2**self.p.strength - 1)
        levels = lowest + np.rint((weight - lowest) / distance) * distance
        is_whole = state.weight.dtype.kind == "i"
        return replace(state, weight=(np.rint(levels) if is_whole else levels).astype(state.weight.dtype))


class NeuronLesion(Perturbation):
    """A share of the excitatory neurons never fires, and so inhibits no other."""

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
    """Each pixel is perturbed with a probability, and is then black or white, both as often."""

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
    """Images are shifted in one of four directions; what was outside is black."""

    parameters = {"strength": whole_non_negative}
    axis = "shift (pixels)"

    def images(self, images: np.ndarray, image_index: np.ndarray, seed: int) -> np.ndarray:
        _, height, width = images.shape
        far = min(self.p.strength, max(height, width))  # where all of it is outside
        direction = words_of_images(image_index, 1, seed)[:, 0] * 4 >> 32
        around, shifted = np.pad(images, ((0, 0), (far, far), (far, far))), np.empty_like(images)
        for number, (down, right) in enumerate(((-far, 0), (far, 0), (0, -far), (0, far))):
            chosen, top, left = direction == number, far - down, far - right
            shifted[chosen] = around[chosen, top : top + height, left : left + width]
        return shifted


class Occlusion(Perturbation):
    """A black bar, upright or level, hides a part of each image from edge to edge."""

    parameters = {"strength": whole_non_negative}
    axis = "width of a bar (pixels)"

    def images(self, images: np.ndarray, image_index: np.ndarray, seed: int) -> np.ndarray:
        upright, place = words_of_images(image_index, 2, seed).T
        hidden_rows, hidden_columns = (self._hidden(place, size) for size in images.shape[1:])
        is_upright = (upright >= 2**31)[:, None, None]
        return np.where(np.where(is_upright, hidden_columns[:, None, :], hidden_rows[:, :, None]), 0, images)

    def _hidden(self, place: np.ndarray, size: int) -> np.ndarray:
        """Return which of `size` rows or columns a bar hides in each image, bool [N, size]; it lies within them."""
        width = min(self.p.strength, size)
        first = (place * (size - width + 1) >> 32)[:, None]
        return (np.arange(size) >= first) & (np.arange(size) < first + width)


def lowest_share(words: np.ndarray, share: float) -> np.ndarray:
    """Return which of the random words are the lowest, so many that they are that share of all; bool, as `words`."""
    lowest = np.zeros(words.size, bool)
    lowest[np.argsort(words, axis=None, kind="stable")[: round(share * words.size)]] = True
    return lowest.reshape(words.shape)


def build_perturbation(settings: Settings) -> Perturbation | None:
    """Return the perturbation that the settings describe, if they do.

    Raises:
        UserError: its class cannot be imported, or a constant is missing, unknown or not allowed.
    """
    section = settings.perturbation
    if section is None:
        return None
    return import_class("perturbation", section.target, Perturbation, settings.config_dir)(section.constants)


def perturbed_images(
    perturbation: Perturbation, pixels: np.ndarray, image_index: np.ndarray, settings: Settings
) -> np.ndarray:
    """Return images, uint8 [N, H * W], perturbed; `image_index` [N] is the place of each in its data set."""
    size = settings.dataset.height, settings.dataset.width
    parts = [
        perturbation.images(pixels[part].reshape(-1, *size), image_index[part], settings.seed)
        for part in (slice(first, first + IMAGES_AT_ONCE) for first in range(0, len(pixels), IMAGES_AT_ONCE))
    ]
    return np.concatenate(parts).reshape(pixels.shape)
