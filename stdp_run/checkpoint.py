"""Checkpoints: written atomically, and verified by a checksum when they are read.

A file has the output of `torch.save` for plain containers and tensors, then a line with its sha256. The file may be
untrusted. So `load` reads plain values only, and `check` compares every array with the network of the settings before
compiled code uses it. A file records its format and the version of the program that wrote it.
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import accumulate
from math import inf
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from stdp_run.errors import UserError, printable
from stdp_run.files import read_regular, write_atomically
from stdp_run.network import Model, NetworkState, persistent_state

FORMAT = 2  # raise it when files of earlier versions cannot be read any more
_MARK = b"\nstdp-run checkpoint sha256 "
_TAIL_LENGTH = len(_MARK) + 64 + 1
_MAKES_MEMORY = re.compile(rb"\n(bytearray|_rebuild_(?!tensor_v2\n))")  # in a pickle; no checkpoint has these names

StateDict = dict[str, np.ndarray]  # arrays of a network by name: weight[E, I], theta[E], other persistent arrays


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint: enough to resume a run, or to evaluate its network again."""

    config: dict  # `Settings.record` of the run
    engine: list[str]  # chosen engine and device, such as ["event", "cpu"]
    state_dict: StateDict
    epoch: int = 0  # number of complete epochs
    global_step: int = 0  # images learned from, over all epochs
    first_layer: StateDict | None = None  # of the first of two layers
    progress: dict | None = None  # `training.trainer.Progress` of an unfinished run
    labels: dict | None = None  # of a finished run: label[E], mean_count[C, E], classes[C], calibration by readout

    def state(self) -> NetworkState:
        return _state(self.state_dict)

    def first_state(self) -> NetworkState | None:
        """Return the state of the first of two layers; None if there is one layer."""
        return None if self.first_layer is None else _state(self.first_layer)

    def check(self, model: Model, first_layer: Model | None) -> None:
        """Raise ValueError or UserError unless arrays and labels fit these networks, with finite numbers."""
        _check_state(self.state_dict, model)
        if (self.first_layer is None) != (first_layer is None):
            raise ValueError("first_layer does not fit the settings")
        if self.first_layer is not None and first_layer is not None:
            _check_state(self.first_layer, first_layer)
        if self.labels is not None:
            classes = self.labels["classes"]
            if not classes or len(set(classes)) < len(classes) or not all(isinstance(name, str) for name in classes):
                raise ValueError("classes must be different names, one or more")
            shape = len(classes), model.n_exc
            check_array("label", self.labels["label"], np.int64, shape[1:], -1, shape[0] - 1)
            check_array("mean_count", self.labels["mean_count"], np.float64, shape, 0)
            for name, (temperature, floor) in self.labels["calibration"].items():
                if not (0.01 <= temperature <= 1e4 and 0 <= floor <= 1):
                    raise ValueError(f"calibration.{name} has values that are not allowed")


def _state(arrays: StateDict) -> NetworkState:
    persistent = {name: array for name, array in arrays.items() if name not in ("weight", "theta")}
    return NetworkState(arrays["weight"], arrays["theta"], persistent)


def _check_state(arrays: StateDict, model: Model) -> None:
    check_array("weight", arrays["weight"], model.weight_dtype, (model.n_exc, model.n_inputs))
    check_array("theta", arrays["theta"], model.theta_dtype, (model.n_exc,))
    expected = persistent_state(model, arrays["weight"])
    if unknown := arrays.keys() - expected.keys() - {"weight", "theta"}:
        raise ValueError(f"{min(unknown)} is not an array of {model.rule.__name__}")
    for name, array in expected.items():
        # The run may have begun with another precision.
        dtype = arrays[name].dtype if arrays[name].dtype.kind == array.dtype.kind else array.dtype
        check_array(name, arrays[name], dtype, array.shape)


