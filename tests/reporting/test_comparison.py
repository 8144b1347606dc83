"""Runs side by side: a real sweep, directories with known accuracies and damaged ones, tables read back, pictures."""

import copy
import csv
import io
import json
import os
import re
import statistics

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from stdp_run.errors import UserError
from stdp_run.evaluation.metrics import wilson_interval
from stdp_run.reporting import comparing
from stdp_run.reporting import plots as figures
from stdp_run.reporting.comparing import (
    compare,
    draw,
    find_runs,
    runs_to_csv,
    to_csv,
    to_markdown,
    to_text,
    write_comparison,
)
from stdp_run.reporting.plots.sweeps import LOOKS, even_in_ratio

pytestmark = pytest.mark.filterwarnings("error")

WRITTEN = {"comparison.csv", "runs.csv", "comparison.md", "comparison.png"}
TINY = ("n_train=60", "n_test=40", "n_label=60")
CONFIG = {
    "rule": {"_target_": "stdp_run.rules.NearestOnline", "name": "nearest_online", "a_post": 0.01, "w_max": 1.0},
    "neuron": {"_target_": "stdp_run.neurons.LIF", "name": "lif_stdp", "w_ie": 120.0, "refractory": 0},
    "dataset": {"name": "mnist", "root": None, "split": "test"},
    "trainer": {"schedule": "constant", "log_every": 1000, "checkpoint_seconds": 30},
    "evaluator": {"readout": "all_activity"},
    **{"mode": "train", "seed": 0, "n_exc": 400, "epochs": 1, "n_train": None, "dtype": "float32", "threads": None},
    **{"checkpoint": None, "resume": "auto", "dir": None},
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


def compared(root) -> comparing.Comparison:
    return compare(find_runs(root))


def rows_of(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


# Real sweeps ----------------------------------------------------------------------------------------------------------


def test_a_real_sweep_over_rules_sizes_and_seeds(stdp_run, tmp_path):
    sweep = ("rule=nearest_online,full_online", "n_exc=10,20", "seed=1,2")
    done = stdp_run("-m", *sweep, *TINY, f"hydra.sweep.dir={tmp_path}/sweep", timeout=600)
    assert done.returncode == 0, done.stderr
    comparison = write_comparison(tmp_path / "sweep")
    results = [json.loads(path.read_text()) for path in tmp_path.glob("sweep/*/result.json")]
    assert len(results) == len(comparison.runs) == 8
    assert comparison.keys == ("rule.name", "n_exc"), "constants that come with a rule are no settings of the sweep"
    assert not comparison.failed and not comparison.unfinished
    means = [group.accuracy.mean for group in comparison.groups]
    assert means == sorted(means, reverse=True)
    for row in rows_of((tmp_path / "sweep" / "comparison.csv").read_text()):
        same = [r for r in results if r["rule"] == row["rule"] and r["n_exc"] == int(row["n_exc"])]
        assert row["seeds"] == "1 2" and len(same) == 2
        for readout in ("all_activity", "proportion"):
            values = [r["accuracy"][readout] for r in same]
            assert float(row[f"accuracy_{readout}_mean"]) == statistics.mean(values)
            assert float(row[f"accuracy_{readout}_sd"]) == statistics.stdev(values)
    rows = rows_of((tmp_path / "sweep" / "runs.csv").read_text())
    for row in rows:
        own = json.loads((tmp_path / "sweep" / row["directory"] / "result.json").read_text())
        assert (own["rule"], own["n_exc"], own["seed"]) == (row["rule"], int(row["n_exc"]), int(row["seed"]))
        assert own["accuracy"]["proportion"] == float(row["accuracy_proportion"])
    assert len(rows) == 8


# Groups ---------------------------------------------------------------------------------------------------------------


def test_figures_over_seeds_are_those_of_the_standard_library(tmp_path):
    known = {100: [0.81, 0.83, 0.82], 400: [0.9, 0.93, 0.915], 1600: [0.95]}
    runs = [
        (value, {"n_exc": size, "seed": seed}) for size, values in known.items() for seed, value in enumerate(values)
    ]
    comparison = compared(write_runs(tmp_path, *runs))
    assert comparison.keys == ("n_exc",)
    assert [group.settings["n_exc"] for group in comparison.groups] == [1600, 400, 100]
    assert comparison.readouts == ("all_activity", "proportion"), "the main readout comes first"
    for group in comparison.groups:
        values = known[group.settings["n_exc"]]
        assert group.seeds == tuple(range(len(values)))
        assert group.accuracies("all_activity") == values
        for readout, share in (("all_activity", 1), ("proportion", 2)):
            spread = group.spread(readout)
            assert spread.mean == pytest.approx(statistics.mean(values) / share, abs=1e-15)
            assert (spread.low, spread.high) == (min(values) / share, max(values) / share)
            if len(values) > 1:
                assert spread.deviation == pytest.approx(statistics.stdev(values) / share, abs=1e-15)
        assert group.accuracy == group.spread("all_activity")
        assert (group.images_per_second, group.wall_seconds) == (5000.0, 12.5)
    assert comparison.groups[0].accuracy.deviation is None
    assert comparison.groups[0].interval == wilson_interval(9500, 10000)
    assert comparison.groups[1].interval is None


def test_ties_stay_in_the_order_of_the_runs(tmp_path):
    sizes = [30, 10, 20, 40]
    comparison = compared(write_runs(tmp_path, *[(0.9 if n == 40 else 0.8, {"n_exc": n}) for n in sizes]))
    assert [group.settings["n_exc"] for group in comparison.groups] == [40, 30, 10, 20]


def test_a_seed_that_was_run_twice_counts_once(tmp_path):
    comparison = compared(
        write_runs(tmp_path, (0.8, {"seed": 1}), (0.8, {"seed": 1, "threads": 2}), (0.9, {"seed": 2}))
    )
    (group,) = comparison.groups
    assert group.seeds == (1, 2) and len(group.runs) == 3
    assert group.accuracy.mean == statistics.mean([0.8, 0.9])
    assert rows_of(to_csv(comparison))[0]["n_runs"] == "3"


def test_sorted_by_the_readout_that_each_run_is_judged_by(tmp_path):
    judged = {"evaluator__readout": "proportion", "result": {"readout": "proportion"}}
    comparison = compared(write_runs(tmp_path, (0.6, {}), (0.9, judged)))
    assert comparison.keys == ("evaluator.readout",)
    assert [(group.readout, group.accuracy.mean) for group in comparison.groups] == [
        ("all_activity", 0.6),
        ("proportion", 0.45),
    ]
    assert comparison.readout is None and "readout" in to_text(comparison)
    draw(comparison)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("threads", (1, 2)),
        ("resume", (None, "auto")),
        ("dir", ("a", "b")),
        ("checkpoint", (None, "x.pt")),
        ("checkpoint_every", (1, 2)),
        ("trainer__checkpoint_seconds", (30, 60)),
        ("trainer__log_every", (10, 20)),
        ("n_exc", (400, 400.0)),
    ],
)
def test_what_says_nothing_about_the_result_does_not_tell_runs_apart(key, values, tmp_path):
    comparison = compared(write_runs(tmp_path, *[(0.8, {key: value, "seed": n}) for n, value in enumerate(values)]))
    assert comparison.keys == () and len(comparison.groups) == 1


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("engine", ("event", "torch")),
        ("device", ("cpu", "cuda")),
        ("dtype", ("float32", "float64")),
        ("batch_size", (1, 32)),
        ("rule__a_post", (0.01, 0.02)),
        ("rule__extra", (1, [1, 2])),
        ("trainer__shuffle", (True, 1)),
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
    assert [group.settings["rule.name"] for group in comparison.groups] == [
        "nearest_online",
        "full_online",
        "post_pre_int",
    ]
    # The same key swept within one rule is a setting of the sweep.
    comparison = compared(write_runs(tmp_path / "b", *runs, (0.9, {"rule__a_post": 0.02})))
    assert comparison.keys == ("rule.name", "neuron.name", "rule.a_post")
    assert len(comparison.groups) == 4


