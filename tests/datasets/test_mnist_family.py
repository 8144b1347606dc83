"""MNIST and its relatives: real images, verified; damaged files and folders told in one line; the cache."""

import gzip
import hashlib
import logging
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.errors import message_of
from helpers.idx_files import LABELS, PIXELS, FewMNIST

from stdp_run import datasets
from stdp_run.files import cache_folder


def test_importing_the_datasets_imports_no_heavy_package():
    code = (
        "import sys, stdp_run.datasets; print({'torch', 'torchvision', 'sklearn', 'PIL', 'scipy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# Real images: the files' sha256 and md5 in the source are those that were published


def test_mnist_is_the_published_one(mnist):
    assert mnist.train.pixels.shape == (60_000, 28, 28) and mnist.test.pixels.shape == (10_000, 28, 28)
    assert mnist.train.pixels.dtype == np.uint8 and mnist.train.labels.dtype == np.int64
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.train.labels).tolist() == counts
    assert np.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(mnist.train.pixels.mean() / 255, 4) == 0.1307  # the mean that everybody normalises with
    assert mnist.classes == tuple("0123456789")
    parts = (mnist.train.pixels, mnist.train.labels, mnist.test.pixels, mnist.test.labels)
    for file, part in zip(datasets.MNIST.files, parts, strict=True):
        assert hashlib.sha256(file.build(part)).hexdigest() == file.sha256


def test_fashion_mnist_is_the_published_one():
    kept = cache_folder("fashion_mnist") / "SHA256SUMS"
    if not (Path("/usr/share/datasets/fashion-mnist").is_dir() or kept.exists()):
        pytest.skip("Fashion-MNIST is not on this machine")
    loaded = datasets.FashionMNIST().load()
    assert loaded.train.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert np.bincount(loaded.train.labels).tolist() == [6000] * 10
    assert np.bincount(loaded.test.labels).tolist() == [1000] * 10
    assert loaded.classes[9] == "Ankle boot"


def test_debians_fashion_mnist_is_the_published_one_but_for_the_gzip_header():
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    published = pytest.importorskip("torchvision.datasets").FashionMNIST.resources
    for file, (name, md5) in zip(datasets.FashionMNIST.files, published, strict=True):
        assert name == f"{file.name}.gz"
        packed = (folder / f"{file.name}.gz").read_bytes()
        written = 1504176606 if file.name.startswith("train") else 1504176627
        header = b"\x1f\x8b\x08\x08" + struct.pack("<I", written) + packed[8:10] + file.name.encode() + b"\0"
        assert hashlib.md5(header + packed[10:]).hexdigest() == md5


@pytest.mark.slow
def test_mirrors_and_checksums_are_those_of_torchvision():
    published = pytest.importorskip("torchvision.datasets")
    for kind in (datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST):
        theirs = getattr(published, kind.torchvision_folder)
        assert list(kind.mirrors) == theirs.mirrors
        for file, (name, md5) in zip(kind.files, theirs.resources, strict=True):
            assert name == f"{file.name}.gz" and file.gz_md5 == (None if file.sha256 else md5)
    assert f"{datasets.EMNISTDigits.mirrors[0]}{datasets.EMNISTDigits.archive}" == published.EMNIST.url
    assert datasets.EMNISTDigits.archive_md5 == published.EMNIST.md5
    assert published.FashionMNIST.classes == list(datasets.FashionMNIST.classes)
    assert published.KMNIST.classes == list(datasets.KMNIST.classes)


# Files in dataset.root


