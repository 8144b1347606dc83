import pytest

from stdp_run.errors import UserError, printable

RAW = {
    "\x1b[31mred": r"\x1b[31mred",
    "a\nb\rc\td": r"a\nb\rc\td",
    "\x9b2J": r"\x9b2J",
    "turned \u202e round": r"turned \u202e round",
    "line\u2028end": r"line\u2028end",
    "\udcff not UTF-8": r"\udcff not UTF-8",
    "Füße 数字\u3000🙂": "Füße 数字\u3000🙂",
}


@pytest.mark.parametrize("text", RAW)
def test_no_control_character_reaches_a_terminal(text):
    assert printable(text) == RAW[text]
    assert str(UserError.bad_value("checkpoint", text, "a file")) == f"checkpoint={RAW[text]}: must be a file"