def test_what_no_rule_brings_along_is_listed_even_if_it_changes_with_the_rule(tmp_path):
    other = {"rule__name": "full_online", "n_exc": 100, "dataset__split": "validation"}
    comparison = compared(write_runs(tmp_path, (0.8, {}), (0.8, {**other, "result": {"split": "validation"}})))
    assert comparison.keys == ("rule.name", "dataset.split", "n_exc")
    assert comparison.measure == "accuracy"


def test_one_run_alone(tmp_path):
    write_run(tmp_path / "run", 0.9, seed=7)
    comparison = write_comparison(tmp_path / "run")
    assert [run.name for run in comparison.runs] == ["run"] and comparison.keys == ()
    assert comparison.groups[0].seeds == (7,)
    text = to_text(comparison)
    assert text.startswith("1 run, 1 setting: test accuracy (all_activity).")
    assert "rule=nearest_online, neuron=lif_stdp, dataset=mnist, n_exc=400, epochs=1" in text
    assert "89.4 to 90.6" in text and " sd" not in text
    assert {path.name for path in (tmp_path / "run").iterdir()} == WRITTEN | {"config.yaml", "result.json"}


# Directories ----------------------------------------------------------------------------------------------------------


def test_runs_are_found_at_every_depth_but_not_behind_links_or_in_hidden_folders(tmp_path):
    root = tmp_path / "root"
    for name in ("10_a", "2_a", "deep/er/1", "2_a/inner"):
        write_run(root / name, 0.8)
    for name in ("2_a/.hydra", ".trash/3"):
        write_run(root / name, 0.8)
    write_run(tmp_path / "elsewhere", 0.8)
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "empty").mkdir()
    (root / "notes").mkdir()
    (root / "notes" / "result.json").write_text("{}")
    assert [run.name for run in find_runs(root)] == ["2_a", "2_a/inner", "10_a", "deep/er/1"]
    assert find_runs(root)[0].directory == root / "2_a"
    assert find_runs(root)[0].settings["rule.a_post"] == 0.01
    assert [run.name for run in find_runs(root / "link")] == ["elsewhere"], "the folder asked for may be a link"


