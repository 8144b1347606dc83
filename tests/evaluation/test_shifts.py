"""Small shifts: the list of shifts, and the views of an image against plain loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stdp_run.evaluation.shifts import offsets, shifted


def test_shifts_within_a_distance_start_without_one_and_grow():
    assert offsets(0) == [(0, 0)]
    assert offsets(1) == [(0, 0), (-1, 0), (0, -1), (0, 1), (1, 0)]
    assert len(offsets(2)) == 13 and offsets(2)[:5] == offsets(1)


def test_without_shifts_images_of_a_file_stay_there():
    images = np.zeros((2, 3, 3), np.uint8)
    assert np.shares_memory(shifted(images, 0), images)


@given(seed=st.integers(0, 100), shifts=st.integers(0, 3), height=st.integers(4, 7), width=st.integers(4, 7))
def test_a_view_has_every_pixel_at_its_new_place(seed, shifts, height, width):
    images = np.random.default_rng(seed).integers(256, size=(2, height, width), dtype=np.uint8)
    views = shifted(images, shifts)
    for view, (down, right) in zip(views, offsets(shifts), strict=True):
        for row, column in np.ndindex(height, width):
            above, left = row - down, column - right
            inside = 0 <= above < height and 0 <= left < width
            expected = images[:, above, left] if inside else [0, 0]
            assert (view[:, row, column] == expected).all()
