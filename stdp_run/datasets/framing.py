"""The ink of a user's own picture, found and framed like the digits of MNIST.

A photograph or drawing goes through these steps (numbers are for 28 x 28; other sizes in proportion):

    background  a smooth surface fitted to the picture, its border counting most, says whether ink is darker or
                brighter; then the background under the ink is what a closing (bright ink: an opening) leaves. Ink is
                what differs from it, for dark ink as a share of the light: so a gradient or a shadow does not count
    levels      noise is cut off, Otsu's threshold finds the ink, its tone becomes white; specks, and what runs in from
                the border, are dropped
    frame       as MNIST was made (LeCun et al. 1998): the ink's bounding box is scaled into 20 x 20, aspect kept, with
                antialiasing, and moved by whole pixels so that its centre of mass lies at the centre of the picture

A picture should show one digit on a plain background, and no table around the paper.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

_BOX_SHARE = 20 / 28  # of the picture's sides: the box that ink is scaled into
_CENTRE_TOLERANCE = 1 / 28  # of the picture's sides: MNIST's own centres of mass are at most half a pixel off
_INK_LEVEL = 32  # of 255: above the noise of JPEG; for telling pictures that are framed already
_WORKING_SIDE = 512  # pixels; larger pictures are reduced
_COARSE_SIDE = 64  # pixels; on which the background is estimated
_BORDER_SHARE = 0.1  # of each side
_BORDER_IMPORTANCE = 8.0  # against 1 inside, and 64 in the corners
_CLOSING_SHARE = 0.4  # of the longer side: wider than any stroke
_MIN_CONTRAST = 0.1  # of the light; below this there is no ink
_DIMMEST = 80  # of 255: darker paper is not made brighter, and its noise not larger
_FAINTEST = 0.06  # of the light; what differs less is the noise of JPEG
_NOISE_DEVIATIONS = 4.0
_EDGE = 0.2  # of the ink's tone; what is fainter does not count for the bounding box
_MIN_SPECK_SHARE = 0.02  # of the largest piece of ink
_MIN_STROKE = 1.5 / 20  # of the ink's longer side: MNIST's thinnest strokes


class Framed(NamedTuple):
    """A picture as MNIST would have it."""

    pixels: np.ndarray  # uint8 [height, width], bright on black; all black where no ink was found
    dark: bool  # whether its ink was darker than what it lay on


def framed(grey: np.ndarray, height: int, width: int, invert: bool | None) -> Framed:
    """Return grey uint8 [h, w] as MNIST would have it; what is of this size and framed already is left bit for bit.

    `invert` says whether ink is darker than its background; None: decide by the picture, its border first.
    """
    if grey.shape == (height, width):
        for picture, dark in ((grey, False), (255 - grey, True)):
            if invert in (None, dark) and _is_framed(picture):
                return Framed(picture, dark)
    reduced = _resized(grey, _WORKING_SIDE)
    dark = has_dark_ink(reduced) if invert is None else invert
    ink = _find_ink(grey, reduced, dark)
    box = _bounding_box(ink)
    return Framed(np.zeros((height, width), np.uint8) if box is None else _place(ink, box, height, width), dark)


def has_dark_ink(grey: np.ndarray) -> bool:
    """Return whether what differs from the background of grey [h, w] is darker, not brighter, than it.

    The background is a quadratic surface, fitted so that the sum of absolute differences is least (by iteratively
    reweighted least squares): what covers less than half of the picture does not bend it. The border counts eight
    times, and the corners more: a digit that is cut close may fill most of a border, but not of the corners. Where
    nothing differs from that surface, as in a picture that is nearly filled, the border is the background.
    """
    coarse = _coarse(grey)
    height, width = coarse.shape
    y, x = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij"))
    at_border = (np.abs(y) >= 1 - 2 * _BORDER_SHARE) + 1 * (np.abs(x) >= 1 - 2 * _BORDER_SHARE)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    values = coarse.ravel()
    importance = _BORDER_IMPORTANCE**at_border
    border = np.median(values[at_border > 0])
    difference = values - border
    for _ in range(10):
        weighted = terms.T * (importance / np.maximum(np.abs(difference), 1))
        difference = values - terms @ np.linalg.lstsq(weighted @ terms, weighted @ values, rcond=None)[0]
    spread = 2 * np.median(np.abs(difference))
    darker = np.maximum(-difference - spread, 0).sum()
    brighter = np.maximum(difference - spread, 0).sum()
    return bool(darker > brighter if darker != brighter else border > values.mean())


def _is_framed(picture: np.ndarray) -> bool:
    """Return whether a picture is bright on black, with ink that fills the box and is centred, as in MNIST."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    ink = picture > _INK_LEVEL
    if np.median(border) > _INK_LEVEL or not ink.any():
        return False
    sides = np.array(picture.shape)
    box = sides * _BOX_SHARE
    fill = (np.ptp(np.argwhere(ink), axis=0) + 1) / box
    centre = np.array(ndimage.center_of_mass(np.where(ink, picture, 0)))
    centred = (np.abs(centre - sides // 2) <= sides * _CENTRE_TOLERANCE).all()
    return bool(centred and 0.75 < fill.max() < 1 + 1.5 / box.min())


def _find_ink(grey: np.ndarray, reduced: np.ndarray, dark: bool) -> np.ndarray:
    """Return the ink of a picture or of a part of it, float [h, w] from 0 to 1.

    A small figure on a large page is looked for on the reduced page, and then looked at again in the full picture.
    """
    ink = _ink(reduced, dark)
    box = _bounding_box(ink)
    scale = max(grey.shape) / max(reduced.shape)
    if box is None or scale == 1:
        return ink
    top, bottom, left, right = box
    side = max(bottom - top, right - left)
    if side >= max(reduced.shape) / 2:
        return ink
    near = [max(0, int((start - side / 2) * scale)) for start in (top, left)]
    far = [int((stop + side / 2) * scale) + 1 for stop in (bottom, right)]
    closer = _ink(_resized(grey[near[0] : far[0], near[1] : far[1]], _WORKING_SIDE), dark)
    return ink if _bounding_box(closer) is None else closer


def _ink(grey: np.ndarray, dark: bool) -> np.ndarray:
    """Return how much ink is where, float [h, w]: 0 for paper, 1 for the ink's own tone."""
    background = _stretched(_background(_coarse(grey), dark), grey.shape)
    return _levelled((background - grey) / np.maximum(background, _DIMMEST) if dark else (grey - background) / 255)


def _background(coarse: np.ndarray, dark: bool) -> np.ndarray:
    """Return the background under the ink: a closing for dark ink, an opening for bright ink."""
    radius = max(1, round(_CLOSING_SHARE * max(coarse.shape) / 2))
    operation = ndimage.grey_closing if dark else ndimage.grey_opening
    # The edge goes on outside, farther than the first step reaches.
    found = operation(np.pad(coarse, radius, mode="edge"), 2 * radius + 1, mode="nearest")
    return found[radius:-radius, radius:-radius]


def _levelled(strength: np.ndarray) -> np.ndarray:
    """Return ink from 0 to 1 without noise, faint lines, specks, and what is not the figure."""
    paper, strongest = np.percentile(strength, (30, 99))
    noise = max(_FAINTEST, paper + _NOISE_DEVIATIONS * _noise(strength))
    noise = min(noise, max(0.25, strongest / 2))  # ink may cover most of a picture that is cut close
    candidates = strength[strength > noise]
    if candidates.size == 0:
        return np.zeros_like(strength)
    threshold = max(noise, _otsu(candidates), _MIN_CONTRAST / 2)
    solid = _figure(strength > threshold)
    if not solid.any() or (tone := np.percentile(strength[solid], 90)) - noise < _MIN_CONTRAST:
        return np.zeros_like(strength)
    # Soft edges lie below the threshold: they reach about half a stroke beyond it.
    stroke = _stroke_width(solid)
    edges = _dilated(solid, max(1, round(stroke / 2)))
    ink = np.where(edges, np.clip((strength - noise) / (tone - noise), 0, 1), 0)
    missing = _MIN_STROKE * (np.ptp(np.argwhere(solid), axis=0).max() + 1) - stroke
    return _dilated(ink, round(missing / 2)) if missing >= 2 else ink


def _noise(strength: np.ndarray) -> float:
    """Return the standard deviation of the noise, from how neighbours in a row differ in the smoother parts.

    A second difference of independent values has sqrt(6) times their deviation, and a quarter of a normal
    distribution lies within 0.3186 deviations.
    """
    if strength.shape[1] < 3:
        return 0.0
    return float(np.percentile(np.abs(np.diff(strength, n=2, axis=1)), 25) / (0.3186 * np.sqrt(6)))


def _otsu(values: np.ndarray) -> float:
    """Return the threshold between two classes of values in 0 to 1 that differ most (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=128, range=(0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sum_below = np.cumsum(counts * centres)
    difference = sum_below / np.maximum(below, 1) - (sum_below[-1] - sum_below) / np.maximum(above, 1)
    between = below * above * difference**2
    return float(edges[between.argmax() + 1]) if between.max() > 0 else 0.0


def _figure(solid: np.ndarray) -> np.ndarray:
    """Return [h, w] bool: the pieces of ink without specks and without what runs along the border."""
    # Made one pixel wider, strokes hold together that touch at corners only.
    label = np.where(solid, ndimage.label(_dilated(solid, 1))[0], 0)
    border = np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]])
    size, on_border = (np.bincount(part.ravel(), minlength=label.max() + 1) for part in (label, border))
    size[0] = on_border[0] = 0
    # Ruled lines, the edge of a shadow; but a digit that is cut close touches the border as well, and then
    # there is nothing of its size inside.
    if size[on_border == 0].max() > max(0.2 * size.max(), solid.size / 2000):
        size[on_border > 0] = 0
    keep = (size >= _MIN_SPECK_SHARE * size.max()) & (size >= max(3, solid.size / 20_000))
    return keep[label]


def _stroke_width(solid: np.ndarray) -> float:
    """Return the mean width of the strokes, pixels: a stroke's outline is twice as long as the stroke."""
    padded = np.pad(solid, 1).astype(np.int8)
    outline = np.count_nonzero(np.diff(padded, axis=0)) + np.count_nonzero(np.diff(padded, axis=1))
    # Steps along rows and columns make an outline of all directions 4 / pi times too long.
    return 2 * np.count_nonzero(solid) / (outline * np.pi / 4)


def _place(ink: np.ndarray, box: tuple[int, int, int, int], height: int, width: int) -> np.ndarray:
    """Return ink [h, w], of which `box` is scaled into the frame's, centred by its mass, uint8 [height, width].

    A pixel more on each side of the box is scaled along with it, for the soft edges.
    """
    sides = np.array([height, width])
    start, extent = np.array(box)[[0, 2]], np.array([box[1] - box[0], box[3] - box[2]])
    scale = (np.maximum(1, np.rint(sides * _BOX_SHARE)) / extent).min()
    size = np.maximum(1, np.ceil(extent * scale - 1e-6)).astype(int)
    scaled = np.clip(_cut_out(ink, start + extent / 2, (size + 2) / scale, size + 2), 0, 1)
    scaled = np.rint(scaled * (255 / scaled.max())).astype(float)
    corner = np.rint(sides // 2 - np.array(ndimage.center_of_mass(scaled))).astype(int) + 1
    top, left = np.clip(corner, 0, np.maximum(sides - size, 0))
    canvas = np.zeros(sides + 2, np.uint8)
    canvas[top : top + size[0] + 2, left : left + size[1] + 2] = scaled
    return canvas[1:-1, 1:-1]


def _cut_out(values: np.ndarray, centre: np.ndarray, extent: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the part of `values` around `centre`, `extent` pixels (row, column) large, resized to `size`."""
    beyond = int(extent.max()) + 1  # what lies outside is 0
    (top, left), (bottom, right) = centre - extent / 2 + beyond, centre + extent / 2 + beyond
    method = Image.Resampling.BOX if extent.max() > size.max() else Image.Resampling.BILINEAR
    picture = Image.fromarray(np.pad(values, beyond).astype(np.float32))
    return np.asarray(picture.resize((int(size[1]), int(size[0])), method, (left, top, right, bottom)))


def _bounding_box(ink: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return (top, bottom, left, right) of what is more than a soft edge, ends excluded; None if nothing is."""
    rows, columns = (np.flatnonzero((ink > _EDGE).any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return None
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def _coarse(grey: np.ndarray) -> np.ndarray:
    return _resized(grey, _COARSE_SIDE).astype(float)


def _resized(grey: np.ndarray, longest: int) -> np.ndarray:
    """Return the picture reduced, if need be, so that no side is above `longest` pixels."""
    scale = longest / max(grey.shape)
    if scale >= 1:
        return grey
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))


def _stretched(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return float values enlarged to `shape`, interpolated."""
    if values.shape == shape:
        return values
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)).astype(float)


def _dilated(values: np.ndarray, radius: int) -> np.ndarray:
    """Return the largest value in a square of 2 radius + 1 pixels around each pixel; the edge goes on outside."""
    return ndimage.grey_dilation(values, 2 * radius + 1, mode="nearest")
