"""Apply a learning rule alone to given spike trains: what it does to the weights, without a network."""

import importlib

import numpy as np

from stdp_run.config.build import build_rule, published_parameters
from stdp_run.config.schema import DTYPES, one_of, seed_check
from stdp_run.errors import UserError
from stdp_run.parameters import positive
from stdp_run.rules.base import Rule


def replay(
    rule: str | type[Rule] | Rule,
    pre: np.ndarray,
    post: np.ndarray,
    weight: np.ndarray,
    *,
    engine: str = "torch",
    dtype: str = "float64",
    threshold: np.ndarray | None = None,
    seed: int = 0,
    dt: float = 1.0,
    **parameters: float,
) -> np.ndarray:
    """Return the weights after every step, [T, E, I], of one image of T steps with the given spikes.

    Args:
        rule: a registered name or alias, or a rule class of one's own.
        pre: input spikes, 0/1 [T, I].
        post: excitatory spikes, 0/1 [T, E].
        weight: weights before the first step, [E, I]; whole numbers for an integer rule.
        engine: "torch" or "event".
        dtype: "float64" or "float32"; integer rules use int32.
        threshold: [T, E], each neuron's threshold after that step's neuron update; only integer rules look at it.
        seed: key of the stochastic rounding.
        dt: length of a step, ms.
        **parameters: constants by their names in the YAML; what is left out has the rule's published value.

    Raises:
        UserError: unknown rule, engine or parameter, or arrays whose shapes do not fit.
    """
    positive("dt", dt)
    seed_check("seed", seed)
    if np.ndim(weight) != 2:
        raise UserError(f"weight of shape {np.shape(weight)}: must be weight[E, I]")
    rule_class, known = published_parameters(rule, np.shape(weight)[1])
    values = build_rule(rule_class, {**known, **parameters}, dt, np.shape(weight)[1])
    one_of(*DTYPES)("dtype", dtype)
    one_of("torch", "event")("engine", engine)
    kind = np.dtype(np.int32 if rule_class.arithmetic == "int" else dtype)
    pre, post, weight = np.asarray(pre), np.asarray(post), np.asarray(weight)
    if threshold is None:
        threshold = np.zeros(post.shape)
    _check_shapes(pre, post, weight, np.asarray(threshold))
    threshold = np.asarray(threshold, np.int32 if rule_class.arithmetic == "int" else np.float64)
    _check_values(rule_class, pre, post, weight)
    if engine == "torch":
        return _replay_torch(rule_class, values, pre, post, weight.astype(kind), threshold, seed)
    if not rule_class.runs_on_event_engine():
        raise UserError.bad_value("engine", engine, f"torch: {rule_class.__name__} has no compiled spelling")
    return _replay_event(rule_class, values, pre, post, weight.astype(kind), threshold, seed)


def _check_shapes(pre, post, weight, threshold) -> None:
    expected = (pre.shape[:1] + weight.shape[1:], pre.shape[:1] + weight.shape[:1])
    if weight.ndim == 2 and (pre.shape, post.shape, threshold.shape) == (*expected, expected[1]):
        return
    shapes = f"pre {pre.shape}, post {post.shape}, weight {weight.shape}, threshold {threshold.shape}"
    raise UserError(f"shapes do not fit: {shapes}; must be pre[T, I], post[T, E], weight[E, I], threshold[T, E]")


def _check_values(rule: type[Rule], pre, post, weight) -> None:
    for name, spikes in (("pre", pre), ("post", post)):
        if not np.isin(spikes, (0, 1)).all():
            raise UserError(f"{name}: spikes must be 0 or 1")
    if rule.arithmetic == "int" and not (weight == np.floor(weight)).all():
        raise UserError(f"weight: must be whole numbers for {rule.__name__}")
    if "w_norm" in rule.parameters and (weight < 0).any():
        raise UserError(f"weight: must be 0 or more for {rule.__name__}, whose rows are scaled to a norm")


def _replay_torch(rule, values, pre, post, weight, threshold, seed) -> np.ndarray:
    import torch

    from stdp_run import network

    persistent = {name: torch.from_numpy(array) for name, array in rule.persistent(values, weight).items()}
    weights = torch.from_numpy(weight)
    spikes_in, spikes_out = torch.from_numpy(pre).to(weights.dtype), torch.from_numpy(post).to(weights.dtype)
    thresholds = torch.from_numpy(threshold)
    image_index = torch.zeros(1, dtype=torch.int64)
    traces = rule.start(values, persistent, torch.zeros_like(spikes_in[:1]), torch.zeros_like(spikes_out[:1]))
    history = []
    for t in range(len(pre)):
        step = slice(t, t + 1)
        moment = network.Moment(
            pre=spikes_in[step],
            post=spikes_out[step],
            theta=thresholds[step],
            rate=1,
            last=t == len(pre) - 1,
            reduce=network.Reduction("sum"),
            words=lambda t=t: network.rounding_words(weight.shape, image_index, 0, t, seed),
        )
        weights, traces = rule.step(values, moment, weights, traces)
        history.append(weights.numpy())
    return np.stack(history) if history else np.empty((0, *weight.shape), weight.dtype)


def _replay_event(rule, values, pre, post, weight, threshold, seed) -> np.ndarray:
    from stdp_run.engines.event.engine import Instant, compile_replay
    from stdp_run.parameters import cast

    values = cast(values, weight.dtype.type)
    input_major = np.ascontiguousarray(weight.T)
    memory = importlib.import_module(rule.event_module).allocate(rule, values, input_major, len(weight))
    for name, array in rule.persistent(values, weight).items():
        getattr(memory, name)[:] = array
    history = np.empty((len(pre), *weight.shape), weight.dtype)
    compile_replay(rule)(
        values,
        np.ascontiguousarray(pre, np.uint8),
        np.ascontiguousarray(threshold),
        np.ascontiguousarray(post, np.uint8),
        input_major,
        memory,
        Instant(0, False, 0, 0, seed),
        history,
        np.arange(weight.shape[1], dtype=np.uint32),
        np.zeros(weight.shape[1], np.uint32),
        np.zeros(len(weight), np.int32),
    )
    return history
