"""A user's own pictures, prepared in one way for learning, evaluating and predicting."""

from pathlib import Path

import numpy as np

from stdp_run.config.checks import flag, one_of, or_null
from stdp_run.config.sections import DatasetSettings
from stdp_run.datasets.picture_files import open_grey
from stdp_run.errors import UserError
from stdp_run.parameters import whole_positive

# What is done with a picture, by `dataset.prepare`, for the log.
PREPARATIONS = {"frame": "framed as in MNIST", "resize": "taken whole", "none": "only resized"}


class PictureReader:
    """Reads pictures as a network takes them: uint8 [height, width], bright on black.

    What becomes of a picture depends on that picture alone: nothing has to be remembered from learning.
    """

    def __init__(self, height: int, width: int, prepare: str, invert: bool | None) -> None:
        """Take the size in pixels and the values of `dataset.prepare` and `dataset.invert`.

        Args:
            height, width: of the result.
            prepare: "frame" looks for ink and frames it as in MNIST, and a picture that is framed already stays as it
                is; "resize" takes the whole picture; "none" also leaves it bright or dark as it is.
            invert: whether ink is darker than its background; None: found for each picture.

        Raises:
            UserError: a value is not allowed, or the two do not fit.
        """
        self.height, self.width = whole_positive("dataset.height", height), whole_positive("dataset.width", width)
        self.prepare = one_of(*PREPARATIONS)("dataset.prepare", prepare)
        self.invert = or_null(flag)("dataset.invert", invert)
        if self.prepare == "none" and self.invert:
            allowed = "null or false with dataset.prepare=none, which leaves pictures as they are"
            raise UserError.bad_value("dataset.invert", invert, allowed)
        self._n_dark = self._n_bright = self._n_black = 0

    def read(self, path: str | Path) -> np.ndarray:
        """Return a picture, uint8 [height, width]; with "frame" all black where no ink is found.

        Any size, colour, depth and orientation tag; of an animation the first picture. Transparent parts get a
        background that the ink stands out from.

        Raises:
            UserError: the file cannot be read as an image.
        """
        from PIL import Image

        from stdp_run.datasets.framing import framed, has_dark_ink  # scipy's part of it is slow to import

        invert = False if self.prepare == "none" else self.invert
        picture = open_grey(path, invert)
        if self.prepare == "frame":
            pixels, dark = framed(np.asarray(picture), self.height, self.width, invert)
        else:
            dark = has_dark_ink(np.asarray(picture)) if invert is None else invert
            pixels = np.asarray(picture.resize((self.width, self.height), Image.Resampling.BILINEAR))
            pixels = 255 - pixels if dark else pixels
        black = not pixels.any()
        self._n_black += black
        self._n_dark += dark and not black
        self._n_bright += not dark and not black
        return pixels

    def summary(self) -> str:
        """Return in a line what was done with the pictures read so far."""
        n, parts = self._n_dark + self._n_bright + self._n_black, []
        if self.prepare != "none" and self.invert is None:
            parts.append(f"dark ink in {self._n_dark}, bright in {self._n_bright}")
        elif self.prepare != "none":
            parts.append(f"{'dark' if self.invert else 'bright'} ink, as dataset.invert says")
        parts.append(f"{PREPARATIONS[self.prepare]}, {self.height} x {self.width}")
        if self._n_black:
            parts.append(f"nothing found in {self._n_black}: all black")
        return f"{n} picture{'s' * (n != 1)}: {'; '.join(parts)}"


def reader_for(learned: DatasetSettings) -> PictureReader:
    """Return what prepares a user's pictures for a network by the dataset that it learned.

    As that dataset was if it is one of pictures; framed for MNIST, whose digits are; whole for any other.
    """
    prepare = learned.options.get("prepare", "frame" if learned.name == "mnist" else "resize")
    return PictureReader(learned.height, learned.width, prepare, learned.options.get("invert"))
