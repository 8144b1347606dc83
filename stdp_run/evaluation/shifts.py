"""Small shifts of an image while a network answers it, as the eye never rests (fixational eye movements).

An image has one view for each shift of at most `evaluator.shifts` pixels. Its presentations go through the views in
turn, and their spike counts are added. Learning sees the first view only, which is not shifted.
"""

import numpy as np


def offsets(shifts: int) -> list[tuple[int, int]]:
    """Return the shifts (down, right) in pixels of at most `shifts`, by distance; the first is (0, 0)."""
    reach = range(-shifts, shifts + 1)
    near = [(down, right) for down in reach for right in reach if down**2 + right**2 <= shifts**2]
    return sorted(near, key=lambda offset: (offset[0] ** 2 + offset[1] ** 2, offset))


def padded(images: np.ndarray, shifts: int) -> np.ndarray:
    """Return images [N, H, W] with `shifts` black pixels on each side."""
    return np.pad(images, ((0, 0), (shifts, shifts), (shifts, shifts)))


def shifted(images: np.ndarray, shifts: int) -> np.ndarray:
    """Return the views of images uint8 [N, H, W], uint8 [K, N, H, W]; new pixels are black."""
    if not shifts:  # images of a file stay there
        return images[None]
    (_, height, width), wide = images.shape, padded(images, shifts)
    windows = ((shifts - down, shifts - right) for down, right in offsets(shifts))
    return np.stack([wide[:, top : top + height, left : left + width] for top, left in windows])