@pytest.mark.parametrize("folder", [".", "few/raw", "raw"])
@pytest.mark.parametrize("suffix", ["-idx", "-idx.gz", ".idx", ".idx.gz"])
def test_existing_files_are_found_in_every_usual_layout(tmp_path, monkeypatch, folder, suffix):
    few = FewMNIST()
    for path in list(few.write(tmp_path / "root" / folder, gzipped=suffix.endswith(".gz")).iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", suffix.removesuffix(".gz"))))
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in (str(tmp_path / "root"), "~/root"):
        loaded = FewMNIST(root=root).load()
        assert few.is_intact(loaded) and str(tmp_path / "root") in loaded.source


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage, expected",
    [
        (lambda path: path.unlink(), "plain or .gz, is missing"),
        (lambda path: path.write_bytes(b""), "starts with nothing, must be 00000801"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is truncated: 11 bytes; must be 12 bytes"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "is too long; must be 12 bytes"),
        (lambda path: path.write_bytes(b"\x00\x00\x08\x03" + path.read_bytes()[4:]), "starts with 00000803"),
        (lambda path: path.write_bytes(struct.pack(">2I", 0x801, 9) + path.read_bytes()[8:]), "of 4 bytes"),
        (flip_a_bit, "was altered: its sha256"),
    ],
)
@pytest.mark.parametrize("gzipped", [False, True])
def test_a_damaged_file_in_root_is_named(tmp_path, damage, expected, gzipped):
    path = FewMNIST().write(tmp_path) / LABELS
    damage(path)
    if gzipped and path.exists():
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    text = message_of(FewMNIST(root=str(tmp_path)).load)
    assert text.startswith(f"dataset.root={tmp_path}: ") and LABELS in text and expected in text
    assert "; must be a folder that holds the files train-images" in text


@pytest.mark.parametrize(
    "damage", [lambda content: content[:30], lambda content: content[:-8] + b"????" + content[-4:]]
)
def test_damaged_gzip_data_is_named(tmp_path, damage):
    path = FewMNIST().write(tmp_path, gzipped=True) / f"{LABELS}.gz"
    path.write_bytes(damage(path.read_bytes()))
    text = message_of(FewMNIST(root=str(tmp_path)).load)
    assert f"{LABELS}.gz is truncated or not gzip data" in text


def test_a_root_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert "no such folder" in message_of(FewMNIST(root=str(tmp_path / "none")).load)
    assert "not a folder" in message_of(FewMNIST(root=str(tmp_path / "file")).load)
    assert message_of(FewMNIST(root=3).load).startswith("dataset.root=3: must be a folder")
    assert message_of(FewMNIST(root="").load).startswith("dataset.root=: must be a folder")


@pytest.mark.parametrize("key, value", [("height", 32), ("width", "28")])
def test_mnist_like_images_have_one_size(key, value):
    text = message_of(lambda: datasets.KMNIST(**{key: value}))
    assert text.startswith(f"dataset.{key}={value}: must be 28") and "image_folder" in text


def test_without_a_sha256_files_are_checked_by_md5_if_gzipped_and_by_structure_if_plain(tmp_path, caplog):
    few = FewMNIST("md5")
    few.write(tmp_path / "plain"), few.write(tmp_path / "packed", gzipped=True)
    assert few.is_intact(FewMNIST("md5", str(tmp_path / "packed")).load()) and not caplog.records
    assert few.is_intact(FewMNIST("md5", str(tmp_path / "plain")).load())
    assert caplog.text.count("no checksum is known for") == 4

    path = tmp_path / "packed" / f"{LABELS}.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1, mtime=5))
    text = message_of(FewMNIST("md5", str(tmp_path / "packed")).load)
    assert f"{LABELS}.gz was altered: its md5 is" in text and f"must be {few.files[3].gz_md5}" in text

    path = tmp_path / "plain" / LABELS
    path.write_bytes(path.read_bytes()[:-1] + bytes([10]))
    text = message_of(FewMNIST("md5", str(tmp_path / "plain")).load)
    assert "holds the label 10, must be 0 to 9" in text


def test_emnist_images_come_upright(tmp_path):
    few = FewMNIST("none")
    for file, part in zip(few.files[::2], (PIXELS[:6], PIXELS[6:]), strict=True):
        few.plain[file.name] = bytes(file.build(part.transpose(0, 2, 1)))  # as EMNIST's files hold them
    emnist = datasets.EMNISTDigits(root=str(few.write(tmp_path / "gzip").parent))
    emnist.files = few.files
    assert few.is_intact(emnist.load())


# The cache, and the system's folders


def test_the_cache_is_filled_and_then_used_without_the_network(own_cache, monkeypatch):
    few = FewMNIST()
    contents = {name: bytearray(content) for name, content in few.plain.items()}
    monkeypatch.setattr(FewMNIST, "sources", lambda self: [("these files", lambda scratch: dict(contents))])
    assert few.load().source == "these files"
    names = sorted(path.name for path in (own_cache / "few").iterdir())
    assert names == [".lock", "SHA256SUMS", *sorted(few.plain)]
    monkeypatch.setattr(FewMNIST, "sources", lambda self: pytest.fail("went to the network"))
    again = FewMNIST().load()
    assert few.is_intact(again) and str(own_cache / "few") in again.source


@pytest.mark.parametrize("vouched", ["sha256", "none"])
@pytest.mark.parametrize("damage", [flip_a_bit, Path.unlink, lambda path: path.write_bytes(b"half")])
def test_a_damaged_cache_is_noticed_and_filled_again(own_cache, monkeypatch, caplog, damage, vouched):
    """Where no checksum was published, the one noted when the cache was filled tells."""
    few = FewMNIST(vouched)
    contents = {name: bytearray(content) for name, content in few.plain.items()}
    monkeypatch.setattr(FewMNIST, "sources", lambda self: [("these files", lambda scratch: dict(contents))])
    few.load()
    damage(own_cache / "few" / LABELS)
    again = few.load()
    assert few.is_intact(again) and again.source == "these files"
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "the cache is damaged" in warning and LABELS in warning
    assert (own_cache / "few" / LABELS).read_bytes() == few.plain[LABELS]
    if vouched == "none":
        (own_cache / "few" / "SHA256SUMS").unlink()
        few.load()
        assert "the checksum of train-images-idx3-ubyte is missing" in caplog.text


def test_a_system_folder_is_used_if_it_is_intact(own_cache, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_DATA_DIRS", f"{tmp_path / 'damaged'}:{tmp_path / 'intact'}")
    for share in ("damaged", "intact"):
        FewMNIST().write(tmp_path / share / "datasets" / "few")
    flip_a_bit(tmp_path / "damaged" / "datasets" / "few" / LABELS)
    assert str(tmp_path / "intact") in FewMNIST().load().source
    assert "was altered" in caplog.text


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, own_cache, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    few = FewMNIST()
    contents = {name: bytearray(content) for name, content in few.plain.items()}
    monkeypatch.setattr(FewMNIST, "sources", lambda self: [("these files", lambda scratch: contents)])
    assert few.is_intact(few.load())
    assert "Cannot write the cache" in caplog.text and "Not a directory" in caplog.text


def test_what_a_killed_process_left_is_removed(own_cache, monkeypatch):
    (own_cache / "few" / "unfinished-1" / "0").mkdir(parents=True)
    (own_cache / "few" / "unfinished-1" / "0" / "half").write_text("half")
    (own_cache / "few" / ".x.1.stdp-run-unfinished").write_text("half")
    assert "no source has it" in message_of(FewMNIST().load)
    assert [path.name for path in (own_cache / "few").iterdir()] == [".lock"]


@pytest.mark.parametrize("kind", [datasets.KMNIST, datasets.FashionMNIST, datasets.EMNISTDigits])
def test_without_a_source_the_message_says_how_to_supply_files(kind, own_cache, monkeypatch):
    monkeypatch.setattr(kind, "mirrors", ("http://127.0.0.1:1/",))
    text = message_of(kind().load)
    assert text.startswith(f"dataset={kind.name}: no source has it; tried the cache ") and "127.0.0.1:1" in text
    assert kind.files[0].name in text and text.endswith("give it as dataset.root=FOLDER")
    assert ("dataset-fashion-mnist" in text) == (kind is datasets.FashionMNIST)
