"""What a dataset is: images and labels, for learning and for testing."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from stdp_run.errors import UserError


@dataclass(frozen=True)
class Images:
    """Images with their labels, in a fixed order."""

    pixels: np.ndarray  # uint8 [N, H, W], 0 = background, 255 = full ink
    labels: np.ndarray  # int64 [N], 0 to C - 1


@dataclass(frozen=True)
class Loaded:
    """A whole dataset, as its publisher split it."""

    train: Images
    test: Images
    classes: tuple[str, ...]  # [C], classes[label] is the name of a label
    source: str  # where it came from, for the log


class Dataset:
    """Base class: a subclass takes the keys of its YAML as keywords, and gives its images."""

    name: ClassVar[str]  # as in `dataset=NAME`, for messages

    def load(self) -> Loaded:
        """Return the training and the test images.

        Raises:
            UserError: they cannot be had; the line says how they can.
        """
        raise NotImplementedError


def check_fixed_size(name: str, size: int, height: object, width: object) -> None:
    """Raise UserError unless both sides are `size` pixels, the only size that dataset `name` comes in."""
    for key, value in (("height", height), ("width", width)):
        if value != size:
            allowed = f"{size}, the size of every image of {name} (only dataset=image_folder resizes)"
            raise UserError.bad_value(f"dataset.{key}", value, allowed)


def existing_folder(root: object, holding: str) -> Path:
    """Return `dataset.root` as a path, with ~ expanded; raise UserError unless it is a folder that can be read.

    `holding` says what the folder must hold: "a folder that holds ...".
    """
    if not isinstance(root, (str, Path)) or not str(root):
        raise UserError.bad_value("dataset.root", root, f"a folder that holds {holding}")
    try:
        folder = Path(root).expanduser()
        next(folder.iterdir(), None)
    except (OSError, RuntimeError, ValueError) as error:  # among them no such user after ~, and a zero byte
        known: dict[type, str] = {FileNotFoundError: "no such folder", NotADirectoryError: "not a folder"}
        problem = known.get(type(error), error)
        raise UserError(f"dataset.root={root}: {problem}; must be a folder that holds {holding}") from None
    return folder
