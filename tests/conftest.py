"""Fixtures that several tests share, the order of the tests, and the rules for skipped ones."""

import importlib
import os
import re
import signal
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.composing import remember_configs
from hypothesis import settings

# pytest has a process for each core; small tensors gain nothing from more threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it for its workers
# A process that nohup or a script starts ignores these signals, and so would the processes of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
remember_configs()
settings.register_profile("ci", derandomize=True, max_examples=25, deadline=None, database=None)
settings.register_profile("weekly", max_examples=500, deadline=None, database=None)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)  # --hypothesis-profile goes first

NO_PLOTS = ("stdp_run.training.plot_writer.PlotWriter.submit", lambda *_: None)
SLOW_SECONDS = 3600 if PROFILE == "weekly" else 900
# Files whose tests take longest, the longest first. Workers take whole files, so that tests share what they compile.
LONGEST = (
    *("test_notebooks", "engines/test_engines_agree", "test_pages", "engines/test_conductances", "rules/test_rules"),
    *("training/test_resuming", "training/test_trainer", "training/test_two_layers", "cli/test_own_rule"),
    *("engines/event/test_golden", "engines/event/test_learning", "engines/event/test_meta"),
    *("cli/test_python", "cli/test_stopping", "cli/test_sweeps", "inference/test_perturbation", "commands/"),
)
# The reasons for which a test may be skipped; any other skipped test fails the session.
MAY_SKIP = (
    *("no GPU", "torch is no CUDA build", "needs two cores", "has no bash", "in /proc", "mounting .* needs root"),
    r"could not import '(norse|snntorch|sinabs|spyx|resource|sklearn|hydra_plugins|optuna|nir|safetensors|torchvision)",
    r"could not import 'neurobench",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give workers whole files, in the order of collection."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(config, items):
    """Put the longest files first; leave weekly tests to `-m weekly`; give slow tests more time."""
    kept = [item for item in items if "weekly" in config.option.markexpr or not item.get_closest_marker("weekly")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items[:] = sorted(kept, key=lambda item: next((ranks[name] for name in LONGEST if name in item.nodeid), len(ranks)))
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("weekly"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


def pytest_terminal_summary(terminalreporter):
    """Name tests that are skipped for a reason that is not allowed, and fail the session."""
    skipped = terminalreporter.stats.get("skipped", [])
    others = [report for report in skipped if not re.search("|".join(MAY_SKIP), str(report.longrepr))]
    for report in others:
        terminalreporter.write_line(f"ERROR {report.nodeid} may not be skipped: {report.longrepr[2]}")
    if others:
        terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def mnist():
    """MNIST from the sources that the program itself uses."""
    from stdp_run.datasets import MNIST

    return MNIST().load()


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """The directory of a run whose network recognises digits, for all workers; no test may change it."""
    from helpers.runs import run_in

    root, every = tmp_path_factory.getbasetemp(), ("trainer.log_every=500", "trainer.evaluate_every=1500")
    directory = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "finished"
    with FileLock(f"{directory}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(*NO_PLOTS)
        if not (directory / "result.json").exists():
            run_in(directory, "n_exc=100", "n_train=3000", "n_label=3000", "n_test=200", *every)
    return directory


@pytest.fixture(autouse=True)
def no_named_folders():
    """Begin each test without folders of custom classes."""
    from stdp_run.config.custom_code import named_folders

    named_folders.clear()


@pytest.fixture
def without_plots(monkeypatch):
    """Let runs in this process draw no plots, which take four fifths of the time of a tiny run."""
    monkeypatch.setattr(*NO_PLOTS)


@pytest.fixture
def torch_settings():
    """Restore torch's number of threads and precision of products after the test."""
    import torch

    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(before[0])
    torch.set_float32_matmul_precision(before[1])


@pytest.fixture
def script(monkeypatch, request):
    """The program in scripts/ after which the test's file is named, as a module."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "scripts")
    return importlib.import_module(request.path.stem.removeprefix("test_"))


@pytest.fixture
def stdp_run(tmp_path):
    """Run `stdp-run` with arguments in a folder of its own; return the finished process, forked from a server."""
    from helpers.commands import run

    return partial(run, cwd=tmp_path)
