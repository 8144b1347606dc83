"""Sweeps whose jobs run on this machine in processes of their own, workers: all save when the sweep is asked to stop.

Of the signals only the sweep's own process takes notice, whichever processes they reach. It names the one that came in
a file of the sweep's folder, which the workers watch, and ends when none is at work any more.
"""

import multiprocessing
import os
import signal
import threading
import time
from functools import cache
from pathlib import Path
from types import FrameType

from stdp_run import files
from stdp_run.system import discard_output, keep_from_children
from stdp_run.training.signals import Stoppable, terminal_output

ASKED = ".stop"
SECONDS_TO_SAVE = 20
KEPT_FROM_WORKERS = [number for number in Stoppable.listens_to if number.name != "SIGUSR2"]  # submitit needs that one


class WaitForWorkers(Stoppable):
    """A context of a sweep's process in which the first signal has the workers stop, and waits until all have.

    The second does not wait.
    """

    def __init__(self, sweep: Path):
        super().__init__()
        self._sweep, self._waits = sweep, False
        (sweep / ASKED).unlink(missing_ok=True)
        self.keep_signals()

    def keep_signals(self) -> None:
        """Have workers that are started from now on get no signals but from this process."""
        keep_from_children(KEPT_FROM_WORKERS)

    def end_if_asked(self, frame: FrameType | None = None) -> None:
        """Have the workers stop, wait until all have saved, and end."""
        if self.pending and not self._waits:
            self._waits = True
            self._sweep.mkdir(parents=True, exist_ok=True)
            files.write_atomically(self._sweep / ASKED, self.pending.name.encode())
            for lock in self._sweep.rglob(files.LOCK):
                files.wait_until_free(lock)
        super().end_if_asked(frame)


@cache
def watch_sweep(sweep: Path) -> None:
    """Have this process, a worker, stop its job when the sweep is asked to, and not by signals.

    One of joblib's, which would outlive its sweep, also saves and ends when that is gone.
    """
    Stoppable.listens_to = tuple(number for number in Stoppable.listens_to if number not in KEPT_FROM_WORKERS)
    for number in KEPT_FROM_WORKERS:
        signal.signal(number, signal.SIG_IGN)
    asked, terminal, parent = sweep / ASKED, terminal_output(), multiprocessing.parent_process()

    def orphaned() -> bool:
        return parent is not None and os.getppid() != parent.pid

    def watch() -> None:
        while not asked.exists() and not orphaned():
            time.sleep(0.2)
        Stoppable.asked = signal.Signals[asked.read_text()] if asked.exists() else signal.SIGTERM
        if Stoppable.asked.name == "SIGHUP":
            discard_output(terminal)
        while not orphaned():
            time.sleep(0.2)
        time.sleep(SECONDS_TO_SAVE)
        os._exit(128 + signal.SIGTERM)  # with nobody to report to, it may hang

    threading.Thread(target=watch, daemon=True).start()
