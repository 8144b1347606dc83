"""A user's own pictures: one folder per class."""

import logging
from pathlib import Path

import numpy as np

from stdp_run.config.schema import flag
from stdp_run.datasets.base import Dataset, Images, Loaded, existing_folder
from stdp_run.datasets.picture_files import ENDINGS, open_grey, pictures_below, resized
from stdp_run.errors import UserError
from stdp_run.parameters import Check, whole_positive

log = logging.getLogger(__name__)

_WANTED = "one folder of images per class, or train/ and test/ with such folders"

Pictures = dict[str, list[Path]]  # class -> its pictures, both sorted


class ImageFolder(Dataset):
    """Pictures in one folder per class, made greyscale and resized.

    Either ROOT/train/CLASS/* and ROOT/test/CLASS/*, or ROOT/CLASS/*, of which every `test_every`th picture of a class,
    in the order of the names, is for testing. What starts with a dot is left out. The classes are mixed evenly, always
    in the same way: learning is online, and the first or last so many images must be a fair sample.
    """

    name = "image_folder"

    def __init__(
        self, *, root: str | None = None, height: int = 28, width: int = 28, test_every: int = 5, invert: bool = False
    ) -> None:
        """Take `root` (required) and the size in pixels; `invert` is for dark ink on white. Raises UserError."""
        if root is None:
            raise UserError.bad_value("dataset.root", root, f"a folder that holds {_WANTED}")
        at_least_two = Check("a whole number of 2 or more", whole=True, minimum=2)
        self.root, self.invert = root, flag("dataset.invert", invert)
        self.size = (whole_positive("dataset.height", height), whole_positive("dataset.width", width))
        self.test_every = at_least_two("dataset.test_every", test_every)

    def load(self) -> Loaded:
        """Return uint8 [N, height, width]; raise UserError for missing, empty or unlike folders and broken images."""
        root = existing_folder(self.root, _WANTED)
        try:
            train, test = self._two_folders(root) if self._has_two(root) else self._one_folder(root)
        except OSError as error:
            raise self._error(f"{error.filename}: {error.strerror}") from None
        for part, pictures in (("training", train), ("test", test)):
            if not any(pictures.values()):
                raise self._error(
                    f"no {part} images; must hold {_WANTED} (dataset.test_every={self.test_every} takes a test image "
                    f"from classes of {self.test_every} images or more)"
                )
        loaded = Loaded(self._images(train), self._images(test), tuple(train), f"the images in {root}")
        n_train, n_test = len(loaded.train.labels), len(loaded.test.labels)
        log.info("Image folder: %d training and %d test images in %s", n_train, n_test, root)
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
        classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not classes:
            raise self._error(f"no class folders in {folder}; must hold {_WANTED}")
        found = {name: pictures_below(folder / name) for name in classes}
        for name, paths in found.items():
            if not paths:
                kinds = ", ".join(ending[1:] for ending in ENDINGS)
                raise self._error(f"no images in {folder / name}; must hold images ({kinds})")
        return found

    def _images(self, pictures: Pictures) -> Images:
        """Read pictures, every class spread evenly from first to last, and in the order given within a class."""
        samples = sorted(
            ((n + 0.5) / len(paths), label, path)
            for label, paths in enumerate(pictures.values())
            for n, path in enumerate(paths)
        )
        pixels = np.empty((len(samples), *self.size), dtype=np.uint8)
        for index, (_, _, path) in enumerate(samples):
            try:
                pixels[index] = resized(open_grey(path, self.invert), *self.size, self.invert)
            except UserError as error:
                raise self._error(str(error)) from None
        return Images(pixels, np.array([label for _, label, _ in samples], dtype=np.int64))
