"""The first of two layers: it is presented every place of an image, and its spikes are what the second one sees.

Of an image [H, W], the patch [h, w] at each place is presented to the network with learning off, unless its contrast,
the L2 norm of its pixels less their mean, is below `min_contrast`. The spikes of each neuron are summed over blocks of
places, which overlap: a spike counts for the blocks around it by its distance from their middles, as in histograms of
gradients (Dalal and Triggs, CVPR 2005). The sums, times `spike_value` and at most 255, are an image of the second
layer: uint8 [I], by row of blocks, column of blocks, and neuron. (Features learned from patches, found at every place,
and pooled: Coates, Ng and Lee, AISTATS 2011.)

Random numbers are keyed by the layer's seed and by the place in the image, so that what becomes of an image depends on
the seed and its pixels alone.
"""

import hashlib
import inspect
import io
import json
import math
import zlib
from collections.abc import Callable
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stdp_run import files
from stdp_run.config.build import build_first_layer
from stdp_run.config.schema import FirstLayerSettings, Settings
from stdp_run.config.sections import DatasetSettings
from stdp_run.engines.base import Engine
from stdp_run.engines.event.cache import ENGINE_DIGEST
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.network import NetworkState

IMAGES_AT_ONCE = 250  # more would not stay in the cache of a processor
CACHE, CACHE_BYTES = "first_layer", 2**30


