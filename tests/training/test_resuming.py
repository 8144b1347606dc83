"""Runs that are stopped and go on, in real processes that are really killed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from stdp_run.training import checkpoint

CHANGING = ("train_images_per_second", "eval_images_per_second", "wall_seconds", "commit")
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
        [sys.executable, "-m", "stdp_run.cli", *arguments],
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


def figures(run: Path) -> dict:
    result = json.loads((run / "result.json").read_text())
    return {key: value for key, value in result.items() if key not in CHANGING}


def metrics(run: Path) -> list[dict]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.endswith("per_second")} for row in rows]


def curves(run: Path) -> dict:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    scalars = {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}
    pictures = {name: [e.step for e in events.Images(name)] for name in events.Tags()["images"]}
    return {name: points for name, points in scalars.items() if not name.endswith("per_second")} | pictures


def assert_same(run: Path, uninterrupted: Path) -> None:
    assert figures(run) == figures(uninterrupted)
    assert metrics(run) == metrics(uninterrupted)
    assert curves(run) == curves(uninterrupted)
    first, second = (checkpoint.load(folder / "checkpoint.pt") for folder in (run, uninterrupted))
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        assert np.array_equal(array, second.arrays[name]), name
    assert np.array_equal(first.extra["label"], second.extra["label"])


def begins(run: Path, process: subprocess.Popen) -> float:
    """Wait until a process has loaded and compiled everything and begins to learn, or ends; return when that was."""
    earlier = set(run.glob("events.*"))
    deadline = time.monotonic() + 600
    while process.poll() is None and not set(run.glob("events.*")) - earlier:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return time.monotonic()


def whole(folder: Path, *arguments: str) -> float:
    """Run without interruption in folder/whole; return the seconds from the begin of learning to the end."""
    process = start(folder, *arguments, "hydra.run.dir=whole")
    begun = begins(folder / "whole", process)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run of the event engine, and how long it takes."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder / "whole", whole(folder, *EVENT)


def kill_and_resume(folder: Path, arguments: tuple[str, ...], kills: int, seconds: float, seed: int) -> list[int]:
    """Kill a run up to `kills` times, each time at a random moment of the `seconds` it takes, and let it end.

    Return after how many images it went on, each time.
    """
    choose = random.Random(seed)
    went_on_at = []
    for kill in range(kills + 1):
        process = start(folder, *arguments, "hydra.run.dir=run")
        if kill < kills:
            begins(folder / "run", process)
            time.sleep(choose.uniform(0, 0.3) * seconds)
            process.kill()
        _, errors = process.communicate(timeout=600)
        went_on_at += [int(n) for n in re.findall(r"going on after (\d+) images", errors)]
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, errors
            break
    return went_on_at


def test_killed_ten_times_a_run_ends_as_if_nothing_had_happened(uninterrupted, tmp_path):
    run, seconds = uninterrupted
    went_on_at = kill_and_resume(tmp_path, EVENT, 10, seconds, seed=4)
    assert len(set(went_on_at)) > 2, "nearly all kills came before the first checkpoint"
    assert_same(tmp_path / "run", run)


@pytest.mark.parametrize(("arguments", "seed"), [(TORCH, 1), (INTEGERS, 2)], ids=["torch", "integers"])
def test_killed_and_resumed_on_the_other_engine_and_in_integers(tmp_path, arguments, seed):
    seconds = whole(tmp_path, *arguments)
    kill_and_resume(tmp_path, arguments, 3, seconds, seed)
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
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
    said = re.search(rf"{number.name} after (\d+) images: saved; `stdp-run resume=(\S+)` goes on", errors)
    assert said, errors
    again = start(tmp_path, f"resume={said[2]}")
    _, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    assert f"going on after {said[1]} images" in errors
    assert_same(tmp_path / "run", run)


def test_a_signal_before_learning_begins_leaves_nothing_to_resume(tmp_path):
    process = start(tmp_path, *EVENT, "hydra.run.dir=run")
    wait_for(lambda: (tmp_path / "run" / "config.yaml").exists(), process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The directory of a run that was killed between two checkpoints."""
    folder = tmp_path_factory.mktemp("interrupted")
    process = start(folder, *EVENT, "hydra.run.dir=run")
    checkpoints = folder / "run" / "checkpoints"
    wait_for(lambda: len(list(checkpoints.glob("images_*.pt"))) == 2, process)
    process.kill()
    process.communicate()
    return folder / "run"


