"""The digits of scikit-learn."""

import sys

import numpy as np
import pytest
from helpers.errors import message_of

from stdp_run import datasets


def test_digits_are_scikit_learns():
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    loaded = datasets.Digits().load()
    assert loaded.train.pixels.shape == (1500, 8, 8) and loaded.test.pixels.shape == (297, 8, 8)
    assert loaded.train.pixels.dtype == np.uint8 and loaded.train.pixels.max() == 255
    original = load_digits()
    both = np.concatenate([loaded.train.pixels, loaded.test.pixels])
    assert np.array_equal(np.rint(both / 255 * 16), original.images)
    assert np.array_equal(np.concatenate([loaded.train.labels, loaded.test.labels]), original.target)


def test_digits_say_how_to_install_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert message_of(datasets.Digits().load) == 'dataset=digits: needs scikit-learn: pip install "stdp-run[sklearn]"'
