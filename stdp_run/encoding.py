"""Random numbers and the spikes made of them: the only source of randomness.

Philox4x32-10 (Salmon et al. 2011, doi 10.1145/2063384.2063405) maps a counter of four 32-bit words and a key of two
to four random 32-bit words. Every random thing has its counter, so it does not depend on what was drawn before it.

    key     = (seed, stream)                                 one stream per purpose, below
    counter = (step // 4, pixel, image index, presentation)         spikes; step % 4 is the word taken
            = (step, neuron * I + pixel, image index, presentation) rounding; word 0 presynaptic, word 1 postsynaptic update
            = (neuron // 4, pixel, 0, 0)                       initial weights; word neuron % 4
            = (position, 0, 0, epoch)                          order of the images; words 0 and 1 are the sorting key

A presentation key is a word made of the epoch (with learning off: the number of the show) and of how often the image was shown
again before in it, for want of output spikes (`presentation_key`).
"""

import numpy as np

SPIKES_LEARNING, SPIKES_EVALUATING, ORDER, WEIGHTS, ROUNDING = range(5)

_WORD = 0xFFFFFFFF
_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85


def philox(counter_0, counter_1, counter_2, counter_3, key_0, key_1):
    """Return the four random words of each counter, each in 0..2^32-1.

    Counters are 64-bit signed integers below 2^32: NumPy arrays or torch tensors that broadcast against each other,
    or, compiled by the event engine, single numbers. The 64-bit products may wrap to negative values; their bits are
    the right ones.
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
    """Return the counter's word for showing an image again for the `repeat`-th time, 0: for the first time.

    The low 24 bits are the epoch, the high 8 the repeat, so that images that are shown once have the epoch itself.
    """
    return epoch + (repeat << 24)


def spike_thresholds(max_rate_hz: float, dt_ms: float) -> np.ndarray:
    """Return threshold[256] (int64): a pixel of value v spikes in a step iff its random word is below threshold[v].

    threshold[v] = floor(p * 2^32), p = min(1, max_rate_hz * dt_ms / 1000 * v / 255).
    """
    probability = np.minimum(1.0, max_rate_hz * dt_ms / 1000.0 * np.arange(256) / 255.0)
    return np.floor(probability * 2.0**32).astype(np.int64)


def even_out(pixels: np.ndarray, gamma: float = 1.0, mean_pixel: float | None = None) -> np.ndarray:
    """Return images, uint8 [N, I], whose pixels v became 255 (v/255)^gamma, then scaled to the mean `mean_pixel`.

    A gamma below 1 lifts faint pixels. An equal mean gives every image about as many input spikes, a thin stroke as a
    broad one: divisive normalisation (Carandini & Heeger 2012, doi 10.1038/nrn3136). What would exceed 255 is 255; a
    black image stays black. Whole numbers are added up, so that the result is the same on every machine.
    """
    if gamma != 1.0:
        pixels = np.rint(255.0 * (np.arange(256) / 255.0) ** gamma).astype(np.uint8)[pixels]
    if mean_pixel is not None:
        total = pixels.sum(axis=1, dtype=np.int64, keepdims=True)
        scaled = pixels * (mean_pixel * pixels.shape[1] / np.maximum(total, 1))
        pixels = np.minimum(np.rint(scaled), 255).astype(np.uint8)
    return pixels


def poisson_spikes(images, image_index, epoch: int, thresholds, n_steps: int, seed: int, stream: int):
    """Return the input spikes of a batch of images, 0/1 as uint8 tensor [T, B, I], on the device of `images`.

    Args:
        images: uint8 tensor [B, I].
        image_index: int64 tensor [B], the place of each image in its data set.
        epoch: the pass over the data, or a `presentation_key`.
        thresholds: int64 tensor [256] from `spike_thresholds`.
        n_steps: T.
        seed: key.
        stream: key, SPIKES_LEARNING or SPIKES_EVALUATING.
    """
    return spikes_below(thresholds[images.long()], image_index, epoch, 0, n_steps, seed, stream)


def spikes_below(limits, image_index, presentation, first_step, n_steps: int, seed, stream: int):
    """Return the spikes of `n_steps` steps, 0/1 as uint8 tensor [T, ..., B, I]: where a random word is below its limit.

    Args:
        limits: int64 tensor [..., B, I], from `spike_thresholds`.
        image_index: int64 tensor [..., B].
        presentation: the `presentation_key`, number or int64 tensor [...]; so is `seed`.
        first_step: number or int64 tensor [], a multiple of 4.
        n_steps: T.
        seed: key.
        stream: key.
    """
    import torch

    def for_images(value):
        return value[..., None, None] if isinstance(value, torch.Tensor) else value

    block = torch.arange((n_steps + 3) // 4, device=limits.device) + first_step // 4
    pixel = torch.arange(limits.shape[-1], device=limits.device)
    block = block.view(-1, *[1] * limits.ndim)
    words = philox(block, pixel, image_index[..., None], for_images(presentation), for_images(seed), stream)
    spikes = torch.stack([word < limits for word in words], dim=1)
    return spikes.view(-1, *limits.shape)[:n_steps].to(torch.uint8)


def image_order(n_images: int, epoch: int, seed: int) -> np.ndarray:
    """Return the order in which the images of one epoch are shown, a permutation of 0..n_images-1 (int64)."""
    position = np.arange(n_images, dtype=np.int64)
    high, low, _, _ = philox(position, 0 * position, 0 * position, epoch, seed, ORDER)
    return np.lexsort((position, low, high))


def uniform_words(n_neurons: int, n_inputs: int, seed: int, first: int = 0) -> np.ndarray:
    """Return a random 32-bit word per synapse, [E, I] int64, for the initial weights of the neurons from `first` on.

    `first` is a multiple of 4.
    """
    block = np.arange((n_neurons + 3) // 4, dtype=np.int64)[:, None] + first // 4
    pixel = np.arange(n_inputs, dtype=np.int64)[None, :]
    words = philox(block, pixel, 0 * pixel, 0, seed, WEIGHTS)
    return np.stack(words, axis=1).reshape(-1, n_inputs)[:n_neurons]
