"""Every preset and every sweep in conf/ is one that a run accepts."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stdp_run.config.build import build_model, conf_folder
from stdp_run.config.schema import read_settings, resolve

EXPERIMENTS = sorted(file.stem for file in (conf_folder() / "experiment").glob("*.yaml"))
SWEEPS = sorted((conf_folder() / "hparams_search").glob("*.yaml"))


def config_of(*overrides):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return resolve(compose("config", overrides=list(overrides)))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_preset_describes_a_network(name):
    model = build_model(read_settings(config_of(f"experiment={name}")))
    size = name.rpartition("_")[2]
    if size.isdigit():
        assert model.n_exc == int(size)


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_a_sweep_repeats_the_search_for_its_preset(file):
    params = OmegaConf.to_container(OmegaConf.load(file))["hydra"]["sweeper"]["params"]
    assert params["experiment"] == file.stem
    assert params["dataset.split"] == "validation", "settings are never chosen on the test set"
    preset = OmegaConf.create(config_of(f"experiment={file.stem}"))
    for key, values in params.items():
        choices = [choice(text) for text in str(values).split(",")]
        for value in () if key == "experiment" else choices:
            read_settings(config_of(f"experiment={file.stem}", f"{key}={'null' if value is None else value}"))
        if len(choices) > 1 and key not in ("seed", "epochs"):
            assert OmegaConf.select(preset, key) in choices, f"what the preset has for {key} was not in the search"


def choice(text):
    """Return a value of a sweep as YAML reads it."""
    return OmegaConf.create(f"value: {text}").value
