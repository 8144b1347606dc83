"""Comparison of runs and evaluations: figures against the standard library, damaged runs, table, CSV files, plots."""

import csv
import json
import os
import statistics
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import result_of, run_in
from omegaconf import OmegaConf
from PIL import Image

from stdp_run.errors import UserError, printable
from stdp_run.reporting.comparison import compare, draw, draw_running, to_text, write_files
from stdp_run.reporting.runs import find_runs

CONFIG = {
    "rule": {"name": "nearest_online", "a_post": 0.01},
    "neuron": {"name": "lif_stdp", "w_ie": 120.0},
    "dataset": {"name": "mnist", "root": None, "split": "test"},
    **{"evaluator": {"readout": "all_activity"}, "first_layer": None, "perturbation": None},
    **{"mode": "train", "seed": 0, "n_exc": 400, "epochs": 1, "n_train": None, "n_test": None},
}


def write_run(folder: Path, accuracy: float | None, perturbation=None, result=(), running=(), **settings) -> Path:
    """Write a run with these settings (`rule__a_post` is rule.a_post), without a result if `accuracy` is None.

    `perturbation` is a name and a strength, and makes the run an evaluation. `running` is the running accuracy, None
    or a fraction of 1, after every 10 images.
    """
    if perturbation:
        settings |= {"mode": "eval", "perturbation": dict(zip(("name", "strength"), perturbation, strict=True))}
    config = OmegaConf.create(CONFIG)
    for key, value in settings.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    folder.mkdir(parents=True)
    OmegaConf.save(config, folder / "config.yaml")
    if running:
        rows = [{"images_seen": 10 * n, "train/running_accuracy": value} for n, value in enumerate(running, 1)]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    if accuracy is not None:
        figures = {
            "readout": "all_activity",
            "accuracy": {"all_activity": accuracy, "proportion": accuracy / 2},
            "accuracy_interval_95": {"all_activity": (accuracy - 0.01, accuracy + 0.02)},
            **{"train_images": config["n_train"] or 60000, "test_images": config["n_test"] or 10000},
            "train_images_per_second": 5000.0 if config["mode"] == "train" else None,
            **{"eval_images_per_second": 9000.0, "wall_seconds": 12.5},
            "operations": {"synaptic_operations": {"Effective_ACs": 20.0 * config["n_exc"], "Dense": 1e6}},
            **({"perturbation": {"axis": f"strength of {perturbation[0]}"}} if perturbation else {}),
        }
        (folder / "result.json").write_text(json.dumps(figures | dict(result)))
    return folder


def compared(root: Path, *runs: tuple[float, dict]):
    """Write runs 0, 1, ... from pairs of accuracy and settings, and compare what the folder has."""
    for number, (accuracy, settings) in enumerate(runs):
        write_run(root / str(number), accuracy, **settings)
    return compare(find_runs(root))


def rows_of(path: Path) -> list[dict]:
    return list(csv.DictReader(path.read_text().splitlines(keepends=True)))


def table_of(text: str) -> list[list[str]]:
    """Return the words of each line of the printed table, its titles first."""
    return [line.split() for line in text.split("\n\n")[1].splitlines()]


