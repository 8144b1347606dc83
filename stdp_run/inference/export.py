"""A trained network's arrays in a file that other programs read."""

import io
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from stdp_run import files
from stdp_run.errors import UserError
from stdp_run.inference.load import read_trained

LAYOUT = "stdp-run export 1"


def export(path: str | Path, to: str | Path, config_dir: str | Path | None = None) -> Path:
    """Write a trained network's arrays to a file that other programs read; return its path.

    With E excitatory neurons, I inputs (the pixels of a picture, row by row) and C classes, both formats hold

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

    The .npz loads with numpy.load without pickle. What a rule keeps to learn on is not in it: checkpoint.pt is.

    Args:
        path: a run's directory, or the checkpoint.pt in it.
        to: the file to write, ending in .safetensors (needs the package safetensors) or .npz.
        config_dir: as for `stdp_run.load`.

    Raises:
        UserError: `path` as in `load`; `to` ends otherwise or cannot be written; safetensors is not installed.
    """
    ending = Path(to).suffix.lower()
    if ending not in FORMATS:
        raise UserError.bad_value("export.to", to, f"a file that ends in {' or '.join(FORMATS)}")
    if ending == ".safetensors" and find_spec("safetensors") is None:  # asked before any work is done
        raise UserError(f'export.to={to}: needs the package safetensors: pip install "stdp_run[export]", or use .npz')
    saved = read_trained(path, config_dir).saved
    found = {**saved.arrays, **saved.extra}
    arrays = {name: np.ascontiguousarray(found[name]) for name in ("weight", "theta", "label", "mean_count")}
    for name in ("weight", "theta") if "first_layer" in found else ():
        arrays[f"first_layer_{name}"] = np.ascontiguousarray(found["first_layer"][name])
    files.write_atomically(Path(to), FORMATS[ending](arrays, list(found["classes"]), json.dumps(saved.config)))
    return Path(to)


def _npz(arrays: dict[str, Any], classes: list[str], settings: str) -> bytes:
    texts: dict[str, Any] = {"classes": np.array(classes), "settings": np.array(settings), "layout": np.array(LAYOUT)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **texts)
    return buffer.getvalue()


def _safetensors(arrays: dict[str, np.ndarray], classes: list[str], settings: str) -> bytes:
    from safetensors.numpy import save

    return save(arrays, metadata={"classes": json.dumps(classes), "settings": settings, "layout": LAYOUT})


FORMATS: dict[str, Callable[[dict[str, np.ndarray], list[str], str], bytes]] = {
    ".safetensors": _safetensors,
    ".npz": _npz,
}
