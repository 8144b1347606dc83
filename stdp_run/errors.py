"""The one exception that a person at the command line is meant to read."""

from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what was asked for, told in one line that names the key, the value and what is allowed.

    The command line prints the line and exits with a non-zero code; it prints no traceback.
    """

    @classmethod
    def bad_value(cls, key: str, value: object, allowed: str) -> "UserError":
        """Return the error for `key=value` where only `allowed` would do."""
        return cls(f"{key}={shown(value)}: must be {allowed}")

    @classmethod
    def unknown_key(cls, key: str, value: object, known: Iterable[str]) -> "UserError":
        """Return the error for `key=value` where there are other keys."""
        return cls(f"{key}={shown(value)}: unknown key; known here: {', '.join(sorted(known))}")


def shown(value: object) -> str:
    """Return a value as the command line has it."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(shown, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
