"""What a data set is: images and labels, for learning and for testing."""

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
    """A whole data set, as its publisher split it."""

    train: Images
    test: Images
    classes: tuple[str, ...]  # [C], classes[label] is the name of a label
    source: str  # where it came from, for the log


class Dataset:
    """Base class: a subclass takes the keys of its YAML as keywords and gives its images."""

    name: ClassVar[str]  # as in `dataset=NAME`

    def load(self) -> Loaded:
        """Return the training and the test images; raise UserError where they cannot be had."""
        raise NotImplementedError


def check_fixed_size(name: str, size: int, height: object, width: object) -> None:
    """Raise UserError unless both sides are `size` pixels, the only size that data set `name` comes in."""
    for key, value in (("height", height), ("width", width)):
        if isinstance(value, bool) or value != size:
            allowed = f"{size}, the size of every image of {name} (only dataset=image_folder resizes)"
            raise UserError.bad_value(f"dataset.{key}", value, allowed)


def check_whole_number(key: str, value: object, at_least: int) -> None:
    """Raise UserError unless `value` is a whole number and `at_least` so large."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise UserError.bad_value(key, value, f"a whole number of {at_least} or more")


def existing_folder(root: object, holding: str) -> Path:
    """Return `dataset.root` as a path, with ~ expanded; raise UserError unless it is a folder that can be read.

    `holding` says what the folder must hold: "a folder that holds ...".
    """
    if not isinstance(root, (str, Path)) or not str(root):
        raise UserError.bad_value("dataset.root", root, f"a folder that holds {holding}")
    try:
        folder = Path(root).expanduser()
        next(folder.iterdir(), None)
    except FileNotFoundError:
        raise UserError(f"dataset.root={root}: no such folder; must be a folder that holds {holding}") from None
    except NotADirectoryError:
        raise UserError(f"dataset.root={root}: not a folder; must be a folder that holds {holding}") from None
    except (OSError, RuntimeError, ValueError) as error:  # no permission; no such user after ~; a zero byte
        raise UserError(f"dataset.root={root}: {error}; must be a folder that holds {holding}") from None
    return folder
