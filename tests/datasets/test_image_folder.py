"""A user's own folder of pictures."""

from pathlib import Path

import numpy as np
from helpers.errors import message_of
from PIL import Image

from stdp_run import datasets
from stdp_run.errors import shown


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
    assert np.bincount(loaded.train.labels[:7]).tolist() in ([4, 3], [5, 2])  # evenly mixed
    every = folder(tmp_path, test_every=1)
    assert (len(every.train.labels), len(every.test.labels)) == (0, 16)


def test_train_and_test_folders_are_taken_as_they_are(tmp_path):
    write_images(tmp_path / "train", {"cat": 3, "dog": 2})
    write_images(tmp_path / "test", {"cat": 1, "dog": 1})
    loaded = folder(tmp_path)
    assert loaded.train.pixels.shape == (5, 28, 28) and loaded.test.pixels.shape == (2, 28, 28)


def test_digits_on_white_paper_are_learned_as_those_of_mnist(tmp_path, mnist, caplog):
    digits = mnist.train.pixels[:20]
    (tmp_path / "digit").mkdir()
    for number, digit in enumerate(digits):
        Image.fromarray(255 - digit if number % 5 else digit).save(tmp_path / "digit" / f"{number:02}.png")
    with caplog.at_level("INFO"):
        loaded = folder(tmp_path, prepare="frame")
    assert np.array_equal(loaded.test.pixels, digits[4::5])
    assert "classes digit; 20 pictures, dataset.prepare=frame: dark ink 16, bright ink 4, all black 0" in caplog.text
    assert folder(tmp_path, prepare="none").train.pixels[1, 0, 0] == 255


def test_a_folder_may_have_another_name_than_its_class(tmp_path):
    write_images(tmp_path, {"zero": 5, "nought": 5, "one": 5})
    loaded = folder(tmp_path, class_names={"zero": 0, "nought": "0"})
    assert loaded.classes == ("0", "one") and np.bincount(loaded.train.labels).tolist() == [8, 4]
    text = message_of(lambda: folder(tmp_path, class_names={"null": "0"}))
    assert text.startswith("dataset.class_names: null: must be among the folders in") and "nought, one, zero" in text


def test_each_real_path_is_visited_once(tmp_path):
    write_images(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "cat" / "again").symlink_to(".")
    (tmp_path / "cat" / "again.png").symlink_to("00.png")
    (tmp_path / "dog" / "cat").symlink_to("../cat")
    loaded = folder(tmp_path)
    assert (len(loaded.train.labels), len(loaded.test.labels)) == (8, 2)
    (tmp_path / "parts").mkdir()
    for part in ("train", "test"):
        (tmp_path / "parts" / part).symlink_to("..")
    assert "no images in" in message_of(lambda: folder(tmp_path / "parts"))


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    def message(name: str, *folders: tuple[str, dict[str, int]]) -> str:
        for part, counts in folders:
            write_images(tmp_path / name / part, counts)
        return message_of(lambda: folder(tmp_path / name))

    assert message_of(datasets.ImageFolder(prepare="frame").load).startswith("dataset.root=null: must be a folder")
    assert "no such folder" in message("none")
    assert "no class folders" in message("")
    assert f"no images in {tmp_path / 'empty' / 'dog'}" in message("empty", ("", {"cat": 5, "dog": 0}))
    assert "no test images" in message("small", ("", {"cat": 4}))
    assert "there is no such folder" in message("half", ("train", {"cat": 4}))
    unlike = message("unlike", ("train", {"cat": 4, "dog": 4}), ("test", {"cat": 4, "cow": 4}))
    assert "in only one of train/ and test/: cow, dog" in unlike


def test_a_bad_setting_of_a_folder_is_named(tmp_path):
    for key, value, allowed in (
        ("test_every", 0, "a whole number of 1 or more"),
        ("invert", True, "null or false with dataset.prepare=none"),
        ("prepare", "crop", "one of frame, resize, none"),
        ("class_names", "zero", "null, or the class of each folder, such as {zero:0,one:1}, in quotes"),
    ):
        text = message_of(lambda: folder(tmp_path, **{key: value}))  # noqa: B023
        assert text == f"dataset.{key}={shown(value)}: must be {allowed}"
