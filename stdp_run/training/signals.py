"""Signals that ask a run to stop: noted at once, acted upon where nothing is lost."""

import logging
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Self

from stdp_run.config.command_line import command_to_resume
from stdp_run.system import STOP_SIGNALS

log = logging.getLogger(__name__)


class Interruption:
    """A context in which a signal only sets `pending`; `stop` then does what the signal did before.

    The same signal a second time does not wait. Where a signal had a handler in Python, as in a job that submitit
    starts again, `stop` calls it and may return; otherwise the process exits with 128 + the signal's number.
    Outside the main thread, where Python delivers no signals, nothing is ever pending.

    `directory` is what `resume` is given to resume what was stopped.
    """

    def __init__(self, directory: Path):
        self.pending: signal.Signals | None = None
        self._directory = directory
        self._before: dict[int, Any] = {}  # the handlers

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                before = signal.getsignal(number)
                if number.name == "SIGUSR2" and not callable(before):
                    continue
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def stop(self) -> None:
        """Do what the pending signal did before this context, which as a rule ends the run; all that is due was saved.

        Raises:
            SystemExit: the signal had no handler; the code is 128 + its number.
        """
        if self.pending is not None:
            log.warning("%s: stopped; `%s` resumes", self.pending.name, command_to_resume(self._directory))
            self._hand_on(self.pending, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.pending == number:
            self._hand_on(number, frame)
        else:
            self.pending = signal.Signals(number)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self.pending = None
        before = self._before.get(number)
        if not callable(before):
            raise SystemExit(128 + number)
        before(number, frame)
