"""The small set of 8 x 8 digits that scikit-learn carries."""

import logging

import numpy as np

from stdp_run.datasets.base import Dataset, Images, Loaded, check_fixed_size
from stdp_run.errors import UserError

log = logging.getLogger(__name__)

SIDE = 8  # pixels
_N_TEST = 297  # the last ones; scikit-learn's order is fixed, and 1,500 remain
_LARGEST = 16  # a pixel counts the inked points of a 4 x 4 block


class Digits(Dataset):
    """1,797 handwritten digits of 8 x 8 pixels: the first 1,500 to learn, the last 297 to test.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI (1998), test part, as carried by
    sklearn.datasets.load_digits.
    """

    name = "digits"

    def __init__(self, *, height: int = SIDE, width: int = SIDE, root: str | None = None) -> None:
        """Raise UserError for a size but 8, and for a root: the images come with scikit-learn."""
        check_fixed_size(self.name, SIDE, height, width)
        if root is not None:
            raise UserError.bad_value("dataset.root", root, "null: the images of digits come with scikit-learn")

    def load(self) -> Loaded:
        """Return uint8 [N, 8, 8], 0 to 16 scaled to 0 to 255; raise UserError where scikit-learn is missing."""
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise UserError('dataset=digits: needs scikit-learn: pip install "stdp_run[digits]"') from None
        bunch = load_digits()
        pixels = np.rint(bunch.images * (255 / _LARGEST)).astype(np.uint8)
        labels = bunch.target.astype(np.int64)
        log.info("Digits: read from scikit-learn")
        return Loaded(
            train=Images(pixels[:-_N_TEST], labels[:-_N_TEST]),
            test=Images(pixels[-_N_TEST:], labels[-_N_TEST:]),
            classes=tuple("0123456789"),
            source="scikit-learn's load_digits",
        )
