"""STDP windows: how much a pair of spikes changes a weight, by the time between them, as `replay` finds it."""

from typing import Any

import numpy as np

from stdp_run import rules
from stdp_run.commands import Invocation
from stdp_run.config.build import import_class, published_parameters
from stdp_run.config.schema import Settings
from stdp_run.engines.replay import replay
from stdp_run.errors import UserError
from stdp_run.files import write_atomically
from stdp_run.reporting import plots
from stdp_run.rules.base import Rule
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.tracking import Tracker

LONGEST_MS = 100
N_INPUTS = 500


def stdp_window(rule: str | type[Rule], engine: str = "event", **constants: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return (time from input to output spike in ms [K], mean weight change [K]) for one pair of spikes each.

    One neuron has 500 synapses of equal weight, in the middle of its bounds and at its norm. A float rule gets a spike
    at one of them, so that scaling the row hardly counts; a rule with stochastic rounding at all, for the mean.

    Args:
        rule: a registered name, or a rule class of one's own.
        engine: "event" or "torch".
        **constants: of the rule; what is left out has its published value.
    """
    rule_class, known = published_parameters(rule, N_INPUTS)
    w_max, integer = {**known, **constants}["w_max"], rule_class.arithmetic == "int"
    middle = w_max // 2 if integer else w_max / 2
    if "w_norm" in rule_class.parameters:
        constants["w_norm"] = middle * N_INPUTS
    stimulated = slice(None) if integer else slice(0, 1)
    delays = range(-LONGEST_MS, LONGEST_MS + 1)
    change = np.empty(len(delays))
    for k, delay in enumerate(delays):
        pre, post = np.zeros((LONGEST_MS + 2, N_INPUTS), np.uint8), np.zeros((LONGEST_MS + 2, 1), np.uint8)
        pre[max(0, -delay), stimulated] = 1
        post[max(0, delay), 0] = 1
        n_steps = abs(delay) + 2
        weight = np.full((1, N_INPUTS), middle)
        after = replay(rule, pre[:n_steps], post[:n_steps], weight, engine=engine, **constants)[-1]
        change[k] = (after[0, stimulated] - middle).mean()
    return np.array(delays, float), change


def run(settings: Settings, invocation: Invocation) -> float:
    """Plot the window of every registered rule, and of a rule of the user's own where one is configured.

    Raises:
        UserError: the directory holds a run.
    """
    directory = RunDirectory(invocation.directory)
    with directory.locked(wait=invocation.in_sweep):
        if directory.mode():
            raise UserError.bad_value("hydra.run.dir", directory.path, "a directory without a run or an evaluation")
        windows = {name: stdp_window(name) for name in rules.registered}
        configured = import_class("rule", settings.rule.target, Rule)
        if configured not in rules.registered.values():
            windows[settings.rule.name] = stdp_window(configured, "torch", **settings.rule.constants)
        figure = plots.stdp_windows(windows)
        png, path = plots.to_png(figure), directory.path / "stdp_windows.png"
        invocation.accepted(True)
        write_atomically(path, png)
        with Tracker(directory.path) as tracker:
            tracker.plot(0, "stdp_windows", png, plots.size_in_pixels(figure))
    print(f"STDP windows of {', '.join(windows)}: {path}")
    return 0.0