def legend_of(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_csv_and_table_hold_the_figures_of_the_standard_library(tmp_path):
    known = {100: [0.81, 0.83, 0.82], 400: [0.9, 0.93, 0.915], 1600: [0.95]}
    runs = [(value, {"n_exc": n, "seed": seed + 9}) for n, values in known.items() for seed, value in enumerate(values)]
    comparison = compared(tmp_path, *runs)
    write_files(comparison, tmp_path)
    rows = rows_of(tmp_path / "comparison.csv")
    assert comparison.keys == ["n_exc"] and [row["n_exc"] for row in rows] == ["1600", "400", "100"], "best first"
    titles, *lines = map(" ".join, table_of(to_text(comparison)))
    assert titles == "n_exc seeds accuracy sd min max 95% from 95% to images/s wall (s) operations"
    assert lines[0] == "1600 9 95.00 94.00 97.00 5,000 12.5 32,000", "a single run has its interval"
    assert lines[1] == "400 9,10,11 91.50 1.50 90.00 93.00 5,000 12.5 8,000", "seeds are in order"
    for row, values in zip(rows[1:], [known[400], known[100]], strict=True):
        assert row["n_seeds"] == "3"
        for name, of in {"mean": statistics.mean, "sd": statistics.stdev, "min": min, "max": max}.items():
            assert float(row[f"accuracy_{name}"]) == pytest.approx(of(values), abs=1e-14)
            assert float(row[f"accuracy_proportion_{name}"]) == pytest.approx(of(values) / 2, abs=1e-14)
    assert rows[0]["accuracy_sd"] == rows[1]["interval_95_low"] == ""
    assert len(rows_of(tmp_path / "runs.csv")) == 7
    assert to_text(comparison) in (tmp_path / "comparison.md").read_text()


def test_settings_that_all_runs_share_are_named_with_numbers_of_images(tmp_path):
    comparison = compared(tmp_path, (0.8, {}), (0.9, {"seed": 1}))
    first, second = to_text(comparison).splitlines()[:2]
    named = "rule=nearest_online, neuron=lif_stdp, dataset=mnist, dataset.split=test, n_exc=400, epochs=1, "
    named += "n_train=60000, n_test=10000, evaluator.readout=all_activity"
    assert first.startswith("2 runs, 1 setting, best first: ") and second == f"The same in all: {named}."
    assert comparison.groups.loc[0, ["mode", "first_layer", "n_train"]].tolist() == ["train", "none", "60000"]
    assert draw(comparison).get_suptitle().replace("\n", " ").startswith(f"{named} mean over seeds; bar: standard dev")


def test_the_supervised_readout_has_a_column_and_separates_no_runs(tmp_path):
    plain, comparison = {"seed": 1, "evaluator__supervised": False}, {"supervised": {"accuracy": 0.9}}
    found = compared(tmp_path, (0.6, plain), (0.8, {"evaluator__supervised": True, "result": comparison}))
    assert list(found.groups["n_seeds"]) == [2] and found.groups["accuracy_mean"][0] == pytest.approx(0.7)
    titles, row = table_of(to_text(found))
    assert row[titles.index("supervised")] == "90.00", "the mean of the runs that have it"


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
    for name in ("predict", "missing"):
        with pytest.raises(UserError, match=r"^compare\.dir=\S+: must be a folder with runs in it[^\n]*$"):
            find_runs(root / name)


def test_a_damaged_file_makes_a_run_unfinished_and_stops_nothing(tmp_path):
    damaged = (
        ("result.json", ""),
        ("result.json", '{"accuracy": {"all_activity": 0.5}, "readout": "proportion"}'),
        ("config.yaml", "a: [1, 2"),
        ("config.yaml", "name: value"),
    )
    for number, (name, content) in enumerate(damaged, 1):
        (write_run(tmp_path / str(number), 0.9) / name).write_text(content)
    write_run(tmp_path / "5", 0.9, result={"accuracy": {"all_activity": float("nan")}})
    os.mkfifo(write_run(tmp_path / "6", None) / "result.json")  # reading it would never end
    runs = compared(tmp_path, (0.8, {"accuracy_mean": "z", "state": "z"})).runs  # unknown keys are ignored
    assert list(runs["state"]) == ["finished"] + ["unfinished"] * 6
    reasons = [reason.split(" is damaged: ")[0] for reason in runs["reason"]]
    assert reasons == ["", *(name for name, _ in damaged), "result.json", "result.json"]


def test_unfinished_and_failed_runs_are_listed_with_the_reason(tmp_path):
    write_run(tmp_path / "1", None)
    (write_run(tmp_path / "2", None, n_exc=2) / "error.txt").write_text("n_exc=2: must be\nlarger\x1b[2J\n")
    (write_run(tmp_path / "3", 0.9, n_exc=3) / "error.txt").write_text("an earlier try failed\n")
    (tmp_path / "4" / ".hydra").mkdir(parents=True)
    (tmp_path / "4" / "error.txt").write_text("n_exc=-1: must be a whole number above 0\n")
    comparison = compared(tmp_path, (0.8, {}))
    failed, unfinished = to_text(comparison).split("\n\n")[2:]
    assert failed == "Failed (2):\n  2: n_exc=2: must be larger\\x1b[2J\n  4: n_exc=-1: must be a whole number above 0"
    assert unfinished == "Unfinished (1):\n  1: no result.json: still running, or interrupted"
    assert list(comparison.runs["state"]) == ["finished", "unfinished", "failed", "finished", "failed"]


def test_a_sweep_without_a_finished_run_has_no_plot(tmp_path):
    comparison = compared(tmp_path, (None, {}), (None, {"n_exc": 1}))
    write_files(comparison, tmp_path)
    assert to_text(comparison).startswith("No run is finished yet.\n")
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.csv", "runs.csv", "comparison.md", "0", "1"}
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
    assert (first["accuracy_naive_bayes_mean"], last["accuracy_naive_bayes_mean"]) == ("", "0.9"), "of some runs only"
    assert float(rows_of(tmp_path / "runs.csv")[0]["accuracy_all_activity"]) == third


def test_the_table_has_the_best_30_settings_with_six_digits(tmp_path):
    runs = [(0.5 + n / 100, {"rule__a_post": (n + 1) / 7, "dataset__root": "/long" * 20 + str(n)}) for n in range(35)]
    text = to_text(compared(tmp_path, *runs))
    titles, best, *others = table_of(text)
    assert titles[:3] == ["rule.a_post", "dataset.root", "seeds"] and len(others) == 30
    assert best[:4] == ["5", "/long" * 20 + "34", "0", "84.00"] and others[0][0] == "4.85714"
    assert others[-1] == ["The", "best", "30", "of", "35", "settings;", "comparison.csv", "has", "all."]


def test_a_panel_per_perturbation_has_a_line_per_network(tmp_path):
    # n_exc, perturbation and strength -> accuracy of seeds 0, 1
    measured = {
        (100, None): [0.8, 0.84],
        (100, ("weight_bits", 8)): [0.79, 0.83],
        (100, ("weight_bits", 2)): [0.5, 0.7],
        (100, ("neuron_lesion", 0.25)): [0.6, 0.4],
        (1600, None): [0.9],
        (1600, ("weight_bits", 2)): [0.875],
        (400, None): [0.99],  # never perturbed
    }
    comparison = compared(
        tmp_path,
        *(
            (accuracy, {"n_exc": n, "n_train": 2 * n, "rule__a_post": n, "perturbation": perturbation, "seed": seed})
            for (n, perturbation), accuracies in measured.items()
            for seed, accuracy in enumerate(accuracies)
        ),
    )
    assert comparison.keys == ["mode", "perturbation", "perturbation.strength", "n_exc", "n_train", "rule.a_post"]
    rows = {" ".join(row[1:4]): row for row in table_of(to_text(comparison))}
    assert rows["weight_bits 2 100"][6:11] == ["0,1", "60.00", "14.14", "50.00", "70.00"]
    assert rows["weight_bits 2 100"][-3:-1] == ["9,000", "12.5"], "the speed of evaluating"
    figure = draw(comparison)
    lesion, bits = figure.axes
    assert (lesion.get_title(), lesion.get_xlabel()) == ("neuron_lesion", "strength of neuron_lesion")
    lines = {container[0].get_marker(): container[0].get_xydata().tolist() for container in bits.containers}
    assert lines == {"o": [[2.0, 87.5]], "s": [[2.0, pytest.approx(60)], [8.0, pytest.approx(81)]]}
    assert [container[0].get_marker() for container in lesion.containers] == ["s"], "a network keeps its look"
    dotted = sorted(line.get_ydata()[0] for line in bits.lines if line.get_linestyle() == ":")
    assert dotted == [pytest.approx(82), 90], "the training runs"
    assert legend_of(figure) == ["n_exc=1600, n_train=3200", "n_exc=100, n_train=200"], "with numbers of images"


def test_a_swept_number_is_the_horizontal_axis_and_rules_are_lines(tmp_path):
    means = {("a_rule", 100): 0.7, ("a_rule", 1600): 0.8, ("best", 100): 0.85, ("best", 400): 0.9, ("best", 1600): 0.95}
    settings = [(mean, {"rule__name": rule, "n_exc": n_exc}) for (rule, n_exc), mean in means.items()]
    runs = [(mean + seed / 100, {**each, "seed": seed}) for mean, each in settings for seed in (-1, 0, 1)]
    figure = draw(compared(tmp_path, *runs))
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_xscale()) == ("n_exc", "log")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "400", "1,600"]
    assert legend_of(figure) == ["rule=best", "rule=a_rule"], "best first"
    low, high = sorted(axes.containers, key=lambda container: container[0].get_ydata()[0])
    assert list(low[0].get_xdata()) == [100, 1600] and list(high[0].get_xdata()) == [100, 400, 1600]
    assert list(high[0].get_ydata()) == pytest.approx([85, 90, 95])
    ends = np.array(high[2][0].get_segments())[:, :, 1]
    assert ends[:, 1] - ends[:, 0] == pytest.approx(2.0), "the standard deviation, down and up"


