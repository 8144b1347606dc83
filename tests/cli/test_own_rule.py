"""The pages' examples of a rule of one's own, and what goes wrong when one is mistaken."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import oracle
from helpers.runs import figures

from stdp_run import replay, run
from stdp_run.config.build import conf_folder, relatives
from stdp_run.config.own_code import name_folder

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
def test_the_readmes_example_learns_and_says_whose_constants_it_has(stdp_run, tmp_path, example):
    done = stdp_run(*example, *SMALL, "n_train=10", "n_label=10", "n_test=10", "encoder.steps=20", "engine=torch")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["rule"] == "soft_bound"
    assert "no tuned constants for soft_bound with lif_stdp: neurons and encoder are as published; " in done.stderr
    assert "tuned=nearest_online-lif_stdp takes all of nearest_online with lif_stdp" in done.stderr


@pytest.mark.parametrize(
    ("yaml", "base"),
    [
        ("defaults: [nearest_online, _self_]", "PairRule"),
        ("a_post: 0.04\na_pre: 0.0\ntau_pre: 9.0\ntau_post: 9.0\nw_norm: 9.0\nw_max: 1.0", "FullOnline"),
        ("{}", "Rule"),
    ],
)
def test_what_a_rule_of_ones_own_is_based_on(tmp_path, yaml, base):
    (tmp_path / "rule").mkdir()
    (tmp_path / "rule" / "mine.yaml").write_text(yaml)
    module = f"mine_{base.lower()}"
    (tmp_path / f"{module}.py").write_text(f"from stdp_run import rules\nclass Mine(rules.{base}):\n    pass\n")
    own = name_folder(tmp_path)
    expected = {"PairRule": ["mine", "nearest_online"], "FullOnline": ["mine", "full_online"], "Rule": ["mine"]}[base]
    assert relatives("rule", "mine", f"{module}.Mine", [tmp_path, conf_folder()], own) == expected
    assert relatives("neuron", "diehl_cook", "stdp_run.neurons.LIF", [conf_folder()], None)[1] == "lif_stdp"


@pytest.mark.slow
def test_later_commands_find_a_rule_of_ones_own_where_the_user_has_named_its_folder(stdp_run, tmp_path, example):
    tiny = ("n_exc=10", "n_train=40", "n_label=40", "n_test=20", "encoder.steps=20", "engine=torch")
    assert stdp_run(*example, *tiny, "hydra.run.dir=run").returncode == 0
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text((tmp_path / "run" / "config.yaml").read_text())
    picture = tmp_path / "run" / "receptive_fields.png"
    commands = {
        "resume": ("resume=begun",),
        "eval": ("mode=eval", "checkpoint=run", "hydra.run.dir=again", "engine=torch"),
        "predict": ("mode=predict", "checkpoint=run", f"predict.images={picture}"),
        "export": ("mode=export", "checkpoint=run", "export.to=network.npz"),
        "compare": ("mode=compare", "compare.dir=."),
    }
    elsewhere = {"XDG_CACHE_HOME": str(tmp_path / "cache")}  # as on another machine, or for another user
    for name, command in commands.items():
        if name in ("resume", "predict", "compare"):
            refused = stdp_run(*command, **elsewhere)
            assert refused.returncode == (0 if name == "compare" else 2), refused.stderr
            where = f"lie in {tmp_path / 'mine'}; --config-dir {tmp_path / 'mine'} "
            assert name == "compare" or where in refused.stderr
            assert len([line for line in refused.stderr.splitlines() if "error" in line]) == (name != "compare")
        done = stdp_run(*command)
        assert done.returncode == 0, done.stderr
    assert figures(tmp_path / "begun") == figures(tmp_path / "run")
    rule = tmp_path / "mine" / "soft_bound.py"
    right = rule.read_text()
    rule.write_text(right.replace("p.w_max", "p.w_top"))  # a mistake, of which the file is named
    for file in ("result.json", "checkpoint.pt"):
        (tmp_path / "begun" / file).unlink()
    mistaken = stdp_run(*commands["resume"])
    assert (mistaken.returncode, "Traceback" in mistaken.stderr) == (2, False) and f"{rule}, line " in mistaken.stderr
    rule.write_text(right)
    (tmp_path / "mine").rename(tmp_path / "moved")
    assert "is not there any more; --config-dir FOLDER names another" in stdp_run(*commands["export"]).stderr
    assert stdp_run("--config-dir", "moved", *commands["export"]).returncode == 0


@pytest.mark.slow
def test_a_class_is_not_taken_from_the_current_folder(stdp_run, tmp_path):
    (tmp_path / "evil.py").write_text("open('trace', 'w')\n")
    done = stdp_run("rule._target_=evil.Rule")  # python -m, which has the current folder on its path
    assert (done.returncode, (tmp_path / "trace").exists()) == (2, False)
    assert "rule._target_=evil.Rule: not in the package stdp_run; --config-dir FOLDER" in done.stderr


@pytest.mark.slow
def test_a_yaml_that_the_package_has_as_well_is_named(stdp_run, tmp_path, example):
    own = tmp_path / "mine" / "rule" / "nearest_online.yaml"
    own.write_text("_target_: nowhere.Rule\nname: nearest_online\n")
    done = stdp_run("--config-dir", "mine", "mode=compare", "compare.dir=.")
    assert f"rule=nearest_online: the package's is taken; {own} needs another name to be used" in done.stderr
    refused = stdp_run("config_dir=mine", "mode=compare", "compare.dir=.")
    assert "config_dir=mine: must be given as --config-dir FOLDER" in refused.stderr


@pytest.mark.slow
def test_tuned_constants_of_ones_own_are_found_and_those_of_another_rule_can_be_taken(stdp_run, tmp_path, example):
    done = stdp_run(*example, *SMALL, "engine=torch", "tuned=nearest_online-lif_stdp")
    assert "constants tuned for nearest_online with lif_stdp" in done.stderr
    assert "steps: 100" in (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "mine" / "tuned").mkdir()
    own = tmp_path / "mine" / "tuned" / "soft_bound-lif_stdp.yaml"
    own.write_text("# @package _global_\nencoder:\n  max_rate_hz: 99.0\n")
    done = stdp_run(*example, *SMALL[:-1], "engine=torch", "hydra.run.dir=own")
    assert "constants tuned for soft_bound with lif_stdp" in done.stderr
    assert "max_rate_hz: 99.0" in (tmp_path / "own" / "config.yaml").read_text()


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


@pytest.mark.slow
def test_a_rule_without_a_compiled_half_runs_on_torch_and_the_log_says_so(stdp_run, tmp_path, example):
    file = tmp_path / "mine" / "soft_bound.py"
    file.write_text(
        """
