"""The settings of a run, checked: `read_settings` is the one place where a config is resolved and checked.

The numbers themselves live in the YAML files. A constant of a rule or of neurons may be written "NUMBER per input",
such as "0.1 per input": the number times the pixels of an image.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from operator import attrgetter
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stdp_run.config.checks import OneOf, flag, one_of, or_null, seed_check, text
from stdp_run.config.sections import (
    CompareSettings,
    DatasetSettings,
    EncoderSettings,
    EvaluatorSettings,
    ExportSettings,
    PartSettings,
    PredictSettings,
    TrainerSettings,
    checked,
)
from stdp_run.errors import UserError
from stdp_run.parameters import non_negative, positive, whole_positive
from stdp_run.rules.reduction import REDUCTIONS

Config = DictConfig | dict[str, Any]  # as Hydra composes it, or as it was saved

DTYPES = ("float32", "float64")

# What belongs to some modes only: key, the modes, and what it is if they need it.
OF_MODES = (
    ("checkpoint", ("eval", "predict", "export"), "the checkpoint.pt of a run, checkpoint=PATH"),
    ("predict.images", ("predict",), "a picture or a folder of pictures, predict.images=PATH"),
    ("predict.csv", ("predict",), None),
    ("export.to", ("export",), "the file to write, export.to=NAME.npz, NAME.safetensors or NAME.nir"),
    ("compare.dir", ("compare",), "a folder with runs in it, compare.dir=PATH"),
    ("perturbation", ("eval",), None),
)
# What a first layer has of its own: what it has learned by, and what runs it. The rest is as at the top of the config,
# but it learns alone.
LEARNED_BY = (
    *("rule", "neuron", "dataset", "encoder", "trainer", "evaluator"),
    *("n_exc", "epochs", "k_winners", "seed", "dtype"),
)
OF_FIRST_LAYER = (*LEARNED_BY, "engine", "device", "batch_size")
_ALONE = {
    **{"mode": "train", "first_layer": None, "resume": "auto"},
    **dict.fromkeys(("n_train", "n_test", "n_label", "checkpoint", "perturbation"), None),
    **{"predict": {"images": None, "csv": None}, "export": {"to": None}, "compare": {"dir": None}},
}


@dataclass(frozen=True)
class FirstLayerSettings:
    """The section `first_layer`: a network that is presented every place of an image, and how its spikes are summed."""

    network: "Settings"  # as of a run of its own, whose images are patches
    run: str | None = checked(or_null(text))
    stride: int = checked(whole_positive)
    block: int = checked(whole_positive)
    min_contrast: float = checked(non_negative)
    spike_value: float = checked(positive)

    def blocks(self, images: DatasetSettings) -> tuple[int, int]:
        """Return how many blocks of places an image has, down and across."""
        patch = self.network.dataset
        down, across = images.height - patch.height, images.width - patch.width
        return down // self.stride // self.block + 1, across // self.stride // self.block + 1


@dataclass(frozen=True)
class Settings:
    """Everything that a command asks for."""

    record: dict[str, Any] = field(repr=False)  # the config, resolved: what files keep and resuming compares
    composed: DictConfig = field(repr=False, compare=False)  # the config as it was given, with its references
    rule: PartSettings
    neuron: PartSettings
    dataset: DatasetSettings
    encoder: EncoderSettings
    trainer: TrainerSettings
    evaluator: EvaluatorSettings
    predict: PredictSettings
    export: ExportSettings
    compare: CompareSettings
    first_layer: FirstLayerSettings | None
    perturbation: PartSettings | None
    mode: str = checked(one_of("train", "eval", "predict", "export", "compare", "stdp_window"))
    seed: int = checked(seed_check)
    n_exc: int = checked(whole_positive)
    epochs: int = checked(whole_positive)
    n_train: int | None = checked(or_null(whole_positive))
    n_test: int | None = checked(or_null(whole_positive))
    n_label: int | None = checked(or_null(whole_positive))
    engine: str = checked(one_of("auto", "event", "torch"))
    device: str = checked(one_of("auto", "cpu", "cuda"))
    dtype: str = checked(one_of(*DTYPES))
    batch_size: int = checked(whole_positive)
    reduction: str = checked(one_of(*REDUCTIONS))
    tf32: bool = checked(flag)
    threads: int | None = checked(or_null(whole_positive))
    resume: str | None = checked(or_null(text))
    k_winners: int | None = checked(or_null(whole_positive))
    checkpoint: str | None = checked(or_null(text))
    config_dir: str | None = checked(or_null(text))

    def __post_init__(self):
        for key, modes, needed in OF_MODES:
            value = attrgetter(key)(self)
            if needed and value is None and self.mode in modes:
                raise UserError(f"{key}=null: mode={self.mode} needs {needed}")
            if value is not None and self.mode not in modes:
                hint = "; resume=DIRECTORY resumes a run" if key == "checkpoint" else ""
                none = "none" if key == "perturbation" else "null"  # as the command line has it
                allowed = f"{none} with mode={self.mode}, as it is for mode={', '.join(modes)}{hint}"
                raise UserError.bad_value(key, getattr(value, "name", value), allowed)
        if self.trainer.k_winners_start is not None and self.k_winners is None:
            start = self.trainer.k_winners_start
            raise UserError(f"trainer.k_winners_start={start}: needs the number at the end, k_winners; it is null")

    @property
    def n_inputs(self) -> int:
        """The inputs of the network: pixels, or of each block of places one for each neuron of the first layer."""
        if self.first_layer is None:
            return self.dataset.n_inputs
        down, across = self.first_layer.blocks(self.dataset)
        return down * across * self.first_layer.network.n_exc

    def with_values(self, values: Mapping[str, object]) -> "Settings":
        """Return the settings with other values of some keys, such as {"rule.a_post": 0.1}; references follow them."""
        changed = copy.deepcopy(self.composed)
        for key, value in values.items():
            OmegaConf.update(changed, key, value)
        return read_settings(changed)


def choices_of(key: str) -> tuple[str, ...]:
    """Return the choices of a key, such as "trainer.schedule"; none where they are no fixed set, or there is no key."""
    section: Any = Settings
    *outer, last = key.split(".")
    for name in outer:
        section = next((item.type for item in fields(section) if item.name == name), None)
        if not is_dataclass(section):
            return ()
    check = next((item.metadata.get("check") for item in fields(section) if item.name == last), None)
    return check if isinstance(check, OneOf) else ()


def read_settings(config: Config) -> Settings:
    """Return the checked settings of a config: composed by Hydra, or the record that a run keeps.

    Raises:
        UserError: a key is missing or unknown, has a value that is not allowed, or refers to what is not there.
    """
    try:
        composed = OmegaConf.create(config)
        record = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from None
    record = of_this_version(record)
    values = {key: value for key, value in record.items() if key not in ("first_layer", "perturbation")}
    perturbation = record["perturbation"]
    if perturbation is not None:
        perturbation = _read(PartSettings, perturbation, "perturbation.")
    more = {"record": record, "composed": composed, "first_layer": None, "perturbation": perturbation}
    settings = _read(Settings, values, "", **more)
    if record["first_layer"] is not None:
        settings = replace(settings, first_layer=_read_first_layer(record["first_layer"], settings))
    parts = {name: _for_inputs(getattr(settings, name), settings.n_inputs) for name in ("rule", "neuron")}
    record |= {name: {**record[name], **part.constants} for name, part in parts.items()}
    return replace(settings, **parts)


def of_this_version(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a run, whichever version made it, with the keys of this one."""
    changed = _network_of_this_version(record)
    changed |= {key: None for key in ("config_dir", "first_layer", "perturbation") if key not in changed}
    if isinstance(changed["first_layer"], Mapping):
        changed["first_layer"] = _network_of_this_version(changed["first_layer"])
    return changed


