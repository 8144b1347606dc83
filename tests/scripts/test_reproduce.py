"""scripts/reproduce.py: what it repeats, what it resumes, and the table it writes."""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.runs import settings_of

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[2] / "scripts"
TINY = ["n_train=60", "n_label=60", "n_test=40", "threads=1", "encoder.steps=20"]


def command(output, seeds, *extra):
    words = [sys.executable, SCRIPTS / "reproduce.py", "--rows", "nearest_online_100", "--output", output]
    return [*words, "--seeds", seeds, "--", *extra]


def reproduce(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=600)


def test_it_runs_each_seed_once_and_writes_the_table(tmp_path):
    done = reproduce(tmp_path, "0,1", *TINY)
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "nearest_online_100").glob("*/result.json"))
    results = [json.loads(file.read_text()) for file in files]
    mean, other = (50 * sum(result["accuracy"][name] for result in results) for name in ("all_activity", "naive_bayes"))
    (line,) = (text for text in (tmp_path / "results.md").read_text().splitlines() if "nearest_online_100 |" in text)
    assert f"| **{mean:.1f}** (" in line and f" {other:.1f} |" in line
    assert f"`stdp-run -m rule=nearest_online n_exc=100 {' '.join(TINY)} seed=0,1`" in line
    written = [file.stat().st_mtime_ns for file in files]
    files[0].unlink()  # as of a run that was cut off
    assert reproduce(tmp_path, "0,1", *TINY).returncode == 0
    assert json.loads(files[0].read_text())["accuracy"] == results[0]["accuracy"]
    assert files[1].stat().st_mtime_ns == written[1], "a run that is complete is not repeated"
    refused = reproduce(tmp_path, "0", *TINY, "rule.a_post=0.02")
    assert refused.returncode == 1 and "has a seed twice; other overrides need another --output" in refused.stderr


def test_a_sweep_that_is_stopped_is_resumed(tmp_path):
    extra = ["n_train=6000", "n_label=200", "n_test=100", "threads=1", "trainer.checkpoint_every=500"]
    with subprocess.Popen(command(tmp_path, "0", *extra), stderr=subprocess.DEVNULL) as cut:
        deadline = time.monotonic() + 600
        while not any(tmp_path.rglob("images_*.pt")) and time.monotonic() < deadline:
            time.sleep(0.01)
        cut.terminate()
        assert cut.wait(600) == 143
    assert not any(tmp_path.rglob("result.json"))
    assert reproduce(tmp_path, "0", *extra).returncode == 0
    (log,) = tmp_path.rglob("run.log")
    assert "resumed" in log.read_text() and (log.parent / "result.json").exists()


def test_every_row_composes(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    for name, words in importlib.import_module("reproduce").ROWS.items():
        assert str(settings_of(*words.split()).n_exc) == name.rpartition("_")[2]
