"""Runs side by side: figures against an independent computation, damaged runs, tables read back, the plot."""

import copy
import csv
import io
import itertools
import json
import re
import statistics

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from stdp_run.errors import UserError
from stdp_run.evaluation.metrics import wilson_interval
from stdp_run.reporting.comparison import (
    compare,
    draw,
    find_runs,
    runs_to_csv,
    to_csv,
    to_markdown,
    to_text,
    write_comparison,
)
from stdp_run.reporting.plots.comparison import LOOKS

WRITTEN = {"comparison.csv", "runs.csv", "comparison.md", "comparison.png"}
CONFIG = {
    "rule": {"_target_": "stdp_run.rules.NearestOnline", "name": "nearest_online", "a_post": 0.01, "w_max": 1.0},
    "neuron": {"_target_": "stdp_run.neurons.LIF", "name": "lif_stdp", "w_ie": 120.0, "refractory": 0},
    "dataset": {"name": "mnist", "root": None, "split": "test"},
    "trainer": {"schedule": "constant", "log_every": 1000, "checkpoint_seconds": 30},
    "evaluator": {"readout": "all_activity"},
    **{"mode": "train", "seed": 0, "n_exc": 400, "epochs": 1, "n_train": None, "dtype": "float32", "threads": None},
    **{"checkpoint": None, "resume": "auto", "compare": {"dir": None}, "networks": 1},
}


def write_run(folder, accuracy: float | None, *, result: dict | None = None, **settings):
    """Write a run with these settings (`rule__a_post` is rule.a_post), and without a result if `accuracy` is None."""
    config = copy.deepcopy(CONFIG)
    for key, value in settings.items():
        *sections, last = key.split("__")
        section = config
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    folder.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    if accuracy is not None:
        content = {
            "split": "test",
            "readout": "all_activity",
            "accuracy": {"proportion": accuracy / 2, "all_activity": accuracy},
            "test_images": 10000,
            "train_images": config["n_train"] or 60000,
            "train_images_per_second": 5000.0,
            "wall_seconds": 12.5,
            **(result or {}),
        }
        (folder / "result.json").write_text(json.dumps(content))
    return folder


def write_runs(root, *runs: tuple):
    """Write runs 0, 1, ... from pairs of accuracy and settings."""
    for number, (accuracy, settings) in enumerate(runs):
        write_run(root / str(number), accuracy, **settings)
    return root


def compared(root):
    return compare(find_runs(root))


def names(comparison, state: str = "finished") -> list[str]:
    return list(comparison.of_state(state)["directory"])