class FirstLayer:
    """A layer that has learned; nothing changes it.

    Args:
        settings: of the layer.
        images: what it is presented, for the size.
        state: weight[E, h * w] and theta[E] that it has learned.
        engine: of its network, in that state.
    """

    def __init__(self, settings: FirstLayerSettings, images: DatasetSettings, state: NetworkState, engine: Engine):
        self.state = state
        self._settings, self._engine = settings, engine
        self._size = images.height, images.width
        self._patch = settings.network.dataset.height, settings.network.dataset.width
        self._writes = True  # to the cache, as long as that is possible

    def counts(
        self, pixels: np.ndarray, cached: bool = False, progress: Callable[[int], object] = lambda n: None
    ) -> np.ndarray:
        """Return the spikes of each neuron in each block, whole numbers [N, I] of `parts`, of images uint8 [N, H * W].

        If `cached`, they are taken from the user's cache where it has them, and added where not. `progress` is called
        with the number of images whenever some are done.
        """
        parts = []
        for first in range(0, max(1, len(pixels)), IMAGES_AT_ONCE):
            part = np.ascontiguousarray(pixels[first : first + IMAGES_AT_ONCE])
            parts.append(self._from_cache(part) if cached else self._count(part))
            progress(len(part))
        return np.concatenate(parts)

    def seen(self, counts: np.ndarray) -> np.ndarray:
        """Return the images, uint8 [N, I], that the second layer sees of such counts."""
        value = self._settings.spike_value / self.parts * np.arange(int(counts.max(initial=0)) + 1)
        return np.minimum(np.rint(value), 255).astype(np.uint8)[counts]

    def projection(self) -> np.ndarray:
        """Return what each input of the second layer stands for, float32 [I, H * W]: mean weights over its block."""
        weight, stride = self.state.weight.reshape(-1, *self._patch), self._settings.stride
        rows, columns = (
            range(0, size - patch + 1, stride) for size, patch in zip(self._size, self._patch, strict=True)
        )
        shares = np.einsum("br,kc->rcbk", self._shares(len(rows)), self._shares(len(columns)))
        shares /= shares.sum(axis=(0, 1))
        fields = np.zeros((*shares.shape[2:], len(weight), *self._size), np.float32)
        for (down, top), (across, left) in product(enumerate(rows), enumerate(columns)):
            share = shares[down, across, :, :, None, None, None]
            fields[..., top : top + self._patch[0], left : left + self._patch[1]] += share * weight
        return fields.reshape(-1, self._size[0] * self._size[1])

    @property
    def parts(self) -> int:
        """In how many parts a spike is counted, as it may count for several blocks."""
        return (2 * self._settings.block) ** 2

    def _count(self, pixels: np.ndarray) -> np.ndarray:
        stride, (height, width) = self._settings.stride, self._patch
        images = pixels.reshape(len(pixels), *self._size)
        shown = self._stands_out(images)  # [N, R, C]
        patches = sliding_window_view(images, self._patch, axis=(1, 2))[:, ::stride, ::stride]  # [N, R, C, h, w]
        place = np.broadcast_to(np.arange(math.prod(shown.shape[1:])).reshape(shown.shape[1:]), shown.shape)
        spikes = np.zeros((*shown.shape, len(self.state.theta)), np.float32)
        if shown.any():
            spikes[shown] = self._engine.count_spikes(patches[shown].reshape(-1, height * width), place[shown])
        n_images, n_down, n_across, n_exc = spikes.shape
        down, across = self._shares(n_down), self._shares(n_across)
        sums = down @ spikes.reshape(n_images, n_down, n_across * n_exc)
        sums = across @ sums.reshape(n_images, len(down), n_across, n_exc)
        return sums.reshape(n_images, len(down) * len(across) * n_exc).astype(np.int32)

    def _shares(self, n_places: int) -> np.ndarray:
        """Return how much of a spike at each place counts for each block, along one axis, float32 [blocks, places].

        A spike counts less for a block the further it is from its middle, so that one between two blocks counts for
        both: all its shares are `parts`, along both axes. These are whole numbers, so that sums are exact.
        """
        block = self._settings.block
        middle = np.arange(-(-n_places // block)) * 2 * block + block - 1  # twice the place
        distance = np.abs(2 * np.arange(n_places) - middle[:, None])
        return np.maximum(2 * block - distance, 0).astype(np.float32)

    def _stands_out(self, images: np.ndarray) -> np.ndarray:
        """Return of each place whether it has the contrast to be presented, bool [N, places down, places across]."""
        stride, (height, width) = self._settings.stride, self._patch

        def over_patch(values: np.ndarray) -> np.ndarray:
            columns = sliding_window_view(values, height, axis=1).sum(axis=-1)
            return sliding_window_view(columns, width, axis=2)[:, ::stride, ::stride].sum(axis=-1)

        pixels = images.astype(np.int64)
        total, squares = over_patch(pixels), over_patch(pixels**2)
        return height * width * squares - total**2 >= height * width * (255 * self._settings.min_contrast) ** 2

    def _from_cache(self, pixels: np.ndarray) -> np.ndarray:
        name = hashlib.sha256(self._digest + pixels.tobytes()).hexdigest()
        known = files.read_cached(CACHE, name)
        if known is not None:
            return np.load(io.BytesIO(zlib.decompress(known)))
        counts = self._count(pixels)
        counts = counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
        buffer = io.BytesIO()
        np.save(buffer, counts)
        data = zlib.compress(buffer.getvalue(), 1)
        self._writes = self._writes and files.write_cached(CACHE, name, data, CACHE_BYTES)
        return counts

    @cached_property
    def _digest(self) -> bytes:
        """A digest of all that the counts depend on but the images: settings, state, and the code that counts."""
        settings, network = self._settings, self._settings.network.record
        parts = {key: network[key] for key in ("neuron", "encoder", "evaluator", "seed", "dtype")}
        geometry = (self._size, self._patch, settings.stride, settings.block, settings.min_contrast)
        digest = hashlib.sha256(json.dumps([parts, geometry, self._engine.name]).encode() + ENGINE_DIGEST)
        for code in (self._engine.model.neuron, FirstLayer):
            digest.update(Path(str(inspect.getsourcefile(code))).read_bytes())
        for array in (self.state.weight, self.state.theta):
            digest.update(array.tobytes())
        return digest.digest()


def make_first_layer(settings: Settings, state: NetworkState, options: EngineOptions) -> FirstLayer:
    """Return the first layer of a network with such settings, in the state that it has learned."""
    layer, model = settings.first_layer, build_first_layer(settings)
    assert layer is not None and model is not None  # only such a network has a state of one
    return FirstLayer(layer, settings.dataset, state, make_engine(model, state, options))
