"""A user's own pictures: one folder per class."""

import logging
from pathlib import Path

import numpy as np

from stdp_run.datasets.base import Dataset, Images, Loaded, existing_folder
from stdp_run.datasets.picture_files import ENDINGS, open_grey, pictures_below, resized
from stdp_run.errors import UserError
from stdp_run.parameters import Check, whole_positive

log = logging.getLogger(__name__)

_WANTED = "one folder of images per class, or train/ and test/ with such folders"

Samples = list[tuple[Path, int]]  # path and label of every image


class ImageFolder(Dataset):
    """Pictures in one folder per class, made greyscale and resized.

    Either ROOT/train/CLASS/* and ROOT/test/CLASS/*, or ROOT/CLASS/*, of which every `test_every`th picture of a class,
    in the order of the names, is for testing. What starts with a dot is left out. The classes are mixed evenly, always
    in the same way: learning is online, and the first or last so many images must be a fair sample.
    """

    name = "image_folder"

    def __init__(
        self,
        *,
        root: str | None = None,
        height: int = 28,
        width: int = 28,
        test_every: int = 5,
        invert: bool = False,
    ) -> None:
        """Take `root` (required) and the size in pixels; `invert` is for dark ink on white. Raises UserError."""
        if root is None:
            raise UserError.bad_value("dataset.root", "null", f"a folder that holds {_WANTED}")
        if not isinstance(invert, bool):
            raise UserError.bad_value("dataset.invert", invert, "true or false")
        at_least_two = Check("a whole number of 2 or more", whole=True, minimum=2)
        self.root, self.invert = root, invert
        self.size = (whole_positive("dataset.height", height), whole_positive("dataset.width", width))
        self.test_every = at_least_two("dataset.test_every", test_every)

    def load(self) -> Loaded:
        """Return uint8 [N, height, width]; raise UserError for missing, empty or unlike folders and broken images."""
        root = existing_folder(self.root, _WANTED)
        try:
            train, test, classes = self._two_folders(root) if self._has_two(root) else self._one_folder(root)
        except OSError as error:
            raise self._error(f"{error.filename}: {error.strerror}") from None
        for part, samples in (("training", train), ("test", test)):
            if not samples:
                raise self._error(
                    f"no {part} images; must hold {_WANTED} (dataset.test_every={self.test_every} takes a test image "
                    f"from classes of {self.test_every} images or more)"
                )
        log.info("Image folder: %d training and %d test images in %s", len(train), len(test), root)
        return Loaded(self._images(train), self._images(test), classes, f"the images in {root}")

    def _error(self, problem: str) -> UserError:
        return UserError(f"dataset.root={self.root}: {problem}")

    def _has_two(self, root: Path) -> bool:
        """Return whether root holds train/ and test/; raise UserError where one of them is missing."""
        if all((root / half).is_dir() for half in ("train", "test")):
            return True
        for half, other in (("train", "test"), ("test", "train")):
            # A class may be called "train" (of railway cars, say): its folder then holds images, not folders.
            if (root / half).is_dir() and any(path.is_dir() for path in (root / half).iterdir()):
                raise self._error(f"holds {half}/ but no {other}/; must hold {_WANTED}")
        return False

    def _two_folders(self, root: Path) -> tuple[Samples, Samples, tuple[str, ...]]:
        train, classes = self._samples(root / "train")
        test, test_classes = self._samples(root / "test")
        if classes != test_classes:
            unlike = ", ".join(sorted(set(classes) ^ set(test_classes)))
            raise self._error(f"train/ and test/ must hold the same class folders; in only one: {unlike}")
        return train, test, classes

    def _one_folder(self, root: Path) -> tuple[Samples, Samples, tuple[str, ...]]:
        samples, classes = self._samples(root)
        train: Samples = []
        test: Samples = []
        seen = [0] * len(classes)
        for path, label in samples:
            seen[label] += 1
            (train if seen[label] % self.test_every else test).append((path, label))
        return train, test, classes

    def _samples(self, folder: Path) -> tuple[Samples, tuple[str, ...]]:
        """Return every image with its label, by class and then by name, and the names of the classes."""
        classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not classes:
            raise self._error(f"no class folders in {folder}; must hold {_WANTED}")
        samples: Samples = []
        for label, name in enumerate(classes):
            found = pictures_below(folder / name)
            if not found:
                kinds = ", ".join(ending[1:] for ending in ENDINGS)
                raise self._error(f"no images in {folder / name}; must hold images ({kinds})")
            samples += [(path, label) for path in found]
        return samples, tuple(classes)

    def _images(self, samples: Samples) -> Images:
        samples = _mixed(samples)
        pixels = np.empty((len(samples), *self.size), dtype=np.uint8)
        for index, (path, _) in enumerate(samples):
            try:
                pixels[index] = resized(open_grey(path, self.invert), *self.size, self.invert)
            except UserError as error:
                raise self._error(str(error)) from None
        return Images(pixels, np.array([label for _, label in samples], dtype=np.int64))


def _mixed(samples: Samples) -> Samples:
    """Return the samples with every class spread evenly from first to last, and in the order given within a class."""
    sizes = np.bincount([label for _, label in samples])
    seen = np.zeros_like(sizes)
    places = []
    for _, label in samples:
        places.append(((seen[label] + 0.5) / sizes[label], label))
        seen[label] += 1
    return [samples[index] for index in sorted(range(len(samples)), key=places.__getitem__)]
