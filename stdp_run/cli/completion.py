"""What a shell completes beyond what Hydra offers, which is config groups, keys and their present values."""

import os

from stdp_run.config.schema import choices_of


def offered() -> list[str] | None:
    """Return KEY=CHOICE for what is being typed, a key with a fixed set of choices; None leaves it to Hydra.

    Shells give what was typed in COMP_LINE and take what is offered from the standard output.
    """
    word = os.environ.get("COMP_LINE", "").rpartition(" ")[2]
    key, equals, typed = word.partition("=")
    choices = choices_of(key.lstrip("+")) if equals else ()
    return [f"{key}={choice}" for choice in choices if choice.startswith(typed)] if choices else None