def test_commands_that_learn_nothing_are_no_runs(tmp_path):
    for mode in ("train", "eval", "window", "compare"):
        write_run(tmp_path / mode, 0.8 if mode in ("train", "eval") else None, mode=mode)
    assert [run.name for run in find_runs(tmp_path)] == ["train"]


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
    for function in (find_runs, write_comparison):
        with pytest.raises(UserError, match=rf"^dir={re.escape(str(path))}: must be {allowed}[^\n]*$"):
            function(path)


DAMAGED_RESULTS = {
    "empty": b"",
    "cut off": b'{"accuracy": {"all_act',
    "not text": b"\xff\xfe\x00",
    "a list": b"[1, 2]",
    "no accuracy": b'{"readout": "all_activity"}',
    "no readout": b'{"accuracy": {"all_activity": 0.5}}',
    "another readout": b'{"accuracy": {"all_activity": 0.5}, "readout": "proportion"}',
    "not a number": b'{"accuracy": {"all_activity": NaN}, "readout": "all_activity"}',
    "in percent": b'{"accuracy": {"all_activity": 85.0}, "readout": "all_activity"}',
    "true": b'{"accuracy": {"all_activity": true}, "readout": "all_activity"}',
    "brackets without end": b"[" * 100_000,
}
DAMAGED_CONFIGS = {
    "empty": b"",
    "not YAML": b"a: [1, 2",
    "a word": b"word",
    "a list": b"- 1\n- 2\n",
    "not text": b"\xff\xfe\x00\x01",
    "twice the same key": b"a: 1\na: 2\n",
    "a tag": b"!!python/object:os.system x",
    "another program's": b"name: value\n",
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("result.json", item) for item in DAMAGED_RESULTS.items()),
        *(("config.yaml", item) for item in DAMAGED_CONFIGS.items()),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_damaged_file_makes_a_run_unfinished_and_stops_nothing(name, content, tmp_path):
    write_runs(tmp_path, (0.8, {}), (0.9, {"n_exc": 100}))
    (tmp_path / "1" / name).write_bytes(content[1])
    comparison = write_comparison(tmp_path)
    assert [run.name for run in comparison.runs] == ["0"] and not comparison.failed
    (damaged,) = comparison.unfinished
    assert damaged.name == "1" and damaged.result is None
    assert damaged.reason.startswith(f"{name}: ") and "\n" not in damaged.reason and len(damaged.reason) > 20
    for text in (to_text(comparison), (tmp_path / "comparison.md").read_text()):
        assert "Not finished (1)" in text and f"1: {name}: " in text


