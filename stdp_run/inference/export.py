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


def export(path: str | Path, to: str | Path) -> Path:
    """Write a trained network to a file that other programs read; return its path.

    With E excitatory neurons, I inputs (the pixels of a picture, row by row) and C classes, .npz and .safetensors hold

        weight      [E, I]  float32 or float64; an integer network (post_pre_int): int32
        theta       [E]     float64, mV, added to v_threshold; integer network: int32, the threshold itself
        label       [E]     int64, the class of a neuron; -1: it never spiked
        mean_count  [C, E]  float64, mean spikes per image of each class
        first_layer_weight, first_layer_theta   with two layers

    and, in .npz as arrays of text, in .safetensors as metadata in JSON,

        classes     [C]     the names of the classes
        settings            the settings of the run, one text in JSON
        layout              "stdp-run export 1"

    The .npz loads with numpy.load without pickle. A .nir is a graph for one of `IMPORTERS` (`stdp_run.inference.nir`).
    Its metadata have the same but for the weights, and `dt` (s), `steps`, `max_rate_hz`, `seed` and `readout`.

    Args:
        path: a run's directory, or the checkpoint.pt in it.
        to: the file to write, which ends in one of `FORMATS`.

    Raises:
        UserError: `path` as in `load`; `to` ends otherwise or cannot be written; a package is not installed; a .nir
            cannot express the network.
    """
    ending = next((ending for ending in FORMATS if Path(to).name.lower().endswith(ending)), None)
    if ending is None:
        *others, last = FORMATS
        raise UserError.bad_value("export.to", to, f"a file that ends in {', '.join(others)} or {last}")
    data, package, extra = FORMATS[ending]
    if package and find_spec(package) is None:  # asked before any work is done
        raise UserError(f'export.to={to}: needs the package {package}: pip install "stdp_run[{extra}]", or use .npz')
    files.write_atomically(Path(to), data(read_trained(path)))
    return Path(to)


def _arrays(trained: Trained) -> dict[str, Any]:
    """Return the arrays by name, and of two layers those of the first."""
    found = {**trained.saved.state_dict, **trained.stored}
    arrays = {name: np.ascontiguousarray(found[name]) for name in ("weight", "theta", "label", "mean_count")}
    first = trained.saved.first_layer or {}
    return arrays | {f"first_layer_{name}": np.ascontiguousarray(first[name]) for name in ("weight", "theta") if first}


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
