"""Networks side by side: each ends as it would alone, to the last bit, however they were stopped."""

import contextlib
import csv
import io
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import assert_same, contents, left_by, run_in

from stdp_run.errors import UserError
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.tracking import Tracker

pytestmark = pytest.mark.slow

SMALL = (
    *("n_exc=20", "n_train=300", "n_label=200", "n_test=100", "encoder.steps=100", "threads=2"),
    *("trainer.log_every=100", "trainer.label_window=100", "trainer.evaluate_every=150"),
)
PLOTTED = (*SMALL, "trainer.plot_every=200")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two seeds side by side, what was printed, and the accuracy that was returned."""
    directory, printed = tmp_path_factory.mktemp("both"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        accuracy = run_in(directory, *PLOTTED, "networks=2", "seed=2")
    return directory, printed.getvalue(), accuracy


def test_each_seed_ends_as_it_would_alone(both, tmp_path):
    directory, _, _ = both
    assert sorted(path.name for path in directory.iterdir() if path.is_dir()) == ["seed_2", "seed_3"]
    run_in(tmp_path / "alone", *PLOTTED, "seed=3")
    assert_same(directory / "seed_3", tmp_path / "alone")
    weights = {left_by(directory / f"seed_{seed}")["arrays"]["weight"] for seed in (2, 3)}
    assert len(weights) == 2


def test_they_are_compared_at_the_end(both, tmp_path):
    directory, printed, accuracy = both
    assert "2 runs, 1 setting" in printed and str(directory) in printed
    with (directory / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["directory"] for row in rows] == ["seed_2", "seed_3"]
    assert accuracy == pytest.approx(np.mean([float(row["accuracy_all_activity"]) for row in rows]))
    assert {"comparison.csv", "comparison.md", "comparison.png"} <= {path.name for path in directory.iterdir()}


def test_the_values_of_a_setting_side_by_side(tmp_path, without_plots):
    run_in(tmp_path / "both", *SMALL, "networks=2", "vary=rule.a_post", "values=[0.02,0.1]")
    run_in(tmp_path / "alone", *SMALL, "rule.a_post=0.1")
    assert_same(tmp_path / "both" / "a_post_0.1", tmp_path / "alone")
    weights = {left_by(tmp_path / "both" / f"a_post_{value}")["arrays"]["weight"] for value in (0.02, 0.1)}
    assert len(weights) == 2
    assert (tmp_path / "both" / "comparison.csv").read_text().splitlines()[0].startswith("rule.a_post,")


def test_what_cannot_be_built_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"rule\.a_post=fast: must be a number"):
        run_in(tmp_path / "run", *SMALL, "networks=2", "vary=rule.a_post", "values=[0.1,fast]")
    assert not list((tmp_path / "run").rglob("config.yaml"))


# Resuming -------------------------------------------------------------------------------------------------------------


def test_complete_networks_are_left_and_others_begin_again_with_their_own_settings(
    both, without_plots, tmp_path, caplog
):
    directory = Path(shutil.copytree(both[0], tmp_path / "run"))
    for path in (directory / "seed_3").iterdir():  # as if stopped before the first checkpoint
        if path.name != "config.yaml":
            path.unlink()
    kept = contents(directory / "seed_2")
    with caplog.at_level(logging.INFO):
        assert run_in(directory, f"resume={directory}") == both[2]
    assert caplog.text.count("this run is complete; nothing to do") == 1
    assert contents(directory / "seed_2") == kept
    assert left_by(directory / "seed_3")["arrays"] == left_by(both[0] / "seed_3")["arrays"]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert run_in(directory, *PLOTTED, "networks=2", "seed=2") == both[2]
    assert caplog.text.count("this run is complete; nothing to do") == 2


def test_what_does_not_fit_what_is_there_is_refused_by_name(both, tmp_path):
    directory, _, _ = both
    before = contents(directory)
    same = (*PLOTTED, "networks=2", "seed=2")
    for asked, named in (
        ((*same, "networks=3"), "networks=3 (there: 2)"),
        ((*same, "seed=1"), "seed=1 (there: 2)"),
        ((*same, "rule.a_post=0.5"), "rule.a_post=0.5 (there: 0.04)"),
        ((f"resume={directory}", "networks=4"), "networks=4 (there: 2)"),
        ((*PLOTTED, "seed=2"), "networks=1 (there: 2)"),
        ((*same, "resume=null"), "resume=null"),
    ):
        with pytest.raises(UserError, match=re.escape(named)):
            run_in(directory, *asked)
    with pytest.raises(UserError, match=re.escape("networks=2 (there: 1)")):
        run_in(directory / "seed_2", *same)
    assert contents(directory) == before
    assert RunDirectory(directory).holds_run() and RunDirectory(directory / "seed_2").holds_run()
    assert not RunDirectory(directory.parent).holds_run()


@pytest.mark.parametrize(("stops", "threads"), [((200, 100), 2), ((100, 300), 1)])
def test_killed_out_of_step_each_ends_as_if_nothing_had_happened(both, without_plots, tmp_path, caplog, stops, threads):
    """The checkpoints of two networks are of different numbers of images; one may be waiting to be labelled already."""
    directory, write = tmp_path / "run", Tracker.scalars

    def scalars(self, images_seen, values):
        if images_seen == 300 and "train/running_accuracy" in values and self.seed == 3:
            raise InterruptedError
        write(self, images_seen, values)

    checkpoints = ("trainer.checkpoint_every=50", "seed=2", "networks=2")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(Tracker, "scalars", scalars)
        patch.setattr(Tracker, "seed", property(lambda self: int(self._directory.name[-1])), raising=False)
        patch.setattr("stdp_run.training.run_directory.KEPT_CHECKPOINTS", 10)
        run_in(directory, *PLOTTED, *checkpoints)
    for seed, images in zip((2, 3), stops, strict=True):
        for file in (directory / f"seed_{seed}" / "checkpoints").iterdir():
            if int(file.stem.split("_")[1]) > images:
                file.unlink()
    with caplog.at_level(logging.INFO):
        run_in(directory, f"resume={directory}", f"threads={threads}")
    resumed_at = [int(n) for n in re.findall(r"resumed after (\d+) images", caplog.text)]
    assert resumed_at == list(stops)
    not_compared = ("plots", "images", "files")
    for seed in (2, 3):
        assert_same(directory / f"seed_{seed}", both[0] / f"seed_{seed}", *not_compared, "config", "checkpoint_config")


LONGER = (*SMALL, "n_train=6000", "trainer.checkpoint_every=200", "trainer.evaluate_every=null", "networks=2")


def interrupted(folder: Path, number: signal.Signals, images: int) -> tuple[int, str]:
    """Start two networks, or resume them, and send a signal after some images; return exit code and messages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stdp_run", *LONGER, "hydra.run.dir=run"],
        cwd=folder,
        env=dict(os.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 600
    while not all((folder / "run" / f"seed_{seed}/checkpoints/images_{images:012}.pt").exists() for seed in (0, 1)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    return process.returncode, errors


def test_killed_and_stopped_each_ends_as_if_nothing_had_happened(tmp_path, caplog):
    run_in(tmp_path / "intact", *LONGER)
    directory = tmp_path / "run"
    code, errors = interrupted(tmp_path, signal.SIGKILL, images=400)
    assert code == -signal.SIGKILL, errors
    assert not list(directory.rglob("result.json"))
    # As if it had been killed between the checkpoints of the two.
    newest = max((directory / "seed_0" / "checkpoints").iterdir())
    for file in (directory / "seed_1" / "checkpoints").iterdir():
        if file.name >= newest.name:
            file.unlink()

    code, errors = interrupted(tmp_path, signal.SIGTERM, images=2000)
    assert code == 128 + signal.SIGTERM and "Traceback" not in errors, errors
    resumed_at = [int(n) for n in re.findall(r"run/seed_\d: resumed after (\d+) images", errors)]
    assert len(resumed_at) == 2 and resumed_at[0] > resumed_at[1], errors
    saved = {int(seed): int(n) for seed, n in re.findall(r"run/seed_(\d): saved after (\d+) images", errors)}
    where = re.search(r"SIGTERM: stopped; `stdp-run resume=(\S+)` resumes", errors)
    assert where and (tmp_path / where[1]) == directory, errors
    for seed in (0, 1):
        assert RunDirectory(directory / f"seed_{seed}").newest().position["images"] == saved[seed]

    with caplog.at_level(logging.INFO):
        run_in(directory / "seed_1", f"resume={directory / 'seed_1'}")  # one of them alone
        run_in(directory, f"resume={directory}", "threads=1")
    assert caplog.text.count("this run is complete") == 1
    for seed in (0, 1):
        found, expected = left_by(directory / f"seed_{seed}"), left_by(tmp_path / "intact" / f"seed_{seed}")
        for name in ("arrays", "labels", "result", "metrics", "scalars", "images"):
            assert found[name] == expected[name], (seed, name)
