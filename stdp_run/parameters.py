"""Constants of rules and neuron groups: what a class declares of each, and the named tuple that its functions get.

    parameters = {"tau_pre": time_constant("d_pre"), "a_pre": number, "theta_increment": number64}

The keys are those of the YAML. A time constant (ms) declares the name of its decay per step, exp(-dt / tau), which
stands beside it in the named tuple; a duration (ms) the name of its number of steps. `64` marks constants that stay
float64 where the network computes in float32. A choice of words is a whole number in the named tuple: its place.
"""

import math
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from stdp_run.errors import UserError


@dataclass(frozen=True)
class Check:
    """What a number in the configuration may be, and how it is used."""

    allowed: str
    whole: bool = False
    minimum: float = -math.inf
    above: float = -math.inf
    maximum: float = math.inf
    decay: str | None = None  # of a time constant: the name of its decay per step, exp(-dt / tau)
    share: str | None = None  # of a time constant: the name of the share of it that a step takes, dt / tau
    steps: str | None = None  # of a duration: the name of its number of steps
    float64: bool = False  # it (and its decay) keeps 64 bits whatever the type of the weights

    def __call__(self, key: str, value: object) -> Any:
        """Return `value` as int or float.

        Raises:
            UserError: it is not a number of the allowed kind; the line names `key`, the value and what is allowed.
        """
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            in_range = self.minimum <= value <= self.maximum and value > self.above
            if in_range and not (self.whole and value % 1):
                return int(value) if self.whole else float(value)
        raise UserError.bad_value(key, value, self.allowed)


@dataclass(frozen=True)
class Choice(Check):
    """What a word in the configuration may be; the value is the place of the word, as compiled code has no words."""

    words: tuple[str, ...] = ()

    def __call__(self, key: str, value: object) -> int:
        """Return the place of `value` among the words; raise UserError where it is none of them."""
        if value not in self.words:
            raise UserError.bad_value(key, value, self.allowed)
        return self.words.index(str(value))


number = Check("a number")
number64 = replace(number, float64=True)
positive = Check("a number above 0", above=0.0)
non_negative = Check("a number of 0 or more", minimum=0.0)
whole = Check("a whole number", whole=True, minimum=-(2**31), maximum=2**31 - 1)
whole_non_negative = Check("a whole number of 0 or more", whole=True, minimum=0, maximum=2**31 - 1)
whole_positive = Check("a whole number of 1 or more", whole=True, minimum=1, maximum=2**31 - 1)


def time_constant(decay: str, float64: bool = False, share: str | None = None) -> Check:
    """Return the declaration of a time constant in ms, whose decay per step is to be had as `decay`.

    So is dt / tau as `share`, if it is named.
    """
    return replace(positive, decay=decay, share=share, float64=float64)


def duration(steps: str) -> Check:
    """Return the declaration of a duration in ms, whose number of steps, or fractions, is to be had as `steps`."""
    return replace(non_negative, steps=steps)


def choice(*words: str) -> Choice:
    """Return the declaration of one of several words, which the named tuple has by its place, 0 for the first."""
    return Choice(f"one of {', '.join(words)}", words=words)


def check_parameters(section: str, declared: Mapping[str, Check], given: Mapping[str, object]) -> dict[str, float]:
    """Return the constants of a rule or neuron group, each checked; `section` is where they stand in the config.

    Raises:
        UserError: a key is unknown or missing, or its value is not allowed.
    """
    for key in given:
        if key not in declared:
            raise UserError.unknown_key(f"{section}.{key}", given[key], declared)
    for key, check in declared.items():
        if key not in given:
            raise UserError(f"{section}.{key}: missing; must be {check.allowed}")
    return {key: check(f"{section}.{key}", given[key]) for key, check in declared.items()}


def named_parameters(owner: Any, values: Mapping[str, float], dt_ms: float) -> Any:
    """Return checked `values` as a named tuple of Python numbers, with the decays and steps that `owner` declares."""
    declared = owner.parameters
    decays = {check.decay: math.exp(-dt_ms / values[key]) for key, check in declared.items() if check.decay}
    shares = {check.share: dt_ms / values[key] for key, check in declared.items() if check.share}
    precise = {name for key, check in declared.items() if check.float64 for name in (key, check.decay, check.share)}
    # Rounded, so that 0.3 ms are 3 steps of 0.1 ms and not 2.9999999999999996.
    steps = {check.steps: round(values[key] / dt_ms, 6) for key, check in declared.items() if check.steps}
    everything = {**values, **decays, **shares, **steps}
    marked = (f"{name}__64" if name in precise else name for name in everything)
    return _parameters_class("__".join((owner.__name__, *marked)))(**everything)


@cache
def _parameters_class(name: str) -> Any:
    """Return the named tuple called OWNER__FIELD__FIELD__64..., where 64 follows a field that stays float64.

    The name tells all of it, so that a later process finds the class by name: the cache of compiled kernels needs that.
    """
    words = name.split("__")[1:]
    make: Any = namedtuple  # mypy would want fields that it can read
    cls = make(name, [word for word in words if word != "64"], module=__name__)
    cls.float64_fields = frozenset(words[k - 1] for k, word in enumerate(words) if word == "64")
    return cls


def __getattr__(name: str) -> type:
    """Make the class again when a compiled kernel, read from disk, asks for it by name."""
    if not name.startswith("__") and "__" in name:
        return _parameters_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def cast(parameters: Any, dtype: type) -> Any:
    """Return the named tuple as NumPy scalars: whole numbers int32, others `dtype`, or float64 if so declared."""

    def convert(name: str, value: float) -> np.generic:
        if isinstance(value, int):
            return np.int32(value)
        return np.float64(value) if name in parameters.float64_fields else dtype(value)

    return type(parameters)(*map(convert, parameters._fields, parameters))
