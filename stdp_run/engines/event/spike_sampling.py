"""The input spikes of one image, sampled at once for the event engine.

Cost, for A active inputs (pixels that are not black) and T steps: A T / 4 Philox counters, eight to a vector, then a
few instructions per spike. The lanes of a vector are neighbouring pixels, so the comparison of eight random words with
the pixels' limits is a byte of a bit field that goes by step, and what a counter shares with all pixels is computed
once.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from stdp_run.encoding import philox
from stdp_run.engines.event import vectors
from stdp_run.engines.event.vectors import BLOCK, spread

STEPS_PER_COUNTER = 4
PIXELS_PER_WORD = 64


class SpikeTrain(NamedTuple):
    """The input spikes of one image, by step, pixels ascending in a step; I inputs, T steps.

    `make_trains` has those of several images: every array has one axis more, in front.
    """

    n_active: np.ndarray  # [] int64, how many inputs are active
    active_inputs: np.ndarray  # [I] uint32, the pixels that are not black
    limits: np.ndarray  # [I] int64, by place in `active_inputs`: a random word below this is a spike
    bits: np.ndarray  # [T, words] uint64 without gaps: a bit for each place in `active_inputs`
    bytes: np.ndarray  # the same memory as uint8
    places: np.ndarray  # [T * I] uint32, the places in `active_inputs` that spike, step after step
    first: np.ndarray  # [T + 1] int64, where in `places` a step begins


def make_trains(n_images: int, n_steps: int, n_inputs: int) -> SpikeTrain:
    """Return memory for some images; what no image needs is never touched."""
    n_words = -(-n_inputs // PIXELS_PER_WORD)
    bits = np.zeros((n_images, (n_steps + STEPS_PER_COUNTER) * n_words), np.uint64)
    return SpikeTrain(
        n_active=np.zeros(n_images, np.int64),
        active_inputs=np.zeros((n_images, n_inputs + PIXELS_PER_WORD), np.uint32),
        limits=np.zeros((n_images, n_inputs + PIXELS_PER_WORD), np.int64),
        bits=bits,
        bytes=bits.view(np.uint8),
        places=np.zeros((n_images, n_steps * n_inputs + PIXELS_PER_WORD), np.uint32),
        first=np.zeros((n_images, n_steps + 1), np.int64),
    )


# ------------------------------------------------------------------------------------------------------------------
# Philox for eight pixels at once: `encoding.philox` itself, run while the code is generated.

_WORD = ir.IntType(64)
_VECTOR = ir.VectorType(_WORD, BLOCK)


def _emitting(instruction: str):
    def emit(self, other):
        values = [self.value, other.value if isinstance(other, _Words) else ir.Constant(_WORD, other)]
        if _VECTOR in (value.type for value in values):
            values = [value if value.type == _VECTOR else spread(self.builder, value, BLOCK) for value in values]
        return _Words(self.builder, getattr(self.builder, instruction)(*values))

    return emit


class _Words:
    """64-bit integers in the code being generated, one or a vector: an operator emits its instruction."""

    def __init__(self, builder, value):
        self.builder, self.value = builder, value

    __mul__, __add__, __xor__, __and__, __rshift__ = map(_emitting, ("mul", "add", "xor", "and_", "lshr"))


@intrinsic
def philox_of_vector(typing_context, pixel, key):
    """Return the four random words of each of eight pixels; `key` is (counter, image, presentation, seed, stream)."""

    def generate(context, builder, call, arguments):
        counter, *rest = (_Words(builder, value) for value in cgutils.unpack_tuple(builder, arguments[1], 5))
        words = philox(counter, _Words(builder, arguments[0]), *rest)
        return context.make_tuple(builder, call.return_type, [word.value for word in words])

    return types.UniTuple(pixel, 4)(pixel, types.UniTuple(types.int64, 5)), generate


@intrinsic
def trailing_zeros(typing_context, value):
    """Return the number of zero bits below the lowest set bit of a uint64, 64 if there is none."""
    no = ir.Constant(ir.IntType(1), 0)
    return types.int64(types.uint64), lambda context, builder, call, arguments: builder.cttz(arguments[0], no)


@intrinsic
def count_ones(typing_context, value):
    """Return the number of set bits of a uint64."""
    return types.int64(types.uint64), lambda context, builder, call, arguments: builder.ctpop(arguments[0])


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def train_of(trains, k):
    """Return the spike train of the k-th image."""
    return SpikeTrain(
        trains.n_active[k],
        trains.active_inputs[k],
        trains.limits[k],
        trains.bits[k],
        trains.bytes[k],
        trains.places[k],
        trains.first[k],
    )


def sample_spikes(image, thresholds, image_index, presentation, seed, stream, train):
    """Sample the input spikes of an image into `train`; return how many inputs are active."""
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
    for t in range(4 * n_counters):
        bits[t * n_words + n_words - 1] = 0  # eight places are sampled at a time, and the last ones may be missing
    for counter in range(n_counters):
        for k in range(0, n_active, BLOCK):
            pixel, limit = vectors.typed_as(limits, vectors.block(active_inputs, k)), vectors.block(limits, k)
            words = philox_of_vector(pixel, (counter, image_index, presentation, seed, stream))
            at = np.uint64(4 * counter * 8 * n_words + k // 8)
            row = np.uint64(8 * n_words)
            train.bytes[at] = vectors.lanes_where(words[0] < limit)
            train.bytes[at + row] = vectors.lanes_where(words[1] < limit)
            train.bytes[at + 2 * row] = vectors.lanes_where(words[2] < limit)
            train.bytes[at + 3 * row] = vectors.lanes_where(words[3] < limit)
    list_places(n_words, n_steps, bits, train.places, train.first)
    return n_active


def list_places(n_words, n_steps, bits, places, first):
    """List the set bits of every step. Eight are written at a time, without asking how many there are."""
    n = 0
    for t in range(n_steps):
        first[t] = n
        for w in range(n_words):
            n += list_bits(bits[t * n_words + w], 64 * w, places, n)
    first[n_steps] = n


def list_bits(bits, first, places, n):
    """List the set bits of a word from places[n] on, the lowest as `first`; return how many there are."""
    rest, at = bits, n
    while True:
        for eight in range(8):
            places[np.uint64(at + eight)] = first + trailing_zeros(rest)
            rest &= rest - np.uint64(1)
        at += 8
        if rest == 0:
            break
    return count_ones(bits)
