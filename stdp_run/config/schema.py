"""The checked settings of a command; `read_settings` checks a config.

Default values are in the YAML files. A constant of a rule or neuron group may be "NUMBER per input", such as
"0.1 per input": the number times the inputs of the network.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

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
    flag,
    one_of,
    or_null,
    seed_check,
    text,
    threads_check,
)
from stdp_run.errors import UserError
from stdp_run.evaluation.shifts import offsets
from stdp_run.parameters import Check, non_negative, positive, whole_positive
from stdp_run.rules.base import REDUCTIONS

MODES = ("train", "eval", "predict", "export", "compare", "stdp_window")
DTYPES = ("float32", "float64")
_FROM_RESOLVER = "UserError raised while resolving interpolation: "  # OmegaConf puts it before the message
# Keys and sections of some modes only, and the keys that these modes require.
ONLY_IN = {
    "checkpoint": ("eval", "predict", "export"),
    "predict": ("predict",),
    "export": ("export",),
    "compare": ("compare",),
    "perturbation": ("eval",),
}
NEEDED = {
    "checkpoint": "the checkpoint.pt of a run, checkpoint=PATH",
    "predict.images": "a picture or a folder of pictures, predict.images=PATH",
    "export.to": "the file to write, export.to=NAME.npz, NAME.safetensors or NAME.nir",
    "compare.dir": "a folder with runs in it, compare.dir=PATH",
}
# The keys that determine the learning of a first layer, and all its keys; others come from the top of the config.
LEARNED_BY = ("rule", "neuron", "dataset", "encoder", "trainer", "n_exc", "epochs", "k_winners", "seed", "dtype")
OF_FIRST_LAYER = (*LEARNED_BY, "evaluator", "engine", "device", "batch_size")


@dataclass(frozen=True)
class FirstLayerSettings:
    """The section `first_layer`: a network that learns patches of the images, and the pooling of its spikes."""

    network: "Settings"  # complete settings of the first layer
    run: str | None = checked(or_null(text))
    stride: int = checked(whole_positive)
    block: int = checked(whole_positive)
    min_contrast: float = checked(non_negative)
    spike_value: float = checked(positive)

    def blocks(self, images: DatasetSettings) -> tuple[int, int]:
        """Return the number of blocks of an image, down and across."""
        patch = self.network.dataset
        down, across = images.height - patch.height, images.width - patch.width
        return down // self.stride // self.block + 1, across // self.stride // self.block + 1


@dataclass(frozen=True)
class Settings:
    """The settings of a command; sections of other modes are None."""

    record: dict[str, Any] = field(repr=False)  # plain containers, for config.yaml and for comparison when resuming
    rule: PartSettings
    neuron: PartSettings
    dataset: DatasetSettings
    encoder: EncoderSettings
    trainer: TrainerSettings
    evaluator: EvaluatorSettings
    predict: PredictSettings | None
    export: ExportSettings | None
    compare: CompareSettings | None
    first_layer: FirstLayerSettings | None
    perturbation: PartSettings | None
    mode: str = checked(one_of(*MODES))
    seed: int = checked(seed_check)
    n_exc: int = checked(whole_positive)
    epochs: int = checked(Check("a whole number from 1 to 1000000", whole=True, minimum=1, maximum=1_000_000))
    n_train: int | None = checked(or_null(whole_positive))
    n_test: int | None = checked(or_null(whole_positive))
    n_label: int | None = checked(or_null(whole_positive))
    engine: str = checked(one_of("auto", "event", "torch"))
    device: str = checked(one_of("auto", "cpu", "cuda"))
    dtype: str = checked(one_of(*DTYPES))
    batch_size: int = checked(whole_positive)
    reduction: str = checked(one_of(*REDUCTIONS))
    tf32: bool = checked(flag)
    threads: int | None = checked(or_null(threads_check))
    resume: str | None = checked(or_null(text))
    k_winners: int | None = checked(or_null(whole_positive))
    checkpoint: str | None = checked(or_null(text))

    def __post_init__(self):
        if self.trainer.k_winners_start is not None and self.k_winners is None:
            start = self.trainer.k_winners_start
            raise UserError(f"trainer.k_winners_start={start}: needs k_winners, the number at the end; it is null")
        self._check_shifts()
        if self.evaluator.supervised and self.dataset.name == "patches":
            raise UserError.bad_value("evaluator.supervised", True, "false: patches have no classes of their own")

    def _check_shifts(self) -> None:
        """Raise UserError unless every shift of an image has a presentation, and a first layer can move its blocks."""
        shifts, n_shown = self.evaluator.shifts, self.evaluator.n_presentations
        layer, images = self.first_layer, self.dataset
        if shifts >= min(images.height, images.width):
            allowed = f"smaller than the images, which have {images.height} x {images.width} pixels"
            raise UserError.bad_value("evaluator.shifts", shifts, allowed)
        if n_shown < len(offsets(shifts)):
            allowed = f"{len(offsets(shifts))} or more, one for each shift of evaluator.shifts={shifts}"
            raise UserError.bad_value("evaluator.n_presentations", n_shown, allowed)
        if shifts and layer and layer.stride > 1:
            raise UserError.bad_value("evaluator.shifts", shifts, f"0 with first_layer.stride={layer.stride}")
        if layer and layer.network.evaluator.shifts:
            inner = layer.network.evaluator.shifts
            raise UserError.bad_value("first_layer.evaluator.shifts", inner, "0; evaluator.shifts shifts the images")

    @property
    def n_inputs(self) -> int:
        """The number of inputs: one or two per pixel, or per block of the image and neuron of the first layer."""
        n_pixels = self.dataset.n_inputs
        if self.first_layer is not None:
            down, across = self.first_layer.blocks(self.dataset)
            n_pixels = down * across * self.first_layer.network.n_exc
        return 2 * n_pixels if self.encoder.on_off else n_pixels


SECTIONS: dict[str, type] = {
    **{"rule": PartSettings, "neuron": PartSettings, "dataset": DatasetSettings, "encoder": EncoderSettings},
    **{"trainer": TrainerSettings, "evaluator": EvaluatorSettings, "perturbation": PartSettings},
    **{"predict": PredictSettings, "export": ExportSettings, "compare": CompareSettings},
}


def resolved(config: DictConfig) -> dict[str, Any]:
    """Return a composed config in plain containers; raise UserError if it refers to a key that does not exist."""
    try:
        return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    except OmegaConfBaseException as error:
        line = str(error).splitlines()[0]
        if line.startswith(_FROM_RESOLVER):
            raise UserError(line.removeprefix(_FROM_RESOLVER)) from None
        raise UserError(f"{error.full_key}: {line}") from None


def read_settings(record: Mapping[str, Any]) -> Settings:
    """Return the settings of a resolved config or of a run's record; raise UserError for a missing or bad key."""
    record = _of_mode(record)
    values = {key: value for key, value in record.items() if key not in SECTIONS and key != "first_layer"}
    parts: dict[str, Any] = {"first_layer": None}
    for key, section in SECTIONS.items():
        if key not in ONLY_IN and key not in record:
            raise UserError(f"{key}: missing")
        parts[key] = (
            None if key in ONLY_IN and record.get(key) is None else read_section(section, record[key], f"{key}.")
        )
    settings = read_section(Settings, values, "", record=record, **parts)
    if record.get("first_layer") is not None:
        settings = replace(settings, first_layer=_read_first_layer(record["first_layer"], settings))
    for key in ("rule", "neuron"):
        part, n_inputs = getattr(settings, key), settings.n_inputs
        constants = {name: per_input(value, n_inputs) for name, value in part.constants.items()}
        settings = replace(settings, **{key: replace(part, constants=constants)})
    return settings


