"""Long runs and many runs keep no memory, file or thread."""

import os
import threading
from pathlib import Path

import pytest
from helpers.runs import run_in, struck

import stdp_run

pytestmark = pytest.mark.slow
FEW = ("dataset=digits", "n_exc=10", "n_train=20", "n_test=10", "encoder.steps=40")
PROCESS = Path("/proc/self")
if not PROCESS.exists():
    pytest.skip("memory and files of a process are in /proc", allow_module_level=True)


def memory() -> int:
    """Return the resident memory of this process in bytes."""
    return int((PROCESS / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def open_files() -> int:
    """Return the number of files that this process has open, without fonts: Matplotlib keeps up to 64."""
    paths = [os.path.realpath(entry) for entry in (PROCESS / "fd").iterdir()]
    return sum(not path.endswith(".ttf") for path in paths)


def test_memory_is_the_same_after_2000_and_10000_images(tmp_path, without_plots):
    found, few = {}, ("n_exc=400", "n_train=2000", "n_label=100", "n_test=50", "encoder.steps=50", "epochs=5")
    with struck(2000, lambda: found.update(early=memory())), struck(10000, lambda: found.update(late=memory())):
        run_in(tmp_path / "run", *few, "trainer.log_every=1000", "trainer.checkpoint_every=500")
    # The spike counts of 8,000 images would take 12.8 MB.
    assert found["late"] - found["early"] < 4e6


def test_files_and_threads_are_the_same_after_two_and_five_runs(tmp_path):
    left = []
    for seed in range(5):
        stdp_run.run(*FEW, f"seed={seed}", f"hydra.run.dir={tmp_path / str(seed)}")
        left.append((open_files(), threading.active_count()))
    assert left[4] == left[1]
