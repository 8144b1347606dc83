"""From the composed YAML to checked settings and to the things they name. The numbers themselves live in the YAML."""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stdp_run import neurons, rules
from stdp_run.errors import UserError
from stdp_run.network import REDUCTIONS, Encoder, Model
from stdp_run.neurons import NeuronGroup
from stdp_run.parameters import (
    Check,
    check_parameters,
    named_parameters,
    non_negative,
    positive,
    whole_non_negative,
    whole_positive,
)
from stdp_run.rules.base import Rule

MODES = ("train", "eval", "predict", "export", "compare", "window")
NEEDED = (
    ("checkpoint", ("eval", "predict", "export"), "the checkpoint.pt of a run, checkpoint=PATH"),
    ("images", ("predict",), "a picture or a folder of pictures, images=PATH"),
    ("to", ("export",), "the file to write, to=NAME.npz or to=NAME.safetensors"),
    ("dir", ("compare",), "a folder with runs in it, dir=PATH"),
)
ENGINES = ("auto", "event", "torch")
DEVICES = ("auto", "cpu", "cuda")
# What changes nothing in a result, and so may differ when a run goes on.
OPERATIONAL = (
    *("mode", "resume", "threads", "checkpoint", "images", "csv", "to", "dir"),
    *("trainer.checkpoint_every", "trainer.checkpoint_seconds", "trainer.plot_every"),
)
DTYPES = ("float32", "float64")
SCHEDULES = ("constant", "exponential", "cosine")
SPLITS = ("test", "validation", "train")
READOUTS = ("all_activity", "proportion", "naive_bayes", "multinomial_bayes")

OmegaConf.register_new_resolver("multiply", lambda a, b: a * b, replace=True)


def conf_folder() -> Path:
    """Return the folder of YAML files: inside the package once installed, else at the top of the repository."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "conf", package.parent / "conf") if folder.is_dir())


def one_of(*choices: str) -> Callable:
    """Return a check that lets one of `choices` pass."""

    def check(key: str, value: object):
        if value not in choices:
            raise UserError.bad_value(key, value, f"one of {', '.join(choices)}")
        return value

    return check


def or_null(inner: Callable) -> Callable:
    """Return a check that lets null pass, and what `inner` lets pass."""

    def check(key: str, value: object):
        if value is None:
            return None
        try:
            return inner(key, value)
        except UserError as error:
            raise UserError(f"{error}, or null") from None

    return check


def flag(key: str, value: object) -> bool:
    """Let true and false pass."""
    if not isinstance(value, bool):
        raise UserError.bad_value(key, value, "true or false")
    return value


def text(key: str, value: object) -> str:
    """Let any text pass."""
    if not isinstance(value, str):
        raise UserError.bad_value(key, value, "text")
    return value


def plain_values(key: str, value: object) -> tuple:
    """Let a list of one or more plain values pass."""
    if not isinstance(value, list) or not value or any(isinstance(item, (list, dict)) for item in value):
        raise UserError.bad_value(key, value, "a list of values, such as [0.01,0.02]")
    return tuple(value)


def checked(check: Callable):
    """Declare a setting and what it may be."""
    return field(metadata={"check": check})


seed_check = Check(f"a whole number from 0 to {2**32 - 1}", whole=True, minimum=0, maximum=2**32 - 1)
_share = Check("a number above 0 and up to 1", above=0.0, maximum=1.0)


@dataclass(frozen=True)
class EncoderSettings:
    """The section `encoder`."""

    max_rate_hz: float = checked(non_negative)
    steps: int = checked(whole_positive)
    dt: float = checked(positive)
    gamma: float = checked(positive)
    mean_pixel: float | None = checked(or_null(Check("a number above 0 and up to 255", above=0.0, maximum=255.0)))
    min_spikes: int = checked(whole_non_negative)
    rate_step_hz: float = checked(non_negative)
    max_repeats: int = checked(Check("a whole number from 0 to 255", whole=True, minimum=0, maximum=255))


@dataclass(frozen=True)
class TrainerSettings:
    """The section `trainer`."""

    schedule: str = checked(one_of(*SCHEDULES))
    rate_end: float = checked(_share)
    learners_start: int | None = checked(or_null(whole_positive))
    shuffle: bool = checked(flag)
    log_every: int = checked(whole_positive)
    label_window: int = checked(whole_positive)
    evaluate_every: int | None = checked(or_null(whole_positive))
    plot_every: int | None = checked(or_null(whole_positive))
    checkpoint_every: int | None = checked(or_null(whole_positive))
    checkpoint_seconds: float | None = checked(or_null(positive))


@dataclass(frozen=True)
class EvaluatorSettings:
    """The section `evaluator`."""

    readout: str = checked(one_of(*READOUTS))
    n_presentations: int = checked(whole_positive)
    steps: int | None = checked(or_null(whole_positive))


@dataclass(frozen=True)
class Settings:
    """Everything a run is told. `rule`, `neuron` and `dataset` hold their YAML; `build_*` turn them into objects."""

    mode: str = checked(one_of(*MODES))
    seed: int = checked(seed_check)
    networks: int = checked(whole_positive)
    vary: str = checked(text)
    values: tuple | None = checked(or_null(plain_values))
    n_exc: int = checked(whole_positive)
    epochs: int = checked(whole_positive)
    n_train: int | None = checked(or_null(whole_positive))
    n_test: int | None = checked(or_null(whole_positive))
    n_label: int | None = checked(or_null(whole_positive))
    engine: str = checked(one_of(*ENGINES))
    device: str = checked(one_of(*DEVICES))
    dtype: str = checked(one_of(*DTYPES))
    batch_size: int = checked(whole_positive)
    reduction: str = checked(one_of(*REDUCTIONS))
    tf32: bool = checked(flag)
    threads: int | None = checked(or_null(whole_positive))
    resume: str | None = checked(or_null(text))
    max_learners: int | None = checked(or_null(whole_positive))
    checkpoint: str | None = checked(or_null(text))
    images: str | None = checked(or_null(text))
    csv: str | None = checked(or_null(text))
    to: str | None = checked(or_null(text))
    dir: str | None = checked(or_null(text))
    encoder: EncoderSettings = field(metadata={"section": EncoderSettings})
    trainer: TrainerSettings = field(metadata={"section": TrainerSettings})
    evaluator: EvaluatorSettings = field(metadata={"section": EvaluatorSettings})
    rule: dict
    neuron: dict
    dataset: dict

    def __post_init__(self):
        for key, modes, what in NEEDED:
            if self.mode in modes and getattr(self, key) is None:
                raise UserError(f"{key}=null: mode={self.mode} needs {what}")
        if self.networks == 1 and self.vary != "seed":
            raise UserError(f"networks=1: must be 2 or more for vary={self.vary}")
        if self.networks == 1 and self.values is not None:
            raise UserError(f"networks=1: must be 2 or more for values={list(self.values)}")
        if self.networks > 1 and self.batch_size > 1:
            raise UserError(
                f"batch_size={self.batch_size}: must be 1 with networks={self.networks}, each of which learns online"
            )
        if self.trainer.learners_start is not None and self.max_learners is None:
            start = self.trainer.learners_start
            raise UserError(f"trainer.learners_start={start}: needs the number at the end, max_learners; it is null")


def resolve(config) -> dict:
    """Return a composed config with every reference in it replaced by its value, in plain containers.

    Raises:
        UserError: a reference leads nowhere, or a value is missing.
    """
    try:
        return OmegaConf.to_container(OmegaConf.create(config), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from None


def as_yaml(config: dict) -> str:
    """Return a resolved config as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(config))


