"""Prepares a user's pictures in one way for learning, evaluating and predicting.

`dataset.prepare=frame` takes these steps (pixel counts are for 28 x 28; other sizes in proportion):

    ink    The median of a wide window tells whether ink is darker or brighter than its background. A closing (an
           opening for bright ink) gives the background without ink. Comparing the picture with it removes gradients
           of light. Otsu's threshold separates ink from noise. Specks and pieces at the border are dropped.
    frame  The ink's bounding box is scaled into 20 x 20 and its centre of mass moved to the centre, as MNIST was made
           (LeCun et al. 1998).
"""

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from stdp_run.config.sections import DatasetSettings, flag, one_of, or_null
from stdp_run.errors import UserError
from stdp_run.parameters import whole_positive

# Pillow reads more, and starts a program for EPS. JPEG includes MPO, which telephones write.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_BOX_SHARE = 20 / 28  # of the picture's sides
_WORKING_SIDE = 512  # pixels; larger pictures are reduced
_COARSE_SIDE = 32  # pixels, for the background
_MEDIAN_SHARE = 0.7  # of the longer side; ink covers less than half of this window
_CLOSING_SHARE = 0.4  # of the longer side; wider than any stroke
_DIMMEST = 80.0  # of 255; noise of darker paper is not amplified
_FAINTEST = 0.06  # of the light
_MIN_CONTRAST = 0.1  # of the light, between the faintest and the full ink
_MIN_STROKE = 1.5 / 20  # of the ink's longer side; the thinnest strokes of MNIST


class PictureReader:
    """Reads pictures as a network takes them, bright on black. The result depends on the picture alone."""

    def __init__(self, height: int, width: int, prepare: str, invert: bool | None) -> None:
        """Take the size in pixels, `dataset.prepare` and `dataset.invert`; raise UserError for a value not allowed."""
        self.height, self.width = whole_positive("dataset.height", height), whole_positive("dataset.width", width)
        self.prepare = one_of("frame", "resize", "none")("dataset.prepare", prepare)
        self.invert = or_null(flag)("dataset.invert", invert)
        if prepare == "none" and invert:
            raise UserError.bad_value("dataset.invert", invert, "null or false with dataset.prepare=none")
        self.counts: Counter[str] = Counter()

    def read(self, path: str | Path) -> np.ndarray:
        """Return a picture, uint8 [height, width], all black if no ink is found; raise UserError if it is damaged."""
        invert = False if self.prepare == "none" else self.invert
        picture = _open_grey(path, invert)
        if self.prepare == "frame":
            pixels, dark = _framed(np.asarray(picture), self.height, self.width, invert)
        else:
            dark = _has_dark_ink(np.asarray(picture)) if invert is None else invert
            pixels = np.asarray(picture.resize((self.width, self.height), Image.Resampling.BILINEAR))
            pixels = 255 - pixels if dark else pixels
        self.counts["all black" if not pixels.any() else "dark ink" if dark else "bright ink"] += 1
        return pixels

    def summary(self) -> str:
        """Return one line about the pictures read so far."""
        found = ", ".join(f"{kind} {self.counts[kind]}" for kind in ("dark ink", "bright ink", "all black"))
        return f"{self.counts.total()} pictures, dataset.prepare={self.prepare}: {found}"


def reader_for(learned: DatasetSettings) -> PictureReader:
    """Return the reader that prepares pictures as the learned ones; framed for MNIST, whole for other datasets."""
    prepare = learned.options.get("prepare", "frame" if learned.name == "mnist" else "resize")
    return PictureReader(learned.height, learned.width, prepare, learned.options.get("invert"))


def _open_grey(path: str | Path, invert: bool | None) -> Image.Image:
    """Return a file as a greyscale image, upright by its orientation tag; of an animation the first picture.

    Transparent parts become white behind dark ink and black behind bright ink; without `invert` the mean of the opaque
    parts decides.
    """
    try:
        with Image.open(path, formats=_FORMATS) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode[0] in "IF":  # Pillow would cut off 16 bits and floating point at 255
                values = np.nan_to_num(np.asarray(picture, np.float64))
                white = 65_535 if picture.mode[0] == "I" else max(values.max(), 1)
                picture = Image.fromarray(np.clip(np.rint(values / (white / 255)), 0, 255).astype(np.uint8))
            if picture.has_transparency_data:
                grey, alpha = (np.asarray(picture.convert("LA"))[..., channel] for channel in (0, 1))
                dark = np.average(grey, weights=alpha) < 128 if invert is None and alpha.any() else invert
                ground = Image.new("RGBA", picture.size, "white" if dark else "black")
                picture = Image.alpha_composite(ground, picture.convert("RGBA"))
            return picture.convert("L")
    except Exception as error:  # a damaged file raises any error, such as MemoryError or struct.error
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        raise UserError(f"{path}: cannot be read as an image ({reason})") from None


def _framed(grey: np.ndarray, height: int, width: int, invert: bool | None) -> tuple[np.ndarray, bool]:
    """Return grey uint8 [h, w] as MNIST would have it, uint8 [height, width], and whether its ink was dark."""
    if grey.shape == (height, width):
        for picture, dark in ((grey, False), (255 - grey, True)):
            if invert in (None, dark) and _is_framed(picture):
                return picture, dark
    page = _reduced(grey, _WORKING_SIDE)
    dark = _has_dark_ink(page) if invert is None else invert
    ink = _find_ink(page, dark)
    if invert is None and not ink.any():
        ink, dark = _find_ink(page, not dark), not dark
    return _place(ink, height, width), dark


