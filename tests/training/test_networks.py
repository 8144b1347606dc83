"""Networks side by side: each ends as it would alone, to the last bit, however the whole was stopped."""

import contextlib
import csv
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from stdp_run.config.variants import variants

from stdp_run.cli import key_of
from stdp_run.commands.train import Invocation, run
from stdp_run.config.build import conf_folder, published_model
from stdp_run.engines import make_engine, make_networks
from stdp_run.engines.side_by_side import Lesson
from stdp_run.errors import UserError
from stdp_run.network import Encoder, initial_state
from stdp_run.reporting.comparing import find_runs
from stdp_run.training import checkpoint
from stdp_run.training.run_directory import RunDirectory

CHANGING = ("train_images_per_second", "eval_images_per_second", "wall_seconds", "commit")
SMALL = (
    *("n_exc=20", "n_train=300", "n_label=200", "n_test=100", "encoder.steps=100", "threads=2"),
    *("trainer.log_every=100", "trainer.label_window=100", "trainer.evaluate_every=150"),
)
DRAWN = (*SMALL, "trainer.plot_every=200")


def composed(*overrides: str):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def learn(directory: Path, *overrides: str) -> float:
    directory.mkdir(exist_ok=True)
    return run(composed(*overrides), directory, Invocation(tuple(map(key_of, overrides)), bars=False))


