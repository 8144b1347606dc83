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


class Unusable(Exception):
    """A file or a source that cannot be used; the message says why, in one line."""


@dataclass(frozen=True)
class IdxFile:
    """One published file, and what is known about it."""

    name: str  # of the plain file; with .gz it is the compressed one
    shape: tuple[int, ...]  # images [N, H, W], labels [N]
    sha256: str | None = None  # of the plain file
    gz_md5: str | None = None  # of the compressed file, as torchvision pins it

    @property
    def header(self) -> bytes:
        """The first bytes of the plain file: kind and sizes."""
        return struct.pack(f">4B{len(self.shape)}I", 0, 0, 8, len(self.shape), *self.shape)

    @property
    def size(self) -> int:
        """Bytes of the plain file."""
        return len(self.header) + math.prod(self.shape)

    def build(self, values: np.ndarray) -> bytearray:
        """Return the content of the plain file that holds `values`, of its shape."""
        return bytearray(self.header + values.astype(np.uint8).tobytes())

    def values(self, content: bytearray) -> np.ndarray:
        """Return the uint8 values [*shape] of the file's content, as a view of its bytes."""
        return np.frombuffer(content, np.uint8, offset=len(self.header)).reshape(self.shape)

    def read(self, path: Path) -> tuple[bytearray, bool]:
        """Read the file, gzipped if the name of `path` ends in .gz, and compare it with what was published.

        Returns the plain content and whether a checksum vouches for it; else only its structure was checked.

        Raises:
            Unusable: it cannot be read, is truncated, too long, of another kind, or not the published one.
        """
        vouched, gzipped = self.sha256 is not None, path.suffix == ".gz"
        try:
            if gzipped and self.gz_md5 and not vouched:
                check_md5(path, self.gz_md5)
                vouched = True
            with gzip.open(path) if gzipped else open(path, "rb") as stream:
                content = bytearray(stream.read(self.size + 1))  # one byte more tells a file that is too long
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Unusable(f"{path} is truncated or not gzip data ({error})") from None
        except OSError as error:
            raise Unusable(f"{path} cannot be read ({error.strerror})") from None
        self.check(content, path)
        return content, vouched

    def check(self, content: bytearray, path: Path | str) -> None:
        """Raise Unusable unless `content`, from `path`, is that of the file: kind, sizes, and sha256 where known."""
        found = bytes(content[: len(self.header)])
        if found != self.header:
            raise Unusable(
                f"{path} is not the IDX file it should be: it starts with {found.hex() or 'nothing'}, "
                f"must be {self.header.hex()}, the header of {' x '.join(map(str, self.shape))} bytes"
            )
        if len(content) != self.size:
            problem = f"truncated: {len(content)} bytes" if len(content) < self.size else "too long"
            raise Unusable(f"{path} is {problem}; must be {self.size} bytes of header and values")
        if self.sha256 and (digest := hashlib.sha256(content).hexdigest()) != self.sha256:
            raise Unusable(f"{path} was altered: its sha256 (uncompressed) is {digest}, must be {self.sha256}")


def check_md5(path: Path, published: str) -> None:
    """Raise Unusable unless a file has the md5 that was published for it."""
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != published:
        raise Unusable(f"{path} was altered: its md5 is {found}, must be {published}")
