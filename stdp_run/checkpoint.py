"""Checkpoints: saved intact or not at all, and read back only if every byte is as it was written.

A file is what `torch.save` makes of plain containers and tensors, followed by a line with its sha256, which neither
zip nor torch would check. A checksum does not say who wrote the file. So what is in it is checked as well: `load` reads
plain values only, and `check_trained` and `check_progress` hold them against the network that the settings describe.
"""

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from stdp_run.errors import UserError
from stdp_run.files import write_atomically
from stdp_run.network import Model, NetworkState, persistent_state

FORMAT = 2
_MARK = b"\nstdp-run checkpoint sha256 "
_TAIL_LENGTH = len(_MARK) + 64 + 1


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to resume a run, or to evaluate its network again."""

    config: dict  # `Settings.record` of the run
    arrays: dict[str, np.ndarray]  # the network's state by name
    position: dict = field(default_factory=dict)  # how far learning is: the number of images
    extra: dict = field(default_factory=dict)  # plain containers and arrays that the run adds

    def state(self) -> NetworkState:
        """Return the state of the network."""
        persistent = {name: array for name, array in self.arrays.items() if name not in ("weight", "theta")}
        return NetworkState(self.arrays["weight"], self.arrays["theta"], persistent)

    def first_layer(self, model: Model, path: str | Path) -> NetworkState:
        """Return the state of the first of two layers; raise UserError, naming `path`, unless it is of that model."""
        check = _Contents(path, self.extra)
        arrays = check.has("first_layer", dict)
        check.state(arrays, model, "first_layer.")
        return Checkpoint({}, arrays).state()

    def check_trained(self, model: Model, path: str | Path) -> None:
        """Raise UserError, naming `path`, unless this is a labelled network of that model."""
        check = _Contents(path, self.extra)
        check.state(self.arrays, model)
        classes = check.has("classes", list)
        if not classes or not all(isinstance(name, str) for name in classes) or len(set(classes)) < len(classes):
            check.refuse("classes", "must be different names, one or more")
        check.array("label", np.int64, (model.n_exc,), -1, len(classes) - 1)
        check.array("mean_count", np.float64, (len(classes), model.n_exc), 0)
        calibration = check.has("calibration", dict) if "calibration" in self.extra else {}
        for readout, values in calibration.items():
            each = check.items(f"calibration.{readout}", values, [0, 1])  # temperature and floor
            each.number(0, least="above 0")
            each.number(1)

    def check_progress(self, model: Model, n_classes: int, path: str | Path) -> None:
        """Raise UserError, naming `path`, unless a run of that model can be resumed from this."""
        n_exc = model.n_exc
        check = _Contents(path, self.extra)
        check.state(self.arrays, model)
        check.number("wall_seconds")
        numbers = ("images", "reported", "spikes", "seconds", "window_seconds")
        known = [*numbers, "counts", "classes", "estimate"]
        progress = check.items("progress", check.has("progress", dict), known)
        for name in numbers:
            progress.number(name, whole=not name.endswith("seconds"))
        all_counts, all_classes = progress.has("counts", list), progress.has("classes", list)
        if len(all_counts) != len(all_classes):
            progress.refuse("counts", f"must be {len(all_classes)} arrays, as many as the classes")
        for counts, classes in zip(all_counts, all_classes, strict=True):
            part = progress.items("part", {"counts": counts, "classes": classes}, ["counts", "classes"])
            n_images = len(part.array("classes", np.int64, (None,), 0, n_classes - 1))
            part.array("counts", np.int32, (n_images, n_exc), 0)
        for window in progress.has("estimate", list):
            part = progress.items("estimate", window, [0, 1])
            part.array(0, np.float64, (n_classes, n_exc), 0)
            part.array(1, np.int64, (n_classes,), 0)


class _Contents:
    """What stands in a checkpoint, by name; what is not as it must be is refused in a line that names the file."""

    def __init__(self, path: str | Path, values: Mapping, prefix: str = ""):
        self._path, self._values, self._prefix = path, values, prefix

    def refuse(self, name: object, problem: str) -> NoReturn:
        raise UserError(f"checkpoint={self._path}: {self._prefix}{name} {problem}")

    def has(self, name: object, kind: type) -> Any:
        """Return a value, which must be there and of a kind."""
        value = self._values.get(name)
        if not isinstance(value, kind):
            there = "missing" if name not in self._values else f"of type {type(value).__name__}"
            self.refuse(name, f"is {there}; must be of type {kind.__name__}")
        return value

    def items(self, name: str, value: object, known: list) -> "_Contents":
        """Return what stands in a dict, or in a list by its place: what is `known`, and nothing else."""
        values = value if isinstance(value, dict) else dict(enumerate(value if isinstance(value, list) else ()))
        if set(values) != set(known):
            self.refuse(name, f"holds {len(values)} values; must be {', '.join(map(str, known))}")
        return _Contents(self._path, values, f"{self._prefix}{name}.")

    def number(self, name: object, whole: bool = False, least: str = "of 0 or more") -> None:
        """Check a number of 0 or more, or "above 0"."""
        value: Any = self._values.get(name)
        kinds = (int,) if whole else (int, float)
        if type(value) not in kinds or not 0 <= value < math.inf or (least == "above 0" and value == 0):
            self.refuse(name, f"must be a {'whole ' * whole}number {least}")

    def array(
        self,
        name: object,
        dtype: Any,
        shape: tuple[int | None, ...],
        low: float = -math.inf,
        high: float = math.inf,
    ) -> np.ndarray:
        """Return an array of that type and shape (None: any length), whose values are numbers from `low` to `high`."""
        array = self.has(name, np.ndarray)
        fits = len(array.shape) == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
        if array.dtype != dtype or not fits:
            wanted = f"{np.dtype(dtype)} [{', '.join('N' if size is None else str(size) for size in shape)}]"
            self.refuse(name, f"is {array.dtype} {list(array.shape)}; must be {wanted}")
        if not np.isfinite(array).all():
            self.refuse(name, "has values that are not finite")
        if ((array < low) | (array > high)).any():
            self.refuse(name, f"must be {low} or more" if high == math.inf else f"must be {low} to {high}")
        return array

    def state(self, arrays: Mapping[str, np.ndarray], model: Model, prefix: str = "") -> None:
        """Check the arrays of a network."""
        check = _Contents(self._path, arrays, prefix)
        weight = check.array("weight", model.weight_dtype, (model.n_exc, model.n_inputs))
        check.array("theta", model.theta_dtype, (model.n_exc,))
        kept = persistent_state(model, weight)
        if unknown := sorted(map(str, arrays.keys() - kept.keys() - {"weight", "theta"})):
            check.refuse(unknown[0], f"is nothing that {model.rule.__name__} keeps")
        for name, array in kept.items():
            there = check.has(name, np.ndarray).dtype  # a rule may have begun with another precision
            check.array(name, there if there.kind == array.dtype.kind else array.dtype, array.shape)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint to `path`; a checkpoint that was there stays intact until the new one is.

    Raises:
        UserError: the file cannot be written, for instance because the disk is full.
    """
    import torch

    content = _converted(vars(checkpoint), np.ndarray, lambda array: torch.from_numpy(np.array(array)))
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    data = buffer.getvalue()
    write_atomically(path, data + _MARK + hashlib.sha256(data).hexdigest().encode() + b"\n")


