"""Datasets: images and labels, for learning and for testing."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from stdp_run.errors import UserError


@dataclass(frozen=True)
class Images:
    """Images with their labels, in a fixed order."""

    pixels: np.ndarray  #: uint8 [N, H, W], 0 = background, 255 = full ink
    labels: np.ndarray  #: int64 [N], 0 to C - 1


@dataclass(frozen=True)
class Loaded:
    """A whole dataset, as its publisher split it."""

    train: Images
    test: Images
    classes: tuple[str, ...]  #: [C], classes[label] is the name of a label
    source: str  #: where it came from, for the log


class Dataset:
    """Base class: a subclass takes the keys of its YAML as keywords, and gives its images."""

    name: ClassVar[str]  # as in `dataset=NAME`, for messages

    def load(self) -> Loaded:
        """Return the training and the test images; raise UserError, which says what to do, if they are missing."""
        raise NotImplementedError


def existing_folder(root: object, holding: str) -> Path:
    """Return `dataset.root` as a path, with ~ expanded; raise UserError unless it is a readable folder."""
    folder = Path(os.path.expanduser(str(root)))
    if not str(root) or not os.path.isdir(folder) or not os.access(folder, os.R_OK | os.X_OK):
        allowed = f"a folder that holds {holding}; there is no such folder, or it cannot be read"
        raise UserError.bad_value("dataset.root", root, allowed)
    return folder
