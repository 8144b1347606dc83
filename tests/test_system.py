"""The package runs without what only Linux has: names that macOS and Windows lack are taken away from a process."""

import subprocess
import sys

import pytest
from helpers.runs import TINY, result_of
from test_layers import inside, modules

from stdp_run.system import available_cores, available_threads

TAKEN_AWAY = """
import os, signal, sys
import filelock  # knows these systems itself, and keeps its way to lock files
for module, names in ((os, ("sched_getaffinity", "sched_setaffinity")),
                      (signal, ("SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGHUP", "SIGALRM"))):
    for name in names:
        vars(module).pop(name, None)
for name in ("fcntl", "resource"):
    sys.modules[name] = None  # importing it fails
"""


@pytest.mark.slow
def test_every_module_can_be_imported_and_a_run_be_made_without_what_only_linux_has(tmp_path):
    names = [inside(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in modules()]
    imports = f"import importlib\nfor name in {names}:\n    importlib.import_module(f'stdp_run.{{name}}')\n"
    program = TAKEN_AWAY + imports + "from stdp_run.cli import main\nmain()"
    words = [sys.executable, "-c", program, "debug=smoke", *TINY, "hydra.run.dir=run"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert result_of(tmp_path / "run")["test_images"] == 40


def test_threads_follow_the_environment_that_launchers_set():
    cores = available_cores()
    assert cores >= 1
    for asked, threads in (("", cores), ("1", 1), ("9999", cores), ("0", cores), ("two", cores)):
        assert available_threads({"OMP_NUM_THREADS": asked}) == threads
    assert available_threads({}) == cores
