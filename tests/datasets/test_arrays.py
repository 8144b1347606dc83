"""Images in NumPy arrays."""

import zipfile

import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import TINY, assert_same, run_in, settings_of

import stdp_run
from stdp_run.datasets import ArrayFile, Arrays
from stdp_run.datasets.arrays import size_in_file

PIXELS = np.arange(12 * 6, dtype=np.uint8).reshape(12, 2, 3)
LABELS = np.array([7, 7, 3, 3, 7, 7, 3, 3, 7, 7, 3, 3])


def load(tmp_path, test_every=5, save=np.savez, **arrays):
    save(tmp_path / "a.npz", **arrays)
    return ArrayFile(file=str(tmp_path / "a.npz"), test_every=test_every).load()


def test_four_arrays_are_the_images_of_the_file(tmp_path):
    arrays = {"x_train": PIXELS[:8], "y_train": LABELS[:8], "x_test": PIXELS[8:], "y_test": LABELS[8:]}
    for save in (np.savez, np.savez_compressed):
        loaded = load(tmp_path, save=save, **arrays)
        assert loaded.classes == ("3", "7")
        assert np.array_equal(loaded.train.pixels, PIXELS[:8]) and np.array_equal(loaded.test.pixels, PIXELS[8:])
        assert loaded.train.labels.tolist() == [1, 1, 0, 0, 1, 1, 0, 0] and loaded.test.labels.tolist() == [1, 1, 0, 0]
        assert isinstance(loaded.train.pixels.base, np.memmap) == (save is np.savez)
    fortran = load(tmp_path, **{**arrays, "x_train": np.asfortranarray(PIXELS[:8])})
    assert np.array_equal(fortran.train.pixels, PIXELS[:8])


def test_every_so_many_images_of_a_class_are_test_images(tmp_path):
    loaded = load(tmp_path, test_every=3, x=PIXELS / 255, y=LABELS)
    assert loaded.train.pixels.dtype == np.uint8
    tested = [4, 6, 9, 11]  # the third and the sixth 7, and the third and the sixth 3
    assert np.array_equal(loaded.test.pixels, PIXELS[tested])
    assert np.array_equal(loaded.train.pixels, np.delete(PIXELS, tested, axis=0))
    assert len(load(tmp_path, test_every=1, x=PIXELS, y=LABELS).train.labels) == 0


def test_classes_and_sizes(tmp_path):
    assert load(tmp_path, x=PIXELS, y=LABELS // 7, classes=np.array(["three", "seven"])).classes == ("three", "seven")
    assert load(tmp_path, x=PIXELS, y=np.array(["b", "a"] * 6)).classes == ("a", "b")
    for shape, size in (((6, 4), (2, 2)), ((6, 5), (1, 5)), ((6, 3, 4), (3, 4))):
        np.savez(tmp_path / "s.npz", x=np.zeros(shape, np.uint8), y=np.arange(6))
        assert size_in_file(str(tmp_path / "s.npz")) == size
        assert settings_of("dataset=arrays", f"dataset.file={tmp_path}/s.npz").dataset.height == size[0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"y": LABELS[1:]}, "x [12, 2, 3] with y [11]; must be [N, H, W] or [N, I], and [N], not empty"),
        ({"x": PIXELS.astype(np.int64)}, "x is int64; must be uint8, or floats from 0 to 1"),
        ({"x": PIXELS / 60}, "x has values from 0 to 1.18333; must be uint8, or floats from 0 to 1"),
        ({"x": np.where(PIXELS > 60, np.nan, 0)}, "x has NaN; must be uint8, or floats from 0 to 1"),
        ({"y": LABELS / 2}, "y is float64; must be whole numbers or texts"),
        (
            {"x": None, "x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS, "y_test": LABELS.astype(str)},
            "y_test is <U21 and y_train is int64; must be numbers or texts in both",
        ),
        ({"x": PIXELS[:0], "y": LABELS[:0]}, "x [0, 2, 3] with y [0]; must be [N, H, W] or [N, I], and [N], not empty"),
        ({"classes": np.array(["a", "b"])}, "y has labels from 3 to 7; must be 0 to 1, as in `classes`"),
        ({"y": None}, "has x; must have the arrays x_train, y_train, x_test, y_test, or x and y"),
        ({"x": np.array([{}] * 12)}, "cannot be read as .npz: Object arrays cannot be loaded when allow_pickle=False"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, change, problem):
    arrays = {name: each for name, each in ({"x": PIXELS, "y": LABELS} | change).items() if each is not None}
    assert message_of(lambda: load(tmp_path, **arrays)) == f"dataset.file={tmp_path}/a.npz: {problem}"


def test_missing_and_damaged_files(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, x=PIXELS, y=LABELS)
    content = bytearray(file.read_bytes())
    for damage, problem in ((slice(300, None), "File is not a zip file"), (slice(140, 150), "x.npy is damaged")):
        damaged = content.copy()
        damaged[damage] = bytes(len(content[damage]) if damage.stop else 0)
        file.write_bytes(damaged)
        message = message_of(ArrayFile(file=str(file), test_every=5).load)
        assert message == f"dataset.file={file}: cannot be read as .npz: {problem}"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", b"nothing")
    assert message_of(lambda: size_in_file(str(file))).startswith(f"dataset.file={file}: cannot be read as .npz: ")
    wanted = "must be an existing file NAME.npz with the arrays x_train, y_train, x_test, y_test, or x and y"
    assert message_of(lambda: settings_of("dataset=arrays")) == f"dataset.file=null: {wanted}"


def test_arrays_in_memory_are_a_run_of_the_command_line(tmp_path, monkeypatch, without_plots):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    arrays = Arrays(rng.random((100, 4, 5)), rng.integers(3, size=100), rng.random((40, 4, 5)), np.arange(40) % 3)
    keys = dict(each.split("=") for each in TINY)
    result = stdp_run.run(dataset=arrays, **keys, **{"hydra.run.dir": tmp_path / "run"})
    assert result.receptive_fields.shape == (20, 4, 5)
    run_in(tmp_path / "again", "dataset=arrays", f"dataset.file={arrays.file()}", *TINY)
    assert_same(result.directory, tmp_path / "again", "files")
    assert [*(tmp_path / "cache" / "stdp_run" / "arrays").iterdir()] == [arrays.file()]
    assert message_of(Arrays(PIXELS, LABELS[1:]).file).startswith("dataset=arrays: x [12, 2, 3] with y [11]")
    assert message_of(Arrays(PIXELS / 60, LABELS).file).startswith("dataset=arrays: x has values from 0 to 1.18333")
