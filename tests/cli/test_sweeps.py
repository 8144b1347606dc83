"""Sweeps over several jobs: in one process, side by side, killed and resumed, with jobs that fail."""

import csv
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.runs import TINY, figures

from stdp_run.cli.names import job_name, run_name, sweep_name

needs_proc = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds processes in /proc")


def sweep_of(folder: Path) -> Path:
    (sweep,) = (folder / "outputs" / "multirun").iterdir()
    return sweep


def results(sweep: Path) -> dict[str, dict]:
    return {file.parent.name: figures(file.parent) for file in sweep.glob("*/result.json")}


def test_names_of_folders_tell_what_is_in_them_and_are_their_own():
    command = ["-m", "rule=nearest_online,full_online", "seed=1,2", "n_exc=100,400", "rule.a_post=choice(1,2)"]
    told = "n_exc-100-400_a_post-choice-1-2_rule-nearest_online-full_online_seed-1-2"
    assert sweep_name(command).rpartition("_")[0] == told
    assert sweep_name([*command, "epochs=2", "values=[1,2]"]).rpartition("_")[0] == f"{told}_epochs-2_values-1-2"
    assert sweep_name(command) == sweep_name([*command[::-1], "hydra/launcher=joblib", "threads=1"])
    assert sweep_name(command) != sweep_name([*command, "epochs=2"])
    assert job_name(["seed=1", "rule=full_online"]).rpartition("_")[0] == "rule-full_online_seed-1"
    names = {job_name([f"data=a{separator}b"]) for separator in ".,-/ "}
    assert len(names) == 5, "what cannot stand in a name still tells jobs apart"
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)
    many = [f"a.key.{k}=some.long.value" for k in range(50)]
    assert len(job_name(many)) < 100
    assert 80 < len(sweep_name([*many, f"seed={','.join(map(str, range(99)))}"])) < 120
    assert sweep_name([*many, "seed=1,2"]).startswith("seed-1-2_")
    assert run_name("train", "full_online", 100, None) == "full_online_100"
    assert run_name("stdp_window", "full_online", 100, None) == "stdp_window"
    for checkpoint in ("outputs/day/time_mine", "outputs/day/time_mine/", "outputs/day/time_mine/checkpoint.pt"):
        assert run_name("eval", "nearest_online", 400, checkpoint) == "eval_time_mine"


@pytest.mark.slow
def test_a_failed_job_lets_the_others_continue_and_the_same_command_does_only_what_is_left(stdp_run, tmp_path):
    fail_in_part(stdp_run, tmp_path, "hydra/launcher=basic")


@pytest.mark.slow
def test_a_sweep_over_a_perturbation_ends_with_its_table(stdp_run, finished_run, tmp_path):
    strengths = "perturbation.strength=0,1,2"  # of which 2 is no share
    command = ("-m", "mode=eval", f"checkpoint={finished_run}/checkpoint.pt", "n_test=50", "threads=1")
    done = stdp_run(*command, "perturbation=neuron_lesion", strengths)
    assert done.returncode == 1 and done.stderr.rstrip().endswith("stdp-run: error: 1 failed, named above")
    assert "perturbation.strength=2: must be a share from 0 to 1" in " ".join(done.stdout.split())
    assert "2 runs, 2 settings" in done.stdout and "perturbation=neuron_lesion" in done.stdout
    with (sweep_of(tmp_path) / "comparison.csv").open(newline="") as file:
        accuracy = {row["perturbation.strength"]: float(row["accuracy_mean"]) for row in csv.DictReader(file)}
    assert accuracy.keys() == {"0", "1"} and accuracy["0"] > 0.5 and accuracy["1"] == 0
    assert (sweep_of(tmp_path) / "comparison.png").exists()


@pytest.mark.slow
def test_so_it_is_with_jobs_side_by_side(stdp_run, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    fail_in_part(stdp_run, tmp_path, "hydra/launcher=joblib")


def fail_in_part(stdp_run, folder: Path, launcher: str) -> None:
    """Give a sweep twice of which half of the jobs cannot run, one result damaged in between."""
    command = ("-m", launcher, *TINY, "seed=1,2", "n_test=40,10001")
    done = stdp_run(*command)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith("stdp-run: error: 2 failed, named above")
    assert " ".join(done.stdout.split()).count("n_test=10001: must be at most 10000") == 2
    sweep = sweep_of(folder)
    first = results(sweep)
    assert len(first) == 2
    assert {"comparison.csv", "comparison.md", "comparison.png", "runs.csv"} <= {file.name for file in sweep.iterdir()}
    with (sweep / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted((row["state"], row["seed"]) for row in rows) == [(s, n) for s in ("failed", "finished") for n in "12"]

    complete, damaged = sorted(sweep.glob("*/result.json"))
    kept = (complete.read_bytes(), complete.stat().st_mtime_ns)
    damaged.write_text(damaged.read_text()[:100])
    again = stdp_run(*command)
    assert again.returncode == 1
    assert again.stderr.count("this run is complete; nothing to do") == 1
    assert again.stdout.count("silent neurons") == 1, "what is complete gets a line, not its figures again"
    assert again.stdout.rstrip().endswith(f"results  {sweep.relative_to(folder)}")
    assert f"{damaged.relative_to(folder)}: damaged; it is made again" in again.stderr.replace(f"{folder}/", "")
    assert (complete.read_bytes(), complete.stat().st_mtime_ns) == kept
    assert results(sweep) == first


@pytest.mark.slow
def test_a_job_with_other_settings_is_not_taken_for_done(stdp_run, tmp_path):
    command = ("-m", *TINY, "hydra.sweep.dir=sweep", "hydra.sweep.subdir=${hydra.job.num}")
    assert stdp_run(*command, "seed=1,2").returncode == 0
    first = results(tmp_path / "sweep")
    done = stdp_run(*command, "seed=2,3")
    assert done.returncode == 1
    assert "holds a run with other settings: seed=2 (there: 1)" in done.stderr
    assert results(tmp_path / "sweep") == first, "nothing is overwritten"
    longer = stdp_run(*command, "seed=1,2,3")
    assert longer.returncode == 0, longer.stderr
    assert longer.stderr.count("this run is complete") == 2
    assert len(results(tmp_path / "sweep")) == 3


def process_in(folder: Path, word: str) -> int | None:
    """Return the process with `word` in its command that works in the folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if word in (process / "cmdline").read_text() and (process / "cwd").resolve() == folder.resolve():
                return int(process.name)
        except OSError:
            continue
    return None


JOBS = ("n_exc=40", "n_train=2500", "n_label=1500", "n_test=500", "trainer.checkpoint_every=500", "seed=1,2,3,4,5,6")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[dict[str, dict], float]:
    """The results of a sweep of six that nobody stopped, and the seconds it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "stdp_run", "-m", *JOBS], cwd=folder, check=True, capture_output=True)
    return results(sweep_of(folder)), time.monotonic() - begun


