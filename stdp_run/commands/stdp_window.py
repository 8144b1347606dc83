"""mode=stdp_window: plots STDP windows, the weight change by a pair of spikes as a function of the time between them.

A single pair does not show the effect of a second trace. For a rule with a second trace, the command also plots the
weight change by a pair in a train, as a function of the frequency of pairs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stdp_run import rules
from stdp_run.commands import Invocation
from stdp_run.config.build import build_rule, published_parameters
from stdp_run.config.custom_code import import_class
from stdp_run.config.schema import read_settings
from stdp_run.engines.replay import replay
from stdp_run.engines.selection import set_process_options
from stdp_run.files import write_atomically
from stdp_run.reporting import plots
from stdp_run.rules.base import Rule
from stdp_run.rules.spike import SpikeRule
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.tracking import Bars, Tracker

LONGEST_MS = 100
N_INPUTS = 500
DELAYS_AT_ONCE = 25
FREQUENCIES_HZ = tuple(range(5, 55, 5))
N_PAIRS = 5  # in a train; the last one is measured, after the traces have settled
PAIR_MS = 10  # between the spikes of a pair


def stdp_window(rule: str | type[Rule], engine: str = "event", **constants: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return (time from input to output spike in ms [K], mean weight change [K]) of single pairs of spikes.

    A neuron has 500 synapses. Their weights are equal, in the middle of the bounds (0 to 1 without w_max), and their
    sum is the norm. One synapse gets a spike, so normalisation has little effect. With stochastic rounding all synapses
    get a spike, and the result is the mean change.

    Args:
        rule: a registered name, or a custom rule class.
        engine: "event" or "torch".
        **constants: constants of the rule; others have their published values.
    """
    rule_class, known = published_parameters(rule, N_INPUTS)
    w_max, integer = {**known, **constants}.get("w_max", 1), rule_class.arithmetic == "int"
    middle = w_max // 2 if integer else w_max / 2
    if "w_norm" in rule_class.parameters:
        constants["w_norm"] = middle * N_INPUTS
    if "normalise" in rule_class.parameters:
        constants["normalise"] = "never"
    stimulated = slice(None) if integer else slice(0, 1)
    # The neurons of a `SpikeRule` do not affect each other, so each may have its own delay.
    at_once = DELAYS_AT_ONCE if issubclass(rule_class, SpikeRule) else 1
    delays, changes = np.arange(-LONGEST_MS, LONGEST_MS + 1), []
    for first in range(0, len(delays), at_once):
        some = delays[first : first + at_once]
        start = max(0, -some[0])
        pre, post = (np.zeros((start + max(0, some[-1]) + 2, n), np.uint8) for n in (N_INPUTS, len(some)))
        pre[start, stimulated] = 1
        post[start + some, np.arange(len(some))] = 1
        after = replay(rule, pre, post, np.full((len(some), N_INPUTS), middle), engine=engine, **constants)[-1]
        changes.append((after[:, stimulated] - middle).mean(axis=1))
    return delays.astype(float), np.concatenate(changes)


def change_by_frequency(rule: str | type[Rule], engine: str = "event", **constants: Any) -> tuple[np.ndarray, ...]:
    """Return (frequency of pairs in Hz [K], weight change by a pair with the input first [K], with the output first).

    The spikes of a pair are 10 ms apart, as in Pfister & Gerstner 2006; arguments as in `stdp_window`.
    """
    w_max = {**published_parameters(rule, 1)[1], **constants}.get("w_max", 1)
    constants |= {"normalise": "never", "w_norm": 1}
    change = np.empty((2, len(FREQUENCIES_HZ)))
    for k, frequency in enumerate(FREQUENCIES_HZ):
        starts = np.round(np.arange(N_PAIRS) * 1000 / frequency).astype(int)
        early, late = np.zeros((2, starts[-1] + PAIR_MS + 1, 1), np.uint8)
        early[starts] = late[starts + PAIR_MS] = 1
        for order, (pre, post) in enumerate([(early, late), (late, early)]):
            history = replay(rule, pre, post, np.full((1, 1), w_max / 2), engine=engine, **constants)[:, 0, 0]
            change[order, k] = history[-1] - history[starts[-2] + PAIR_MS]
    return np.array(FREQUENCIES_HZ, float), *change


