"""Every preset and all tuned constants describe a network, and are in effect."""

import pytest
from helpers.runs import settings_of
from omegaconf import OmegaConf

from stdp_run.config.build import build_model, conf_folder

EXPERIMENTS = sorted(file.stem for file in (conf_folder() / "experiment").glob("*.yaml"))
TUNED = OmegaConf.to_container(OmegaConf.load(conf_folder() / "tuned.yaml"))


def choices_of(preset: str) -> dict[str, str]:
    """Return the choices of groups that a preset states or inherits."""
    found = {}
    for item in OmegaConf.load(conf_folder() / "experiment" / f"{preset}.yaml").defaults:
        if item != "_self_":
            found |= choices_of(item) if isinstance(item, str) else dict(item)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("preset", EXPERIMENTS)
def test_a_preset_states_or_inherits_its_choices_of_groups(preset):
    settings = settings_of(f"experiment={preset}")
    assert build_model(settings).n_exc == int(preset.rpartition("_")[2])
    choices = choices_of(preset)
    for group in ("rule", "neuron", "dataset"):
        assert choices.pop(f"override /{group}") == getattr(settings, group).name
    assert choices.pop("override /tuned") == "none"
    assert choices == ({"override /first_layer": "patches"} if preset.startswith("two_layers") else {})


@pytest.mark.parametrize("choice", [choice for choice in TUNED if choice != "none"])
def test_tuned_constants_are_in_effect(choice):
    rule, neuron = choice.split("-")
    settings = settings_of(f"rule={rule}", f"neuron={neuron}")
    build_model(settings)
    assert settings.encoder.max_rate_hz == TUNED[choice]["encoder"]["max_rate_hz"] != 128
    assert settings_of("tuned=none").encoder.max_rate_hz == 128
