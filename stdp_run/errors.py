"""The one exception that a person at the command line is meant to read."""


class UserError(Exception):
    """A mistake in what was asked for, told in one line that names the key, the value and what is allowed.

    The command line prints the line and exits with a non-zero code; it prints no traceback.
    """

    @classmethod
    def bad_value(cls, key: str, value: object, allowed: str) -> "UserError":
        """Return the error for `key=value` where only `allowed` would do."""
        return cls(f"{key}={value}: must be {allowed}")
