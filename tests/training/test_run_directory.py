import json
import logging
import subprocess
import sys

import numpy as np
import pytest

from stdp_run.errors import UserError
from stdp_run.training import checkpoint
from stdp_run.training.checkpoint import Checkpoint
from stdp_run.training.run_directory import RunDirectory, differences, flat


def content(images: int) -> Checkpoint:
    return Checkpoint({"seed": 1}, {"weight": np.full((2, 3), images, np.float32)}, {"images": images})


def test_the_newest_two_checkpoints_are_kept(tmp_path):
    directory = RunDirectory(tmp_path)
    assert directory.newest() is None
    for images in (250, 9_750, 10_000):
        directory.save(content(images))
    assert sorted(file.name for file in directory.checkpoints.iterdir()) == [
        "images_000000009750.pt",
        "images_000000010000.pt",
    ]
    assert directory.newest().position == {"images": 10_000}
    directory.remove_checkpoints()
    assert not directory.checkpoints.exists()


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, caplog):
    directory = RunDirectory(tmp_path)
    for images in (250, 500):
        directory.save(content(images))
    newest = directory.checkpoints / "images_000000000500.pt"
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    newest.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        assert directory.newest().position == {"images": 250}
    assert f"checkpoint={newest}: damaged" in caplog.text and "the one before it is tried" in caplog.text
    (directory.checkpoints / "images_000000000250.pt").write_bytes(b"")
    with pytest.raises(UserError, match="no checkpoint is left"):
        directory.newest()


def test_a_result_counts_only_if_it_can_be_read(tmp_path, caplog):
    directory = RunDirectory(tmp_path)
    assert directory.result() is None
    checkpoint.save(tmp_path / "checkpoint.pt", content(10))
    for text in ('{"test_accuracy": 0.', "[]", '{"accuracy": 0.5}', '{"test_accuracy": NaN}', '{"test_accuracy": "a"}'):
        (tmp_path / "result.json").write_text(text)
        caplog.clear()
        assert directory.result() is None, text
        assert "result.json: damaged" in caplog.text
    (tmp_path / "result.json").write_text(json.dumps({"test_accuracy": 0.5}))
    assert directory.result() == {"test_accuracy": 0.5}
    (tmp_path / "checkpoint.pt").write_bytes(b"cut")
    assert directory.result() is None, "what it learned is lost"


def test_one_process_at_a_time(tmp_path):
    program = f"""
import sys
from pathlib import Path
from stdp_run.training.run_directory import RunDirectory
with RunDirectory(Path({str(tmp_path)!r})).locked(wait=False):
    print("locked", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    directory = RunDirectory(tmp_path)
    try:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="another process is at work"), directory.locked(wait=False):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with directory.locked(wait=False):  # the system has let go of it
        pass


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.save(content(1))
    leftovers = [tmp_path / ".result.json.x3a", directory.checkpoints / ".images_000000000002.pt.k2"]
    for file in leftovers:
        file.write_bytes(b"half")
    with directory.locked(wait=False):
        assert not any(file.exists() for file in leftovers)
        assert (tmp_path / ".lock").exists()
    assert directory.newest().position == {"images": 1}


def test_differences_name_the_keys():
    asked = {"seed": 1, "rule": {"a_post": 0.1, "name": "x"}, "threads": 4, "n": None}
    there = {"seed": 2, "rule": {"a_post": 0.1, "name": "x", "gain": 3}, "threads": 1, "n": 5}
    assert differences(asked, there, ("threads",)) == [
        "n=null (there: 5)",
        "rule.gain=not set (there: 3)",
        "seed=1 (there: 2)",
    ]
    assert flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a.b.c": 1, "d": 2}
