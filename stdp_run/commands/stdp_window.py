"""STDP windows: how much a pair of spikes changes a weight, by the time between them, as `replay` finds it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stdp_run import rules
from stdp_run.commands import Invocation
from stdp_run.config.build import build_rule, published_parameters
from stdp_run.config.own_code import import_class
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

    One neuron has 500 synapses of equal weight, at its norm and in the middle of its bounds (0 to 1 where a rule has no
    w_max). A float rule gets a spike at one of them, so that scaling the row hardly counts; a rule with stochastic
    rounding at all, for the mean.

    Args:
        rule: a registered name, or a rule class of one's own.
        engine: "event" or "torch".
        **constants: of the rule; what is left out has its published value.
    """
    rule_class, known = published_parameters(rule, N_INPUTS)
    w_max, integer = {**known, **constants}.get("w_max", 1), rule_class.arithmetic == "int"
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
    """Plot the window of every registered rule as published, and that of the rule configured as it is configured.

    Raises:
        UserError: the directory holds a run, or a constant is not allowed.
    """
    directory = RunDirectory(invocation.directory)
    with directory.locked(wait=invocation.in_sweep):
        if directory.mode():
            raise UserError.bad_value("hydra.run.dir", directory.path, "a directory without a run or an evaluation")
        windows, drawn = _windows(settings)
        figure = plots.stdp_windows(windows)
        png, path = plots.to_png(figure), directory.path / "stdp_windows.png"
        invocation.accepted(True)
        write_atomically(path, png)
        with Tracker(directory.path) as tracker:
            tracker.plot(0, "stdp_windows", png, plots.size_in_pixels(figure))
    print(f"STDP windows of {drawn}: {path}")
    return 0.0


def _windows(settings: Settings) -> tuple[dict[str, plots.Window], str]:
    """Return what is plotted, by the name of the rule, and in words."""
    name, constants, n_inputs = settings.rule.name, settings.rule.constants, settings.n_inputs
    rule = import_class("rule", settings.rule.target, Rule, settings.config_dir)
    build_rule(rule, constants, settings.encoder.dt, n_inputs)  # refuses what is not allowed
    windows = {name: _window(rule) for name, rule in rules.registered.items()}
    is_own, changed = rule not in rules.registered.values(), _changed(rule, constants, n_inputs)
    if not (is_own or changed):
        return windows, f"{', '.join(windows)} as published"
    others = ", ".join(other for other in windows if other != name)
    published = None if is_own else windows[name].change
    window = _window(rule, "torch" if is_own else "event", **constants)
    windows[name] = window._replace(published=published, constants=changed)
    return windows, f"{name} with {changed}; {others} as published"


def _window(rule: type[Rule], engine: str = "event", **constants: Any) -> plots.Window:
    """Return the window of a rule in % of its largest weight, if it has one."""
    w_max = {**published_parameters(rule, N_INPUTS)[1], **constants}.get("w_max")
    delays, change = stdp_window(rule, engine, **constants)
    mean = "mean " if rule.arithmetic == "int" else ""  # over the synapses, of stochastic rounding
    if not w_max:
        return plots.Window(delays, change, f"{mean}weight change")
    return plots.Window(delays, 100 * change / w_max, f"{mean}weight change (% of w_max = {w_max:g})")


def _changed(rule: type[Rule], constants: Mapping[str, Any], n_inputs: int) -> str:
    """Return the constants of a rule that are not as published: all of a rule of one's own; empty if there are none.

    The norm of the weights is left out, as a window does not depend on it.
    """
    _, published = published_parameters(rule, n_inputs)
    changed = {key: value for key, value in constants.items() if key != "w_norm" and value != published.get(key)}
    before = {key: f" (published {value:g})" for key, value in published.items()}
    return ", ".join(f"{key}={value:g}{before.get(key, '')}" for key, value in changed.items())
