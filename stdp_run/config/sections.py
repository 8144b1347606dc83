"""The sections of a config, named after their keys, and the checks of their values.

A check takes a key and a value, and returns the value or raises UserError. A field without a check takes all other
keys.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stdp_run.errors import UserError
from stdp_run.evaluation.readouts import READOUTS
from stdp_run.parameters import Check, number, positive, whole_non_negative, whole_positive

CheckOfKey = Callable[[str, object], Any]


def _fits(condition: Callable[[Any], bool], allowed: str) -> CheckOfKey:
    def check(key: str, value: object) -> Any:
        if not condition(value):
            raise UserError.bad_value(key, value, allowed)
        return value

    return check


def one_of(*choices: str) -> CheckOfKey:
    """Return a check that accepts one of `choices`."""
    return _fits(lambda value: value in choices, f"one of {', '.join(choices)}")


def or_null(inner: CheckOfKey) -> CheckOfKey:
    """Return a check that accepts null and all values that `inner` accepts."""

    def check(key: str, value: object) -> Any:
        try:
            return None if value is None else inner(key, value)
        except UserError as error:
            raise UserError(f"{error}, or null") from None

    return check


flag = _fits(lambda value: isinstance(value, bool), "true or false")
text = _fits(lambda value: isinstance(value, str), "text")
seed_check = Check(f"a whole number from 0 to {2**32 - 1}", whole=True, minimum=0, maximum=2**32 - 1)
rate_check = Check("a number from 0 to 1000000", minimum=0.0, maximum=1e6)
steps_check = Check("a whole number from 1 to 100000", whole=True, minimum=1, maximum=100_000)
threads_check = Check("a whole number from 1 to 1024", whole=True, minimum=1, maximum=1024)

SCHEDULES = ("constant", "exponential", "cosine")
ORDERS = ("shuffled", "as_stored", "by_class")  # of presentations


def checked(check: Callable) -> Any:
    """Return a dataclass field with a check of its value."""
    return field(metadata={"check": check})


@dataclass(frozen=True)
class EncoderSettings:
    max_rate_hz: float = checked(rate_check)
    steps: int = checked(steps_check)
    dt: float = checked(Check("a number from 0.001 to 1000", minimum=0.001, maximum=1000.0))
    on_off: bool = checked(flag)
    gamma: float = checked(positive)
    mean_pixel: float | None = checked(or_null(Check("a number above 0 and up to 255", above=0.0, maximum=255.0)))
    min_spikes: int = checked(whole_non_negative)
    rate_step_hz: float = checked(rate_check)
    max_repeats: int = checked(Check("a whole number from 0 to 255", whole=True, minimum=0, maximum=255))
    rest_steps: int = checked(Check("a whole number from 0 to 100000", whole=True, minimum=0, maximum=100_000))


@dataclass(frozen=True)
class TrainerSettings:
    schedule: str = checked(one_of(*SCHEDULES))
    rate_end: float = checked(Check("a number above 0 and up to 1", above=0.0, maximum=1.0))
    k_winners_start: int | None = checked(or_null(whole_positive))
    order: str = checked(one_of(*ORDERS))
    log_every: int | None = checked(or_null(whole_positive))
    label_window: int = checked(whole_positive)
    evaluate_every: int | None = checked(or_null(whole_positive))
    plot_every: int | None = checked(or_null(whole_positive))
    checkpoint_every: int | None = checked(or_null(whole_positive))
    checkpoint_seconds: float | None = checked(or_null(positive))
    keep_checkpoints: bool = checked(flag)


@dataclass(frozen=True)
class EvaluatorSettings:
    readout: str = checked(one_of(*READOUTS))
    n_presentations: int = checked(Check("a whole number from 1 to 1000", whole=True, minimum=1, maximum=1000))
    steps: int | None = checked(or_null(steps_check))
    w_ie: float | None = checked(or_null(number))
    shifts: int = checked(whole_non_negative)
    supervised: bool = checked(flag)


@dataclass(frozen=True)
class PredictSettings:
    images: str = checked(text)
    csv: str | None = checked(or_null(text))
    save: str | None = checked(or_null(text))


@dataclass(frozen=True)
class ExportSettings:
    to: str = checked(text)


@dataclass(frozen=True)
class CompareSettings:
    dir: str = checked(text)


@dataclass(frozen=True)
class PartSettings:
    """The section `rule`, `neuron` or `perturbation`. Its class declares the constants and checks them later."""

    constants: dict[str, Any]
    name: str = checked(text)
    target: str = checked(text)  # `_target_` in the YAML, the import path of the class


@dataclass(frozen=True)
class DatasetSettings:
    """The section `dataset`. Its class takes the options as keyword arguments and checks them later."""

    options: dict[str, Any]
    name: str = checked(text)
    target: str = checked(text)  # `_target_` in the YAML, the import path of the class
    height: int = checked(whole_positive)
    width: int = checked(whole_positive)
    split: str = checked(one_of("test", "validation", "train"))
    n_validation: int = checked(whole_positive)

    @property
    def n_inputs(self) -> int:
        """One input for each pixel."""
        return self.height * self.width
