"""Stop signals: a run saves before it ends; other commands end at once."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

# Batch systems send USR1 before the end of a job (sbatch --signal=USR1@60); Windows does not have it.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
SAME_REQUEST = 0.1  # s; programs such as `timeout` signal a process and then its whole group


class Stopped(Exception):
    """A signal stopped a run. Everything learned is saved."""

    def __init__(self, number: signal.Signals):
        super().__init__(number.name)
        self.signal = number


def end_at_once(number: int, _: FrameType | None) -> None:
    """Handle a signal: raise SystemExit with the exit code 128 + its number."""
    raise SystemExit(128 + number)


def end_at_stop_signals() -> None:
    """Make every stop signal end this process at once, without a traceback."""
    for number in STOP_SIGNALS:
        signal.signal(number, end_at_once)


class Stop:
    """Context of a run that records the first stop signal and ends the process at a second one.

    A signal with another Python handler, such as submitit's, keeps that handler. Outside the main thread nothing
    happens.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._requested_at = 0.0
        self._ends_at_once = False
        self._before: dict[int, Any] = {}  # previous handlers

    def check(self) -> None:
        """Raise Stopped if a signal was received; call it after saving."""
        if self.requested:
            raise Stopped(self.requested)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Context of work that may be interrupted without a loss: a signal raises Stopped at once."""
        self._ends_at_once = True
        try:
            self.check()
            yield
        finally:
            self._ends_at_once = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, end_at_once):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if kind is None:
            self.check()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested and time.monotonic() - self._requested_at > SAME_REQUEST:
            end_at_once(number, frame)
        self.requested = self.requested or signal.Signals(number)
        self._requested_at = time.monotonic()
        if self._ends_at_once:
            self._ends_at_once = False
            self.check()
