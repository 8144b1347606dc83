"""The message of an error."""

import pytest

from stdp_run.errors import UserError


def message_of(make) -> str:
    """Return the one line that a user reads when `make` fails."""
    with pytest.raises(UserError) as caught:
        make()
    text = str(caught.value)
    assert "\n" not in text
    return text
