import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from stdp_run.training.signals import STOP_SIGNALS, Stop, Stopped, end_at_stop_signals


@pytest.fixture(autouse=True)
def handlers():
    """Begin with the handlers that a process has that was started in the foreground of a terminal."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("of_command", [False, True])
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_run_notes_a_signal_and_stops_where_it_looks_or_ends(number, of_command):
    if of_command:
        end_at_stop_signals()
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, Stop() as stop:
        stop.check()
        send(number)
        assert stop.requested == number
        with pytest.raises(Stopped):
            stop.check()
    assert stopped.value.signal == number
    assert signal.getsignal(number) is before


def test_work_that_loses_nothing_ends_at_once_and_does_not_begin_after_a_signal():
    done = []
    with pytest.raises(Stopped), Stop() as stop:
        with pytest.raises(Stopped), stop.at_once():
            send(signal.SIGTERM)
            done.append("goes on")
        with stop.at_once():
            done.append("begins")
    assert not done


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_any_other_command_ends_at_once(number):
    end_at_stop_signals()
    with pytest.raises(SystemExit) as end:
        send(number)
        raise AssertionError("goes on")
    assert end.value.code == 128 + number


def test_a_run_that_fails_after_a_signal_reports_its_error():
    with pytest.raises(ArithmeticError), Stop():
        send(signal.SIGTERM)
        raise ArithmeticError


def test_a_second_signal_ends_at_once_but_one_that_two_senders_repeat_is_one(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with pytest.raises(SystemExit) as end, Stop() as stop:
        for seconds in (0, 0.01, 0.3):
            now[0] += seconds
            send(signal.SIGINT)
            assert seconds < 0.3 and stop.requested == signal.SIGINT
    assert end.value.code == 128 + signal.SIGINT


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_an_ignored_signal_and_one_with_another_handler_are_left_alone(handler):
    signal.signal(signal.SIGTERM, handler)
    with Stop() as stop:
        send(signal.SIGTERM)
        assert stop.requested is None and signal.getsignal(signal.SIGTERM) is handler


def test_in_another_thread_handlers_stay():
    def work():
        with Stop():
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() is signal.SIG_DFL
