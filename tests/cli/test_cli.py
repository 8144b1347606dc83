"""The command line, and what a run leaves; in a process of its own only where the process is the point."""

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from helpers.runs import TINY, contents, result_of, run_in
from omegaconf import OmegaConf
from PIL import Image

import stdp_run as stdp_run_package
from stdp_run.cli.overrides import prepared
from stdp_run.evaluation.readouts import READOUTS

pytestmark = pytest.mark.usefixtures("without_plots")  # processes make theirs


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
    for word in (*choices, "rule: exponential", "dataset: arrays, digits", "n_exc=400", "debug=smoke", "-m rule="):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_version_is_this_programs(stdp_run):
    assert stdp_run("--version").stdout == f"stdp-run {stdp_run_package.__version__}\n"
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{stdp_run_package.__version__}"' in project


# Refusals that need no process are in tests/config and where they are made.
slow = partial(pytest.param, marks=pytest.mark.slow)
REFUSED = [
    ("--nope", "unrecognized arguments: --nope"),
    ("n_exc=77 hydra.run.dir=run", "holds a run with other settings: n_exc=77 (there: 100)"),
    ("mode=eval checkpoint=run hydra.run.dir=run", "holds the files of mode=train; choose another hydra.run.dir"),
    slow("tuned=nope", "tuned=nope: must be one of "),
    slow("hydra.run.dir=/dev/null/run", "hydra.run.dir=/dev/null/run: cannot be written: Not a directory"),
    slow("-m hydra.sweep.dir=/dev/null/x seed=1,2", "hydra.sweep.dir=/dev/null/x: cannot be written"),
    slow("--config-dir nowhere", "nowhere' not found"),
    slow("n_train=60001 hydra.run.dir=new/er", "n_train=60001: must be at most 60000"),
]


@pytest.mark.parametrize(("arguments", "expected"), REFUSED)
def test_a_refused_command_gets_one_line_and_an_exit_code_and_changes_nothing(
    stdp_run, tmp_path, finished_run, arguments, expected
):
    shutil.copytree(finished_run, tmp_path / "run")
    before = contents(tmp_path), sorted(tmp_path.rglob("*"))
    done = stdp_run(*arguments.split())
    assert done.returncode == 2 and "Traceback" not in done.stderr + done.stdout, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("stdp-run: error: ")]
    assert expected in line
    assert (contents(tmp_path), sorted(tmp_path.rglob("*"))) == before


@pytest.mark.slow
def test_an_accepted_command_is_recorded_and_one_that_resumes_it_leaves_the_record(stdp_run, tmp_path):
    done = stdp_run(*TINY, "n_test=41", "hydra.run.dir=run", "hydra.job_logging.root.level=ERROR")
    assert (done.returncode, done.stderr) == (0, "")
    run, records = tmp_path / "run", tmp_path / "run" / ".hydra"
    assert OmegaConf.load(records / "overrides.yaml") == [*TINY, "n_test=41"]
    assert OmegaConf.load(records / "config.yaml").n_test == 41
    assert OmegaConf.load(records / "hydra.yaml").hydra.runtime.output_dir == str(run)
    before, log = contents(records), (run / "run.log").read_text()
    assert log.count("test accuracy") == 1, "only the terminal is quiet"
    (run / "result.json").write_text("damaged")
    assert stdp_run("resume=run", "threads=1").returncode == 0
    assert contents(records) == before and (run / "run.log").read_text().startswith(log)


def test_a_run_leaves_all_its_files(tmp_path):
    words = [sys.executable, "-m", "stdp_run", "debug=smoke"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [run] = [path for path in tmp_path.glob("outputs/*/*") if path.is_dir()]
    plots = ("receptive_fields", "theta", "weights", "raster", "confusion", "neurons_per_class", "accuracy")
    plots = (*plots, "accuracy_per_class")
    files = {".lock", "config.yaml", "run.log", "metrics.jsonl", "result.json", "checkpoint.pt", "report.html"}
    left = {path.name for path in run.iterdir() if "tfevents" not in path.name}
    assert left == {".hydra", *files, *(f"{name}.png" for name in plots)}
    assert list(run.glob("events.out.tfevents.*"))
    written = (run / "config.yaml").read_text()
    assert "n_exc: 50" in written and "w_norm: 0.11543 per input" in written and "${" not in written
    result = result_of(run)
    expected = {"rule": "nearest_online", "neuron": "lif_stdp", "dataset": "mnist", "engine": "event", "device": "cpu"}
    expected |= {"seed": 0, "n_exc": 50, "epochs": 1, "train_images": 100, "test_images": 100}
    assert expected.items() <= result.items() and result["versions"]["torch"] and result["wall_seconds"] > 0
    assert result["accuracy"]["all_activity"] > 0.3 and result["readout"] == "all_activity"
    assert f"{result['accuracy']['all_activity']:.2%}" in done.stdout and str(run.relative_to(tmp_path)) in done.stdout
    for line in ("engine event", "constants tuned for nearest_online-lif_stdp", "test accuracy "):
        assert line in done.stderr
    assert "\nafter 50 images: all_activity " in done.stderr, "without a name: there is one network"


def test_rules_go_by_their_published_names_too():
    assert prepared(["-m", "rule=Full_Online_STDP,mine"]) == ["-m", "rule=full_online,mine"]
    assert prepared(["--config-dir", "rule", "rule.name=A"]) == ["--config-dir", "rule", "rule.name=A"]


@pytest.mark.parametrize(
    "edge",
    ["encoder.max_rate_hz=0", "n_exc=1 encoder.steps=1", "n_train=1 n_test=1 n_label=1 encoder.max_rate_hz=5000"],
)
def test_degenerate_settings_run_and_engines_agree_on_them(tmp_path, edge):
    small = ("n_exc=5", "n_train=6", "n_test=4", "n_label=6", "encoder.steps=20")
    for engine in ("event", "torch"):
        run_in(tmp_path / engine, *small, *edge.split(), f"engine={engine}")
        assert "NaN" not in (tmp_path / engine / "metrics.jsonl").read_text()
    event, torch = (result_of(tmp_path / engine) for engine in ("event", "torch"))
    for key in ("confusion", "train_spikes_per_image", "spikes_per_image", "silent_neurons"):
        assert event[key] == torch[key]


@pytest.mark.slow
def test_modes_that_use_a_network_take_files_of_any_name_and_leave_only_those(stdp_run, tmp_path, finished_run, mnist):
    folder = tmp_path / "größe (1), 'a'"
    shutil.copytree(finished_run, folder / "run")
    Image.fromarray(mnist.test.pixels[0]).save(tmp_path / "a[1].png")
    before = contents(tmp_path)
    for words in (
        ("mode=predict", "checkpoint=größe (1), 'a'/run", "predict.images=a[1].png", "predict.csv=a=b,c.csv"),
        ("mode=export", "checkpoint=größe (1), 'a'/run/checkpoint.pt", "export.to=größe (1), 'a'/a[1].npz"),
        ("mode=compare", "compare.dir=größe (1), 'a'"),
    ):
        done = stdp_run(*words)
        assert done.returncode == 0, done.stderr
    after = contents(tmp_path)
    assert before.items() <= after.items()
    names = ("comparison.csv", "comparison.md", "comparison.png", "running_accuracy.png", "runs.csv", "a[1].npz")
    assert after.keys() - before.keys() == {tmp_path / "a=b,c.csv", *(folder / name for name in names)}
