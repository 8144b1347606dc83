"""Files appear intact or not at all, locks keep processes apart, and nothing of another program is removed."""

import errno
import logging
import os
import re
import subprocess
import sys
import threading
import time

import pytest
from filelock import UnixFileLock

from stdp_run import checkpoint, files
from stdp_run.errors import UserError

HOLD = """
import sys
from pathlib import Path
from stdp_run.files import locked
with locked(Path(sys.argv[1]), wait=False, what="it"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock tmp_path/.lock until its input ends."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_file_is_replaced_with_the_mode_of_the_umask_and_nothing_is_left_beside_it(tmp_path):
    path, before = tmp_path / "result.json", os.umask(0o022)
    try:
        for content in (b"first", bytearray(b"second")):
            files.write_atomically(path, content)
            assert path.read_bytes() == content and path.stat().st_mode & 0o777 == 0o644
            assert os.listdir(tmp_path) == ["result.json"]
    finally:
        os.umask(before)


def test_a_write_that_fails_keeps_the_old_file_and_says_why(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    files.write_atomically(path, b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"result\.json: cannot be written: No space left on device; .*unchanged"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_held_lock_is_refused_and_one_of_a_killed_process_is_free(tmp_path, holder):
    refused = pytest.raises(UserError, match="it: another process is at work in it")
    with refused, files.locked(tmp_path / ".lock", wait=False, what="it"):
        pass
    holder.kill()
    holder.wait()
    with files.locked(tmp_path / ".lock", wait=False, what="it"):
        pass


def test_waiting_for_a_lock_is_reported(tmp_path, holder, caplog):
    caplog.set_level(logging.INFO)
    threading.Timer(2.5, holder.stdin.close).start()
    with files.locked(tmp_path / ".lock", wait=True, what="it"):
        assert holder.wait(timeout=10) == 0, "the other process holds the lock as long as it runs"
    assert "it: another process is at work; waiting for it" in caplog.text


def test_a_waiting_process_gets_the_lock_in_a_folder_that_was_removed(tmp_path, caplog):
    """As a refused command removes it."""
    folder = tmp_path / "run"
    folder.mkdir()
    caplog.set_level(logging.INFO)
    held = []

    def wait():
        with files.locked(folder / ".lock", wait=True, what="it"):
            held.append((folder / ".lock").exists())

    with files.locked(folder / ".lock", wait=False, what="it"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while "waiting for it" not in caplog.text:
            time.sleep(0.01)
        (folder / ".lock").unlink()
        folder.rmdir()
        waiting.join(timeout=10)
    assert held == [True]


def test_a_pipe_is_not_read(tmp_path):
    """Reading it would never end."""
    os.mkfifo(tmp_path / "config.yaml")
    for read in (files.read_record, checkpoint.read_verified):
        with pytest.raises((OSError, UserError), match="not a regular file"):
            read(tmp_path / "config.yaml")


def test_a_file_system_without_locks_is_reported_and_one_that_cannot_be_written_refused(tmp_path, monkeypatch, caplog):
    def failing(number):
        return lambda self: (_ for _ in ()).throw(OSError(number, os.strerror(number)))

    monkeypatch.setattr(UnixFileLock, "_acquire", failing(errno.ENOLCK))
    with files.locked(tmp_path / ".lock", wait=False, what="it"):
        pass
    assert "it: this file system has no locks" in caplog.text
    monkeypatch.setattr(UnixFileLock, "_acquire", failing(errno.EROFS))
    with pytest.raises(UserError, match="it: cannot be written: "), files.locked(tmp_path / "lock", True, "it"):
        raise AssertionError


def test_where_a_file_is_to_be_written_is_looked_at_before(tmp_path):
    files.check_place("predict.csv", str(tmp_path / "new.csv"))
    for place in (tmp_path, tmp_path / "none" / "new.csv"):
        with pytest.raises(UserError, match=re.escape(f"predict.csv={place}: must be a file to write, in a writable")):
            files.check_place("predict.csv", str(place))
    files.check_place("predict.save", str(tmp_path / "new"), folder=True)
    for place in (tmp_path, tmp_path / "none" / "new"):
        with pytest.raises(UserError, match=re.escape(f"predict.save={place}: must be a new folder, in a writable")):
            files.check_place("predict.save", str(place), folder=True)


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_folder("mnist") == tmp_path / "stdp_run" / "mnist"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / ".cache" / "stdp_run"


def test_a_formula_in_a_csv_is_made_text_and_nothing_else_is_changed():
    for text in ("=1+1", "+a", "-a", "@SUM(A1)", '=HYPERLINK("x")', "-", "--1"):
        assert files.csv_cell(text) == f"'{text}"
    for text in ("", "-1.5", "+3", "-1e-05", "-inf", "a=1", "1-2", "digit 0.png", "'=1"):
        assert files.csv_cell(text) == text
    assert files.csv_cell("\t=1\x1b[31m") == r"\t=1\x1b[31m"
