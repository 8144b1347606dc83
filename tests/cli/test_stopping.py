"""Sweeps that are stopped by real signals, at every part of a job and with every launcher of this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.runs import TINY

pytestmark = pytest.mark.slow
TROUBLE = ("Traceback", "Warning", "leaked", "Exception")
LONG = ("n_exc=60", "n_train=60000", "n_label=1000", "n_test=100", "trainer.log_every=500")


class Sweep:
    """A sweep in a process group of its own, as a shell has it."""

    def __init__(self, folder: Path, *arguments: str):
        self.folder = folder
        command = [sys.executable, "-m", "stdp_run", "-m", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, cwd=folder, start_new_session=True, **pipes)

    def found(self, name: str) -> list[Path]:
        """Return the files of a name that hold something."""
        return [file for file in self.folder.rglob(name) if file.stat().st_size]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 600
        while not condition():
            assert self._process.poll() is None and time.monotonic() < deadline, self._process.communicate()
            time.sleep(0.01)

    def signal(self, number: int, group: bool = False) -> None:
        """Send a signal to the sweep's process, or as a terminal does to all."""
        (os.killpg if group else os.kill)(self._process.pid, number)

    def end(self) -> tuple[int, str]:
        """Return the exit code and what was printed."""
        output, errors = self._process.communicate(timeout=600)
        return self._process.returncode, output + errors


@pytest.fixture
def sweep(tmp_path):
    begun = []

    def start(*arguments: str) -> Sweep:
        begun.append(Sweep(tmp_path, *arguments))
        return begun[-1]

    yield start
    for each in begun:
        if each._process.poll() is None:
            each.signal(signal.SIGKILL, group=True)
        each.end()


AT_WORK = [
    (signal.SIGINT, "hydra.yaml"),
    (signal.SIGTERM, "events.*"),
    (signal.SIGHUP, "confusion.png"),
    (signal.SIGUSR1, "checkpoint.pt"),
    (signal.SIGINT, "result.json"),
    (signal.SIGTERM, "report.html"),
]


@pytest.mark.parametrize("number, file", AT_WORK, ids=[f"{number.name}-{file}" for number, file in AT_WORK])
def test_a_signal_ends_a_sweep_with_the_job_at_work(sweep, number, file):
    stopped = sweep(*TINY, "seed=1,2,3")
    stopped.wait_for(lambda: bool(stopped.found(file)))
    stopped.signal(number)
    code, printed = stopped.end()
    assert code == 128 + number, printed
    assert not any(word in printed for word in TROUBLE), printed
    assert f"ended by {number.name}; the same command resumes the sweep" in printed
    assert len(stopped.found("hydra.yaml")) <= 1 + (file == "report.html"), "no further job has begun"
    assert len(stopped.found("report.html")) == len(stopped.found("result.json"))


@pytest.mark.parametrize(
    "launcher, number, group",
    [
        ("joblib", signal.SIGINT, True),
        ("joblib", signal.SIGTERM, False),
        ("joblib", signal.SIGHUP, True),
        ("submitit_local", signal.SIGTERM, False),
    ],
)
def test_all_jobs_side_by_side_save_before_the_sweep_ends(sweep, launcher, number, group):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    jobs = ("hydra.launcher.n_jobs=2", "seed=1,2,3") if launcher == "joblib" else ("seed=1,2",)
    stopped = sweep(f"hydra/launcher={launcher}", *LONG, *jobs)
    stopped.wait_for(lambda: len(stopped.found("metrics.jsonl")) == 2)
    stopped.signal(number, group)
    code, printed = stopped.end()
    assert code == 128 + number, printed
    assert not any(word in printed for word in TROUBLE), printed
    assert len({file.parent for file in stopped.found("images_*.pt")}) == 2
    logs = [file.read_text() for file in stopped.found("run.log")]
    assert sum("saved after" in log and f"{number.name}: stopped" in log for log in logs) == 2
    assert not stopped.found("error.txt") and len(stopped.found("config.yaml")) <= 2 * 2


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds processes in /proc")
def test_a_second_signal_does_not_wait_for_jobs_side_by_side(sweep):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    stopped = sweep("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *LONG, "seed=1,2")
    stopped.wait_for(lambda: len(stopped.found("metrics.jsonl")) == 2)
    workers = workers_of(stopped.folder)
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)  # it never saves
    stopped.signal(signal.SIGINT, group=True)
    stopped.wait_for(lambda: bool(stopped.found(".stop")))
    stopped.signal(signal.SIGINT, group=True)
    code, printed = stopped.end()
    assert code == 128 + signal.SIGINT and "Traceback" not in printed, printed
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def workers_of(folder: Path) -> list[int]:
    """Return the processes that joblib has started in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if "LokyProcess" in (process / "cmdline").read_text() and (process / "cwd").resolve() == folder.resolve():
                found.append(int(process.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds processes in /proc")
def test_jobs_side_by_side_end_when_their_sweep_is_killed(sweep):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    killed = sweep("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *LONG, "seed=1,2")
    killed.wait_for(lambda: len(killed.found("metrics.jsonl")) == 2)
    killed.signal(signal.SIGKILL)
    deadline = time.monotonic() + 120
    while workers_of(killed.folder):
        assert time.monotonic() < deadline, "workers live on without their sweep"
        time.sleep(0.1)
    assert killed.end()[0] == -signal.SIGKILL and not killed.found("result.json")
