"""The dataset that settings name, a user's own among them, and the images that a run takes of it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import composed
from omegaconf import OmegaConf

from stdp_run.config.custom_code import import_class
from stdp_run.config.sections import DatasetSettings
from stdp_run.datasets import Dataset, ImageFolder, Images, Loaded
from stdp_run.datasets.selection import build_dataset, load_images, matched_by_name

CONF = Path(__file__).parents[2] / "conf" / "dataset"


class Stripes(Dataset):
    """A user's own: ten images to learn from and five to test; image n has the value n everywhere."""

    name = "stripes"

    def __init__(self, *, contrast: int, classes: int = 2):
        self.contrast, self.classes = contrast, classes

    def load(self) -> Loaded:
        pixels = np.repeat(np.arange(15, dtype=np.uint8), 6).reshape(15, 3, 2) * np.uint8(self.contrast)
        labels = np.arange(15) % 2
        names = ("even", "odd", "none")[: self.classes]
        return Loaded(Images(pixels[:10], labels[:10]), Images(pixels[10:], labels[10:]), names, "here")


SECTION = DatasetSettings(
    options={"contrast": 1},
    name="stripes",
    target=f"{__name__}.Stripes",
    height=3,
    width=2,
    split="test",
    n_validation=4,
)


@pytest.fixture(autouse=True)
def own_class(monkeypatch):
    monkeypatch.setattr("stdp_run.datasets.selection.import_class", lambda *_: Stripes)


def images(section=SECTION, n_train=None, n_test=None, n_label=None, mode="train"):
    counts = {"n_train": n_train, "n_test": n_test, "n_label": n_label}
    return load_images(SimpleNamespace(mode=mode, dataset=section, seed=0, **counts))


def test_a_users_own_class_is_given_its_options():
    data = images(replace(SECTION, options={"contrast": 3}))
    assert data.train_pixels.tolist() == [[3 * n] * 6 for n in range(10)]
    assert data.train_classes.tolist() == [0, 1] * 5 and data.classes == ("even", "odd")
    assert data.test_pixels[:, 0].tolist() == [30, 33, 36, 39, 42] and data.test_index.tolist() == [0, 1, 2, 3, 4]


