"""Constants of rules and neuron groups: checked against what the class declares, then handed over as one named tuple.

The field names are the keys of the YAML. Beside each time constant `tau_NAME` (ms) stands `d_NAME`, its decay per
step, exp(-dt / tau).
"""

import math
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stdp_run.errors import UserError

_classes: dict[str, type] = {}


@dataclass(frozen=True)
class Check:
    """What a number in the configuration may be."""

    allowed: str
    whole: bool = False
    minimum: float = -math.inf
    above: float = -math.inf
    maximum: float = math.inf

    def __call__(self, key: str, value: object):
        """Return `value` as int or float.

        Raises:
            UserError: it is not a number of the allowed kind; the line names `key`, the value and what is allowed.
        """
        number = _as_number(value, self.whole)
        if number is None or not (self.minimum <= number <= self.maximum and number > self.above):
            raise UserError.bad_value(key, value, self.allowed)
        return number


def _as_number(value: object, whole: bool):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    if not whole:
        return float(value)
    return int(value) if value == int(value) else None


number = Check("a number")
positive = Check("a number above 0", above=0.0)
non_negative = Check("a number of 0 or more", minimum=0.0)
whole = Check("a whole number", whole=True, minimum=-(2**31), maximum=2**31 - 1)
whole_non_negative = Check("a whole number of 0 or more", whole=True, minimum=0, maximum=2**31 - 1)
whole_positive = Check("a whole number of 1 or more", whole=True, minimum=1, maximum=2**31 - 1)


def check_parameters(section: str, declared: Mapping[str, Check], given: Mapping[str, object]) -> dict[str, float]:
    """Return the constants of a rule or neuron group, each checked; `section` is where they stand in the config.

    Raises:
        UserError: a key is unknown or missing, or its value is not allowed.
    """
    for key in given:
        if key not in declared:
            raise UserError(f"{section}.{key}={given[key]}: unknown key; known here: {', '.join(sorted(declared))}")
    for key, check in declared.items():
        if key not in given:
            raise UserError(f"{section}.{key}: missing; must be {check.allowed}")
    return {key: check(f"{section}.{key}", given[key]) for key, check in declared.items()}


def named_parameters(owner: str, values: Mapping[str, float], dt_ms: float) -> tuple:
    """Return `values` as a named tuple of Python numbers, with a decay per step `d_*` beside each `tau_*` (ms)."""
    decays = {f"d_{key[4:]}": math.exp(-dt_ms / tau) for key, tau in values.items() if key.startswith("tau_")}
    everything = {**values, **decays}
    return _parameters_class(owner, tuple(everything))(**everything)


def _parameters_class(owner: str, fields: tuple[str, ...]) -> type:
    """One class per set of fields, found again by name in a later process: the cache of compiled kernels needs that."""
    name = "__".join((owner, *fields))
    if name not in _classes:
        _classes[name] = namedtuple(name, fields, module=__name__)
    return _classes[name]


def __getattr__(name: str) -> type:
    """Make the class again when a compiled kernel, read from disk, asks for it by name."""
    owner, *fields = name.split("__")
    if owner and fields:
        return _parameters_class(owner, tuple(fields))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def cast(parameters: tuple, dtype) -> tuple:
    """Return the named tuple as NumPy scalars: floats as `dtype`, those of theta as float64, whole numbers as int32."""

    def convert(name: str, value):
        if isinstance(value, int):
            return np.int32(value)
        return np.float64(value) if "theta" in name else dtype(value)

    return type(parameters)(*map(convert, parameters._fields, parameters))
