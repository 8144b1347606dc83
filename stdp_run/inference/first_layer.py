"""The first of two layers: a network that answers the patch at every position of an image.

The patch [h, w] at each position of an image [H, W] is presented with learning off. Patches with a contrast below
`min_contrast` are skipped; contrast is the L2 norm of the pixels minus their mean. The spikes of each neuron are summed
over overlapping blocks of positions (Coates, Ng and Lee, AISTATS 2011). A spike is weighted by its distance from the
middle of the block (Dalal and Triggs, CVPR 2005). The sums times `spike_value`, at most 255, are the image of the
second layer: uint8 [I], by row of blocks, column of blocks, and neuron. The seed and the position key the random
numbers. A shift of the image moves the blocks over the same spikes, so views of an image share their patches.
"""

import hashlib
import inspect
import io
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stdp_run import files
from stdp_run.config.build import build_first_layer
from stdp_run.config.schema import FirstLayerSettings, Settings
from stdp_run.config.sections import DatasetSettings
from stdp_run.encoding import in_pixels
from stdp_run.engines.base import INPUTS, Array, Engine
from stdp_run.engines.event.jit import ENGINE_DIGEST
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.evaluation.shifts import offsets, padded, shifted
from stdp_run.network import NetworkState

IMAGES_AT_ONCE = 250  # more do not fit a processor's cache
CACHE, CACHE_BYTES = "first_layer", 2**30
# Read at import: an edit of the sources during a run must not label the old code as new.
PROGRAM_DIGEST = b"".join(
    hashlib.sha256(file.read_bytes()).digest() for file in sorted(Path(__file__).parents[1].rglob("*.py"))
)


