"""The package runs without what only Linux has: names that macOS and Windows lack are taken away from a process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.runs import TINY, result_of
from test_layers import PACKAGE, imported, inside, modules, parsed

from stdp_run.system import available_cores, available_threads

# What Python has on Linux and lacks on macOS or Windows, of what a program like this one might use.
OF_SOME_SYSTEMS = {
    "os": {
        "fork",
        "geteuid",
        "getuid",
        "register_at_fork",
        "sched_getaffinity",
        "sched_setaffinity",
        "statvfs",
        "uname",
    },
    "signal": {"SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGXFSZ", "pthread_kill", "setitimer"},
}
MODULES_OF_SOME_SYSTEMS = {"fcntl", "grp", "msvcrt", "pwd", "resource", "termios"}
ASKS_WHICH_SYSTEM = {("os", "name"), ("sys", "platform"), ("platform", "system")}
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


def without_them(program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run a Python program in a process that lacks what TAKEN_AWAY takes."""
    words = [sys.executable, "-c", TAKEN_AWAY + program, *arguments]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_every_module_can_be_imported_and_a_run_be_made_without_what_only_linux_has(tmp_path):
    command = "from stdp_run.cli import main\nmain()"
    described = without_them(command, "--help", cwd=tmp_path)
    assert described.returncode == 0 and "n_exc=400" in described.stdout, described.stderr
    names = [inside(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in modules()]
    imports = f"import importlib\nfor name in {names}:\n    importlib.import_module(f'stdp_run.{{name}}')\n"
    done = without_them(imports + command, "debug=smoke", *TINY, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert result_of(tmp_path / "run")["test_images"] == 40


def test_what_differs_between_systems_stands_in_one_module():
    found = []
    for path in (path for path in modules() if path != PACKAGE / "system.py"):
        found += [
            (inside(path), name) for name in imported(parsed(path)) if name.split(".")[0] in MODULES_OF_SOME_SYSTEMS
        ]
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module, name = node.value.id, node.attr
                if name in OF_SOME_SYSTEMS.get(module, ()) or (module, name) in ASKS_WHICH_SYSTEM:
                    found.append((inside(path), f"{module}.{name}"))
    assert not found


def test_threads_follow_the_environment_that_launchers_set():
    cores = available_cores()
    assert cores >= 1
    assert available_threads({}) == available_threads({"OMP_NUM_THREADS": ""}) == cores
    assert available_threads({"OMP_NUM_THREADS": "1"}) == 1
    assert available_threads({"OMP_NUM_THREADS": "9999"}) == cores
    assert available_threads({"OMP_NUM_THREADS": "0"}) == available_threads({"OMP_NUM_THREADS": "two"}) == cores
