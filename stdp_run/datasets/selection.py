"""The images of a run: which of a data set it learns from, and which it is measured on."""

import inspect
from dataclasses import dataclass

import numpy as np

from stdp_run.config.build import import_class
from stdp_run.config.schema import DatasetSettings, Settings
from stdp_run.datasets.base import Dataset
from stdp_run.errors import UserError


@dataclass(frozen=True)
class Data:
    """The images of a run, flat; `index` is each image's place in the files it came from."""

    train_pixels: np.ndarray  # uint8 [N, I]
    train_classes: np.ndarray  # int64 [N]
    test_pixels: np.ndarray
    test_classes: np.ndarray
    test_index: np.ndarray
    classes: tuple[str, ...]


def load_data(settings: Settings) -> Data:
    """Return the images to learn from and the images to test on.

    Raises:
        UserError: the data set has fewer images than asked for, or cannot be had.
    """
    section = settings.dataset
    loaded = build_dataset(section).load()
    training, test = loaded.train, loaded.test
    n_learn, test_index = len(training.labels), np.arange(len(test.labels))
    if section.split == "train":
        test, test_index = training, np.arange(n_learn)
    if section.split == "validation":
        n_learn -= section.n_validation
        if n_learn < 1:
            raise UserError.bad_value("dataset.n_validation", section.n_validation, f"below {len(training.labels)}")
        test, test_index = training, np.arange(n_learn, len(training.labels))
    n_train = _at_most("n_train", settings.n_train, n_learn)
    test_index = test_index[: _at_most("n_test", settings.n_test, len(test_index))]
    _at_most("n_label", settings.n_label, n_train)
    n_inputs = section.n_inputs
    return Data(
        train_pixels=training.pixels[:n_train].reshape(-1, n_inputs),
        train_classes=training.labels[:n_train],
        test_pixels=test.pixels[test_index].reshape(-1, n_inputs),
        test_classes=test.labels[test_index],
        test_index=test_index,
        classes=loaded.classes,
    )


def build_dataset(section: DatasetSettings) -> Dataset:
    """Return the data set that the section `dataset` describes.

    Raises:
        UserError: an option is unknown or missing, or its value is not allowed.
    """
    cls = import_class("dataset", section.target, Dataset)
    arguments = {"height": section.height, "width": section.width, **section.options}
    known = inspect.signature(cls).parameters
    for key, value in arguments.items():
        if key not in known:
            allowed = ", ".join(sorted((*known, "split", "n_validation")))
            raise UserError(f"dataset.{key}={value}: unknown key; known here: {allowed}")
    return cls(**arguments)


def _at_most(key: str, asked: int | None, there: int) -> int:
    if asked is not None and asked > there:
        raise UserError.bad_value(key, asked, f"at most {there}, the images there are")
    return there if asked is None else asked
