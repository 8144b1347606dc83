"""The command line, run as a person runs it: real processes, real files, real MNIST."""

import json
import os
import time
from pathlib import Path

import pytest

TINY = ("n_exc=20", "n_train=60", "n_test=40", "n_label=60", "trainer.log_every=20")


def only_run(folder: Path) -> Path:
    runs = [path for path in folder.glob("outputs/*/*") if path.is_dir()]
    assert len(runs) == 1
    return runs[0]


def result_of(directory: Path) -> dict:
    return json.loads((directory / "result.json").read_text())


def figures(result: dict) -> dict:
    """What has to be the same in two runs of the same thing: all but times, rates and the versions' commit."""
    changing = ("train_images_per_second", "eval_images_per_second", "wall_seconds", "commit")
    return {key: value for key, value in result.items() if key not in changing}


def test_help_explains_the_groups_quickly(stdp_run):
    stdp_run("--help")  # the first call may write bytecode
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = stdp_run("--help")
        seconds.append(time.perf_counter() - start)
    assert done.returncode == 0
    for word in ("rule: full_online", "neuron: alif_stdp", "dataset: digits", "n_exc=400", "debug=smoke", "-m rule="):
        assert word in done.stdout
    assert min(seconds) < 1.5, "starting must not import torch or numba"


