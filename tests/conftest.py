"""What several tests share: real MNIST, and the command line run as a person runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# matplotlib and numba write caches; one thread of BLAS keeps tests light on small machines.
os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture(scope="session")
def mnist():
    """MNIST from the sources that the program itself uses."""
    from stdp_run.datasets import MNIST

    return MNIST(height=28, width=28, root=None).load()


@pytest.fixture
def stdp_run(tmp_path):
    """Run `stdp-run` with arguments in a folder of its own; return the finished process."""

    def run(*arguments: str, cwd: Path = tmp_path, timeout: float = 600, **environment: str):
        return subprocess.run(
            [sys.executable, "-m", "stdp_run.cli", *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
