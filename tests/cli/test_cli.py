"""The command line, run as a person runs it: real processes, real files, real MNIST."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
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


def test_help_explains_the_groups_without_loading_what_a_run_needs(stdp_run):
    done = stdp_run("--help")
    assert done.returncode == 0
    for word in ("rule: full_online", "neuron: alif_stdp", "dataset: digits", "n_exc=400", "debug=smoke", "-m rule="):
        assert word in done.stdout
    program = """
import sys
from stdp_run.cli import main
sys.argv[1:] = ["--help"]
try:
    main()
finally:
    print({"torch", "numba", "matplotlib"} & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.stderr == "set()\n", "these take seconds to import"


def test_a_run_leaves_all_its_files(stdp_run, tmp_path):
    done = stdp_run("debug=smoke")
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path)
    names = {path.name for path in run.iterdir()}
    assert {".hydra", "config.yaml", "run.log", "metrics.jsonl", "result.json", "checkpoint.pt"} <= names
    drawn = (
        "receptive_fields",
        "weight_change",
        "theta",
        "weights",
        "raster",
        "confusion",
        "neurons_per_class",
        "accuracy",
    )
    assert {"report.html", *(f"{name}.png" for name in drawn)} <= names
    assert "checkpoints" not in names, "nothing is left to resume"
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
    assert set(result["accuracy"]) == {"all_activity", "proportion", "naive_bayes", "multinomial_bayes"}
    for name, share in result["accuracy"].items():
        low, high = result["accuracy_interval_95"][name]
        assert low < share < high
        right = sum(row[c] for c, row in enumerate(result["confusion"][name]))
        assert share == right / 200
    assert result["versions"]["torch"] and result["wall_seconds"] > 0
    assert f"{result['test_accuracy']:.2%}" in done.stdout
    assert str(run.relative_to(tmp_path)) in done.stdout
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
    assert {path.stem for path in run.glob("*.png")} == set(events.Tags()["images"])


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
    assert "engine torch on the CPU: batch_size=8" in done.stderr
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
    (["evaluator.readout=svm"], "evaluator.readout=svm: must be one of all_activity, proportion, naive_bayes, multi"),
    (["encoder=3"], "encoder=3: must be a group of keys"),
    (["engine=event", "batch_size=2"], "batch_size=2: the event engine learns from one image at a time; must be 1"),
    (["n_train=60001"], "n_train=60001: must be at most 60000"),
    (["n_test=10001"], "n_test=10001: must be at most 10000"),
    (["mode=eval"], "mode=eval needs the checkpoint.pt of a run"),
    (["mode=predict", "checkpoint=a"], "images=null: mode=predict needs a picture or a folder of pictures"),
    (["mode=export", "checkpoint=a"], "to=null: mode=export needs the file to write"),
    (["mode=compare"], "dir=null: mode=compare needs a folder with runs in it"),
    (["mode=compare", "dir=nowhere"], "dir=nowhere: "),
    (["trainer.checkpoint_seconds=0"], "trainer.checkpoint_seconds=0: must be a number above 0, or null"),
    (["trainer.plot_every=0"], "trainer.plot_every=0: must be a whole number of 1 or more, or null"),
    (["dataset.split=tset"], "dataset.split=tset: must be one of test, validation, train"),
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


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The directory of a small network that has learned."""
    folder = tmp_path_factory.mktemp("learned")
    command = [sys.executable, "-m", "stdp_run.cli", "n_exc=40", "n_train=1000", "n_test=100", "hydra.run.dir=run"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
    return folder / "run"


def test_a_network_is_evaluated_on_any_split(stdp_run, tmp_path, learned):
    checkpoint = f"checkpoint={learned}/checkpoint.pt"
    reached = {}
    for split in ("train", "validation", "test"):
        done = stdp_run("mode=eval", checkpoint, f"dataset.split={split}", "n_test=300", f"hydra.run.dir={split}")
        assert done.returncode == 0, done.stderr
        result = result_of(tmp_path / split)
        assert (result["split"], result["test_images"], result["n_exc"]) == (split, 300, 40)
        reached[split] = result["confusion"]["all_activity"]
    assert reached["train"] != reached["validation"] != reached["test"]
    assert stdp_run("mode=eval", checkpoint, "n_exc=40").returncode == 0


def test_a_network_is_evaluated_on_other_data(stdp_run, tmp_path, learned):
    for digit in range(10):
        write_images(tmp_path / "mine" / str(digit), 6, 20 * digit)
    own = ("dataset=image_folder", "dataset.root=mine")
    done = stdp_run("mode=eval", f"checkpoint={learned}/checkpoint.pt", *own, "hydra.run.dir=mine_too")
    assert done.returncode == 0, done.stderr
    result = result_of(tmp_path / "mine_too")
    assert (result["dataset"], result["test_images"]) == ("image_folder", 10)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["n_exc=41"], "was made with other settings: n_exc=41 (there: 40)"),
        (["rule.a_post=0.5"], "rule.a_post=0.5 (there: 0.04)"),
        (["dataset=image_folder", "dataset.root=few"], "1 classes; the network knows 10"),
        (["dataset=image_folder", "dataset.root=few", "dataset.height=9"], "252 pixels; the network has 784 inputs"),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_evaluating_refuses_what_does_not_fit_the_network(stdp_run, tmp_path, learned, arguments, expected):
    write_images(tmp_path / "few" / "only", 6, 100)
    done = stdp_run("mode=eval", f"checkpoint={learned}/checkpoint.pt", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr and "Traceback" not in done.stderr


def test_modes_that_use_a_network_leave_only_what_was_asked_for(stdp_run, tmp_path, learned, mnist):
    from PIL import Image

    chosen = np.flatnonzero(mnist.test.labels == 1)[:5]
    (tmp_path / "ones").mkdir()
    for k in chosen:
        Image.fromarray(255 - mnist.test.pixels[k]).resize((120, 120)).save(tmp_path / "ones" / f"{k}.png")
    checkpoint = f"checkpoint={learned}/checkpoint.pt"
    done = stdp_run("mode=predict", checkpoint, "images=ones", "csv=answers.csv")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["file", "answer", "confidence"]
    assert [row[0] for row in rows[1:]] == sorted(f"ones/{k}.png" for k in chosen)
    assert sum(row[1] == "1" for row in rows[1:]) >= 4, "ones are the easiest of all"
    (tmp_path / "ones" / "broken.png").write_bytes(b"not a picture")
    broken = stdp_run("mode=predict", checkpoint, "images=ones")
    assert broken.returncode == 2
    assert broken.stdout == done.stdout, "the others are answered all the same"
    assert "broken.png" in broken.stderr and "images=ones: 1 could not be read" in broken.stderr

    assert stdp_run("mode=export", checkpoint, "to=network.npz").returncode == 0
    with np.load(tmp_path / "network.npz", allow_pickle=False) as arrays:
        assert arrays["weight"].shape == (40, 784)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.csv", "network.npz", "ones"]


def test_runs_are_compared_at_any_time(stdp_run, tmp_path):
    for seed in (1, 2):
        assert stdp_run(*TINY, f"seed={seed}").returncode == 0
    done = stdp_run("mode=compare", "dir=outputs")
    assert done.returncode == 0, done.stderr
    assert "2 runs, 1 setting" in done.stdout
    assert sorted(path.name for path in (tmp_path / "outputs").glob("*.*")) == [
        "comparison.csv",
        "comparison.md",
        "comparison.png",
        "runs.csv",
    ]


def test_logging_can_be_turned_down(stdp_run):
    done = stdp_run(*TINY, "hydra.job_logging.root.level=ERROR")
    assert done.returncode == 0
    assert done.stderr == ""
