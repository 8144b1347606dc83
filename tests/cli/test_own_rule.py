"""The pages' examples of a rule of one's own, and what goes wrong when one is mistaken."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import oracle
from helpers.runs import figures

from stdp_run import replay, run
from stdp_run.config.build import conf_folder

README = Path(__file__).parents[2] / "README.md"
SMALL = ("n_exc=20", "n_train=200", "n_test=100", "encoder.steps=100", "hydra.run.dir=run")


def readme_files() -> dict[str, str]:
    """The files that the README shows, by path."""
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", README.read_text(), re.DOTALL))


@pytest.fixture
def example(tmp_path):
    for path, content in readme_files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    command = re.search(r"<!-- run -->\n```sh\n(.*?)\n```", README.read_text(), re.DOTALL)[1]
    return command.split()[1:]


def test_the_readmes_example_is_short():
    assert set(readme_files()) == {"mine/soft_bound.py", "mine/rule/soft_bound.yaml"}
    assert sum(len(content.splitlines()) for content in readme_files().values()) < 25


@pytest.mark.slow
def test_only_commands_that_name_the_folder_of_a_custom_rule_run_it(stdp_run, tmp_path, example):
    tiny = ("n_exc=10", "n_train=40", "n_label=40", "n_test=20", "encoder.steps=20", "engine=torch")
    learned = stdp_run(*example, *tiny, "hydra.run.dir=run")
    assert "no tuned constants for soft_bound-lif_stdp: all are as published; " in learned.stderr
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text((tmp_path / "run" / "config.yaml").read_text())
    picture = tmp_path / "run" / "receptive_fields.png"
    for command in (
        ("resume=begun",),
        ("mode=eval", "checkpoint=run", "hydra.run.dir=again", "engine=torch"),
        ("mode=predict", "checkpoint=run", f"predict.images={picture}"),
        ("mode=export", "checkpoint=run", "export.to=network.npz"),
    ):
        refused = stdp_run(*command)
        if "mode=export" not in command:
            assert refused.returncode == 2 and "--config-dir FOLDER" in refused.stderr
        done = stdp_run("--config-dir", "mine", *command)
        assert done.returncode == 0, done.stderr
    assert figures(tmp_path / "begun") == figures(tmp_path / "run")


@pytest.mark.slow
def test_a_class_is_not_taken_from_the_current_folder(stdp_run, tmp_path):
    (tmp_path / "evil.py").write_text("open('trace', 'w')\n")
    done = stdp_run("rule._target_=evil.Rule")  # python -m, which has the current folder on its path
    assert (done.returncode, (tmp_path / "trace").exists()) == (2, False)
    assert "rule._target_=evil.Rule: no evil.py in stdp_run or in a named folder; --config-dir FOLDER" in done.stderr


@pytest.mark.slow
def test_a_yaml_that_the_package_has_as_well_is_named(stdp_run, tmp_path, example):
    own = tmp_path / "mine" / "rule" / "nearest_online.yaml"
    own.write_text("_target_: nowhere.Rule\nname: nearest_online\n")
    done = stdp_run("--config-dir", "mine", "mode=compare", "compare.dir=.")
    package = conf_folder() / "rule" / "nearest_online.yaml"
    assert f"rule=nearest_online: {package} is read, not {own}; rename that" in done.stderr


@pytest.mark.slow
def test_the_readmes_example_runs_on_both_engines_and_they_agree(stdp_run, tmp_path, example):
    counts = {}
    for engine in ("event", "torch"):
        done = stdp_run(*example, *SMALL[:-1], f"engine={engine}", "dtype=float64", f"hydra.run.dir={engine}")
        assert done.returncode == 0, done.stderr
        result = json.loads((tmp_path / engine / "result.json").read_text())
        assert (result["rule"], result["engine"]) == ("soft_bound", engine)
        counts[engine] = (result["confusion"], result["train_spikes_per_image"], result["spikes_per_image"])
    assert counts["event"] == counts["torch"]
    assert counts["event"][1] > 0


def test_a_custom_rule_in_python(tmp_path, monkeypatch, example, without_plots):
    monkeypatch.chdir(tmp_path)
    tiny = {"n_exc": 10, "n_train": 20, "n_label": 20, "n_test": 20, "encoder.steps": 20, "engine": "torch"}
    result = run("rule=soft_bound", config_dir="mine", **tiny)
    assert result.figures["rule"] == "soft_bound"


MISTAKES = {
    "syntax": ("class SoftBound(PairRule)", "class SoftBound(PairRule", "SyntaxError"),
    "import": ("from stdp_run.rules import PairRule", "from stdp_run.rules import PairRules", "ImportError"),
    "base": ("(PairRule)", "(dict)", "soft_bound.py derived from stdp_run.rules.base.Rule"),
    "name": ("p.w_max", "p.w_top", "w_top"),
    "class": ("class SoftBound", "class SoftBounds", "soft_bound.py derived from stdp_run.rules.base.Rule"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("mistake", "engine"), [*((mistake, "torch") for mistake in MISTAKES), ("name", "event")])
def test_a_mistake_names_the_file(stdp_run, tmp_path, example, mistake, engine):
    right, wrong, expected = MISTAKES[mistake]
    file = tmp_path / "mine" / "soft_bound.py"
    file.write_text(file.read_text().replace(right, wrong))
    done = stdp_run(*example, *SMALL, f"engine={engine}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    error = next(line for line in done.stderr.splitlines() if line.startswith("stdp-run: error: "))
    assert expected in error
    assert "soft_bound" in error
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("engine", ["torch", pytest.param("event", marks=pytest.mark.slow)])
@pytest.mark.parametrize("normalise", ["never", "every_step"])
def test_the_rule_in_contributing_computes_what_the_plain_loops_beside_it_compute(engine, normalise):
    page = README.with_name("CONTRIBUTING.md").read_text()
    rule, loops = ({}, dict(vars(oracle)))
    exec(re.search(r"<!-- file: mine/burst.py -->\n```python\n(.*?)```", page, re.DOTALL)[1], rule)
    exec(re.search(r"<!-- oracle -->\n```python\n(.*?)```", page, re.DOTALL)[1], loops)
    constants = {**loops["Burst"].published, "normalise": normalise, "w_norm": 3.0, "w_max": 0.4, "a_plus": 0.1}
    rng = np.random.default_rng(0)
    pre, post, weight = rng.random((90, 30)) < 0.1, rng.random((90, 5)) < 0.2, rng.uniform(0, 0.3, (5, 30))
    history = replay(rule["Burst"], pre, post, weight, engine=engine, **constants)
    plain = loops["Burst"](weight.tolist(), **constants)
    for t, weights in enumerate(history):
        plain.step(pre[t].tolist(), post[t].tolist(), t == 89)
        assert np.abs(weights - plain.weight).max() < 1e-12
    assert np.abs(history[-1] - weight).max() > 0.1
