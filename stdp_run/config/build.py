"""From settings to the network that they describe, and to constants as they were published."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from stdp_run import neurons, rules
from stdp_run.config.own_code import import_class
from stdp_run.config.schema import Settings, keys_of_first_layer, per_input
from stdp_run.errors import UserError
from stdp_run.network import Encoder, Model
from stdp_run.neurons import NeuronGroup
from stdp_run.parameters import check_parameters, named_parameters
from stdp_run.rules.base import Rule


def conf_folder() -> Path:
    """Return the folder of YAML files: inside the package once installed, else at the top of the repository."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "conf", package.parent / "conf") if folder.is_dir())


def build_model(settings: Settings) -> Model:
    """Return the network that the settings describe.

    Raises:
        UserError: a constant is missing, unknown or not allowed, the rule cannot work with the neuron group, or one of
            them is not what it says.
    """
    rule = import_class("rule", settings.rule.target, Rule, settings.config_dir)
    neuron = import_class("neuron", settings.neuron.target, NeuronGroup, settings.config_dir)
    if rule.arithmetic != neuron.arithmetic:
        kinds = f"{settings.rule.name} computes in {rule.arithmetic} and {settings.neuron.name} does not"
        raise UserError(f"neuron={settings.neuron.name}: {kinds}; use neuron={rule.neuron}")
    n_inputs, dt_ms = settings.n_inputs, settings.encoder.dt
    if settings.n_exc * n_inputs >= 2**32:
        raise UserError.bad_value("n_exc", settings.n_exc, f"below 2^32 / {n_inputs} inputs")
    if rule.arithmetic == "int" and settings.trainer.schedule != "constant":
        raise UserError.bad_value("trainer.schedule", settings.trainer.schedule, "constant with an integer rule")
    values = asdict(settings.encoder)  # of the names that Encoder has, but for two
    encoder = Encoder(n_steps=values.pop("steps"), dt_ms=values.pop("dt"), **values)
    rule_parameters = _build("rule", rule, settings.rule.constants, dt_ms)
    neuron_parameters = _build("neuron", neuron, settings.neuron.constants, dt_ms)
    rule.check(rule_parameters)
    neuron.check(neuron_parameters)
    if neuron.runs_on:
        _check_running_on(settings)
    elif encoder.rest_steps:
        raise UserError.bad_value(
            "encoder.rest_steps", encoder.rest_steps, f"0: {settings.neuron.name} starts every image at rest"
        )
    return Model(
        n_inputs=n_inputs,
        n_exc=settings.n_exc,
        rule=rule,
        rule_parameters=rule_parameters,
        neuron=neuron,
        neuron_parameters=neuron_parameters,
        encoder=encoder,
        seed=settings.seed,
        dtype=settings.dtype,
        k_winners=settings.k_winners,
        n_presentations=settings.evaluator.n_presentations,
        inference=replace(encoder, n_steps=settings.evaluator.steps or encoder.n_steps),
    )


def _check_running_on(settings: Settings) -> None:
    """Raise UserError where a network cannot run on from image to image."""
    name, rest_ms = settings.neuron.name, settings.encoder.rest_steps * settings.encoder.dt
    if settings.batch_size > 1:
        raise UserError.bad_value("batch_size", settings.batch_size, f"1: {name} runs on from image to image")
    delay = settings.neuron.constants["max_delay"]
    if delay > rest_ms:
        allowed = f"at most the rest after an image, encoder.rest_steps * encoder.dt = {rest_ms:g} ms"
        raise UserError.bad_value("neuron.max_delay", delay, allowed)
    if delay > 255 * settings.encoder.dt:
        raise UserError.bad_value("neuron.max_delay", delay, f"at most 255 steps, {255 * settings.encoder.dt:g} ms")


def build_first_layer(settings: Settings) -> Model | None:
    """Return the network of the first layer, if the settings have one; errors as of `build_model`."""
    if settings.first_layer is None:
        return None
    with keys_of_first_layer():
        return build_model(settings.first_layer.network)


