"""Patches: pieces of another dataset's images, at random positions; the first of two layers learns from them."""

from collections.abc import Callable

import numpy as np

from stdp_run.config.sections import or_null
from stdp_run.datasets.base import Dataset, Images, Loaded
from stdp_run.encoding import patch_places
from stdp_run.errors import UserError
from stdp_run.parameters import Check, non_negative, whole_positive

TEST_SHARE = 6  # training patches for each test patch, as in MNIST
MAX_DRAWS = 1000  # positions drawn for each patch


class Patches(Dataset):
    """Pieces of the training images of another dataset, each with the class of its image.

    Positions follow from the seed. A patch is left out if the L2 norm of its pixels, 0..1, less their mean is below
    `min_contrast`. The first `n_images` images are used, or all of them; `per_image` training patches for each.
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
        """Take a function that returns the other dataset; raise UserError if a value is not allowed."""
        self._of, self._seed = of, seed
        self._size = (whole_positive("dataset.height", height), whole_positive("dataset.width", width))
        self._per_image = Check("above 0, and at most 1000", above=0, maximum=1000)("dataset.per_image", per_image)
        self._min_contrast = non_negative("dataset.min_contrast", min_contrast)
        self._n_images = or_null(whole_positive)("dataset.n_images", n_images)

    def load(self) -> Loaded:
        """Return the patches: some 60,000 and 10,000 for as many images as MNIST has."""
        loaded = self._of()
        images, size = loaded.train.pixels[: self._n_images], self._size
        for key, patch, image in zip(("height", "width"), size, images.shape[1:], strict=True):
            if patch > image:
                raise UserError.bad_value(f"dataset.{key}", patch, f"at most {image}, as that of the images")
        views = np.lib.stride_tricks.sliding_window_view(images, size, axis=(1, 2))  # uint8 [N, row, column, H, W]
        n_train = max(1, round(self._per_image * len(images)))
        n_patches = n_train + max(1, n_train // TEST_SHARE)
        pixels, labels = [], []
        for draw in range(MAX_DRAWS):
            image, row, column = patch_places(draw * n_patches, n_patches, views.shape[:3], self._seed)
            patches = views[image, row, column]
            kept = 255 * self._min_contrast <= np.sqrt(patches.var(axis=(1, 2)) * patches[0].size)
            pixels.append(patches[kept])
            labels.append(loaded.train.labels[image[kept]])
            if sum(map(len, labels)) >= n_patches:
                break
        else:
            allowed = f"a contrast that more than 1 in {MAX_DRAWS} patches of {size[0]} x {size[1]} pixels have"
            raise UserError.bad_value("dataset.min_contrast", self._min_contrast, allowed)
        pieces, classes = np.concatenate(pixels), np.concatenate(labels)
        train, test = (
            Images(pieces[:n_train], classes[:n_train]),
            Images(pieces[n_train:n_patches], classes[n_train:n_patches]),
        )
        return Loaded(train, test, loaded.classes, f"{size[0]} x {size[1]} pixels of {loaded.source}")
