"""Checkpoints: saved intact or not at all, and read back only if every byte is as it was written.

A file is what `torch.save` makes of plain containers and tensors, followed by a line with its sha256, which neither
zip nor torch would check.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stdp_run.errors import UserError
from stdp_run.files import write_atomically
from stdp_run.network import NetworkState

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
    except OSError as error:
        raise UserError(f"checkpoint={path}: cannot be read: {error.strerror}") from error
    data, tail = raw[:-_TAIL_LENGTH], raw[-_TAIL_LENGTH:]
    if not tail.startswith(_MARK):
        raise UserError(f"checkpoint={path}: cut off, or not a checkpoint that stdp-run wrote (checkpoint.pt of a run)")
    if tail != _MARK + hashlib.sha256(data).hexdigest().encode() + b"\n":
        raise UserError(f"checkpoint={path}: damaged: its sha256 is not the one written with it")
    return data


def load(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`.

    Raises:
        UserError: the file cannot be read, is damaged, or is no checkpoint of this program.
    """
    import torch

    content = torch.load(io.BytesIO(read_verified(path)), weights_only=True)
    if (found := content.pop("format", None)) != FORMAT:
        raise UserError(f"checkpoint={path}: format {found}; this version reads format {FORMAT}")
    return Checkpoint(**_converted(content, torch.Tensor, torch.Tensor.numpy))


def _converted(value: Any, kind: type, convert: Callable[[Any], Any]) -> Any:
    """Return containers with everything of a kind in them converted."""
    if isinstance(value, dict):
        return {key: _converted(item, kind, convert) for key, item in value.items()}
    if isinstance(value, list):
        return [_converted(item, kind, convert) for item in value]
    return convert(value) if isinstance(value, kind) else value
