"""A user's own pictures: one folder per class."""

import logging
from collections.abc import Mapping
from copy import copy
from pathlib import Path

import numpy as np

from stdp_run.datasets.base import Dataset, Images, Loaded, existing_folder
from stdp_run.datasets.picture_files import ENDINGS, pictures_below
from stdp_run.datasets.pictures import PictureReader
from stdp_run.errors import UserError, printable
from stdp_run.parameters import whole_positive

log = logging.getLogger(__name__)

_WANTED = "one folder of images per class, or train/ and test/ with such folders"

Pictures = dict[str, list[Path]]  # class -> its pictures, both sorted


class ImageFolder(Dataset):
    """Pictures in one folder per class, prepared by `PictureReader`.

    Either ROOT/train/CLASS/* and ROOT/test/CLASS/*, or ROOT/CLASS/*, of which every `test_every`th picture of a class,
    in the order of the names, is for testing (1: all of them, and none is left to learn from). What starts with a dot
    is left out. The classes are mixed evenly, always in the same way: learning is online, and the first or last so many
    images must be a fair sample.
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
        """Take `root` (required), how pictures are prepared, and the names of folders that are not those of classes.

        Raises:
            UserError: a value is not allowed.
        """
        if root is None:
            raise UserError.bad_value("dataset.root", root, f"a folder that holds {_WANTED}")
        self.root, self._reader = root, PictureReader(height, width, prepare, invert)
        self.test_every = whole_positive("dataset.test_every", test_every)
        if not (class_names is None or isinstance(class_names, Mapping)):
            allowed = "null, or the class of each folder, such as {zero:0,one:1}, in quotes"
            raise UserError.bad_value("dataset.class_names", class_names, allowed)
        self._class_of = {str(folder): str(name) for folder, name in (class_names or {}).items()}

    def load(self) -> Loaded:
        """Return uint8 [N, height, width]; raise UserError for missing, empty or unlike folders and broken images."""
        root = existing_folder(self.root, _WANTED)
        try:
            train, test = self._two_folders(root) if self._has_two(root) else self._one_folder(root)
        except OSError as error:
            raise self._error(f"{error.filename}: {error.strerror}") from None
        if not any(test.values()):
            every = self.test_every
            raise self._error(f"no test images; dataset.test_every={every} takes them from classes of {every} or more")
        reader = copy(self._reader)
        loaded = Loaded(self._images(train, reader), self._images(test, reader), tuple(train), f"the images in {root}")
        names = printable(", ".join(loaded.classes))
        n_train, n_test = len(loaded.train.labels), len(loaded.test.labels)
        log.info("Image folder: %d training and %d test images in %s; classes: %s", n_train, n_test, root, names)
        log.info("%s (dataset.prepare=%s)", reader.summary(), reader.prepare)
        return loaded

    def _error(self, problem: str) -> UserError:
        return UserError(f"dataset.root={self.root}: {problem}")

    def _has_two(self, root: Path) -> bool:
        """Return whether root holds train/ and test/; raise UserError where one of them is missing."""
        there = [name for name in ("train", "test") if (root / name).is_dir()]
        # A class may be called "train" (of railway cars, say): its folder then holds images, not folders.
        if len(there) == 1 and any(path.is_dir() for path in (root / there[0]).iterdir()):
            other = "test" if there[0] == "train" else "train"
            raise self._error(f"holds {there[0]}/ but no {other}/; must hold {_WANTED}")
        return len(there) == 2

    def _two_folders(self, root: Path) -> tuple[Pictures, Pictures]:
        train, test = self._pictures(root / "train"), self._pictures(root / "test")
        if unlike := train.keys() ^ test.keys():
            problem = "train/ and test/ must hold the same class folders; in only one:"
            raise self._error(f"{problem} {', '.join(sorted(unlike))}")
        return train, test

    def _one_folder(self, root: Path) -> tuple[Pictures, Pictures]:
        found, every = self._pictures(root), self.test_every
        train = {name: [path for n, path in enumerate(paths, 1) if n % every] for name, paths in found.items()}
        return train, {name: paths[every - 1 :: every] for name, paths in found.items()}

    def _pictures(self, folder: Path) -> Pictures:
        folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        loose = sum(path.name.lower().endswith(ENDINGS) for path in folder.iterdir() if path.is_file())
        if loose and folders:
            log.warning("%d pictures in %s itself are left out: they are in no class's folder", loose, folder)
        if not folders:
            raise self._error(f"no class folders in {folder}; must hold {_WANTED}")
        if unknown := self._class_of.keys() - set(folders):
            there = f"the folders in {folder} ({', '.join(folders)})"
            raise UserError(f"dataset.class_names: {', '.join(sorted(unknown))}: must be among {there}")
        found: Pictures = {}
        for name in folders:
            paths = pictures_below(folder / name)
            if not paths:
                kinds = ", ".join(ending[1:] for ending in ENDINGS)
                raise self._error(f"no images in {folder / name}; must hold images ({kinds})")
            found.setdefault(self._class_of.get(name, name), []).extend(paths)
        return dict(sorted(found.items()))

    def _images(self, pictures: Pictures, reader: PictureReader) -> Images:
        """Read pictures, every class spread evenly from first to last, and in the order given within a class."""
        samples = sorted(
            ((n + 0.5) / len(paths), label, path)
            for label, paths in enumerate(pictures.values())
            for n, path in enumerate(paths)
        )
        pixels = np.empty((len(samples), reader.height, reader.width), dtype=np.uint8)
        for index, (_, _, path) in enumerate(samples):
            try:
                pixels[index] = reader.read(path)
            except UserError as error:
                raise self._error(str(error)) from None
        return Images(pixels, np.array([label for _, label, _ in samples], dtype=np.int64))