def build_rule(rule: type[Rule], constants: Mapping[str, object], dt_ms: float, n_inputs: int) -> tuple:
    """Return the checked constants of a rule as a named tuple; "NUMBER per input" counts for `n_inputs` inputs.

    Raises:
        UserError: a constant is missing, unknown or not allowed.
    """
    return _build("rule", rule, {key: per_input(value, n_inputs) for key, value in constants.items()}, dt_ms)


def _build(section: str, cls: type[Rule] | type[NeuronGroup], constants: Mapping[str, object], dt_ms: float) -> tuple:
    return named_parameters(cls, check_parameters(section, cls.parameters, constants), dt_ms)


# ------------------------------------------------------------------------------------------------------------------
# Constants as they were published, and what was tuned.


def published(group: str, name: str, n_inputs: int = 784) -> dict[str, Any]:
    """Return the constants in `conf/GROUP/NAME.yaml`, without tuned ones or an experiment on top."""
    parents, keys = _read_yaml(group, name, [conf_folder()])
    constants: dict[str, Any] = {}
    for parent in parents:
        constants |= published(group, parent, n_inputs)
    own = {key: per_input(value, n_inputs) for key, value in keys.items() if key not in ("_target_", "name")}
    return {**constants, **own}


def _read_yaml(group: str, name: str, folders: Sequence[Path]) -> tuple[list[str], dict[str, Any]]:
    """Return what GROUP/NAME.yaml is based on, by its defaults, and its keys; nothing where no folder has the file."""
    file = next((path for folder in folders if (path := folder / group / f"{name}.yaml").is_file()), None)
    content = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file))) if file else {}
    parents = [each for each in content.pop("defaults", []) if isinstance(each, str) and each != "_self_"]
    return parents, content.get(group, content)


def published_parameters(rule: str | type[Rule] | Rule, n_inputs: int) -> tuple[type[Rule], dict[str, Any]]:
    """Return a rule's class and its published constants, as its YAML has them; a class of one's own has none.

    Raises:
        UserError: no rule of that name is registered.
    """
    if isinstance(rule, str):
        if rule not in rules.registered:
            raise UserError.bad_value("rule", rule, f"one of {', '.join(rules.registered)}")
        rule = rules.registered[rule]
    rule_class = rule if isinstance(rule, type) else type(rule)
    if not issubclass(rule_class, Rule):
        raise UserError.bad_value("rule", rule, "the name of a rule, or a class derived from stdp_run.rules.Rule")
    name = next((name for name, cls in rules.registered.items() if cls is rule_class), None)
    return rule_class, published("rule", name, n_inputs) if name else {}


def relatives(group: str, name: str, target: str, folders: Sequence[Path], config_dir: str | None) -> list[str]:
    """Return what a rule or neuron group is based on, itself first: by the defaults of its YAML, then by its class.

    Args:
        group: "rule" or "neuron".
        name: the choice, NAME in GROUP/NAME.yaml.
        target: the import path of its class.
        folders: the folders with config groups, the first that has the YAML counts.
        config_dir: the one of them in which a class of one's own lies.
    """
    found = [name]
    for each in found:  # which grows on the way
        found += [parent for parent in _read_yaml(group, each, folders)[0] if parent not in found]
    registry = rules.registered if group == "rule" else neurons.registered
    with suppress(UserError):  # a class that cannot be imported is refused where it is needed
        bases = import_class(group, target, object, config_dir).__mro__
        found += [name for cls in bases for name, known in registry.items() if known is cls]
    return found


def published_model(rule: str, neuron: str, n_exc: int, encoder: Encoder, n_inputs: int = 784) -> Model:
    """Return a network of registered parts with their published constants."""
    rule_class, neuron_class = rules.registered[rule], neurons.registered[neuron]
    return Model(
        n_inputs=n_inputs,
        n_exc=n_exc,
        rule=rule_class,
        rule_parameters=_build("rule", rule_class, published("rule", rule, n_inputs), encoder.dt_ms),
        neuron=neuron_class,
        neuron_parameters=_build("neuron", neuron_class, published("neuron", neuron), encoder.dt_ms),
        encoder=encoder,
        seed=0,
    )
