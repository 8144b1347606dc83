"""Every preset and every sweep in conf/ is one that a run accepts, and a preset says all that it sets."""

import pytest
from helpers.runs import settings_of
from omegaconf import OmegaConf

from stdp_run.config.build import build_model, conf_folder
from stdp_run.config.compatibility import flat

EXPERIMENTS = sorted((conf_folder() / "experiment").glob("*.yaml"))
SWEEPS = sorted((conf_folder() / "hparams_search").glob("*.yaml"))
TUNED = sorted((conf_folder() / "tuned").glob("*-*.yaml"))


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_a_preset_describes_a_network_in_one_file(file):
    model = build_model(settings_of(f"experiment={file.stem}"))
    size = file.stem.rpartition("_")[2]
    if size.isdigit():
        assert model.n_exc == int(size)
    defaults = {key: choice for item in OmegaConf.load(file).defaults for key, choice in item.items()}
    two_layers = file.stem.startswith("two_layers")
    first = {"override /first_layer"} if two_layers else set()
    assert set(defaults) == {"override /rule", "override /neuron", "override /dataset", "override /tuned"} | first
    assert defaults["override /tuned"] == "none"


@pytest.mark.parametrize("file", TUNED, ids=lambda file: file.stem)
def test_tuned_constants_stand_in_one_file_and_are_in_effect(file):
    config = OmegaConf.to_container(OmegaConf.load(file))
    assert "defaults" not in config
    rule, neuron = file.stem.split("-")
    settings = settings_of(f"rule={rule}", f"neuron={neuron}")
    build_model(settings)
    assert settings.encoder.max_rate_hz == config["encoder"]["max_rate_hz"] != 128
    assert settings_of(f"rule={rule}", f"neuron={neuron}", "tuned=none").encoder.max_rate_hz == 128


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_a_sweep_repeats_the_search_for_its_preset(file):
    params = OmegaConf.to_container(OmegaConf.load(file))["hydra"]["sweeper"]["params"]
    assert params["experiment"] == file.stem
    assert params["dataset.split"] == "validation", "settings are never chosen on the test set"
    preset = settings_of(f"experiment={file.stem}")
    for key, values in params.items():
        choices = [choice(text) for text in str(values).split(",")]
        for value in () if key == "experiment" else choices:
            preset.with_values({key: value})
        if len(choices) > 1 and key not in ("seed", "epochs"):
            found = flat(preset.record)[key]
            assert found in choices, f"what the preset has for {key} was not in the search"


def choice(text):
    """Return a value of a sweep as YAML reads it."""
    return OmegaConf.create(f"value: {text}").value
