"""Picture files of any kind, found in folders and read as greyscale."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stdp_run.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

_WHITE_16_BIT = 65_535


def pictures_below(folder: Path) -> list[Path]:
    """Return the pictures in a folder and those below it, by folder, then name, but for what starts with a dot."""
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [(place, name) for name in names if name.lower().endswith(ENDINGS) and not name.startswith(".")]
    return [Path(place, name) for place, name in sorted(found)]


def open_grey(path: str | Path, invert: bool | None) -> "Image":
    """Return a file as a greyscale Pillow image, turned as its camera says; of an animation the first picture.

    Transparent parts are laid on white for dark ink (`invert`), on black for bright ink (False); with None on what the
    ink stands out from: without it, black ink on nothing would vanish.

    Raises:
        UserError: the file is missing, damaged, or no picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            picture = _eight_bit(ImageOps.exif_transpose(file))
            if 0 in picture.size:
                raise ValueError("no pixels")
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                background = (_backdrop(picture, invert),) * 3 + (255,)
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, background), picture)
            return picture.convert("L")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UserError(f"{path}: cannot be read as an image ({reason})") from None


def _eight_bit(picture: "Image") -> "Image":
    """Scale grey of 16 bits, or in floating point, to 8 bits; Pillow's own conversion would cut it off at 255."""
    from PIL import Image

    if picture.mode.startswith("I"):
        values = np.clip(np.asarray(picture, dtype=np.int64), 0, _WHITE_16_BIT) // 257
    elif picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64))
        largest = values.max()
        white = next((level for level in (1.0, 255.0, _WHITE_16_BIT) if largest <= level), largest)
        values = np.clip(values * (255 / white), 0, 255)
    else:
        return picture
    return Image.fromarray(values.astype(np.uint8))


def _backdrop(picture: "Image", invert: bool | None) -> int:
    """Return the grey to put behind a transparent picture.

    Ink on nothing, which is of one tone or covers less than half of the picture, needs a background that it stands out
    from; a drawing with its own background, transparent only at the corners say, needs more of the same.
    """
    if invert is not None:
        return 255 if invert else 0
    alpha = np.asarray(picture.getchannel("A"))
    solid = np.asarray(picture.convert("L"))[alpha > 127]
    if len(solid) == 0:
        return 255
    low, middle, high = np.percentile(solid, (5, 50, 95))
    if len(solid) < alpha.size / 2 or high - low < 32:
        return 0 if solid.mean() > 127 else 255
    return int(middle)
