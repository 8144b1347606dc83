"""Patches of another dataset's images: where they are from, and which are left out."""

import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import settings_of

from stdp_run.datasets import Images, Loaded, Patches
from stdp_run.datasets.selection import load_images
from stdp_run.encoding import PATCHES, philox

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(256, size=(30, 7, 6), dtype=np.uint8) * (RNG.random((30, 7, 6)) < 0.4).astype(np.uint8)


def of(pixels=PIXELS) -> Loaded:
    """Return a dataset whose image n is of class n % 10."""
    images = Images(pixels, np.arange(len(pixels)) % 10)
    return Loaded(images, Images(pixels[:0], np.zeros(0, int)), tuple("abcdefghij"), "made here")


def test_patches_are_at_the_places_that_follow_from_the_seed():
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
    command = ("dataset=patches", "dataset@dataset.of=digits", "dataset.of.n_validation=1200")
    whole = load_images(settings_of("dataset=digits"))
    there = len(whole.train_pixels)
    for split, n_images in (("test", there), ("validation", there - 1200)):
        data = load_images(settings_of(*command, f"dataset.of.split={split}"))
        assert len(data.train_pixels) == n_images
        known = np.lib.stride_tricks.sliding_window_view(
            whole.train_pixels[:n_images].reshape(-1, 8, 8), (5, 5), axis=(1, 2)
        )
        known = {patch.tobytes() for patch in known.reshape(-1, 25)}
        assert all(patch.tobytes() in known for patch in (*data.train_pixels, *data.test_pixels))


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"height": 8}, "dataset.height=8: must be at most 7"),
        ({"width": 0}, "dataset.width=0: must be a whole number of 1 or more"),
        ({"per_image": 0}, "dataset.per_image=0: must be above 0, and at most 1000"),
        ({"per_image": 1e9}, "dataset.per_image=1000000000.0: must be above 0, and at most 1000"),
        ({"min_contrast": -1}, "dataset.min_contrast=-1: must be a number of 0 or more"),
        (
            {"min_contrast": 100},
            "dataset.min_contrast=100.0: must be a contrast that more than 1 in 1000 patches of 3 x 3 pixels have",
        ),
        ({"n_images": 0}, "dataset.n_images=0: must be a whole number of 1 or more, or null"),
    ],
)
def test_bad_values_are_refused(keys, line):
    assert message_of(lambda: Patches(of=of, **{"height": 3, "width": 3, **keys}).load()).startswith(line)