@pytest.mark.slow
@needs_proc
def test_a_sweep_of_six_killed_three_times_ends_as_if_nothing_had_happened(undisturbed, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    expected, seconds = undisturbed
    choose = random.Random(3)
    command = [sys.executable, "-m", "stdp_run", "-m", "hydra/launcher=joblib", *JOBS]
    for _ in range(3):
        learning_before = len(list(tmp_path.rglob("events.*")))
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # A sweep that is killed while joblib hands out its first jobs leaves workers that wait for the rest of them.
        while process.poll() is None and len(list(tmp_path.rglob("events.*"))) < learning_before + 2:
            time.sleep(0.02)
        try:
            process.wait(timeout=choose.uniform(0, 0.3) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()  # the sweep alone: its workers have to end, or to be waited for
            assert process.wait(timeout=600) == -signal.SIGKILL
    deadline = time.monotonic() + 600
    while process_in(tmp_path, "LokyProcess"):
        assert time.monotonic() < deadline, "workers live on without their sweep"
        time.sleep(0.1)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert len(expected) == 6
    assert results(sweep_of(tmp_path)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "ray"])
def test_other_launchers_run_and_compare_their_jobs(launcher, stdp_run, tmp_path):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    done = stdp_run("-m", f"hydra/launcher={launcher}", *TINY, "seed=1,2")
    assert done.returncode == 0, done.stderr
    assert len(results(sweep_of(tmp_path))) == 2
    assert "2 runs, 1 setting" in done.stdout


@pytest.mark.slow
@needs_proc
def test_a_preempted_slurm_job_saves_and_is_queued_again(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    options = ("n_exc=60", "n_train=9000", "n_label=500", "n_test=100", "trainer.checkpoint_every=500")
    command = [sys.executable, "-m", "stdp_run", "-m", "hydra/launcher=submitit_local", *options, "seed=1"]
    sweep = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600
    while not list(tmp_path.rglob("images_*.pt")):
        assert sweep.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process_in(tmp_path, "submitit.core._submit"), signal.SIGUSR2)  # what submitit has Slurm send
    output, errors = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, errors
    assert "1 run, 1 setting" in output
    log = next(tmp_path.rglob("run.log")).read_text()
    saved = re.search(r"saved after (\d+) images", log)
    assert "SIGUSR2" in log and saved and f"resumed after {saved[1]} images" in log, log


@pytest.mark.slow
def test_a_search_that_is_asked_for_again_does_the_trials_that_are_left_and_learns_from_failures(stdp_run, tmp_path):
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    study = ("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=small")
    options = ("hydra.sweeper.direction=maximize", "hydra.sweeper.n_jobs=1", "hydra.sweeper.sampler.seed=2")
    space = ("rule.a_post=interval(0.01,0.1)", "n_test=choice(40,10001)")
    fixed = [word for word in TINY if "n_test" not in word]
    command = ("-m", "hydra/sweeper=optuna", *study, *options, *fixed, *space)
    begun, complete = 0, 0
    for asked in (3, 3, 4):
        left = asked - complete
        done = stdp_run(*command, f"hydra.sweeper.n_trials={asked}")
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr
        if begun:
            assert f"study small: {complete} of {asked} trials complete, {left} left" in done.stdout + done.stderr
        found = optuna.load_study(study_name="small", storage=f"sqlite:///{tmp_path}/study.db").trials
        assert len(found) == begun + left
        begun, complete = len(found), sum(trial.state.name == "COMPLETE" for trial in found)
    assert {trial.state.name for trial in found} == {"COMPLETE", "FAIL"}
    assert len({trial.params["rule.a_post"] for trial in found}) == begun, "a seed does not choose the same again"
    reached = {result["accuracy"][result["readout"]] for result in results(sweep_of(tmp_path)).values()}
    assert {trial.value for trial in found if trial.state.name == "COMPLETE"} == reached
