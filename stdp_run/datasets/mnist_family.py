"""What MNIST and its relatives have in common: four IDX files, each verified, from the first source that has them."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np

from stdp_run.datasets.base import Dataset, Images, Loaded, check_fixed_size, existing_folder
from stdp_run.datasets.download import download
from stdp_run.datasets.idx import IdxFile, Unusable
from stdp_run.errors import UserError
from stdp_run.files import cache_folder, locked, remove_unfinished, write_atomically

log = logging.getLogger(__name__)

SIDE = 28  # pixels
_CHECKSUMS = "SHA256SUMS"
_SCRATCH = "unfinished-"  # prefix of the cache's folders for downloads

Contents = dict[str, bytearray]  # name of a plain IDX file -> its bytes


class MnistFamily(Dataset):
    """Loads four IDX files from the first source that has them, each checked.

    Sources, in order: `root` if it is given, and then only that; the user's cache; the system's folders; the mirrors
    that torchvision knows; whatever a subclass adds. What is downloaded is kept in the cache, and no source can hang.
    """

    title: ClassVar[str]  # as people write it
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    files: tuple[IdxFile, ...]  # train images, train labels, test images, test labels
    torchvision_folder: ClassVar[str]  # torchvision keeps the files in ROOT/<this>/raw
    system_folder: ClassVar[str]  # the files lie in /usr/share/datasets/<this>, as Debian does it
    mirrors: tuple[str, ...]  # a test compares them with torchvision's
    advice: ClassVar[str] = "Put"  # or one more way to get the files, up to this word

    def __init__(self, *, height: int = SIDE, width: int = SIDE, root: str | None = None) -> None:
        """Take `root`, a folder with the IDX files, or None to look elsewhere; raise UserError for a size but 28."""
        check_fixed_size(self.name, SIDE, height, width)
        self.root = root

    def load(self) -> Loaded:
        """Return the images uint8 [N, 28, 28] and labels int64 [N].

        Raises:
            UserError: no source has them intact.
        """
        contents, source = self._from_root(self.root) if self.root is not None else self._from_anywhere()
        log.info("%s: read from %s", self.title, source)
        train, train_labels, test, test_labels = (file.values(contents.pop(file.name)) for file in self.files)
        return Loaded(
            train=Images(self._upright(train), train_labels.astype(np.int64)),
            test=Images(self._upright(test), test_labels.astype(np.int64)),
            classes=self.classes,
            source=source,
        )

    def sources(self) -> list[tuple[str, Callable[[Path], Contents]]]:
        """Return (title, function from a scratch folder to contents) of every source on the network, in order."""
        return [(f"the mirror {urlsplit(url).netloc}", partial(self._from_mirror, url)) for url in self.mirrors]

    def _upright(self, pixels: np.ndarray) -> np.ndarray:
        return pixels

    def _from_root(self, root: str) -> tuple[Contents, str]:
        names = ", ".join(file.name for file in self.files)
        wanted = f"the files {names} of {self.title} (plain or .gz; also in {self.torchvision_folder}/raw/ or raw/)"
        folder = existing_folder(root, wanted)
        try:
            return self._read(self._layouts(folder)), f"the files in {folder}"
        except Unusable as error:
            raise UserError(f"dataset.root={root}: {error}; must be a folder that holds {wanted}") from None

    def _from_anywhere(self) -> tuple[Contents, str]:
        folder = cache_folder(self.name)
        found = self._from_cache(folder, logging.DEBUG) or self._from_system()
        if found is not None:
            return found
        with _opened_for_writing(folder) as (cache, scratch):
            # Another process may have filled the cache while this one waited for the lock.
            return (cache and self._from_cache(cache, logging.WARNING)) or self._from_network(cache, scratch)

    def _from_cache(self, folder: Path, log_level: int) -> tuple[Contents, str] | None:
        """Return what the cache holds, or None where that is nothing or damaged, which the log then says.

        Where no checksum was published, the one noted when the verified download was stored tells of a damage.
        """
        if not any((folder / file.name).exists() for file in self.files):
            return None
        try:
            lines = (folder / _CHECKSUMS).read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        noted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        try:
            for file in self.files:
                if file.sha256 is None and file.name not in noted:
                    raise Unusable(f"the checksum of {file.name} is missing")
            return self._read([folder], noted), f"the cache {folder}"
        except Unusable as error:
            log.log(log_level, "%s: the cache is damaged (%s): fetching it again", self.title, error)
            return None

    def _from_system(self) -> tuple[Contents, str] | None:
        shares = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        for folder in (Path(share) / "datasets" / self.system_folder for share in shares.split(os.pathsep)):
            try:
                if folder.is_dir():
                    return self._read(self._layouts(folder)), f"the system's folder {folder}"
            except Unusable as error:
                log.warning("%s: cannot use the system's folder (%s)", self.title, error)
        return None

    def _from_network(self, cache: Path | None, scratch: Path) -> tuple[Contents, str]:
        failures = []
        for number, (title, fetch) in enumerate(self.sources()):
            folder = scratch / str(number)
            folder.mkdir()
            log.info("%s: trying %s", self.title, title)
            try:
                contents = fetch(folder)
            except (Unusable, OSError) as error:
                log.info("%s: nothing from %s (%s)", self.title, title, error)
                failures.append(f"{title} ({error})")
                continue
            if cache is not None:
                self._keep(cache, contents)
            return contents, title
        tried = ", ".join([f"the cache {cache_folder(self.name)}", "the system's folders", *failures])
        names = ", ".join(file.name for file in self.files)
        raise UserError(
            f"dataset={self.name}: no source has it; tried {tried}. {self.advice} the files {names} (plain or .gz) "
            "in a folder and give it as dataset.root=FOLDER"
        )

    def _from_mirror(self, mirror: str, scratch: Path) -> Contents:
        for file in self.files:
            download(f"{mirror}{file.name}.gz", scratch / f"{file.name}.gz")
        return self._read([scratch])

    def _keep(self, cache: Path, contents: Contents) -> None:
        sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
        try:
            for name, content in contents.items():
                write_atomically(cache / name, content)
            write_atomically(cache / _CHECKSUMS, sums.encode())
            log.info("%s: kept in the cache %s", self.title, cache)
        except UserError as error:  # a full disk is no reason not to use what is in memory
            log.warning("%s: not kept in the cache: %s", self.title, error)

    def _layouts(self, folder: Path) -> list[Path]:
        """Return the folders to look in: as published, as torchvision keeps them, as EMNIST's archive unpacks."""
        return [folder, folder / self.torchvision_folder / "raw", folder / "raw", folder / "gzip"]

    def _read(self, folders: list[Path], noted: Mapping[str, str] | None = None, vouched: bool = False) -> Contents:
        """Read the four files, each from the first folder that has it.

        `noted` holds checksums for files that have none published; `vouched` says that their archive was verified.
        """
        contents = {}
        for file in self.files:
            path = _find(folders, file.name)
            known = replace(file, sha256=file.sha256 or (noted or {}).get(file.name))
            content, verified = known.read(path)
            # Without a checksum, labels out of range would go unnoticed.
            if len(file.shape) == 1 and (largest := int(file.values(content).max())) >= len(self.classes):
                raise Unusable(f"{path} holds the label {largest}, must be 0 to {len(self.classes) - 1}")
            if not (verified or vouched):
                log.warning("%s: no checksum is known for %s; only its structure was checked", self.title, path)
            contents[file.name] = content
        return contents


def _find(folders: list[Path], name: str) -> Path:
    for folder in folders:
        for variant in (name, name.replace("-idx", ".idx")):
            for path in (folder / variant, folder / f"{variant}.gz"):
                if path.is_file():
                    return path
    raise Unusable(f"{name}, plain or .gz, is missing")


@contextmanager
def _opened_for_writing(folder: Path) -> Iterator[tuple[Path | None, Path]]:
    """Lock the cache folder; give it, and a folder for downloads, which is removed at the end.

    Where the cache cannot be written, the first is None and the second lies elsewhere. What killed processes left is
    removed.
    """
    with ExitStack() as stack:
        cache: Path | None = folder
        try:
            if not folder.is_absolute():
                raise FileNotFoundError("there is no home folder")
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / ".lock", wait=True, what=f"the cache {folder}"))
            remove_unfinished(folder)
            for leftover in folder.glob(f"{_SCRATCH}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder))
        except (OSError, UserError) as error:
            log.warning("Cannot write the cache %s (%s): what is downloaded is not kept", folder, error)
            cache, scratch = None, stack.enter_context(tempfile.TemporaryDirectory(prefix="stdp_run-"))
        yield cache, Path(scratch)
