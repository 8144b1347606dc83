import numpy as np
import pytest

from stdp_run.commands.stdp_window import stdp_window


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


def test_mode_window_draws_the_rules(stdp_run, tmp_path):
    done = stdp_run("mode=window", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "stdp_windows.png").stat().st_size > 20_000
    assert "nearest_online, full_online, meta_nearest_online, post_pre_int" in done.stdout
