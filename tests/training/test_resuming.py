"""Runs that are stopped and resumed: in the test's own process, and, marked slow, in processes that are killed."""

import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.errors import message_of
from helpers.runs import Killed, assert_same, contents, intact_run, kill, killed_run, left_by, result_of, run_in

from stdp_run import checkpoint
from stdp_run.evaluation import metrics
from stdp_run.training import result
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.signals import Stopped
from stdp_run.training.tracking import Tracker

SMALL = (
    *("dataset=digits", "n_exc=12", "n_train=500", "n_label=200", "n_test=100", "encoder.steps=60"),
    *("trainer.log_every=100", "trainer.label_window=200", "trainer.evaluate_every=250", "trainer.plot_every=200"),
    *("trainer.schedule=cosine", "trainer.checkpoint_every=60"),
)
OPERATIONAL = ("config", "files")  # parts that differ where a command resumes with other operational keys
PLOTS = ("plots", "images", "files")  # parts that a run without plots lacks
intact = intact_run(*SMALL)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The directory of a run that was killed between two checkpoints."""
    directory = killed_run(tmp_path_factory.mktemp("killed") / "run", 400, *SMALL)
    assert len(list((directory / "checkpoints").iterdir())) == 2
    return directory


def test_a_killed_run_ends_as_if_nothing_had_happened(killed, intact, tmp_path, caplog):
    run = Path(shutil.copytree(killed, tmp_path / "run"))
    with caplog.at_level(logging.INFO):
        run_in(run, *SMALL)
    assert "resumed after 360 images" in caplog.text
    assert_same(run, intact)


EACH_8 = ("dataset=digits", "n_train=24", "n_label=8", "n_test=8", "trainer.log_every=8", "trainer.checkpoint_every=8")
# The network of Diehl & Cook 2015 in small: potentials, conductances and traces are in the checkpoint too.
RUNNING_ON = (
    *("experiment=diehl_cook_2015_100", *EACH_8, "n_exc=6", "encoder.steps=40", "encoder.rest_steps=24"),
    *("encoder.max_rate_hz=600", "encoder.max_repeats=1", "rule.w_norm=20", "neuron.theta_start=12"),
)
KINDS = {
    "torch": ("engine=torch", "batch_size=4", "n_exc=8", "encoder.steps=20", *EACH_8),
    "integers": ("rule=post_pre_int", "n_exc=8", "encoder.steps=60", *EACH_8),
    "running on, torch": (*RUNNING_ON, "engine=torch"),
    "running on, event": (*RUNNING_ON, "engine=event"),
}


@pytest.mark.parametrize("kind", ["torch", *(pytest.param(kind, marks=pytest.mark.slow) for kind in [*KINDS][1:])])
def test_any_network_resumes_to_the_last_bit(kind, tmp_path, without_plots, caplog):
    run_in(tmp_path / "intact", *KINDS[kind])
    run = killed_run(tmp_path / "killed", 16, *KINDS[kind])
    with caplog.at_level(logging.INFO):
        run_in(run, *KINDS[kind])
    assert re.search(r"resumed after (8|16) images", caplog.text)
    assert_same(run, tmp_path / "intact")
    kept = checkpoint.load(run / "checkpoint.pt").state().persistent
    assert ({"v", "g_e", "inhibitory_v", "x", "y", "y2"} <= kept.keys()) == ("running on" in kind)


def signalled(patch: pytest.MonkeyPatch, module, name: str, call: int) -> None:
    """Have a signal come just before a call of a function of the program."""
    work, calls = getattr(module, name), []

    def send(*arguments):
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return work(*arguments)

    patch.setattr(module, name, send)


# Labels and accuracy are found after 250 and 500 images, and then for the result.
@pytest.mark.parametrize(
    ("module", "name", "call"),
    [(Tracker, "scalars", 3), (metrics, "label_neurons", 1), (metrics, "label_neurons", 3), (metrics, "evaluate", 3)],
)
def test_a_signal_saves_and_says_how_to_resume(
    intact, without_plots, tmp_path, monkeypatch, caplog, module, name, call
):
    run = tmp_path / "my run"
    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        signalled(patch, module, name, call)
        run_in(run, *SMALL)
    assert stopped.value.signal == signal.SIGTERM and not (run / "result.json").exists()
    assert f"SIGTERM: stopped; `stdp-run 'resume={run}'` resumes" in (run / "run.log").read_text()
    with caplog.at_level(logging.INFO):
        run_in(run, f"resume={run}")
    [images] = re.findall(r"resumed after (\d+) images", caplog.text)
    assert 250 <= int(images) < 500 if module is Tracker or call == 1 else images == "500"
    assert_same(run, intact, *OPERATIONAL, *PLOTS)


def test_a_run_stopped_while_it_writes_its_end_is_complete(intact, without_plots, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        signalled(patch, result, "write_result", 1)
        run_in(tmp_path / "run", *SMALL)
    assert (tmp_path / "run" / "report.html").exists()
    assert_same(tmp_path / "run", intact, *PLOTS)


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """The directory of a run that was killed before its first checkpoint."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RunDirectory, "save", lambda *_: kill())
        run_in(tmp_path / "begun", *SMALL)
    return tmp_path / "begun"


def test_a_run_killed_before_its_first_checkpoint_begins_again(begun, intact, without_plots):
    run_in(begun, *SMALL)
    assert_same(begun, intact, *PLOTS)