def test_folders_in_place_of_files_and_odd_seeds_stop_nothing(tmp_path):
    write_runs(tmp_path, (0.8, {"seed": [1, 2]}), (0.9, {"seed": None}), (0.7, {"seed": 3}))
    (write_run(tmp_path / "3", None) / "result.json").mkdir()
    (write_run(tmp_path / "4", None) / "error.txt").mkdir()
    comparison = write_comparison(tmp_path)
    assert comparison.groups[0].seeds == (3, "None", "[1, 2]")
    assert [run.name for run in (*comparison.unfinished, *comparison.failed)] == ["3", "4"]


def test_unfinished_and_failed_runs_are_named_at_the_end(tmp_path):
    write_runs(tmp_path, (0.8, {}), (None, {"n_exc": 1}), (None, {"n_exc": 2}), (0.9, {"n_exc": 3}))
    (tmp_path / "2" / "error.txt").write_text("n_exc=2: must be\nlarger | than that\n")
    (tmp_path / "3" / "error.txt").write_text("an earlier try failed\n")
    (tmp_path / "4" / ".hydra").mkdir(parents=True)
    (tmp_path / "4" / "error.txt").write_text("n_exc=-1: must be a whole number above 0\n")
    comparison = write_comparison(tmp_path)
    assert [run.name for run in comparison.runs] == ["3", "0"]
    assert [(run.name, run.reason) for run in comparison.failed] == [
        ("2", "n_exc=2: must be larger | than that"),
        ("4", "n_exc=-1: must be a whole number above 0"),
    ]
    assert [run.name for run in comparison.unfinished] == ["1"]
    text, markdown = to_text(comparison), (tmp_path / "comparison.md").read_text()
    assert text.splitlines()[-7:] == [
        "",
        "Failed (2):",
        "  2: n_exc=2: must be larger | than that",
        "  4: n_exc=-1: must be a whole number above 0",
        "",
        "Not finished (1):",
        "  1: no result.json: on its way, or interrupted",
    ]
    assert markdown.index("| ---") < markdown.index("## Failed (2)") < markdown.index("## Not finished (1)")
    assert "- 2: n_exc=2: must be larger \\| than that\n" in markdown


def test_a_sweep_without_a_finished_run_has_tables_without_rows_and_no_picture(tmp_path):
    write_runs(tmp_path, (None, {}), (None, {"n_exc": 1}))
    comparison = write_comparison(tmp_path)
    assert comparison.groups == () and comparison.readouts == ()
    assert to_text(comparison).startswith("No run is finished yet.\n")
    assert {path.name for path in tmp_path.iterdir()} == (WRITTEN - {"comparison.png"}) | {"0", "1"}
    assert rows_of((tmp_path / "comparison.csv").read_text()) == []
    with pytest.raises(ValueError, match="no finished runs"):
        draw(comparison)


def test_what_cannot_be_written_is_told_in_one_line_and_leaves_no_pieces(tmp_path):
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
    assert {path.name for path in tmp_path.iterdir()} == WRITTEN | {"0", "1"}


# Tables ---------------------------------------------------------------------------------------------------------------

ODD = 'a,"b"|c\nd'


def test_csv_holds_every_digit_and_odd_values(tmp_path):
    third = 0.1 + 0.2
    runs = [(third, {"dataset__root": ODD, "rule__a_post": third}), (0.25, {"trainer__shuffle": True})]
    comparison = compared(write_runs(tmp_path, *runs))
    first, second = rows_of(to_csv(comparison))
    assert float(first["rule.a_post"]) == float(first["accuracy_mean"]) == third
    assert first["dataset.root"] == ODD and first["trainer.shuffle"] == "" and first["accuracy_sd"] == ""
    assert float(first["interval_95_low"]) < third < float(first["interval_95_high"])
    assert second["dataset.root"] == "null" and second["trainer.shuffle"] == "true"
    rows = rows_of(runs_to_csv(comparison))
    assert [row["directory"] for row in rows] == ["0", "1"]
    assert [float(row["accuracy_all_activity"]) for row in rows] == [third, 0.25]
    assert all(row["readout"] == "all_activity" and row["seed"] == "0" for row in rows)