def read_settings(config: dict) -> Settings:
    """Return the checked settings of a resolved config.

    Raises:
        UserError: a key is missing, unknown, or has a value that is not allowed.
    """
    return _read_section(Settings, config, "")


def _read_section(section: type, values: object, prefix: str):
    if not isinstance(values, Mapping):
        raise UserError.bad_value(prefix.rstrip("."), values, "a group of keys")
    known = {item.name: item for item in fields(section)}
    for key, value in values.items():
        if key not in known:
            raise UserError(f"{prefix}{key}={value}: unknown key; known here: {', '.join(sorted(known))}")
    result = {}
    for name, item in known.items():
        if name not in values:
            raise UserError(f"{prefix}{name}: missing")
        if "section" in item.metadata:
            result[name] = _read_section(item.metadata["section"], values[name], f"{prefix}{name}.")
        elif "check" in item.metadata:
            result[name] = item.metadata["check"](f"{prefix}{name}", values[name])
        else:
            result[name] = values[name]
    return section(**result)


# ------------------------------------------------------------------------------------------------------------------
# From the YAML of a rule, a neuron group or a dataset to the object.


def build_model(settings: Settings) -> Model:
    """Return the network that the settings describe.

    Raises:
        UserError: a constant is missing, unknown or not allowed, or the rule cannot work with the neuron group.
    """
    rule = import_class("rule", settings.rule, Rule)
    neuron = import_class("neuron", settings.neuron, NeuronGroup)
    if rule.arithmetic != neuron.arithmetic:
        kinds = f"{settings.rule['name']} computes in {rule.arithmetic} and {settings.neuron['name']} does not"
        raise UserError(f"neuron={settings.neuron['name']}: {kinds}; use neuron={rule.neuron}")
    n_inputs = settings.dataset["n_inputs"]
    if settings.n_exc * n_inputs >= 2**32:
        raise UserError.bad_value("n_exc", settings.n_exc, f"below 2^32 / {n_inputs} inputs")
    if rule.arithmetic == "int" and settings.trainer.schedule != "constant":
        raise UserError.bad_value("trainer.schedule", settings.trainer.schedule, "constant with an integer rule")
    encoder, dt = _build_encoder(settings.encoder), settings.encoder.dt
    return Model(
        n_inputs=n_inputs,
        n_exc=settings.n_exc,
        rule=rule,
        rule_parameters=build_rule(rule, _constants(settings.rule), dt),
        neuron=neuron,
        neuron_parameters=_build("neuron", neuron, _constants(settings.neuron), dt),
        encoder=encoder,
        seed=settings.seed,
        dtype=settings.dtype,
        max_learners=settings.max_learners,
        n_presentations=settings.evaluator.n_presentations,
        inference=replace(encoder, n_steps=settings.evaluator.steps or encoder.n_steps),
    )


