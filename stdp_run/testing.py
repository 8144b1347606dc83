"""Checks of custom rules and neuron groups, in the manner of scikit-learn's `check_estimator`.

Each check runs a class on both engines, in float64 and float32. It stops at the first mistake::

    from stdp_run.testing import check_rule

    check_rule(Burst, a_plus=0.01, a_minus=0.01, a_pre=1e-4, t_ltp=20, tau_post=20, tau_burst=40)
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from stdp_run import neurons, rules
from stdp_run.config.build import build_rule, published
from stdp_run.encoding import Encoder
from stdp_run.engines.base import Array, Engine
from stdp_run.engines.event.learning import implementation_for, implementation_of
from stdp_run.engines.replay import replay
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.errors import UserError
from stdp_run.network import Model, NetworkState, initial_state
from stdp_run.neurons import ConductanceGroup, NeuronGroup
from stdp_run.parameters import check_parameters, named_parameters
from stdp_run.rules import PairRule, Rule, SpikeRule, Step
from stdp_run.rules.base import Reduction
from stdp_run.rules.spike import BEFORE_PRESENTATION, EVERY_STEP, LAST_STEP

N_INPUTS, N_EXC, N_STEPS, N_IMAGES, SEED, EPOCH = 60, 5, 40, 6, 1, 1
FIRST_PART = 3  # images before a network is stopped and resumed
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}


def check_rule(rule: type[Rule], **constants: Any) -> None:
    """Raise an error that names the first mistake of a custom rule; takes seconds, mostly to compile.

    The functions of a `SpikeRule` are compared with plain loops over synapses. Every rule learns in a small network:
    the engines must agree, a resumed network must equal the uninterrupted one, and images of a batch must not mix.

    Args:
        rule: a class derived from `stdp_run.rules.Rule`.
        **constants: constants of the rule as in its YAML; others have the values of the nearest rule of the package.

    Raises:
        AssertionError: the rule computes something else than the equations of its frame.
        UserError: a constant is missing or wrong, or an engine refuses the class.
    """
    constants = _completed(rule, Rule, constants)
    p = build_rule(rule, constants, 1.0, N_INPUTS)
    rule.check(p)
    if issubclass(rule, SpikeRule):
        _check_functions_of_rule(rule, p)
        if next(parent for parent in rule.__mro__ if "step" in vars(parent)) in (SpikeRule, PairRule):
            _check_against_loops(rule, p, constants)
    _check_batch(rule, p)
    group = neurons.registered[rule.neuron]
    of_group = named_parameters(group, published("neuron", rule.neuron, N_INPUTS), 1.0)
    for dtype in _dtypes(rule):
        network = _model((rule, p, group, of_group), 1.0, dtype)
        _check_weights(rule, p, _check_network(rule, _lively(rule, network)), initial_state(network).weight)


def check_neuron(group: type[NeuronGroup], **constants: Any) -> None:
    """Raise an error that names the first mistake of a custom neuron group; takes seconds, mostly to compile.

    Its functions are called for each neuron alone. In a small network, with learning on and off, the engines must
    agree, and a resumed network must equal the uninterrupted one.

    Args:
        group: a class derived from `stdp_run.neurons.NeuronGroup`.
        **constants: constants of the group as in its YAML; others have the values of the nearest group of the package.

    Raises:
        AssertionError: a function is not elementwise, or the networks differ.
        UserError: a constant is missing or wrong, or an engine refuses the class.
    """
    constants = _completed(group, NeuronGroup, constants)
    dt_ms = 0.5 if group.runs_on else 1.0
    p = named_parameters(group, check_parameters("neuron", group.parameters, constants), dt_ms)
    group.check(p)
    name, changed = ("post_pre_int", {}) if group.arithmetic == "int" else ("nearest_online", {"normalise": "never"})
    rule = rules.registered[name]
    of_rule = build_rule(rule, _completed(rule, Rule, changed), dt_ms, N_INPUTS)
    for dtype in _dtypes(group):
        model = _lively(group, _model((rule, of_rule, group, p), dt_ms, dtype))
        _check_functions_of_group(model)
        _check_network(group, model)


def _require(holds: Any, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)


def _dtypes(cls: Any) -> tuple[str, ...]:
    return ("float64",) if cls.arithmetic == "int" else tuple(TOLERANCE)


def _completed(cls: Any, base: type[Rule] | type[NeuronGroup], given: dict[str, Any]) -> dict[str, Any]:
    """Return `given` with the published constants of the nearest registered class, for keys that `cls` declares."""
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"{cls!r}: must be a class derived from {base.__module__}.{base.__name__}")
    section, registry, default = "rule", rules.registered, "nearest_online"
    if base is NeuronGroup:
        section, registry = "neuron", neurons.registered
        default = "diehl_cook_2015" if issubclass(cls, ConductanceGroup) else "lif_stdp"
    names = (name for parent in cls.mro() for name, known in registry.items() if known is parent)
    defaults = published(section, next(names, default), N_INPUTS)
    return {key: value for key, value in defaults.items() if key in cls.parameters} | given


def _check_functions_of_rule(rule: type[SpikeRule], p: Any) -> None:
    """Check the functions of a rule with the traces of random spikes, for both types of weights."""
    rng = np.random.default_rng(SEED)
    for dtype in (torch.float64, torch.float32):
        check = partial(_check_elementwise, rule, dtypes=(dtype,))
        w = torch.linspace(0, p.w_max, N_INPUTS, dtype=dtype)
        x, y, y2 = w * 0 + rule.start_pre(p), w * 0, w * 0
        for spike in torch.from_numpy(rng.random((N_STEPS // 4, N_INPUTS)) < 0.3).to(dtype):
            x = check("pre_trace", partial(rule.pre_trace, p), (x, spike))
            y = check("post_trace", partial(rule.post_trace, p), (y, spike.flip(0)))
            for name in ("at_input", "at_output"):
                change = check(name, partial(getattr(rule, name), p), (w, x, y, y2))
                skipped = name == "at_input" and not rule.depresses(p) and change.any()
                _require(not skipped, f"{rule.__name__}.depresses is False, but at_input is not 0 everywhere")
            y2 = check("second_trace", partial(rule.second_trace, p), (y2, spike.flip(0)))


def _check_functions_of_group(model: Model) -> None:
    """Check the functions of a neuron group with the arguments that they have in a small network."""
    group, calls = model.neuron, []

    def recorded(name: str) -> Any:
        def function(*arguments: Any) -> tuple:
            calls.append((name, arguments))
            return getattr(group, name)(*arguments)

        return staticmethod(function)

    spy = type(group.__name__, (group,), {name: recorded(name) for name in ("excitatory", "inhibitory")})
    engine = _engine("torch", replace(model, neuron=spy))
    _learn(engine)
    _count(engine)
    for name, arguments in calls[:: len(calls) // 50 | 1]:
        fixed = 2 if name == "excitatory" else 1  # p, learning
        state = tuple(each.flatten()[:10] for each in arguments[fixed:])
        dtypes = (torch.bool, *(each.dtype for each in state[-3 if name == "excitatory" else -2 :]))
        theta = _check_elementwise(group, name, partial(getattr(group, name), *arguments[:fixed]), state, dtypes)
        frozen = name == "inhibitory" or arguments[1] or torch.equal(theta, state[-1])
        _require(frozen, f"{group.__name__}.excitatory changes theta with learning off")


def _check_elementwise(cls: type, name: str, function: Any, arguments: tuple, dtypes: tuple) -> torch.Tensor:
    """Require that a function computes each element alone and finite, with these types; return its last result."""
    together, again = _outputs(function(*arguments)), _outputs(function(*arguments))
    what = f"{cls.__name__}.{name}"
    _require(len(together) == len(dtypes), f"{what} returns {len(together)} values; must be {len(dtypes)}")
    for k, single in enumerate(zip(*arguments, strict=True)):
        call = f"{what}({', '.join(f'{value.item():.6g}' for value in single)})"
        for dtype, alone, all_, same in zip(dtypes, _outputs(function(*single)), together, again, strict=True):
            _require(alone.dtype == all_.dtype == dtype, f"{call} has the type {all_.dtype}; must be {dtype}")
            _require(all_.shape == arguments[0].shape, f"{call} has no value for each element")
            one, beside, later = alone.item(), all_[k].item(), same[k].item()
            _require(math.isfinite(one), f"{call} = {one}; must be finite")
            _require(beside == later, f"{call} = {beside:.6g}, and {later:.6g} when called again")
            tolerance = 1e-4 if dtype == torch.float32 else 1e-9
            close = math.isclose(one, beside, rel_tol=tolerance, abs_tol=tolerance / 100)
            _require(close, f"{call} = {one:.6g}, and {beside:.6g} beside other elements; must be elementwise")
    return together[-1]


def _outputs(result: Any) -> tuple:
    return tuple(map(torch.as_tensor, result if isinstance(result, tuple) else (result,)))


def _check_against_loops(rule: type[SpikeRule], p: Any, constants: dict[str, Any]) -> None:
    """Compare both engines with plain loops over the synapses of a few neurons."""
    rng = np.random.default_rng(SEED)
    pre, post = rng.random((N_STEPS, N_INPUTS)) < 0.1, rng.random((N_STEPS, N_EXC)) < 0.2
    pre[:, 0] = post[:, 0] = False
    weight = rng.uniform(0, p.w_max / 2, (N_EXC, N_INPUTS))
    expected = _weights_of_rule(rule, p, pre, post, weight)
    runs = [("torch", "float64"), ("torch", "float32")]
    runs += [("event", "float64")] if implementation_of(rule) else []
    for engine, dtype in runs:
        history = replay(rule, pre, post, weight, engine=engine, dtype=dtype, **constants)
        what = f"{rule.__name__} with engine={engine} and dtype={dtype}: weight[step, neuron, input]"
        _require_close(what, history, "plain loops", expected, TOLERANCE[dtype] * p.w_max)


def _weights_of_rule(rule: type[SpikeRule], p: Any, pre: Array, post: Array, weight: Array) -> Array:
    """Return the weights after every step, [T, E, I], by the equations of `stdp_run.rules.spike`."""
    number = partial(torch.tensor, dtype=torch.float64)
    rows = _bounded(p, [[number(w) for w in row] for row in weight], p.normalise == BEFORE_PRESENTATION)
    x = [number(rule.start_pre(p)) for _ in pre[0]]
    y, y2, history = [number(0) for _ in rows], [number(0) for _ in rows], []
    for t, (inputs, outputs) in enumerate(zip(pre.astype(float), post.astype(float), strict=True)):
        x = [rule.pre_trace(p, trace, number(spike)) for trace, spike in zip(x, inputs, strict=True)]
        y = [rule.post_trace(p, trace, number(spike)) for trace, spike in zip(y, outputs, strict=True)]
        decayed = [rule.second_trace(p, trace, number(0)) for trace in y2]
        y2 = [rule.second_trace(p, trace, number(spike)) for trace, spike in zip(y2, outputs, strict=True)]
        for i, row in enumerate(rows):
            for j in range(len(row)):
                if inputs[j]:
                    row[j] = row[j] + rule.at_input(p, row[j], x[j], y[i], decayed[i])
                if outputs[i]:
                    row[j] = row[j] + rule.at_output(p, row[j], x[j], y[i], decayed[i])
        rows = _bounded(p, rows, p.normalise == EVERY_STEP or (p.normalise == LAST_STEP and t == len(pre) - 1))
        history.append([[w.item() for w in row] for row in rows])
    return np.array(history)


def _bounded(p: Any, rows: list[list], normalise: bool) -> list[list]:
    factors = [p.w_norm / sum(map(abs, row)) if normalise and any(row) else 1.0 for row in rows]
    return [[(w * factor).clamp(0.0, p.w_max) for w in row] for row, factor in zip(rows, factors, strict=True)]


class _Recorder(Reduction):
    """Keeps the changes of a batch, and reduces them to none."""

    def __init__(self) -> None:
        super().__init__("sum")
        self.changes: list[torch.Tensor] = []

    def __call__(self, changes: torch.Tensor) -> torch.Tensor:
        self.changes.append(changes)
        return changes[0] * 0

    def outer(self, post: torch.Tensor, pre: torch.Tensor) -> torch.Tensor:
        return self(post[:, :, None] * pre[:, None, :])


def _check_batch(rule: type[Rule], p: Any) -> None:
    """Require that each image of a batch changes weights as it does alone."""
    rng, n_images, dtype = np.random.default_rng(SEED), 3, torch.int32 if rule.arithmetic == "int" else torch.float64
    weight = torch.from_numpy(rng.random((N_EXC, N_INPUTS)) * (30 if rule.arithmetic == "int" else 0.3)).to(dtype)
    pre, post = (torch.from_numpy(rng.random((N_STEPS, n_images, n)) < 0.2).to(dtype) for n in weight.shape[::-1])
    words = torch.from_numpy(rng.integers(0, 2**32, (2, n_images, *weight.shape)))
    together = _changes(rule, p, weight, (pre, post, words))
    for b in range(n_images):
        one = slice(b, b + 1)
        alone = _changes(rule, p, weight, (pre[:, one], post[:, one], words[:, one]))
        for batch, change in zip(together, alone, strict=True):
            what = f"{rule.__name__}.step: change[neuron, input] of image {b} in a batch"
            _require_close(what, batch[b].numpy(), "alone", change[0].numpy(), 1e-9)


def _changes(rule: type[Rule], p: Any, weight: torch.Tensor, spikes: tuple) -> list[torch.Tensor]:
    """Return the changes [B, E, I] that a rule reduces in each step of a batch, with weights held constant."""
    (pre, post, words), reduce = spikes, _Recorder()
    kept = {key: torch.from_numpy(array) for key, array in rule.persistent(p, weight.numpy()).items()}
    traces = rule.start(p, kept, pre[0] * 0, post[0] * 0)
    for t in range(N_STEPS):
        step = Step(pre[t], post[t], post[t] * 0, 1.0, t == N_STEPS - 1, reduce, lambda: tuple(words))
        arguments = {"weight": weight, **traces}
        before = {key: each.clone() for key, each in arguments.items()}
        after, traces = rule.step(p, step, weight, traces)
        written = [key for key, each in arguments.items() if not torch.equal(each, before[key])]
        _require(not written, f"{rule.__name__}.step writes into {', '.join(written)}; must return new tensors")
        kinds = [f"{list(each.shape)} of {each.dtype}" for each in (after, weight)]
        _require(kinds[0] == kinds[1], f"{rule.__name__}.step returns weights {kinds[0]}; must be {kinds[1]}")
    _require(reduce.changes, f"{rule.__name__}.step combines the changes of a batch without step.reduce")
    return reduce.changes


IMAGES = np.random.default_rng(SEED).integers(0, 256, (N_IMAGES, N_INPUTS), dtype=np.uint8)
IMAGES[np.random.default_rng(SEED + 1).random(IMAGES.shape) < 0.5] = 0


def _engine(name: str, model: Model, state: NetworkState | None = None) -> Engine:
    return make_engine(model, state or initial_state(model), EngineOptions(threads=1), (name, "cpu"))


def _learn(engine: Engine, first: int = 0, last: int = N_IMAGES) -> Array:
    index = np.arange(first, last)
    return engine.learn(IMAGES[index], index, EPOCH, np.linspace(1, 0.5, N_IMAGES)[index])


def _count(engine: Engine, first: int = 0, last: int = N_IMAGES) -> Array:
    return engine.count_spikes(IMAGES[first:last], np.arange(first, last))


def _model(parts: tuple[Any, Any, Any, Any], dt_ms: float, dtype: str) -> Model:
    """Return a small network; `parts` are (rule, its constants, neuron group, its constants)."""
    _, _, group, p = parts
    rest = max(30, round(getattr(p, "max_delay", 0) / dt_ms)) if group.runs_on else 0
    return Model(N_INPUTS, N_EXC, *parts, Encoder(N_STEPS, 0.0, dt_ms, rest_steps=rest), SEED, dtype)


def _lively(cls: type, model: Model) -> Model:
    """Return the model at the lowest rate of input spikes with two spikes per image."""
    for rate in (256.0, 512.0, 1024.0, 2048.0):
        faster = replace(model, encoder=replace(model.encoder, max_rate_hz=rate))
        if _learn(_engine("torch", faster)).sum() >= 2 * N_IMAGES:
            return faster
    raise AssertionError(f"{cls.__name__}: neurons of a small network do not spike even at {rate:g} Hz")


def _check_network(cls: Any, model: Model) -> dict[str, tuple]:
    """Learn from a few images on each engine, and compare; return (counts, counts without learning, state) of each."""
    results: dict[str, tuple] = {}
    for name in ("torch", "event") if implementation_for(model.rule, model.neuron) else ("torch",):
        what = f"{cls.__name__} with engine={name} and dtype={model.dtype}"
        engine, in_parts = _engine(name, model), _engine(name, model)
        counts, state = _learn(engine), engine.state()
        for key, array in state.arrays().items():
            _require(np.isfinite(array).all(), f"{what}: {key} is not finite")
        _learn(in_parts, 0, FIRST_PART)
        resumed = _engine(name, model, in_parts.state())
        for other, how in ((in_parts, "learning in two calls"), (resumed, "stopping and resuming")):
            _require(np.array_equal(_learn(other, FIRST_PART), counts[FIRST_PART:]), f"{what}: {how} changes spikes")
            for key, array in other.state().arrays().items():
                _require(np.array_equal(array, state.arrays()[key]), f"{what}: {how} changes {key}")
        off = _count(engine)
        split = np.concatenate([_count(engine, 0, FIRST_PART), _count(engine, FIRST_PART)])
        _require(np.array_equal(off, split), f"{what}: spikes of an image depend on images beside it")
        results[name] = counts, off, state
    if "event" in results and model.dtype == "float64":
        what, found, expected = f"{cls.__name__} with engine=event", results["event"], results["torch"]
        for kind, values, known in zip(("on", "off"), found, expected, strict=False):
            _require_close(f"{what}: spikes[image, neuron] with learning {kind}", values, "engine=torch", known, 0)
        for name, array in expected[2].arrays().items():
            _require_close(f"{what}: {name}", found[2].arrays()[name], "engine=torch", array, TOLERANCE["float64"])
    return results


def _check_weights(rule: type[Rule], p: Any, results: dict[str, tuple], initial: Array) -> None:
    """Require that weights have changed, within their bounds."""
    low, high = getattr(p, "w_min", 0), getattr(p, "w_max", np.inf)
    for _, _, state in results.values():
        weight = state.weight
        _require((weight != initial).any(), f"{rule.__name__} changes no weight of a small network")
        inside = weight.min() >= low and weight.max() <= high * (1 + 1e-6)
        found = f"{rule.__name__}: weights from {weight.min():g} to {weight.max():g}"
        _require(inside, f"{found}; must be from {low:g} to {high:g}")


def _require_close(what: str, values: Array, other: str, expected: Array, tolerance: float) -> None:
    """Require two arrays to agree; the error names the first element that differs."""
    values, expected = np.asarray(values, np.float64), np.asarray(expected, np.float64)
    differ = np.argwhere(~(np.abs(values - expected) <= tolerance * np.maximum(1, np.abs(expected))))
    if len(differ):
        k = tuple(differ[0].tolist())
        raise AssertionError(f"{what} {list(k)} is {values[k]:.6g}; {other}: {expected[k]:.6g}")