def run(record: dict[str, Any], invocation: Invocation) -> float:
    """Plot the STDP windows of all rules, as published except for the configured one; return 0 or raise UserError."""
    settings, directory = read_settings(record), RunDirectory(invocation.directory)
    with directory.locked(wait=invocation.in_sweep):
        directory.record("stdp_window")
        name, constants = settings.rule.name, settings.rule.constants
        rule = import_class("rule", settings.rule.target, Rule)
        build_rule(rule, constants, settings.encoder.dt, settings.n_inputs)  # refuses bad constants
        set_process_options(settings.threads or 1, settings.tf32)
        bar = Bars(invocation.bars).open("STDP windows", len(rules.registered), unit=" rules")
        with invocation.accepted(), Tracker(directory.path) as tracker, bar:
            windows = {}
            for other, cls in rules.registered.items():
                windows[other] = _window(cls)
                bar.update()
            changed = _changed(rule, constants, settings.n_inputs)
            if changed or name not in windows:
                published = windows[name].change if name in windows else None
                windows[name] = _window(rule, **constants)._replace(published=published, constants=changed)
            every = {**rules.registered, name: rule}
            by_frequency = {other: _by_frequency(cls, constants if cls is rule else {}) for other, cls in every.items()}
            figure = plots.stdp_windows(windows, {other: each for other, each in by_frequency.items() if each})
            png, path = plots.to_png(figure), directory.path / "stdp_windows.png"
            write_atomically(path, png)
            tracker.plot(0, "stdp_windows", png)
    print(f"STDP windows of {', '.join(windows)} as published{f'; {name} with {changed}' if changed else ''}: {path}")
    return 0.0


def _window(rule: type[Rule], **constants: Any) -> plots.Window:
    """Return the window of a rule, in % of w_max if the rule has one."""
    w_max = {**published_parameters(rule, N_INPUTS)[1], **constants}.get("w_max")
    # Compiling pays only for rules that need a replay for each delay.
    is_compiled = rule in rules.registered.values() and not issubclass(rule, SpikeRule)
    delays, change = stdp_window(rule, "event" if is_compiled else "torch", **constants)
    mean = "mean " if rule.arithmetic == "int" else ""  # over synapses, since rounding is stochastic
    if not w_max:
        return plots.Window(delays, change, f"{mean}weight change")
    return plots.Window(delays, 100 * change / w_max, f"{mean}weight change (% of w_max = {w_max:g})")


def _by_frequency(rule: type[Rule], constants: Mapping[str, Any]) -> plots.ByFrequency | None:
    """Return the weight change by frequency of pairs, in % of w_max; None for a rule without a second trace."""
    if not issubclass(rule, SpikeRule) or rule.second_trace is SpikeRule.second_trace:
        return None
    percent = 100 / {**published_parameters(rule, 1)[1], **constants}["w_max"]
    frequency, pre_first, post_first = change_by_frequency(rule, "torch", **constants)
    return plots.ByFrequency(frequency, percent * pre_first, percent * post_first, PAIR_MS)


def _changed(rule: type[Rule], constants: Mapping[str, Any], n_inputs: int) -> str:
    """Return the constants that differ from the published ones as a text; for a custom rule, all constants.

    The text omits `w_norm` and `normalise`, because a window does not depend on them.
    """
    _, published = published_parameters(rule, n_inputs)
    numbers = {key: value for key, value in constants.items() if key not in ("w_norm", "normalise")}
    changed = {key: value for key, value in numbers.items() if value != published.get(key)}
    before = {key: f" (published {value:g})" for key, value in published.items() if key in numbers}
    return ", ".join(f"{key}={value:g}{before.get(key, '')}" for key, value in changed.items())
