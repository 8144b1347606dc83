"""Curves of accuracy under perturbations: what is a curve, figures against statistics, the table, the CSV, the plot."""

import csv
import json
import math
import statistics
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from stdp_run.commands import Invocation
from stdp_run.commands.compare import run
from stdp_run.errors import UserError
from stdp_run.reporting.comparison import compare, find_runs
from stdp_run.reporting.folder import summarise
from stdp_run.reporting.perturbation import draw, find_curves, to_text
from stdp_run.reporting.runs import find_all

OF_BITS = {"axis": "bits of each weight", "harmless": None}
OF_SHARE = {"axis": "share of neurons lost", "harmless": 0.0}
# n_exc, perturbation, strength -> accuracy of seeds 0, 1, ...
MEASURED = {
    (100, None, None): [0.8, 0.84],
    (100, "weight_bits", 8): [0.79, 0.83],
    (100, "weight_bits", 2): [0.5, 0.7],
    (100, "neuron_lesion", 0.25): [0.6, 0.4],
    (1600, None, None): [0.9],
    (1600, "weight_bits", 2): [0.875],
    (400, None, None): [0.99],  # never perturbed
}


def write(folder: Path, accuracy: float | None, perturbation: dict | None, *, mode="eval", rule="a_rule", **values):
    """Write what a command leaves; without a result if there is no accuracy."""
    folder.mkdir(parents=True)
    config = {
        "rule": {"name": rule},
        "mode": mode,
        "seed": 0,
        "checkpoint": str(folder),
        "perturbation": None,
        **values,
    }
    if perturbation:
        config["perturbation"] = {"_target_": "A.B", "name": perturbation["name"], "strength": perturbation["strength"]}
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    result = {"accuracy": {"all_activity": accuracy}, "readout": "all_activity", "split": "test"}
    result["accuracy_per_class"] = {"all_activity": {"a": 1, "b": None, "c": 0, "d": 0}}
    if perturbation:
        result["perturbation"] = perturbation
    if accuracy is not None:
        (folder / "result.json").write_text(json.dumps(result))


@pytest.fixture
def folder(tmp_path):
    for number, ((n_exc, name, strength), accuracies) in enumerate(MEASURED.items()):
        details = OF_BITS if name == "weight_bits" else OF_SHARE
        perturbation = None if name is None else {"name": name, "strength": strength, **details}
        for seed, accuracy in enumerate(accuracies):
            write(tmp_path / f"{number}_{seed}", accuracy, perturbation, n_exc=n_exc, seed=seed)
    return tmp_path


