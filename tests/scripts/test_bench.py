"""scripts/bench.py: its table and JSON, and how it treats peers that are and are not there."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stdp_run import rules
from stdp_run.system import available_cores

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures with what Linux says in /proc")
SCRIPTS = Path(__file__).parents[2] / "scripts"
FEW = ["--images", "60", "--repeats", "3"]


def bench(*arguments):
    words = [sys.executable, SCRIPTS / "bench.py", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=600)


def document_of(folder, *arguments):
    """Return the JSON of a run."""
    done = bench(*arguments, "--output", folder / "speed.json")
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "speed.json").read_text())


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The JSON and the table of one run with two rules and two sizes."""
    folder = tmp_path_factory.mktemp("bench")
    files = folder / "speed.json", folder / "speed.md"
    sizes = ["--rules", "nearest_online", "post_pre_int", "--n-exc", "100", "3200"]
    done = bench(*sizes, *FEW, "--output", *files)
    assert done.returncode == 0, done.stderr
    assert files[1].read_text() == done.stdout
    return json.loads(files[0].read_text()), done.stdout


@pytest.mark.slow
def test_every_rule_and_size_has_a_row(measured):
    document, text = measured
    rows = [(row["rule"], row["n_exc"]) for row in document["rows"]]
    assert rows == [(rule, n) for rule in ("nearest_online", "post_pre_int") for n in (100, 3200)]
    head, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert [(line[0], int(line[2])) for line in lines] == rows
    assert [line[1] for line in lines] == ["diehl_cook"] * 2 + ["diehl_cook_int"] * 2
    for line, row in zip(lines, document["rows"], strict=True):
        cells = dict(zip(head, line, strict=True))
        assert cells["learning/s"] == f"{row['learning_images_per_second']:,.0f}"
        assert cells["eval x"] == f"{row['evaluating_to_floor']:.2f}"


@pytest.mark.slow
def test_the_figures_agree_with_one_another(measured):
    for row in measured[0]["rows"]:
        for name in ("learning", "evaluating", "floor"):
            runs = sorted(row[f"{name}_runs"])
            assert len(runs) == 3 and row[f"{name}_images_per_second"] == pytest.approx(runs[1])
            assert row[f"{name}_spread"] == pytest.approx((runs[2] - runs[0]) / runs[1])
        assert row["learning_to_floor"] == pytest.approx(
            row["floor_images_per_second"] / row["learning_images_per_second"]
        )
        cost = row["learning_ns_per_neuron_and_spike"] * row["n_exc"] * row["input_spikes_per_image"]
        assert cost == pytest.approx(1e9 / row["learning_images_per_second"])
        # 250 steps, 784 inputs, 128 Hz where a pixel is white, and a seventh of them is.
        assert 1500 < row["input_spikes_per_image"] < 6000