def _of_mode(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without keys of other modes; raise UserError if such a key has a value."""
    kept, mode = dict(record), record.get("mode")
    if mode not in MODES:
        raise UserError.bad_value("mode", mode, f"one of {', '.join(MODES)}")
    for key, modes in ONLY_IN.items():
        if mode in modes:
            continue
        value = kept.pop(key, None)
        named = {key: value}
        if isinstance(value, Mapping):
            named = {key: value["name"]} if "name" in value else {f"{key}.{name}": each for name, each in value.items()}
        for name, each in named.items():
            if each is not None:
                hint = "; resume=DIRECTORY resumes a run" if key == "checkpoint" else ""
                raise UserError(f"{name}={each}: only valid with mode={', '.join(modes)}{hint}")
    for key, needed in NEEDED.items():
        section, _, name = key.partition(".")
        value = kept.get(section)
        if mode in ONLY_IN[section] and (value.get(name) if isinstance(value, Mapping) else value) is None:
            raise UserError(f"{key}=null: mode={mode} needs {needed}")
    return kept


def _read_first_layer(section: object, settings: Settings) -> FirstLayerSettings:
    """Return the section `first_layer` of a record; the network of the layer has complete settings."""
    if not isinstance(section, Mapping):
        raise UserError.bad_value("first_layer", section, "none, patches, or the directory of a run")
    own = {key: value for key, value in section.items() if key in OF_FIRST_LAYER}
    alone = {"mode": "train", "first_layer": None, "resume": "auto", "n_train": None, "n_test": None, "n_label": None}
    common = {key: value for key, value in settings.record.items() if key not in ONLY_IN}
    with in_first_layer():
        network = read_settings({**common, **alone, **own})
    others = {key: value for key, value in section.items() if key not in own}
    layer = read_section(FirstLayerSettings, others, "first_layer.", network=network)
    for key in ("height", "width"):
        patch, image = getattr(network.dataset, key), getattr(settings.dataset, key)
        if patch > image:
            raise UserError.bad_value(f"first_layer.dataset.{key}", patch, f"at most {image}, the {key} of the images")
    return layer


@contextmanager
def in_first_layer() -> Iterator[None]:
    """Context that prefixes the key in its errors with `first_layer.`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"first_layer.{error}") from None


def read_section(section: type, values: object, prefix: str, **more: Any) -> Any:
    """Return the dataclass `section` from the values of its keys; errors name keys with the prefix."""
    if not isinstance(values, Mapping):
        raise UserError.bad_value(prefix.rstrip("."), values, "a group of keys")
    items = {"_target_" if item.name == "target" else item.name: item for item in fields(section)}
    known = {key: item for key, item in items.items() if "check" in item.metadata}
    others = {key: value for key, value in values.items() if key not in known}
    takes_others = items.keys() - known.keys() - more.keys()
    if takes_others:
        more[takes_others.pop()] = others
    elif others:
        key, value = next(iter(others.items()))
        raise UserError.unknown_key(f"{prefix}{key}", value, known)
    for key, item in known.items():
        if key in values:
            more[item.name] = item.metadata["check"](f"{prefix}{key}", values[key])
        elif key in ONLY_IN:
            more[key] = None
        else:
            raise UserError(f"{prefix}{key}: missing")
    return section(**more)


def per_input(value: object, n_inputs: int) -> object:
    """Return the number for a text such as "0.1 per input"; return other values unchanged."""
    number = re.fullmatch(r"\s*([-+.\w]+) per input\s*", value) if isinstance(value, str) else None
    try:
        return float(number[1]) * n_inputs if number else value
    except ValueError:
        return value