def test_other_settings_are_refused_by_name_and_change_nothing(killed, begun):
    for run in (killed, begun):
        before, elsewhere = contents(run), "choose another hydra.run.dir"
        for words, line in (
            (
                (*SMALL, "n_exc=61", "seed=1"),
                " holds a run with other settings: n_exc=61 (there: 12), seed=1 (there: 0)",
            ),
            ((f"resume={run}", "n_train=300"), " holds a run with other settings: n_train=300 (there: 500)"),
            ((*SMALL, "resume=null"), f" holds a run; resume=auto resumes it, or {elsewhere}"),
            (("mode=eval", "checkpoint=a"), f": holds the files of mode=train; {elsewhere}"),
        ):
            assert message_of(lambda run=run, words=words: run_in(run, *words)).endswith(f"{run}{line}")
        assert contents(run) == before


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


def test_one_directory_holds_one_thing_and_one_process(intact, tmp_path):
    words = ("mode=eval", f"checkpoint={intact}/checkpoint.pt", "n_test=50")
    evaluated = tmp_path / "evaluated"
    run_in(evaluated, *words)
    line = message_of(lambda: run_in(evaluated, *SMALL))
    assert line == f"{evaluated}: holds the files of mode=eval; choose another hydra.run.dir"
    before = contents(tmp_path)
    for other in (words, SMALL):
        with RunDirectory(evaluated).locked(wait=False):
            assert "another process is at work" in message_of(lambda other=other: run_in(evaluated, *other))
    assert contents(tmp_path) == before


def test_the_log_and_the_record_of_a_command(tmp_path, capsys, without_plots):
    run, how = tmp_path / "run", {"tuning": "constants tuned for it", "record": {"overrides.yaml": "- seed=1"}}
    tiny = ("n_train=20", "n_label=20", "n_test=20", "evaluator.readout=proportion")
    assert message_of(lambda: run_in(run, *SMALL, "n_train=9999", **how)) and not contents(run)
    run_in(run, *SMALL, *tiny, **how)
    text = (run / "run.log").read_text()
    assert "constants tuned for it" in text and (run / ".hydra" / "overrides.yaml").read_text() == "- seed=1"
    marked = [row.split()[2] for row in capsys.readouterr().out.splitlines() if row.endswith("<- evaluator.readout")]
    assert marked == ["proportion"]
    for name, accuracy in result_of(run)["accuracy"].items():
        assert (f"test accuracy {accuracy:.2%} ({name})" in text) == (name == "proportion")


# Real processes -------------------------------------------------------------------------------------------------------

EVENT = (
    *("n_exc=60", "n_train=6000", "n_label=3000", "n_test=1000", "trainer.checkpoint_every=400"),
    *("trainer.evaluate_every=2500", "trainer.plot_every=2000", "trainer.schedule=cosine"),
)


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "stdp_run", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen, code: int = 0) -> str:
    """Return what a process said, when it has ended."""
    _, errors = process.communicate(timeout=600)
    assert process.returncode == code and "Traceback" not in errors, errors
    return errors


def wait_for(condition, process: subprocess.Popen) -> None:
    """Wait until a condition holds or the process has ended."""
    deadline = time.monotonic() + 600
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The directory of a run in a process of its own."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    ended(start(folder, *EVENT, "hydra.run.dir=run"))
    return folder / "run"


@pytest.mark.slow
def test_killed_ten_times_a_run_ends_as_if_nothing_had_happened(uninterrupted, tmp_path):
    choose, run, resumed_at = random.Random(4), tmp_path / "run", set()
    for _ in range(10):
        process, events = start(tmp_path, *EVENT, "hydra.run.dir=run"), set(run.glob("events.*"))
        wait_for(lambda events=events: set(run.glob("events.*")) - events, process)  # now it learns
        saved = set(run.glob("checkpoints/*.pt"))
        if choose.randrange(4):
            wait_for(lambda saved=saved: set(run.glob("checkpoints/*.pt")) - saved, process)
        time.sleep(choose.uniform(0, 0.2))
        process.kill()
        resumed_at |= set(re.findall(r"resumed after (\d+) images", process.communicate(timeout=600)[1]))
    ended(start(tmp_path, *EVENT, "hydra.run.dir=run"))
    assert len(resumed_at) > 2, "nearly all kills came before the first checkpoint"
    assert_same(run, uninterrupted)


@pytest.mark.slow
def test_a_signal_saves_and_exits_with_its_own_code(uninterrupted, tmp_path):
    process = start(tmp_path, *EVENT, "trainer.checkpoint_every=null", "hydra.run.dir=run")
    metrics_file = tmp_path / "run" / "metrics.jsonl"
    wait_for(lambda: metrics_file.exists() and metrics_file.stat().st_size, process)
    process.send_signal(signal.SIGINT)
    errors = ended(process, 128 + signal.SIGINT)
    assert not (tmp_path / "run" / "result.json").exists()
    [images] = re.findall(r"saved after (\d+) images", errors)
    where = re.search(r"SIGINT: stopped; `stdp-run resume=(\S+)` resumes", errors)
    assert where, errors
    assert f"resumed after {images} images" in ended(start(tmp_path, f"resume={where[1]}"))
    assert_same(tmp_path / "run", uninterrupted, *OPERATIONAL)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_leaves_the_earlier_checkpoint_usable(uninterrupted, small_disk):
    process = start(small_disk, *EVENT, "hydra.run.dir=run")
    checkpoints, filler = small_disk / "run" / "checkpoints", small_disk / "filler"
    wait_for(lambda: list(checkpoints.glob("images_*.pt")), process)
    with pytest.raises(OSError, match="No space left"), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    errors = ended(process, 2)
    [line] = [line for line in errors.splitlines() if "No space left on device" in line]
    assert line.startswith(f"stdp-run: error: {small_disk}/run"), "it names what cannot be written"
    assert list(checkpoints.glob("images_*.pt"))
    filler.unlink()
    assert "resumed after" in ended(start(small_disk, "resume=run"))
    assert left_by(small_disk / "run")["checkpoint"] == left_by(uninterrupted)["checkpoint"]
