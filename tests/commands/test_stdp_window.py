from types import SimpleNamespace

import numpy as np
import pytest

from stdp_run import rules
from stdp_run.commands import Invocation
from stdp_run.commands import stdp_window as command
from stdp_run.commands.stdp_window import stdp_window
from stdp_run.config.schema import PartSettings
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


class Half(rules.NearestOnline):
    """A rule of the user's own."""


def test_the_command_plots_every_rule_and_one_of_the_users_own(tmp_path, monkeypatch, capsys):
    windows = {}
    monkeypatch.setattr(command, "stdp_window", lambda rule, *_, **constants: windows.setdefault(rule, constants))
    monkeypatch.setattr(
        command.plots, "stdp_windows", lambda given: windows.update(given) or plots.histogram([1], "", "")
    )
    constants = {"a_post": 0.5}
    settings = SimpleNamespace(rule=PartSettings(name="half", target=f"{__name__}.Half", constants=constants))
    assert command.run(settings, Invocation(tmp_path)) == 0
    assert windows["half"] == windows[Half] == constants and set(rules) < set(windows)
    assert (tmp_path / "stdp_windows.png").read_bytes().startswith(b"\x89PNG")
    assert f"{', '.join(rules)}, half" in capsys.readouterr().out
