"""Checks of single values: each takes a key and a value, and returns the value or raises UserError."""

from collections.abc import Callable
from typing import Any

from stdp_run.errors import UserError
from stdp_run.parameters import Check


def _fits(condition: Callable[[Any], bool], allowed: str) -> Callable[[str, object], Any]:
    """Return a check that lets pass what fits a condition."""

    def check(key: str, value: object) -> Any:
        if not condition(value):
            raise UserError.bad_value(key, value, allowed)
        return value

    return check


class OneOf(tuple[str, ...]):
    """A check that lets one of these choices pass."""

    def __call__(self, key: str, value: object) -> Any:
        if value not in self:
            raise UserError.bad_value(key, value, f"one of {', '.join(self)}")
        return value


def one_of(*choices: str) -> OneOf:
    """Return a check that lets one of `choices` pass."""
    return OneOf(choices)


def or_null(inner: Callable) -> Callable[[str, object], Any]:
    """Return a check that lets null pass, and what `inner` lets pass."""

    def check(key: str, value: object) -> Any:
        try:
            return None if value is None else inner(key, value)
        except UserError as error:
            raise UserError(f"{error}, or null") from None

    return check


def _are_different(value: object) -> bool:
    """Return whether a value is a list of one or more plain values, none of them twice."""
    if not isinstance(value, list) or any(isinstance(item, (list, dict)) for item in value):
        return False
    return value != [] and all(item not in value[:place] for place, item in enumerate(value))


flag = _fits(lambda value: isinstance(value, bool), "true or false")
text = _fits(lambda value: isinstance(value, str), "text")
different_values = _fits(_are_different, "a list of different values, such as [0.01,0.02]")
seed_check = Check(f"a whole number from 0 to {2**32 - 1}", whole=True, minimum=0, maximum=2**32 - 1)
