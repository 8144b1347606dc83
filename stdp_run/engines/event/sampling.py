"""Samples the input spikes of images, all steps of an image at once.

With two or more threads, one samples the spikes of the next images while the network learns. Spikes are a function of
seed, image and presentation, on any thread.

Active inputs are those with a value above 0. An image with A active inputs and T steps takes A T / 4 Philox counters,
eight to a vector, and a few instructions per spike. The lanes of a vector are neighbouring pixels. Comparing eight
random words with the limits of these pixels gives one byte of a step's bit field.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from stdp_run.elementwise import where
from stdp_run.encoding import philox, presentation_key
from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import Kernel, compiling
from stdp_run.engines.event.vectors import BLOCK

if TYPE_CHECKING:
    from stdp_run.engines.event.presentation import Images, Presentation

PIXELS_PER_WORD = 64
# Each handover costs time, and each call waits for its first images. 10 and 50 images were no faster.
IMAGES_AT_ONCE = 25


class SpikeTrain(NamedTuple):
    """The input spikes of one image by step, in ascending order of inputs; I inputs, T steps.

    `make_trains` returns the trains of several images: every array has one more axis in front.
    """

    n_active: np.ndarray  # [] int64, number of active inputs
    active_inputs: np.ndarray  # [I] uint32, those with a value above 0
    limits: np.ndarray  # [I] int64, by rank: a random word below this is a spike
    bits: np.ndarray  # [T, words] uint64, contiguous: one bit for each rank
    bytes: np.ndarray  # the same memory as uint8
    ranks: np.ndarray  # [T * I] uint32, the ranks of the active inputs that spike, step after step
    first: np.ndarray  # [T + 1] int64, index in `ranks` of the first spike of each step
    by_rank: np.ndarray  # [I] uint8, working memory of `add_by_input`


def make_trains(n_images: int, n_steps: int, n_inputs: int) -> SpikeTrain:
    """Return memory for the spike trains of `n_images` images; untouched pages take no memory."""
    n_words = -(-n_inputs // PIXELS_PER_WORD)
    bits = np.zeros((n_images, (n_steps + 4) * n_words), np.uint64)
    return SpikeTrain(
        n_active=np.zeros(n_images, np.int64),
        active_inputs=np.zeros((n_images, n_inputs + PIXELS_PER_WORD), np.uint32),
        limits=np.zeros((n_images, n_inputs + PIXELS_PER_WORD), np.int64),
        bits=bits,
        bytes=bits.view(np.uint8),
        ranks=np.zeros((n_images, n_steps * n_inputs + PIXELS_PER_WORD), np.uint32),
        first=np.zeros((n_images, n_steps + 1), np.int64),
        by_rank=np.zeros((n_images, n_inputs + PIXELS_PER_WORD), np.uint8),
    )


_kernel = cache(lambda: Kernel(sample_ahead))


class SamplingAhead:
    """A thread with two buffers for the spikes of `IMAGES_AT_ONCE` images: one is read, the other is written."""

    def __init__(self, n_steps: int, no_images: "Images", presentation: "Presentation"):
        n_inputs = no_images.pixels.shape[1]
        self._trains = [make_trains(IMAGES_AT_ONCE, n_steps, n_inputs) for _ in range(2)]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sampling")
        self._compiled = compiling.submit(_kernel().compile, "sampling", no_images, presentation, self._trains[0])

    def sampled(
        self, images: "Callable[[slice], Images]", n_images: int, presentation: "Presentation"
    ) -> "Iterator[tuple[Images, SpikeTrain]]":
        """Yield parts of the images with their spikes, which are valid until the next part is requested."""

        def sample_part(first: int, trains: SpikeTrain) -> "Images":
            part = images(slice(first, first + IMAGES_AT_ONCE))
            _kernel()(part, presentation, trains)
            return part

        self._compiled.result()
        waiting = self._thread.submit(sample_part, 0, self._trains[0])
        for first in range(0, n_images, IMAGES_AT_ONCE):
            part, trains = waiting.result(), self._trains[0]
            self._trains.reverse()
            if first + IMAGES_AT_ONCE < n_images:
                waiting = self._thread.submit(sample_part, first + IMAGES_AT_ONCE, self._trains[0])
            yield part, trains


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


@intrinsic
def trailing_zeros(typing_context, value):
    """Return the number of zero bits below the lowest set bit of a uint64, 64 for the number 0."""
    no = ir.Constant(ir.IntType(1), 0)
    return types.int64(types.uint64), lambda context, builder, call, arguments: builder.cttz(arguments[0], no)


@intrinsic
def count_ones(typing_context, value):
    """Return the number of set bits of a uint64."""
    return types.int64(types.uint64), lambda context, builder, call, arguments: builder.ctpop(arguments[0])


def train_of(trains, k):
    """Return the spike train of the k-th image."""
    return SpikeTrain(
        trains.n_active[k],
        trains.active_inputs[k],
        trains.limits[k],
        trains.bits[k],
        trains.bytes[k],
        trains.ranks[k],
        trains.first[k],
        trains.by_rank[k],
    )


def sample_ahead(images, presentation, trains):
    """Sample the spikes of the first presentation of each image into its spike train."""
    key = presentation_key(presentation.epoch, 0)
    for n in range(images.pixels.shape[0]):
        sample(images, n, 0, key, presentation, trains, n)


def sample(images, n, repeat, key, presentation, trains, k):
    """Sample the spikes of an image, for its presentation `repeat`, into the k-th spike train."""
    thresholds, index = presentation.thresholds[repeat], images.image_index[n]
    seed, stream, train = presentation.seed, presentation.stream, train_of(trains, k)
    trains.n_active[k] = sample_spikes(images.pixels[n], thresholds, index, key, seed, stream, train)


def sample_spikes(image, thresholds, image_index, presentation, seed, stream, train):
    """Sample the input spikes of an image into `train`; return the number of active inputs."""
    active_inputs, limits, bits = train.active_inputs, train.limits, train.bits
    n_steps = train.first.shape[0] - 1
    n_active = 0
    for j in range(image.shape[0]):
        limit = thresholds[image[j]]
        active_inputs[n_active] = j
        limits[n_active] = limit
        n_active += limit != 0
    n_words = (n_active + 63) // 64
    if n_words == 0:
        train.first[:] = 0
        return 0
    for k in range(n_active, 64 * n_words):
        limits[k] = 0
    n_counters = (n_steps + 3) // 4
    zeros = vectors.zeros(limits, BLOCK)  # turns numbers into vectors
    for t in range(4 * n_counters):
        bits[t * n_words + n_words - 1] = 0  # the last eight inputs may be incomplete
    for counter in range(n_counters):
        for k in range(0, n_active, BLOCK):
            pixel, limit = (
                vectors.typed_as(limits, vectors.load(active_inputs, k, BLOCK)),
                vectors.load(limits, k, BLOCK),
            )
            words = philox(zeros + counter, pixel, zeros + image_index, zeros + presentation, seed, stream)
            at = np.uint64(4 * counter * 8 * n_words + k // 8)
            row = np.uint64(8 * n_words)
            train.bytes[at] = vectors.lanes_where(words[0] < limit)
            train.bytes[at + row] = vectors.lanes_where(words[1] < limit)
            train.bytes[at + 2 * row] = vectors.lanes_where(words[2] < limit)
            train.bytes[at + 3 * row] = vectors.lanes_where(words[3] < limit)
    n = 0
    for t in range(n_steps):
        train.first[t] = n
        for w in range(n_words):
            n += list_bits(bits[t * n_words + w], 64 * w, train.ranks, n)
    train.first[n_steps] = n
    return n_active


def add_by_input(train, n_steps, total):
    """Add the spikes of each input to total[I]: bits take less time than ranks, and 255 steps fit into a byte."""
    n_words = (train.n_active + PIXELS_PER_WORD - 1) // PIXELS_PER_WORD
    for begin in range(0, n_steps, 255):
        for word in range(n_words):
            sums = vectors.zeros(train.by_rank, PIXELS_PER_WORD)
            for t in range(begin, min(begin + 255, n_steps)):
                spikes = vectors.conditions(train.bits[np.uint64(t * n_words + word)])
                sums = where(spikes, sums + 1, sums)
            vectors.store(train.by_rank, PIXELS_PER_WORD * word, sums)
        for k in range(train.n_active):
            total[train.active_inputs[k]] += train.by_rank[k]


def list_bits(bits, first, ranks, n):
    """Write the indices of a word's set bits, plus `first`, to ranks[n] and after; return their number.

    Indices are written eight at a time, so up to seven entries after the last one are undefined.
    """
    rest, at = bits, n
    while True:
        for eight in range(8):
            ranks[np.uint64(at + eight)] = first + trailing_zeros(rest)
            rest &= rest - np.uint64(1)
        at += 8
        if rest == 0:
            break
    return count_ones(bits)
