"""What several tests share: real MNIST, a finished run, the command line; and which tests run in one process."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# pytest has a process for each core; small tensors gain nothing from more threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it for its workers
# What is started under nohup, or in the background by a script, ignores these, and so would what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
NO_PLOTS = ("stdp_run.training.plot_writer.PlotWriter.submit", lambda *_: None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Have tests that need the same share a worker: compiled kernels, the finished run, the fixtures of a file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByNeed(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return re.sub(r".*/(engines)/.*|.*/(commands|inference)/.*", r"\1", file)

    return ByNeed(config, log)


@pytest.fixture(scope="session")
def mnist():
    """MNIST from the sources that the program itself uses."""
    from stdp_run.datasets import MNIST

    return MNIST().load()


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """The directory of a run whose network recognises digits; not to be changed."""
    from helpers.runs import run_in

    directory = tmp_path_factory.mktemp("finished") / "run"
    every = ("trainer.log_every=500", "trainer.evaluate_every=1500")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*NO_PLOTS)
        run_in(directory, "n_exc=100", "n_train=3000", "n_label=3000", "n_test=200", *every)
    return directory


@pytest.fixture(autouse=True)
def no_named_folders():
    """Each test begins without folders of custom classes."""
    from stdp_run.config.custom_code import named_folders

    named_folders.clear()


@pytest.fixture
def without_plots(monkeypatch):
    """Have runs in this process make no plots, which are four fifths of the time that a tiny run takes."""
    monkeypatch.setattr(*NO_PLOTS)


@pytest.fixture
def stdp_run(tmp_path):
    """Run `stdp-run` with arguments in a folder of its own; return the finished process."""

    def run(*arguments: str, cwd: Path = tmp_path, timeout: float = 600, **environment: str):
        return subprocess.run(
            [sys.executable, "-m", "stdp_run", *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
