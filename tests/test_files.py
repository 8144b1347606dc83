"""Files appear intact or not at all, locks keep processes apart, and nothing of another program is removed."""

import errno
import logging
import os
import re
import subprocess
import sys
import threading

import pytest
from filelock import UnixFileLock

from stdp_run import files
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


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "result.json"
    for content in (b"first", bytearray(b"second")):
        files.write_atomically(path, content)
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ["result.json"]


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


def test_others_may_read_a_file_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        files.write_atomically(tmp_path / "result.json", b"{}")
    finally:
        os.umask(before)
    assert (tmp_path / "result.json").stat().st_mode & 0o777 == 0o644


def test_only_what_this_program_left_unfinished_is_removed(tmp_path):
    ours = tmp_path / f".checkpoint.pt.0123{files._UNFINISHED}"
    others = [tmp_path / name for name in (".env.local", ".pre-commit-config.yaml", ".a.b")]
    for file in (ours, *others):
        file.write_bytes(b"")
    folder = tmp_path / f".folder{files._UNFINISHED}"
    folder.mkdir()
    files.remove_unfinished(tmp_path)
    assert not ours.exists()
    assert folder.is_dir() and all(file.exists() for file in others)


def test_a_held_lock_is_refused_and_one_of_a_killed_process_is_free(tmp_path, holder):
    refused = pytest.raises(UserError, match="it: another process is at work there")
    with refused, files.locked(tmp_path / ".lock", wait=False, what="it"):
        pass
    holder.kill()
    holder.wait()
    with files.locked(tmp_path / ".lock", wait=False, what="it"):
        pass


def test_waiting_for_a_lock_is_reported(tmp_path, holder, caplog):
    caplog.set_level(logging.INFO)
    threading.Timer(0.2, holder.stdin.close).start()
    with files.locked(tmp_path / ".lock", wait=True, what="it"):
        assert holder.wait(timeout=10) == 0, "the other process holds the lock as long as it runs"
    assert "it: another process is at work there; waiting for it" in caplog.text


def test_a_file_system_without_locks_is_reported_and_stops_nothing(tmp_path, monkeypatch, caplog):
    def no_locks(self):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(UnixFileLock, "_acquire", no_locks)
    with files.locked(tmp_path / ".lock", wait=False, what="it"):
        pass
    assert "it: this file system has no locks" in caplog.text


def test_a_file_system_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def read_only(self):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(UnixFileLock, "_acquire", read_only)
    with pytest.raises(UserError, match="run: cannot be written: "), files.locked(tmp_path / "lock", True, "run"):
        raise AssertionError


def test_where_a_file_is_to_be_written_is_looked_at_before(tmp_path):
    files.check_place("predict.csv", str(tmp_path / "new.csv"))
    for place in (tmp_path, tmp_path / "none" / "new.csv"):
        with pytest.raises(UserError, match=re.escape(f"predict.csv={place}: must be a file to write, in a folder ")):
            files.check_place("predict.csv", str(place))


def test_what_fails_while_a_lock_is_held_is_not_taken_for_a_lock_that_failed(tmp_path):
    with pytest.raises(OSError, match="full"), files.locked(tmp_path / ".lock", wait=False, what="it"):
        raise OSError("full")


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_folder("mnist") == tmp_path / "stdp_run" / "mnist"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / ".cache" / "stdp_run"


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("x")', "-", "--1"])
def test_a_formula_in_a_csv_is_made_text(text):
    assert files.csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "-1.5", "+3", "-1e-05", "-inf", "a=1", "1-2", "digit 0.png", "'=1"])
def test_numbers_and_other_texts_in_a_csv_stay_as_they_are(text):
    assert files.csv_cell(text) == text
