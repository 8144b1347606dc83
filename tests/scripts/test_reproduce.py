"""scripts/reproduce.py: what it repeats, what it leaves alone and why, and the table it writes."""

import csv
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stdp_run.training import checkpoint

SCRIPT = Path(__file__).parents[2] / "scripts" / "reproduce.py"
CUT = ("whole", "cut")
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
    results = [json.loads((tmp_path / f"nearest_online_100/seed_{n}/result.json").read_text()) for n in (0, 1)]
    mean, other = (50 * sum(result["accuracy"][name] for result in results) for name in ("all_activity", "naive_bayes"))
    (line,) = (text for text in (tmp_path / "results.md").read_text().splitlines() if "nearest_online_100 |" in text)
    assert f"| **{mean:.1f}** (" in line and f"| {other:.1f} |" in line
    assert "`stdp-run -m rule=nearest_online n_exc=100" in line
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert [float(row["accuracy_proportion"]) for row in rows] == [each["accuracy"]["proportion"] for each in results]
    assert rows[0]["commit"] == (results[0]["commit"] or "")
    assert rows[0]["machine"].endswith(", 1 core") and ", 1 core." in (tmp_path / "results.md").read_text()

    # A run that was cut off is done again, one that is complete is not.
    written = (tmp_path / "nearest_online_100/seed_1/result.json").stat().st_mtime_ns
    (tmp_path / "nearest_online_100/seed_0/result.json").unlink()
    again = reproduce(tmp_path)
    assert "seed 0: runs" in again.stdout and "seed 1: there already" in again.stdout
    assert (tmp_path / "nearest_online_100/seed_1/result.json").stat().st_mtime_ns == written
    assert (
        json.loads((tmp_path / "nearest_online_100/seed_0/result.json").read_text())["accuracy"]
        == (results[0]["accuracy"])
    )

    # Other settings: it says which, keeps the result and leaves it out of the table.
    other = reproduce(tmp_path, extra=[*TINY, "rule.a_post=0.02"])
    assert "seed 0: not repeated: rule.a_post=0.02 (there: 0.04)" in other.stdout
    assert len(list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))) == 0


def test_a_run_that_is_stopped_goes_on_and_ends_the_same(tmp_path):
    extra = ["n_train=6000", "n_label=200", "n_test=100", "threads=1", "trainer.checkpoint_every=500"]
    whole = reproduce(tmp_path / "whole", seeds="0", extra=extra)
    assert whole.returncode == 0, whole.stderr
    words = [sys.executable, SCRIPT, "--rows", "nearest_online_100", "--seeds", "0", "--output", tmp_path / "cut"]
    directory = tmp_path / "cut/nearest_online_100/seed_0"
    with subprocess.Popen([*words, "--", *extra], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as cut:
        deadline = time.monotonic() + 600
        while not any((directory / "checkpoints").glob("images_*.pt")) and time.monotonic() < deadline:
            time.sleep(0.01)
        cut.terminate()
        assert "goes on with nearest_online_100, seed 0" in cut.communicate(timeout=600)[1]
    assert cut.returncode == 143
    assert not (directory / "result.json").exists()
    again = reproduce(tmp_path / "cut", seeds="0", extra=extra)
    assert again.returncode == 0 and "going on after" in again.stdout + again.stderr
    both = [json.loads((tmp_path / f"{name}/nearest_online_100/seed_0/result.json").read_text()) for name in CUT]
    assert both[0]["accuracy"] == both[1]["accuracy"] and both[0]["confusion"] == both[1]["confusion"]

    # Of another commit nothing is gone on with.
    (directory / "result.json").unlink()
    (directory / "commit.txt").write_text("another")
    (directory / "checkpoints").mkdir()
    shutil.copy(directory / "checkpoint.pt", directory / "checkpoints/images_000000006000.pt")
    anew = reproduce(tmp_path / "cut", seeds="0", extra=extra)
    assert anew.returncode == 0 and "going on after" not in anew.stdout + anew.stderr


def test_a_result_of_another_commit_or_a_damaged_one_is_not_used(script, tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "checkpoint.pt", checkpoint.Checkpoint({}, {}, {}, {}))
    (tmp_path / "result.json").write_text(json.dumps({"commit": "abc", "test_accuracy": 0.5}))
    monkeypatch.setattr(script, "commit", lambda: "def")
    assert script.state_of(tmp_path, []) == ("not repeated: its commit is abc, now it is def (--redo repeats it)")
    (tmp_path / "result.json").write_text('{"commit": "de')
    assert script.state_of(tmp_path, []) is None


def test_every_row_composes(script):
    for row in script.all_rows():
        settings = script.settings_now(row.arguments(0, []))
        assert str(settings["n_exc"]) == row.name.rpartition("_")[2]


def test_an_unknown_row_is_named():
    done = subprocess.run([sys.executable, SCRIPT, "--rows", "mnist_7"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "--rows mnist_7: must be one of mnist_100, mnist_400" in done.stderr