def _network_of_this_version(record: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(record)
    encoder, trainer = record.get("encoder"), record.get("trainer")
    if isinstance(encoder, Mapping) and "rest_steps" not in encoder:
        changed["encoder"] = {**encoder, "rest_steps": 0}
    if isinstance(trainer, Mapping) and "order" not in trainer and isinstance(trainer.get("shuffle"), bool):
        others = {key: value for key, value in trainer.items() if key != "shuffle"}
        changed["trainer"] = {**others, "order": "shuffled" if trainer["shuffle"] else "as_stored"}
    return changed


def _for_inputs(part: PartSettings, n_inputs: int) -> PartSettings:
    return replace(part, constants={key: per_input(value, n_inputs) for key, value in part.constants.items()})


def _read_first_layer(section: object, settings: Settings) -> FirstLayerSettings:
    """Return the section `first_layer` of a record, in which keys of the whole config are those of its network."""
    if not isinstance(section, Mapping):
        raise UserError.bad_value("first_layer", section, "none, patches, or the directory of a run")
    own = {key: value for key, value in section.items() if key in OF_FIRST_LAYER}
    with keys_of_first_layer():
        network = read_settings({**settings.record, **_ALONE, **own})
    others = {key: value for key, value in section.items() if key not in own}
    layer = _read(FirstLayerSettings, others, "first_layer.", network=network)
    for key in ("height", "width"):
        patch, image = getattr(network.dataset, key), getattr(settings.dataset, key)
        if patch > image:
            raise UserError.bad_value(f"first_layer.dataset.{key}", patch, f"at most {image}, as that of the images")
    return layer


@contextmanager
def keys_of_first_layer() -> Iterator[None]:
    """Have an error that begins with a key of the first layer's network name that in full."""
    try:
        yield
    except UserError as error:
        if not re.match(rf"({'|'.join(OF_FIRST_LAYER)})\b[.=:]", str(error)):
            raise
        raise UserError(f"first_layer.{error}") from None


def read_dataset(values: object, prefix: str = "dataset.") -> DatasetSettings:
    """Return the settings of a dataset from the values of its keys; errors name them with the prefix."""
    return _read(DatasetSettings, values, prefix)


def _read(section: type, values: object, prefix: str, **more: Any) -> Any:
    """Return the dataclass `section` from the values of its keys, of which `prefix` and the key is the full name."""
    if not isinstance(values, Mapping):
        raise UserError.bad_value(prefix.rstrip("."), values, "a group of keys")
    items = {"_target_" if item.name == "target" else item.name: item for item in fields(section)}
    known = {key: item for key, item in items.items() if "check" in item.metadata or is_dataclass(item.type)}
    others = {key: value for key, value in values.items() if key not in known}
    takes_others = items.keys() - known.keys() - more.keys()
    if takes_others:
        more[takes_others.pop()] = others
    elif others:
        key, value = next(iter(others.items()))
        raise UserError.unknown_key(f"{prefix}{key}", value, known)
    for key, item in known.items():
        if key not in values:
            raise UserError(f"{prefix}{key}: missing")
        if is_dataclass(item.type):
            more[item.name] = _read(cast(type, item.type), values[key], f"{prefix}{key}.")
        else:
            more[item.name] = item.metadata["check"](f"{prefix}{key}", values[key])
    return section(**more)


def per_input(value: object, n_inputs: int) -> object:
    """Return the number that a text such as "0.1 per input" means; anything else as it is."""
    number = re.fullmatch(r"\s*([-+.\w]+) per input\s*", value) if isinstance(value, str) else None
    try:
        return float(number[1]) * n_inputs if number else value
    except ValueError:
        return value
