"""Images in NumPy arrays: in a .npz file, or in memory."""

import contextlib
import hashlib
import io
import logging
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from stdp_run.datasets.base import Dataset, Images, Loaded
from stdp_run.errors import UserError
from stdp_run.files import cache_folder, write_atomically
from stdp_run.parameters import whole_positive

log = logging.getLogger(__name__)

SPLIT, WHOLE = ("x_train", "y_train", "x_test", "y_test"), ("x", "y")
WANTED = f"the arrays {', '.join(SPLIT)}, or x and y"
IMAGES_AT_ONCE = 10_000  # converted at once, to limit memory
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def image_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return height and width of images [N, H, W] or [N, I]: a square if I is a square number, else 1 x I."""
    if len(shape) == 3:
        return shape[1], shape[2]
    side = math.isqrt(shape[1])
    return (side, side) if side * side == shape[1] else (1, shape[1])


def as_pixels(x: np.ndarray) -> np.ndarray:
    """Return images as uint8; raise ValueError unless they are uint8, or floats from 0 to 1 (255 is full ink)."""
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        raise ValueError(f"type {x.dtype}; must be uint8, or floats from 0 to 1")
    pixels = np.empty(x.shape, np.uint8)
    for first in range(0, len(x), IMAGES_AT_ONCE):
        part = np.asarray(x[first : first + IMAGES_AT_ONCE])
        if not ((part >= 0) & (part <= 1)).all():  # false for NaN
            found = "NaN" if np.isnan(part).any() else f"values from {part.min():g} to {part.max():g}"
            raise ValueError(f"{found}; must be uint8, or floats from 0 to 1")
        pixels[first : first + IMAGES_AT_ONCE] = np.rint(255 * part)
    return pixels


def _pixels(what: str, x: np.ndarray) -> np.ndarray:
    """Return `as_pixels(x)`; its errors are UserErrors about `what`."""
    try:
        return as_pixels(x)
    except ValueError as error:
        raise UserError(f"{what} has {error}") from None


class ArrayFile(Dataset):
    """Images in a .npz file, with the arrays x_train, y_train, x_test and y_test, or x and y.

    Images are [N, H, W] or [N, I], uint8 or floats from 0 to 1. Labels [N] are whole numbers or texts; with an array
    `classes` [C] of names, they are indices of it. One in `test_every` images of each class in x is for testing (1: all
    are). The order of the images is that of the file. Arrays that are not compressed are memory-mapped.
    """

    name = "arrays"

    def __init__(self, *, file: str | None, test_every: int) -> None:
        """Take the file (required) and the interval of test images; raise UserError if a value is not allowed."""
        self.file, self.test_every = file, whole_positive("dataset.test_every", test_every)

    def load(self) -> Loaded:
        """Return uint8 [N, H, W]; raise UserError if the file is missing or damaged, or its arrays do not fit."""
        arrays, names = _read(self.file, verify=True)
        labels = [
            arrays[name] if arrays[name].dtype.kind == "U" else arrays[name].astype(np.int64) for name in names[1::2]
        ]
        if (given := arrays.get("classes")) is not None:
            classes = tuple(map(str, given.tolist()))
            for name, y in zip(names[1::2], labels, strict=True):
                if not 0 <= y.min() <= y.max() < len(classes):
                    found = f"has labels from {y.min()} to {y.max()}; must be 0 to {len(classes) - 1}, as in `classes`"
                    raise UserError(f"dataset.file={self.file}: {name} {found}")
        else:
            known = np.unique(np.concatenate(labels))
            classes, labels = tuple(map(str, known.tolist())), [np.searchsorted(known, each) for each in labels]
        parts = []
        for name, y in zip(names[::2], labels, strict=True):
            pixels = _pixels(f"dataset.file={self.file}: {name}", arrays[name])
            parts.append(Images(pixels.reshape(len(y), *image_size(pixels.shape)), y.astype(np.int64)))
        log.info("arrays: read from %s", self.file)
        train, test = parts if len(parts) == 2 else self._divided(parts[0])
        return Loaded(train, test, classes, str(self.file))

    def _divided(self, images: Images) -> tuple[Images, Images]:
        """Return training and test images."""
        order = np.argsort(images.labels, kind="stable")
        in_order, rank = images.labels[order], np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - np.searchsorted(in_order, in_order) + 1  # of an image in its class
        tested = rank % self.test_every == 0
        train, test = (Images(images.pixels[chosen], images.labels[chosen]) for chosen in (~tested, tested))
        return train, test


class Arrays:
    """Images in memory, for `stdp_run.run(dataset=Arrays(x, y))`; arrays are as in `ArrayFile`.

    A run reads them from a file in the user's cache, so it can be resumed, and evaluated on the command line. Without
    `x_test` and `y_test`, one in `dataset.test_every` images of each class is a test image.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        x_test: np.ndarray | None = None,
        y_test: np.ndarray | None = None,
        classes: list[str] | None = None,
    ):
        given = {"x": x, "y": y} if x_test is None else dict(zip(SPLIT, (x, y, x_test, y_test), strict=True))
        self._arrays = {
            name: np.asarray(each) for name, each in (given | {"classes": classes}).items() if each is not None
        }

    def file(self) -> Path:
        """Return the file in the cache, named by its content; raise UserError if arrays do not fit or writing fails."""
        if problem := _problem(self._arrays):
            raise UserError(f"dataset=arrays: {problem}")
        images = {name: _pixels(f"dataset=arrays: {name}", self._arrays[name]) for name in _names(self._arrays)[::2]}
        buffer = io.BytesIO()
        np.savez(buffer, **(self._arrays | images))  # type: ignore[arg-type]
        path = cache_folder("arrays", f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:16]}.npz")
        if not path.exists():
            with contextlib.suppress(OSError):  # writing then says why
                path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, buffer.getvalue())
        return path


