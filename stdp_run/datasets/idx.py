"""IDX, the file format of MNIST and its relatives.

A file is: two zero bytes, one byte for the type (8: unsigned bytes), one byte for the number of dimensions, every
dimension as a big-endian 32-bit number, then the values with the last dimension fastest.
Source: https://yann.lecun.com/exdb/mnist/ (section "file formats").
"""

import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_UNSIGNED_BYTE = 8


class IdxProblem(Exception):
    """A file that cannot be used; the message names it and what is expected."""


class FileMissing(IdxProblem):
    """A file that is not there."""


class FileAltered(IdxProblem):
    """A file that is there, and is not what was published."""


@dataclass(frozen=True)
class IdxFile:
    """One published file, and what is known about it."""

    name: str  # of the plain file; with .gz it is the compressed one
    shape: tuple[int, ...]  # images [N, H, W], labels [N]
    sha256: str | None = None  # of the plain file
    gz_md5: str | None = None  # of the compressed file, as torchvision pins it

    @property
    def header(self) -> bytes:
        return _header(self.shape)

    @property
    def size(self) -> int:
        """Bytes of the plain file."""
        return len(self.header) + math.prod(self.shape)


def build_idx(array: np.ndarray) -> bytearray:
    """Return the IDX file of a uint8 array of any shape."""
    content = bytearray(_header(array.shape))
    content += memoryview(np.ascontiguousarray(array, dtype=np.uint8)).cast("B")
    return content


def as_array(content: bytearray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the uint8 values [*shape] of an IDX file, as a view of its bytes."""
    return np.frombuffer(content, dtype=np.uint8, offset=len(_header(shape))).reshape(shape)


def read_verified(path: Path, file: IdxFile) -> tuple[bytearray, bool]:
    """Read an IDX file, gzipped if its name ends in .gz, and compare it with what was published.

    Returns the plain content and whether a checksum vouches for it (else only its structure was checked).
    Raises FileAltered where it is truncated, too long, of another kind or not the published one.
    """
    gzipped = path.suffix == ".gz"
    try:
        vouched = gzipped and _check_gz_md5(path, file)
        with gzip.open(path) if gzipped else open(path, "rb") as stream:
            content = _read_at_most(stream, file.size + 1)  # one byte more shows a file that is too long
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileAltered(f"{path} is truncated or not gzip data ({error})") from None
    except OSError as error:
        raise FileAltered(f"{path} cannot be read ({error.strerror})") from None
    check_content(content, file, path)
    return content, vouched or file.sha256 is not None


def check_content(content: bytearray, file: IdxFile, path: Path | str) -> None:
    """Raise FileAltered unless `content` is that of `file`: kind, sizes, length and, where known, the sha256."""
    header = file.header
    if content[:4] != header[:4]:
        found = content[:4].hex() or "nothing"
        raise FileAltered(
            f"{path} is not the IDX file it should be: it starts with {found}, must be {header[:4].hex()}"
        )
    if content[: len(header)] != header:
        raise FileAltered(f"{path} holds other sizes than it should, must be {_sizes(file.shape)}")
    if len(content) < file.size:
        raise FileAltered(f"{path} is truncated: {len(content)} bytes of values and header, must be {file.size}")
    if len(content) > file.size:
        raise FileAltered(f"{path} is too long: must be {file.size} bytes of values and header")
    if file.sha256 and (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise FileAltered(f"{path} was altered: its sha256 (uncompressed) is {found}, must be {file.sha256}")


def _check_gz_md5(path: Path, file: IdxFile) -> bool:
    """Return whether the compressed file's md5 vouches for it; the sha256 of the content, where known, says more."""
    if file.sha256 is not None or file.gz_md5 is None:
        return False
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != file.gz_md5:
        raise FileAltered(f"{path} was altered: its md5 is {found}, must be {file.gz_md5}")
    return True


def _read_at_most(stream, size: int) -> bytearray:
    content = bytearray(size)
    filled = 0
    with memoryview(content) as view:
        while filled < size and (count := stream.readinto(view[filled:])):
            filled += count
    del content[filled:]
    return content


def _header(shape: tuple[int, ...]) -> bytes:
    return struct.pack(f">4B{len(shape)}I", 0, 0, _UNSIGNED_BYTE, len(shape), *shape)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)
