"""Runs and sweeps that are stopped by real signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.runs import figures

LONG = ("n_exc=40", "n_label=1000", "n_test=100", "trainer.log_every=500", "encoder.steps=100")
TROUBLE = ("Traceback", "Exception")


class Command:
    """A command in a process group of its own, as a shell starts it."""

    def __init__(self, folder: Path, *arguments: str):
        self.folder = folder
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        command = [sys.executable, "-m", "stdp_run", *arguments, *LONG]
        self.process = subprocess.Popen(command, cwd=folder, start_new_session=True, **pipes)

    def stop(self, *numbers: int, group: bool = False, wait_for: tuple[str, int] = ("metrics.jsonl", 1)) -> str:
        """Send signals once there are enough files of a name; return what was printed."""
        name, count = wait_for
        deadline = time.monotonic() + 300
        while sum(file.stat().st_size > 0 for file in self.folder.rglob(name)) < count:
            assert self.process.poll() is None and time.monotonic() < deadline, self.process.communicate()
            time.sleep(0.01)
        for number in numbers:
            (os.killpg if group else os.kill)(self.process.pid, number)
            time.sleep(0.3)
        printed, _ = self.process.communicate(timeout=300)
        assert self.process.returncode in (128 + numbers[0], -numbers[-1]), printed
        assert not any(word in printed for word in TROUBLE), printed
        return printed


@pytest.fixture
def start(tmp_path):
    """Start a command in a folder of its own."""
    started = []

    def command(*arguments: str) -> Command:
        started.append(Command(tmp_path, *arguments))
        return started[-1]

    yield command
    for each in started:
        each.process.kill()
        each.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 10))])
def test_a_signal_saves_a_run(start, tmp_path, number):
    printed = start("hydra.run.dir=run").stop(number)
    assert f"stdp-run: ended by {signal.Signals(number).name}\n" in printed
    assert list(tmp_path.glob("run/checkpoints/images_*.pt")) and not (tmp_path / "run/result.json").exists()


@pytest.mark.slow
def test_a_signal_before_learning_ends_at_once_and_leaves_nothing(tmp_path):
    for seconds in ("0.3", "0.8", "1.5"):
        command = ["timeout", "-s", "INT", seconds, sys.executable, "-m", "stdp_run", "hydra.run.dir=run"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_signal_while_compiling_ends_at_once(start, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    printed = start("hydra.run.dir=run", "dataset=digits").stop(signal.SIGTERM, wait_for=("config.yaml", 2))
    assert "stopped; `stdp-run resume=" in printed and printed.endswith("stdp-run: ended by SIGTERM\n")
    assert not (tmp_path / "run/checkpoints").exists(), "nothing was learned"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_sweep_with_its_job(start, tmp_path, number):
    printed = start("-m", "seed=1,2").stop(number)
    assert f"ended by {number.name}; the same command resumes the sweep" in printed
    assert len(list(tmp_path.rglob("images_*.pt"))) == 1, "the first job saves, and no other begins"
    assert not list(tmp_path.rglob("error.txt"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "numbers, group", [((signal.SIGINT,), True), ((signal.SIGINT, signal.SIGINT), True), ((signal.SIGTERM,), False)]
)
def test_a_signal_ends_a_sweep_with_jobs_side_by_side_and_the_same_command_resumes(start, tmp_path, numbers, group):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    command = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "n_train=9000", "seed=1,2")
    printed = start(*command, "trainer.checkpoint_every=1000").stop(*numbers, group=group, wait_for=("images_*.pt", 2))
    assert "the same command resumes the sweep" in printed
    done = subprocess.run(
        [sys.executable, "-m", "stdp_run", *command, *LONG], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and "resumed after" in done.stderr, done.stderr
    assert [figures(file.parent)["train_images"] for file in tmp_path.rglob("result.json")] == [9000, 9000]
