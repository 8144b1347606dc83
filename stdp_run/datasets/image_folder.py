"""A user's own pictures: one folder per class."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stdp_run.datasets.base import Dataset, Images, Loaded, existing_folder
from stdp_run.errors import UserError, printable
from stdp_run.parameters import whole_positive

log = logging.getLogger(__name__)

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_WANTED = "one folder of images per class, or train/ and test/ with such folders"


class ImageFolder(Dataset):
    """Pictures in ROOT/train/CLASS and ROOT/test/CLASS, or in ROOT/CLASS, prepared by `PictureReader`.

    In ROOT/CLASS, every `test_every`th picture of a class, sorted by name, is a test image (1: all are). The classes
    are mixed evenly: learning is online, and any first images must be a fair sample.
    """

    name = "image_folder"

    def __init__(
        self,
        *,
        root: str | None = None,
        height: int = 28,
        width: int = 28,
        prepare: str,
        invert: bool | None = None,
        test_every: int = 5,
        class_names: Mapping[str, str] | None = None,
    ) -> None:
        """Take `root` (required) and the other keys of the YAML; raise UserError if a value is not allowed."""
        from stdp_run.datasets.pictures import PictureReader  # Pillow and SciPy are slow to import

        self.root, self._reader = root, PictureReader(height, width, prepare, invert)
        self.test_every = whole_positive("dataset.test_every", test_every)
        if not (class_names is None or isinstance(class_names, Mapping)):
            allowed = "null, or the class of each folder, such as {zero:0,one:1}, in quotes"
            raise UserError.bad_value("dataset.class_names", class_names, allowed)
        self._class_of = {str(folder): str(name) for folder, name in (class_names or {}).items()}

    def load(self) -> Loaded:
        """Return uint8 [N, height, width]; raise UserError for missing, empty or unlike folders and broken images."""
        root, every = existing_folder(self.root, _WANTED), self.test_every
        self._visited: dict[str, Path] = {}  # by real path; no picture is in train/ and test/, or in two classes
        if (root / "train").is_dir() or (root / "test").is_dir():
            train, test = (self._pictures(existing_folder(root / part, _WANTED)) for part in ("train", "test"))
            if unlike := train.keys() ^ test.keys():
                raise self._error(f"classes in only one of train/ and test/: {', '.join(sorted(unlike))}")
        else:
            found = self._pictures(root)
            train = {name: [path for n, path in enumerate(paths, 1) if n % every] for name, paths in found.items()}
            test = {name: paths[every - 1 :: every] for name, paths in found.items()}
        if not any(test.values()):
            raise self._error(f"no test images; dataset.test_every={every} takes them from classes of {every} or more")
        self._reader.counts.clear()
        loaded = Loaded(self._images(train), self._images(test), tuple(train), f"the images in {root}")
        log.info("Image folder %s: classes %s; %s", root, printable(", ".join(train)), self._reader.summary())
        return loaded

    def _error(self, problem: str) -> UserError:
        return UserError(f"dataset.root={self.root}: {problem}")

    def _pictures(self, folder: Path) -> dict[str, list[Path]]:
        """Return the pictures of each class in a folder, both sorted."""
        folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not folders:
            raise self._error(f"no class folders in {folder}; must hold {_WANTED}")
        if unknown := self._class_of.keys() - set(folders):
            there = f"the folders in {folder} ({', '.join(folders)})"
            raise UserError(f"dataset.class_names: {', '.join(sorted(unknown))}: must be among {there}")
        found: dict[str, list[Path]] = {}
        for name in folders:
            paths = pictures_below(folder / name, self._visited)
            if not paths:
                raise self._error(f"no images in {folder / name}; must hold its own images ({', '.join(ENDINGS)})")
            found.setdefault(self._class_of.get(name, name), []).extend(paths)
        return dict(sorted(found.items()))

    def _images(self, pictures: dict[str, list[Path]]) -> Images:
        """Read pictures, every class spread evenly from first to last, and in the order given within a class."""
        samples = sorted(
            ((n + 0.5) / len(paths), label, path)
            for label, paths in enumerate(pictures.values())
            for n, path in enumerate(paths)
        )
        pixels = np.array([self._reader.read(path) for _, _, path in samples], np.uint8)
        labels = np.array([label for _, label, _ in samples], np.int64)
        return Images(pixels.reshape(-1, self._reader.height, self._reader.width), labels)


def pictures_below(folder: Path, visited: dict[str, Path] | None = None) -> list[Path]:
    """Return the pictures in a folder and below it, by folder and name, not hidden, of real paths not `visited` yet."""
    found, visited = [], {} if visited is None else visited
    for parent, folders, names in os.walk(folder, followlinks=True):
        is_new = visited.setdefault(os.path.realpath(parent), path := Path(parent)) is path
        folders[:] = sorted(name for name in folders if is_new and not name.startswith("."))
        found += [(parent, name) for name in names if name.lower().endswith(ENDINGS) and not name.startswith(".")]
    n_before = len(visited)
    for path in (Path(*parts) for parts in sorted(found)):
        if path.is_file() or not path.exists():  # not a pipe
            visited.setdefault(os.path.realpath(path), path)
    return [*visited.values()][n_before:]
