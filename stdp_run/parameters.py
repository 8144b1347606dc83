"""Declares the constants of rules and neuron groups, and makes the named tuple `p` that their functions receive.

A class declares its constants by the keys of its YAML::

    parameters = {"tau_pre": time_constant("d_pre"), "a_pre": number, "theta_increment": number64}

The named tuple has these constants, and constants derived from values in ms: the decay per step of a time constant, the
number of steps of a duration. A constant declared as float64 stays float64 in a float32 network. A word becomes its
index among the allowed words.
"""

import math
from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from stdp_run.errors import UserError

LARGEST = float(np.finfo(np.float32).max)  # constants are float32 in most networks


@dataclass(frozen=True)
class Check:
    """The allowed values of a number in the configuration, and the constants derived from it."""

    allowed: str
    whole: bool = False
    minimum: float = -math.inf
    above: float = -math.inf
    maximum: float = math.inf
    derived: Mapping[str, Callable[[float, float], float]] = field(default_factory=dict)  # name -> (value, dt in ms)
    float64: bool = False  # value and derived constants stay float64 for any type of the weights

    def __call__(self, key: str, value: object) -> Any:
        """Return `value` as int or float; raise UserError, which names `key`, if it is not allowed."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            in_range = self.minimum <= value <= self.maximum and value > self.above
            if in_range and abs(value) > LARGEST:
                raise UserError.bad_value(key, value, f"within {LARGEST:.2g}, the range of float32")
            if in_range and not (self.whole and value % 1):
                return int(value) if self.whole else float(value)
        raise UserError.bad_value(key, value, self.allowed)


@dataclass(frozen=True)
class Choice(Check):
    """The allowed words of a setting; its value is the index of the word, since compiled code has no strings."""

    words: tuple[str, ...] = ()

    def __call__(self, key: str, value: object) -> int:
        """Return the index of `value` among the words; raise UserError if it is not among them."""
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
    """Return the declaration of a time constant in ms; `decay` names exp(-dt / tau), `share` names dt / tau."""
    derived: dict[str, Callable[[float, float], float]] = {decay: lambda tau, dt: math.exp(-dt / tau)}
    if share:
        derived[share] = lambda tau, dt: dt / tau
    return replace(positive, derived=derived, float64=float64)


def duration(steps: str) -> Check:
    """Return the declaration of a duration in ms; `steps` names its number of steps, which may be fractional."""
    # Rounding makes 0.3 ms 3 steps of 0.1 ms, not 2.9999999999999996.
    return replace(non_negative, derived={steps: lambda value, dt: round(value / dt, 6)})


def choice(*words: str) -> Choice:
    """Return the declaration of one of several words; the value is the index of the word."""
    return Choice(f"one of {', '.join(words)}", words=words)


def check_parameters(section: str, declared: Mapping[str, Check], given: Mapping[str, object]) -> dict[str, float]:
    """Return the checked constants of a `section`; raise UserError for an unknown or missing key, or a bad value."""
    for key in given:
        if key not in declared:
            raise UserError.unknown_key(f"{section}.{key}", given[key], declared)
    for key, check in declared.items():
        if key not in given:
            raise UserError(f"{section}.{key}: missing; must be {check.allowed}")
    return {key: check(f"{section}.{key}", given[key]) for key, check in declared.items()}


def named_parameters(owner: Any, values: Mapping[str, float], dt_ms: float) -> Any:
    """Return checked `values` and the derived constants of class `owner` as a named tuple of Python numbers."""
    declared, everything = owner.parameters, dict(values)
    for key, check in declared.items():
        everything |= {name: derive(values[key], dt_ms) for name, derive in check.derived.items()}
    precise = {name for key, check in declared.items() if check.float64 for name in (key, *check.derived)}
    marked = (f"{name}__64" if name in precise else name for name in everything)
    return _parameters_class("__".join((owner.__name__, *marked)))(**everything)


@cache
def _parameters_class(name: str) -> Any:
    """Return the named tuple class OWNER__FIELD__FIELD__64..., where 64 follows a field that stays float64.

    Compiled kernels on disk refer to the class by name; a later process makes it again from the name.
    """
    words = name.split("__")[1:]
    make: Any = namedtuple  # mypy accepts only literal fields
    cls = make(name, [word for word in words if word != "64"], module=__name__)
    cls.float64_fields = frozenset(words[k - 1] for k, word in enumerate(words) if word == "64")
    return cls


def __getattr__(name: str) -> type:
    """Return the class of parameters that a compiled kernel on disk refers to by name."""
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
