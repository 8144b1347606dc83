"""Runs and sweeps that are stopped by real signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.commands import Command
from helpers.runs import figures

LONG = ("n_exc=40", "n_label=1000", "n_test=100", "trainer.log_every=500", "encoder.steps=100")


@pytest.fixture
def start(tmp_path):
    """Start a command in a folder of its own, and in a process group of its own, as a shell starts it."""
    started = []

    def command(*arguments: str, **environment: str) -> Command:
        started.append(Command(*arguments, *LONG, cwd=tmp_path, start_new_session=True, **environment))
        return started[-1]

    yield command
    for each in started:
        each.kill()
        each.communicate()


def stopped(command: Command, folder: Path, number: int, send=os.kill, after=("metrics.jsonl", 1)) -> str:
    """Send a signal once there are so many files of a name; return what was printed as errors."""
    name, count = after
    deadline = time.monotonic() + 300
    while sum(file.stat().st_size > 0 for file in folder.rglob(name)) < count:
        assert command.returncode is None and time.monotonic() < deadline, command.communicate()
        time.sleep(0.01)
    send(command.pid, number)
    _, printed = command.communicate(timeout=300)
    assert command.returncode in (128 + number, -number), printed
    assert "Traceback" not in printed and "Exception" not in printed
    return printed


@pytest.mark.parametrize("number", [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 10))])
def test_a_signal_saves_a_run(start, tmp_path, number):
    printed = stopped(start("hydra.run.dir=run"), tmp_path, number)
    name = signal.Signals(number).name
    assert f"{name}: stopped; `stdp-run resume={tmp_path}/run` resumes" in printed
    assert f"stdp-run: ended by {name}\n" in printed
    assert list(tmp_path.glob("run/checkpoints/images_*.pt")) and not (tmp_path / "run/result.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("module", ["hydra", "torch", "numba"])
def test_a_signal_while_python_imports_ends_at_once_and_leaves_nothing(tmp_path, module):
    words = [sys.executable, "-X", "importtime", "-m", "stdp_run", "hydra.run.dir=run"]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert any(line.split()[-1] == module for line in process.stderr), "it was imported"
        process.send_signal(signal.SIGINT)
        printed = process.stderr.read()
    assert process.returncode in (-2, 130) and "Traceback" not in printed and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_signal_while_compiling_ends_at_once(start, tmp_path):
    command = start("hydra.run.dir=run", "dataset=digits", XDG_CACHE_HOME=str(tmp_path / "cache"))
    printed = stopped(command, tmp_path, signal.SIGTERM, after=("config.yaml", 2))
    assert "stopped; `stdp-run resume=" in printed and printed.endswith("stdp-run: ended by SIGTERM\n")
    assert not (tmp_path / "run/checkpoints").exists(), "nothing was learned"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_sweep_with_its_job(start, tmp_path, number):
    printed = stopped(start("-m", "seed=1,2"), tmp_path, number)
    assert f"ended by {number.name}; the same command resumes the sweep" in printed
    assert len(list(tmp_path.rglob("images_*.pt"))) == 1, "the first job saves, and no other begins"
    assert not list(tmp_path.rglob("error.txt"))


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_with_jobs_side_by_side_and_the_same_command_resumes(start, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    command = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "n_train=9000", "seed=1,2")
    command = (*command, "trainer.checkpoint_every=1000")
    printed = stopped(start(*command), tmp_path, signal.SIGINT, os.killpg, after=("images_*.pt", 2))
    assert "the same command resumes the sweep" in printed
    again = start(*command)
    _, printed = again.communicate()
    assert again.returncode == 0 and "resumed after" in printed, printed
    assert [figures(file.parent)["train_images"] for file in tmp_path.rglob("result.json")] == [9000, 9000]
