"""The command line, and what a run leaves; in a process of its own only where the process is the point."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import TINY, contents, figures, result_of, run_in
from PIL import Image

import stdp_run as stdp_run_package
from stdp_run import checkpoint
from stdp_run.cli.overrides import prepared
from stdp_run.evaluation.readouts import READOUTS

pytestmark = pytest.mark.usefixtures("without_plots")  # processes make theirs


def error_of(done: subprocess.CompletedProcess) -> str:
    """Return the one line that a refused command ends with."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    [line] = [line for line in done.stderr.splitlines() if line.startswith("stdp-run: error: ")]
    return line.removeprefix("stdp-run: error: ")


def test_help_explains_the_groups_without_loading_what_a_run_needs(tmp_path):
    program = """
import sys
from stdp_run.cli import main
sys.argv[1:] = ["--help"]
try:
    main()
finally:
    print({"torch", "numba", "matplotlib", "pandas", "scipy"} & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == "set()\n", "these take seconds to import"
    choices = (*READOUTS, *stdp_run_package.rules, *stdp_run_package.neurons)
    for word in (*choices, "rule: exponential", "dataset: digits", "n_exc=400", "debug=smoke", "-m rule="):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_version_is_this_programs(stdp_run):
    assert stdp_run("--version").stdout == f"stdp-run {stdp_run_package.__version__}\n"
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{stdp_run_package.__version__}"' in project


# How a command is refused is tested without processes, in tests/config and where it is refused; here is what is left.
slow = partial(pytest.param, marks=pytest.mark.slow)
BAD_INPUT = [
    ("tuned=nope", "tuned=nope: must be one of "),
    ("--nope", "unrecognized arguments: --nope"),
    ("hydra.run.dir=/dev/null/run", "hydra.run.dir=/dev/null/run: cannot be written: Not a directory"),
    slow("-m hydra.sweep.dir=/dev/null/x seed=1,2", "hydra.sweep.dir=/dev/null/x: cannot be written"),
    slow("--config-dir nowhere", "nowhere' not found"),
    slow("--run --multirun", "Only one of --run, --multirun"),
    slow("n_train=60001", "n_train=60001: must be at most 60000"),
    slow("resume=.", "resume=.: must be auto, null, or the directory of a run"),
    slow("mode=eval checkpoint=nowhere.pt", "checkpoint=nowhere.pt: cannot be read: No such file"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD_INPUT)
def test_bad_input_gets_one_line_and_an_exit_code(stdp_run, tmp_path, arguments, expected):
    assert expected in error_of(stdp_run(*arguments.split()))
    assert not list(tmp_path.rglob("result.json"))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The folder in which `stdp-run debug=smoke` ran, and the finished process."""
    folder = tmp_path_factory.mktemp("smoke")
    command = [sys.executable, "-m", "stdp_run", "debug=smoke"]
    return folder, subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def only_run(folder: Path) -> Path:
    [run] = [path for path in folder.glob("outputs/*/*") if path.is_dir()]
    return run


def test_a_run_leaves_all_its_files(smoke):
    folder, done = smoke
    assert done.returncode == 0, done.stderr
    run = only_run(folder)
    names = {path.name for path in run.iterdir()}
    assert {".hydra", "config.yaml", "run.log", "metrics.jsonl", "result.json", "checkpoint.pt"} <= names
    plots = ("receptive_fields", "theta", "weights", "raster", "confusion", "neurons_per_class")
    assert {"report.html", "accuracy.png", *(f"{name}.png" for name in plots)} <= names
    assert "checkpoints" not in names, "nothing is left to resume"
    assert any(name.startswith("events.out.tfevents") for name in names)
    written = (run / "config.yaml").read_text()
    assert "n_exc: 50" in written and "w_norm: 0.11543 per input" in written and "${" not in written
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
        "train_images": 100,
        "test_images": 100,
        "readout": "all_activity",
    }
    assert expected.items() <= result.items()
    assert result["accuracy"]["all_activity"] > 0.3
    assert list(result["accuracy"]) == list(READOUTS)
    for name, share in result["accuracy"].items():
        low, high = result["accuracy_interval_95"][name]
        assert low < share < high
        assert share == sum(row[c] for c, row in enumerate(result["confusion"][name])) / 100
    assert result["versions"]["torch"] and result["wall_seconds"] > 0
    assert f"{result['accuracy']['all_activity']:.2%}" in done.stdout
    assert str(run.relative_to(folder)) in done.stdout
    for line in ("engine event", "constants tuned for nearest_online-lif_stdp", "test accuracy "):
        assert line in done.stderr
    assert "(all_activity)" in (run / "run.log").read_text()
    assert "\nafter 50 images: all_activity " in done.stderr, "without a name: there is one network"


