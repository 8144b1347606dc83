"""Patches: pieces of another dataset's images, at random places; what the first of two layers learns from."""

from collections.abc import Callable

import numpy as np

from stdp_run.config.checks import or_null
from stdp_run.datasets.base import Dataset, Images, Loaded
from stdp_run.encoding import patch_places
from stdp_run.errors import UserError
from stdp_run.parameters import non_negative, positive, whole_positive

TEST_SHARE = 6  # one patch to test by for so many to learn from, as in MNIST
MOST_REFUSED = 1000  # places that are looked at for each patch


class Patches(Dataset):
    """Pieces of the training images of another dataset, each with the class of its image.

    The places follow from the seed. Those with a contrast below `min_contrast` are left out: the L2 norm of their
    pixels, 0..1, less their mean. Patches to test by are of training images too.

    Args:
        of: returns the other dataset.
        height, width: of a patch in pixels.
        per_image: patches to learn from for each image of the other dataset.
        min_contrast: see above.
        n_images: only so many of the images are used, the first; None: all.
        seed: of the places.

    Raises:
        UserError: a value is not allowed.
    """

    name = "patches"

    def __init__(
        self,
        *,
        of: Callable[[], Loaded],
        height: int = 5,
        width: int = 5,
        per_image: float = 1.0,
        min_contrast: float = 1.0,
        n_images: int | None = None,
        seed: int = 0,
    ):
        self._of, self._seed = of, seed
        self._height, self._width = whole_positive("dataset.height", height), whole_positive("dataset.width", width)
        self._per_image = positive("dataset.per_image", per_image)
        self._min_contrast = non_negative("dataset.min_contrast", min_contrast)
        self._n_images = or_null(whole_positive)("dataset.n_images", n_images)

    def load(self) -> Loaded:
        """Return the patches: some 60,000 and 10,000 for as many images as MNIST has."""
        loaded = self._of()
        pixels, labels = (each[: self._n_images] for each in (loaded.train.pixels, loaded.train.labels))
        sides = pixels.shape[1:]
        for key, patch, image in zip(("height", "width"), (self._height, self._width), sides, strict=True):
            if patch > image:
                raise UserError.bad_value(f"dataset.{key}", patch, f"at most {image}, as that of the images")
        n_train = max(1, round(self._per_image * len(pixels)))
        images, patches = self._found(pixels, n_train + max(1, n_train // TEST_SHARE))
        chosen = labels[images]
        return Loaded(
            train=Images(patches[:n_train], chosen[:n_train]),
            test=Images(patches[n_train:], chosen[n_train:]),
            classes=loaded.classes,
            source=f"{self._height} x {self._width} pixels of {loaded.source}",
        )

    def _found(self, pixels: np.ndarray, n_patches: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first patches that are not left out: the image of each [N], and its pixels [N, height, width]."""
        n_images, rows, columns = pixels.shape
        sizes = (n_images, rows - self._height + 1, columns - self._width + 1)
        down, across = np.arange(self._height)[:, None], np.arange(self._width)
        found: list[tuple[np.ndarray, np.ndarray]] = []
        missing = n_patches
        for turn in range(MOST_REFUSED):
            image, row, column = (
                each[:, None, None] for each in patch_places(turn * n_patches, n_patches, sizes, self._seed)
            )
            patches = pixels[image, row + down, column + across]
            kept = 255 * self._min_contrast <= np.sqrt(patches.var(axis=(1, 2)) * patches[0].size)
            found.append((image[kept, 0, 0][:missing], patches[kept][:missing]))
            missing -= len(found[-1][0])
            if missing == 0:
                images, pieces = zip(*found, strict=True)
                return np.concatenate(images), np.concatenate(pieces)
        allowed = f"a contrast that more than 1 in {MOST_REFUSED} patches of {self._height} x {self._width} pixels have"
        raise UserError.bad_value("dataset.min_contrast", self._min_contrast, allowed)
