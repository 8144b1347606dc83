"""What differs between Linux, macOS and Windows: every such difference stands here."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

# Signals that ask a run to save and stop. USR1 is what batch systems send as a warning before the end of a job
# (sbatch --signal=USR1@60); USR2 belongs to submitit. Windows has neither.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)


def available_cores() -> int:
    """Return the number of cores that this process may use; where the system does not tell, all that there are."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_threads(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many threads to use: OMP_NUM_THREADS of the environment, else one for each available core."""
    asked = environment.get("OMP_NUM_THREADS", "")
    return min(int(asked), available_cores()) if asked.isdigit() and int(asked) > 0 else available_cores()


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power cut; only POSIX systems can open a folder for that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
