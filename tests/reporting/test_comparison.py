"""Compared runs and evaluations: figures against the standard library, damaged runs, the table, CSV files and plot."""

import csv
import json
import os
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import run_in
from omegaconf import OmegaConf
from PIL import Image

from stdp_run.errors import UserError, printable
from stdp_run.reporting.comparison import compare, draw, to_text, write_files
from stdp_run.reporting.runs import find_runs

WRITTEN = {"comparison.csv", "runs.csv", "comparison.md", "comparison.png"}
CONFIG = {
    "rule": {"_target_": "stdp_run.rules.NearestOnline", "name": "nearest_online", "a_post": 0.01, "w_max": 1.0},
    "neuron": {"_target_": "stdp_run.neurons.LIF", "name": "lif_stdp", "w_ie": 120.0},
    "dataset": {"name": "mnist", "root": None, "split": "test"},
    "trainer": {"schedule": "constant", "log_every": 1000, "checkpoint_seconds": 30},
    **{"evaluator": {"readout": "all_activity"}, "first_layer": None, "perturbation": None},
    **{"mode": "train", "seed": 0, "n_exc": 400, "epochs": 1, "n_train": None, "n_test": None, "dtype": "float32"},
    **{"threads": None, "checkpoint": None, "resume": "auto", "compare": {"dir": None}},
}
FIGURES = {
    **{
        "readout": "all_activity",
        "accuracy": {"all_activity": 0.9},
        "accuracy_interval_95": {"all_activity": [0.8, 1]},
    },
    **{"train_images": 60000, "test_images": 10000, "wall_seconds": 12.5},
    **{"train_images_per_second": 5000.0, "eval_images_per_second": 9000.0},
}
AXIS = {"weight_bits": "bits of each weight", "neuron_lesion": "share of neurons lost"}


def write_run(folder: Path, accuracy: float | None, perturbation=None, result=(), **settings) -> Path:
    """Write a run with these settings (`rule__a_post` is rule.a_post), without a result if `accuracy` is None.

    `perturbation` is a name and a strength, and makes the run an evaluation.
    """
    config = OmegaConf.create(CONFIG)
    if perturbation:
        settings |= {"mode": "eval", "perturbation": dict(zip(("name", "strength"), perturbation, strict=True))}
    for key, value in settings.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    folder.mkdir(parents=True)
    OmegaConf.save(config, folder / "config.yaml")
    if accuracy is not None:
        figures = {
            "readout": config.evaluator.readout,
            "accuracy": {"all_activity": accuracy, "proportion": accuracy / 2},
            "accuracy_interval_95": dict.fromkeys(("all_activity", "proportion"), (accuracy - 0.01, accuracy + 0.02)),
            **{"train_images": config.n_train or 60000, "test_images": config.n_test or 10000},
            "train_images_per_second": 5000.0 if config.mode == "train" else None,
            **{"eval_images_per_second": 9000.0, "wall_seconds": 12.5},
            **({"perturbation": {"axis": AXIS[perturbation[0]]}} if perturbation else {}),
        }
        (folder / "result.json").write_text(json.dumps(figures | dict(result)))
    return folder


def compared(root: Path, *runs: tuple[float, dict]):
    """Write runs 0, 1, ... from pairs of accuracy and settings, and compare what the folder has."""
    for number, (accuracy, settings) in enumerate(runs):
        write_run(root / str(number), accuracy, **settings)
    return compare(find_runs(root))