def rows_of(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


def test_names_of_others_reach_the_terminal_and_spreadsheets_as_text(tmp_path):
    write_run(tmp_path / "=a\x1b[31m", 0.5, rule__name="-evil\n", epochs=-1.5)
    write_run(tmp_path / "@b", 0.6, rule__name="+1", epochs=-2.5)
    write_run(tmp_path / "\x1bfailed", None)
    (tmp_path / "\x1bfailed" / "error.txt").write_text("\x1b[2J =1")
    comparison = write_comparison(tmp_path)
    for text in (to_text(comparison, 200), (tmp_path / "comparison.md").read_text()):
        assert all(line.isprintable() for line in text.splitlines()) and r"\x1b" in text
    runs = rows_of((tmp_path / "runs.csv").read_text())
    assert [row["directory"] for row in runs] == ["'@b", "'=a\x1b[31m", "\x1bfailed"]
    assert [row["rule"] for row in runs[:2]] == ["+1", "'-evil\n"]  # +1 is a number
    settings = rows_of((tmp_path / "comparison.csv").read_text())
    assert [row["epochs"] for row in settings] == ["-2.5", "-1.5"]


# Groups ---------------------------------------------------------------------------------------------------------------


def test_csv_and_table_hold_the_figures_of_the_standard_library(tmp_path):
    known = {100: [0.81, 0.83, 0.82], 400: [0.9, 0.93, 0.915], 1600: [0.95]}
    runs = [
        (value, {"n_exc": size, "seed": seed, "result": {"wall_seconds": 10.0 + seed}})
        for size, values in known.items()
        for seed, value in enumerate(values)
    ]
    comparison = write_comparison(write_runs(tmp_path, *runs))
    assert comparison.keys == ("n_exc",) and comparison.readouts == ("all_activity", "proportion")
    rows = rows_of((tmp_path / "comparison.csv").read_text())
    assert [row["n_exc"] for row in rows] == ["1600", "400", "100"], "best first"
    lines = to_text(comparison).splitlines()[-3:]
    for row, line in zip(rows, lines, strict=True):
        values = known[int(row["n_exc"])]
        assert row["seeds"] == " ".join(map(str, range(len(values))))
        assert row["n_seeds"] == row["n_runs"] == str(len(values)) and row["readout"] == "all_activity"
        for column, share in (("accuracy", 1), ("accuracy_all_activity", 1), ("accuracy_proportion", 2)):
            figures = {"mean": statistics.mean(values), "min": min(values), "max": max(values)}
            if len(values) > 1:
                figures["sd"] = statistics.stdev(values)
            for name, value in figures.items():
                assert float(row[f"{column}_{name}"]) == pytest.approx(value / share, abs=1e-14)
        assert float(row["train_images_per_second"]) == 5000
        assert float(row["wall_seconds"]) == 10 + (len(values) - 1) / 2
        assert f"{100 * statistics.mean(values):.2f}" in line
        if len(values) > 1:
            assert f"  {100 * statistics.stdev(values):.2f}  {100 * min(values):.2f} to {100 * max(values):.2f}" in line
    low, high = wilson_interval(9500, 10000)
    assert (float(rows[0]["interval_95_low"]), float(rows[0]["interval_95_high"])) == (low, high)
    assert f"{100 * low:.1f} to {100 * high:.1f}" in lines[0]
    assert rows[0]["accuracy_sd"] == rows[1]["interval_95_low"] == ""


def test_ties_stay_in_the_order_of_the_runs(tmp_path):
    sizes = [30, 10, 20, 40]
    comparison = compared(write_runs(tmp_path, *[(0.9 if n == 40 else 0.8, {"n_exc": n}) for n in sizes]))
    assert list(comparison.groups["n_exc"]) == ["40", "30", "10", "20"]


def test_a_seed_that_was_run_twice_counts_once(tmp_path):
    runs = [(0.8, {"seed": 1}), (0.8, {"seed": 1, "threads": 2}), (0.9, {"seed": 10}), (0.7, {"seed": 2})]
    (row,) = rows_of(to_csv(compared(write_runs(tmp_path, *runs))))
    assert (row["seeds"], row["n_runs"]) == ("1 2 10", "4")
    assert float(row["accuracy_mean"]) == pytest.approx(statistics.mean([0.8, 0.9, 0.7]))


def test_each_run_counts_by_the_readout_that_it_is_judged_by(tmp_path):
    judged = {"evaluator__readout": "proportion", "result": {"readout": "proportion"}}
    comparison = compared(write_runs(tmp_path, (0.6, {}), (0.9, judged)))
    assert comparison.keys == ("evaluator.readout",) and comparison.readout is None
    assert list(comparison.groups["accuracy_mean"]) == [0.6, 0.45]
    header, first, second = to_text(comparison, 200).splitlines()[-3:]
    assert "  readout  " in header
    assert (first.split()[2:4], second.split()[2:4]) == (["all_activity", "60.00"], ["proportion", "45.00"])


def test_what_says_nothing_about_the_result_does_not_tell_runs_apart(tmp_path):
    ignored = {
        **{"threads": 2, "resume": None, "checkpoint": "x.pt", "compare__dir": "a", "n_exc": 400.0},
        **{"trainer__checkpoint_seconds": 60, "trainer__log_every": 20},
    }
    comparison = compared(write_runs(tmp_path, (0.8, {}), *[(0.8, {key: value}) for key, value in ignored.items()]))
    assert comparison.keys == () and len(comparison.groups) == 1


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("engine", ("event", "torch")),
        ("dtype", ("float32", "float64")),
        ("batch_size", (1, 32)),
        ("rule__a_post", (0.01, 0.02)),
        ("rule__extra", (1, [1, 2])),
        ("tf32", (True, 1)),
        ("rule__w_max", (float("nan"), 1.0)),
    ],
)
def test_what_may_matter_tells_runs_apart(key, values, tmp_path):
    comparison = compared(write_runs(tmp_path, *[(0.8, {key: value}) for value in values]))
    assert comparison.keys == (key.replace("__", "."),) and len(comparison.groups) == 2


