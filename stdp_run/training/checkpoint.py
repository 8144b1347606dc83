"""Checkpoints: saved whole or not at all, and read back only if every byte is as it was written.

A file is what `torch.save` makes of plain containers and tensors, followed by a line with its sha256, which neither
zip nor torch would check.
"""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stdp_run.errors import UserError
from stdp_run.files import write_atomically

FORMAT = 1
_MARK = b"\nstdp-run checkpoint sha256 "
_TAIL_LENGTH = len(_MARK) + 64 + 1


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on, or to evaluate again."""

    config: dict  # the resolved config of the run, plain containers
    arrays: dict[str, np.ndarray]  # the network's state by name
    position: dict = field(default_factory=dict)  # how far learning is: epoch, image
    extra: dict = field(default_factory=dict)  # plain containers and arrays that the trainer adds


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint to `path`; a checkpoint that was there stays whole until the new one is.

    Raises:
        UserError: the file cannot be written, for instance because the disk is full.
    """
    import torch

    content = {
        "format": FORMAT,
        "config": checkpoint.config,
        "position": checkpoint.position,
        "arrays": _map_arrays(checkpoint.arrays, lambda array: torch.from_numpy(np.array(array))),
        "extra": _map_arrays(checkpoint.extra, lambda array: torch.from_numpy(np.array(array))),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
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

    data = read_verified(path)
    content = torch.load(io.BytesIO(data), weights_only=True)
    if content.get("format") != FORMAT:
        raise UserError(f"checkpoint={path}: format {content.get('format')}; this version reads format {FORMAT}")
    return Checkpoint(
        config=content["config"],
        position=content["position"],
        arrays=_map_tensors(content["arrays"]),
        extra=_map_tensors(content["extra"]),
    )


def _map_arrays(value, convert):
    if isinstance(value, dict):
        return {key: _map_arrays(item, convert) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_arrays(item, convert) for item in value]
    return convert(value) if isinstance(value, np.ndarray) else value


def _map_tensors(value):
    if isinstance(value, dict):
        return {key: _map_tensors(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_tensors(item) for item in value]
    return value.numpy() if hasattr(value, "numpy") else value
