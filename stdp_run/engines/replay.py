"""Applies a learning rule to given spike trains, without a network."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from stdp_run.config.build import build_rule, published_parameters
from stdp_run.config.schema import DTYPES
from stdp_run.config.sections import one_of, seed_check
from stdp_run.encoding import rounding_words
from stdp_run.engines.base import Array
from stdp_run.errors import UserError
from stdp_run.parameters import positive
from stdp_run.rules.base import Reduction, Rule, Step


class ReplayOptions(NamedTuple):
    """The options of `replay`."""

    dtype: str = "float64"  #: "float64" or "float32"; integer rules use int32
    threshold: Any = None  #: [T, E] threshold of each neuron at the end of each step; only integer rules use it
    seed: int = 0  #: key of the stochastic rounding
    dt: float = 1.0  #: length of a step, ms


def replay(
    rule: str | type[Rule] | Rule, pre: Array, post: Array, weight: Array, *, engine: str = "torch", **more: Any
) -> Array:
    """Apply a rule to the spikes of one image of T steps; return the weights after every step, [T, E, I].

    Example::

        replay("full_online", pre, post, weight, dtype="float32", dt=0.5, a_post=0.02)

    Args:
        rule: a registered name or alias, or a custom rule class.
        pre: input spikes, 0/1 [T, I].
        post: excitatory spikes, 0/1 [T, E].
        weight: weights before the first step, [E, I]; whole numbers for an integer rule.
        engine: "torch" or "event".
        **more: fields of `ReplayOptions`, and constants of the rule as in its YAML; others have their published values.

    Raises:
        UserError: unknown rule, engine or parameter, or arrays whose shapes or values do not fit.
    """
    options = ReplayOptions(**{name: more.pop(name) for name in ReplayOptions._fields if name in more})
    positive("dt", options.dt)
    seed_check("seed", options.seed)
    one_of(*DTYPES)("dtype", options.dtype)
    one_of("torch", "event")("engine", engine)
    pre, post, weight = np.asarray(pre), np.asarray(post), np.asarray(weight)
    threshold = np.zeros(post.shape) if options.threshold is None else np.asarray(options.threshold)
    _check_shapes(pre, post, weight, threshold)
    rule_class, known = published_parameters(rule, weight.shape[1])
    values = build_rule(rule_class, {**known, **more}, options.dt, weight.shape[1])
    _check_values(rule_class, pre, post, weight)
    integer = rule_class.arithmetic == "int"
    weight = weight.astype(np.int32 if integer else options.dtype)
    arrays = pre, post, weight, threshold.astype(np.int32 if integer else np.float64)
    if engine == "torch":
        return _replay_on_torch(rule_class, values, arrays, options.seed)
    from stdp_run.engines.event.learning import implementation_of
    from stdp_run.engines.event.rule_replay import replay_on_event_engine

    if implementation_of(rule_class) is None:
        raise UserError.bad_value("engine", engine, f"torch: {rule_class.__name__} has no compiled implementation")
    return replay_on_event_engine(rule_class, values, *arrays, options.seed)


def _check_shapes(pre: Array, post: Array, weight: Array, threshold: Array) -> None:
    n_steps, (n_exc, n_inputs) = pre.shape[:1], weight.shape if weight.ndim == 2 else (-1, -1)
    if pre.shape != (*n_steps, n_inputs) or {post.shape, threshold.shape} != {(*n_steps, n_exc)}:
        shapes = f"pre {pre.shape}, post {post.shape}, weight {weight.shape}, threshold {threshold.shape}"
        raise UserError(f"shapes do not fit: {shapes}; must be pre[T, I], post[T, E], weight[E, I], threshold[T, E]")


def _check_values(rule: type[Rule], pre: Array, post: Array, weight: Array) -> None:
    for name, spikes in {"pre": pre, "post": post}.items():
        if not np.isin(spikes, (0, 1)).all():
            raise UserError(f"{name}: spikes must be 0 or 1")
    if rule.arithmetic == "int" and not (weight == np.floor(weight)).all():
        raise UserError(f"weight: must be whole numbers for {rule.__name__}")
    if "w_norm" in rule.parameters and (weight < 0).any():
        raise UserError(f"weight: must be 0 or more for {rule.__name__}, whose rows are scaled to a norm")


def _replay_on_torch(rule: type[Rule], p: Any, arrays: tuple[Array, ...], seed: int) -> Array:
    import torch

    pre, post, weight, threshold = arrays
    weights, index, reduce = torch.from_numpy(weight), torch.zeros(1, dtype=torch.int64), Reduction("sum")
    # Each step is a batch of one image.
    pre_steps, post_steps = (torch.from_numpy(spikes).to(weights.dtype)[:, None] for spikes in (pre, post))
    thresholds = torch.from_numpy(threshold)[:, None]
    kept = {name: torch.from_numpy(array) for name, array in rule.persistent(p, weight).items()}
    traces = rule.start(p, kept, weights.new_zeros((1, pre.shape[1])), weights.new_zeros((1, post.shape[1])))
    weights, history = rule.begin(p, weights), np.empty((len(pre), *weight.shape), weight.dtype)
    for t in range(len(pre)):
        words, last = partial(rounding_words, weight.shape, index, 0, t, seed), t == len(pre) - 1
        step = Step(pre_steps[t], post_steps[t], thresholds[t], 1, last, reduce, words)
        weights, traces = rule.step(p, step, weights, traces)
        history[t] = weights.numpy()
    return history