def size_in_file(file: str | None) -> tuple[int, int]:
    """Return height and width of the images in a .npz file; errors as in `ArrayFile.load`."""
    arrays, names = _read(file)
    return image_size(arrays[names[0]].shape)


def _read(file: str | None, verify: bool = False) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the arrays of a file by name, and the names of images and labels; raise UserError if they do not fit.

    Checksums are compared with `verify`. Pickles are refused.
    """
    if file is None or not (path := Path(os.path.expanduser(str(file)))).is_file():
        raise UserError.bad_value("dataset.file", file, f"an existing file NAME.npz with {WANTED}")
    try:
        with ZipFile(path) as archive, open(path, "rb") as stream, np.load(path, allow_pickle=False) as loaded:
            if verify and (damaged := archive.testzip()):
                raise ValueError(f"{damaged} is damaged")
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            mapped = {name: _mapped(stream, entry) for name, entry in entries.items()}
            arrays = {name: loaded[name] if each is None else each for name, each in mapped.items()}
    except Exception as error:  # of any type: the content is untrusted
        raise UserError(f"dataset.file={file}: cannot be read as .npz: {' '.join(str(error).split())}") from None
    if problem := _problem(arrays):
        raise UserError(f"dataset.file={file}: {problem}")
    return arrays, _names(arrays)


def _mapped(stream: BinaryIO, entry: ZipInfo) -> np.ndarray | None:
    """Return an array of an open .npz file, memory-mapped; None if it is compressed, empty or of another format."""
    if entry.compress_type != ZIP_STORED:
        return None
    stream.seek(entry.header_offset + 26)  # of the lengths of two fields of variable length that end the header
    stream.seek(entry.header_offset + 30 + sum(struct.unpack("<HH", stream.read(4))))
    read_header = _HEADERS.get(np.lib.format.read_magic(stream))
    if read_header is None:
        return None
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject or 0 in shape:
        return None
    return np.memmap(stream, dtype, "r", stream.tell(), shape, "F" if fortran else "C")


def _names(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the names of images and labels, in turn; empty if one is missing."""
    return next((names for names in (SPLIT, WHOLE) if arrays.keys() >= {*names}), ())


def _problem(arrays: Mapping[str, np.ndarray]) -> str:
    """Return what is wrong with the names, shapes or types of arrays; empty: nothing."""
    names = _names(arrays)
    if not names:
        return f"has {', '.join(arrays) or 'no arrays'}; must have {WANTED}"
    label_kinds = "iu" if "classes" in arrays else "iuU"
    for image, label in zip(names[::2], names[1::2], strict=True):
        x, y = arrays[image], arrays[label]
        if x.ndim not in (2, 3) or y.shape != x.shape[:1] or 0 in x.shape:
            return (
                f"{image} {list(x.shape)} with {label} {list(y.shape)}; must be [N, H, W] or [N, I], and [N], not empty"
            )
        if x.shape[1:] != arrays[names[0]].shape[1:]:
            return f"{image} has images of {list(x.shape[1:])}; must be {list(arrays[names[0]].shape[1:])}"
        if x.dtype != np.uint8 and x.dtype.kind != "f":
            return f"{image} is {x.dtype}; must be uint8, or floats from 0 to 1"
        if y.dtype.kind not in label_kinds:
            return f"{label} is {y.dtype}; must be whole numbers{'' if 'classes' in arrays else ' or texts'}"
        if (y.dtype.kind == "U") != (arrays[names[1]].dtype.kind == "U"):
            return f"{label} is {y.dtype} and {names[1]} is {arrays[names[1]].dtype}; must be numbers or texts in both"
    return ""