def test_constants_that_come_with_a_rule_or_neuron_group_are_not_listed(tmp_path):
    other = {"rule__name": "full_online", "rule___target_": "stdp_run.rules.FullOnline", "rule__a_post": 0.0185}
    integer = {"rule__name": "post_pre_int", "rule__nu0": 14, "neuron__name": "diehl_cook_int", "neuron__w_ie": 32767}
    runs = [(0.8, {}), (0.8, other), (0.7, integer)]
    comparison = compared(write_runs(tmp_path / "a", *runs))
    assert comparison.keys == ("rule.name", "neuron.name")
    assert list(comparison.groups["rule.name"]) == ["nearest_online", "full_online", "post_pre_int"]
    # The same key swept within one rule is a setting of the sweep.
    comparison = compared(write_runs(tmp_path / "b", *runs, (0.9, {"rule__a_post": 0.02})))
    assert comparison.keys == ("rule.name", "neuron.name", "rule.a_post") and len(comparison.groups) == 4


def test_what_no_rule_brings_along_is_listed_even_if_it_changes_with_the_rule(tmp_path):
    other = {"rule__name": "full_online", "n_exc": 100, "dataset__split": "validation"}
    comparison = compared(write_runs(tmp_path, (0.8, {}), (0.8, {**other, "result": {"split": "validation"}})))
    assert comparison.keys == ("rule.name", "dataset.split", "n_exc")
    assert comparison.measure == "accuracy"


def test_one_run_alone(tmp_path):
    write_run(tmp_path / "run", 0.9, seed=7)
    comparison = write_comparison(tmp_path / "run")
    assert names(comparison) == ["run"] and comparison.keys == ()
    text = to_text(comparison)
    assert text.startswith("1 run, 1 setting: test accuracy (all_activity).")
    assert "rule=nearest_online, neuron=lif_stdp, dataset=mnist, n_exc=400, epochs=1" in text
    assert "89.4 to 90.6" in text and " sd" not in text
    assert {path.name for path in (tmp_path / "run").iterdir()} == WRITTEN | {"config.yaml", "result.json"}


# Directories ----------------------------------------------------------------------------------------------------------


def test_runs_are_found_once_at_every_depth_behind_links_and_not_in_hidden_folders(tmp_path):
    root = tmp_path / "root"
    for name in ("10_a", "2_a", "deep/er/1", "2_a/inner", "2_a/.hydra", ".trash/3"):
        write_run(root / name, 0.8)
    write_run(tmp_path / "elsewhere", 0.8)
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "deep" / "circle").symlink_to(root)
    (root / "same").symlink_to(root / "2_a")
    (root / "notes").mkdir()
    (root / "notes" / "result.json").write_text("{}")
    assert list(find_runs(root)["directory"]) == ["2_a", "2_a/inner", "10_a", "deep/er/1", "link"]


def test_commands_that_learn_nothing_are_no_runs(tmp_path):
    for mode in ("train", "eval", "stdp_window", "compare"):
        write_run(tmp_path / mode, 0.8 if mode in ("train", "eval") else None, mode=mode)
    assert list(find_runs(tmp_path)["directory"]) == ["train"]


@pytest.mark.parametrize("make", ["missing", "file", "empty", "eval"])
def test_a_folder_without_runs_is_refused_in_one_line(make, tmp_path):
    path = tmp_path / "runs"
    if make == "file":
        path.write_text("")
    elif make == "empty":
        path.mkdir()
    elif make == "eval":
        write_run(path / "0", 0.8, mode="eval")
    allowed = "a folder that is there" if make in ("missing", "file") else "a folder with runs in it"
    with pytest.raises(UserError, match=rf"^compare\.dir={re.escape(str(path))}: must be {allowed}[^\n]*$"):
        find_runs(path)


