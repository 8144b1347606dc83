"""Runs that are stopped and resumed: in the test's own process, and, marked slow, in ones that are really killed."""

import json
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
from helpers.runs import assert_same, contents, left_by, result_of, run_in

from stdp_run import checkpoint
from stdp_run.errors import UserError
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.tracking import Tracker

SMALL = (
    *("dataset=digits", "n_exc=12", "n_train=500", "n_label=200", "n_test=100", "encoder.steps=60"),
    *("trainer.log_every=100", "trainer.label_window=200", "trainer.evaluate_every=250", "trainer.plot_every=200"),
    *("trainer.schedule=cosine", "trainer.checkpoint_every=60"),
)
# What a command may change when it resumes a run; and what a test leaves out that makes no plots.
OPERATIONAL = ("config", "checkpoint_config", "files")
PLOTS = ("plots", "images")


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """The directory of a run without interruption."""
    directory = tmp_path_factory.mktemp("intact") / "run"
    run_in(directory, *SMALL)
    return directory


def stopped(directory: Path, images: int, how: str) -> None:
    """Start a run, and stop it when it has learned from some images: by a signal, or as if it were killed."""
    write = Tracker.scalars

    def scalars(self, images_seen, values):
        if images_seen == images and how == "killed":
            raise InterruptedError
        write(self, images_seen, values)
        if images_seen == images:
            os.kill(os.getpid(), getattr(signal, how))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tracker, "scalars", scalars)
        run_in(directory, *SMALL)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The directory of a run that was killed between two checkpoints."""
    directory = tmp_path_factory.mktemp("killed") / "run"
    with pytest.raises(InterruptedError):
        stopped(directory, 400, "killed")
    assert len(list((directory / "checkpoints").iterdir())) == 2
    return directory


def copied(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to / "run"))


def test_a_killed_run_ends_as_if_nothing_had_happened(killed, intact, tmp_path, caplog):
    run = copied(killed, tmp_path)
    with caplog.at_level(logging.INFO):
        run_in(run, *SMALL)
    assert "resumed after 360 images" in caplog.text
    assert_same(run, intact)


def test_a_signal_saves_and_says_how_to_resume(intact, without_plots, tmp_path, caplog):
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as stop:
        stopped(tmp_path / "run", 300, "SIGTERM")
    assert stop.value.code == 128 + signal.SIGTERM
    [(images, where)] = re.findall(r"saved after (\d+) images\n.*?`stdp-run resume=(\S+)` resumes", caplog.text)
    assert 300 <= int(images) < 500 and where == str(tmp_path / "run")
    with caplog.at_level(logging.INFO):
        run_in(tmp_path / "run", f"resume={where}")
    assert f"resumed after {images} images" in caplog.text
    assert_same(tmp_path / "run", intact, *OPERATIONAL, *PLOTS)


# The network of Diehl & Cook 2015 in small: potentials, conductances and traces lie in the checkpoint too.
RUNNING_ON = (
    *("experiment=diehl_cook_2015_100", "dataset=digits", "n_exc=6", "n_train=24", "n_label=8", "n_test=8"),
    *("encoder.steps=40", "encoder.rest_steps=24", "encoder.max_rate_hz=600", "encoder.max_repeats=1"),
    *("rule.w_norm=20", "neuron.theta_start=12", "trainer.log_every=8", "trainer.checkpoint_every=8"),
    *("trainer.label_window=8", "trainer.plot_every=null"),
)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "event"])
def test_a_network_that_runs_on_between_images_resumes_to_the_last_bit(engine, tmp_path, monkeypatch, caplog):
    run_in(tmp_path / "intact", *RUNNING_ON, f"engine={engine}")
    write = Tracker.scalars

    def scalars(self, images_seen, values):
        if images_seen == 16:
            raise InterruptedError
        write(self, images_seen, values)

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(Tracker, "scalars", scalars)
        run_in(tmp_path / "killed", *RUNNING_ON, f"engine={engine}")
    with caplog.at_level(logging.INFO):
        run_in(tmp_path / "killed", *RUNNING_ON, f"engine={engine}")
    assert re.search(r"resumed after (8|16) images", caplog.text)
    assert_same(tmp_path / "killed", tmp_path / "intact")
    state = checkpoint.load(tmp_path / "intact" / "checkpoint.pt").state()
    assert {"v", "g_e", "inhibitory_v", "x", "y", "y2"} <= state.persistent.keys()


def test_other_settings_are_refused_by_name(killed, tmp_path):
    run = copied(killed, tmp_path)
    before = contents(run)
    for arguments, named in (
        ((*SMALL, "n_exc=61", "rule.a_post=0.5"), ["n_exc=61 (there: 12)", "rule.a_post=0.5"]),
        ((f"resume={run}", "debug=smoke"), ["n_exc=50 (there: 12)", "n_train=300 (there: 500)"]),
        ((*SMALL, "resume=null"), ["resume=null", "holds a run"]),
    ):
        with pytest.raises(UserError) as error:
            run_in(run, *arguments)
        assert all(item in str(error.value) for item in named) and "\n" not in str(error.value), error.value
        assert "threads" not in str(error.value)
    assert contents(run) == before


CRAFTED = {
    "no progress": (lambda extra: extra.pop("progress"), "progress is missing; must be of type dict"),
    "a word too many": (lambda extra: extra["progress"].update(add=1), "progress holds 9 values; must be images, "),
    "half an image": (lambda extra: extra["progress"].update(images=0.5), "progress.images must be a whole number"),
    "not as many": (lambda extra: extra["progress"]["counts"].pop(), "progress.counts must be 1 arrays"),
    "class 99": (lambda extra: extra["progress"]["classes"][0].fill(99), "progress.part.classes must be 0 to 9"),
    "counts below 0": (lambda extra: extra["progress"]["counts"][0].fill(-1), "progress.part.counts must be 0 or more"),
    "windows": (
        lambda extra: extra["progress"]["estimate"].append([1]),
        "progress.estimate holds 1 values; must be 0, 1",
    ),
    "seconds": (lambda extra: extra.update(wall_seconds=float("nan")), "wall_seconds must be a number of 0 or more"),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_checkpoint_that_no_run_left_is_refused(killed, tmp_path, kind):
    run = copied(killed, tmp_path)
    change, expected = CRAFTED[kind]
    for file in (run / "checkpoints").iterdir():
        saved = checkpoint.load(file)
        change(saved.extra)
        checkpoint.save(file, saved)
    line = message_of(lambda: run_in(run, *SMALL))
    assert line.startswith(f"checkpoint={run / 'checkpoints'}: ") and expected in line


def test_what_does_not_bear_on_results_may_change(killed, intact, without_plots, tmp_path):
    run = copied(killed, tmp_path)
    changed = ("threads=1", "trainer.checkpoint_seconds=5", "trainer.checkpoint_every=null", "n_exc=12")
    run_in(run, f"resume={run}", *changed)
    assert_same(run, intact, *OPERATIONAL, *PLOTS)
    assert RunDirectory(run).config().n_exc == 12


def test_a_complete_run_is_left_alone(intact, tmp_path, caplog, capsys):
    run = copied(intact, tmp_path)
    assert not (run / "checkpoints").exists(), "they are removed when nothing is left to resume"
    before = contents(run)
    with caplog.at_level(logging.INFO):
        accuracy = run_in(run, *SMALL)
    assert "this run is complete; nothing to do" in caplog.text
    assert f"{accuracy:.2%}" in capsys.readouterr().out
    assert contents(run) == before


def test_a_run_and_an_evaluation_never_share_a_directory(intact, without_plots, tmp_path):
    run, checkpoint = copied(intact, tmp_path), f"checkpoint={intact}/checkpoint.pt"
    before = contents(run)
    with pytest.raises(UserError, match=r"hydra\.run\.dir=.*run: must be a directory without a run"):
        run_in(run, "mode=eval", checkpoint, "n_test=50")
    assert contents(run) == before
    evaluated = tmp_path / "evaluated"
    accuracy = run_in(evaluated, "mode=eval", checkpoint, "n_test=50")
    assert run_in(evaluated, "mode=eval", checkpoint, "n_test=50") == accuracy, "an evaluation may be done again"
    with pytest.raises(UserError, match="holds the evaluation of a network"):
        run_in(evaluated, *SMALL)
    directory = RunDirectory(tmp_path / "run")
    for words in (("mode=eval", checkpoint), SMALL):
        with directory.locked(wait=False), pytest.raises(UserError, match="another process is at work"):
            run_in(run, *words)
    assert json.loads((evaluated / "result.json").read_text())["test_images"] == 50


def test_the_log_says_that_constants_are_tuned_and_how_the_run_ended(tmp_path, caplog, capsys, without_plots):
    with caplog.at_level(logging.INFO):
        tiny = ("n_train=20", "n_label=20", "n_test=20", "evaluator.readout=proportion")
        run_in(tmp_path / "run", *SMALL, *tiny, tuning="constants tuned for it")
    assert "constants tuned for it" in caplog.text
    result = result_of(tmp_path / "run")
    assert len(result["accuracy"]) == 4
    marked = [row.split()[2] for row in capsys.readouterr().out.splitlines() if row.endswith("<- evaluator.readout")]
    assert marked == ["proportion"]
    for name, accuracy in result["accuracy"].items():
        assert f"{name} {accuracy:.2%}" + " (evaluator.readout)" * (name == "proportion") in caplog.text


SIGNALS = [signal.SIGINT, signal.SIGHUP]  # the others: tests/cli/test_stopping.py


# Real processes -------------------------------------------------------------------------------------------------------

EVENT = (
    *("n_exc=60", "n_train=6000", "n_label=3000", "n_test=1000", "trainer.checkpoint_every=400"),
    *("trainer.evaluate_every=2500", "trainer.plot_every=2000", "trainer.schedule=cosine"),
)
TORCH = (
    *("engine=torch", "n_exc=20", "n_train=160", "n_label=60", "n_test=40", "encoder.steps=40", "batch_size=4"),
    *("trainer.checkpoint_every=10", "trainer.log_every=40", "trainer.label_window=80", "trainer.evaluate_every=70"),
)
INTEGERS = ("rule=post_pre_int", *EVENT[:-1])


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "stdp_run", *arguments],
        cwd=folder,
        env=dict(os.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process: subprocess.Popen, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def begins(run: Path, process: subprocess.Popen) -> float:
    """Wait until a process has loaded and compiled everything and begins to learn, or ends; return when that was."""
    earlier = set(run.glob("events.*"))
    deadline = time.monotonic() + 600
    while process.poll() is None and not set(run.glob("events.*")) - earlier:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return time.monotonic()


def run_intact(folder: Path, *arguments: str) -> float:
    """Run without interruption in folder/intact; return the seconds from the begin of learning to the end."""
    process = start(folder, *arguments, "hydra.run.dir=intact")
    begun = begins(folder / "intact", process)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run of the event engine, and how long it takes."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder / "intact", run_intact(folder, *EVENT)


def newest_checkpoint(run: Path) -> int:
    """Return after how many images the newest checkpoint of a run was saved; 0 if there is none."""
    return max((int(file.stem.split("_")[1]) for file in run.glob("checkpoints/images_*.pt")), default=0)


def kill_and_resume(folder: Path, arguments: tuple[str, ...], kills: int, seconds: float, seed: int) -> list[int]:
    """Kill a run of `seconds` up to `kills` times, each a while after it has saved up to three times, and let it end.

    Return after how many images it was resumed, each time.
    """
    choose, run = random.Random(seed), folder / "run"
    (n_images,) = (int(each.partition("=")[2]) for each in arguments if each.startswith("n_train="))
    resumed_at = []
    for kill in range(kills + 1):
        process = start(folder, *arguments, "hydra.run.dir=run")
        if kill < kills:
            begins(run, process)
            for _ in range(choose.randint(0, 3)):
                before = newest_checkpoint(run)
                while process.poll() is None and before == newest_checkpoint(run) < n_images:
                    time.sleep(0.005)
            time.sleep(choose.uniform(0, 0.05) * seconds)
            process.kill()
        _, errors = process.communicate(timeout=600)
        resumed_at += [int(n) for n in re.findall(r"resumed after (\d+) images", errors)]
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, errors
            break
    return resumed_at


@pytest.mark.slow
def test_killed_ten_times_a_run_ends_as_if_nothing_had_happened(uninterrupted, tmp_path):
    run, seconds = uninterrupted
    resumed_at = kill_and_resume(tmp_path, EVENT, 10, seconds, seed=4)
    assert len(set(resumed_at)) > 2, "nearly all kills came before the first checkpoint"
    assert_same(tmp_path / "run", run, *OPERATIONAL)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [TORCH, INTEGERS], ids=["torch", "integers"])
def test_killed_and_resumed_on_the_other_engine_and_in_integers(tmp_path, arguments):
    seconds = run_intact(tmp_path, *arguments)
    kill_and_resume(tmp_path, arguments, 2, seconds, seed=2)
    assert_same(tmp_path / "run", tmp_path / "intact", *OPERATIONAL)


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_saves_and_exits_with_its_own_code(uninterrupted, tmp_path, number):
    run, _ = uninterrupted
    process = start(tmp_path, *EVENT, "trainer.checkpoint_every=null", "hydra.run.dir=run")
    metrics_file = tmp_path / "run" / "metrics.jsonl"
    wait_for(lambda: metrics_file.exists() and metrics_file.stat().st_size, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "result.json").exists()
    [images] = re.findall(r"saved after (\d+) images", errors)
    where = re.search(rf"{number.name}: stopped; `stdp-run resume=(\S+)` resumes", errors)
    assert where, errors
    again = start(tmp_path, f"resume={where[1]}")
    _, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    assert f"resumed after {images} images" in errors
    assert_same(tmp_path / "run", run, *OPERATIONAL)


@pytest.mark.slow
def test_a_signal_before_learning_begins_leaves_nothing_to_resume(tmp_path):
    process = start(tmp_path, *EVENT, "hydra.run.dir=run")
    wait_for(lambda: (tmp_path / "run" / "config.yaml").exists(), process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in errors


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.slow
def test_a_full_disk_leaves_the_earlier_checkpoint_usable(uninterrupted, small_disk, stdp_run):
    process = start(small_disk, *EVENT, "hydra.run.dir=run")
    checkpoints = small_disk / "run" / "checkpoints"
    wait_for(lambda: list(checkpoints.glob("images_*.pt")), process)
    filler = small_disk / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space left"):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2, errors
    assert "Traceback" not in errors
    [line] = [line for line in errors.splitlines() if "No space left on device" in line]
    assert line.startswith(f"stdp-run: error: {small_disk}/run"), "it names what cannot be written"
    kept = list(checkpoints.glob("images_*.pt"))
    assert kept
    filler.unlink()
    done = stdp_run("resume=run", cwd=small_disk)
    assert done.returncode == 0, done.stderr
    assert "resumed after" in done.stderr
    assert left_by(small_disk / "run")["arrays"] == left_by(uninterrupted[0])["arrays"]
