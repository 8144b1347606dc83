import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stdp_run.training.signals import Interruption

HERE = Path("run")


def raised(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_noted_and_its_handler_comes_back(number):
    before = signal.getsignal(number)
    with Interruption(HERE) as interruption:
        assert interruption.pending is None
        raised(number)
        assert interruption.pending == number
    assert signal.getsignal(number) is before


def test_handing_on_does_what_the_signal_did_before():
    called = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: called.append(number))
    try:
        with Interruption(HERE) as interruption:
            raised(signal.SIGUSR2)
            assert not called
            interruption.stop()
            assert called == [signal.SIGUSR2]
            assert interruption.pending is None, "a handler that returns lets the run go on"
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_without_a_handler_the_exit_code_is_that_of_the_signal():
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with Interruption(HERE) as interruption:
            raised(signal.SIGTERM)
            with pytest.raises(SystemExit) as stop:
                interruption.stop()
            assert stop.value.code == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_signal_does_not_wait():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt), Interruption(HERE):
            raised(signal.SIGINT)
            raised(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_noted():
    def work():
        before = signal.getsignal(signal.SIGTERM)
        with Interruption(HERE) as interruption:
            return interruption.pending is None and signal.getsignal(signal.SIGTERM) is before

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result()