def check_array(
    name: str, array: np.ndarray, dtype: Any, shape: tuple[int, ...], low: float = -np.inf, high: float = np.inf
) -> None:
    """Raise ValueError unless an array has that type and shape, and finite values from `low` to `high`."""
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}; must be {np.dtype(dtype)} {list(shape)}")
    if not np.isfinite(array).all() or ((array < low) | (array > high)).any():
        raise ValueError(f"{name} has values that are not allowed")


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint atomically to `path`; raise UserError if it cannot be written."""
    import torch

    fields = {"format": FORMAT, "version": _version(), **vars(checkpoint)}
    content = _converted(fields, np.ndarray, lambda array: torch.from_numpy(np.array(array)))
    buffer = io.BytesIO()
    torch.save(content, buffer)
    data = buffer.getvalue()
    write_atomically(path, data + _MARK + hashlib.sha256(data).hexdigest().encode() + b"\n")


def _version() -> str:
    try:
        return metadata.version("stdp-run")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "unknown"


def read_verified(path: Path) -> bytes:
    """Return the bytes of `torch.save` in a checkpoint file; raise UserError if it is missing, damaged or foreign."""
    try:
        raw = read_regular(path, inf)
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a zero byte in the name
        raise UserError(f"checkpoint={path}: cannot be read: {getattr(error, 'strerror', repr(error))}") from error
    data, tail = raw[:-_TAIL_LENGTH], raw[-_TAIL_LENGTH:]
    if not tail.startswith(_MARK):
        raise UserError(f"checkpoint={path}: cut off, or not a checkpoint that stdp-run wrote (checkpoint.pt of a run)")
    if tail != _MARK + hashlib.sha256(data).hexdigest().encode() + b"\n":
        raise UserError(f"checkpoint={path}: damaged: its sha256 differs from the one written with it")
    return data


def load(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`; raise UserError if it is missing, damaged, or not readable."""
    import torch

    data = read_verified(path)
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(len(data) if entry.compress_type else entry.file_size for entry in archive.infolist())
        if unpacked >= len(data) or _MAKES_MEMORY.search(data):
            raise ValueError("its content would be larger than the file")
        content = torch.load(io.BytesIO(data), weights_only=True)
        # A shared value, or a tensor with a stride of 0, takes more memory than space in the file.
        if any(size > 2 * len(data) for size in accumulate(_sizes(content))):
            raise ValueError("its values would be larger than the file")
        form, version = content.pop("format", 1), content.pop("version", "unknown")  # old files do not record them
        if form != FORMAT:
            written = printable(f"stdp-run {version} wrote it in format {form}"[:100])
            raise UserError(f"checkpoint={path}: {written}; stdp-run {_version()} reads format {FORMAT}")
        found = Checkpoint(**_converted(content, torch.Tensor, torch.Tensor.numpy))
        if not isinstance(found.state_dict, dict) or not isinstance(found.global_step, int):
            raise TypeError("state_dict must be a dict, and global_step a whole number")
        json.dumps(dict(found.config))  # raises TypeError unless all values are plain
        return found
    except UserError:
        raise
    except Exception as error:  # of any type: the content is untrusted
        raise not_of_a_run(path, error) from error


def _sizes(value: Any) -> Iterator[int]:
    """Yield the size in bytes, at least 1, of a value and of all values in it, repeated ones included."""
    is_tree = isinstance(value, Mapping | list | tuple)
    yield max(1, 0 if is_tree else value.nbytes if hasattr(value, "nbytes") else len(str(value)))
    for item in value.items() if isinstance(value, Mapping) else value if is_tree else ():
        yield from _sizes(item)


def not_of_a_run(path: str | Path, error: Exception) -> UserError:
    """Return the error for a file that is not the checkpoint of a run."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return UserError(f"checkpoint={path}: not a checkpoint of a run ({reason:.200})")


def _converted(value: Any, kind: type, convert: Callable[[Any], Any]) -> Any:
    """Return containers with every value of type `kind` converted."""
    if isinstance(value, Mapping):
        return {key: _converted(item, kind, convert) for key, item in value.items()}
    if isinstance(value, list):
        return [_converted(item, kind, convert) for item in value]
    return convert(value) if isinstance(value, kind) else value
