"""scripts/rules.py: the search spaces, the best constants, and the files and table of a search."""

import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.runs import settings_of

from stdp_run import rules
from stdp_run.config.build import published

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def benchmark(script, monkeypatch, capsys):
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # a sweep is waited for, also after Ctrl-C

    def run(*arguments) -> str:
        monkeypatch.setattr(sys, "argv", ["rules.py", *map(str, arguments)])
        script.main()
        return capsys.readouterr().out

    return run


def test_every_rule_is_searched_with_the_same_effort_around_the_published_constants(script):
    spaces = script.SEARCH["spaces"]
    assert set(spaces) == set(rules.registered)
    for rule, searched in spaces.items():
        assert len(searched) == 7
        neuron = settings_of(f"rule={rule}").neuron.name
        for key, bounds in searched.items():
            section, name = key.split(".")
            group = {"rule": rule, "neuron": neuron, "encoder": "poisson"}[section]
            low, high = map(float, bounds.split(","))
            assert low < published(section, group)[name] < high, (rule, key)


def test_tuned_constants_are_those_of_the_best_trial(benchmark):
    searched = ["triplet", "power_law", "power_law_pre_post", "exponential", "weight_dependent"]
    searched += ["rectangular", "multiplicative"]
    commands = benchmark("best", "--rules", *searched, "--folder", SCRIPTS).splitlines()
    for rule, command in zip(searched, commands, strict=True):
        best, tuned = settings_of(*command.split()[1:]), settings_of(f"rule={rule}")
        assert tuned.neuron == best.neuron and tuned.encoder == best.encoder and tuned.trainer == best.trainer
        for key, value in tuned.rule.constants.items():
            other = best.rule.constants[key]
            assert value == other if isinstance(value, str) else np.float32(value) == np.float32(other), (rule, key)


@pytest.mark.weekly
def test_two_trials_are_tuned_measured_and_shown(benchmark, tmp_path):
    few = ("--rules", "triplet", "post_pre_int", "--folder", tmp_path)
    tiny = ("--set", "n_train=200", "n_label=100", "n_test=100")
    benchmark("tune", *few, *tiny, "hydra.sweeper.n_trials=2")
    benchmark("measure", *few, *tiny, "n_exc=10", "epochs=1", "seed=0,1")
    runs, trials = (pd.read_csv(tmp_path / f"rules_{name}.csv") for name in ("results", "trials"))
    assert len(trials) == len(runs) == 4 and trials["constants"].is_unique
    benchmark("tune", "--rules", "triplet", *few[3:], *tiny, "hydra.sweeper.n_trials=2")
    again = pd.read_csv(tmp_path / "rules_trials.csv")
    pd.testing.assert_frame_equal(*(each.sort_values("constants", ignore_index=True) for each in (again, trials)))
    shown = benchmark("show", *few, "--table", tmp_path / "t.csv", "--picture", tmp_path / "p.png")
    table = pd.read_csv(tmp_path / "t.csv", index_col="rule")
    for rule, of_rule in runs.groupby("rule"):
        best = trials[trials["rule"] == rule].sort_values("accuracy", kind="stable").iloc[-1]
        assert set(of_rule["constants"]) <= set(trials.loc[trials["accuracy"] == best["accuracy"], "constants"])
        mean, sd = 100 * of_rule["accuracy"].mean(), 100 * of_rule["accuracy"].std()
        (line,) = (line for line in shown.splitlines() if f"`{rule}`" in line)
        assert f" {mean:.1f} ± {sd:.1f} |" in line
        assert table.loc[f"`{rule}`", "10 neurons, 1 epoch"] == f"{mean:.1f} ± {sd:.1f}"
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
