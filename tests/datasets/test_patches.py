"""Patches of another dataset's images: their positions, and the images and contrasts that are left out."""

import numpy as np
from helpers.errors import message_of

from stdp_run import datasets
from stdp_run.config.sections import DatasetSettings
from stdp_run.datasets import Images, Loaded, Patches
from stdp_run.datasets.selection import build_dataset
from stdp_run.encoding import PATCHES, philox

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(256, size=(30, 7, 6), dtype=np.uint8) * (RNG.random((30, 7, 6)) < 0.4).astype(np.uint8)


def of(pixels=PIXELS) -> Loaded:
    """Return a dataset; image n has class n % 10."""
    images = Images(pixels, np.arange(len(pixels)) % 10)
    return Loaded(images, Images(pixels[:0], np.zeros(0, int)), tuple("abcdefghij"), "made here")


def test_positions_of_patches_follow_from_the_seed():
    loaded = Patches(of=of, height=3, width=2, per_image=2.0, min_contrast=0.9, seed=5).load()
    expected, number = [], 0
    while len(expected) < 60 + 10:
        words = philox(number, 0, 0, 0, 5, PATCHES)
        n, row, column = (int(word) * size >> 32 for word, size in zip(words[:3], (30, 5, 5), strict=True))
        patch = PIXELS[n, row : row + 3, column : column + 2]
        if np.linalg.norm(patch / 255 - (patch / 255).mean()) >= 0.9:
            expected.append((patch, n % 10))
        number += 1
    found = [*zip(loaded.train.pixels, loaded.train.labels, strict=True)]
    found += [*zip(loaded.test.pixels, loaded.test.labels, strict=True)]
    assert [len(loaded.train.labels), len(loaded.test.labels)] == [60, 10] and number > 70
    for (pixels, label), (patch, class_index) in zip(found, expected, strict=True):
        assert (pixels == patch).all() and label == class_index


def test_a_patch_may_be_a_whole_image_and_the_first_images_can_be_chosen():
    loaded = Patches(of=of, height=7, width=6, n_images=4, per_image=5.0).load()
    assert {patch.tobytes() for patch in loaded.train.pixels} == {image.tobytes() for image in PIXELS[:4]}


def test_images_to_validate_and_test_give_no_patches():
    whole = datasets.Digits().load().train
    digits = {"_target_": "stdp_run.datasets.Digits", "name": "digits", "height": 8, "width": 8, "n_validation": 1200}
    for split, n_images in (("test", 1500), ("validation", 300)):
        options = {"of": digits | {"split": split}, "per_image": 1.0, "min_contrast": 1.0}
        section = DatasetSettings(options, "patches", "stdp_run.datasets.Patches", 5, 5, "test", 100)
        loaded = build_dataset(section).load()
        assert len(loaded.train.labels) == n_images
        known = np.lib.stride_tricks.sliding_window_view(whole.pixels[:n_images], (5, 5), axis=(1, 2))
        known = {patch.tobytes() for patch in known.reshape(-1, 25)}
        assert all(patch.tobytes() in known for patch in (*loaded.train.pixels, *loaded.test.pixels))


def test_bad_values_are_refused():
    for key, value, line in (
        ("height", 8, "8: must be at most 7"),
        ("per_image", 0, "0: must be above 0, and at most 1000"),
        ("min_contrast", -1, "-1: must be a number of 0 or more"),
        ("min_contrast", 100, "100.0: must be a contrast that more than 1 in 1000 patches of 3 x 3 pixels have"),
        ("n_images", 0, "0: must be a whole number of 1 or more, or null"),
    ):
        text = message_of(lambda: Patches(of=of, **{"height": 3, "width": 3, key: value}).load())  # noqa: B023
        assert text.startswith(f"dataset.{key}={line}")
