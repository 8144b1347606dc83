"""The exception for mistakes of the user."""

from collections.abc import Iterable
from difflib import get_close_matches
from unicodedata import category


class UserError(Exception):
    """A mistake of the user, in one printable line that names the key, the value and the allowed values.

    The command line prints the line without a traceback and exits with a non-zero code.
    """

    def __init__(self, line: str):
        super().__init__(printable(line))

    @classmethod
    def bad_value(cls, key: str, value: object, allowed: str) -> "UserError":
        """Return the error for a value of `key` that is not `allowed`."""
        return cls(f"{key}={shown(value)}: must be {allowed}")

    @classmethod
    def unknown_key(cls, key: str, value: object, known: Iterable[str]) -> "UserError":
        """Return the error for a key that is not among the `known` keys."""
        return cls(f"{key}={shown(value)}: unknown key; {nearest(key, known)}")


def nearest(key: str, known: Iterable[str]) -> str:
    """Return a question with the known names most similar to the last part of a key, or all known names."""
    names = sorted(known)
    found = get_close_matches(key.rpartition(".")[2], names)
    return f"did you mean {' or '.join(found)}?" if found else f"known keys: {', '.join(names) or 'none'}"


def shown(value: object) -> str:
    """Return a value in the notation of the command line."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(shown, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def printable(text: object) -> str:
    r"""Return a text in one line, with control characters escaped as \n, \x1b and so on."""
    shown_as = ((each, each.isprintable() or category(each) == "Zs") for each in str(text))  # a space of any width
    return "".join(each if plain else each.encode("unicode_escape").decode() for each, plain in shown_as)
