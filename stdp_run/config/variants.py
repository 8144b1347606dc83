"""From the one config of networks side by side to the config of each: as it would be of a run alone."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass

from omegaconf import OmegaConf

from stdp_run.config.settings import build_model, read_settings, resolve
from stdp_run.errors import UserError

# What leaves shapes, the number of steps and the number of images as they are; beside constants of rule and neurons.
VARIABLE = (
    *("seed", "max_learners", "encoder.max_rate_hz", "encoder.dt", "encoder.gamma", "encoder.mean_pixel"),
    *("trainer.schedule", "trainer.rate_end", "trainer.learners_start", "trainer.shuffle"),
)
WITH_CONSTANTS = ("rule", "neuron")
NO_CONSTANTS = ("name", "_target_")
# What a run alone has; Settings lets it have nothing else.
ALONE = {"networks": 1, "vary": "seed", "values": None}


@dataclass(frozen=True)
class Variant:
    """One of the networks side by side."""

    name: str  # of its directory, such as seed_3 or a_post_0.02
    config: dict  # resolved


def variants(config) -> list[Variant]:
    """Return the networks that a composed config with `networks` above 1 asks for.

    The value is put in before references are resolved, so that what refers to it follows, as on the command line.

    Raises:
        UserError: the setting cannot be varied, its values do not fit, or one of the networks cannot be built.
    """
    whole = resolve(config)
    key, values = whole["vary"], _values(whole)
    if key not in VARIABLE and key not in _constants(whole):
        allowed = f"{', '.join(VARIABLE)}, or a constant of the rule or the neurons, such as {_constants(whole)[0]}"
        raise UserError.bad_value("vary", key, f"what leaves shapes and numbers of steps equal: {allowed}")
    found = [Variant(_name(key, value), _config_with(config, key, value)) for value in values]
    for each in found:  # before anything is written
        build_model(read_settings(each.config))
    return found


def _values(whole: Mapping) -> list:
    key, values, n_networks = whole["vary"], whole["values"], whole["networks"]
    if values is None and key == "seed":
        return [whole["seed"] + k for k in range(n_networks)]
    if values is None:
        raise UserError.bad_value("values", "null", f"a list of {n_networks} values for vary={key}")
    if len(values) != n_networks:
        raise UserError.bad_value("networks", n_networks, f"{len(values)}, the number of values={_shown(values)}")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise UserError.bad_value("values", _shown(values), "a list in which no value comes twice")
    return values


def _constants(whole: Mapping) -> list[str]:
    return [f"{section}.{key}" for section in WITH_CONSTANTS for key in whole[section] if key not in NO_CONSTANTS]


def _config_with(config, key: str, value: object) -> dict:
    changed = copy.deepcopy(OmegaConf.create(config))
    for name, new in (*ALONE.items(), (key, value)):
        OmegaConf.update(changed, name, new)
    return resolve(changed)


def _name(key: str, value: object) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{key.rpartition('.')[2]}_{_shown(value)}")


def _shown(value: object) -> str:
    """Return a value as the command line has it."""
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
