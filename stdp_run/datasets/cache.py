"""The user's cache folder: files appear whole or not at all, and one process at a time fills it."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

log = logging.getLogger(__name__)

_SCRATCH = "fetch-"  # prefix of all that is unfinished
_CHECKSUMS = "SHA256SUMS"


def cache_folder(name: str) -> Path:
    """Return the folder that caches data set `name`, which need not exist.

    Source: XDG Base Directory Specification 0.8 (a relative XDG_CACHE_HOME counts as unset).
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        base = Path(os.path.expanduser("~")) / ".cache"
    return base / "stdp_run" / name


@contextmanager
def opened_for_writing(folder: Path) -> Iterator[tuple[Path | None, Path]]:
    """Give (folder, scratch folder inside it), made and locked; (None, scratch elsewhere) where it cannot be written.

    The scratch folder is removed at the end, and so is one that a killed process left behind.
    """
    cache: Path | None = folder
    with ExitStack() as stack:
        try:
            if not folder.is_absolute():  # no home folder
                raise NotADirectoryError(0, "the home folder is unknown")
            folder.mkdir(parents=True, exist_ok=True)
            _wait_for(stack.enter_context(open(folder / ".lock", "ab")), folder)
            _remove_leftovers(folder)
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder))
        except OSError as error:
            log.warning("Cannot write the cache %s (%s): going on without it", folder, error.strerror)
            cache = None
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="stdp_run-"))
        yield cache, Path(scratch)


def store(folder: Path, contents: Mapping[str, bytearray]) -> None:
    """Write the files and their checksums; a reader sees each file whole or not at all. Raises OSError."""
    for name, content in contents.items():
        _write_whole(folder / name, content)
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    _write_whole(folder / _CHECKSUMS, sums.encode())


def checksums(folder: Path) -> dict[str, str]:
    """Return file name -> sha256 as `store` wrote them down, empty where it did not."""
    try:
        lines = (folder / _CHECKSUMS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.split("  ", 1) for line in lines)
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _wait_for(lock: BinaryIO, folder: Path) -> None:
    """Take the lock, which is free again when its file is closed, so also when its holder is killed."""
    try:
        import fcntl
    except ImportError:  # not on Windows: two first runs at once then both download
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("Another process fills the cache %s: waiting for it", folder)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:  # some network file systems have no locks; writing stays atomic
        log.warning("Cannot lock the cache %s (%s): going on without a lock", folder, error.strerror)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(f"{_SCRATCH}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes | bytearray) -> None:
    handle, temporary = tempfile.mkstemp(prefix=_SCRATCH, dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut; only POSIX can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