def test_a_readout_that_only_some_runs_have_is_an_empty_field(tmp_path):
    new = {"result": {"accuracy": {"all_activity": 0.9, "bayes": 0.95}}, "n_exc": 10}
    comparison = compared(write_runs(tmp_path, (0.8, {}), (0.9, new)))
    assert comparison.readouts == ("all_activity", "proportion", "bayes")
    rows = rows_of(to_csv(comparison))
    assert [row["accuracy_bayes_mean"] for row in rows] == ["0.95", ""]
    assert [row["accuracy_proportion_mean"] for row in rows] == ["", "0.4"]
    assert [row["accuracy_bayes"] for row in rows_of(runs_to_csv(comparison))] == ["0.95", ""]
    to_text(comparison), to_markdown(comparison)


def test_markdown_is_one_table_with_as_many_cells_in_every_row(tmp_path):
    runs = [(0.5 + n / 100, {"n_exc": n, "seed": seed, "dataset__root": ODD}) for n in range(1, 41) for seed in (3, 5)]
    markdown = to_markdown(compared(write_runs(tmp_path, *runs, (0.1, {}))))
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert len(rows) == 2 + 41 and len(cells) == 1
    assert rows[0].startswith("| dataset.root | n_exc | seeds | accuracy (%) | sd | min to max |")
    assert r"| 40 | 3, 5 | 90.00 | 0.00 | 90.00 to 90.00 |" in rows[2]
    assert markdown.startswith("# Comparison\n\n81 runs, 41 settings, best first: test accuracy (all_activity), mean")


def test_the_text_is_aligned_and_named_in_full_where_there_is_room(tmp_path):
    runs = [
        (0.8 + n / 1000 + s / 100, {"n_exc": n, "rule__a_post": 1 / n, "seed": s}) for n in (9, 90) for s in range(3)
    ]
    lines = to_text(compared(write_runs(tmp_path, *runs))).splitlines()
    assert (
        lines[0]
        == "6 runs, 2 settings, best first: test accuracy (all_activity), mean and standard deviation (sd) over seeds."
    )
    header, *rows = lines[3:]
    assert header.split()[:3] == ["rule.a_post", "n_exc", "seeds"]
    assert rows[0].split()[:6] == ["0.0111111", "90", "0", "to", "2", "90.00"]
    end = header.index("accuracy (%)") + len("accuracy (%)")
    assert [row[:end][-6:] for row in rows] == [" 90.00", " 81.90"], "numbers end where their title ends"
    assert "1.00" in rows[0] and "89.00 to 91.00" in rows[0]
    assert "proportion (%)  images/s  wall (s)" in header and rows[0].split()[-5:] == [
        "45.00",
        "±",
        "0.50",
        "5,000",
        "12.5",
    ]


def test_a_long_value_is_cut_in_its_middle(tmp_path):
    paths = [f"/a/long/path/to/some/pictures/{n}" for n in range(3)]
    text = to_text(
        compared(write_runs(tmp_path, *[(0.9 - n / 100, {"dataset__root": path}) for n, path in enumerate(paths)]))
    )
    assert [line.split()[0] for line in text.splitlines()[4:]] == [f"/a/long/path/…ome/pictures/{n}" for n in range(3)]


def test_the_text_of_a_wide_and_long_comparison_fits(tmp_path):
    keys = (
        "neuron__refractory",
        "neuron__w_ie",
        "rule__a_post",
        "rule__another_long_name",
        "trainer__a_long_one",
        "n_exc",
    )
    runs = [
        (0.5 + n / 100, {**{key: (n + k) / 7 for k, key in enumerate(keys)}, "dataset__root": "/data" * n, "seed": n})
        for n in range(35)
    ]
    write_runs(tmp_path, *runs)
    write_run(tmp_path / "cut" / ("long" * 40), None)
    comparison = compared(tmp_path)
    for width in (80, 110, 120):
        text = to_text(comparison, width)
        lines = text.splitlines()
        assert max(map(len, lines)) <= width
        assert "The best 30 of 35 settings; all of them are in comparison.csv." in text
        assert "long" * 40 in "".join(line.strip() for line in lines), "directories are wrapped, not cut"
        joined = re.sub(r"\s+", " ", text)
        left_out = re.search(r"Not shown for want of room, but in comparison.csv: (.+?)\. Not", joined)[1].split(", ")
        header = next(line for line in lines if "accuracy (%)" in line)
        assert "wall (s)" in left_out and not any(title in header for title in left_out)
        assert "  w_ie" in header and "neuron.w_ie" not in header, "short titles before a column is left out"
        assert lines.index("The best 30 of 35 settings; all of them are in comparison.csv.") - lines.index(header) == 31
    assert max(map(len, to_text(comparison).splitlines())) <= 110