def left_by(directory: Path) -> dict:
    """Return all that a run leaves, but for what tells of times."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = json.loads((directory / "result.json").read_text())
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    saved = checkpoint.load(directory / "checkpoint.pt")
    return {
        "files": sorted(re.sub(r"tfevents.*", "", path.name) for path in directory.iterdir()),
        "config": (directory / "config.yaml").read_text(),
        "result": {key: value for key, value in result.items() if key not in CHANGING},
        "metrics": [{key: value for key, value in row.items() if not key.endswith("per_second")} for row in rows],
        "scalars": {
            name: [(event.step, event.value) for event in events.Scalars(name)]
            for name in tags["scalars"]
            if not name.endswith("per_second")
        },
        "images": {name: [event.step for event in events.Images(name)] for name in tags["images"]},
        "pictures": {path.name: path.read_bytes() for path in directory.glob("*.png")},
        "arrays": {name: (array.dtype, array.tobytes()) for name, array in saved.arrays.items()},
        "labels": saved.extra["label"].tolist(),
        "checkpoint_config": saved.config,
    }


def assert_same(directory: Path, other: Path) -> None:
    first, second = left_by(directory), left_by(other)
    for name, value in first.items():
        assert value == second[name], name


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three seeds side by side, what was printed, and the accuracy that was returned."""
    directory, printed = tmp_path_factory.mktemp("three"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        accuracy = learn(directory, *DRAWN, "networks=3", "seed=2")
    return directory, printed.getvalue(), accuracy


def test_each_seed_ends_as_it_would_alone(three, tmp_path):
    directory, _, _ = three
    assert sorted(path.name for path in directory.iterdir() if path.is_dir()) == ["seed_2", "seed_3", "seed_4"]
    learn(tmp_path / "alone", *DRAWN, "seed=3")
    assert_same(directory / "seed_3", tmp_path / "alone")
    weights = {left_by(directory / f"seed_{seed}")["arrays"]["weight"] for seed in (2, 3, 4)}
    assert len(weights) == 3


def test_they_are_compared_at_the_end(three, tmp_path):
    directory, printed, accuracy = three
    assert "3 runs, 1 setting" in printed and "2 to 4" in printed and str(directory) in printed
    with (directory / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["directory"] for row in rows] == ["seed_2", "seed_3", "seed_4"]
    assert accuracy == pytest.approx(np.mean([float(row["accuracy_all_activity"]) for row in rows]))
    assert {"comparison.csv", "comparison.md", "comparison.png"} <= {path.name for path in directory.iterdir()}
    # Seen from above, the networks are runs, and the directory around them is none.
    assert [run.name for run in find_runs(directory.parent) if run.directory.is_relative_to(directory)] == [
        f"{directory.name}/seed_{seed}" for seed in (2, 3, 4)
    ]


def test_what_failed_before_any_network_began_is_named_as_one_run(tmp_path):
    OmegaConf.save(composed("networks=3"), tmp_path / "config.yaml")
    with pytest.raises(UserError, match="a folder with runs in it"):
        find_runs(tmp_path)
    (tmp_path / "error.txt").write_text("networks=3: why\n")
    assert [run.reason for run in find_runs(tmp_path)] == ["networks=3: why"]


def test_the_values_of_a_setting_side_by_side(tmp_path):
    learn(tmp_path / "both", *SMALL, "networks=2", "vary=rule.a_post", "values=[0.02,0.1]")
    learn(tmp_path / "alone", *SMALL, "rule.a_post=0.1")
    assert_same(tmp_path / "both" / "a_post_0.1", tmp_path / "alone")
    weights = {left_by(tmp_path / "both" / f"a_post_{value}")["arrays"]["weight"] for value in (0.02, 0.1)}
    assert len(weights) == 2
    assert (tmp_path / "both" / "comparison.csv").read_text().splitlines()[0].startswith("rule.a_post,")


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_engines_side_by_side_do_what_each_does_alone(threads):
    encoder = Encoder(40, 200.0, 1.0)
    models = [
        replace(published_model("nearest_online", "lif_stdp", 9, encoder, n_inputs=50), seed=seed) for seed in range(3)
    ]
    rng = np.random.default_rng(1)
    pixels, rate = rng.integers(0, 256, (30, 50), dtype=np.uint8), np.linspace(1, 0.5, 10)
    orders = [rng.permutation(30)[:10] for _ in models]
    states = [initial_state(model) for model in models]
    networks = make_networks(models, states, engine="event", threads=threads)
    lessons = [Lesson(pixels[order], order, rate, None) for order in orders]
    counts = [networks.learn([0, 1, 2], lessons, 0), networks.learn([0, 2], lessons[::2], 1)]
    answers = networks.count_spikes([1, 2], pixels, np.arange(30))
    for k, model in enumerate(models):
        alone = make_engine(model, states[k], engine="event", threads=1)
        assert np.array_equal(counts[0][k], alone.learn(*lessons[k][:2], 0, rate))
        if k != 1:
            assert np.array_equal(counts[1][k // 2], alone.learn(*lessons[k][:2], 1, rate))
        if k:
            assert np.array_equal(answers[k - 1], alone.count_spikes(pixels, np.arange(30)))
        for name, array in alone.state().arrays().items():
            assert np.array_equal(networks.state(k).arrays()[name], array), name
    assert sum(part.sum() for part in answers) > 0 and not np.array_equal(*answers)


def test_what_refers_to_the_varied_setting_follows_it():
    config = composed("networks=2", "vary=rule.a_post", "values=[0.5,1.0]", "rule.a_pre=${rule.a_post}")
    found = variants(config)
    assert [each.name for each in found] == ["a_post_0.5", "a_post_1.0"]
    assert [each.config["rule"]["a_pre"] for each in found] == [0.5, 1.0]
    assert OmegaConf.to_container(config)["networks"] == 2, "what was asked for stays as it is"
    alone = OmegaConf.to_container(composed("rule.a_post=0.5", "rule.a_pre=0.5"), resolve=True)
    assert found[0].config == alone


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["networks=2", "seed=7"], ["seed_7", "seed_8"]),
        (["networks=2", "values=[5,3]"], ["seed_5", "seed_3"]),
        (["networks=2", "vary=max_learners", "values=[null,1]"], ["max_learners_null", "max_learners_1"]),
        (["networks=2", "vary=trainer.schedule", "values=[constant,cosine]"], ["schedule_constant", "schedule_cosine"]),
        (["networks=2", "vary=neuron.tau_theta", "values=[1e7,1e+20]"], ["tau_theta_10000000.0", "tau_theta_1e+20"]),
        (["networks=2", "vary=encoder.max_rate_hz", "values=[64,128]"], ["max_rate_hz_64", "max_rate_hz_128"]),
        (["networks=2", "vary=trainer.shuffle", "values=[true,false]"], ["shuffle_true", "shuffle_false"]),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_directories_are_named_after_what_differs(asked, names):
    assert [each.name for each in variants(composed(*asked))] == names


VARIABLE = "vary={}: must be what leaves shapes and numbers of steps equal: seed, max_learners, encoder.max_rate_hz"
REFUSED = [
    (["networks=0"], "networks=0: must be a whole number of 1 or more"),
    (["networks=2", "batch_size=4"], "batch_size=4: must be 1 with networks=2"),
    (["values=[1]"], "networks=1: must be 2 or more for values=[1]"),
    (["vary=rule.a_post"], "networks=1: must be 2 or more for vary=rule.a_post"),
    (["networks=2", "values=3"], "values=3: must be a list of values, such as [0.01,0.02], or null"),
    (["networks=2", "values=[[1],[2]]"], "must be a list of values, such as [0.01,0.02], or null"),
    (["networks=2", "values=[1,2,3]"], "networks=2: must be 3, the number of values=[1,2,3]"),
    (["networks=2", "values=[4,4]"], "values=[4,4]: must be a list in which no value comes twice"),
    (["networks=2", "vary=rule.a_post"], "values=null: must be a list of 2 values for vary=rule.a_post"),
    (["networks=2", "vary=rule.a_post", "values=[0.1,fast]"], "rule.a_post=fast: must be a number"),
    (["networks=2", "seed=4294967295"], "seed=4294967296: must be a whole number from 0 to 4294967295"),
    *(
        (["networks=2", f"vary={key}", "values=[1,2]"], VARIABLE.format(key))
        for key in (
            *(
                "n_exc",
                "epochs",
                "batch_size",
                "n_train",
                "encoder.steps",
                "evaluator.n_presentations",
                "dataset.split",
                "dtype",
            ),
            *("rule", "rule.name", "rule._target_", "neuron.name", "rule.nothing", "networks", "engine", "nothing"),
        )
    ),
]


@pytest.mark.parametrize(("asked", "expected"), REFUSED, ids=[" ".join(asked) for asked, _ in REFUSED])
def test_what_cannot_be_done_is_refused_in_one_line(tmp_path, asked, expected):
    with pytest.raises(UserError) as error:
        learn(tmp_path / "run", *SMALL, *asked)
    assert expected in str(error.value) and "\n" not in str(error.value)
    assert not list((tmp_path / "run").rglob("config.yaml"))


# Going on -------------------------------------------------------------------------------------------------------------


def contents(directory: Path) -> dict:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_complete_networks_are_left_and_others_begin_again_with_their_own_settings(three, tmp_path, caplog):
    directory = Path(shutil.copytree(three[0], tmp_path / "run"))
    for path in (directory / "seed_3").iterdir():  # as if stopped before the first checkpoint
        if path.name != "config.yaml":
            path.unlink()
    kept = {seed: contents(directory / f"seed_{seed}") for seed in (2, 4)}
    with caplog.at_level(logging.INFO):
        assert learn(directory, f"resume={directory}") == three[2]
    assert caplog.text.count("this run is complete; nothing to do") == 2
    assert {seed: contents(directory / f"seed_{seed}") for seed in (2, 4)} == kept
    assert left_by(directory / "seed_3")["arrays"] == left_by(three[0] / "seed_3")["arrays"]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert learn(directory, *DRAWN, "networks=3", "seed=2") == three[2]
    assert caplog.text.count("this run is complete; nothing to do") == 3


def test_what_does_not_fit_what_is_there_is_refused_by_name(three, tmp_path):
    directory, _, _ = three
    before = contents(directory)
    same = (*DRAWN, "networks=3", "seed=2")
    for asked, named in (
        ((*same, "networks=2"), "networks=2 (there: 3)"),
        ((*same, "seed=1"), "seed=1 (there: 2)"),
        ((*same, "rule.a_post=0.5"), "rule.a_post=0.5 (there: 0.04)"),
        ((f"resume={directory}", "networks=4"), "networks=4 (there: 3)"),
        ((*DRAWN, "seed=2"), "networks=1 (there: 3)"),
        ((*same, "resume=null"), "resume=null"),
    ):
        with pytest.raises(UserError, match=re.escape(named)):
            learn(directory, *asked)
    with pytest.raises(UserError, match=re.escape("networks=3 (there: 1)")):
        learn(directory / "seed_2", *same)
    assert contents(directory) == before
    assert RunDirectory(directory).holds_run() and RunDirectory(directory / "seed_2").holds_run()
    assert not RunDirectory(directory.parent).holds_run()


LONGER = (*SMALL, "n_train=6000", "trainer.checkpoint_every=200", "trainer.evaluate_every=null", "networks=2")


def interrupted(folder: Path, number: signal.Signals, images: int) -> tuple[int, str]:
    """Start two networks, or go on with them, and send a signal after some images; return exit code and messages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stdp_run.cli", *LONGER, "hydra.run.dir=run"],
        cwd=folder,
        env=dict(os.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 600
    while not all((folder / "run" / f"seed_{seed}/checkpoints/images_{images:012}.pt").exists() for seed in (0, 1)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    return process.returncode, errors


def test_killed_out_of_step_and_stopped_each_ends_as_if_nothing_had_happened(tmp_path, caplog):
    learn(tmp_path / "whole", *LONGER)
    directory = tmp_path / "run"
    code, errors = interrupted(tmp_path, signal.SIGKILL, images=400)
    assert code == -signal.SIGKILL, errors
    assert not list(directory.rglob("result.json"))
    # As if it had been killed between the checkpoints of the two: the second network has to catch up with the first.
    newest = max((directory / "seed_0" / "checkpoints").iterdir())
    for file in (directory / "seed_1" / "checkpoints").iterdir():
        if file.name >= newest.name:
            file.unlink()

    code, errors = interrupted(tmp_path, signal.SIGTERM, images=2000)
    assert code == 128 + signal.SIGTERM and "Traceback" not in errors, errors
    went_on_at = [int(n) for n in re.findall(r"run/seed_\d: going on after (\d+) images", errors)]
    assert len(went_on_at) == 2 and went_on_at[0] > went_on_at[1], errors
    said = re.search(r"SIGTERM after (\d+) images: saved; `stdp-run resume=(\S+)` goes on", errors)
    assert said and (tmp_path / said[2]) == directory, errors
    for seed in (0, 1):
        assert RunDirectory(directory / f"seed_{seed}").newest().position["images"] == int(said[1])

    with caplog.at_level(logging.INFO):
        learn(directory / "seed_1", f"resume={directory / 'seed_1'}")  # one of them alone
        learn(directory, f"resume={directory}", "threads=1")
    assert caplog.text.count(f"going on after {said[1]} images") == 2
    assert caplog.text.count("this run is complete") == 1
    for seed in (0, 1):
        found, expected = left_by(directory / f"seed_{seed}"), left_by(tmp_path / "whole" / f"seed_{seed}")
        for name in ("arrays", "labels", "result", "metrics", "scalars", "images"):
            assert found[name] == expected[name], (seed, name)
