"""The images of a run: the dataset that its settings name, which images it learns from, and which it is measured on."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stdp_run.config.own_code import import_class
from stdp_run.config.schema import Settings, read_dataset
from stdp_run.config.sections import DatasetSettings
from stdp_run.datasets.base import Dataset, Images, Loaded
from stdp_run.errors import UserError


@dataclass(frozen=True)
class FirstLayerRecord:
    """What a run keeps of the first of two layers, whose answers stand in place of the pixels."""

    arrays: dict[str, np.ndarray]  # its state
    projection: np.ndarray  # [I, H * W], what each input of the second layer stands for in an image
    test_images: np.ndarray  # uint8 [M, H * W], as they were before
    figures: dict[str, float]  # for the result


@dataclass(frozen=True)
class Data:
    """The images of a run, flat."""

    train_pixels: np.ndarray  # uint8 [N, I]
    train_classes: np.ndarray  # int64 [N]
    test_pixels: np.ndarray  # uint8 [M, I]
    test_classes: np.ndarray  # int64 [M]
    test_index: np.ndarray  # int64 [M], each test image's place in the files it came from
    classes: tuple[str, ...]  # [C]
    first_layer: FirstLayerRecord | None = None


def load_images(settings: Settings) -> Data:
    """Return the images to learn from and the images to test on.

    Raises:
        UserError: the dataset has fewer images than asked for, other ones than it says, or cannot be had.
    """
    section = settings.dataset
    loaded, n_learn = _load(section, settings.config_dir, settings.seed)
    training, test = loaded.train, loaded.test
    test_index = np.arange(len(test.labels))
    if section.split == "train":
        test, test_index = training, np.arange(n_learn)
    if section.split == "validation":
        test, test_index = training, np.arange(n_learn, len(training.labels))
    if settings.mode == "train" and n_learn == 0:
        raise UserError(f"dataset={section.name}: all its images are for testing; there must be some to learn from")
    if len(test_index) == 0:
        raise UserError(f"dataset={section.name}: no images with dataset.split={section.split}; must be one or more")
    n_train = _at_most("n_train", settings.n_train, n_learn)
    test_index = test_index[: _at_most("n_test", settings.n_test, len(test_index))]
    _at_most("n_label", settings.n_label, n_train)
    n_inputs = section.n_inputs
    return Data(
        train_pixels=training.pixels[:n_train].reshape(-1, n_inputs),
        train_classes=training.labels[:n_train].astype(np.int64),
        test_pixels=test.pixels[test_index].reshape(-1, n_inputs),
        test_classes=test.labels[test_index].astype(np.int64),
        test_index=test_index,
        classes=tuple(loaded.classes),
    )


def _load(section: DatasetSettings, config_dir: str | None, seed: int) -> tuple[Loaded, int]:
    """Return a dataset, and how many of its training images are learned from; the others are to validate."""
    loaded = build_dataset(section, config_dir, seed).load()
    _check(section, loaded)
    there = len(loaded.train.labels)
    n_learn = there - section.n_validation if section.split == "validation" else there
    if n_learn < 1 < there:
        raise UserError.bad_value("dataset.n_validation", section.n_validation, f"below {there}")
    return loaded, n_learn


def build_dataset(section: DatasetSettings, config_dir: str | None = None, seed: int = 0) -> Dataset:
    """Return the dataset that the settings describe: its class is given the size and the options that it takes.

    A class of one's own lies in `config_dir`. Where the class takes `seed`, it is that of the run. An option `of` is
    the section of another dataset: the class is given what returns that one, without the images to validate.

    Raises:
        UserError: the class cannot be imported, an option is unknown or missing, or its value is not allowed.
    """
    cls = import_class("dataset", section.target, Dataset, config_dir)
    known = inspect.signature(cls).parameters
    for key, value in section.options.items():
        if key not in known:
            raise UserError.unknown_key(f"dataset.{key}", value, {*known, "height", "width", "split", "n_validation"})
    given = {"seed": seed, **section.options, "height": section.height, "width": section.width}
    for key, parameter in known.items():
        if key not in given and parameter.default is parameter.empty:
            raise UserError(f"dataset.{key}: missing; {cls.__module__}.{cls.__name__} needs it")
    if "of" in section.options:
        other = read_dataset(section.options["of"], "dataset.of.")
        given["of"] = lambda: _learned_from(other, config_dir, seed)
    return cls(**{key: value for key, value in given.items() if key in known})


def _learned_from(section: DatasetSettings, config_dir: str | None, seed: int) -> Loaded:
    """Return a dataset of which the training images are those that are learned from."""
    loaded, n_learn = _load(section, config_dir, seed)
    train = Images(loaded.train.pixels[:n_learn], loaded.train.labels[:n_learn])
    return replace(loaded, train=train)


def matched_by_name(data: Data, name: str, classes: Sequence[str]) -> Data:
    """Return the images of dataset `name` with the class numbers of a network that knows `classes`.

    The order of the dataset's classes plays no part, and it need not have all that the network knows.

    Raises:
        UserError: the dataset has a class that is none of the network's.
    """
    if unknown := [each for each in data.classes if each not in classes]:
        known = f"the network knows {', '.join(classes)}"
        example = f"'dataset.class_names={{{unknown[0]}:{classes[0]}}}' says which a folder of image_folder holds"
        problem = f"classes that the network does not know: {', '.join(unknown)}"
        raise UserError(f"dataset={name}: {problem}; {known}; {example}")
    number = np.array([classes.index(each) for each in data.classes], dtype=np.int64)
    train, test = number[data.train_classes], number[data.test_classes]
    return replace(data, train_classes=train, test_classes=test, classes=tuple(classes))


def _check(section: DatasetSettings, loaded: Loaded) -> None:
    """Raise UserError unless the images are as the dataset says: a user's own class may be mistaken."""
    size, where = (section.height, section.width), f"dataset={section.name}: its"
    if not isinstance(loaded, Loaded):
        raise UserError(f"{where} load() returned {type(loaded).__name__}; must be a stdp_run.datasets.Loaded")
    classes = loaded.classes
    if not isinstance(classes, (tuple, list)) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"{where} classes are {type(classes).__name__} {classes}; must be a tuple of texts")
    if len(set(classes)) < len(classes):
        raise UserError(f"{where} classes are {', '.join(classes)}; must be different")
    for name in ("train", "test"):
        images: Images = getattr(loaded, name)
        if not isinstance(images, Images):
            raise UserError(f"{where} {name} is {type(images).__name__}; must be stdp_run.datasets.Images")
        pixels, labels = images.pixels, images.labels
        if not isinstance(pixels, np.ndarray) or not isinstance(labels, np.ndarray):
            found = f"{type(pixels).__name__} with labels of {type(labels).__name__}"
            raise UserError(f"{where} {name} images are {found}; must be NumPy arrays")
        fits = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[1:] == size
        if not fits or labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
            found = f"{pixels.dtype} {list(pixels.shape)} with {labels.dtype} labels {list(labels.shape)}"
            wanted = f"uint8 [N, {size[0]}, {size[1]}] with whole numbers [N] as labels"
            raise UserError(f"{where} {name} images are {found}; must be {wanted}")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
            raise UserError(f"{where} {name} labels must be 0 to {len(classes) - 1}")


def _at_most(key: str, asked: int | None, there: int) -> int:
    if asked is not None and asked > there:
        raise UserError.bad_value(key, asked, f"at most {there}, the images there are")
    return there if asked is None else asked