# Pictures -------------------------------------------------------------------------------------------------------------


def picture_of(folder) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO((folder / "comparison.png").read_bytes())).convert("RGB"))


def test_a_number_that_was_swept_is_the_horizontal_axis_and_rules_are_lines(tmp_path):
    rules, sizes = ("nearest_online", "full_online"), (100, 400, 1600)
    runs = [
        (0.7 + r / 10 + n / 20 + s / 100, {"rule__name": rule, "n_exc": size, "seed": s})
        for r, rule in enumerate(rules)
        for n, size in enumerate(sizes)
        for s in range(3)
    ]
    write_runs(tmp_path, *runs)
    figure = draw(write_comparison(tmp_path))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "n_exc" and axes.get_ylabel() == "test accuracy, all_activity (%)"
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "400", "1,600"]
    assert (
        axes.get_title()
        == "Test accuracy against n_exc\nmean over 3 seeds; bar: standard deviation; faint: single runs"
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
    assert sorted(len(line.get_xdata()) for line in faint) == [3] * 6
    tall, wide = picture_of(tmp_path).shape[:2]
    assert [wide, tall] == [round(100 * side) for side in figure.get_size_inches()]
    assert 900 <= wide <= 1600 and 500 <= tall <= 800


def test_a_number_of_images_that_is_null_is_drawn_at_what_it_stands_for(tmp_path):
    comparison = compared(write_runs(tmp_path, *[(0.8, {"n_train": n}) for n in (None, 1000, 10000)]))
    (axes,) = draw(comparison).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1,000", "10,000", "60,000"]
    assert "one run each; bar: its 95 % interval" in axes.get_title()


def test_settings_that_are_no_numbers_are_rows_best_on_top(tmp_path):
    runs = [
        (0.5 + r / 10 + n / 50, {"rule__name": f"rule{r}", "neuron__name": f"neuron{n}", "seed": s})
        for r in range(3)
        for n in range(2)
        for s in range(2)
    ]
    write_runs(tmp_path, *runs)
    comparison = write_comparison(tmp_path)
    (axes,) = draw(comparison).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "rule=rule2, neuron=neuron1" and names[-1] == "rule=rule0, neuron=neuron0" and len(names) == 6
    assert axes.get_xlabel() == "test accuracy, all_activity (%)"
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [72, 70, 62, 60, 52, 50])
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first row is on top"
    low, high = axes.get_xlim()
    assert 0 <= low < 50 and 72 < high <= 100, "the axis shows what there is to tell"
    assert picture_of(tmp_path).shape[1] >= 900


def test_of_many_settings_the_best_30_are_rows_and_the_title_says_so(tmp_path):
    comparison = compared(write_runs(tmp_path, *[(n / 100, {"dtype": f"kind{n}"}) for n in range(45)]))
    (axes,) = draw(comparison).axes
    assert len(axes.get_yticklabels()) == 30 and axes.get_yticklabels()[0].get_text() == "dtype=kind44"
    assert "best 30 of 45 settings" in axes.get_title()


def test_a_search_over_several_numbers_is_a_panel_for_each(tmp_path):
    random = np.random.default_rng(1)
    a_post, w_ie = 10 ** random.uniform(-3, 0, 20), random.uniform(100, 500, 20)
    runs = [
        (
            0.5 + n / 100,
            {"rule__a_post": float(a), "neuron__w_ie": float(w), "trainer__schedule": ("cosine", "constant")[n % 2]},
        )
        for n, (a, w) in enumerate(zip(a_post, w_ie, strict=True))
    ]
    write_runs(tmp_path, *runs)
    figure = draw(write_comparison(tmp_path))
    assert [axes.get_xlabel() for axes in figure.axes] == ["rule.a_post", "neuron.w_ie"]
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "linear"]
    assert figure.axes[0].get_ylabel() == "test accuracy, all_activity (%)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["constant", "cosine"]
    *kinds, ring = figure.axes[1].lines
    assert ring.get_xdata() == [w_ie[-1]] and ring.get_ydata() == [pytest.approx(69)]
    drawn = sorted(point for line in kinds for point in line.get_xydata().tolist())
    np.testing.assert_allclose(drawn, sorted([float(w), 50.0 + n] for n, w in enumerate(w_ie)))
    assert "the best, 69.0 %" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("values", "ratio"),
    [
        ([100, 400, 1600], True),
        ([1, 10], True),
        ([0.001, 0.01, 0.1], True),
        ([1, 2, 3], False),
        ([1, 5, 9.8], False),
        ([1, 4, 7, 10, 13], False),
        ([0, 1, 10, 100], False),
        ([-10, -1], False),
        ([5], False),
    ],
)
def test_an_axis_is_logarithmic_where_values_lie_evenly_in_ratio(values, ratio):
    assert even_in_ratio(values) is ratio


