"""Runs that are stopped and resumed: in the test's own process, and, marked slow, in processes that are killed."""

import errno
import logging
import os
import random
import re
import shutil
import signal
import time
from functools import cache
from pathlib import Path

import pytest
from helpers.commands import Command, run
from helpers.runs import Killed, assert_same, contents, intact_run, interrupted, kill, killed_run, run_in
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stdp_run import checkpoint
from stdp_run.errors import UserError
from stdp_run.training.signals import Stopped, end_at_once

SMALL = (
    *("dataset=digits", "n_exc=12", "n_train=500", "n_label=200", "n_test=100", "encoder.steps=60"),
    *("trainer.log_every=100", "trainer.label_window=200", "trainer.evaluate_every=250", "trainer.plot_every=200"),
    *("trainer.schedule=cosine", "trainer.checkpoint_every=60"),
)
TINY = (
    *("dataset=digits", "n_exc=20", "n_train=30", "n_label=20", "n_test=20", "encoder.steps=50"),
    *("trainer.log_every=10", "trainer.evaluate_every=15", "trainer.schedule=cosine"),
)
# The network of Diehl & Cook 2015 in small: potentials, conductances and traces are in the checkpoint too.
RUNNING_ON = (
    *("experiment=diehl_cook_2015_100", *TINY, "n_exc=6", "n_train=20", "encoder.rest_steps=24"),
    *("encoder.max_rate_hz=600", "encoder.max_repeats=1", "rule.w_norm=20", "neuron.theta_start=12"),
)
KINDS = {
    "event": TINY,
    "by class": (*TINY, "trainer.order=by_class", "trainer.evaluate_every=null", "epochs=2"),
    "torch": (*TINY, "engine=torch", "batch_size=4"),
    "integers": ("rule=post_pre_int", *TINY, "trainer.schedule=constant"),
    "running on, event": (*RUNNING_ON, "engine=event"),
    "running on, torch": (*RUNNING_ON, "engine=torch"),
}
OPERATIONAL = ("config", "files")  # parts that differ where a command resumes with other operational keys
PLOTS = ("plots", "images", "files")  # parts that a run without plots lacks
MARKS = {"event": (), "integers": pytest.mark.slow, "running on, event": pytest.mark.slow}
EACH_KIND = [pytest.param(kind, marks=MARKS.get(kind, pytest.mark.weekly)) for kind in KINDS]
intact = intact_run(*SMALL)


def terminate() -> None:
    """Send this process the signal of `kill PID`."""
    os.kill(os.getpid(), signal.SIGTERM)


def fail() -> None:
    """Fail as a write to a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def as_command(without_plots):
    """Let a signal end this process as it ends a command: by SystemExit."""
    before = signal.signal(signal.SIGTERM, end_at_once)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """The directories of runs without interruption and without plots, by kind."""
    folder = tmp_path_factory.mktemp("alike")

    @cache
    def of(kind):
        run_in(folder / kind, *KINDS[kind])
        return folder / kind

    return of


def live(run: Path, words: tuple[str, ...], number: int = 10**6, act=kill) -> bool:
    """Begin or resume a run, which `act` interrupts at a change of a file; return whether it came to an end."""
    try:
        with interrupted(run, number, act):
            run_in(run, *words)
    except (Killed, Stopped, SystemExit, OSError, UserError):
        return False
    return True


# Each life of a run ends at one of its changes of files, and may have other operational settings than the last.
CHANGES, ACTS = st.integers(1, 80), st.sampled_from([kill, terminate])
OPERATIONS = st.sampled_from([("1", "10"), ("2", "4"), ("null", "null")])
LIVES = st.lists(st.tuples(CHANGES, ACTS, OPERATIONS), min_size=1, max_size=4)


@pytest.mark.usefixtures("as_command")
@pytest.mark.parametrize("kind", EACH_KIND)
@settings(max_examples=settings.default.max_examples // 8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives=LIVES)
@example(lives=[(22, kill, ("1", "10")), (22, terminate, ("2", "4"))])
def test_however_a_run_is_interrupted_it_ends_as_if_nothing_had_happened(kind, lives, alike, tmp_path_factory):
    run, words = tmp_path_factory.mktemp("lives") / "run", KINDS[kind]
    run.mkdir()
    for number, act, (threads, every) in lives:
        live(run, (*words, f"threads={threads}", f"trainer.checkpoint_every={every}"), number, act)
    assert live(run, words)
    assert_same(run, alike(kind), "config")
    kept = checkpoint.load(run / "checkpoint.pt").state().persistent
    assert ({"v", "g_e", "inhibitory_v", "x", "y", "y2"} <= kept.keys()) == ("running on" in kind)


@pytest.mark.slow
@pytest.mark.usefixtures("as_command")
@pytest.mark.parametrize("act", [kill, fail])
def test_a_run_that_ends_at_any_write_is_continued_by_the_same_command(act, alike, tmp_path):
    words, ends = (*TINY, "trainer.checkpoint_every=10"), []
    for number in range(1, 65, 3 if act is fail else 1):
        run = tmp_path / f"run {number}"
        run.mkdir()
        ends.append(live(run, words, number, act))
        assert live(run, words)
        assert_same(run, alike("event"), "config")
    assert sum(ends) < len(ends) * 2 / 3 and ends[-1], "the run has about 50 changes of files; some may fail"


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The directory of a run that was killed between two checkpoints."""
    directory = killed_run(tmp_path_factory.mktemp("killed") / "run", 400, *SMALL)
    assert len(list((directory / "checkpoints").iterdir())) == 2
    return directory