DAMAGED = {
    "result.json": [
        *(b"", b'{"accuracy": {"all_act', b"\xff\xfe\x00", b"[1, 2]", b"[" * 100_000),
        *(b'{"readout": "all_activity"}', b'{"accuracy": {"all_activity": 0.5}}'),
        b'{"accuracy": {"all_activity": 0.5}, "readout": "proportion"}',
        b'{"accuracy": {"all_activity": NaN}, "readout": "all_activity"}',
        b'{"accuracy": {"all_activity": 85.0}, "readout": "all_activity"}',
        b'{"accuracy": {"all_activity": true}, "readout": "all_activity"}',
    ],
    "config.yaml": [
        *(b"", b"a: [1, 2", b"word", b"- 1\n- 2\n", b"\xff\xfe\x00\x01", b"a: 1\na: 2\n"),
        *(b"!!python/object:os.system x", b"name: value\n"),
    ],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_makes_a_run_unfinished_and_stops_nothing(name, tmp_path):
    write_runs(tmp_path, (0.8, {}), *[(0.9, {"n_exc": n}) for n, _ in enumerate(DAMAGED[name])])
    for number, content in enumerate(DAMAGED[name], 1):
        (tmp_path / str(number) / name).write_bytes(content)
    comparison = write_comparison(tmp_path)
    assert names(comparison) == ["0"] and names(comparison, "failed") == []
    unfinished = comparison.of_state("unfinished")
    assert len(unfinished) == len(DAMAGED[name])
    for reason in unfinished["reason"]:
        assert reason.startswith(f"{name}: ") and "\n" not in reason and len(reason) > 20
    for text in (to_text(comparison), (tmp_path / "comparison.md").read_text()):
        assert f"Not finished ({len(DAMAGED[name])})" in text and f"1: {name}: " in text


def test_folders_in_place_of_files_and_odd_seeds_stop_nothing(tmp_path):
    write_runs(tmp_path, (0.8, {"seed": [1, 2]}), (0.9, {"seed": None}), (0.7, {"seed": 3}))
    (write_run(tmp_path / "3", None) / "result.json").mkdir()
    (write_run(tmp_path / "4", None) / "error.txt").mkdir()
    comparison = write_comparison(tmp_path)
    assert comparison.groups["seeds"][0] == ["3", "[1, 2]", "null"]
    assert names(comparison, "unfinished") + names(comparison, "failed") == ["3", "4"]


def test_unfinished_and_failed_runs_are_named_at_the_end(tmp_path):
    write_runs(tmp_path, (0.8, {}), (None, {"n_exc": 1}), (None, {"n_exc": 2}), (0.9, {"n_exc": 3}))
    (tmp_path / "2" / "error.txt").write_text("n_exc=2: must be\nlarger | than that\n")
    (tmp_path / "3" / "error.txt").write_text("an earlier try failed\n")
    (tmp_path / "4" / ".hydra").mkdir(parents=True)
    (tmp_path / "4" / "error.txt").write_text("n_exc=-1: must be a whole number above 0\n")
    comparison = write_comparison(tmp_path)
    assert names(comparison) == ["3", "0"]
    assert to_text(comparison).splitlines()[-7:] == [
        "",
        "Failed (2):",
        "  2: n_exc=2: must be larger | than that",
        "  4: n_exc=-1: must be a whole number above 0",
        "",
        "Not finished (1):",
        "  1: no result.json: on its way, or interrupted",
    ]
    markdown = (tmp_path / "comparison.md").read_text()
    assert markdown.index("| ---") < markdown.index("## Failed (2)") < markdown.index("## Not finished (1)")
    assert "- 2: n_exc=2: must be larger \\| than that\n" in markdown
    rows = rows_of((tmp_path / "runs.csv").read_text())
    assert [(row["directory"], row["state"]) for row in rows] == [
        *(("3", "finished"), ("0", "finished"), ("1", "unfinished"), ("2", "failed"), ("4", "failed"))
    ]
    assert rows[-1]["reason"] == "n_exc=-1: must be a whole number above 0" and rows[-1]["accuracy_proportion"] == ""


def test_a_sweep_without_a_finished_run_has_no_plot(tmp_path):
    write_runs(tmp_path, (None, {}), (None, {"n_exc": 1}))
    comparison = write_comparison(tmp_path)
    assert len(comparison.groups) == 0 and to_text(comparison).startswith("No run is finished yet.\n")
    assert {path.name for path in tmp_path.iterdir()} == (WRITTEN - {"comparison.png"}) | {"0", "1"}
    assert rows_of((tmp_path / "comparison.csv").read_text()) == []


def test_what_cannot_be_written_is_reported_in_one_line_and_leaves_no_pieces(tmp_path):
    write_runs(tmp_path, (0.8, {}))
    (tmp_path / "comparison.csv").mkdir()
    with pytest.raises(UserError, match=r"comparison\.csv: cannot be written"):
        write_comparison(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "comparison.csv"}


def test_comparing_again_gives_the_same_files(tmp_path):
    write_runs(tmp_path, (0.8, {"n_exc": 10}), (0.9, {"n_exc": 100}))
    write_comparison(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in WRITTEN}
    write_comparison(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in WRITTEN} == before


# Tables ---------------------------------------------------------------------------------------------------------------

ODD = 'a,"b"|c\nd'


def test_csv_holds_every_digit_and_odd_values(tmp_path):
    third = 0.1 + 0.2
    runs = [(third, {"dataset__root": ODD, "rule__a_post": third}), (0.25, {"trainer__order": "by_class"})]
    comparison = compared(write_runs(tmp_path, *runs))
    first, second = rows_of(to_csv(comparison))
    assert float(first["rule.a_post"]) == float(first["accuracy_mean"]) == third
    assert first["dataset.root"] == ODD and first["trainer.order"] == ""
    assert second["dataset.root"] == "null" and second["trainer.order"] == "by_class"
    rows = rows_of(runs_to_csv(comparison))
    assert [float(row["accuracy_all_activity"]) for row in rows] == [third, 0.25]


def test_a_readout_that_only_some_runs_have_is_an_empty_field(tmp_path):
    new = {"result": {"accuracy": {"all_activity": 0.9, "bayes": 0.95}}, "n_exc": 10}
    comparison = compared(write_runs(tmp_path, (0.8, {}), (0.9, new)))
    assert comparison.readouts == ("all_activity", "proportion", "bayes")
    rows = rows_of(to_csv(comparison))
    assert [row["accuracy_bayes_mean"] for row in rows] == ["0.95", ""]
    assert [row["accuracy_proportion_mean"] for row in rows] == ["", "0.4"]
    assert "bayes (%)" in to_text(comparison)


def test_markdown_is_one_table_with_as_many_cells_in_every_row(tmp_path):
    runs = [(0.5 + n / 100, {"n_exc": n, "seed": seed, "dataset__root": ODD}) for n in range(1, 41) for seed in (3, 5)]
    markdown = to_markdown(compared(write_runs(tmp_path, *runs, (0.1, {}))))
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 41 and len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert rows[0].startswith("| dataset.root | n_exc | seeds | accuracy (%) | sd | min to max |")
    assert r"| 40 | 3, 5 | 90.00 | 0.00 | 90.00 to 90.00 |" in rows[2]
    assert markdown.startswith("# Comparison\n\n81 runs, 41 settings, best first: test accuracy (all_activity), mean")


def test_many_seeds_leave_room_for_settings(tmp_path):
    few, many = (compared(write_runs(tmp_path / str(k), *[(0.8, {"seed": 7 * n}) for n in range(k)])) for k in (4, 5))
    assert "0, 7, 14, 21" in to_text(few)
    assert "0, 7" not in to_text(many) and "5 seeds" in to_text(many)
    assert rows_of(to_csv(many))[0]["seeds"] == "0 7 14 21 28"


def test_the_text_is_aligned_and_named_in_full_where_there_is_room(tmp_path):
    runs = [
        (0.8 + n / 1000 + s / 100, {"n_exc": n, "rule__a_post": 1 / n, "seed": s}) for n in (9, 90) for s in range(3)
    ]
    lines = to_text(compared(write_runs(tmp_path, *runs))).splitlines()
    header, *rows = lines[3:]
    assert header.split()[:3] == ["rule.a_post", "n_exc", "seeds"]
    assert rows[0].split()[:6] == ["0.0111111", "90", "0", "to", "2", "90.00"]
    end = header.index("accuracy (%)") + len("accuracy (%)")
    assert [row[:end][-6:] for row in rows] == [" 90.00", " 81.90"], "numbers end where their title ends"
    assert "proportion (%)  images/s  wall (s)" in header and rows[0].endswith("45.00 ± 0.50     5,000      12.5")


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_table_is_as_wide_as_the_terminal_and_drops_readouts_before_settings(tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    keys = ("neuron__refractory", "rule__a_post", "trainer__a_long_one", "n_exc")
    runs = [(0.5 + n / 100, {**{key: (n + k) / 7 for k, key in enumerate(keys)}, "seed": n}) for n in range(35)]
    write_runs(tmp_path, *runs)
    write_run(tmp_path / "cut" / ("long" * 40), None)
    text = to_text(compared(tmp_path))
    lines = text.splitlines()
    assert max(map(len, lines)) <= columns
    assert "The best 30 of 35 settings; all of them are in comparison.csv." in re.sub(r"\s+", " ", text)
    assert "long" * 40 in "".join(line.strip() for line in lines), "directories are wrapped, not cut"
    header = next(line for line in lines if "accuracy (%)" in line)
    found = re.search(r"Left out for want of room, but in comparison\.csv: (.+?)\. Not", re.sub(r"\s+", " ", text))
    if columns == 200:
        assert found is None and "neuron.refractory" in header and "wall (s)" in header
        return
    left_out = found[1].split(", ")
    assert not any(title in header for title in left_out) and "neuron.refractory" not in header
    settings = {"refractory", "a_post", "a_long_one", "n_exc"}
    if settings & set(left_out):
        assert {"proportion (%)", "images/s", "wall (s)", "95% of one run"} <= set(left_out)
    assert (columns == 60) == bool(settings & set(left_out))


def test_a_long_value_is_cut_in_its_middle(tmp_path):
    runs = [(0.9 - n / 100, {"dataset__root": f"/a/long/path/to/some/pictures/{n}"}) for n in range(3)]
    text = to_text(compared(write_runs(tmp_path, *runs)))
    assert [line.split()[0] for line in text.splitlines()[4:]] == [f"/a/long/path/…ome/pictures/{n}" for n in range(3)]


# The plot -------------------------------------------------------------------------------------------------------------


def test_a_number_that_was_swept_is_the_horizontal_axis_and_rules_are_lines(tmp_path):
    rules, sizes = ("nearest_online", "full_online"), (100, 400, 1600)
    runs = [
        (0.7 + r / 10 + n / 20 + s / 100, {"rule__name": rule, "n_exc": size, "seed": s})
        for r, rule in enumerate(rules)
        for n, size in enumerate(sizes)
        for s in range(3)
    ]
    figure = draw(compared(write_runs(tmp_path, *runs)))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "n_exc" and axes.get_ylabel() == "test accuracy, all_activity (%)"
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "400", "1,600"]
    assert axes.get_title() == (
        "Test accuracy against n_exc\nmean over seeds; bar: standard deviation; faint: single runs"
    )
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "rule"
    assert [text.get_text() for text in legend.get_texts()] == ["full_online", "nearest_online"]
    for container, r in zip(axes.containers, (1, 0), strict=True):
        line, _, (bars,) = container
        np.testing.assert_allclose(line.get_xdata(), sizes)
        np.testing.assert_allclose(line.get_ydata(), [100 * (0.7 + r / 10 + n / 20 + 0.01) for n in range(3)])
        ends = np.array(bars.get_segments())[:, :, 1]
        np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 2.0)
    faint = [line for line in axes.lines if line.get_alpha() is not None]
    np.testing.assert_allclose(
        sorted(y for line in faint for y in line.get_ydata()), sorted(100 * accuracy for accuracy, _ in runs)
    )


