"""The custom rules that the pages show: they run, compute and pass the checks; a mistake names the file."""

from importlib import import_module

import numpy as np
import pytest
from helpers.pages import write_files
from helpers.runs import figures

from stdp_run import replay
from stdp_run.config.build import conf_folder
from stdp_run.testing import check_rule

EXAMPLE = ("--config-dir", "mine", "rule=soft_bound")
TINY = ("n_exc=10", "n_train=40", "n_label=40", "n_test=20", "encoder.steps=20", "hydra.run.dir=run")


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    """The folder of all files that the pages show."""
    write_files(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.mark.slow
def test_only_commands_that_name_the_folder_of_a_custom_rule_run_it(stdp_run, tmp_path):
    learned = stdp_run(*EXAMPLE, *TINY, "engine=torch")
    assert "no tuned constants for soft_bound-lif_stdp: the published ones are used; " in learned.stderr
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text((tmp_path / "run" / "config.yaml").read_text())
    for command in (
        ("resume=begun",),
        ("mode=eval", "checkpoint=run", "hydra.run.dir=again", "engine=torch"),
        ("mode=predict", "checkpoint=run", "predict.images=run/receptive_fields.png"),
        ("mode=export", "checkpoint=run", "export.to=network.npz"),
    ):
        refused = stdp_run(*command)
        if "mode=export" not in command:
            assert refused.returncode == 2 and "--config-dir FOLDER" in refused.stderr
        done = stdp_run("--config-dir", "mine", *command)
        assert done.returncode == 0, done.stderr
    assert figures(tmp_path / "begun") == figures(tmp_path / "run")


@pytest.mark.slow
def test_a_yaml_that_the_package_has_as_well_is_named(stdp_run, mine):
    own = mine / "rule" / "nearest_online.yaml"
    own.write_text("_target_: nowhere.Rule\nname: nearest_online\n")
    done = stdp_run("--config-dir", "mine", "mode=compare", "compare.dir=.")
    package = conf_folder() / "rule" / "nearest_online.yaml"
    assert f"rule=nearest_online: {package} is read, not {own}; rename the second file" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "event"])
def test_a_mistake_names_the_file(stdp_run, tmp_path, mine, engine):
    file = mine / "soft_bound.py"
    file.write_text(file.read_text().replace("p.w_max", "p.w_top"))
    done = stdp_run(*EXAMPLE, *TINY, f"engine={engine}")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    error = next(line for line in done.stderr.splitlines() if line.startswith("stdp-run: error: "))
    assert "w_top" in error and "soft_bound" in error
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.slow
def test_the_torch_rule_of_the_page_passes():
    """Programs of the pages and the notebook check the other classes."""
    check_rule(import_module("subtractive").Subtractive, eta=0.05)


def test_the_rule_of_the_page_changes_weights_as_its_table_says():
    constants = {"a_plus": 0.01, "a_minus": 0.01, "a_pre": 1e-4, "t_ltp": 20, "tau_post": 20, "tau_burst": 40}
    constants |= {"normalise": "never", "w_norm": 1, "w_max": 1}
    pre, post = np.zeros((40, 2), bool), np.zeros((40, 1), bool)
    pre[0, 0] = post[[20, 21, 30]] = True  # the first input is 20 ms old at the first output spike; the other is silent

    def after(pre, post):
        return replay(import_module("burst").Burst, pre, post, [[0.4, 0.4]], **constants)[-1, 0]

    assert after(pre, post) == pytest.approx([(0.4 + 0.01 * 0.6) * 0.99**2, 0.4 * 0.99**3], rel=1e-12)
    pre[19] = True  # now both are recent at all three spikes; y2 is 0, then 1, then the sum of two spikes
    bursts = np.array([0, np.exp(-1 / 40), np.exp(-9 / 40) + np.exp(-10 / 40)])
    assert after(pre[19:], post[19:]) == pytest.approx([1 - 0.6 * np.prod(0.99 - 0.01 * bursts)] * 2, rel=1e-12)
