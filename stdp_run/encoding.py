"""Random numbers and Poisson spikes: the only source of randomness.

Philox4x32-10 (Salmon et al. 2011, doi 10.1145/2063384.2063405) maps a counter of four 32-bit words and a key of two
to four random 32-bit words. Every random number has its own counter, so it does not depend on earlier ones::

    key     = (seed, stream)                                         one stream per purpose, below
    counter = (step // 4, pixel, image index, presentation)          spikes: word step % 4
            = (step, neuron * I + pixel, image index, presentation)  rounding: word 0 at input, 1 at output spikes
            = (neuron // 4, pixel, 0, 0)                             weights, delays, lesions: word neuron % 4
            = (number // 4, 0, image index, 0)                       changes of images: word number % 4
            = (position, 0, 0, epoch)                                order of the images: words 0 and 1, the sorting key
            = (number, 0, 0, 0)                                      patches: words 0 to 2, its image, row and column

`presentation` is a `presentation_key`; with learning off the number of the presentation replaces the epoch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stdp_run.elementwise import Tensor

SPIKES_LEARNING, SPIKES_EVALUATING, ORDER, WEIGHTS, ROUNDING, PATCHES, DELAYS, LESIONS, PERTURBED_IMAGES = range(9)

_WORD = 0xFFFFFFFF
_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85


def philox(counter_0: Any, counter_1: Any, counter_2: Any, counter_3: Any, key_0: Any, key_1: Any) -> tuple:
    """Return the four random words of each counter, each in 0..2^32-1.

    Counters are 64-bit signed integers below 2^32: NumPy arrays or torch tensors that broadcast against each other, or
    numbers or vectors in compiled code. Their 64-bit products may wrap to negative values, which keeps the bits.
    """
    for _ in range(10):
        product_0 = counter_0 * _MULTIPLIER_0
        product_1 = counter_2 * _MULTIPLIER_1
        counter_0 = ((product_1 >> 32) & _WORD) ^ counter_1 ^ key_0
        counter_2 = ((product_0 >> 32) & _WORD) ^ counter_3 ^ key_1
        counter_1 = product_1 & _WORD
        counter_3 = product_0 & _WORD
        key_0 = (key_0 + _WEYL_0) & _WORD
        key_1 = (key_1 + _WEYL_1) & _WORD
    return counter_0, counter_1, counter_2, counter_3


def presentation_key(epoch: int, repeat: int) -> int:
    """Return the word of the counter for a presentation: 24 bits of the epoch, 8 of the repeat (0: the first time)."""
    return epoch + (repeat << 24)


def spike_thresholds(max_rate_hz: float, dt_ms: float) -> np.ndarray:
    """Return threshold[256] (int64): a pixel of value v spikes in a step iff its random word is below threshold[v].

    threshold[v] = floor(p * 2^32), p = min(1, max_rate_hz * dt_ms / 1000 * v / 255).
    """
    probability = np.minimum(1.0, max_rate_hz * dt_ms / 1000.0 * np.arange(256) / 255.0)
    return np.floor(probability * 2.0**32).astype(np.int64)


def even_out(pixels: np.ndarray, gamma: float = 1.0, mean_pixel: float | None = None) -> np.ndarray:
    """Return images, uint8 [N, I], after a gamma correction and scaling to the mean pixel `mean_pixel`.

    A pixel v becomes 255 (v/255)^gamma; a gamma below 1 brightens faint pixels. With an equal mean, thin and broad
    strokes evoke about as many input spikes: divisive normalisation (Carandini & Heeger 2012, doi 10.1038/nrn3136).
    Pixels are clamped to 255, and a black image stays black. Sums use integers, so every machine gives the same result.
    """
    if gamma != 1.0:
        pixels = np.rint(255.0 * (np.arange(256) / 255.0) ** gamma).astype(np.uint8)[pixels]
    if mean_pixel is not None:
        total = pixels.sum(axis=1, dtype=np.int64, keepdims=True)
        scaled = pixels * (mean_pixel * pixels.shape[1] / np.maximum(total, 1))
        pixels = np.minimum(np.rint(scaled), 255).astype(np.uint8)
    return pixels


def on_off(pixels: np.ndarray) -> np.ndarray:
    """Return the ON and OFF channels of images, uint8 [N, 2 P], from pixels uint8 [N, P].

    The first P inputs are the excess of each pixel over the mean of its image, the last P its deficit, as in ON and OFF
    ganglion cells (Kuffler 1953). Sums use integers, so every machine gives the same result.
    """
    n_pixels = pixels.shape[1]
    excess = n_pixels * pixels.astype(np.int64) - pixels.sum(axis=1, dtype=np.int64, keepdims=True)
    both = np.concatenate([excess, -excess], axis=1)
    return np.rint(np.maximum(both, 0) / n_pixels).astype(np.uint8)


def in_pixels(weight: np.ndarray, encoder: "Encoder") -> np.ndarray:
    """Return weights [E, P] for drawing: those of ON inputs minus those of OFF inputs, or weights [E, I] unchanged."""
    if not encoder.on_off:
        return weight
    on, off = np.split(weight, 2, axis=1)
    return on - off


@dataclass(frozen=True)
class Encoder:
    """Poisson encoding: `n_steps` steps of `dt_ms` per image; a white pixel fires at `max_rate_hz`.

    In a network that runs on, `rest_steps` steps without input end each presentation while it learns; spikes in the
    rest are not counted. An image with fewer than `min_spikes` excitatory spikes is presented again, at most
    `max_repeats` times. Each repeat raises the rate by `rate_step_hz` (Diehl & Cook 2015, section 2.5).
    """

    n_steps: int
    max_rate_hz: float
    dt_ms: float
    on_off: bool = False  # two inputs per pixel (`on_off`), before gamma and mean_pixel (`even_out`)
    gamma: float = 1.0
    mean_pixel: float | None = None
    min_spikes: int = 0
    rate_step_hz: float = 0.0
    max_repeats: int = 0
    rest_steps: int = 0

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Return the values of inputs, uint8 [N, I], that become spikes, from pixels uint8 [N, P]."""
        return even_out(on_off(pixels) if self.on_off else pixels, self.gamma, self.mean_pixel)

    @property
    def max_presentations(self) -> int:
        """The largest number of presentations of an image."""
        return 1 + (self.max_repeats if self.min_spikes else 0)

    @property
    def thresholds_by_repeat(self) -> np.ndarray:
        """The spike threshold of each pixel value, [R, 256] int64, for each of the R presentations of an image."""
        rates = [self.max_rate_hz + repeat * self.rate_step_hz for repeat in range(self.max_presentations)]
        return np.stack([spike_thresholds(rate, self.dt_ms) for rate in rates])

    def limits(self, pixels: np.ndarray, repeat: int = 0) -> np.ndarray:
        """Return the spike threshold of each input, int64 [N, I], of images uint8 [N, P] in repeat `repeat`."""
        return self.thresholds_by_repeat[repeat][self.prepare(pixels)]