def test_rules_go_by_their_published_names_too():
    assert prepared(["-m", "rule=Full_Online_STDP,mine"]) == ["-m", "rule=full_online,mine"]
    assert prepared(["--config-dir", "rule", "rule.name=A"]) == ["--config-dir", "rule", "rule.name=A"]


def test_the_same_seed_gives_the_same_figures_whatever_the_threads(tmp_path):
    for name, words in (("a", ["threads=1"]), ("b", ["threads=2"]), ("c", ["seed=1"])):
        run_in(tmp_path / name, *TINY, *words)
    assert figures(tmp_path / "a") == figures(tmp_path / "b")
    assert result_of(tmp_path / "a")["confusion"] != result_of(tmp_path / "c")["confusion"]
    a, b = (checkpoint.load(tmp_path / name / "checkpoint.pt").state_dict for name in "ab")
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_validation_split_is_the_end_of_the_training_images(tmp_path, capsys):
    run_in(tmp_path / "run", *TINY, "dataset.split=validation")
    assert "validation accuracy" in capsys.readouterr().out
    assert result_of(tmp_path / "run")["split"] == "validation"


def test_small_digits_are_learned_with_published_constants(tmp_path):
    pytest.importorskip("sklearn")
    words = ("dataset=digits", "n_exc=30", "n_train=300", "n_test=100", "tuned=none")
    assert run_in(tmp_path / "run", *words) > 0.2, "chance is 0.1"


EDGES = [
    ["encoder.max_rate_hz=0"],
    ["n_exc=1"],
    ["encoder.steps=1"],
    ["n_train=1", "n_test=1", "n_label=1"],
    ["n_exc=3", "encoder.max_rate_hz=5000"],
]


@pytest.mark.parametrize("edge", EDGES, ids=lambda value: " ".join(value))
@pytest.mark.parametrize("engine", ["event", "torch"])
def test_degenerate_settings_run(tmp_path, edge, engine):
    small = ("n_exc=5", "n_train=6", "n_test=4", "n_label=6", "encoder.steps=20", f"engine={engine}")
    assert 0 <= run_in(tmp_path / "run", *small, *edge) <= 1
    assert "NaN" not in (tmp_path / "run" / "result.json").read_text() + (tmp_path / "run/metrics.jsonl").read_text()


def test_one_class_of_black_images_runs(tmp_path):
    (tmp_path / "mine" / "only").mkdir(parents=True)
    for k in range(10):
        Image.new("L", (10, 10)).save(tmp_path / "mine" / "only" / f"{k}.png")
    run_in(tmp_path / "run", "dataset=image_folder", f"dataset.root={tmp_path}/mine", "n_exc=4")
    result = result_of(tmp_path / "run")
    assert result["silent_neurons"] == 4
    assert result["accuracy"]["all_activity"] == 0.0, "an image that evokes no spike is not recognised"


# What only processes show, run with -m slow.


@pytest.mark.slow
def test_modes_that_use_a_network_leave_only_what_was_asked_for(stdp_run, tmp_path, finished_run, mnist):
    before = contents(finished_run)
    Image.fromarray(mnist.test.pixels[0]).resize((120, 120)).save(tmp_path / "picture.png")
    network = f"checkpoint={finished_run}/checkpoint.pt"
    for words in (("mode=predict", "predict.images=.", "predict.csv=answers.csv"), ("mode=export", "export.to=a.npz")):
        done = stdp_run(*words, network)
        assert done.returncode == 0, done.stderr
    assert "confidence" in stdp_run("mode=predict", network, "predict.images=picture.png").stdout
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    assert "predict.images=.: 1 could not be read" in error_of(stdp_run("mode=predict", network, "predict.images=."))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "answers.csv", "broken.png", "picture.png"]
    assert contents(finished_run) == before


@pytest.mark.slow
def test_logging_can_be_turned_down(stdp_run, tmp_path):
    done = stdp_run(*TINY, "hydra.job_logging.root.level=ERROR")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "test accuracy" in next(tmp_path.rglob("run.log")).read_text(), "only the terminal is quiet"
