import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import composed, run_in

from stdp_run import rules
from stdp_run.commands import Invocation, run
from stdp_run.commands import stdp_window as command
from stdp_run.commands.stdp_window import change_by_frequency, stdp_window
from stdp_run.reporting import plots

pytestmark = pytest.mark.slow


def test_the_window_of_the_integer_rule_adds_on_both_sides():
    delay, change = stdp_window("post_pre_int")
    window = dict(zip(delay.tolist(), change.tolist(), strict=True))
    # 141 * 127 / 2^14 at an output spike, 14 * 127 / 2^14 at an input spike, both decaying with 20 ms; the mean of 500
    # synapses is within 0.1 of it.
    assert window[1] == pytest.approx(141 * 120 / 2**14, abs=0.1)
    assert window[-1] == pytest.approx(14 * 120 / 2**14, abs=0.1)
    assert window[-90] == window[90] == 0


WINDOWS = {
    # rule -> change with the input 10 ms before, 20 ms before, and 10 ms after, of a weight of 0.5
    "nearest_online": (1e-2 * np.exp(-0.5), 1e-2 * np.exp(-1), -1e-4 * np.exp(-0.5)),
    "triplet": (0, 0, -1e-4 * np.exp(-0.5)),
    "power_law": tuple(1e-2 * (x - 0.4) * 0.5**0.2 for x in (np.exp(-0.5), np.exp(-1), 0)),
    "exponential": tuple(1e-2 * (x - 0.4) * np.exp(-0.5) for x in (np.exp(-0.5), np.exp(-1), 0)),
    "weight_dependent": (5e-3 * np.exp(-0.5), 5e-3 * np.exp(-1), -5e-5 * np.exp(-0.5)),
    "rectangular": (1.7e-3 * np.exp(-1.5), -7e-4, -7e-4),
    "multiplicative": (1e-3, 1e-3, -7.5e-4),
}
WINDOWS["power_law_pre_post"] = (*WINDOWS["power_law"][:2], WINDOWS["power_law"][2] - 1e-4 * np.exp(-0.5) * 0.5**0.2)


@pytest.mark.parametrize("rule", WINDOWS)
def test_the_windows_of_the_literatures_rules_are_what_their_constants_say(rule, monkeypatch):
    monkeypatch.setattr(command, "LONGEST_MS", 20)  # two groups of neurons side by side
    constants = {"t_ltp": 15} if rule == "rectangular" else {}
    window = dict(zip(*(each.tolist() for each in stdp_window(rule, "torch", **constants)), strict=True))
    # The second change sees the weight after the first, a difference of at most 1e-3.
    assert [window[10], window[20], window[-10]] == pytest.approx(WINDOWS[rule], rel=0.015, abs=1e-12)


def test_by_frequency_the_triplet_rule_turns_from_falling_to_rising():
    frequency, pre_first, post_first = change_by_frequency("triplet", "torch")
    for hz, period in ((10, 100), (40, 25)):
        k = frequency.tolist().index(hz)
        slow = np.exp(-period / 40)  # y2, of the output spike a period ago
        lag = np.exp(-(period - 10) / 20)  # from the second spike of a pair to the first of the next
        assert pre_first[k] == pytest.approx(1e-2 * np.exp(-0.5) * slow - 1e-4 * lag, abs=1e-12)
        assert post_first[k] == pytest.approx(1e-2 * lag * slow - 1e-4 * np.exp(-0.5), abs=1e-12)
    assert post_first[0] < 0 < post_first[-1] and (np.diff(pre_first) > 0).all()


@pytest.fixture
def drawn(monkeypatch):
    """Short windows that the command has plotted, by rule, and changes by frequency."""
    monkeypatch.setattr(command, "LONGEST_MS", 3)
    windows, by_frequency, draw = {}, {}, plots.stdp_windows

    def stdp_windows(*given):
        windows.update(given[0])
        by_frequency.update(given[1])
        return draw(*given)

    monkeypatch.setattr(plots, "stdp_windows", stdp_windows)
    return windows, by_frequency


def test_the_command_plots_every_rule_as_published_and_the_configured_one_as_configured(tmp_path, drawn, capsys):
    words = ("mode=stdp_window", "tuned=none", "rule.a_post=0.5", "rule.w_norm=50")
    run(composed(*words), Invocation(tmp_path, bars=True))
    windows, by_frequency = drawn
    assert list(windows) == list(rules) and list(by_frequency) == ["triplet"]
    window = windows["nearest_online"]
    assert window.change.max() == pytest.approx(50, rel=0.02) and window.published.max() == pytest.approx(1, rel=0.02)
    assert window.constants == "a_post=0.5 (published 0.01)"  # a norm does not change the window
    integers = windows["post_pre_int"]
    assert 0.9 < integers.change.max() < 1.3 and integers.published is None and not integers.constants
    assert integers.quantity == "mean weight change (% of w_max = 109)"
    assert (tmp_path / "stdp_windows.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr()
    assert "multiplicative as published; nearest_online with a_post=0.5 (published 0.01): " in printed.out
    assert "STDP windows: 100%" in printed.err


def test_tuned_constants_are_drawn_where_they_are_in_effect(tmp_path, drawn, capsys):
    run_in(tmp_path, "mode=stdp_window", "rule=full_online")
    assert drawn[0]["full_online"].constants.startswith("a_post=") and drawn[0]["full_online"].published is not None
    run_in(tmp_path, "mode=stdp_window", "rule=full_online", "tuned=none")
    assert not drawn[0]["full_online"].constants and drawn[0]["full_online"].published is None
    assert f"STDP windows of {', '.join(rules)} as published: " in capsys.readouterr().out


def test_constants_of_a_rule_with_a_second_trace_change_its_window_by_frequency(tmp_path, drawn):
    run_in(tmp_path, "mode=stdp_window", "rule=triplet", "tuned=none", "rule.a_post=0.05", "rule.a_pre=0")
    assert drawn[1]["triplet"].pre_first[-1] == pytest.approx(5 * np.exp(-0.5) * np.exp(-20 / 40))
    assert drawn[0]["triplet"].constants == "a_post=0.05 (published 0.01), a_pre=0 (published 0.0001)"


def test_a_constant_that_is_not_allowed_is_refused(tmp_path):
    line = message_of(lambda: run_in(tmp_path, "mode=stdp_window", "rule.w_max=much"))
    assert line.startswith("rule.w_max=much: ") and not list(tmp_path.glob("*.png"))
