"""Atomic writes, locks between processes, and the user's cache folder."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from stdp_run.errors import UserError, printable
from stdp_run.system import sync_folder

log = logging.getLogger(__name__)

LOCK = ".lock"  # lock file of a directory, held by the process that is at work in it
_UNFINISHED = ".stdp-run-unfinished"  # ending of files that are being written


def write_atomically(path: Path, data: bytes | bytearray) -> None:
    """Write `data` to `path`; after a crash or a UserError either the old file or the new one exists, intact."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_UNFINISHED}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; the old file is unchanged") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def read_regular(path: Path, limit: float = 1e8) -> bytes:
    """Return the content of a file; raise OSError also for a file above `limit` bytes and for a pipe."""
    if path.exists() and not path.is_dir() and (not path.is_file() or path.stat().st_size > limit):
        raise OSError(errno.EINVAL, f"not a regular file of up to {limit:g} bytes", str(path))
    return path.read_bytes()


def read_record(path: Path) -> Any:
    """Return the plain values of an untrusted YAML file; raise OSError, ValueError or TypeError for a bad file."""
    text, depth = read_regular(path, 1e6), 0
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > 20:
                raise ValueError("it has references (*NAME) or is deeply nested, so its values may be huge")
        record = yaml.safe_load(text)
    except Exception as error:  # of any type: the content is untrusted
        raise ValueError(f"{type(error).__name__}: {error}") from error
    json.dumps(record)  # raises TypeError unless all values are plain
    return record


def check_place(key: str, path: str, folder: bool = False) -> None:
    """Raise UserError unless a file, or a new folder, can be written at `path`, the value of `key`."""
    place = Path(path).absolute()
    taken = os.path.lexists(place) if folder else place.is_dir()
    if taken or not place.parent.is_dir() or not os.access(place.parent, os.W_OK | os.X_OK):
        raise UserError.bad_value(key, path, f"{'a new folder' if folder else 'a file to write'}, in a writable folder")


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files of killed processes in a folder; the caller holds its lock."""
    for leftover in folder.glob(f".*{_UNFINISHED}"):
        with contextlib.suppress(OSError):  # a directory of that name stays
            leftover.unlink()


@contextlib.contextmanager
def locked(path: Path, wait: bool, what: str) -> Iterator[None]:
    """Context that holds the lock file `path`, created if missing; messages begin with `what`.

    On a file system without locks, it logs a warning and locks nothing. Raise UserError if the file cannot be made, or
    if another process holds it and this one does not `wait`.
    """
    lock = FileLock(path, timeout=2 if wait else 0)  # s; shorter waits are not logged
    try:
        lock.acquire()
    except Timeout:
        if not wait:
            raise UserError(f"{what}: another process is at work in it") from None
        log.info("%s: another process is at work; waiting for it", what)
        while not lock.is_locked:
            with contextlib.suppress(FileNotFoundError):  # a refused command removes its folder
                lock.acquire(timeout=-1)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(f"{what}: cannot be written: {error.strerror}") from None
        log.warning("%s: this file system has no locks (%s); two processes must not work there at once", what, error)
    try:
        yield
    finally:
        lock.release()


def csv_cell(text: str) -> str:
    """Return a text for a CSV: printable, with an apostrophe before text that a spreadsheet reads as a formula."""
    text = printable(text)
    try:
        float(text)  # numbers such as -1.5 are no formulas
    except ValueError:
        return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
    return text


def cache_folder(*names: str) -> Path:
    """Return the folder stdp_run/NAME/... of the user's cache (XDG Base Directory Specification); it may not exist."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        base = Path(os.path.expanduser("~")) / ".cache"
    return base.joinpath("stdp_run", *names)


def read_cached(folder: str, name: str) -> bytes | None:
    """Return the data that `write_cached` stored; None if it is missing or its checksum is wrong."""
    file = cache_folder(folder) / name
    try:
        data = zlib.decompress(file.read_bytes())
    except (OSError, zlib.error):
        return None
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    with contextlib.suppress(OSError):  # a file of another user
        os.utime(file)  # the least recently used files are removed first
    return data[32:]


def write_cached(folder: str, name: str, data: bytes, limit: int) -> bool:
    """Store compressed `data` in a folder of the user's cache; return False, with a warning, if that fails.

    If the folder then exceeds `limit` bytes, the least recently used files are removed.
    """
    path, total = cache_folder(folder), 0
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / name, zlib.compress(hashlib.sha256(data).digest() + data, 1))
        with contextlib.suppress(FileNotFoundError):  # another process removes files as well
            for file in sorted(path.iterdir(), key=lambda file: -file.stat().st_mtime):
                total += file.stat().st_size
                if total > limit:
                    file.unlink()
    except (OSError, UserError) as error:
        log.warning("the cache cannot be written, so results are computed each time: %s", error)
        return False
    return True
