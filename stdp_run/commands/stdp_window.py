"""STDP windows: how much a pair of spikes changes a weight, by the time between them, as `replay` finds it."""

import logging
from pathlib import Path

import numpy as np

from stdp_run import rules
from stdp_run.config.settings import Settings, build_rule, import_class, published_parameters
from stdp_run.engines.replay import replay
from stdp_run.files import write_atomically
from stdp_run.reporting import plots as figures
from stdp_run.rules.base import Rule
from stdp_run.training.tracking import Tracker

log = logging.getLogger(__name__)

LONGEST_MS = 100
N_INPUTS = 500


def stdp_window(rule: str | type[Rule], engine: str = "event", **constants: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (time from input to output spike in ms [K], mean weight change [K]) for one pair of spikes each.

    One neuron has 500 synapses of equal weight, in the middle of its bounds and at its norm. A float rule is shown a
    spike at one of them, so that scaling the row hardly counts; a rule with stochastic rounding at all, for the mean.
    """
    rule_class, known = published_parameters(rule, N_INPUTS)
    values = build_rule(rule_class, {**known, **constants}, 1.0)
    integer = rule_class.arithmetic == "int"
    middle = values.w_max // 2 if integer else values.w_max / 2
    if "w_norm" in rule_class.parameters:
        constants["w_norm"] = middle * N_INPUTS
    shown = slice(None) if integer else slice(0, 1)
    delays = np.arange(-LONGEST_MS, LONGEST_MS + 1)
    change = np.empty(len(delays))
    for k, delay in enumerate(delays):
        pre, post = np.zeros((LONGEST_MS + 2, N_INPUTS), np.uint8), np.zeros((LONGEST_MS + 2, 1), np.uint8)
        pre[max(0, -delay), shown] = 1
        post[max(0, delay), 0] = 1
        n_steps = abs(delay) + 2
        weight = np.full((1, N_INPUTS), middle)
        after = replay(rule, pre[:n_steps], post[:n_steps], weight, engine=engine, **constants)[-1]
        change[k] = (after[0, shown] - middle).mean()
    return delays.astype(float), change


def draw_windows(settings: Settings, directory: Path) -> None:
    """Draw the window of every registered rule, and of a rule of one's own where one is configured."""
    windows = {name: stdp_window(name) for name in rules.registered}
    configured = import_class("rule", settings.rule, Rule)
    if configured not in rules.registered.values():
        constants = {key: value for key, value in settings.rule.items() if key not in ("_target_", "name")}
        engine = "event" if configured.runs_on_event_engine() else "torch"
        windows[settings.rule["name"]] = stdp_window(configured, engine, **constants)
    figure = figures.stdp_windows(windows)
    png = figures.to_png(figure)
    write_atomically(directory / "stdp_windows.png", png)
    with Tracker(directory) as tracker:
        tracker.picture(0, "stdp_windows", png, figures.size_in_pixels(figure))
    print(f"STDP windows of {', '.join(windows)}: {directory / 'stdp_windows.png'}")
