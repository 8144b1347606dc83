import numpy as np
import pytest
from helpers.runs import run_in

from stdp_run import rules
from stdp_run.commands import stdp_window as command
from stdp_run.commands.stdp_window import stdp_window
from stdp_run.config.own_code import name_folder
from stdp_run.reporting import plots


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


@pytest.fixture
def drawn(monkeypatch):
    """The windows that the command has plotted, by name; short ones, as each millisecond takes time."""
    monkeypatch.setattr(command, "LONGEST_MS", 3)
    windows = {}
    draw = plots.stdp_windows
    monkeypatch.setattr(plots, "stdp_windows", lambda given: windows.update(given) or draw(given))
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
    assert "nearest_online with a_post=0.5 (published 0.01); full_online, meta_nearest_online, post_pre_int as" in line


def test_tuned_constants_are_drawn_where_they_are_in_effect_and_the_published_ones_where_they_are_not(
    tmp_path, drawn, capsys
):
    run_in(tmp_path, "mode=stdp_window", "rule=full_online")
    assert drawn["full_online"].constants.startswith("a_post=") and drawn["full_online"].published is not None
    run_in(tmp_path, "mode=stdp_window", "rule=full_online", "tuned=none")
    assert not drawn["full_online"].constants and drawn["full_online"].published is None
    assert f"STDP windows of {', '.join(rules)} as published: " in capsys.readouterr().out


def test_a_rule_of_the_users_own_has_a_window_as_well(tmp_path, drawn):
    (tmp_path / "window_of_ones_own.py").write_text(
        "from stdp_run.rules import NearestOnline\n\n\nclass Half(NearestOnline):\n    pass\n"
    )
    target = ("rule._target_=window_of_ones_own.Half", "rule.name=half", f"config_dir={name_folder(tmp_path)}")
    run_in(tmp_path, "mode=stdp_window", "tuned=none", "rule.a_post=0.2", *target)
    assert list(drawn) == [*rules, "half"]
    assert drawn["half"].change.max() == pytest.approx(20, rel=0.02) and "a_post=0.2, a_pre=" in drawn["half"].constants