@pytest.mark.parametrize(("shares", "low", "high"), [((0.0, 0.5), -5, 60), ((0.9, 1.0), 85, 101), ((0.5, 0.5), 45, 55)])
def test_the_axis_of_accuracies_ends_near_them_and_has_no_numbers_beyond_0_and_100(shares, low, high):
    axes = figures.accuracy_against_number("n", [1, 2], shares).axes[0]
    bottom, top = axes.get_ylim()
    assert low <= bottom < 100 * min(shares) and 100 * max(shares) < top <= high
    assert all(0 <= tick <= 100 for tick in axes.get_yticks() if bottom <= tick <= top)


def test_lines_differ_in_more_than_colour():
    assert len({marker for _, marker, _ in LOOKS}) == len(LOOKS)
    assert len({(colour, dashes) for colour, _, dashes in LOOKS}) == len(LOOKS)


SWEPT = {
    "one run": [{}],
    "one setting, many seeds": [{"seed": n} for n in range(4)],
    "two values": [{"n_exc": n} for n in (10, 20)],
    "equal accuracies, value 0": [{"rule__a_post": n, "result": {"accuracy": {"all_activity": 1.0}}} for n in (0, 1)],
    "some with one seed": [{"n_exc": 10, "seed": 1}, {"n_exc": 10, "seed": 2}, {"n_exc": 20, "seed": 1}],
    "eight lines": [{"dtype": f"kind{n % 8}", "n_exc": 10 * (n // 8 + 1)} for n in range(24)],
    "nine kinds": [{"dtype": f"kind{n % 9}", "n_exc": 10 * (n // 9 + 1)} for n in range(27)],
    "many numbers": [{f"rule__number_{k}": (n * (k + 3)) % 17 for k in range(8)} for n in range(17)],
    "formulas": [{"dtype": "$x^2$"}, {"dtype": "$\\undefined$"}, {"dtype": ""}],
    "long names": [{"dataset__root": "/data" * 50 + str(n), "rule__" + "long" * 30: n} for n in range(3)],
    "a large grid": [{"n_exc": n % 10, "rule__a_post": n // 10} for n in range(100)],
    "not a finite number": [{"rule__a_post": value} for value in (float("inf"), 1.0, 2.0)],
    "some without the setting": [{"rule__extra": 1}, {"rule__extra": 2}, {}],
    "no number of images": [{"result": {"test_images": None}}],
}


@pytest.mark.parametrize("case", SWEPT)
def test_every_form_is_drawn_whole_and_without_warnings(case, tmp_path):
    write_runs(tmp_path, *[(0.5 + n % 7 / 20, settings) for n, settings in enumerate(SWEPT[case])])
    write_comparison(tmp_path)
    image = picture_of(tmp_path)
    assert image.std() > 0 and image.shape[0] <= 2200 and image.shape[1] <= 1900
    # Nothing is cut off: the outermost pixels are blank.
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (edge == 255).all()
    keep = os.environ.get("KEEP_PICTURES")
    if keep:
        Image.fromarray(image).save(f"{keep}/{case.replace(' ', '_')}.png")


def test_the_figures_reject_nothing_that_is_drawable_alone():
    for figure in (
        figures.accuracy_by_setting([], []),
        figures.accuracy_against_number("n", [1.0], [0.5]),
        figures.accuracy_against_numbers({"a": [1.0], "b": [2.0]}, [0.5]),
    ):
        assert figures.to_image(figure).std() > 0
