"""A relative of MNIST with ten images, whose files a test may damage, serve or put anywhere."""

import gzip
import hashlib
from pathlib import Path

import numpy as np

from stdp_run.datasets import MNIST
from stdp_run.datasets.idx import IdxFile
from stdp_run.datasets.mnist_family import MnistFamily

LABELS = MNIST.files[3].name
_rng = np.random.default_rng(0)
PIXELS = _rng.integers(0, 256, (10, 28, 28), dtype=np.uint8)  # 6 to learn from, 4 to test
CLASSES = np.arange(10, dtype=np.uint8)


class FewMNIST(MnistFamily):
    """A family member of 6 + 4 images; `vouched` tells which checksums were published: sha256, md5 or none."""

    name = title = torchvision_folder = system_folder = "few"

    def __init__(self, vouched: str = "sha256", root: str | None = None):
        super().__init__(root=root)
        parts = (PIXELS[:6], CLASSES[:6], PIXELS[6:], CLASSES[6:])
        plain = [IdxFile(file.name, part.shape) for file, part in zip(MNIST.files, parts, strict=True)]
        self.plain = {file.name: bytes(file.build(part)) for file, part in zip(plain, parts, strict=True)}
        self.packed = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in self.plain.items()}
        self.files = tuple(
            IdxFile(
                name,
                file.shape,
                sha256=hashlib.sha256(content).hexdigest() if vouched == "sha256" else None,
                gz_md5=hashlib.md5(self.packed[f"{name}.gz"]).hexdigest() if vouched == "md5" else None,
            )
            for file, (name, content) in zip(plain, self.plain.items(), strict=True)
        )
        self.mirrors = ()

    def write(self, folder: Path, gzipped: bool = False) -> Path:
        """Write the four files into a folder, which is made; return it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (self.packed if gzipped else self.plain).items():
            (folder / name).write_bytes(content)
        return folder

    def is_intact(self, loaded) -> bool:
        """Return whether these are the images and labels."""
        return (
            np.array_equal(np.concatenate([loaded.train.pixels, loaded.test.pixels]), PIXELS)
            and np.array_equal(np.concatenate([loaded.train.labels, loaded.test.labels]), CLASSES)
            and loaded.train.labels.dtype == np.int64
        )