def test_a_killed_run_ends_with_all_plots(killed, intact, tmp_path, caplog):
    run = Path(shutil.copytree(killed, tmp_path / "run"))
    with caplog.at_level(logging.INFO):
        run_in(run, *SMALL)
    assert "resumed after 360 images" in caplog.text
    assert_same(run, intact)


def test_operational_settings_may_change_and_the_engine_stays(killed, intact, without_plots, tmp_path, monkeypatch):
    run = Path(shutil.copytree(killed, tmp_path / "run"))
    changed = ("threads=1", "trainer.checkpoint_seconds=5", "trainer.keep_checkpoints=true", "n_exc=12")
    monkeypatch.setattr("stdp_run.training.preparation.choose", lambda model, options: (options.engine, options.device))
    run_in(run, f"resume={run}", *changed)
    assert_same(run, intact, *OPERATIONAL, *PLOTS)
    saved = checkpoint.load(run / "checkpoint.pt")
    assert (saved.config["threads"], saved.config["engine"], saved.engine) == (1, "auto", ["event", "cpu"])
    kept = [int(file.stem.split("_")[1]) for file in (run / "checkpoints").iterdir()]
    assert sorted(kept) == [300, 360, 420, 480, 500]


def test_a_complete_run_is_left_alone(intact, tmp_path, caplog, capsys):
    assert not (intact / "checkpoints").exists(), "they are removed when nothing is left to resume"
    before = contents(intact)
    with caplog.at_level(logging.INFO):
        accuracy = run_in(intact, *SMALL)
    assert "this run is complete; nothing to do" in caplog.text
    assert f"{accuracy:.2%}" in capsys.readouterr().out
    run_in(intact, *SMALL, job=0)
    assert not capsys.readouterr().out, "in a sweep a table ends all jobs"
    assert contents(intact) == before


def test_the_judged_readout_is_marked_and_logged(tmp_path, capsys, without_plots):
    accuracy = run_in(tmp_path, *TINY, "evaluator.readout=proportion")
    marked = [row.split()[2] for row in capsys.readouterr().out.splitlines() if row.endswith("<- evaluator.readout")]
    assert marked == ["proportion"]
    logged = re.findall(r"test accuracy (.*)", (tmp_path / "run.log").read_text())
    assert logged == [f"{accuracy:.2%} (proportion)"]


# Real processes -------------------------------------------------------------------------------------------------------

EVENT = (
    *("n_exc=60", "n_train=3000", "n_label=500", "n_test=300", "trainer.checkpoint_every=200"),
    *("trainer.evaluate_every=1200", "trainer.plot_every=1500", "trainer.schedule=cosine"),
)


@pytest.mark.slow
def test_killed_four_times_a_run_ends_as_if_nothing_had_happened(tmp_path):
    choose, folder, resumed_at = random.Random(4), tmp_path / "run" / "checkpoints", set()
    for _ in range(4):
        before, command = set(folder.glob("*.pt")), Command(*EVENT, "hydra.run.dir=run", cwd=tmp_path)
        while command.returncode is None and not set(folder.glob("*.pt")) - before:
            time.sleep(0.01)
        time.sleep(choose.uniform(0, 0.2))
        command.kill()
        resumed_at |= set(re.findall(r"resumed after (\d+) images", command.communicate()[1]))
    assert len(resumed_at) > 1
    for name in ("run", "intact"):
        assert run(*EVENT, f"hydra.run.dir={name}", cwd=tmp_path).returncode == 0
    assert_same(tmp_path / "run", tmp_path / "intact")