def test_settings_that_are_no_numbers_are_rows_best_on_top(tmp_path):
    runs = [(n / 100, {"rule__name": f"rule{n}", "neuron__name": f"neuron{n % 2}"}) for n in range(32)]
    figure = draw(compared(tmp_path, *runs))
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 30 and names[:2] == ["rule=rule31, neuron=neuron1", "rule=rule30, neuron=neuron0"]
    assert figure.get_suptitle().splitlines()[2].startswith("best 30 of 32 settings; mean over seeds")
    assert list(axes.containers[0][0].get_xdata()) == pytest.approx(list(range(31, 1, -1)))
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first row is on top"


def test_running_accuracy_is_the_mean_over_seeds_with_a_band_between_the_extremes(tmp_path, caplog):
    learned = [
        *((0.8, {"seed": 0, "running": values}) for values in ([None, 0.5, 0.7], [None, 0.1, 0.3])),  # a repeated seed
        (0.8, {"seed": 1, "running": [0.2, None, 0.6, 0.9]}),  # other intervals
        (0.9, {"n_exc": 1600, "running": [0.25]}),
        *((0.7, {"n_exc": 6400, "mode": mode}) for mode in ("eval", "train")),  # nothing recorded
    ]
    for number, text in enumerate(('{"images_seen": 1, "train/running_accuracy": 7}', "{"), 90):
        (write_run(tmp_path / str(number), 0.9) / "metrics.jsonl").write_text(text)
    figure = draw_running(compared(tmp_path, *learned))
    assert len(caplog.messages) == 2 and all("metrics.jsonl is damaged: " in line for line in caplog.messages)
    (axes,) = figure.axes
    assert legend_of(figure) == ["n_exc=1600", "n_exc=400"], "best first"
    assert [line.get_xydata().tolist() for line in axes.lines] == [
        [[10, 25]],
        [[20, pytest.approx((30 + 40) / 2)], [30, pytest.approx((50 + 60) / 2)]],
    ]
    corners = {tuple(np.round(corner, 9)) for corner in axes.collections[1].get_paths()[0].vertices}
    assert corners == {(20, 30), (20, 40), (30, 50), (30, 60)}