def rows_of(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table_of(text: str) -> list[list[str]]:
    """Return the words of each line of the printed table, its titles first."""
    return [line.split() for line in text.split("\n\n")[1].splitlines()]


# Groups ---------------------------------------------------------------------------------------------------------------


def test_csv_and_table_hold_the_figures_of_the_standard_library(tmp_path):
    known = {100: [0.81, 0.83, 0.82], 400: [0.9, 0.93, 0.915], 1600: [0.95]}
    runs = [(value, {"n_exc": n, "seed": seed + 9}) for n, values in known.items() for seed, value in enumerate(values)]
    comparison = compared(tmp_path, *runs)
    write_files(comparison, tmp_path)
    rows = rows_of(tmp_path / "comparison.csv")
    assert comparison.keys == ["n_exc"] and [row["n_exc"] for row in rows] == ["1600", "400", "100"], "best first"
    titles, *lines = map(" ".join, table_of(to_text(comparison)))
    assert titles == "n_exc seeds accuracy sd min max 95% from 95% to images/s wall (s)"
    assert lines[0] == "1600 9 95.00 94.00 97.00 5,000 12.5", "a single run has its interval"
    assert lines[1] == "400 9,10,11 91.50 1.50 90.00 93.00 5,000 12.5", "seeds are in order"
    for row in rows:
        values = known[int(row["n_exc"])]
        assert row["n_seeds"] == str(len(values))
        for column, share in (("accuracy", 1), ("accuracy_proportion", 2)):
            figures = {"mean": statistics.mean(values), "min": min(values), "max": max(values)}
            figures |= {"sd": statistics.stdev(values)} if len(values) > 1 else {}
            for name, value in figures.items():
                assert float(row[f"{column}_{name}"]) == pytest.approx(value / share, abs=1e-14)
    assert rows[0]["accuracy_sd"] == rows[1]["interval_95_low"] == ""
    assert len(rows_of(tmp_path / "runs.csv")) == 7
    assert to_text(comparison) in (tmp_path / "comparison.md").read_text()


def test_settings_that_all_runs_share_are_named_with_numbers_of_images(tmp_path):
    comparison = compared(tmp_path, (0.8, {}), (0.9, {"seed": 1}))
    write_files(comparison, tmp_path)
    first, second = to_text(comparison).splitlines()[:2]
    assert first.startswith("2 runs, 1 setting, best first: test accuracy in %")
    named = "rule=nearest_online, neuron=lif_stdp, dataset=mnist, dataset.split=test, n_exc=400, epochs=1, "
    named += "n_train=60000, n_test=10000, evaluator.readout=all_activity"
    assert second == f"The same in all: {named}."
    (row,) = rows_of(tmp_path / "comparison.csv")
    shared = dict(pair.split("=") for pair in f"mode=train, perturbation=none, {named}".split(", "))
    assert row.items() >= shared.items()
    title = draw(comparison).get_suptitle().replace("\n", " ")
    assert title.startswith(f"{named} mean over seeds; bar: standard deviation")


def test_ties_keep_their_order_and_a_seed_that_was_run_twice_counts_once(tmp_path):
    ties = compared(tmp_path / "ties", *[(0.8, {"n_exc": size}) for size in (30, 10, 20)])
    assert list(ties.groups["n_exc"]) == ["30", "10", "20"]
    runs = [(0.8, {"seed": 1}), (0.6, {"seed": 1, "threads": 2}), (0.9, {"seed": 10}), (0.8, {"seed": 2})]
    groups = compared(tmp_path / "twice", *runs).groups
    assert list(groups["seeds"]) == ["1 2 10"] and groups["accuracy_mean"][0] == pytest.approx(0.8)


def test_operational_settings_do_not_separate_runs_and_all_others_do(tmp_path):
    ignored = {"threads": 2, "checkpoint": "x.pt", "compare__dir": "a", "n_exc": 400.0, "n_train": 60000}
    ignored |= {"resume": None, "trainer__checkpoint_seconds": 60, "trainer__log_every": 20}
    same = compared(tmp_path / "same", *[(0.8, {key: value}) for key, value in ignored.items()])
    assert same.keys == [] and len(same.groups) == 1
    others = {"dtype": ("float32", "float64"), "rule__a_post": (1, 2), "rule__extra": (1, [1, 2]), "tf32": (True, 1)}
    for key, values in others.items():
        comparison = compared(tmp_path / key, *[(0.8, {key: value}) for value in values])
        assert comparison.keys == [key.replace("__", ".")] and len(comparison.groups) == 2


def test_constants_of_a_rule_are_not_listed_unless_they_were_swept(tmp_path):
    other = {"rule__name": "full_online", "rule__a_post": 0.0185, "n_exc": 100, "dataset__split": "validation"}
    runs = [(0.8, {}), (0.8, other), (0.7, {"rule__name": "post_pre_int", "neuron__name": "int", "neuron__w_ie": 3})]
    comparison = compared(tmp_path / "a", *runs)
    assert comparison.keys == ["rule", "neuron", "dataset.split", "n_exc"] and comparison.measure == "accuracy"
    assert "rule.a_post" in comparison.groups, "the CSV file has them"
    assert "rule.a_post" in compared(tmp_path / "b", *runs, (0.9, {"rule__a_post": 0.02})).keys


# Folders --------------------------------------------------------------------------------------------------------------


def test_runs_are_found_once_at_every_depth_and_not_inside_runs_or_hidden_folders(tmp_path):
    root = tmp_path / "root"
    for name in ("b", "deep/er/a", "b/first_layer", "b/checkpoints/1", ".trash/3", "first_layer/c"):
        write_run(root / name, 0.8)
    for mode in ("predict", "stdp_window", "compare"):
        write_run(root / mode, None, mode=mode)
    (root / "link").symlink_to(write_run(tmp_path / "elsewhere", 0.8))
    (root / "deep" / "circle").symlink_to(root)
    assert sorted(find_runs(root)["directory"]) == ["b", "deep/er/a", "first_layer/c", "link"]
    assert list(find_runs(root / "b")["directory"]) == ["b"], "a single run"


@pytest.mark.parametrize("name", ["", "missing"])
def test_a_folder_without_runs_is_refused_in_one_line(name, tmp_path):
    with pytest.raises(UserError, match=r"^compare\.dir=\S+: must be a folder with runs in it[^\n]*$"):
        find_runs(tmp_path / name)


DAMAGED = {
    "result.json": [
        *(b"", b'{"accuracy": {"all_act', b"\xff\xfe\x00", b"[1, 2]", b"[" * 100_000, b'{"readout": "all_activity"}'),
        b'{"accuracy": {"all_activity": 0.5}, "readout": "proportion"}',
        b'{"accuracy": {"all_activity": NaN}, "readout": "all_activity"}',
        *(json.dumps(FIGURES | {"wall_seconds": value}).encode() for value in (10**400, "x")),
    ],
    "config.yaml": [
        b"",
        b"a: [1, 2",
        b"word",
        b"- 1\n",
        b"\xff\xfe\x00\x01",
        b"a: 1\na: 2\n",
        b"name: value\n",
        *(OmegaConf.to_yaml(CONFIG).encode() + line for line in (b"x: &x [1]\ny: *x\n", b'x: !!int ""')),
        b"[" * 100_000,
    ],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_makes_a_run_unfinished_and_stops_nothing(name, tmp_path):
    for number, content in enumerate(DAMAGED[name], 1):
        (write_run(tmp_path / str(number), 0.9) / name).write_bytes(content)
    (tmp_path / "1" / name).unlink()
    os.mkfifo(tmp_path / "1" / name)  # reading it would never end
    comparison = compared(tmp_path, (0.8, {}))
    assert list(comparison.runs["state"]) == ["finished"] + ["unfinished"] * len(DAMAGED[name])
    listed = to_text(comparison).partition(f"Unfinished ({len(DAMAGED[name])}):\n")[2].splitlines()
    assert len(listed) == len(DAMAGED[name]) and all(re.match(rf"  \d+: {name} is damaged: .{{9}}", e) for e in listed)


def test_a_key_that_is_no_setting_is_ignored(tmp_path):
    (write_run(tmp_path / "x", 0.7) / "config.yaml").write_text(
        OmegaConf.to_yaml(CONFIG) + "accuracy_mean: z\nstate: z\n"
    )
    assert list(compared(tmp_path, (0.8, {})).runs["state"]) == ["finished", "finished"]


def test_unfinished_and_failed_runs_are_listed_with_the_reason(tmp_path):
    write_run(tmp_path / "1", None)
    (write_run(tmp_path / "2", None, n_exc=2) / "error.txt").write_text("n_exc=2: must be\nlarger\x1b[2J\n")
    (write_run(tmp_path / "3", 0.9, n_exc=3) / "error.txt").write_text("an earlier try failed\n")
    (tmp_path / "4" / ".hydra").mkdir(parents=True)
    (tmp_path / "4" / "error.txt").write_text("n_exc=-1: must be a whole number above 0\n")
    comparison = compared(tmp_path, (0.8, {}))
    write_files(comparison, tmp_path)
    failed, unfinished = to_text(comparison).split("\n\n")[2:]
    assert failed == "Failed (2):\n  2: n_exc=2: must be larger\\x1b[2J\n  4: n_exc=-1: must be a whole number above 0"
    assert unfinished == "Unfinished (1):\n  1: no result.json: still running, or interrupted"
    states = {row["directory"]: row["state"] for row in rows_of(tmp_path / "runs.csv")}
    assert states == {"0": "finished", "1": "unfinished", "2": "failed", "3": "finished", "4": "failed"}


def test_a_sweep_without_a_finished_run_has_no_plot(tmp_path):
    comparison = compared(tmp_path, (None, {}), (None, {"n_exc": 1}))
    write_files(comparison, tmp_path)
    assert to_text(comparison).startswith("No run is finished yet.\n")
    assert {path.name for path in tmp_path.iterdir()} == (WRITTEN - {"comparison.png"}) | {"0", "1"}
    assert rows_of(tmp_path / "comparison.csv") == []


def test_the_table_is_printed_even_if_nothing_can_be_written(tmp_path, capsys):
    write_run(tmp_path / "0", 0.75)
    (tmp_path / "comparison.csv").mkdir()
    with pytest.raises(UserError, match=r"comparison\.csv: cannot be written"):
        run_in(tmp_path, "mode=compare", f"compare.dir={tmp_path}")
    assert "75.00" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"0", "comparison.csv"}


def test_csv_holds_every_digit_and_no_formulas(tmp_path):
    third, odd = 0.1 + 0.2, 'a,"b"|c\nd\x1b'
    runs = [(third, {"rule__name": "=1+1", "dataset__root": odd, "epochs": -1.5}), (0.25, {"epochs": -2.5})]
    comparison = compared(tmp_path, *runs, (0.2, {"result": {"accuracy": {"all_activity": 0.2, "naive_bayes": 0.9}}}))
    write_files(comparison, tmp_path)
    first, second, last = rows_of(tmp_path / "comparison.csv")
    assert (float(first["accuracy_mean"]), first["epochs"], second["epochs"]) == (third, "-1.5", "-2.5")
    assert (first["rule"], first["dataset.root"], second["dataset.root"]) == ("'=1+1", printable(odd), "null")
    assert (first["accuracy_naive_bayes_mean"], last["accuracy_naive_bayes_mean"]) == ("", "0.9"), (
        "a readout of some runs"
    )
    assert float(rows_of(tmp_path / "runs.csv")[0]["accuracy_all_activity"]) == third


def test_the_table_has_the_best_30_settings_with_six_digits(tmp_path):
    runs = [(0.5 + n / 100, {"rule__a_post": (n + 1) / 7, "dataset__root": "/long" * 20 + str(n)}) for n in range(35)]
    text = to_text(compared(tmp_path, *runs))
    titles, best, *others = table_of(text)
    assert titles[:3] == ["rule.a_post", "dataset.root", "seeds"] and len(others) == 30
    assert best[:4] == ["5", "/long" * 20 + "34", "0", "84.00"] and others[0][0] == "4.85714"
    assert others[-1] == ["The", "best", "30", "of", "35", "settings;", "comparison.csv", "has", "all."]


# Evaluations ----------------------------------------------------------------------------------------------------------


def test_evaluations_are_compared_as_runs_are(tmp_path):
    several = compared(tmp_path / "a", *[(0.8, {"mode": "eval", "n_test": n}) for n in (500, 1000)])
    assert several.keys == ["n_test"] and "mode=eval" in to_text(several)
    both = compared(tmp_path / "b", (0.9, {}), (0.8, {"mode": "eval", "n_test": 500}))
    assert [row[:2] for row in table_of(to_text(both))] == [["mode", "n_test"], ["train", "10000"], ["eval", "500"]]
    assert table_of(to_text(both))[2][-2:] == ["9,000", "12.5"], "the speed of evaluating"


# n_exc, perturbation and strength -> accuracy of seeds 0, 1
MEASURED = {
    (100, None): [0.8, 0.84],
    (100, ("weight_bits", 8)): [0.79, 0.83],
    (100, ("weight_bits", 2)): [0.5, 0.7],
    (100, ("neuron_lesion", 0.25)): [0.6, 0.4],
    (1600, None): [0.9],
    (1600, ("weight_bits", 2)): [0.875],
    (400, None): [0.99],  # never perturbed
}


@pytest.fixture
def robustness(tmp_path):
    """Evaluations of two networks under perturbations; one of them has its own rate as well."""
    for number, ((n_exc, perturbation), accuracies) in enumerate(MEASURED.items()):
        settings = {"n_exc": n_exc, "rule__a_post": n_exc / 1000, "mode": "eval", "perturbation": perturbation}
        for seed, accuracy in enumerate(accuracies):
            write_run(tmp_path / f"{number}_{seed}", accuracy, seed=seed, **settings)
    return compare(find_runs(tmp_path))


def test_perturbed_evaluations_are_rows_of_the_table(robustness):
    assert robustness.keys == ["perturbation", "perturbation.strength", "n_exc", "rule.a_post"]
    rows = {" ".join(row[:3]): row for row in table_of(to_text(robustness))}
    assert len(robustness.groups) == len(MEASURED)
    assert rows["weight_bits 2 100"][4:9] == ["0,1", "60.00", "14.14", "50.00", "70.00"]
    assert rows["none 1600 1.6"][3:7] == ["0", "90.00", "89.00", "92.00"]


def test_a_panel_per_perturbation_has_a_line_per_network(robustness):
    figure = draw(robustness)
    lesion, bits = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["neuron_lesion", "weight_bits"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["share of neurons lost", "bits of each weight"]
    lines = {container[0].get_marker(): container[0].get_xydata().tolist() for container in bits.containers}
    assert lines == {"o": [[2.0, 87.5]], "s": [[2.0, pytest.approx(60)], [8.0, pytest.approx(81)]]}
    assert [container[0].get_marker() for container in lesion.containers] == ["s"], "a network keeps its look"
    dotted = sorted(line.get_ydata()[0] for line in bits.lines if line.get_linestyle() == ":")
    assert dotted == [pytest.approx(82), 90], "evaluations without a perturbation"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["n_exc=1600", "n_exc=100"]


def test_lines_of_networks_name_their_numbers_of_images(tmp_path):
    perturbed = [
        {"n_exc": n, "n_train": 2 * n, "perturbation": ("weight_bits", bits)} for n in (9, 8) for bits in (1, 2)
    ]
    (legend,) = draw(compared(tmp_path, *[(0.9 - n / 10, each) for n, each in enumerate(perturbed)])).legends
    assert [text.get_text() for text in legend.get_texts()] == ["n_exc=9, n_train=18", "n_exc=8, n_train=16"]


def test_a_training_run_is_the_reference_of_its_evaluations(tmp_path):
    runs = [(0.9, {}), (0.5, {"perturbation": ("weight_bits", 2)}), (0.8, {"perturbation": ("weight_bits", 4)})]
    (axes,) = draw(compared(tmp_path, *runs)).axes
    assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [90]


# The plot -------------------------------------------------------------------------------------------------------------


def test_a_swept_number_is_the_horizontal_axis_and_rules_are_lines(tmp_path):
    means = {("a_rule", 100): 0.7, ("a_rule", 1600): 0.8, ("best", 100): 0.85, ("best", 400): 0.9, ("best", 1600): 0.95}
    runs = [
        (mean + seed / 100, {"rule__name": rule, "n_exc": n_exc, "seed": seed})
        for (rule, n_exc), mean in means.items()
        for seed in (-1, 0, 1)
    ]
    figure = draw(compared(tmp_path, *runs))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "n_exc" and figure.get_supylabel() == "test accuracy (%)"
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "400", "1,600"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["rule=best", "rule=a_rule"], "best first"
    low, high = sorted(axes.containers, key=lambda container: container[0].get_ydata()[0])
    assert list(low[0].get_xdata()) == [100, 1600] and list(high[0].get_xdata()) == [100, 400, 1600]
    assert list(high[0].get_ydata()) == pytest.approx([85, 90, 95])
    ends = np.array(high[2][0].get_segments())[:, :, 1]
    assert ends[:, 1] - ends[:, 0] == pytest.approx(2.0), "the standard deviation, down and up"


def test_one_swept_setting_is_one_line_with_numbers_for_null(tmp_path):
    (axes,) = draw(compared(tmp_path, *[(0.8, {"n_train": n}) for n in (None, 1000, 10000)])).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1,000", "10,000", "60,000"]
    assert len(axes.containers) == 1


def test_settings_that_are_no_numbers_are_rows_best_on_top(tmp_path):
    runs = [(n / 100, {"rule__name": f"rule{n}", "neuron__name": f"neuron{n % 2}"}) for n in range(45)]
    figure = draw(compared(tmp_path, *runs))
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 30 and names[:2] == ["rule=rule44, neuron=neuron0", "rule=rule43, neuron=neuron1"]
    assert figure.get_suptitle().splitlines()[2].startswith("best 30 of 45 settings; mean over seeds")
    assert list(axes.containers[0][0].get_xdata()) == pytest.approx(list(range(44, 14, -1)))
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first row is on top"
    assert axes.get_xlabel() == "test accuracy (%)"


NO_ANSWERS = {"accuracy": {"all_activity": 0.0}, "accuracy_interval_95": {"all_activity": (1e-17, 0.1)}}
SWEPT = {
    "rounded beyond 0": [{"n_exc": n, "result": NO_ANSWERS} for n in (10, 20)],
    "one setting, many seeds": [{"seed": n} for n in range(4)],
    "nine kinds": [{"dtype": f"kind{n % 9}", "n_exc": 10 * (n // 9 + 1)} for n in range(27)],
    "formulas": [{"dtype": "$x^2$"}, {"dtype": "$\\undefined$"}, {"dtype": ""}],
    "long names": [{"dataset__root": "/data" * 50 + str(n), "rule__" + "long" * 30: n} for n in range(3)],
    "not a finite number": [{"rule__a_post": value} for value in (float("inf"), 1.0, 2.0)],
    "some without the setting": [{"rule__extra": 1}, {"rule__extra": 2}, {}],
    "nine networks": [{"dtype": f"kind{n % 9}", "perturbation": ("weight_bits", n // 9 + 1)} for n in range(27)],
}


@pytest.mark.parametrize("case", SWEPT)
def test_every_form_is_drawn_in_full_without_warnings(case, tmp_path):
    write_files(compared(tmp_path, *[(0.5 + n % 7 / 20, settings) for n, settings in enumerate(SWEPT[case])]), tmp_path)
    image = np.asarray(Image.open(tmp_path / "comparison.png"))
    assert image.std() > 0 and image.shape[0] <= 2200 and image.shape[1] <= 1900
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (edge == 255).all(), "nothing is cut off"


@pytest.mark.slow
def test_a_real_sweep_over_rules_and_seeds(stdp_run, tmp_path):
    sweep = ("rule=nearest_online,full_online", "seed=1,2", "n_exc=10", "n_train=60", "n_test=40", "n_label=60")
    done = stdp_run("-m", *sweep, f"hydra.sweep.dir={tmp_path}/sweep", timeout=600)
    assert done.returncode == 0, done.stderr
    comparison = compare(find_runs(tmp_path / "sweep"))
    assert comparison.keys == ["rule"], "constants that come with a rule are no settings of the sweep"
    assert to_text(comparison) in done.stdout
