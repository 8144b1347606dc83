"""scripts/reproduce.py: repeated and resumed runs, and its tables."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.runs import settings_of

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[2] / "scripts"
TINY = ["n_train=60", "n_label=60", "n_test=40", "threads=1", "encoder.steps=20"]


def reproduce(output, seeds, *extra):
    words = [sys.executable, SCRIPTS / "reproduce.py", "--rows", "nearest_online_100", "--output", output]
    return subprocess.run([*words, "--seeds", seeds, "--", *extra], capture_output=True, text=True, timeout=600)


@pytest.mark.weekly
def test_it_runs_each_seed_once_and_writes_the_table(tmp_path):
    done = reproduce(tmp_path, "0,1", *TINY)
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "nearest_online_100").glob("*/result.json"))
    results = [json.loads(file.read_text()) for file in files]
    (line,) = pd.read_csv(tmp_path / "mnist.csv").to_dict("records")
    assert line["run"] == "nearest_online_100" and line["seeds"] == 2 and line["readout"] == "all_activity"
    for name in ("all_activity", "naive_bayes"):
        percent = [100 * result["accuracy"][name] for result in results]
        assert line[name] == f"{np.mean(percent):.1f} ± {np.std(percent, ddof=1):.2f}"
    (line,) = pd.read_csv(tmp_path / "runs.csv").to_dict("records")
    assert line["command"] == f"`stdp-run -m rule=nearest_online n_exc=100 {' '.join(TINY)} seed=0,1`"
    assert line["each seed"] == " ".join(f"{100 * result['accuracy']['all_activity']:.1f}" for result in results)
    written = [file.stat().st_mtime_ns for file in files]
    files[0].unlink()  # as if this run had been interrupted
    assert reproduce(tmp_path, "0,1", *TINY).returncode == 0
    assert json.loads(files[0].read_text())["accuracy"] == results[0]["accuracy"]
    assert files[1].stat().st_mtime_ns == written[1], "a run that is complete is not repeated"
    refused = reproduce(tmp_path, "0", *TINY, "rule.a_post=0.02")
    assert refused.returncode == 1 and "has a seed twice; other overrides need another --output" in refused.stderr


def test_new_runs_replace_their_rows_alone_and_their_operations_become_a_picture(tmp_path, script):
    sizes = {"mnist_100": 100, "mnist_400": 400, "fashion_mnist_100": 100}
    for row, n_exc in sizes.items():
        result = {"n_exc": n_exc, "epochs": 3, "dataset": row.rpartition("_")[0], "readout": "proportion"}
        for seed in range(10):
            work = {"synaptic_operations": {"Effective_ACs": n_exc * (10 + seed), "Dense": 1}, "energy_uj": 1 + seed}
            result |= {"seed": seed, "commit": "0123456789", "accuracy": {"proportion": 0.9 + seed / 1000}}
            result |= {"supervised": {"accuracy": 0.95 + seed / 500}, "operations": {**work, "layers": [work]}}
            (tmp_path / f"{row}/{seed}").mkdir(parents=True)
            (tmp_path / f"{row}/{seed}/result.json").write_text(json.dumps(result | {"wall_seconds": 150}))
    (tmp_path / "mnist.csv").write_text("run,proportion\nnearest_online_100,89.0 ± 0.21\nmnist_100,1.0\n")
    script.write(tmp_path, [], tmp_path)
    new, _, kept = pd.read_csv(tmp_path / "mnist.csv").to_dict("records")
    assert kept["run"] == "nearest_online_100" and kept["proportion"] == "89.0 ± 0.21"
    assert new["proportion"] == "90.5 ± 0.30" and new["new seed"] == "89.8–91.1" and new["seeds"] == 10
    assert new["supervised"] == "95.9 ± 0.61" and np.isnan(kept["supervised"])
    line, *_ = pd.read_csv(tmp_path / "runs.csv", dtype=str).to_dict("records")
    assert (line["time"], line["commit"]) == ("2.5 min", "0123456")
    lines = pd.read_csv(tmp_path / "operations.csv").set_index("run")
    for row, n_exc in sizes.items():
        dataset, *numbers = lines.loc[row]
        assert dataset == row.rpartition("_")[0] and numbers == pytest.approx([n_exc, 90.45, 14.5 * n_exc, 5.5])
    script.draw(tmp_path / "operations.csv", tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_every_row_composes(script):
    for name, words in script.ROWS.items():
        assert str(settings_of(*words.split()).n_exc) == name.rpartition("_")[2]
