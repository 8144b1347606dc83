"""How a value is written in a command, for Hydra and for a shell."""

import re
import shlex
from pathlib import Path


def quoted(text: str) -> str:
    """Return a text in quotation marks as Hydra's grammar has them, so that no character of it has a meaning there.

    `${...}` keeps its meaning, which is not of that grammar.
    """
    # Only backslashes before a quotation mark are special.
    return "'{}'".format(re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text))


def command_to_resume(directory: Path) -> str:
    """Return the command that resumes the run in a directory, as a shell takes it: paths need quotes for it alone."""
    return shlex.join(["stdp-run", f"resume={directory}"])