def test_a_run_leaves_all_its_files(stdp_run, tmp_path):
    done = stdp_run("debug=smoke")
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path)
    names = {path.name for path in run.iterdir()}
    assert {".hydra", "config.yaml", "run.log", "metrics.jsonl", "result.json", "checkpoint.pt"} <= names
    assert {"receptive_fields.png", "confusion.png"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    written = (run / "config.yaml").read_text()
    assert "n_exc: 50" in written and "w_norm: 90.4" in written and "${" not in written
    result = result_of(run)
    expected = {
        "rule": "nearest_online",
        "neuron": "lif_stdp",
        "dataset": "mnist",
        "engine": "event",
        "device": "cpu",
        "seed": 0,
        "n_exc": 50,
        "epochs": 1,
        "train_images": 300,
        "test_images": 200,
        "readout": "all_activity",
    }
    assert expected.items() <= result.items()
    assert result["test_accuracy"] == result["accuracy"]["all_activity"] > 0.3
    assert set(result["accuracy"]) == {"all_activity", "proportion", "naive_bayes"}
    for name, share in result["accuracy"].items():
        low, high = result["accuracy_interval_95"][name]
        assert low < share < high
        right = sum(row[c] for c, row in enumerate(result["confusion"][name]))
        assert share == right / 200
    assert result["versions"]["torch"] and result["wall_seconds"] > 0
    assert f"{result['test_accuracy']:.2%}" in done.stdout
    assert str(run) in done.stdout
    assert "engine event" in done.stderr and "engine event" in (run / "run.log").read_text()


def test_metrics_file_and_tensorboard_events_say_the_same(stdp_run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stdp_run("debug=smoke")
    run = only_run(tmp_path)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(run), size_guidance={"images": 0})
    events.Reload()
    assert [row["images_seen"] for row in rows if "train/spikes_per_image" in row] == [100, 200, 300]
    assert [row["images_seen"] for row in rows if "evaluation/accuracy_proportion" in row] == [150, 300]
    for name in ("train/spikes_per_image", "network/theta_mean", "train/silent_neurons", "network/weight_std"):
        logged = {row["images_seen"]: row[name] for row in rows if name in row}
        shown = {event.step: event.value for event in events.Scalars(name)}
        assert shown == pytest.approx(logged, rel=1e-6)
    assert set(events.Tags()["images"]) == {"receptive_fields", "confusion"}


def test_the_same_seed_gives_the_same_figures_whatever_the_threads(stdp_run, tmp_path):
    results = []
    for name, threads in (("a", 1), ("b", 2)):
        done = stdp_run(*TINY, f"threads={threads}", f"hydra.run.dir={name}")
        assert done.returncode == 0, done.stderr
        results.append(figures(result_of(tmp_path / name)))
    assert results[0] == results[1]
    weights = [(tmp_path / name / "checkpoint.pt").read_bytes() for name in "ab"]
    assert len(weights[0]) == len(weights[1])
    stdp_run(*TINY, "seed=1", "hydra.run.dir=c")
    assert figures(result_of(tmp_path / "c"))["confusion"] != results[0]["confusion"]


@pytest.mark.parametrize("engine", ["event", "torch"])
def test_evaluating_a_checkpoint_gives_the_same_accuracy_to_the_last_digit(stdp_run, tmp_path, engine):
    small = (*TINY, "encoder.steps=60", f"engine={engine}")
    assert stdp_run(*small, "seed=5", "hydra.run.dir=learned").returncode == 0
    done = stdp_run("mode=eval", "checkpoint=learned/checkpoint.pt", "hydra.run.dir=again")
    assert done.returncode == 0, done.stderr
    first, second = result_of(tmp_path / "learned"), result_of(tmp_path / "again")
    for key in ("accuracy", "confusion", "spikes_per_image", "silent_neurons", "test_images", "seed", "n_exc", "rule"):
        assert first[key] == second[key], key


def test_rules_go_by_their_published_names_too(stdp_run, tmp_path):
    done = stdp_run("rule=Full_Online_STDP", *TINY)
    assert done.returncode == 0, done.stderr
    assert result_of(only_run(tmp_path))["rule"] == "full_online"


def test_batches_run_on_the_torch_engine_and_say_why(stdp_run, tmp_path):
    done = stdp_run(*TINY, "encoder.steps=40", "batch_size=8", "reduction=mean")
    assert done.returncode == 0, done.stderr
    assert "engine torch on cpu: batch_size=8" in done.stderr
    assert result_of(only_run(tmp_path))["engine"] == "torch"


def test_validation_split_is_the_end_of_the_training_images(stdp_run, tmp_path):
    done = stdp_run(*TINY, "dataset.split=validation")
    assert done.returncode == 0, done.stderr
    assert "validation accuracy" in done.stdout
    assert result_of(only_run(tmp_path))["split"] == "validation"
    too_many = stdp_run("dataset.split=validation", "n_train=50001")
    assert "n_train=50001: must be at most 50000" in too_many.stderr


def test_small_digits_scale_the_norm_with_the_inputs(stdp_run, tmp_path):
    pytest.importorskip("sklearn")
    done = stdp_run("dataset=digits", "n_exc=30", "n_train=300", "n_test=100", "pairing=none")
    assert done.returncode == 0, done.stderr
    assert result_of(only_run(tmp_path))["test_accuracy"] > 0.2, "chance is 0.1"
    shown = stdp_run("dataset=digits", "pairing=none", "--cfg", "job", "--resolve")
    assert "w_norm: 6.4" in shown.stdout


BAD_INPUT = [
    (["rule=hebb"], "rule=hebb: must be one of full_online, meta_nearest_online, nearest_online, post_pre_int"),
    (["neuron=izhikevich"], "neuron=izhikevich: must be one of alif_stdp, diehl_cook"),
    (["dataset=cifar"], "dataset=cifar: must be one of digits,"),
    (["experiment=nope"], "experiment=nope: must be one of"),
    (["pairing=nope"], "pairing=nope: must be one of"),
    (["n_neurons=3"], "n_neurons=3: unknown key; known beside it: batch_size,"),
    (["rule.zz=1"], "rule.zz=1: unknown key; known beside it: a_post, a_pre,"),
    (["+rule.zz=1"], "rule.zz=1: unknown key; known here: a_post, a_pre,"),
    (["+neuron.zz=1"], "neuron.zz=1: unknown key"),
    (["+zz=1"], "zz=1: unknown key"),
    (["+dataset.zz=1"], "dataset.zz=1: unknown key"),
    (["+encoder.zz=1"], "encoder.zz=1: unknown key"),
    (["rule.a_post=fast"], "rule.a_post=fast: must be a number"),
    (["rule.tau_pre=0"], "rule.tau_pre=0: must be a number above 0"),
    (["neuron.refractory=1.5"], "neuron.refractory=1.5: must be a whole number of 0 or more"),
    (["n_exc=0"], "n_exc=0: must be a whole number of 1 or more"),
    (["n_exc=-3"], "n_exc=-3: must be a whole number of 1 or more"),
    (["n_exc=many"], "n_exc=many: must be a whole number of 1 or more"),
    (["n_exc=true"], "n_exc=True: must be a whole number of 1 or more"),
    (["seed=-1"], "seed=-1: must be a whole number from 0 to 4294967295"),
    (["mode=dance"], "mode=dance: must be one of train, eval"),
    (["engine=brian"], "engine=brian: must be one of auto, event, torch"),
    (["trainer.schedule=linear"], "trainer.schedule=linear: must be one of constant, exponential, cosine"),
    (["evaluator.readout=svm"], "evaluator.readout=svm: must be one of all_activity, proportion, naive_bayes"),
    (["encoder=3"], "encoder=3: must be a group of keys"),
    (["engine=event", "batch_size=2"], "batch_size=2: the event engine learns from one image at a time; must be 1"),
    (["n_train=60001"], "n_train=60001: must be at most 60000"),
    (["n_test=10001"], "n_test=10001: must be at most 10000"),
    (["mode=eval"], "mode=eval needs the checkpoint.pt of a run"),
    (["mode=eval", "checkpoint=nowhere.pt"], "checkpoint=nowhere.pt: cannot be read: No such file"),
    (["mode=eval", f"checkpoint={__file__}"], "not a checkpoint that stdp-run wrote"),
    (["dataset.root=nowhere"], "nowhere"),
    (["rule=post_pre_int", "neuron=lif_stdp"], "use neuron=diehl_cook_int"),
    (["rule=nearest_online", "neuron=diehl_cook_int"], "use neuron=lif_stdp"),
    (["rule=post_pre_int", "trainer.schedule=cosine"], "trainer.schedule=cosine: must be constant"),
    (["hydra.run.dir=/proc/nowhere"], "hydra.run.dir=/proc/nowhere: cannot be written"),
    (["--nope"], "unrecognized arguments: --nope"),
    (["n_exc"], "n_exc"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD_INPUT, ids=lambda value: " ".join(value)[:40])
def test_bad_input_gets_one_line_and_an_exit_code(stdp_run, tmp_path, arguments, expected):
    done = stdp_run(*arguments)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("stdp-run: error: ")]
    assert len(errors) == 1, done.stderr
    assert expected in errors[0]
    assert "Traceback" not in done.stderr + done.stdout
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.skipif("os.path.exists('/dev/nvidia0')")
def test_a_gpu_is_refused_where_there_is_none(stdp_run):
    done = stdp_run("device=cuda")
    assert done.returncode == 2
    assert "stdp-run: error: device=cuda: no GPU" in done.stderr


EDGES = [
    ["encoder.max_rate_hz=0"],
    ["n_exc=1"],
    ["encoder.steps=1"],
    ["n_train=1", "n_test=1", "n_label=1"],
    ["n_exc=3", "encoder.max_rate_hz=5000"],
]


@pytest.mark.parametrize("edge", EDGES, ids=lambda value: " ".join(value))
@pytest.mark.parametrize("engine", ["event", "torch"])
def test_degenerate_settings_run(stdp_run, tmp_path, edge, engine):
    done = stdp_run("n_exc=5", "n_train=6", "n_test=4", "n_label=6", "encoder.steps=20", f"engine={engine}", *edge)
    assert done.returncode == 0, done.stderr
    result = result_of(only_run(tmp_path))
    assert 0 <= result["test_accuracy"] <= 1
    assert "NaN" not in json.dumps(result) + (only_run(tmp_path) / "metrics.jsonl").read_text()
    assert "Warning" not in done.stderr


def write_images(folder: Path, count: int, value: int) -> None:
    from PIL import Image

    folder.mkdir(parents=True)
    for k in range(count):
        Image.new("L", (10, 10), value).save(folder / f"{k}.png")


def test_one_class_of_black_images_runs(stdp_run, tmp_path):
    write_images(tmp_path / "mine" / "only", 10, 0)
    done = stdp_run("dataset=image_folder", "dataset.root=mine", "n_exc=4")
    assert done.returncode == 0, done.stderr
    result = result_of(only_run(tmp_path))
    assert result["silent_neurons"] == 4
    assert result["test_accuracy"] == 0.0, "an image that evokes no spike is not recognised"


def test_a_terminated_run_leaves_nothing_that_looks_finished(tmp_path):
    import signal
    import subprocess
    import sys

    process = subprocess.Popen(
        [sys.executable, "-m", "stdp_run.cli", "hydra.run.dir=run"],
        cwd=tmp_path,
        env=dict(os.environ),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in errors
    assert not (tmp_path / "run" / "result.json").exists()
