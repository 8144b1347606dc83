"""Signals that ask a process to stop: a command ends at once, a run where nothing is lost."""

import _thread
import logging
import os
import signal
import sys
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Self

from stdp_run.config.command_line import command_to_resume
from stdp_run.system import STOP_SIGNALS, discard_output

log = logging.getLogger(__name__)

SAME_REQUEST = 0.1  # seconds: `timeout` and others signal a process and then its whole group, it among them


class Stoppable:
    """A context that a signal ends at once by SystemExit, with 128 + its number.

    A library may swallow that, or make an error of its own of it; the process ends all the same, at the latest with
    the context. Where a signal had a handler in Python, as in a job that submitit starts again, that is called instead,
    and may return. A hang-up that is ignored, as by nohup, stays ignored. Outside the main thread, where Python
    delivers no signals, nothing is ever pending.
    """

    listens_to: ClassVar[tuple[signal.Signals, ...]] = STOP_SIGNALS  # a worker, which its sweep asks, listens to none
    asked: ClassVar[signal.Signals | None] = None  # of a worker: what its sweep was asked to stop by

    def __init__(self) -> None:
        self._noted: signal.Signals | None = None
        self._noted_at = 0.0
        self._before: dict[int, Any] = {}  # the handlers
        self._terminal = terminal_output()
        self._hook = sys.unraisablehook

    @property
    def pending(self) -> signal.Signals | None:
        """What asks this process to stop; None: nothing does."""
        return self._noted or Stoppable.asked

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in self.listens_to:
            before = signal.getsignal(number)
            if (number.name == "SIGHUP" and before == signal.SIG_IGN) or (
                number.name == "SIGUSR2" and not callable(before)
            ):
                continue
            self._before[number] = signal.signal(number, self._receive)
            outer = getattr(before, "__self__", None)
            if isinstance(outer, Stoppable) and outer.pending:  # a library has swallowed it
                self._noted = outer.pending
        sys.unraisablehook = self._raise_again
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        sys.unraisablehook = self._hook
        for number, before in self._before.items():
            signal.signal(number, before)
        if self.pending and (kind is None or issubclass(kind, Exception)):
            self.end_if_asked()

    def end_if_asked(self, frame: FrameType | None = None) -> None:
        """Do what the pending signal did before this context, which as a rule ends the process.

        Raises:
            SystemExit: the signal had no handler; the code is 128 + its number.
        """
        if not self.pending:
            return
        before = self._before.get(self.pending)
        if not callable(before) or before is signal.default_int_handler:
            raise SystemExit(128 + self.pending)
        before(self.pending, frame)
        self._noted = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._note(number)
        self.end_if_asked(frame)

    def _note(self, number: int) -> None:
        if self._noted is None:
            self._noted_at = time.monotonic()
        self._noted = signal.Signals(number)
        if self._noted.name == "SIGHUP":  # the terminal is gone, and writing to it would fail
            discard_output(self._terminal)

    def _raise_again(self, unraisable: Any) -> None:
        """Come back to a signal that arrived where nothing can be raised, as when an object is freed."""
        if self._noted and isinstance(unraisable.exc_value, SystemExit):
            _thread.interrupt_main(self._noted)
        else:
            self._hook(unraisable)


def terminal_output() -> list[int]:
    """Return those of the file descriptors for output and errors that are the terminal."""
    return [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]


class Interruption(Stoppable):
    """A context of runs, in which a signal is only noted; where nothing is lost, `stop` then does what it asks for.

    The same signal a second time does not wait, and nothing more is saved.

    `directory` is what `resume` is given to resume what was stopped; `saved` receives what each run has saved. If this
    `is_last`, all that is there is complete when the context ends by itself.
    """

    def __init__(self, directory: Path, is_last: bool = True):
        super().__init__()
        self._directory, self._is_last = directory, is_last
        self._at_once = False
        self.saved: dict[Path, int] = {}  # by directory of a run: after how many images its last checkpoint was saved

    def stop(self) -> None:
        """End as `end_if_asked` does, and say how to resume; all that is due was saved."""
        if not self.pending:
            return
        for directory, images in self.saved.items():
            log.info("%s: saved after %d images", directory, images)
        log.warning("%s: stopped; `%s` resumes", self.pending.name, command_to_resume(self._directory))
        self.end_if_asked()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self.pending and self._at_once:
            resumes = f"`{command_to_resume(self._directory)}` resumes from the last checkpoint"
            log.warning("%s again: ended without saving; %s", self.pending.name, resumes)
        elif kind is None and self.pending:
            resumes = f"`{command_to_resume(self._directory)}` resumes"
            end = f"{self._directory} is complete" if self._is_last else resumes
            log.warning("%s: stopped; %s", self.pending.name, end)
        failed = kind is not None and issubclass(kind, Exception)
        with suppress(SystemExit) if failed else nullcontext():  # the context around this one ends with the error
            super().__exit__(kind, *error)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._at_once = self._noted == number and time.monotonic() - self._noted_at > SAME_REQUEST
        self._note(number)
        if self._at_once:
            self.end_if_asked(frame)
