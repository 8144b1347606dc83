"""Where compiled code is kept on disk: a folder for each kernel, named by what it is made of."""

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
    """Return a digest of the sources and the tools that every kernel depends on."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    shared = [Path(str(module.__file__)) for module in (elementwise, encoding, parameters)]  # partly run to make code
    for file in (*sorted(Path(__file__).parent.rglob("*.py")), *shared):
        digest.update(file.read_bytes())
    return digest.digest()


# Taken at import, when the sources are those that run: an edit while a process runs must not label its code as new.
ENGINE_DIGEST = _engine_digest()


def kernel_folder(description: str) -> Path | None:
    """Return the folder for the kernel of this description; None, and a line in the log, if it cannot be written."""
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
    """Let numba keep the code of functions that are decorated here in `folder`; its setting is that of the process."""
    config: Any = numba.config
    with _setting:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(folder)
        try:
            yield
        finally:
            config.CACHE_DIR = before
