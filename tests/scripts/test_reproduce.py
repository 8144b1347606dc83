"""scripts/reproduce.py: what it repeats, what it leaves alone and why, and the table it writes."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from stdp_run import checkpoint

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts" / "reproduce.py"
TINY = ["n_train=60", "n_label=60", "n_test=40", "threads=1", "encoder.steps=20"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("reproduce", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["reproduce"] = module
    spec.loader.exec_module(module)
    return module


def reproduce(output, *arguments, seeds=("0", "1"), extra=TINY):
    words = [sys.executable, SCRIPT, "--rows", "nearest_online_100", "--output", output, "--seeds", *seeds, *arguments]
    return subprocess.run([*words, "--", *extra], capture_output=True, text=True, timeout=600)


def test_it_runs_each_seed_once_and_writes_the_table(tmp_path):
    done = reproduce(tmp_path)
    assert done.returncode == 0, done.stderr
    files = [tmp_path / f"nearest_online_100/seed_{n}/result.json" for n in (0, 1)]
    results = [json.loads(file.read_text()) for file in files]
    mean, other = (50 * sum(result["accuracy"][name] for result in results) for name in ("all_activity", "naive_bayes"))
    (line,) = (text for text in (tmp_path / "results.md").read_text().splitlines() if "nearest_online_100 |" in text)
    assert f"| **{mean:.1f}** (" in line and f"| {other:.1f} |" in line
    assert f"`stdp-run -m rule=nearest_online n_exc=100 {' '.join(TINY)} seed=0,1`" in line
    table = pd.read_csv(tmp_path / "results.csv")
    assert list(table["seed"]) == [0, 1]
    assert list(table["accuracy_proportion"]) == [each["accuracy"]["proportion"] for each in results]

    # A run that was cut off is done again, one that is complete is not.
    written = files[1].stat().st_mtime_ns
    files[0].unlink()
    again = reproduce(tmp_path)
    assert "seed 0: runs" in again.stdout and "seed 1: there already" in again.stdout
    assert files[1].stat().st_mtime_ns == written
    assert json.loads(files[0].read_text())["accuracy"] == results[0]["accuracy"]

    # Another command: it says which, keeps the result and leaves it out of the table.
    other = reproduce(tmp_path, extra=[*TINY, "rule.a_post=0.02"])
    assert "seed 0: not repeated: its command is stdp-run rule=nearest_online" in other.stdout
    assert files[1].stat().st_mtime_ns == written
    assert len(pd.read_csv(tmp_path / "results.csv")) == 0


def test_a_run_that_is_stopped_is_resumed_and_ends_the_same(tmp_path):
    extra = ["n_train=6000", "n_label=200", "n_test=100", "threads=1", "trainer.checkpoint_every=500"]
    intact = reproduce(tmp_path / "intact", seeds="0", extra=extra)
    assert intact.returncode == 0, intact.stderr
    words = [sys.executable, SCRIPT, "--rows", "nearest_online_100", "--seeds", "0", "--output", tmp_path / "cut"]
    directory = tmp_path / "cut/nearest_online_100/seed_0"
    with subprocess.Popen([*words, "--", *extra], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as cut:
        deadline = time.monotonic() + 600
        while not any((directory / "checkpoints").glob("images_*.pt")) and time.monotonic() < deadline:
            time.sleep(0.01)
        cut.terminate()
        assert "resumes nearest_online_100, seed 0" in cut.communicate(timeout=600)[1]
    assert cut.returncode == 143
    assert any((directory / "checkpoints").iterdir()) and not (directory / "result.json").exists()
    again = reproduce(tmp_path / "cut", seeds="0", extra=extra)
    assert again.returncode == 0, again.stderr
    log = (directory / "run.log").read_text()
    assert log.count("engine event on the CPU") == 2, "the second process wrote to the log of the first"
    both = [
        json.loads((tmp_path / f"{name}/nearest_online_100/seed_0/result.json").read_text())
        for name in ("intact", "cut")
    ]
    assert both[0]["accuracy"] == both[1]["accuracy"] and both[0]["confusion"] == both[1]["confusion"]


@pytest.fixture
def complete(script, tmp_path, monkeypatch):
    """A folder with a complete run of commit "abc", as far as the script looks at it."""
    checkpoint.save(tmp_path / "checkpoint.pt", checkpoint.Checkpoint({}, {}, {}, {}))
    (tmp_path / "result.json").write_text(json.dumps({"commit": "abc", "readout": "a", "accuracy": {"a": 0.5}}))
    (tmp_path / "started.json").write_text(json.dumps({"commit": "abc", "command": "stdp-run seed=0"}))
    monkeypatch.setattr(script, "commit", lambda: "abc")
    return tmp_path


def test_a_result_of_another_commit_or_command_or_a_damaged_one_is_not_used(script, complete, monkeypatch):
    assert script.state_of(complete, "stdp-run seed=0") == script.DONE
    other = script.state_of(complete, "stdp-run seed=1")
    assert other == "not repeated: its command is stdp-run seed=0, now it is stdp-run seed=1 (--redo repeats it)"
    monkeypatch.setattr(script, "commit", lambda: "def")
    other = script.state_of(complete, "stdp-run seed=0")
    assert other == "not repeated: its commit is abc, now it is def (--redo repeats it)"
    (complete / "result.json").write_text('{"commit": "ab')
    assert script.state_of(complete, "stdp-run seed=0") is None


def test_what_another_commit_began_is_begun_anew(script, complete, monkeypatch):
    monkeypatch.setattr(script, "wait_for", lambda command: 0)
    (complete / "result.json").unlink()
    assert script.run(complete, "stdp-run seed=0") == 0
    assert (complete / "checkpoint.pt").exists(), "the same command resumes"
    monkeypatch.setattr(script, "commit", lambda: "def")
    assert script.run(complete, "stdp-run seed=0") == 0
    assert [file.name for file in complete.iterdir()] == ["started.json"]


def test_a_folder_of_something_else_is_left_alone(script, complete):
    (complete / "started.json").unlink()
    assert script.state_of(complete, "stdp-run seed=0") == script.NOT_OURS


def test_every_row_composes(script):
    from hydra import compose, initialize_config_dir

    from stdp_run.config.build import conf_folder
    from stdp_run.config.schema import read_settings

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        for row in script.all_rows().values():
            settings = read_settings(compose("config", overrides=list(row.overrides)))
            assert str(settings.n_exc) == row.name.rpartition("_")[2]


def test_an_unknown_row_is_named():
    done = subprocess.run([sys.executable, SCRIPT, "--rows", "mnist_7"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    assert "argument --rows: invalid choice: 'mnist_7' (choose from " in done.stderr
