"""What differs between Linux, macOS and Windows: every such difference stands here."""

import os
import signal
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

# Signals that ask a run to save and stop. HUP comes when the terminal is closed; USR1 is what batch systems send as a
# warning before the end of a job (sbatch --signal=USR1@60); USR2 belongs to submitit. Windows has none of the three.
STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
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


def keep_from_children(signals: Iterable[int]) -> None:
    """Have the processes that this thread starts from now on begin with signals blocked; this one still gets them.

    Call it in the main thread. Windows has no such thing.
    """
    if not hasattr(signal, "pthread_sigmask"):
        return
    threading.Thread(target=threading.Event().wait, daemon=True, name="signals").start()  # it is where they arrive
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)


def discard_output(descriptors: Iterable[int]) -> None:
    """Have what is written to file descriptors from now on go nowhere, and not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power cut; only POSIX systems can open a folder for that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