def test_figures_are_those_over_the_seeds_of_each_network_and_strength(folder, capsys):
    run(SimpleNamespace(compare=SimpleNamespace(dir=str(folder))), Invocation(folder))
    with (folder / "perturbation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["network"], row["perturbation"], row["strength"]): row for row in rows}
    wanted = {key: accuracies for key, accuracies in MEASURED.items() if key[0] != 400}
    assert len(rows) == len(found) == len(wanted)
    for (n_exc, name, strength), accuracies in wanted.items():
        row = found[f"n_exc={n_exc}", name or "none", "" if strength is None else str(float(strength))]
        assert float(row["accuracy_mean"]) == pytest.approx(statistics.mean(accuracies))
        assert (float(row["accuracy_min"]), float(row["accuracy_max"])) == (min(accuracies), max(accuracies))
        spread = f"{statistics.stdev(accuracies):.6f}" if len(accuracies) > 1 else ""
        assert (row["accuracy_sd"] and f"{float(row['accuracy_sd']):.6f}") == spread
        assert (row["seeds"], row["n_seeds"]) == (" ".join("01"[: len(accuracies)]), str(len(accuracies)))
    assert capsys.readouterr().out.splitlines() == [
        "Test accuracy in %, mean ± standard deviation over seeds.",
        "",
        "perturbation=neuron_lesion: share of neurons lost",
        "                 none         0.25",
        "n_exc=100  82.0 ± 2.8  50.0 ± 14.1",
        "",
        "perturbation=weight_bits: bits of each weight",
        "                  none           8            2",
        "n_exc=100   82.0 ± 2.8  81.0 ± 2.8  60.0 ± 14.1",
        "n_exc=1600        90.0                     87.5",
    ]
    assert (folder / "perturbation.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "comparison.csv").exists()


def test_every_panel_goes_from_none_to_the_strongest(folder):
    figure = draw(find_curves(find_all(folder).evaluations))
    neurons, bits, legend = figure.axes
    first, chance = neurons.get_lines()[:2]
    assert (list(first.get_xdata()), list(first.get_ydata())) == ([0, 0.25], pytest.approx([82, 50]))
    assert list(chance.get_ydata()) == [25, 25], "of four classes"
    assert bits.xaxis_inverted() and not neurons.xaxis_inverted()
    ticks = {label.get_text(): place for place, label in zip(bits.get_xticks(), bits.get_xticklabels(), strict=True)}
    assert list(ticks) == ["2", "8", "none"] and ticks["none"] > ticks["8"]
    small, large = bits.get_lines()[:2]
    assert list(small.get_xdata()) == [2, 8, ticks["none"]] and list(small.get_ydata()) == pytest.approx([60, 81, 82])
    assert list(large.get_xdata()) == [2, ticks["none"]] and list(large.get_ydata()) == pytest.approx([87.5, 90])
    assert small.get_color() != large.get_color()
    assert (neurons.get_xlabel(), bits.get_xlabel()) == ("share of neurons lost", "bits of each weight")
    assert [text.get_text() for text in legend.get_legend().get_texts()] == ["n_exc=100", "n_exc=1600", "chance"]


def test_networks_are_named_by_what_tells_them_apart(tmp_path):
    shift = {"name": "shift", "strength": 1, "axis": "shift (pixels)", "harmless": 0}
    networks = [
        {"rule": "post_pre_int", "n_exc": 400, "steps": 5},
        {"n_exc": 1600, "steps": 7},
        {"n_exc": 400, "steps": 6},
        {"n_exc": 400, "steps": 8, "first_layer": {"dataset": {"name": "patches"}}},
    ]
    for number, network in enumerate(networks):
        write(tmp_path / str(number), 0.5, shift, **network)
    names = find_curves(find_all(tmp_path).evaluations).networks
    assert names == ("a_rule, n_exc=400", "a_rule, n_exc=1600", "a_rule, first_layer=patches, n_exc=400",
                     "post_pre_int, n_exc=400")  # fmt: skip


def test_evaluations_are_no_runs_and_without_a_perturbation_no_curve(folder):
    with pytest.raises(UserError, match="must be a folder with runs in it"):
        find_runs(folder)
    write(folder / "none" / "one", 0.5, None)
    with pytest.raises(UserError, match="must be a folder with runs in it"):
        summarise(folder / "none")
    write(folder / "trained", 0.7, None, mode="train", n_exc=100)
    write(folder / "trained_before", 0.9, None, mode="train", n_exc=100, seed=1)
    config = folder / "trained_before" / "config.yaml"
    config.write_text(config.read_text().replace("perturbation: null\n", ""))
    write(folder / "unfinished", None, {"name": "weight_bits", "strength": 1})
    assert len(compare(find_runs(folder)).groups) == 1, "a record without the key is one without a perturbation"
    summary = summarise(folder)
    assert "80.00" in summary.text and "perturbation=weight_bits" in summary.text
    assert "unfinished: no result.json: on its way, or interrupted" in summary.text.replace("\n    ", " ")
    summary.write(folder)
    assert {"comparison.csv", "comparison.png", "perturbation.csv"} <= {file.name for file in folder.iterdir()}


def test_other_constants_of_a_perturbation_make_another_panel(tmp_path):
    for number, grey in enumerate((0, 200)):
        bar = {"name": "bar", "strength": 4, "axis": "width", "harmless": 0}
        write(tmp_path / str(number), 0.5 + number / 10, bar)
        config = OmegaConf.load(tmp_path / str(number) / "config.yaml")
        config.perturbation.grey = grey
        OmegaConf.save(config, tmp_path / str(number) / "config.yaml")
    curves = find_curves(find_all(tmp_path).evaluations)
    assert list(curves.perturbations.index) == ["bar, grey=0", "bar, grey=200"]
    assert [curves.of(name)["mean"].item() for name in curves.perturbations.index] == [0.5, 0.6]


def test_damaged_results_and_narrow_terminals(folder):
    (folder / "0_0" / "result.json").write_text("{")
    result = json.loads((folder / "1_0" / "result.json").read_text())
    (folder / "1_0" / "result.json").write_text(json.dumps({**result, "perturbation": "?", "accuracy_per_class": 3}))
    curves = find_curves(find_all(folder).evaluations)
    text = to_text(curves, 40)
    assert "0_0: result.json: not JSON" in text and max(map(len, text.splitlines()[:10])) <= 40
    assert "±" not in text.split("weight_bits", 1)[1].partition("Not finished")[0], "there is no room for it"
    assert math.isnan(curves.perturbations["harmless"]["weight_bits"])
