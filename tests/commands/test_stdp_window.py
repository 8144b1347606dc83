import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import composed, run_in

from stdp_run import rules
from stdp_run.commands import Invocation, run
from stdp_run.commands import stdp_window as command
from stdp_run.commands.stdp_window import change_by_frequency, stdp_window
from stdp_run.config.custom_code import name_folder
from stdp_run.reporting import plots

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["event", "torch"])
def test_the_window_of_nearest_online_is_what_its_constants_say(engine):
    delay, change = stdp_window("nearest_online", engine)
    window = dict(zip(delay.tolist(), change.tolist(), strict=True))
    # One synapse of 500 changes, so scaling the row takes back two thousandths of a relative change of at most 2%.
    for ms in (1, 5, 20, 60):
        assert window[ms] == pytest.approx(1e-2 * np.exp(-ms / 20), rel=0.005)
        assert window[-ms] == pytest.approx(-1e-4 * np.exp(-ms / 20), rel=0.005)
    assert window[0] == pytest.approx(1e-2 - 1e-4, rel=0.005)


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
    monkeypatch.setattr(command, "LONGEST_MS", 20)
    constants = {"t_ltp": 15} if rule == "rectangular" else {}
    window = dict(zip(*(each.tolist() for each in stdp_window(rule, "torch", **constants)), strict=True))
    # At most 1e-3 lies between the two changes, of which the second sees what the first has done to the weight.
    assert [window[10], window[20], window[-10]] == pytest.approx(WINDOWS[rule], rel=0.015, abs=1e-12)


def test_neurons_side_by_side_have_the_windows_of_single_ones(monkeypatch):
    side_by_side = stdp_window("triplet", "torch")
    monkeypatch.setattr(command, "DELAYS_AT_ONCE", 1)
    np.testing.assert_equal(side_by_side, stdp_window("triplet", "torch"))


@pytest.mark.parametrize("engine", ["torch", "event"])
def test_by_frequency_the_triplet_rule_turns_from_falling_to_rising(engine):
    frequency, pre_first, post_first = change_by_frequency("triplet", engine)
    for hz, period in ((10, 100), (40, 25)):
        k = frequency.tolist().index(hz)
        slow = np.exp(-period / 40)  # y2, of the output spike a period ago
        lag = np.exp(-(period - 10) / 20)  # from the second spike of a pair to the first of the next
        assert pre_first[k] == pytest.approx(1e-2 * np.exp(-0.5) * slow - 1e-4 * lag, abs=1e-12)
        assert post_first[k] == pytest.approx(1e-2 * lag * slow - 1e-4 * np.exp(-0.5), abs=1e-12)
    assert post_first[0] < 0 < post_first[-1] and (np.diff(pre_first) > 0).all()


@pytest.fixture
def drawn(monkeypatch):
    """The windows that the command has plotted, by name; short ones, as each millisecond takes time."""
    monkeypatch.setattr(command, "LONGEST_MS", 3)
    windows = {}
    draw = plots.stdp_windows
    monkeypatch.setattr(plots, "stdp_windows", lambda given, *more: windows.update(given) or draw(given, *more))
    return windows


def test_the_command_plots_every_rule_as_published_and_the_configured_one_as_configured(tmp_path, drawn, capsys):
    run_in(tmp_path, "mode=stdp_window", "tuned=none", "rule.a_post=0.5", "rule.w_norm=50")
    assert list(drawn) == list(rules)
    window = drawn["nearest_online"]
    assert window.change.max() == pytest.approx(50, rel=0.02) and window.published.max() == pytest.approx(1, rel=0.02)
    assert window.constants == "a_post=0.5 (published 0.01)"  # a norm leaves the window as it is
    integers = drawn["post_pre_int"]
    assert 0.9 < integers.change.max() < 1.3 and integers.published is None and not integers.constants
    assert integers.quantity == "mean weight change (% of w_max = 109)"
    assert (tmp_path / "stdp_windows.png").read_bytes().startswith(b"\x89PNG")
    line = capsys.readouterr().out
    assert "multiplicative as published; nearest_online with a_post=0.5 (published 0.01): " in line


def test_a_bar_counts_the_rules(tmp_path, drawn, capsys):
    run(composed("mode=stdp_window"), Invocation(tmp_path, bars=True))
    assert "STDP windows: 100%" in capsys.readouterr().err


def test_tuned_constants_are_drawn_where_they_are_in_effect_and_the_published_ones_where_they_are_not(
    tmp_path, drawn, capsys
):
    run_in(tmp_path, "mode=stdp_window", "rule=full_online")
    assert drawn["full_online"].constants.startswith("a_post=") and drawn["full_online"].published is not None
    run_in(tmp_path, "mode=stdp_window", "rule=full_online", "tuned=none")
    assert not drawn["full_online"].constants and drawn["full_online"].published is None
    assert f"STDP windows of {', '.join(rules)} as published: " in capsys.readouterr().out


def test_rules_with_a_second_trace_are_drawn_by_frequency_as_well(tmp_path, drawn, monkeypatch):
    panels = []
    draw = plots.stdp_windows
    monkeypatch.setattr(plots, "stdp_windows", lambda given, more: panels.append(more) or draw(given, more))
    run_in(tmp_path, "mode=stdp_window", "rule=triplet", "tuned=none", "rule.a_post=0.05", "rule.a_pre=0")
    [panel] = panels
    assert list(panel) == ["triplet"]
    assert panel["triplet"].pre_first[-1] == pytest.approx(5 * np.exp(-0.5) * np.exp(-20 / 40))
    assert drawn["triplet"].constants == "a_post=0.05 (published 0.01), a_pre=0 (published 0.0001)"


def test_a_rule_of_the_users_own_has_a_window_as_well(tmp_path, drawn):
    (tmp_path / "window_of_ones_own.py").write_text(
        "from stdp_run.rules import NearestOnline\n\n\nclass Half(NearestOnline):\n    pass\n"
    )
    name_folder(tmp_path)
    target = ("rule._target_=window_of_ones_own.Half", "rule.name=half")
    run_in(tmp_path, "mode=stdp_window", "tuned=none", "rule.a_post=0.2", *target)
    assert list(drawn) == [*rules, "half"]
    assert drawn["half"].change.max() == pytest.approx(20, rel=0.02) and "a_post=0.2, a_pre=" in drawn["half"].constants


def test_a_constant_that_is_not_allowed_is_refused(tmp_path):
    for wrong in ("rule.w_max=much", "rule.a_post=nan", "+rule.more=1"):
        line = message_of(lambda word=wrong: run_in(tmp_path, "mode=stdp_window", word))
        assert line.startswith(f"{wrong.lstrip('+')}: ")
    assert not list(tmp_path.glob("*.png"))
