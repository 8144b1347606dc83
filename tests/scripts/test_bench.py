"""scripts/bench.py: its table and JSON, refused arguments, and peers that are installed or missing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stdp_run.system import available_cores

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures with what Linux says in /proc")
SCRIPTS = Path(__file__).parents[2] / "scripts"


def bench(*arguments):
    words = [sys.executable, SCRIPTS / "bench.py", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=600)


def document_of(folder, *arguments):
    """Return the JSON of a run, and its table."""
    files = folder / "speed.json", folder / "speed.md"
    done = bench(*arguments, "--output", *files)
    assert done.returncode == 0, done.stderr
    assert files[1].read_text() == done.stdout
    return json.loads(files[0].read_text()), done.stdout


@pytest.mark.slow
def test_figures_table_and_memory_agree_with_one_another(tmp_path):
    document, text = document_of(tmp_path, "--n-exc", "100", "3200", "--images", "60", "--repeats", "3")
    small, large = document["rows"]
    assert (small["n_exc"], large["n_exc"]) == (100, 3200) and document["versions"]["numpy"] == np.__version__
    head, _, line, _ = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    cells = dict(zip(head, line, strict=True))
    assert [cells["rule"], cells["group"], cells["neurons"]] == ["nearest_online", "diehl_cook", "100"]
    assert cells["learning/s"] == f"{small['learning_images_per_second']:,.0f}"
    assert cells["eval x"] == f"{small['evaluating_to_floor']:.2f}"
    for row in document["rows"]:
        for name in ("learning", "evaluating", "floor"):
            runs = sorted(row[f"{name}_runs"])
            assert len(runs) == 3 and row[f"{name}_images_per_second"] == pytest.approx(runs[1])
            assert row[f"{name}_spread"] == pytest.approx((runs[2] - runs[0]) / runs[1])
        rates = row["floor_images_per_second"], row["learning_images_per_second"]
        assert row["learning_to_floor"] == pytest.approx(rates[0] / rates[1])
        cost = row["learning_ns_per_neuron_and_spike"] * row["n_exc"] * row["input_spikes_per_image"]
        assert cost == pytest.approx(1e9 / rates[1])
        assert 1500 < row["input_spikes_per_image"] < 6000  # 250 steps, 784 inputs, a seventh of them white at 128 Hz
    # Each row has a process of its own, so the memory of one does not count for the other.
    assert small["held_memory_mib"] < large["weights_mib"] == 784 * 3200 * 4 / 2**20 < large["held_memory_mib"]


@pytest.mark.weekly
@pytest.mark.skipif(available_cores() < 2, reason="needs two cores")
def test_two_cores_are_measured_beside_one_and_batches_beside_the_event_engine(tmp_path):
    few = ["--n-exc", "50", "--images", "200", "--repeats", "2", "--seconds", "0.1"]
    document, _ = document_of(tmp_path, *few, "--threads", "2", "--batch-sizes", "8")
    event, batches = document["rows"]
    threads = event["threads"]
    assert document["machine"]["cores_used"] == threads["n"] == 2 and threads["images"] == 200
    ratio = threads["all_images_per_second"] / threads["one_images_per_second"]
    assert threads["of_linear"] == pytest.approx(ratio / 2)
    assert batches["batch_size"] == 8 and batches["images"] % 8 == 0
    assert "threads" not in batches and batches["learning_images_per_second"] > 0


@pytest.mark.slow
def test_delayed_spikes_have_a_floor_of_their_own(script):
    network = script.Network(script.Subject("triplet", "diehl_cook_2015", 4), np.full((2, 784), 255, np.uint8))
    n_spikes, weight = network.floor(2), network.engine.state().weight
    # 700 steps of 0.5 ms with 63.75 Hz, two white images. Each spike adds its weight to a sum of every neuron.
    assert n_spikes == pytest.approx(2 * 784 * 700 * 0.031875, rel=0.01)
    *_, arrivals, _ = network._floor_arguments
    assert arrivals.sums.sum(dtype=np.float64) == pytest.approx(weight.sum() * n_spikes / 784, rel=0.02)


def test_bad_arguments_are_refused(script, monkeypatch, capsys):
    for arguments, expected in (
        ("--images 0", "argument --images: at least 1"),
        ("--threads 100000", "--threads 100000: between 1 and"),
        ("--rules meta_nearest_online --neuron diehl_cook_2015", "--rules meta_nearest_online: the event engine"),
        (f"--peers {SCRIPTS}", f"--peers {SCRIPTS}: no program"),
        ("--images 32 --batch-sizes 64", "--images 32: at least one batch of 64"),
    ):
        monkeypatch.setattr(sys, "argv", ["bench.py", *arguments.split()])
        with pytest.raises(SystemExit) as stop:
            script.main()
        assert stop.value.code and expected in capsys.readouterr().err + str(stop.value)


@pytest.mark.slow
def test_peers_that_are_not_installed_are_named_and_one_that_fails_is_an_error():
    few = ("--n-exc", "10", "--images", "20", "--repeats", "1", "--peers")
    done = bench(*few, sys.executable)
    assert done.returncode == 0, done.stderr
    names = ["bindsnet", "spaic", "brian2", "brian2-published", "brian2-paper", "nest", "neurosush", "ngclearn"]
    packages = {name: name.partition("-")[0] for name in names} | {"annarchy": "ANNarchy"}
    assert set(done.stdout.splitlines()[::2]) == {
        f"{name}: not installed (No module named '{package}')" for name, package in packages.items()
    }
    done = bench(*few, shutil.which("false"))
    assert done.returncode == 1 and "bindsnet with 10 neurons failed" in done.stderr


def test_the_factor_of_a_peer_is_the_median_of_the_ratios_of_neighbouring_runs(script):
    rates = {"ours": iter([100, 80, 90]), "theirs": iter([10, 20, 5])}
    ours = SimpleNamespace(learn=lambda seconds: (seconds * next(rates["ours"]), seconds))
    peer = SimpleNamespace(name="other", n_exc=10, about={"steps": 250}, close=lambda: None)
    peer.learn = lambda seconds: (seconds * next(rates["theirs"]), seconds)
    row = script.compare.alternate(peer, ours, repeats=3, seconds=2)
    assert (row["images_per_second"], row["stdp_run_images_per_second"], row["steps_per_second"]) == (10, 90, 2500)
    assert (row["factor"], row["factor_range"]) == (10, [4, 18])
