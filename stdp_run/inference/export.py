"""Exports a trained network to a file for other programs: its arrays, or a graph."""

import io
import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from stdp_run import files
from stdp_run.errors import UserError
from stdp_run.inference.load import Trained, read_trained
from stdp_run.inference.nir import IMPORTERS, nir_file

LAYOUT = "stdp-run export 1"


def export(path: str | Path, to: str | Path) -> Path:
    """Write a trained network to a file for other programs; return its path.

    An .npz or .safetensors file contains the arrays of the network, a .nir file a graph for one of `IMPORTERS`. `path`
    is a run's directory, or the checkpoint.pt in it; the ending of `to` selects the format. Raise UserError if `path`
    is unfit (as `load`), `to` cannot be written, a package is not installed, or NIR cannot express the network.
    """
    ending = next((ending for ending in FORMATS if Path(to).name.lower().endswith(ending)), None)
    if ending is None:
        *others, last = FORMATS
        raise UserError.bad_value("export.to", to, f"a file that ends in {', '.join(others)} or {last}")
    data, package, extra = FORMATS[ending]
    if package and find_spec(package) is None:
        raise UserError(f'export.to={to}: needs the package {package}: pip install "stdp-run[{extra}]", or use .npz')
    files.write_atomically(Path(to), data(read_trained(path)))
    return Path(to)


def _arrays(trained: Trained) -> dict[str, Any]:
    """Return the arrays by name, including those of a first layer."""
    second, first, labels = trained.saved.state_dict, trained.saved.first_layer, trained.labels
    arrays = {"weight": second["weight"], "theta": second["theta"]}
    arrays |= {"label": labels.label, "mean_count": labels.mean_count}
    if first:
        arrays |= {"first_layer_weight": first["weight"], "first_layer_theta": first["theta"]}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _npz(trained: Trained) -> bytes:
    buffer, settings = io.BytesIO(), np.array(json.dumps(trained.saved.config))
    np.savez(buffer, **_arrays(trained), classes=np.array(trained.classes), settings=settings, layout=np.array(LAYOUT))
    return buffer.getvalue()


def _safetensors(trained: Trained) -> bytes:
    from safetensors.numpy import save

    texts = {"classes": json.dumps(trained.classes), "settings": json.dumps(trained.saved.config), "layout": LAYOUT}
    return save(_arrays(trained), metadata=texts)


# By ending: the function, the required package, and the extra that installs it.
FORMATS: dict[str, tuple[Callable[[Trained], bytes], str | None, str | None]] = {
    ".npz": (_npz, None, None),
    ".safetensors": (_safetensors, "safetensors", "export"),
    **{ending: (partial(nir_file, importer=importer), "nir", "nir") for ending, importer in IMPORTERS.items()},
}