def test_all_rules_are_measured_with_the_group_that_is_named(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    chosen_pairs = importlib.import_module("bench").chosen_pairs
    assert dict(chosen_pairs(["all"], "lif_stdp")) == dict.fromkeys(rules, "lif_stdp") | {
        "post_pre_int": "diehl_cook_int"
    }
    # Not a rule without compiled code for conductances.
    assert set(rules) - set(dict(chosen_pairs(["all"], "diehl_cook_2015"))) == {"meta_nearest_online"}


@pytest.mark.slow
def test_delayed_spikes_have_a_floor_of_their_own(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    bench = importlib.import_module("bench")
    network = bench.Network(bench.Subject("triplet", "diehl_cook_2015", 4), np.full((2, 784), 255, np.uint8))
    n_spikes, weight = network.floor(2), network.engine.state().weight
    # 700 steps of 0.5 ms with 63.75 Hz, two white images; each spike adds its weight to a sum of every neuron.
    assert n_spikes == pytest.approx(2 * 784 * 700 * 0.031875, rel=0.01)
    *_, arrivals, _ = network._floor_arguments
    assert arrivals.sums.sum(dtype=np.float64) == pytest.approx(weight.sum() * n_spikes / 784, rel=0.02)


@pytest.mark.slow
def test_memory_is_that_of_the_row(measured):
    small, large = measured[0]["rows"][:2]
    assert large["weights_mib"] == 784 * 3200 * 4 / 2**20
    assert large["held_memory_mib"] > large["weights_mib"]
    # In a process of its own: the second row's memory does not hide what the first one needs, nor add to it.
    assert small["held_memory_mib"] < large["weights_mib"] < large["peak_memory_mib"]


@pytest.mark.slow
@pytest.mark.skipif(available_cores() < 2, reason="needs two cores")
def test_two_cores_are_measured_beside_one_and_batches_beside_the_event_engine(tmp_path):
    few = ["--n-exc", "50", "--images", "200", "--repeats", "2", "--seconds", "0.1"]
    document = document_of(tmp_path, *few, "--threads", "2", "--batch-sizes", "1", "8")
    assert document["versions"]["numpy"] == np.__version__ and {"commit", "date"} < set(document)
    event, *batches = document["rows"]
    threads = event["threads"]
    assert document["machine"]["cores_used"] == threads["n"] == 2 and threads["images"] == 200
    ratio = threads["all_images_per_second"] / threads["one_images_per_second"]
    assert threads["of_linear"] == pytest.approx(ratio / 2)
    assert [row["batch_size"] for row in batches] == [1, 8] and batches[1]["images"] % 8 == 0
    assert all("threads" not in row and row["learning_images_per_second"] > 0 for row in batches)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--images 0", "argument --images: at least 1"),
        ("--threads 100000", "--threads 100000: between 1 and"),
        ("--neuron diehl_cook_int", "argument --neuron: invalid choice: 'diehl_cook_int'"),
        ("--rules meta_nearest_online --neuron diehl_cook_2015", "--rules meta_nearest_online: the event engine"),
        (f"--peers {SCRIPTS}", f"--peers {SCRIPTS}: no program"),
        ("--images 32 --batch-sizes 64", "--images 32: at least one batch of 64"),
    ],
)
def test_what_cannot_be_measured_is_refused(monkeypatch, capsys, arguments, expected):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments.split()])
    with pytest.raises(SystemExit) as stop:
        importlib.import_module("bench").main()
    assert stop.value.code and expected in capsys.readouterr().err + str(stop.value)


def python_with(folder, *packages):
    """Return a Python that sees the standard library and, of what is installed here, only `packages`."""
    site = folder / "site"
    site.mkdir()
    for package in packages:
        (site / package.name).symlink_to(package)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec "{sys.executable}" -S "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.slow
def test_peers_that_are_not_installed_are_named(tmp_path):
    numpy = Path(np.__file__).parent
    libraries = numpy.with_name("numpy.libs")
    python = python_with(tmp_path, numpy, *([libraries] if libraries.exists() else []))
    done = bench("--n-exc", "10", "--images", "20", "--repeats", "1", "--peers", python)
    assert done.returncode == 0, done.stderr
    names = ["bindsnet", "spaic", "brian2", "brian2-published", "brian2-paper", "nest", "neurosush", "ngclearn"]
    packages = {name: name.partition("-")[0] for name in names} | {"annarchy": "ANNarchy"}
    assert set(done.stdout.splitlines()[::2]) == {
        f"{name}: not installed (No module named '{package}')" for name, package in packages.items()
    }


@pytest.mark.slow
def test_an_environment_that_does_not_work_is_an_error(tmp_path):
    python = python_with(tmp_path)
    done = bench("--n-exc", "10", "--images", "20", "--peers", python)
    assert done.returncode == 1
    assert "bindsnet with 10 neurons failed" in done.stderr and "No module named 'numpy'" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif("STDP_RUN_PEERS" not in os.environ, reason="STDP_RUN_PEERS names no Python that has the peers")
@pytest.mark.parametrize("name", ["bindsnet", "spaic", "nest", "neurosush", "ngclearn"])
def test_a_peer_learns_in_turn_with_this_engine(name, tmp_path):
    settings = ["--images", "100", "--repeats", "3", "--seconds", "0.1", "--n-exc", "10", "--peer-names", name]
    (row,) = document_of(tmp_path, "--peers", os.environ["STDP_RUN_PEERS"], *settings)["peers"]
    assert (row["peer"], row["n_exc"], row["steps"]) == (name, 10, 250)
    ratios = sorted(ours / theirs for ours, theirs in zip(row["stdp_run_runs"], row["runs"], strict=True))
    assert row["factor"] == pytest.approx(ratios[1]) and row["factor_range"] == pytest.approx(ratios[::2])
    assert row["factor"] > 100
