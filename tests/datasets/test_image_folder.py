"""A user's own folder of pictures."""

from pathlib import Path

import numpy as np
import pytest
from helpers.errors import message_of
from PIL import Image

from stdp_run import datasets


def write_images(root: Path, counts: dict[str, int], size: tuple[int, int] = (20, 10)) -> None:
    """Write numbered pictures of one grey value, 10 * number, in one folder per class."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", size, 10 * number).save(root / name / f"{number:02}.png")


def folder(root, prepare="none", **keys) -> datasets.Loaded:
    return datasets.ImageFolder(root=str(root), prepare=prepare, **keys).load()


def test_every_fifth_image_of_a_class_is_for_testing(tmp_path):
    write_images(tmp_path, {"cat": 10, "dog": 6})
    (tmp_path / ".hidden").mkdir()
    loaded = folder(tmp_path, height=6, width=4)
    assert loaded.classes == ("cat", "dog")
    assert loaded.train.pixels.shape == (13, 6, 4) and loaded.train.pixels.dtype == np.uint8
    values = {label: loaded.train.pixels[loaded.train.labels == label][:, 0, 0].tolist() for label in (0, 1)}
    assert values == {0: [0, 10, 20, 30, 50, 60, 70, 80], 1: [0, 10, 20, 30, 50]}
    assert loaded.test.pixels[:, 0, 0].tolist() == [40, 40, 90] and loaded.test.labels.tolist() == [0, 1, 0]
    assert loaded.test.labels.dtype == np.int64
    # The classes are mixed: the first half is a fair sample.
    assert np.bincount(loaded.train.labels[:7]).tolist() in ([4, 3], [5, 2])
    assert len(folder(tmp_path, test_every=2).test.labels) == 8
    every = folder(tmp_path, test_every=1)
    assert (len(every.train.labels), len(every.test.labels)) == (0, 16)


def test_train_and_test_folders_are_taken_as_they_are(tmp_path):
    write_images(tmp_path / "train", {"cat": 3, "dog": 2})
    write_images(tmp_path / "test", {"cat": 1, "dog": 1})
    loaded = folder(tmp_path)
    assert loaded.train.pixels.shape == (5, 28, 28) and loaded.test.pixels.shape == (2, 28, 28)


def test_pictures_of_every_kind_become_grey(tmp_path):
    write_images(tmp_path, {"a": 6})
    ramp = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "a" / "00.png")  # 16 bits
    clear = np.zeros((8, 8, 4), dtype=np.uint8)  # black ink on nothing
    clear[:4, :, 3] = 255
    Image.fromarray(clear).save(tmp_path / "a" / "01.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "a" / "02.png")
    pixels = folder(tmp_path, height=8, width=8).train.pixels
    assert np.array_equal(pixels[0], ramp // 257)
    assert pixels[1].max() == 0 and (pixels[2] == 76).all()
    inverted = folder(tmp_path, height=8, width=8, prepare="resize", invert=True).train.pixels
    assert (inverted[1][:4] == 255).all() and (inverted[1][4:] == 0).all()  # on white, then inverted
    assert (inverted[2] == 255 - 76).all()


def test_digits_on_white_paper_are_learned_as_those_of_mnist(tmp_path, mnist, caplog):
    digits = mnist.train.pixels[:40]
    for part, every in (("train", 1), ("test", 4)):
        (tmp_path / part / "digit").mkdir(parents=True)
        for number in range(0, 40, every):
            paper = 255 - digits[number] if number % 5 else digits[number]
            Image.fromarray(paper).save(tmp_path / part / "digit" / f"{number:02}.png")
    with caplog.at_level("INFO"):
        loaded = folder(tmp_path, prepare="frame")
    assert np.array_equal(loaded.train.pixels, digits) and np.array_equal(loaded.test.pixels, digits[::4])
    said = "50 pictures: dark ink in 40, bright in 10; framed as in MNIST, 28 x 28 (dataset.prepare=frame)"
    assert said in caplog.messages
    assert folder(tmp_path, prepare="none").train.pixels[1, 0, 0] == 255


def test_a_folder_may_have_another_name_than_its_class(tmp_path):
    write_images(tmp_path, {"zero": 5, "nought": 5, "one": 5})
    loaded = folder(tmp_path, class_names={"zero": 0, "nought": "0"})
    assert loaded.classes == ("0", "one") and np.bincount(loaded.train.labels).tolist() == [8, 4]
    text = message_of(lambda: folder(tmp_path, class_names={"null": "0"}))
    assert text.startswith("dataset.class_names: null: must be among the folders in") and "nought, one, zero" in text


def test_pictures_beside_the_folders_of_the_classes_are_reported(tmp_path, caplog):
    caplog.set_level("INFO")
    write_images(tmp_path, {"cat": 10, "dog": 6})
    folder(tmp_path)
    assert "left out" not in caplog.text and "classes: cat, dog" in caplog.text
    Image.new("L", (4, 4)).save(tmp_path / "loose.PNG")
    folder(tmp_path)
    assert f"1 pictures in {tmp_path} itself are left out" in caplog.text


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    assert message_of(lambda: datasets.ImageFolder(prepare="frame")).startswith("dataset.root=null: must be a folder")
    assert "no such folder" in message_of(lambda: folder(tmp_path / "none"))
    assert "no class folders" in message_of(lambda: folder(tmp_path))

    write_images(tmp_path / "empty", {"cat": 5, "dog": 0})
    assert f"no images in {tmp_path / 'empty' / 'dog'}" in message_of(lambda: folder(tmp_path / "empty"))

    write_images(tmp_path / "small", {"cat": 4})
    assert "no test images" in message_of(lambda: folder(tmp_path / "small"))

    write_images(tmp_path / "half" / "train", {"cat": 4})
    assert "holds train/ but no test/" in message_of(lambda: folder(tmp_path / "half"))

    write_images(tmp_path / "unlike" / "train", {"cat": 4, "dog": 4})
    write_images(tmp_path / "unlike" / "test", {"cat": 4, "cow": 4})
    assert "in only one: cow, dog" in message_of(lambda: folder(tmp_path / "unlike"))

    write_images(tmp_path / "broken", {"cat": 5})
    picture = tmp_path / "broken" / "cat" / "03.png"
    picture.write_bytes(picture.read_bytes()[:50])
    assert f"{picture}: cannot be read as an image" in message_of(lambda: folder(tmp_path / "broken"))
    picture.write_text("no picture")
    assert f"{picture}: cannot be read as an image" in message_of(lambda: folder(tmp_path / "broken"))


@pytest.mark.parametrize(
    "key, value, allowed",
    [
        ("height", 0, "a whole number of 1 or more"),
        ("width", 2.5, "a whole number of 1 or more"),
        ("test_every", 0, "a whole number of 1 or more"),
        ("invert", "maybe", "true or false, or null"),
        ("class_names", "zero", "null, or the class of each folder, such as {zero:0,one:1}, in quotes"),
    ],
)
def test_a_bad_setting_of_a_folder_is_named(tmp_path, key, value, allowed):
    assert message_of(lambda: folder(tmp_path, **{key: value})) == f"dataset.{key}={value}: must be {allowed}"
