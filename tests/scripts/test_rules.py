"""scripts/rules.py: what is searched, that a search resumes, that a run is that of stdp-run, and what is shown."""

import importlib.util
import json
import re
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.runs import run_in, settings_of

from stdp_run import rules
from stdp_run.config.build import conf_folder, published
from stdp_run.datasets.selection import load_images
from stdp_run.training.result import judged

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts" / "rules.py"
NEW = ("triplet", "power_law", "power_law_pre_post", "exponential", "weight_dependent", "rectangular", "multiplicative")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("rules_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments_of(script, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["rules.py", "tune", *map(str, words)])
    return script.parse()


def test_every_rule_is_searched_with_the_same_effort_around_what_is_published(script):
    assert set(script.SEARCHED) == set(rules.registered)
    for rule, searched in script.SEARCHED.items():
        assert len(searched) == 7
        for key, (low, high) in script.bounds(rule).items():
            section, name = key.split(".")
            group = {"rule": rule, "neuron": script.base(rule).neuron.name, "encoder": "poisson"}[section]
            assert low < published(section, group)[name] < high, (rule, key)


@pytest.mark.filterwarnings("ignore:Deprecated API features")  # SQLAlchemy, of what the sweeper's optuna does with it
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(script, monkeypatch, tmp_path):
    def run(settings, data, most_spikes):  # in place of a network: any function of the constants
        accuracy = 0.8 - 0.1 * abs(np.log(settings.rule.constants["a_post"] / 0.03))
        return {"accuracy": accuracy, "spikes_per_image": float(zlib.crc32(repr(settings.neuron).encode()) % 100)}

    monkeypatch.setattr(script, "run", run)
    found = {}
    for name, parts in {"at once": [14], "in parts": [3, 12, 14]}.items():
        for trials in parts:
            words = ("--rules", "triplet", "--trials", trials, "--images", 200, "--folder", tmp_path / name)
            script.tune(arguments_of(script, monkeypatch, *words))
        found[name] = pd.read_csv(tmp_path / name / "rules_trials.csv").drop(columns="cpu_seconds")
    pd.testing.assert_frame_equal(found["at once"], found["in parts"])
    assert list(found["at once"]["trial"]) == list(range(14)) and found["at once"]["constants"].is_unique


def test_a_run_has_the_figures_of_the_command(script, tmp_path, without_plots):
    words = ("rule=nearest_online", "tuned=none", "trainer.schedule=exponential", "encoder.steps=100", "threads=1")
    words += ("engine=event", "n_exc=20", "n_train=300", "n_label=200", "n_test=100", "epochs=2", "seed=3")
    settings = settings_of(*words)
    figures = script.run(settings, load_images(settings))
    run_in(tmp_path / "run", *words)
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert figures["accuracy"] == judged(result)
    assert figures["spikes_per_image"] == result["spikes_per_image"]
    assert 0 < figures["graded"] < 1


def test_a_trial_with_too_many_spikes_is_given_up(script):
    settings = settings_of("rule=nearest_online", "tuned=none", "n_exc=20", "n_train=1100", "encoder.steps=100")
    figures = script.run(settings, load_images(settings), most_spikes=0.01)
    assert figures["accuracy"] == 0 and np.isnan(figures["spikes_per_image"])


@pytest.mark.parametrize("rule", NEW)
def test_tuned_constants_are_those_of_the_best_trial(script, monkeypatch, rule):
    arguments = arguments_of(script, monkeypatch)
    assert len(script.trials_of(rule, arguments)) == arguments.trials
    ours = settings_of(*script.best_command(rule, arguments).split()[1:])
    tuned = settings_of(f"rule={rule}")
    assert f"{rule}-lif_stdp.yaml" in {file.name for file in (conf_folder() / "tuned").iterdir()}
    assert tuned.neuron == ours.neuron and tuned.encoder == ours.encoder and tuned.trainer == ours.trainer
    assert tuned.rule.constants.keys() == ours.rule.constants.keys()
    for key, value in tuned.rule.constants.items():
        other = ours.rule.constants[key]
        assert value == other if isinstance(value, str) else np.float32(value) == np.float32(other), key


def test_two_trials_are_tuned_measured_and_shown(tmp_path):
    few = ("--rules", "nearest_online", "post_pre_int", "--trials", "2", "--images", "200", "--train-images", "300")
    few += (
        "--n-exc",
        "20",
        "--epochs",
        "1",
        "--seeds",
        "0",
        "1",
        "--folder",
        tmp_path,
        "--picture",
        tmp_path / "p.png",
    )
    words = [sys.executable, SCRIPT, "tune", "measure", "table", "plot", "best", *few]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    runs, trials = (pd.read_csv(tmp_path / f"rules_{name}.csv") for name in ("results", "trials"))
    assert len(trials) == len(runs) == 4
    for rule, of_rule in runs.groupby("rule"):
        best = trials[trials["rule"] == rule].sort_values("accuracy").iloc[-1]
        assert set(of_rule["trial"]) == {best["trial"]} and best["constants"] in done.stdout
        mean = 100 * of_rule["accuracy"].mean()
        assert re.search(rf"\| `{rule}` \| {mean:.1f} ± {100 * of_rule['accuracy'].std():.1f} \(2 seeds\)", done.stdout)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert subprocess.run(words, capture_output=True, timeout=600).returncode == 0
    assert files == {path: path.read_bytes() for path in tmp_path.iterdir()}, "what is there is not done again"
