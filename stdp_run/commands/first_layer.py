"""The first of two layers in the commands: where it comes from, and the images as the second layer sees them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from omegaconf import OmegaConf

from stdp_run.config.schema import LEARNED_BY, Config
from stdp_run.datasets.selection import Data, FirstLayerRecord
from stdp_run.errors import UserError
from stdp_run.inference.first_layer import FirstLayer
from stdp_run.inference.load import learned_in


def with_layer_of(config: Config, explicit: Sequence[str]) -> Config:
    """Return a config whose first layer is as that of the run `first_layer.run` has learned.

    Raises:
        UserError: as `learned_in`, or one of the `explicit` keys is of what has been learned.
    """
    changed = OmegaConf.create(config)
    run = changed.first_layer.run
    for key in explicit:
        if key.startswith("first_layer.") and key.split(".")[1] in LEARNED_BY:
            raise UserError(f"{key}: cannot be set, as the first layer of first_layer.run={run} has learned already")
    record = learned_in(run, changed.config_dir).settings.record
    for key in LEARNED_BY:
        OmegaConf.update(changed, f"first_layer.{key}", record[key], merge=False)
    return changed


def behind(layer: FirstLayer, data: Data, progress: Callable[[int], object]) -> Data:
    """Return the images as the second layer sees them, with what a run keeps of the first."""
    train, test = (layer.counts(pixels, True, progress) for pixels in (data.train_pixels, data.test_pixels))
    n_exc = len(layer.state.theta)
    spikes = train.reshape(-1, n_exc).sum(axis=0, dtype=np.int64)
    figures = {
        "n_exc": n_exc,
        "silent_neurons": int((spikes == 0).sum()),
        "spikes_per_image": float(spikes.sum() / layer.parts / len(train)),
        "active_inputs": float((train > 0).mean()),
    }
    kept = FirstLayerRecord(layer.state.arrays(), layer.projection(), data.test_pixels, figures)
    return replace(data, train_pixels=layer.seen(train), test_pixels=layer.seen(test), first_layer=kept)
