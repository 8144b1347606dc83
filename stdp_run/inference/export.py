"""A trained network in a file that other programs read: its arrays, or a graph."""

import io
import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stdp_run import files
from stdp_run.errors import UserError
from stdp_run.inference.load import Trained, read_trained
from stdp_run.inference.nir import IMPORTERS, nir_file

LAYOUT = "stdp-run export 1"


def export(path: str | Path, to: str | Path, config_dir: str | Path | None = None) -> Path:
    """Write a trained network to a file that other programs read; return its path.

    With E excitatory neurons, I inputs (the pixels of a picture, row by row) and C classes, .npz and .safetensors hold

        weight      [E, I]  float32 or float64, as learned; an integer network (post_pre_int): int32
        theta       [E]     float64, mV: a neuron fires above v_threshold + theta; integer network: int32, and theta is
                            the threshold itself
        label       [E]     int64, the class that a neuron stands for; -1: it never spiked
        mean_count  [C, E]  float64, mean spikes per image of each class

    with two layers, where the inputs of the second are those that `stdp_run.inference.first_layer` makes of a picture,

        first_layer_weight, first_layer_theta

    and, in .npz as arrays of text, in .safetensors as metadata in JSON,

        classes     [C]     the names of the classes
        settings            the settings of the run, one text in JSON: constants of the neurons, encoding, seed
        layout              "stdp-run export 1"

    The .npz loads with numpy.load without pickle. What a rule keeps to learn on is not in it: checkpoint.pt is. A .nir
    is the network itself, as a graph (`stdp_run.inference.nir`), for one of `IMPORTERS`; its metadata have the
    same but for the weights, and `dt` (s), `steps`, `max_rate_hz`, `seed` and `readout`, by which an answer is found.

    Args:
        path: a run's directory, or the checkpoint.pt in it.
        to: the file to write, which ends in one of `FORMATS`.
        config_dir: as for `stdp_run.load`.

    Raises:
        UserError: `path` as in `load`; `to` ends otherwise or cannot be written; the package that it needs is not
            installed; a .nir cannot say what the network does.
    """
    ending = next((ending for ending in FORMATS if Path(to).name.lower().endswith(ending)), None)
    if ending is None:
        *others, last = FORMATS
        raise UserError.bad_value("export.to", to, f"a file that ends in {', '.join(others)} or {last}")
    data, package, extra = FORMATS[ending]
    if package and find_spec(package) is None:  # asked before any work is done
        raise UserError(f'export.to={to}: needs the package {package}: pip install "stdp_run[{extra}]", or use .npz')
    files.write_atomically(Path(to), data(read_trained(path, config_dir)))
    return Path(to)


def _arrays(trained: Trained) -> dict[str, Any]:
    """Return the arrays by name, and of two layers those of the first."""
    found = {**trained.saved.arrays, **trained.saved.extra}
    arrays = {name: np.ascontiguousarray(found[name]) for name in ("weight", "theta", "label", "mean_count")}
    for name in ("weight", "theta") if "first_layer" in found else ():
        arrays[f"first_layer_{name}"] = np.ascontiguousarray(found["first_layer"][name])
    return arrays


def _npz(trained: Trained) -> bytes:
    texts: dict[str, Any] = {
        "classes": np.array(trained.classes),
        "settings": np.array(json.dumps(trained.saved.config)),
        "layout": np.array(LAYOUT),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **_arrays(trained), **texts)
    return buffer.getvalue()


def _safetensors(trained: Trained) -> bytes:
    from safetensors.numpy import save

    texts = {"classes": json.dumps(trained.classes), "settings": json.dumps(trained.saved.config), "layout": LAYOUT}
    return save(_arrays(trained), metadata=texts)


class Format(NamedTuple):
    """How a network is written to files of one ending."""

    data: Callable[[Trained], bytes]
    package: str | None = None  # that it needs
    extra: str | None = None  # of this package, which installs that


FORMATS = {
    ".npz": Format(_npz),
    ".safetensors": Format(_safetensors, "safetensors", "export"),
    **{ending: Format(partial(nir_file, importer=each), "nir", "nir") for ending, each in IMPORTERS.items()},
}