def _build_encoder(section: EncoderSettings) -> Encoder:
    return Encoder(
        n_steps=section.steps,
        max_rate_hz=section.max_rate_hz,
        dt_ms=section.dt,
        gamma=section.gamma,
        mean_pixel=section.mean_pixel,
        min_spikes=section.min_spikes,
        rate_step_hz=section.rate_step_hz,
        max_repeats=section.max_repeats,
    )


def build_rule(rule: type[Rule], constants: Mapping, dt_ms: float) -> tuple:
    """Return the checked constants of a rule as a named tuple."""
    return _build("rule", rule, constants, dt_ms)


def _build(section: str, cls: type, constants: Mapping, dt_ms: float) -> tuple:
    values = check_parameters(section, cls.parameters, constants)
    return named_parameters(cls.__name__, values, dt_ms)


def _constants(section: Mapping) -> dict:
    return {key: value for key, value in section.items() if key not in ("_target_", "name")}


def import_class(section: str, values: Mapping, base: type) -> type:
    """Return the class that a section's `_target_` names, which must derive from `base`.

    Raises:
        UserError: it cannot be imported, or is not what the section needs; the line names the file.
    """
    path = values.get("_target_") if isinstance(values, Mapping) else values
    if not isinstance(path, str) or "." not in path:
        raise UserError.bad_value(
            f"{section}._target_", path, f"the path of a class, module.Class, from {base.__name__}"
        )
    module_name, _, class_name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:
        raise UserError(f"{section}._target_={path}: {_where(module_name, error)}") from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError.bad_value(
            f"{section}._target_", path, f"a class derived from {base.__module__}.{base.__name__}"
        )
    return cls


def _where(module_name: str, error: Exception) -> str:
    """Say what went wrong with an import, and in which file."""
    what = f"{type(error).__name__}: {error}"
    spec = None
    if not isinstance(error, ModuleNotFoundError):
        spec = importlib.util.find_spec(module_name)
    if spec is None or spec.origin is None:
        return f"{what}; looked in the config folders ({', '.join(sys.path[:3])} ...)"
    return f"{what} in {spec.origin}"


def published_parameters(rule: str | type[Rule] | Rule, n_inputs: int) -> tuple[type[Rule], dict]:
    """Return a rule's class and its published constants, as its YAML has them; a class of one's own has none.

    Raises:
        UserError: no rule of that name is registered.
    """
    if isinstance(rule, str):
        name = rules.canonical(rule)
        if name is None:
            raise UserError.bad_value("rule", rule, f"one of {', '.join(rules)}")
        return rules.registered[name], published("rule", name, n_inputs)
    rule_class = rule if isinstance(rule, type) else type(rule)
    if not issubclass(rule_class, Rule):
        raise UserError.bad_value("rule", rule, "the name of a rule, or a class derived from stdp_run.rules.Rule")
    name = next((name for name, cls in rules.registered.items() if cls is rule_class), None)
    return rule_class, published("rule", name, n_inputs) if name else {}


def published(group: str, name: str, n_inputs: int = 784) -> dict:
    """Return the constants in `conf/GROUP/NAME.yaml`, without a pairing or an experiment on top."""
    file = OmegaConf.load(conf_folder() / group / f"{name}.yaml")
    section = OmegaConf.create(file.get(group, file))
    for parent in section.pop("defaults", []):
        if parent != "_self_":
            section = OmegaConf.merge(published(group, parent, n_inputs), section)
    whole = OmegaConf.create({group: section, "dataset": {"n_inputs": n_inputs}})
    return _constants(OmegaConf.to_container(whole, resolve=True)[group])


def published_model(
    rule: str, neuron: str, n_exc: int, encoder: Encoder, *, n_inputs=784, seed=0, dtype="float32"
) -> Model:
    """Return a network of registered parts with their published constants."""
    rule_class, neuron_class = rules[rule], neurons[neuron]
    return Model(
        n_inputs=n_inputs,
        n_exc=n_exc,
        rule=rule_class,
        rule_parameters=build_rule(rule_class, published("rule", rule, n_inputs), encoder.dt_ms),
        neuron=neuron_class,
        neuron_parameters=_build("neuron", neuron_class, published("neuron", neuron), encoder.dt_ms),
        encoder=encoder,
        seed=seed,
        dtype=dtype,
    )