def spikes_below(
    limits: Tensor, image_index: Tensor, presentation: Any, first_step: Any, n_steps: int, seed: int, stream: int
) -> Tensor:
    """Return the spikes of `n_steps` steps, 0/1 as uint8 tensor [T, B, I]: random words below their limits.

    `limits` [B, I] comes from `Encoder.limits`, and `image_index` [B] is the index of each image in its dataset; both
    are int64 tensors. `presentation` is a `presentation_key` and `first_step` a multiple of 4; both are numbers or
    int64 tensors []. `stream` is SPIKES_LEARNING or SPIKES_EVALUATING.
    """
    import torch

    chosen, n_blocks = pixels_to_sample(limits), (n_steps + 3) // 4
    image, pixel = chosen // limits.shape[1], chosen % limits.shape[1]
    block = torch.arange(n_blocks, device=limits.device)[:, None] + first_step // 4
    words = philox(block, pixel, image_index[image], presentation, seed, stream)
    limit = limits.view(-1)[chosen]
    spikes = torch.zeros((n_blocks, 4, limits.numel()), dtype=torch.uint8, device=limits.device)
    spikes[:, :, chosen] = torch.stack([word < limit for word in words], dim=1).to(torch.uint8)
    return spikes.view(-1, *limits.shape)[:n_steps]


def pixels_to_sample(limits: Tensor) -> Tensor:
    """Return flat indices of the pixels in limits[B, I] that can spike; on a GPU all, as graphs need fixed shapes."""
    import torch

    if limits.device.type == "cpu":
        return limits.view(-1).nonzero()[:, 0]
    return torch.arange(limits.numel(), device=limits.device)


def rounding_words(
    shape: tuple[int, int], image_index: Tensor, presentation: Any, step_index: Any, seed: int
) -> tuple[Tensor, Tensor]:
    """Return two random words per image and synapse, each [B, E, I] int64; `shape` is (E, I).

    `presentation` and `step_index` are numbers or int64 tensors [], image_index is an int64 tensor [B].
    """
    import torch

    synapse = torch.arange(shape[0] * shape[1], device=image_index.device).view(1, *shape)
    word_pre, word_post, _, _ = philox(step_index, synapse, image_index.view(-1, 1, 1), presentation, seed, ROUNDING)
    return word_pre, word_post


def image_order(n_images: int, epoch: int, seed: int) -> np.ndarray:
    """Return the order of the images in one epoch, a permutation of 0..n_images-1 (int64)."""
    position = np.arange(n_images, dtype=np.int64)
    high, low, _, _ = philox(position, 0, 0, epoch, seed, ORDER)
    return np.lexsort((position, low, high))


def patch_places(first: int, n_patches: int, sizes: tuple[int, int, int], seed: int) -> np.ndarray:
    """Return image, row and column of the patches from number `first` on, int64 [3, N], each below its size."""
    number = np.arange(first, first + n_patches, dtype=np.int64)
    words = philox(number, 0, 0, 0, seed, PATCHES)
    return np.stack([word * size >> 32 for word, size in zip(words, sizes, strict=False)])


def words_of_synapses(n_neurons: int, n_inputs: int, seed: int, first: int, stream: int) -> np.ndarray:
    """Return a random 32-bit word per synapse, [E, I] int64, for the neurons from `first` on, a multiple of 4.

    `stream` is WEIGHTS, DELAYS or LESIONS.
    """
    block = np.arange((n_neurons + 3) // 4, dtype=np.int64)[:, None] + first // 4
    words = philox(block, np.arange(n_inputs, dtype=np.int64), 0, 0, seed, stream)
    return np.stack(words, axis=1).reshape(-1, n_inputs)[:n_neurons]


def words_of_images(image_index: np.ndarray, n_words: int, seed: int) -> np.ndarray:
    """Return `n_words` random 32-bit words for each image, [N, n_words] int64; image_index is int64 [N]."""
    block = np.arange((n_words + 3) // 4, dtype=np.int64)
    words = philox(block, 0, image_index[:, None], 0, seed, PERTURBED_IMAGES)
    return np.stack(words, axis=2).reshape(len(image_index), -1)[:, :n_words]