def _is_framed(picture: np.ndarray) -> bool:
    """Return whether a picture is bright on black, with ink that fills the box and is centred, as in MNIST."""
    ink = picture > 32  # above the noise of JPEG
    if not ink.any():
        return False
    sides = np.array(picture.shape)
    fill = (np.ptp(np.argwhere(ink), axis=0) + 1) / (sides * _BOX_SHARE)
    offset = np.array(ndimage.center_of_mass(np.where(ink, picture, 0))) - sides // 2
    return bool((np.abs(offset) <= sides / 28).all() and 0.75 < fill.max() < 1 + 1.5 / (sides * _BOX_SHARE).min())


def _reduced(grey: np.ndarray, longest: int) -> np.ndarray:
    """Return a picture scaled down to sides of at most `longest` pixels."""
    scale = min(1, longest / max(grey.shape))
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))


def _has_dark_ink(grey: np.ndarray) -> bool:
    """Return whether the pixels that differ most from the median around them are darker, not brighter."""
    coarse = _reduced(grey, _COARSE_SIDE).astype(float)
    difference = coarse - ndimage.median_filter(coarse, int(_MEDIAN_SHARE * max(coarse.shape)) | 1, mode="nearest")
    return bool((difference**3).sum() < 0)  # cubes: a small digit outweighs a wide gradient


def _find_ink(page: np.ndarray, dark: bool) -> np.ndarray:
    """Return the ink of a page, float [h, w]: 0 for paper, 1 for the ink's own tone; all 0 if there is none."""
    coarse = _reduced(page, _COARSE_SIDE).astype(np.float32)
    radius = max(1, round(_CLOSING_SHARE * max(coarse.shape) / 2))
    close = ndimage.grey_closing if dark else ndimage.grey_opening
    closed = close(np.pad(coarse, radius, mode="edge"), 2 * radius + 1, mode="nearest")[radius:-radius, radius:-radius]
    background = np.asarray(Image.fromarray(closed).resize(page.shape[::-1], Image.Resampling.BILINEAR))
    strength = (background - page) / np.maximum(background, _DIMMEST) if dark else (page - background) / 255
    paper = np.median(strength)
    floor = max(_FAINTEST, paper + 6 * np.median(np.abs(strength - paper)))  # 4 standard deviations of the noise
    floor = min(floor, max(0.25, strength.max() / 2))  # ink covers most of a picture that is cut close
    solid = strength > floor
    if solid.any():
        solid = _without_specks(strength > max(floor, _otsu(strength[solid])))
    if not solid.any() or (tone := np.percentile(strength[solid], 90)) - floor < _MIN_CONTRAST:
        return np.zeros_like(strength)
    stroke = 4 * ndimage.distance_transform_cdt(solid).mean(where=solid)  # width, pixels
    edges = ndimage.grey_dilation(solid, 2 * max(1, round(stroke / 2)) + 1)  # soft edges lie below the threshold
    ink = np.where(edges, np.clip((strength - floor) / (tone - floor), 0, 1), 0)
    missing = round((_MIN_STROKE * (np.ptp(np.argwhere(solid), axis=0).max() + 1) - stroke) / 2)
    return ndimage.grey_dilation(ink, 2 * missing + 1) if missing > 0 else ink


def _otsu(values: np.ndarray) -> float:
    """Return the threshold between the two classes of values that differ most (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=128)
    below, total = np.cumsum(counts), np.cumsum(counts * (edges[:-1] + edges[1:]) / 2)
    above = below[-1] - below
    difference = total / np.maximum(below, 1) - (total[-1] - total) / np.maximum(above, 1)
    return float(edges[(below * above * difference**2).argmax() + 1])


def _without_specks(solid: np.ndarray) -> np.ndarray:
    """Return the pieces of ink, bool [h, w], without specks and without pieces at the border."""
    label = np.where(solid, ndimage.label(ndimage.maximum_filter(solid, 3))[0], 0)
    size = np.bincount(label.ravel())
    size[0] = 0
    inside = size.copy()
    inside[np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]])] = 0
    # A digit that is cut close also touches the border. In this case no piece inside has a similar size.
    if inside.max() > max(0.2 * size.max(), solid.size / 2000):
        size = inside
    return (size >= max(0.02 * size.max(), 3, solid.size / 20_000))[label]


def _place(ink: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return ink [h, w] with its box scaled into the frame's and centred by its mass, uint8 [height, width]."""
    picture = np.zeros((height, width), np.uint8)
    if not ink.any():
        return picture
    ink = ink[ndimage.find_objects(np.int8(ink > 0.2))[0]]  # without the faintest edges
    scale = min(height / ink.shape[0], width / ink.shape[1]) * _BOX_SHARE
    rows, columns = (int(np.ceil(side * scale - 1e-6)) for side in ink.shape)
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    scaled = np.asarray(Image.fromarray(ink.astype(np.float32)).resize((columns, rows), method))
    centre_y, centre_x = ndimage.center_of_mass(scaled)
    top = min(max(0, round(height // 2 - centre_y)), height - rows)
    left = min(max(0, round(width // 2 - centre_x)), width - columns)
    picture[top : top + rows, left : left + columns] = np.rint(scaled * (255 / scaled.max()))
    return picture
