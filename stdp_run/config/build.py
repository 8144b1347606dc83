"""Builds the network from the settings, and reads published constants."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from omegaconf import OmegaConf

from stdp_run import rules
from stdp_run.config.custom_code import import_class
from stdp_run.config.schema import Settings, in_first_layer, per_input
from stdp_run.errors import UserError
from stdp_run.network import Encoder, Model
from stdp_run.neurons import NeuronGroup
from stdp_run.parameters import check_parameters, named_parameters
from stdp_run.rules.base import Rule
from stdp_run.system import available_threads, physical_memory


def conf_folder() -> Path:
    """Return the folder of YAML files: in an installed package, or at the top of the repository."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "conf", package.parent / "conf") if folder.is_dir())


def build_model(settings: Settings) -> Model:
    """Return the network of the settings; raise UserError if a constant is wrong or the parts do not fit."""
    rule = import_class("rule", settings.rule.target, Rule)
    neuron = import_class("neuron", settings.neuron.target, NeuronGroup)
    if rule.arithmetic != neuron.arithmetic:
        kinds = f"{settings.rule.name} computes in {rule.arithmetic} and {settings.neuron.name} does not"
        raise UserError(f"neuron={settings.neuron.name}: {kinds}; use neuron={rule.neuron}")
    n_inputs, dt_ms = settings.n_inputs, settings.encoder.dt
    if settings.n_exc * n_inputs >= 2**32:
        raise UserError.bad_value("n_exc", settings.n_exc, f"below 2^32 / {n_inputs} inputs")
    _check_memory(settings)
    if rule.arithmetic == "int" and settings.trainer.schedule != "constant":
        raise UserError.bad_value("trainer.schedule", settings.trainer.schedule, "constant with an integer rule")
    values, w_ie = asdict(settings.encoder), settings.evaluator.w_ie
    encoder = Encoder(n_steps=values.pop("steps"), dt_ms=values.pop("dt"), **values)
    rule_parameters = build_rule(rule, settings.rule.constants, dt_ms, n_inputs)
    constants = check_parameters("neuron", neuron.parameters, settings.neuron.constants)
    neuron_parameters = named_parameters(neuron, constants, dt_ms)
    rule.check(rule_parameters)
    neuron.check(neuron_parameters)
    if neuron.runs_on:
        _check_running_on(settings)
    elif encoder.rest_steps:
        allowed = f"0: {settings.neuron.name} starts every image at rest"
        raise UserError.bad_value("encoder.rest_steps", encoder.rest_steps, allowed)
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
        inference_w_ie=None if w_ie is None else neuron.parameters["w_ie"]("evaluator.w_ie", w_ie),
    )


def _check_running_on(settings: Settings) -> None:
    """Raise UserError if a network cannot run on from image to image."""
    name, rest_ms = settings.neuron.name, settings.encoder.rest_steps * settings.encoder.dt
    if settings.batch_size > 1:
        raise UserError.bad_value("batch_size", settings.batch_size, f"1: {name} runs on from image to image")
    delay = settings.neuron.constants["max_delay"]
    if delay > rest_ms:
        allowed = f"at most the rest after an image, encoder.rest_steps * encoder.dt = {rest_ms:g} ms"
        raise UserError.bad_value("neuron.max_delay", delay, allowed)
    if delay > 255 * settings.encoder.dt:
        raise UserError.bad_value("neuron.max_delay", delay, f"at most 255 steps, {255 * settings.encoder.dt:g} ms")


def _check_memory(settings: Settings) -> None:
    """Raise UserError if weights, spike counts between logs, and spikes of each thread exceed the memory."""
    n_exc, n_inputs, steps = settings.n_exc, settings.n_inputs, settings.encoder.steps
    threads, memory = settings.threads or available_threads(), physical_memory()
    # A run with its plots and checkpoints takes 13 times the memory of the weights.
    weights = 10 * np.dtype(settings.dtype).itemsize * n_exc * n_inputs
    counts = 8 * n_exc * min(settings.trainer.log_every or 1000, settings.n_train or 60_000)
    size = weights + counts + 4 * steps * n_inputs * threads
    if size > memory:
        parts = f"n_exc={n_exc}, encoder.steps={steps} and threads={threads} with {n_inputs} inputs"
        raise UserError(f"{parts}: need {size / 1e9:.0f} GB or more; must fit into {memory / 1e9:.0f} GB of memory")


def build_first_layer(settings: Settings) -> Model | None:
    """Return the network of the first layer, if the settings have one; errors as in `build_model`."""
    if settings.first_layer is None:
        return None
    with in_first_layer():
        return build_model(settings.first_layer.network)


def build_rule(rule: type[Rule], constants: Mapping[str, object], dt_ms: float, n_inputs: int) -> tuple:
    """Return the constants of a rule, with "NUMBER per input" as a number; raise UserError if one is wrong."""
    values = {key: per_input(value, n_inputs) for key, value in constants.items()}
    return named_parameters(rule, check_parameters("rule", rule.parameters, values), dt_ms)


@cache
def published(group: str, name: str, n_inputs: int = 784) -> dict[str, Any]:
    """Return the constants in `conf/GROUP/NAME.yaml`, without tuned constants or presets."""
    content = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(conf_folder() / group / f"{name}.yaml")))
    constants: dict[str, Any] = {}
    parents = [each for each in content.pop("defaults", []) if isinstance(each, str) and each != "_self_"]
    for parent in parents:
        constants |= published(group, parent, n_inputs)
    keys = content.get(group, content)
    own = {key: per_input(value, n_inputs) for key, value in keys.items() if key not in ("_target_", "name")}
    return {**constants, **own}


def published_parameters(rule: str | type[Rule] | Rule, n_inputs: int) -> tuple[type[Rule], dict[str, Any]]:
    """Return a rule's class and the constants of its YAML, empty for a custom class; UserError for an unknown name."""
    if isinstance(rule, str):
        if rule not in rules.registered:
            raise UserError.bad_value("rule", rule, f"one of {', '.join(rules.registered)}")
        rule = rules.registered[rule]
    rule_class = rule if isinstance(rule, type) else type(rule)
    if not issubclass(rule_class, Rule):
        raise UserError.bad_value("rule", rule, "the name of a rule, or a class derived from stdp_run.rules.Rule")
    name = next((name for name, cls in rules.registered.items() if cls is rule_class), None)
    return rule_class, published("rule", name, n_inputs) if name else {}
