"""The cache of compiled code on disk: one folder per kernel, named by a digest of its code."""

import hashlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llvmlite
import numba

from stdp_run import elementwise, encoding, parameters
from stdp_run.files import cache_folder

log = logging.getLogger(__name__)


def _engine_digest() -> bytes:
    """Return a digest of all that every kernel depends on: the engine's sources, Python, numba and llvmlite."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    shared = [Path(str(module.__file__)) for module in (elementwise, encoding, parameters)]
    for file in (*sorted(Path(__file__).parent.rglob("*.py")), *shared):
        digest.update(file.read_bytes())
    return digest.digest()


# Read at import: an edit of the sources during a run must not label the old code as new.
ENGINE_DIGEST = _engine_digest()


def kernel_folder(description: str) -> Path | None:
    """Return the folder for a kernel with this description; None, with a warning, if it cannot be written."""
    folder = cache_folder("compiled") / hashlib.sha256(ENGINE_DIGEST + description.encode()).hexdigest()[:20]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} is read-only")
    except OSError as error:
        log.warning("compiled code cannot be kept, every start compiles anew: %s", error)
        return None
    return folder


_setting = threading.Lock()


@contextmanager
def numba_keeps_code_in(folder: Path) -> Iterator[None]:
    """Context that makes numba cache decorated functions in `folder`; it changes a setting of the process."""
    config: Any = numba.config
    with _setting:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(folder)
        try:
            yield
        finally:
            config.CACHE_DIR = before
