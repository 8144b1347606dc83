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


flag = _fits(lambda value: isinstance(value, bool), "true or false")
text = _fits(lambda value: isinstance(value, str), "text")
seed_check = Check(f"a whole number from 0 to {2**32 - 1}", whole=True, minimum=0, maximum=2**32 - 1)