def test_the_split_says_what_is_learned_from_and_what_is_tested():
    validation = images(replace(SECTION, split="validation"))
    assert validation.train_pixels[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert validation.test_pixels[:, 0].tolist() == validation.test_index.tolist() == [6, 7, 8, 9]
    train = images(replace(SECTION, split="train"), n_train=3, n_test=2)
    assert train.train_pixels[:, 0].tolist() == [0, 1, 2] and train.test_pixels[:, 0].tolist() == [0, 1]


def test_more_than_there_is_cannot_be_had():
    assert message_of(lambda: images(n_train=11)) == "n_train=11: must be at most 10, the images there are"
    assert message_of(lambda: images(n_test=6)) == "n_test=6: must be at most 5, the images there are"
    assert message_of(lambda: images(n_train=3, n_label=4)) == "n_label=4: must be at most 3, the images there are"
    all_of_it = replace(SECTION, split="validation", n_validation=10)
    assert message_of(lambda: images(all_of_it)) == "dataset.n_validation=10: must be below 10"


def test_a_network_knows_classes_by_their_names():
    data = images()
    number_of = {"none": 0, "odd": 1, "even": 2}
    matched = matched_by_name(data, "stripes", list(number_of))
    assert matched.classes == ("none", "odd", "even")
    for part in ("train_classes", "test_classes"):
        names = [data.classes[number] for number in getattr(data, part)]
        assert getattr(matched, part).tolist() == [number_of[name] for name in names]
    text = message_of(lambda: matched_by_name(data, "stripes", ["even", "2"]))
    assert text.startswith("dataset=stripes: classes that the network does not know: odd; it knows even, 2; ")


ZEROS, LABELS = np.zeros((4, 3, 2), np.uint8), np.zeros(4, np.int64)
GOOD = Images(ZEROS, LABELS)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (None, "NoneType; must be stdp_run.datasets.Loaded"),
        (Loaded(ZEROS, GOOD, ("a",), ""), "Loaded; must be stdp_run.datasets.Loaded, with two Images"),
        (Loaded(GOOD, Images(ZEROS.tolist(), LABELS), ("a",), ""), "pixels or labels that are no NumPy array"),
        (Loaded(GOOD, Images(ZEROS, [0] * 4), ("a",), ""), "pixels or labels that are no NumPy array"),
        (Loaded(Images(ZEROS / 255, LABELS), GOOD, ("a",), ""), "pixels float64 [4, 3, 2] with labels int64 [4]"),
        (Loaded(Images(ZEROS[0], LABELS), GOOD, ("a",), ""), "pixels uint8 [3, 2] with labels int64 [4]"),
        (Loaded(Images(ZEROS, LABELS / 1), GOOD, ("a",), ""), "pixels uint8 [4, 3, 2] with labels float64 [4]"),
        (Loaded(Images(ZEROS, LABELS[1:]), GOOD, ("a",), ""), "pixels uint8 [4, 3, 2] with labels int64 [3]"),
        (Loaded(GOOD, Images(ZEROS, LABELS + 1), ("a",), ""), "other labels than 0 to 0, the classes"),
        (Loaded(GOOD, GOOD, "a", ""), "the classes a; must be a tuple of different texts"),
        (Loaded(GOOD, GOOD, (0,), ""), "the classes (0,); must be a tuple of different texts"),
        (Loaded(GOOD, GOOD, ("a", "a"), ""), "the classes ('a', 'a'); must be a tuple of different texts"),
        (Loaded(GOOD, GOOD, ("\udcff", r"\udcff"), ""), r"the classes ('\udcff', '\\udcff'); must be a tuple of"),
    ],
)
def test_a_dataset_that_returns_something_else_is_refused(monkeypatch, returned, expected):
    monkeypatch.setattr(Stripes, "load", lambda _: returned)
    assert message_of(images).startswith(f"dataset=stripes: load() returned {expected}")


def test_names_of_classes_are_printable(monkeypatch):
    monkeypatch.setattr(Stripes, "load", lambda _: Loaded(GOOD, GOOD, ("\udcff\x1b",), ""))
    assert images().classes == (r"\udcff\x1b",)


def test_only_learning_needs_training_images(monkeypatch):
    none = Images(ZEROS[:0], LABELS[:0])
    monkeypatch.setattr(Stripes, "load", lambda _: Loaded(none, GOOD, ("a",), ""))
    assert len(images(mode="eval").test_classes) == 4
    assert message_of(images) == "dataset=stripes: all its images are for testing; there must be some to learn from"
    text = message_of(lambda: images(replace(SECTION, split="train"), mode="eval"))
    assert text == "dataset=stripes: no images with dataset.split=train; must be one or more"


def test_options_are_those_that_the_class_takes():
    text = message_of(lambda: images(replace(SECTION, options={"contrast": 1, "colour": "red"})))
    assert text.startswith("dataset.colour=red: unknown key; known beside it: classes, contrast, height,")
    text = message_of(lambda: images(replace(SECTION, options={})))
    assert text.startswith("dataset.contrast: missing; ") and text.endswith("Stripes needs it")


def test_images_of_another_size_are_refused():
    text = message_of(lambda: images(replace(SECTION, height=2, width=3)))
    assert "uint8 [10, 3, 2] with labels int64 [10]; must be uint8 [N, 2, 3]" in text


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_has_the_keys_of_its_class(path, tmp_path, monkeypatch):
    monkeypatch.setattr("stdp_run.datasets.selection.import_class", import_class)
    keys = OmegaConf.to_container(composed(f"dataset={path.stem}").dataset)
    fixed = {key: keys.pop(key) for key in ("name", "height", "width", "split", "n_validation")}
    section = DatasetSettings(target=keys.pop("_target_"), options=keys, **fixed)
    if path.stem == "image_folder":
        keys["root"] = str(tmp_path)
    made = build_dataset(section)
    assert type(made).name == path.stem == section.name
    assert isinstance(made, ImageFolder if path.stem == "image_folder" else Dataset)
