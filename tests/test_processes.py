"""Two processes at once: in one directory, with one kernel to compile, and with one cache to fill."""

import re
import subprocess
import sys

import pytest
from helpers.commands import Command
from helpers.runs import TINY, assert_same, run_in

pytestmark = pytest.mark.slow
DIGITS = (*TINY, "dataset=digits", "threads=1")
LOAD = """
import hashlib
import numpy as np
from stdp_run.datasets.mnist import MnistFamily, idx_header, write_idx
from stdp_run.files import cache_folder

class Sevens(MnistFamily):
    name, torchvision = "sevens", {"name": "Sevens"}
    parts = {"train": 3000, "t10k": 500}
    shapes = (3000, 28, 28), (3000,), (500, 28, 28), (500,)
    sha256 = [hashlib.sha256(idx_header(shape) + bytes([7]) * np.prod(shape)).hexdigest() for shape in shapes]

    def downloads(self):
        return {"itself": self.write}

    def write(self, folder):
        for name, shape in self.files.items():
            write_idx(folder / name, np.full(shape, 7, np.uint8))

for number in range(60):
    data = Sevens()
    data.load()
    (cache_folder("sevens") / list(data.files)[number % 4]).unlink(missing_ok=True)
"""


def test_of_two_commands_in_one_directory_one_runs_and_the_other_is_refused(tmp_path):
    words = (*DIGITS, "n_train=900", "encoder.steps=1000", "trainer.log_every=100")
    commands = [Command(*words, "hydra.run.dir=run", cwd=tmp_path) for _ in range(2)]
    printed = {command.pid: command.communicate()[1] for command in commands}
    refused, done = sorted(commands, key=lambda command: command.returncode, reverse=True)
    assert (done.returncode, refused.returncode) == (0, 2)
    [line] = printed[refused.pid].splitlines()
    assert line == f"stdp-run: error: {tmp_path / 'run'}: another process is at work in it"
    log = (tmp_path / "run" / "run.log").read_text()
    assert log.count("test accuracy") == 1 and "at work in it" not in log
    run_in(tmp_path / "alone", *words)
    assert_same(tmp_path / "run", tmp_path / "alone", "files")


def test_of_two_processes_that_need_a_kernel_one_compiles_it_and_both_learn_the_same_bits(tmp_path):
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    commands = [Command(*DIGITS, f"hydra.run.dir={name}", cwd=tmp_path, **cache) for name in "ab"]
    printed = "".join(command.communicate()[1] for command in commands)
    for purpose in ("learning", "inference"):
        assert len(re.findall(f"compiled .* for {purpose}: ", printed)) == 1
    assert_same(tmp_path / "a", tmp_path / "b")


def test_two_processes_that_fill_the_cache_of_a_dataset_never_read_half_a_file(tmp_path, monkeypatch):
    """Each takes a file away after each load, which verifies checksums, so that both read and write all the time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    words = [sys.executable, "-c", LOAD]
    processes = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        errors = process.communicate()[1]
        assert process.returncode == 0 and "is missing" in errors, errors
        assert "bytes that start" not in errors and "was altered" not in errors
