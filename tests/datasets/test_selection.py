"""Datasets by name, a custom one among them, and the images of a run."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.errors import message_of
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stdp_run.config.build import conf_folder
from stdp_run.config.custom_code import import_class
from stdp_run.config.schema import read_section
from stdp_run.config.sections import DatasetSettings
from stdp_run.datasets import Dataset, Images, Loaded
from stdp_run.datasets.selection import build_dataset, load_images, matched_by_name


class Stripes(Dataset):
    """A custom dataset: ten images to learn from, five to test; pixels are n * (contrast + seed)."""

    name = "stripes"

    def __init__(self, *, contrast: int, seed: int):
        self.factor = contrast + seed

    def load(self) -> Loaded:
        pixels = np.repeat(np.arange(15, dtype=np.uint8), 6).reshape(15, 3, 2) * np.uint8(self.factor)
        labels = np.arange(15) % 2
        return Loaded(Images(pixels[:10], labels[:10]), Images(pixels[10:], labels[10:]), ("even", "odd"), "here")


SECTION = DatasetSettings({"contrast": 1}, "stripes", f"{__name__}.Stripes", 3, 2, "test", n_validation=4)


@pytest.fixture(autouse=True)
def own_class(monkeypatch):
    monkeypatch.setattr("stdp_run.datasets.selection.import_class", lambda *_: Stripes)


def images(section=SECTION, n_train=None, n_test=None, n_label=None, mode="train", seed=0):
    counts = {"n_train": n_train, "n_test": n_test, "n_label": n_label}
    return load_images(SimpleNamespace(mode=mode, dataset=section, seed=seed, **counts))


def test_a_custom_class_takes_its_options_and_the_seed():
    data = images(replace(SECTION, options={"contrast": 2}), seed=1)
    assert data.train_pixels.tolist() == [[3 * n] * 6 for n in range(10)]
    assert data.train_classes.tolist() == [0, 1] * 5 and data.classes == ("even", "odd")
    assert data.test_pixels[0, :, 0].tolist() == [30, 33, 36, 39, 42] and data.test_index.tolist() == [0, 1, 2, 3, 4]


def test_the_split_selects_the_images_to_learn_from_and_to_test():
    validation = images(replace(SECTION, split="validation"))
    assert validation.train_pixels[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert validation.test_pixels[0, :, 0].tolist() == validation.test_index.tolist() == [6, 7, 8, 9]
    train = images(replace(SECTION, split="train"), n_train=3, n_test=2)
    assert train.train_pixels[:, 0].tolist() == [0, 1, 2] and train.test_pixels[0, :, 0].tolist() == [0, 1]
    for n_label, labelled in ((2, [0, 1]), (9, [0, 1, 2])):
        assert images(n_train=3, n_label=n_label).label_pixels[0, :, 0].tolist() == labelled


def test_more_images_than_a_dataset_has_are_refused():
    assert message_of(lambda: images(n_train=11)) == "n_train=11: must be at most 10, the images there are"
    assert message_of(lambda: images(n_test=6)) == "n_test=6: must be at most 5, the images there are"
    all_of_it = replace(SECTION, split="validation", n_validation=10)
    assert message_of(lambda: images(all_of_it)) == "dataset.n_validation=10: must be below 10"


def test_a_network_knows_classes_by_their_names():
    matched = matched_by_name(images(), "stripes", ["none", "odd", "even"])
    assert matched.classes == ("none", "odd", "even")
    assert matched.train_classes.tolist() == [2, 1] * 5 and matched.test_classes.tolist() == [2, 1, 2, 1, 2]
    text = message_of(lambda: matched_by_name(images(), "stripes", ["even", "2"]))
    assert text == "dataset=stripes: classes that the network does not know: odd; it knows even, 2"


ZEROS, LABELS = np.zeros((4, 3, 2), np.uint8), np.zeros(4, np.int64)
GOOD = Images(ZEROS, LABELS)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (None, "NoneType; must be stdp_run.datasets.Loaded"),
        (Loaded(ZEROS, GOOD, ("a",), ""), "Loaded; must be stdp_run.datasets.Loaded, with two Images"),
        (Loaded(GOOD, Images(ZEROS, [0] * 4), ("a",), ""), "pixels or labels that are no NumPy array"),
        (Loaded(Images(ZEROS / 255, LABELS), GOOD, ("a",), ""), "pixels float64 [4, 3, 2] with labels int64 [4]"),
        (Loaded(Images(ZEROS, LABELS[1:]), GOOD, ("a",), ""), "pixels uint8 [4, 3, 2] with labels int64 [3]"),
        (Loaded(GOOD, Images(ZEROS, LABELS + 1), ("a",), ""), "other labels than 0 to 0, the classes"),
        (Loaded(GOOD, GOOD, "a", ""), "the classes a; must be a tuple of different texts"),
        (Loaded(GOOD, GOOD, ("\udcff", r"\udcff"), ""), r"the classes ('\udcff', '\\udcff'); must be a tuple of"),
    ],
)
def test_a_dataset_of_another_form_is_refused(monkeypatch, returned, expected):
    monkeypatch.setattr(Stripes, "load", lambda _: returned)
    assert message_of(images).startswith(f"dataset=stripes: load() returned {expected}")


def test_only_learning_needs_training_images(monkeypatch):
    none = Images(ZEROS[:0], LABELS[:0])
    monkeypatch.setattr(Stripes, "load", lambda _: Loaded(none, GOOD, ("\x1b",), ""))
    assert images(mode="eval").classes == (r"\x1b",), "printable"
    assert message_of(images) == "dataset=stripes: all its images are for testing; there must be some to learn from"
    text = message_of(lambda: images(replace(SECTION, split="train"), mode="eval"))
    assert text == "dataset=stripes: no images with dataset.split=train; must be one or more"


def test_options_and_sizes_that_do_not_fit_are_refused():
    text = message_of(lambda: images(replace(SECTION, options={"contrast": 1, "colour": "red"})))
    assert text.startswith("dataset.colour=red: unknown key; known keys: contrast, height,")
    text = message_of(lambda: images(replace(SECTION, options={})))
    assert text.startswith("dataset.contrast: missing; ") and text.endswith("Stripes needs it")
    text = message_of(lambda: images(replace(SECTION, height=2, width=3)))
    assert "uint8 [10, 3, 2] with labels int64 [10]; must be uint8 [N, 2, 3]" in text


def test_every_yaml_has_the_keys_of_its_class(monkeypatch):
    monkeypatch.setattr("stdp_run.datasets.selection.import_class", import_class)
    names = [path.stem for path in (conf_folder() / "dataset").glob("*.yaml")]
    assert len(names) == 8
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        for name in names:
            keys = OmegaConf.to_container(compose(f"dataset/{name}").dataset)
            keys |= {key: 28 for key in ("height", "width") if isinstance(keys[key], str)}  # those of a file of arrays
            made = build_dataset(read_section(DatasetSettings, keys, "dataset."))
            assert type(made).name == keys["name"] == name