def test_a_number_of_images_that_is_null_is_drawn_at_what_it_stands_for(tmp_path):
    comparison = compared(write_runs(tmp_path, *[(0.8, {"n_train": n}) for n in (None, 1000, 10000)]))
    (axes,) = draw(comparison).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1,000", "10,000", "60,000"]
    assert "one run each; bar: its 95 % interval" in axes.get_title()


def test_settings_that_are_no_numbers_are_rows_best_on_top(tmp_path):
    runs = [(n / 100, {"rule__name": f"rule{n}", "neuron__name": f"neuron{n % 2}"}) for n in range(45)]
    (axes,) = draw(compared(write_runs(tmp_path, *runs))).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 30 and names[0] == "rule=rule44, neuron=neuron0" and names[1] == "rule=rule43, neuron=neuron1"
    assert "best 30 of 45 settings" in axes.get_title()
    assert axes.get_xlabel() == "test accuracy, all_activity (%)"
    np.testing.assert_allclose(axes.containers[0][0].get_xdata(), np.arange(44, 14, -1))
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first row is on top"
    low, high = axes.get_xlim()
    assert 0 < low < 15 and 44 < high < 100, "the axis shows what there is to tell"


@pytest.mark.parametrize(("shares", "low", "high"), [((0.0, 0.5), -5, 60), ((0.9, 1.0), 85, 101), ((0.5, 0.5), 45, 55)])
def test_the_axis_of_accuracies_ends_near_them_and_has_no_numbers_beyond_0_and_100(shares, low, high, tmp_path):
    runs = [(share, {"n_exc": n, "result": {"test_images": None}}) for n, share in enumerate(shares, 1)]
    axes = draw(compared(write_runs(tmp_path, *runs))).axes[0]
    bottom, top = axes.get_ylim()
    assert low <= bottom < 100 * min(shares) and 100 * max(shares) < top <= high
    assert all(0 <= tick <= 100 for tick in axes.get_yticks() if bottom <= tick <= top)


