"""Networks that learn side by side: what they may differ in, and the settings of each."""

import re

from stdp_run.config.schema import Settings
from stdp_run.errors import UserError, shown

# What networks side by side may differ in, beside constants of rule and neurons: it leaves shapes, the number of steps
# and the number of images as they are.
VARIABLE = (
    *("seed", "max_learners", "encoder.max_rate_hz", "encoder.dt", "encoder.gamma", "encoder.mean_pixel"),
    *("trainer.schedule", "trainer.rate_end", "trainer.learners_start", "trainer.order"),
)


def read_networks(settings: Settings) -> list[tuple[str, Settings]]:
    """Return the K networks that networks=K asks for: the directory and the settings of each, as a single one.

    Raises:
        UserError: the setting cannot be varied, its values do not fit, or are not allowed.
    """
    key, values, n_networks = settings.vary, settings.values, settings.networks
    constants = [f"{part}.{name}" for part in ("rule", "neuron") for name in getattr(settings, part).constants]
    if key not in VARIABLE and key not in constants:
        allowed = f"{', '.join(VARIABLE)}, or a constant of the rule or the neurons, such as {constants[0]}"
        raise UserError.bad_value("vary", key, f"what leaves shapes and numbers of steps equal: {allowed}")
    if values is None and key == "seed":
        values = list(range(settings.seed, settings.seed + n_networks))
    if values is None:
        raise UserError.bad_value("values", values, f"a list of {n_networks} values for vary={key}")
    if len(values) != n_networks:
        raise UserError.bad_value("networks", n_networks, f"{len(values)}, the number of values={shown(values)}")
    names = [re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{key.rpartition('.')[2]}_{shown(value)}") for value in values]
    single = {"networks": 1, "vary": "seed", "values": None}
    return [(name, settings.with_values({**single, key: value})) for name, value in zip(names, values, strict=True)]
