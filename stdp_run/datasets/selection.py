"""The images of a run: the dataset that its settings name, which images it learns from, and which it is measured on."""

import inspect
from dataclasses import dataclass

import numpy as np

from stdp_run.config.own_code import import_class
from stdp_run.config.schema import DatasetSettings, Settings
from stdp_run.datasets.base import Dataset, Images, Loaded
from stdp_run.errors import UserError


@dataclass(frozen=True)
class Data:
    """The images of a run, flat."""

    train_pixels: np.ndarray  # uint8 [N, I]
    train_classes: np.ndarray  # int64 [N]
    test_pixels: np.ndarray  # uint8 [M, I]
    test_classes: np.ndarray  # int64 [M]
    test_index: np.ndarray  # int64 [M], each test image's place in the files it came from
    classes: tuple[str, ...]  # [C]


def load_images(settings: Settings) -> Data:
    """Return the images to learn from and the images to test on.

    Raises:
        UserError: the dataset has fewer images than asked for, other ones than it says, or cannot be had.
    """
    section = settings.dataset
    loaded = build_dataset(section, settings.config_dir).load()
    _check(section, loaded)
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


def build_dataset(section: DatasetSettings, config_dir: str | None = None) -> Dataset:
    """Return the dataset that the settings describe: its class is given the size and the options that it takes.

    A class of one's own lies in `config_dir`.

    Raises:
        UserError: the class cannot be imported, an option is unknown or missing, or its value is not allowed.
    """
    cls = import_class("dataset", section.target, Dataset, config_dir)
    known = inspect.signature(cls).parameters
    for key, value in section.options.items():
        if key not in known:
            raise UserError.unknown_key(f"dataset.{key}", value, {*known, "height", "width", "split", "n_validation"})
    given = {**section.options, "height": section.height, "width": section.width}
    for key, parameter in known.items():
        if key not in given and parameter.default is parameter.empty:
            raise UserError(f"dataset.{key}: missing; {cls.__module__}.{cls.__name__} needs it")
    return cls(**{key: value for key, value in given.items() if key in known})


def _check(section: DatasetSettings, loaded: Loaded) -> None:
    """Raise UserError unless the images are as the dataset says: a user's own class may be mistaken."""
    size, n_classes = (section.height, section.width), len(loaded.classes)
    for name in ("train", "test"):
        images: Images = getattr(loaded, name)
        pixels, labels = images.pixels, images.labels
        what = f"{pixels.dtype} {list(pixels.shape)} with {labels.dtype} labels {list(labels.shape)}"
        if pixels.dtype != np.uint8 or pixels.shape != (len(pixels), *size) or labels.shape != (len(pixels),):
            wanted = f"uint8 [N, {size[0]}, {size[1]}] with labels [N]"
            raise UserError(f"dataset={section.name}: its {name} images are {what}; must be {wanted}")
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= n_classes:
            raise UserError(f"dataset={section.name}: its {name} labels must be 0 to {n_classes - 1}, one or more")


def _at_most(key: str, asked: int | None, there: int) -> int:
    if asked is not None and asked > there:
        raise UserError.bad_value(key, asked, f"at most {there}, the images there are")
    return there if asked is None else asked
