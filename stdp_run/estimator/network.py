"""A network that learns from arrays in memory, without a run."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from stdp_run.config.build import build_model
from stdp_run.config.schema import Settings
from stdp_run.datasets import Images, Loaded
from stdp_run.datasets.selection import build_dataset
from stdp_run.engines.base import Array, Engine
from stdp_run.engines.selection import choose, engine_options, make_engine
from stdp_run.inference.first_layer import FirstLayer, make_first_layer, views
from stdp_run.inference.load import image_index
from stdp_run.network import NetworkState, initial_state
from stdp_run.training.order import presentation_order, schedules

IMAGES_AT_ONCE = 1000  # an interrupt ends learning between two parts of this size


class Network(NamedTuple):
    """A network at work; it is not pickled."""

    settings: Settings
    choice: tuple[str, str]  # engine and device
    engine: Engine
    first_layer: FirstLayer | None  # of two layers

    def views(self, pixels: Array) -> Array:
        """Return the views to answer, uint8 [K, N, P], of images uint8 [N, H * W]."""
        return views(pixels, self.settings, self.first_layer)

    def counts(self, pixels: Array) -> Array:
        """Return the spike counts, int32 [N, E], of images uint8 [N, H * W]; they depend on the pixels alone."""
        seen = self.views(pixels)
        return self.engine.count_spikes(seen, image_index(seen[0]))

    def learned(self, pixels: Array) -> Array:
        """Return the images that the network learns from, uint8 [N, P]: those of the first view."""
        layer = self.first_layer
        return pixels if layer is None else layer.seen(layer.counts(pixels))[0]


def parts(settings: Settings, n_images: int) -> Iterator[slice]:
    """Yield slices that cover `n_images`, in whole batches."""
    size = -(-IMAGES_AT_ONCE // settings.batch_size) * settings.batch_size
    for start in range(0, n_images, size):
        yield slice(start, start + size)


def learn(engine: Engine, settings: Settings, pixels: Array, classes: Array | None) -> None:
    """Learn from images uint8 [N, P], as `Trainer.train`; `classes` [N] matter to trainer.order=by_class alone."""
    n_images, of_images = len(pixels), np.zeros(len(pixels)) if classes is None else classes
    for epoch in range(settings.epochs):
        order = presentation_order(settings.trainer.order, of_images, epoch, settings.seed)
        progress = np.arange(epoch * n_images, (epoch + 1) * n_images) / (n_images * settings.epochs)
        for part in parts(settings, n_images):
            factors = schedules(settings.trainer, settings.k_winners, progress[part])
            engine.learn(pixels[order[part]], order[part], epoch, *factors)


def make_network(settings: Settings, state: NetworkState | None, first: NetworkState | None) -> Network:
    """Return a network in a state, None: before learning, and behind a first layer in its state."""
    model, options = build_model(settings), engine_options(settings, None)
    choice = choose(model, options)
    of_layer = options._replace(engine="auto", learning=False)
    layer = None if first is None else make_first_layer(settings, first, of_layer)
    return Network(settings, choice, make_engine(model, state or initial_state(model), options, choice), layer)


def new_network(settings: Settings, pixels: Array) -> Network:
    """Return a network before learning; a first layer learns patches of images uint8 [N, H * W]."""
    if settings.first_layer is None:
        return make_network(settings, None, None)
    network, size = settings.first_layer.network, (settings.dataset.height, settings.dataset.width)
    images = Images(pixels.reshape(-1, *size), np.zeros(len(pixels), np.int64))
    patches = build_dataset(network.dataset, network.seed, Loaded(images, images, ("",), "X")).load().train.pixels
    below = make_network(network, None, None)
    learn(below.engine, network, patches.reshape(len(patches), -1), None)
    return make_network(settings, None, below.engine.state())