def copied(run: Path, to: Path) -> Path:
    import shutil

    return Path(shutil.copytree(run, to / "run"))


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(interrupted, uninterrupted, tmp_path, stdp_run):
    run = copied(interrupted, tmp_path)
    before, newest = sorted((run / "checkpoints").glob("images_*.pt"))
    damaged = bytearray(newest.read_bytes())
    damaged[1000] ^= 16
    newest.write_bytes(damaged)
    done = stdp_run("resume=run")
    assert done.returncode == 0, done.stderr
    assert "damaged" in done.stderr and "the one before it is tried" in done.stderr
    assert f"going on after {int(before.stem.split('_')[1])} images" in done.stderr
    assert_same(run, uninterrupted[0])


def test_other_settings_are_refused_by_name(interrupted, tmp_path, stdp_run):
    run = copied(interrupted, tmp_path)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file() and file.name != "run.log"}
    for arguments, named in (
        ((*EVENT, "n_exc=61", "rule.a_post=0.5", "hydra.run.dir=run"), ["n_exc=61 (there: 60)", "rule.a_post=0.5"]),
        (("resume=run", "seed=7"), ["seed=7 (there: 0)"]),
        (("resume=run", "rule=full_online"), ["rule.name=full_online (there: nearest_online)"]),
        (("resume=run", "debug=smoke"), ["n_exc=50 (there: 60)", "n_train=300 (there: 6000)"]),
    ):
        done = stdp_run(*arguments)
        assert done.returncode == 2, done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("stdp-run: error: ")]
        assert len(errors) == 1 and "run holds a run with other settings" in errors[0], done.stderr
        assert all(item in errors[0] for item in named), errors[0]
        assert "threads" not in errors[0]
    for file, data in before.items():
        if ".hydra" not in file.parts:
            assert file.read_bytes() == data, file


def test_what_does_not_bear_on_results_may_change(interrupted, uninterrupted, tmp_path, stdp_run):
    run = copied(interrupted, tmp_path)
    done = stdp_run(
        "resume=run", "threads=1", "trainer.checkpoint_seconds=5", "trainer.checkpoint_every=null", "n_exc=60"
    )
    assert done.returncode == 0, done.stderr
    assert figures(run) == figures(uninterrupted[0])
    assert "n_exc: 60" in (run / "config.yaml").read_text()
    assert "n_exc=60" in (run / ".hydra" / "overrides.yaml").read_text(), "the record of the first command is kept"


def test_null_refuses_a_directory_that_holds_a_run(interrupted, tmp_path, stdp_run):
    copied(interrupted, tmp_path)
    done = stdp_run(*EVENT, "hydra.run.dir=run", "resume=null")
    assert done.returncode == 2
    assert "resume=null" in done.stderr and "holds a run" in done.stderr


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_only_a_run_can_be_resumed(tmp_path, stdp_run, place):
    done = stdp_run(f"resume={place}")
    assert done.returncode == 2
    assert f"stdp-run: error: resume={place}: must be auto, null, or the directory of a run" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert "one run goes on there" in stdp_run("-m", f"resume={place}", "seed=1,2").stderr


def test_a_complete_run_is_left_alone(uninterrupted, tmp_path, stdp_run):
    run = copied(uninterrupted[0], tmp_path)
    assert not (run / "checkpoints").exists(), "they are removed when nothing is left to resume"
    before = {file: file.read_bytes() for file in run.iterdir() if file.is_file() and file.name != "run.log"}
    done = stdp_run(*EVENT, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert "this run is complete; nothing to do" in done.stderr
    assert f"{figures(run)['test_accuracy']:.2%}" in done.stdout
    assert {file: file.read_bytes() for file in before} == before


def test_two_processes_never_write_one_directory(tmp_path, stdp_run):
    first = start(tmp_path, *EVENT, "hydra.run.dir=run")
    wait_for(lambda: (tmp_path / "run" / "config.yaml").exists(), first)
    second = stdp_run(*EVENT, "hydra.run.dir=run")
    assert second.returncode == 2
    assert "another process is at work in this directory" in second.stderr
    _, errors = first.communicate(timeout=600)
    assert first.returncode == 0, errors


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
    assert re.search(r"stdp-run: error: .*No space left on device", errors), errors
    kept = list(checkpoints.glob("images_*.pt"))
    assert kept
    filler.unlink()
    done = stdp_run("resume=run", cwd=small_disk)
    assert done.returncode == 0, done.stderr
    assert "going on after" in done.stderr
    assert figures(small_disk / "run") == figures(uninterrupted[0])