from stdp_run.parameters import number
from stdp_run.rules import Rule


class SoftBound(Rule):
    parameters = {"gain": number}

    @staticmethod
    def step(p, step, weight, traces):
        change = step.post[:, :, None] * step.pre[:, None, :] - step.post[:, :, None] * weight
        return weight + step.reduce(p.gain * change), traces
"""
    )
    (tmp_path / "mine" / "rule" / "soft_bound.yaml").write_text(
        "_target_: soft_bound.SoftBound\nname: soft_bound\ngain: 0.01\n"
    )
    done = stdp_run(*example, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "engine torch on the CPU: SoftBound with " in done.stderr
    refused = stdp_run(*example, "engine=event")
    assert "engine=event: SoftBound with " in refused.stderr


@pytest.mark.slow
def test_a_neuron_group_of_ones_own_runs(tmp_path, monkeypatch, without_plots):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "neuron").mkdir(parents=True)
    (tmp_path / "mine" / "steady.py").write_text(
        """
from stdp_run.elementwise import where
from stdp_run.neurons import LIF


class Steady(LIF):
    @staticmethod
    def excitatory(p, learning, current, v, refractory, theta):
        v = p.d_v * (v - p.v_rest) + p.v_rest + current
        spike = v > p.v_threshold
        return spike, where(spike, p.v_reset, v), refractory, theta
"""
    )
    (tmp_path / "mine" / "neuron" / "steady.yaml").write_text(
        "defaults: [lif_stdp, _self_]\n_target_: steady.Steady\nname: steady\n"
    )
    results = []
    for engine in ("event", "torch"):
        figures = run("neuron=steady", *SMALL[:-1], config_dir="mine", engine=engine, dtype="float64").figures
        assert (figures["neuron"], figures["engine"]) == ("steady", engine)
        results.append((figures["confusion"], figures["spikes_per_image"]))
    assert results[0] == results[1] and results[0][1] > 0


MISTAKES = {
    "syntax": ("class SoftBound(PairRule)", "class SoftBound(PairRule", "SyntaxError"),
    "import": ("from stdp_run.rules import PairRule", "from stdp_run.rules import PairRules", "ImportError"),
    "base": ("(PairRule)", "(dict)", "must be a class derived from stdp_run.rules.base.Rule"),
    "name": ("p.w_max", "p.w_top", "w_top"),
    "class": ("class SoftBound", "class SoftBounds", "has no attribute 'SoftBound'"),
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


@pytest.mark.slow
def test_an_unknown_constant_of_ones_own_rule_is_refused(stdp_run, tmp_path, example):
    yaml = tmp_path / "mine" / "rule" / "soft_bound.yaml"
    yaml.write_text(yaml.read_text() + "gain: 3\n")
    done = stdp_run(*example)
    assert "rule.gain=3: unknown key; known here: a_post" in done.stderr


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
