"""A person's own pictures: one folder per class."""

import logging
from pathlib import Path

import numpy as np

from stdp_run.datasets.base import Dataset, Images, Loaded, check_whole_number, existing_folder
from stdp_run.errors import UserError

log = logging.getLogger(__name__)

_WANTED = "one folder of images per class, or train/ and test/ with such folders"
_WHITE_16_BIT = 65_535

Samples = list[tuple[str, int]]  # (path, label) of every image


class ImageFolder(Dataset):
    """Pictures in one folder per class, made greyscale and resized.

    Either ROOT/train/CLASS/* and ROOT/test/CLASS/*, or ROOT/CLASS/*, of which every `test_every`th picture of a class,
    in the order of the names, is for testing. Found through torchvision.datasets.ImageFolder; folders whose name
    starts with a dot are left out. The classes are mixed evenly, always in the same way: learning is online, and the
    first or last so many images must be a fair sample.
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
        check_whole_number("dataset.height", height, 1)
        check_whole_number("dataset.width", width, 1)
        check_whole_number("dataset.test_every", test_every, 2)
        if not isinstance(invert, bool):
            raise UserError.bad_value("dataset.invert", invert, "true or false")
        self.root = root
        self.size = (height, width)
        self.test_every = test_every
        self.invert = invert

    def load(self) -> Loaded:
        """Return uint8 [N, height, width]; raise UserError for missing, empty or unlike folders and broken images."""
        root = existing_folder(self.root, _WANTED)
        try:
            train, test, classes = self._two_folders(root) if self._has_two(root) else self._one_folder(root)
        except OSError as error:
            raise UserError(f"dataset.root={self.root}: {error.filename}: {error.strerror}") from None
        for part, samples in (("training", train), ("test", test)):
            if not samples:
                raise UserError(
                    f"dataset.root={self.root}: no {part} images; must hold {_WANTED} (dataset.test_every="
                    f"{self.test_every} takes a test image from classes of {self.test_every} images or more)"
                )
        log.info("Image folder: %d training and %d test images in %s", len(train), len(test), root)
        return Loaded(self._images(train), self._images(test), classes, f"the images in {root}")

    def _has_two(self, root: Path) -> bool:
        """Return whether root holds train/ and test/; raise UserError where one of them is missing."""
        halves = [(root / half).is_dir() for half in ("train", "test")]
        if all(halves):
            return True
        for half, other in (("train", "test"), ("test", "train")):
            # A class may be called "train" (of railway cars, say): its folder then holds images, not folders.
            if (root / half).is_dir() and any(path.is_dir() for path in (root / half).iterdir()):
                raise UserError(f"dataset.root={self.root}: holds {half}/ but no {other}/; must hold {_WANTED}")
        return False

    def _two_folders(self, root: Path) -> tuple[Samples, Samples, tuple[str, ...]]:
        train, classes = self._samples(root / "train")
        test, test_classes = self._samples(root / "test")
        if classes != test_classes:
            unlike = ", ".join(sorted(set(classes) ^ set(test_classes)))
            raise UserError(
                f"dataset.root={self.root}: train/ and test/ must hold the same class folders; in only one: {unlike}"
            )
        return train, test, classes

    def _one_folder(self, root: Path) -> tuple[Samples, Samples, tuple[str, ...]]:
        samples, classes = self._samples(root)
        train, test, seen = [], [], [0] * len(classes)
        for path, label in samples:
            seen[label] += 1
            (train if seen[label] % self.test_every else test).append((path, label))
        return train, test, classes

    def _samples(self, folder: Path) -> tuple[Samples, tuple[str, ...]]:
        """Return the (path, label) of every image, by class and then by name, and the names of the classes."""
        from torchvision import datasets

        no_classes = UserError(f"dataset.root={self.root}: no class folders in {folder}; must hold {_WANTED}")

        class VisibleFolders(datasets.ImageFolder):
            def find_classes(self, directory):
                entries = (path for path in Path(directory).iterdir() if path.is_dir())
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
                if not names:
                    raise no_classes
                return names, {name: label for label, name in enumerate(names)}

        found = VisibleFolders(str(folder), allow_empty=True)
        counts = np.bincount(found.targets, minlength=len(found.classes)) if found.targets else [0]
        if min(counts) == 0:
            empty = found.classes[int(np.argmin(counts))]
            kinds = ", ".join(sorted(extension.lstrip(".") for extension in found.extensions))
            raise UserError(f"dataset.root={self.root}: no images in {folder / empty}; must hold images ({kinds})")
        return found.samples, tuple(found.classes)

    def _images(self, samples: Samples) -> Images:
        samples = _mixed(samples)
        pixels = np.empty((len(samples), *self.size), dtype=np.uint8)
        for index, (path, _) in enumerate(samples):
            pixels[index] = self._grey(path)
        return Images(pixels, np.array([label for _, label in samples], dtype=np.int64))

    def _grey(self, path: str) -> np.ndarray:
        """Return one picture as uint8 [height, width], turned as its camera says."""
        from PIL import Image, ImageOps

        height, width = self.size
        try:
            with Image.open(path) as file:
                picture = self._opaque(ImageOps.exif_transpose(file))
                grey = picture.convert("L").resize((width, height), Image.Resampling.BILINEAR)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"dataset.root={self.root}: {path} cannot be read as an image ({reason})") from None
        values = np.asarray(grey)
        return 255 - values if self.invert else values

    def _opaque(self, picture):
        """Return the picture on its background where it is transparent, and with 16-bit grey scaled to 8 bits.

        The background is white for dark ink (`invert`), else black: without it, black ink on nothing would vanish.
        Pillow's own conversion would cut 16-bit values off at 255.
        """
        from PIL import Image

        if picture.mode.startswith("I"):
            values = np.clip(np.asarray(picture, dtype=np.int64), 0, _WHITE_16_BIT)
            return Image.fromarray((values // 257).astype(np.uint8))
        if not picture.has_transparency_data:
            return picture
        picture = picture.convert("RGBA")
        background = Image.new("RGBA", picture.size, "white" if self.invert else "black")
        return Image.alpha_composite(background, picture)


def _mixed(samples: Samples) -> Samples:
    """Return the samples with every class spread evenly from first to last, and in the order given within a class."""
    sizes = np.bincount([label for _, label in samples])
    seen = np.zeros_like(sizes)
    places = []
    for _, label in samples:
        places.append(((seen[label] + 0.5) / sizes[label], label))
        seen[label] += 1
    return [samples[index] for index in sorted(range(len(samples)), key=places.__getitem__)]