def test_lines_differ_in_more_than_colour():
    assert len({marker for _, marker, _ in LOOKS}) == len(LOOKS)
    assert len({(colour, dashes) for colour, _, dashes in LOOKS}) == len(LOOKS)


SWEPT = {
    "one setting, many seeds": [{"seed": n} for n in range(4)],
    "equal accuracies, value 0": [{"rule__a_post": n, "result": {"accuracy": {"all_activity": 1.0}}} for n in (0, 1)],
    "some with one seed": [{"n_exc": 10, "seed": 1}, {"n_exc": 10, "seed": 2}, {"n_exc": 20, "seed": 1}],
    "eight lines": [{"dtype": f"kind{n % 8}", "n_exc": 10 * (n // 8 + 1)} for n in range(24)],
    "nine kinds": [{"dtype": f"kind{n % 9}", "n_exc": 10 * (n // 9 + 1)} for n in range(27)],
    "formulas": [{"dtype": "$x^2$"}, {"dtype": "$\\undefined$"}, {"dtype": ""}],
    "long names": [{"dataset__root": "/data" * 50 + str(n), "rule__" + "long" * 30: n} for n in range(3)],
    "not a finite number": [{"rule__a_post": value} for value in (float("inf"), 1.0, 2.0)],
    "some without the setting": [{"rule__extra": 1}, {"rule__extra": 2}, {}],
    "many long numbers": [{"rule__a_post": 0.01 + 1.23457e-5 * n * n} for n in range(40)],
    "close on a logarithmic axis": [{"n_exc": n} for n in (1, 2, 100, 110, 120, 99990, 99999, 100000)],
}


@pytest.mark.parametrize("case", SWEPT)
def test_every_form_is_drawn_in_full_without_warnings_and_no_labels_touch(case, tmp_path):
    write_runs(tmp_path, *[(0.5 + n % 7 / 20, settings) for n, settings in enumerate(SWEPT[case])])
    comparison = write_comparison(tmp_path)
    image = np.asarray(Image.open(tmp_path / "comparison.png"))
    assert image.std() > 0 and image.shape[0] <= 2200 and image.shape[1] <= 1900
    # Nothing is cut off: the outermost pixels are blank.
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (edge == 255).all()
    figure = draw(comparison)
    figure.draw_without_rendering()
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        low, high = sorted(axis.get_view_interval())
        boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
        places = [tick for tick in axis.get_ticklocs() if low <= tick <= high]
        assert len(places) >= 1
        boxes = sorted(boxes, key=lambda box: (box.x0, box.y0))
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes)), case


# A real sweep ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_sweep_over_rules_and_seeds(stdp_run, tmp_path):
    sweep = ("rule=nearest_online,full_online", "seed=1,2", "n_exc=10", "n_train=60", "n_test=40", "n_label=60")
    done = stdp_run("-m", *sweep, f"hydra.sweep.dir={tmp_path}/sweep", timeout=600)
    assert done.returncode == 0, done.stderr
    comparison = compared(tmp_path / "sweep")
    assert comparison.keys == ("rule.name",), "constants that come with a rule are no settings of the sweep"
    assert to_text(comparison) in done.stdout
    results = [json.loads(path.read_text()) for path in tmp_path.glob("sweep/*/result.json")]
    for row in rows_of((tmp_path / "sweep" / "comparison.csv").read_text()):
        values = [result["accuracy"]["proportion"] for result in results if result["rule"] == row["rule"]]
        assert row["seeds"] == "1 2" and float(row["accuracy_proportion_mean"]) == pytest.approx(
            statistics.mean(values)
        )
