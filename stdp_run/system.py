"""The differences between Linux, macOS and Windows."""

import math
import os
from collections.abc import Mapping
from pathlib import Path


def available_cores() -> int:
    """Return the number of cores that this process may use; all cores if the system does not tell."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_threads(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of threads to use: OMP_NUM_THREADS of the environment, else one for each available core."""
    requested = environment.get("OMP_NUM_THREADS", "")
    return min(int(requested), available_cores()) if requested.isdigit() and int(requested) > 0 else available_cores()


def physical_memory() -> float:
    """Return the memory of this machine in bytes; infinity if the system does not tell."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):  # Windows
        return math.inf
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power failure; only POSIX systems support this."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
