"""The images of a run: those that it learns from, and those that it is measured on."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stdp_run.config.custom_code import import_class
from stdp_run.config.schema import Settings, read_section
from stdp_run.config.sections import DatasetSettings
from stdp_run.datasets.base import Dataset, Images, Loaded
from stdp_run.errors import UserError, printable


@dataclass(frozen=True)
class FirstLayerRecord:
    """Parts of the first of two layers that a run keeps; its answers replace the pixels."""

    arrays: dict[str, np.ndarray]  # its state
    projection: np.ndarray  # [I, H * W], each input of the second layer as an image
    test_images: np.ndarray  # uint8 [M, H * W], as they were before
    figures: dict[str, float]  # for the result
    operations: dict[str, Any]  # of the test images, for the result


@dataclass(frozen=True)
class Data:
    """The images of a run, flat: P pixels that the network sees, K views of an image (evaluation.shifts)."""

    train_pixels: np.ndarray  # uint8 [N, P]
    train_classes: np.ndarray  # int64 [N]
    label_pixels: np.ndarray  # uint8 [K, L, P], the first training images, which label the neurons
    test_pixels: np.ndarray  # uint8 [K, M, P]
    test_classes: np.ndarray  # int64 [M]
    test_index: np.ndarray  # int64 [M], index of each test image in the dataset
    classes: tuple[str, ...]  # [C]
    first_layer: FirstLayerRecord | None = None

    @property
    def label_classes(self) -> np.ndarray:
        """The classes of the labelled images, int64 [L]."""
        return self.train_classes[: self.label_pixels.shape[1]]


def load_images(settings: Settings) -> Data:
    """Return the images to learn from and to test on; raise UserError if the dataset has fewer than requested."""
    section = settings.dataset
    loaded, validation = _load(section, settings.seed)
    train = loaded.train
    test = {"test": loaded.test, "train": train, "validation": validation}[section.split]
    if settings.mode == "train" and len(train.labels) == 0:
        raise UserError(f"dataset={section.name}: all its images are for testing; there must be some to learn from")
    if len(test.labels) == 0:
        raise UserError(f"dataset={section.name}: no images with dataset.split={section.split}; must be one or more")
    n_train = _at_most("n_train", settings.n_train, len(train.labels))
    n_test = _at_most("n_test", settings.n_test, len(test.labels))
    train_pixels = train.pixels[:n_train].reshape(-1, section.n_inputs)
    return Data(
        train_pixels=train_pixels,
        train_classes=train.labels[:n_train].astype(np.int64),
        label_pixels=train_pixels[None, : settings.n_label],
        test_pixels=test.pixels[:n_test].reshape(1, -1, section.n_inputs),
        test_classes=test.labels[:n_test].astype(np.int64),
        test_index=np.arange(n_test) + (len(train.labels) if section.split == "validation" else 0),
        classes=tuple(map(printable, loaded.classes)),
    )


def _at_most(key: str, requested: int | None, available: int) -> int:
    if requested is not None and requested > available:
        raise UserError.bad_value(key, requested, f"at most {available}, the images there are")
    return available if requested is None else requested


def _load(section: DatasetSettings, seed: int) -> tuple[Loaded, Images]:
    """Return a dataset without its images for validation, and these."""
    loaded = build_dataset(section, seed).load()
    _check(section, loaded)
    pixels, labels = loaded.train.pixels, loaded.train.labels
    n_learn = len(labels) - section.n_validation if section.split == "validation" else len(labels)
    if n_learn < 1 < len(labels):
        raise UserError.bad_value("dataset.n_validation", section.n_validation, f"below {len(labels)}")
    learned = replace(loaded, train=Images(pixels[:n_learn], labels[:n_learn]))
    return learned, Images(pixels[n_learn:], labels[n_learn:])


def build_dataset(section: DatasetSettings, seed: int = 0, of: Loaded | None = None) -> Dataset:
    """Return the dataset of a section: its class is given the options, and size and seed if it takes them.

    An option `of` is the section of another dataset: the class is given a function that returns that one, without the
    images for validation, or the dataset `of`. Raise UserError if an option is unknown or missing.
    """
    cls = import_class("dataset", section.target, Dataset)
    known = inspect.signature(cls).parameters
    for key, value in section.options.items():
        if key not in known:
            raise UserError.unknown_key(f"dataset.{key}", value, {*known, "height", "width", "split", "n_validation"})
    given = {"seed": seed, **section.options, "height": section.height, "width": section.width}
    for key, parameter in known.items():
        if key not in given and parameter.default is parameter.empty:
            raise UserError(f"dataset.{key}: missing; {cls.__module__}.{cls.__name__} needs it")
    if "of" in given:
        other = read_section(DatasetSettings, given["of"], "dataset.of.")
        given["of"] = lambda: of or _load(other, seed)[0]
    return cls(**{key: value for key, value in given.items() if key in known})


def matched_by_name(data: Data, name: str, classes: Sequence[str]) -> Data:
    """Return the images of dataset `name` with the numbers that a network with `classes` has for their class names.

    The dataset need not have all of them. Raise UserError if it has a class that the network does not know.
    """
    if unknown := [each for each in data.classes if each not in classes]:
        problem = f"classes that the network does not know: {', '.join(unknown)}; it knows {', '.join(classes)}"
        if name == "image_folder":
            problem += f"; 'dataset.class_names={{{unknown[0]}:{classes[0]}}}' says which class a folder holds"
        raise UserError(f"dataset={name}: {problem}")
    number = np.array([classes.index(each) for each in data.classes], dtype=np.int64)
    train, test = number[data.train_classes], number[data.test_classes]
    return replace(data, train_classes=train, test_classes=test, classes=tuple(classes))


def _check(section: DatasetSettings, loaded: Loaded) -> None:
    """Raise UserError unless load() returned images as its base class and the settings say."""
    where = f"dataset={section.name}: load() returned"
    if not isinstance(loaded, Loaded) or not isinstance(loaded.train, Images) or not isinstance(loaded.test, Images):
        raise UserError(f"{where} {type(loaded).__name__}; must be stdp_run.datasets.Loaded, with two Images")
    classes = loaded.classes
    if isinstance(classes, str) or len({printable(each) for each in classes if isinstance(each, str)}) < len(classes):
        raise UserError(f"{where} the classes {classes}; must be a tuple of different texts")
    for images in (loaded.train, loaded.test):
        pixels, labels, size = images.pixels, images.labels, (section.height, section.width)
        if not isinstance(pixels, np.ndarray) or not isinstance(labels, np.ndarray):
            raise UserError(f"{where} pixels or labels that are no NumPy array")
        fits = pixels.dtype == np.uint8 and labels.dtype.kind in "iu" and pixels.shape == (*labels.shape[:1], *size)
        if not fits or labels.ndim != 1:
            found = f"pixels {pixels.dtype} {list(pixels.shape)} with labels {labels.dtype} {list(labels.shape)}"
            wanted = f"uint8 [N, {size[0]}, {size[1]}] by dataset.height and width, with labels int64 [N]"
            raise UserError(f"{where} {found}; must be {wanted}")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
            raise UserError(f"{where} other labels than 0 to {len(classes) - 1}, the classes")
