"""Sweeps: names of folders, jobs that fail, launchers, and what a repeated command does."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.runs import TINY, figures
from hydra import compose, initialize_config_dir

from stdp_run.cli.overrides import prepared
from stdp_run.config.build import conf_folder


def sweep_of(folder: Path) -> Path:
    (sweep,) = (folder / "outputs" / "multirun").iterdir()
    return sweep


def results(sweep: Path) -> dict[str, dict]:
    return {file.parent.name: figures(file.parent) for file in sweep.glob("*/result.json")}


def folders(*overrides: str, fixed: tuple[str, ...] = ()) -> tuple[str, str, str]:
    """Return the folder of a single run without its time, that of a sweep with `fixed` overrides, and that of a job."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        excluded = [word for word in prepared(["-m", *fixed]) if "exclude_keys" in word]
        hydra = compose("config", [*overrides, *fixed, *excluded], return_hydra_config=True).hydra
    return (
        re.sub(r".*/[\d-]+_", "", hydra.run.dir),
        hydra.sweep.dir.removeprefix("outputs/multirun/"),
        hydra.sweep.subdir,
    )


def test_a_run_is_named_after_its_preset_or_dataset():
    names = {command: folders(*command.split())[0] for command in ("n_exc=9 rule=full_online", "mode=eval")}
    assert list(names.values()) == ["mnist_full_online_9", "eval"]
    assert folders("dataset=fashion_mnist")[0] == "fashion_mnist_nearest_online_400"
    assert folders("first_layer=patches")[0] == "two_layers_mnist_nearest_online_400"
    assert folders("experiment=two_layers_100")[0] == "two_layers_100_nearest_online_100"


def test_a_sweep_is_named_after_its_settings_and_a_job_after_those_that_differ():
    assert folders("seed=1", "n_exc=20")[1:] == ("n_exc-20_seed-1", "n_exc-20_seed-1")
    assert folders("seed=1", "n_exc=21")[1:] != folders("seed=1", "n_exc=20")[1:]
    fixed = ("n_exc=20", "threads=1", "rule=triplet", "hydra/job_logging=disabled")
    assert folders("seed=1", fixed=fixed)[1:] == ("n_exc-20_rule-triplet_seed-1", "seed-1")
    assert folders("threads=1", fixed=("seed=1",))[1:] == ("seed-1_threads-1", "threads-1"), "each job has a folder"
    shared = [folders("seed=1", fixed=(f"n_exc={n}", "hydra.sweep.dir=outputs/multirun/mine"))[2] for n in (20, 21)]
    assert shared[0] != shared[1] and all(re.fullmatch("seed-1_[0-9a-f]{8}", name) for name in shared)
    runs = [folders(f"checkpoint='outputs/{day}/RUN/checkpoint.pt'", "n_test=9")[2] for day in "ab"]
    assert runs[0] != runs[1] and all(re.fullmatch("checkpoint-RUN_n_test-9_[0-9a-f]{8}", name) for name in runs)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.weekly)])
def test_a_failed_job_lets_the_others_continue_and_the_same_command_does_what_is_left(stdp_run, tmp_path, launcher):
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    command = ("-m", f"hydra/launcher={launcher}", *TINY, "seed=1,2", "n_test=40,10001")
    done = stdp_run(*command)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "stdp-run: error: 2 failed, named above\n" in done.stderr
    sweep = sweep_of(tmp_path)
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
    assert again.stdout.rstrip().endswith(f"results  {sweep.relative_to(tmp_path)}")
    assert (complete.read_bytes(), complete.stat().st_mtime_ns) == kept
    assert results(sweep) == first


@pytest.mark.weekly
@pytest.mark.parametrize("launcher", ["submitit_local", "ray"])
def test_other_launchers_run_and_compare_their_jobs(launcher, stdp_run, tmp_path):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    done = stdp_run("-m", f"hydra/launcher={launcher}", *TINY, "seed=1,2")
    assert done.returncode == 0, done.stderr
    assert len(results(sweep_of(tmp_path))) == 2
    assert "2 runs, 1 setting" in done.stdout


@pytest.mark.weekly
def test_a_preempted_slurm_job_is_queued_again_and_resumes(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    options = ("n_exc=60", "n_train=9000", "n_label=500", "n_test=100", "trainer.checkpoint_every=500")
    command = [sys.executable, "-m", "stdp_run", "-m", "hydra/launcher=submitit_local", *options, "seed=1"]
    sweep = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600
    while not list(tmp_path.rglob("images_*.pt")):
        assert sweep.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    [controller] = (folder.name for folder in tmp_path.rglob(".submitit/[0-9]*") if folder.is_dir())
    worker = Path(f"/proc/{controller}/task/{controller}/children").read_text()
    os.kill(int(worker), signal.SIGUSR2)  # what submitit has Slurm send
    output, errors = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, errors
    assert "1 run, 1 setting" in output
    assert "resumed after" in next(tmp_path.rglob("run.log")).read_text()


@pytest.mark.slow
def test_a_search_learns_from_trials_that_fail(stdp_run, tmp_path):
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    study = ("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=small", "hydra.sweeper.n_trials=4")
    options = ("hydra.sweeper.direction=maximize", "hydra.sweeper.n_jobs=1", "hydra.sweeper.sampler.seed=2")
    space = ("rule.a_post=interval(0.01,0.1)", "n_test=choice(40,10001)")
    fixed = [word for word in TINY if "n_test" not in word]
    done = stdp_run("-m", "hydra/sweeper=optuna", *study, *options, *fixed, *space)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    trials = optuna.load_study(study_name="small", storage=f"sqlite:///{tmp_path}/study.db").trials
    assert len(trials) == 4 and {trial.state.name for trial in trials} == {"COMPLETE", "FAIL"}
    reached = {result["accuracy"][result["readout"]] for result in results(sweep_of(tmp_path)).values()}
    assert {trial.value for trial in trials if trial.state.name == "COMPLETE"} == reached
