import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.runs import assert_same, run_in

from stdp_run.training import result
from stdp_run.training import run as training
from stdp_run.training.plot_writer import PlotWriter
from stdp_run.training.signals import SAME_REQUEST, Interruption, Stoppable

HERE = Path("run")
SMALL = ("dataset=digits", "n_exc=12", "n_train=300", "n_label=200", "n_test=100", "encoder.steps=60")
ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP]


@pytest.fixture(autouse=True)
def handlers():
    """Begin with the handlers that a process has that was started in the foreground of a terminal."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ALL}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raised(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", ALL)
def test_a_run_notes_a_signal_and_ends_with_its_code_at_the_latest_when_it_is_complete(number, caplog):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end, Interruption(HERE) as interruption:
        assert interruption.pending is None
        raised(number)
        assert interruption.pending == number
    assert end.value.code == 128 + number
    assert signal.getsignal(number) is before
    assert f"{number.name}: stopped; run is complete" in caplog.text


@pytest.mark.parametrize("number", ALL)
def test_outside_a_run_a_signal_ends_at_once_whatever_library_swallows_it(number):
    class Swallows:
        def __del__(self):
            raised(number)

    for swallow in (False, True):
        with pytest.raises(SystemExit) as end, Stoppable():
            with suppress(SystemExit if swallow else ()):
                raised(number)
            assert swallow
        assert end.value.code == 128 + number
    with pytest.raises(SystemExit) as end, Stoppable():
        Swallows()  # from where nothing can be raised
        raise AssertionError("goes on")
    assert end.value.code == 128 + number


def test_what_a_library_has_swallowed_stops_a_run_before_it_begins():
    with pytest.raises(SystemExit), Stoppable():
        with suppress(SystemExit):
            raised(signal.SIGTERM)
        with Interruption(HERE) as interruption:
            assert interruption.pending == signal.SIGTERM
            interruption.stop()
            raise AssertionError("goes on")


def test_a_run_that_fails_after_a_signal_reports_its_error_and_then_ends():
    with pytest.raises(SystemExit) as end, Stoppable(), pytest.raises(ArithmeticError), Interruption(HERE):
        raised(signal.SIGTERM)
        raise ArithmeticError
    assert end.value.code == 128 + signal.SIGTERM


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


def test_a_second_signal_does_not_wait_but_one_that_two_senders_repeat_is_one(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with pytest.raises(SystemExit) as end, Interruption(HERE):
        raised(signal.SIGINT)
        now[0] += 0.01
        raised(signal.SIGINT)
        now[0] += 0.3
        raised(signal.SIGINT)
        raise AssertionError("goes on")
    assert end.value.code == 128 + signal.SIGINT


def test_a_hang_up_that_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Stoppable(), Interruption(HERE) as interruption:
        raised(signal.SIGHUP)
        assert interruption.pending is None


def test_in_another_thread_nothing_is_noted():
    def work():
        before = signal.getsignal(signal.SIGTERM)
        with Interruption(HERE) as interruption:
            return interruption.pending is None and signal.getsignal(signal.SIGTERM) is before

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result()


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """The directory of a run that nobody stopped."""
    directory = tmp_path_factory.mktemp("intact") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stdp_run.training.plot_writer.PlotWriter._submit", lambda *_: None)
        run_in(directory, *SMALL)
    return directory


def stopped(directory: Path, patch: pytest.MonkeyPatch, place: object, name: str) -> None:
    """Run, with a signal just before a function of the program does its work."""
    real = getattr(place, name)

    def signalled(*arguments):
        raised(signal.SIGTERM)
        return real(*arguments)

    with patch.context() as only_here, pytest.raises(SystemExit) as end:
        only_here.setattr(place, name, signalled)
        run_in(directory, *SMALL)
    assert end.value.code == 128 + signal.SIGTERM


@pytest.mark.parametrize("place, name", [(training, "label"), (PlotWriter, "after_labelling")])
def test_a_run_stopped_while_it_labels_or_tests_need_not_learn_again(
    intact, without_plots, tmp_path, monkeypatch, caplog, place, name
):
    caplog.set_level(logging.INFO)
    stopped(tmp_path / "run", monkeypatch, place, name)
    assert not (tmp_path / "run" / "result.json").exists()
    assert f"{tmp_path}/run: saved after 300 images" in caplog.text
    assert f"SIGTERM: stopped; `stdp-run resume={tmp_path}/run` resumes" in caplog.text
    run_in(tmp_path / "run", f"resume={tmp_path}/run")
    assert "resumed after 300 images" in caplog.text
    assert_same(tmp_path / "run", intact, "config", "checkpoint_config", "files")


@pytest.mark.parametrize("place, name", [(PlotWriter, "at_the_end"), (result, "write_result")])
def test_a_run_stopped_while_it_writes_its_end_is_complete(
    intact, without_plots, tmp_path, monkeypatch, caplog, place, name
):
    stopped(tmp_path / "run", monkeypatch, place, name)
    assert f"SIGTERM: stopped; {tmp_path}/run is complete" in caplog.text
    assert (tmp_path / "run" / "report.html").exists() and not (tmp_path / "run" / "checkpoints").exists()
    assert_same(tmp_path / "run", intact)


def test_the_same_signal_again_ends_at_once_and_says_that_nothing_was_saved(tmp_path, caplog):
    with pytest.raises(SystemExit) as end, Interruption(tmp_path):
        raised(signal.SIGTERM)
        time.sleep(2 * SAME_REQUEST)
        raised(signal.SIGTERM)
    assert end.value.code == 128 + signal.SIGTERM
    assert f"SIGTERM again: ended without saving; `stdp-run resume={tmp_path}` resumes from the last" in caplog.text
