"""The small set of 8 x 8 digits that scikit-learn carries."""

import logging

import numpy as np

from stdp_run.datasets.base import Dataset, Images, Loaded
from stdp_run.errors import UserError

log = logging.getLogger(__name__)


class Digits(Dataset):
    """1,797 handwritten digits of 8 x 8 pixels: the first 1,500 to learn, the last 297 to test.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI (1998), test part, as carried by
    sklearn.datasets.load_digits.
    """

    name = "digits"

    def load(self) -> Loaded:
        """Return uint8 [N, 8, 8], 0 to 16 scaled to 0 to 255; raise UserError if scikit-learn is missing."""
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise UserError('dataset=digits: needs scikit-learn: pip install "stdp-run[sklearn]"') from None
        bunch, source = load_digits(), "scikit-learn's load_digits"
        log.info("digits: read from %s", source)
        pixels, labels = np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target.astype(np.int64)
        train, test = Images(pixels[:1500], labels[:1500]), Images(pixels[1500:], labels[1500:])
        return Loaded(train, test, tuple("0123456789"), source)
