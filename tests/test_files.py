"""Files appear intact or not at all; locks keep processes apart."""

import errno
import logging
import os
import shutil
import threading
import time
from functools import partial

import pytest
from filelock import UnixFileLock
from helpers.errors import message_of

from stdp_run import files


def raising(number):
    """Return a function that fails with an error of the system."""

    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_write_that_fails_keeps_the_old_file_and_says_why(tmp_path):
    path = tmp_path / "result.json"
    path.write_bytes(b"older")
    files.write_atomically(path, b"old")
    for function in ("fsync", "replace"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, function, raising(errno.ENOSPC))
            line = message_of(lambda: files.write_atomically(path, b"new"))
        assert line == f"{path}: cannot be written: No space left on device; the old file is unchanged"
        assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["result.json"]


def test_a_held_lock_is_refused_and_a_released_one_is_free(tmp_path):
    def take():
        with files.locked(tmp_path / ".lock", wait=False, what="it"):
            return "free"

    with files.locked(tmp_path / ".lock", wait=False, what="it"):
        assert message_of(take) == "it: another process is at work in it"
    assert take() == "free"


def test_a_waiting_process_gets_the_lock_in_a_folder_that_was_removed(tmp_path, caplog):
    """A refused command removes its folder."""
    lock, held = tmp_path / "run" / ".lock", []
    lock.parent.mkdir()
    caplog.set_level(logging.INFO)

    def wait():
        with files.locked(lock, wait=True, what="it"):
            held.append(lock.exists())

    with files.locked(lock, wait=False, what="it"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while "it: another process is at work; waiting for it" not in caplog.text:
            time.sleep(0.01)
        assert not held
        shutil.rmtree(lock.parent)
    waiting.join(timeout=10)
    assert held == [True]


def test_a_file_system_without_locks_is_reported_and_one_that_cannot_be_written_refused(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(UnixFileLock, "_acquire", raising(errno.ENOLCK))
    with files.locked(tmp_path / ".lock", wait=False, what="it"):
        assert "it: this file system has no locks" in caplog.text
    monkeypatch.setattr(UnixFileLock, "_acquire", raising(errno.EROFS))
    assert message_of(files.locked(tmp_path / "lock", True, "it").__enter__).startswith("it: cannot be written: ")


def test_where_a_file_is_to_be_written_is_looked_at_before(tmp_path):
    for folder, allowed in ((False, "a file to write"), (True, "a new folder")):
        files.check_place("predict.save", str(tmp_path / "new"), folder)
        for place in (tmp_path, tmp_path / "none" / "new"):
            line = message_of(partial(files.check_place, "predict.save", str(place), folder))
            assert line == f"predict.save={place}: must be {allowed}, in a writable folder"


def test_a_formula_in_a_csv_is_made_text_and_nothing_else_is_changed():
    for text in ("=1+1", "+a", "-a", "@SUM(A1)", '=HYPERLINK("x")', "-", "--1"):
        assert files.csv_cell(text) == f"'{text}"
    for text in ("", "-1.5", "+3", "-1e-05", "-inf", "a=1", "1-2", "digit 0.png", "'=1"):
        assert files.csv_cell(text) == text
    assert files.csv_cell("\t=1\x1b[31m") == r"\t=1\x1b[31m"
