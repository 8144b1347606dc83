"""Signals that ask a run to stop: noted at once, acted upon where nothing is lost."""

import signal
import threading
from types import FrameType

# USR1 is what batch systems send as a warning before the end (sbatch --signal=USR1@60). USR2 belongs to submitit.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Interruption:
    """A context in which a signal only sets `pending`; `hand_on` then does what the signal did before.

    The same signal a second time does not wait. Where a signal had a handler in Python, as in a job that submitit
    starts again, `hand_on` calls it and may return; otherwise the process exits with 128 + the signal's number.
    Outside the main thread, where Python delivers no signals, nothing is ever pending.
    """

    def __init__(self):
        self.pending: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if number == signal.SIGUSR2 and not callable(before):
                    continue
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self.pending == number
        self.pending = signal.Signals(number)
        if again:
            self.hand_on(frame)

    def hand_on(self, frame: FrameType | None = None) -> None:
        """Do what the pending signal did before this context, which as a rule ends the run.

        Raises:
            SystemExit: the signal had no handler; the code is 128 + its number.
        """
        number, self.pending = self.pending, None
        before = self._before.get(number)
        if not callable(before):
            raise SystemExit(128 + number)
        before(number, frame)