def read_verified(path: Path) -> bytes:
    """Return what `torch.save` made of the checkpoint at `path`.

    Raises:
        UserError: the file cannot be read, is damaged, or is no checkpoint of this program.
    """
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:  # the latter: a zero byte in the name
        raise UserError(f"checkpoint={path}: cannot be read: {getattr(error, 'strerror', error)}") from error
    data, tail = raw[:-_TAIL_LENGTH], raw[-_TAIL_LENGTH:]
    if not tail.startswith(_MARK):
        raise UserError(f"checkpoint={path}: cut off, or not a checkpoint that stdp-run wrote (checkpoint.pt of a run)")
    if tail != _MARK + hashlib.sha256(data).hexdigest().encode() + b"\n":
        raise UserError(f"checkpoint={path}: damaged: its sha256 is not the one written with it")
    return data


def load(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`: plain values and arrays, whatever they are.

    Raises:
        UserError: the file cannot be read, is damaged, is no checkpoint of this program, or holds code.
    """
    import torch

    try:
        content = torch.load(io.BytesIO(read_verified(path)), weights_only=True)
        content = _converted(content, torch.Tensor, torch.Tensor.numpy)
        found = content.pop("format", None)
        json.dumps(content.get("config"))
    except UserError:
        raise
    except Exception as error:  # of any type, as the content may be anything
        raise UserError(f"checkpoint={path}: holds something else than arrays and plain values; not loaded") from error
    if found != FORMAT:
        raise UserError(f"checkpoint={path}: format {found!s:.40}; this version reads format {FORMAT}")
    contents = _Contents(path, content)
    parts = {part.name: contents.has(part.name, dict) for part in fields(Checkpoint)}
    if unknown := sorted(map(str, content.keys() - parts.keys())):
        contents.refuse(unknown[0], "is nothing that a checkpoint has")
    return Checkpoint(**parts)


def _converted(value: Any, kind: type, convert: Callable[[Any], Any]) -> Any:
    """Return containers with everything of a kind in them converted."""
    if isinstance(value, dict):
        return {key: _converted(item, kind, convert) for key, item in value.items()}
    if isinstance(value, list):
        return [_converted(item, kind, convert) for item in value]
    return convert(value) if isinstance(value, kind) else value