class FirstLayer:
    """A trained first layer; `state` has weight[E, inputs of a patch] and theta[E], and `engine` is in that state."""

    def __init__(self, settings: FirstLayerSettings, images: DatasetSettings, state: NetworkState, engine: Engine):
        self.state, self.model, self._settings, self._engine = state, engine.model, settings, engine
        self.parts = (2 * settings.block) ** 2  # equal parts into which a spike is divided among blocks
        self._size = images.height, images.width
        self._patch = settings.network.dataset.height, settings.network.dataset.width
        self._down, self._across = map(self._shares, self._size, self._patch)
        self.activity = np.zeros(INPUTS + engine.model.n_inputs, np.int64)  # of the last call of `counts`
        self._writes = True  # to the cache, until writing fails

    def counts(
        self, pixels: Array, shifts: int = 0, cached: bool = False, progress: Callable[[int], object] = lambda n: None
    ) -> Array:
        """Return the spikes of each neuron in each block in units of 1 / `parts`, integers [K, N, I], K views.

        `pixels` is uint8 [N, H * W]. The views are those of `shifts.offsets`. With `cached`, the user's cache keeps the
        counts. `progress` is called with the number of images of each part.
        """
        parts, self.activity = [], np.zeros_like(self.activity)
        for first in range(0, max(1, len(pixels)), IMAGES_AT_ONCE):
            part = pixels[first : first + IMAGES_AT_ONCE]
            counts, activity = self._from_cache(part, shifts) if cached else self._count(part, shifts)
            self.activity += activity
            parts.append(counts)
            progress(len(part))
        return np.concatenate(parts, axis=1)

    def seen(self, counts: Array) -> Array:
        """Return the images of the second layer, uint8 [K, N, I], from counts [K, N, I]."""
        value = self._settings.spike_value / self.parts * np.arange(int(counts.max(initial=0)) + 1)
        return np.minimum(np.rint(value), 255).astype(np.uint8)[counts]

    def projection(self) -> Array:
        """Return the receptive field of each input of the second layer, float32 [I, H * W]: mean weights of a block."""
        weight = in_pixels(self.state.weight, self.model.encoder).reshape(-1, *self._patch)
        shares = np.einsum("br,kc->rcbk", self._down, self._across)
        shares /= shares.sum(axis=(0, 1))
        fields = np.zeros((*shares.shape[2:], len(weight), *self._size), np.float32)
        patches = sliding_window_view(fields, self._patch, axis=(3, 4), writeable=True)
        for row, column in np.ndindex(shares.shape[:2]):
            share = shares[row, column, :, :, None, None, None]
            patches[:, :, :, row * self._settings.stride, column * self._settings.stride] += share * weight
        return fields.reshape(-1, self._size[0] * self._size[1])

    def _count(self, pixels: Array, shifts: int) -> tuple[Array, Array]:
        images = padded(pixels.reshape(-1, *self._size), shifts)
        shown, n_exc = self._has_contrast(images), len(self.state.weight)
        spikes = np.zeros((*shown.shape, n_exc), np.float32)
        stride, n_pixels = self._settings.stride, self._patch[0] * self._patch[1]
        patches = sliding_window_view(images, self._patch, axis=(1, 2))[:, ::stride, ::stride]
        patches = patches[shown].reshape(-1, n_pixels)
        positions = np.broadcast_to(self._positions(shifts), shown.shape)
        spikes[shown] = self._engine.count_spikes(patches, positions[shown])
        down, across = self._down.shape[1], self._across.shape[1]
        windows = ((shifts - below, shifts - right) for below, right in offsets(shifts))
        counts = [self._pooled(spikes[:, top : top + down, left : left + across]) for top, left in windows]
        return np.stack(counts), self._engine.take_activity()

    def _pooled(self, spikes: Array) -> Array:
        """Return the sums over blocks, int32 [N, I], of spikes [N, rows, columns, E]."""
        n_images, n_down, n_across, n_exc = spikes.shape
        sums = self._down @ spikes.reshape(n_images, n_down, n_across * n_exc)
        sums = self._across @ sums.reshape(n_images, len(self._down), n_across, n_exc)
        return sums.reshape(n_images, len(self._down) * len(self._across) * n_exc).astype(np.int32)

    def _positions(self, shifts: int) -> Array:
        """Return the number of each position, int64 [rows, columns]; those of the padding are the last."""
        inside = np.arange(self._down.shape[1] * self._across.shape[1]).reshape(self._down.shape[1], -1)
        position = np.pad(inside, shifts, constant_values=-1)
        position[position < 0] = np.arange(inside.size, position.size)
        return position

    def _has_contrast(self, images: Array) -> Array:
        """Return whether the patch at each position has enough contrast, bool [N, rows, columns]; exact integers."""
        stride, (height, width) = self._settings.stride, self._patch

        def over_patch(values: Array) -> Array:  # one axis at a time is three times as fast
            columns = sliding_window_view(values, height, axis=1).sum(axis=-1)
            return sliding_window_view(columns, width, axis=2)[:, ::stride, ::stride].sum(axis=-1)

        pixels, n_pixels = images.astype(np.int64), height * width
        total, squares = over_patch(pixels), over_patch(pixels**2)
        return n_pixels * squares - total**2 >= n_pixels * (255 * self._settings.min_contrast) ** 2

    def _shares(self, size: int, patch: int) -> Array:
        """Return the share of a spike at each position in each block along one axis, float32 [blocks, positions].

        Along both axes, the shares of a spike are `parts`. They are whole numbers, so sums are exact.
        """
        block, n_positions = self._settings.block, (size - patch) // self._settings.stride + 1
        middle = np.arange(-(-n_positions // block)) * 2 * block + block - 1  # times 2
        distance = np.abs(2 * np.arange(n_positions) - middle[:, None])
        return np.maximum(2 * block - distance, 0).astype(np.float32)

    def _from_cache(self, pixels: Array, shifts: int) -> tuple[Array, Array]:
        name = hashlib.sha256(self._digest + bytes(str(shifts), "ascii") + pixels.tobytes()).hexdigest()
        known = files.read_cached(CACHE, name)
        if known is not None:
            file = io.BytesIO(known)
            return np.load(file), np.load(file)
        counts, activity = self._count(pixels, shifts)
        counts, buffer = counts.astype(np.min_scalar_type(int(counts.max(initial=0)))), io.BytesIO()
        np.save(buffer, counts)
        np.save(buffer, activity)
        self._writes = self._writes and files.write_cached(CACHE, name, buffer.getvalue(), CACHE_BYTES)
        return counts, activity

    @cached_property
    def _digest(self) -> bytes:
        """A digest of everything but the images that determines the counts: settings, state and code."""
        import torch

        settings, network = self._settings, self._settings.network.record
        parts = {key: network[key] for key in ("neuron", "encoder", "evaluator", "seed", "dtype")}
        geometry = (self._size, self._patch, settings.stride, settings.block, settings.min_contrast)
        engine = (self._engine.name, self._engine.device, torch.get_float32_matmul_precision())
        digest = hashlib.sha256(json.dumps([parts, geometry, engine]).encode() + ENGINE_DIGEST + PROGRAM_DIGEST)
        for code in self.model.neuron.__mro__[:-1]:  # without `object`
            digest.update(Path(str(inspect.getsourcefile(code))).read_bytes())
        digest.update(self.state.weight.tobytes() + self.state.theta.tobytes())
        return digest.digest()


def views(pixels: Array, settings: Settings, layer: FirstLayer | None, cached: bool = False) -> Array:
    """Return the views of images uint8 [N, H * W] that the network answers, uint8 [K, N, P], through a first layer."""
    shifts = settings.evaluator.shifts
    if layer is not None:
        return layer.seen(layer.counts(pixels, shifts, cached))
    seen = shifted(pixels.reshape(-1, settings.dataset.height, settings.dataset.width), shifts)
    return seen.reshape(len(seen), *pixels.shape)


def largest_cosine(weight: Array) -> float:
    """Return the largest cosine between the weights [E, I] of two neurons; near 1, a neuron is a duplicate."""
    unit = weight / np.maximum(np.linalg.norm(weight.astype(np.float64), axis=1, keepdims=True), np.finfo(float).tiny)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, 0)
    return float(cosine.max())


def make_first_layer(settings: Settings, state: NetworkState, options: EngineOptions) -> FirstLayer:
    """Return the trained first layer of a network of two layers, in the given state."""
    layer, model = settings.first_layer, build_first_layer(settings)
    assert layer is not None and model is not None
    return FirstLayer(layer, settings.dataset, state, make_engine(model, state, options))