NONE_RIGHT = {"accuracy": {"all_activity": 0.0}, "accuracy_interval_95": {"all_activity": (1e-17, 0.1)}}
SHAPES = {
    "lines at 0": [{"n_exc": n, "result": NONE_RIGHT, "running": [0.0]} for n in (10, 20)],
    "rows with long names": [
        {"dtype": f"$\\undefined{n}$" * (n > 0), "dataset__root": "/data" * 50 + str(n), "running": [None, 0.1 * n, 1]}
        for n in range(10)
    ],
    "rows with and without a number": [{"rule__a_post": value} for value in (float("inf"), 1.0, 2.0)] + [{}],
    "nine networks": [{"dtype": f"$x^{n % 9}$", "perturbation": ("weight_bits", n // 9 + 1)} for n in range(18)],
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SHAPES)
def test_every_form_is_drawn_in_full_without_warnings(case, tmp_path):
    comparison = compared(tmp_path, *[(0.5 + n % 7 / 20, settings) for n, settings in enumerate(SHAPES[case])])
    write_files(comparison, tmp_path)
    assert (tmp_path / "running_accuracy.png").exists() == ("running" in SHAPES[case][0])
    assert bool(draw(comparison).legends) == case.startswith(("lines", "nine"))
    for path in tmp_path.glob("*.png"):
        image = np.asarray(Image.open(path))
        assert image.std() > 0 and image.shape[0] <= 2200 and image.shape[1] <= 1900
        edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert (edge == 255).all(), "nothing is cut off"


def test_a_real_run_is_compared(finished_run):
    comparison = compare(find_runs(finished_run))
    result = result_of(finished_run)
    assert comparison.groups["accuracy_mean"][0] == result["accuracy"]["all_activity"]
    (line,) = draw_running(comparison).axes[0].lines
    assert line.get_xdata().tolist() == [1000, 1500, 2000, 2500, 3000]
