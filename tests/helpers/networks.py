"""Small networks that spike often, and what tests of the engines do with them."""

from functools import cache

import numpy as np
import pytest
import torch

from helpers import oracle
from stdp_run import neurons
from stdp_run.config.build import build_rule, published, published_parameters
from stdp_run.datasets import MNIST
from stdp_run.engines.dense.engine import TorchEngine
from stdp_run.engines.event.engine import EventEngine
from stdp_run.network import Encoder, Model, NetworkState, initial_state
from stdp_run.parameters import check_parameters, named_parameters
from stdp_run.rules.spike import OCCASIONS

# Constants under which a small network on 14 x 14 pixels and 60 steps spikes often, and weights reach w_max.
_LEARN_FAST = {"a_post": 0.1, "a_pre": 3e-3}
_FLOAT_NORM = {"w_norm": 30.0, "w_max": 0.5}
# alif_stdp has its threshold at 2 instead of 13 above rest, so weights and inhibition are about a sixth.
ALIF = {"w_ie": 20.0, "w_init_max": 0.06}
_ALIF_RULE = {"a_post": 0.02, "a_pre": 3e-3, "w_norm": 6.0, "w_max": 0.1}
# (rule, neuron group) -> what differs from their published constants
PAIRS: dict[tuple[str, str], tuple[dict, dict]] = {
    ("nearest_online", "lif_stdp"): (_LEARN_FAST | _FLOAT_NORM, {}),
    ("nearest_online", "diehl_cook"): (_LEARN_FAST | _FLOAT_NORM, {}),
    ("nearest_online", "alif_stdp"): (_ALIF_RULE, ALIF),
    ("full_online", "lif_stdp"): (_LEARN_FAST | _FLOAT_NORM, {}),
    ("meta_nearest_online", "lif_stdp"): (_LEARN_FAST, {}),
    ("meta_nearest_online", "diehl_cook"): (_LEARN_FAST, {}),
    ("triplet", "lif_stdp"): (_LEARN_FAST | _FLOAT_NORM, {}),
    ("power_law", "lif_stdp"): ({"eta": 0.1} | _FLOAT_NORM, {}),
    ("power_law_pre_post", "lif_stdp"): ({"eta_post": 0.1, "eta_pre": 3e-3} | _FLOAT_NORM, {}),
    ("exponential", "lif_stdp"): ({"eta": 0.1, "normalise": "every_step"} | _FLOAT_NORM, {}),
    ("weight_dependent", "lif_stdp"): ({"a_post": 0.5, "a_pre": 3e-3} | _FLOAT_NORM, {}),
    ("rectangular", "lif_stdp"): ({"t_ltp": 5.0, "a_plus": 0.1, "a_minus": 0.01, "w_max": 0.5}, {}),
    ("multiplicative", "lif_stdp"): ({"a_plus": 0.4, "a_minus": 0.1, "w_max": 0.5}, {}),
    ("post_pre_int", "diehl_cook_int"): (
        {"nu1": 1400, "w_max": 40, "max_threshold": 600},
        {"max_threshold": 600},
    ),
}
ONE_PER_RULE = [
    ("nearest_online", "diehl_cook"),
    ("full_online", "lif_stdp"),
    ("meta_nearest_online", "diehl_cook"),
    ("power_law_pre_post", "lif_stdp"),  # the frame that the other rules of the literature share
    ("post_pre_int", "diehl_cook_int"),
]
# A rule and a neuron group do not know of each other, so not every pair is there. Compiling one takes seconds: without
# these, which `-m slow` runs, one rule of each arithmetic is there still.
_SLOW = [
    ("nearest_online", "lif_stdp"),
    ("nearest_online", "alif_stdp"),
    ("full_online", "lif_stdp"),
    ("meta_nearest_online", "lif_stdp"),
    ("meta_nearest_online", "diehl_cook"),
    *((rule, "lif_stdp") for rule in ("triplet", "power_law", "power_law_pre_post", "exponential", "weight_dependent")),
    *((rule, "lif_stdp") for rule in ("rectangular", "multiplicative")),
]
ENGINES = {"torch": TorchEngine, "event": EventEngine}
N_LEARNED = 20
EPOCH = 1


def each_of(pairs):
    """Run a test with each of some pairs."""
    marked = [pytest.param(pair, marks=pytest.mark.slow) if pair in _SLOW else pair for pair in pairs]
    return pytest.mark.parametrize("pair", marked, ids="-".join)


all_pairs, one_pair_per_rule = each_of(PAIRS), each_of(ONE_PER_RULE)
both_engines = pytest.mark.parametrize("engine", ENGINES)


@cache
def mnist(stride: int = 1) -> np.ndarray:
    """Return the first 400 training images, of every stride-th row and column, [400, I]."""
    images = MNIST().load().train.pixels[:400]
    return np.ascontiguousarray(images[:, ::stride, ::stride]).reshape(400, -1)


def make_model(
    pair, n_inputs=196, n_exc=17, n_steps=60, rate_hz=500.0, *, dtype="float64", seed=3, rule=(), neuron=(), **options
) -> Model:
    """Return a model with the pair's constants; `rule` and `neuron` change some more, `options` the model's own."""
    rule_class, constants = published_parameters(pair[0], n_inputs)
    group = neurons[pair[1]]
    of_rule, of_neuron = PAIRS[pair]
    # Checked, as a run does it: that also sets the order of the fields, and so which compiled code is found.
    of_group = check_parameters("neuron", group.parameters, published("neuron", pair[1]) | of_neuron | dict(neuron))
    return Model(
        n_inputs=n_inputs,
        n_exc=n_exc,
        rule=rule_class,
        rule_parameters=build_rule(rule_class, constants | of_rule | dict(rule), 1.0, n_inputs),
        neuron=group,
        neuron_parameters=named_parameters(group, of_group, 1.0),
        encoder=Encoder(n_steps, rate_hz, 1.0),
        seed=seed,
        dtype=dtype,
        **options,
    )


def make(engine: str, model: Model, state: NetworkState | None = None, **options):
    """Return an engine of that name, from the state, or from the start."""
    return ENGINES[engine](model, state or initial_state(model), **options)


def learn(engine, images, first=0, rates=None) -> np.ndarray:
    """Learn from images whose places begin at `first`; return the counts."""
    index = np.arange(first, first + len(images))
    # A rate that falls from image to image; integer rules take no other than 1, and ignore it.
    rates = np.linspace(1, 0.4, 400)[index] if rates is None else rates
    return engine.learn(images, index, EPOCH, rates)


def count(engine, images, first=0) -> np.ndarray:
    """Count the spikes of images whose places begin at `first`, with learning off."""
    return engine.count_spikes(images, np.arange(first, first + len(images)))


@cache
def learned(engine: str, pair) -> tuple[np.ndarray, NetworkState]:
    """Return what a small network has counted and become after `N_LEARNED` images."""
    network = make(engine, make_model(pair))
    with torch.no_grad():
        counts = learn(network, mnist(2)[:N_LEARNED])
    return counts, network.state()


def same_bits(first: NetworkState, second: NetworkState) -> bool:
    """Return whether two states are the same to the last bit."""
    a, b = first.arrays(), second.arrays()
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes() for name in a
    )


def largest_difference(first: NetworkState, second: NetworkState) -> float:
    """Return the largest difference between two numbers of the same place in two states."""
    a, b = first.arrays(), second.arrays()
    assert a.keys() == b.keys()
    return max(np.abs(a[name].astype(np.float64) - b[name]).max() for name in a)


def plain_network(pair, model: Model, state: NetworkState) -> oracle.Network:
    """Return the plain-loop network with the model's constants."""
    p, q = model.neuron_parameters, model.rule_parameters
    constants = {name: getattr(q, name) for name in model.rule.parameters}
    if "normalise" in constants:
        constants["normalise"] = OCCASIONS[q.normalise]
    rule = oracle.RULES[pair[0]](state.weight.tolist(), **constants)
    n = range(model.n_exc)
    if pair[1] == "diehl_cook_int":
        excitatory = [oracle.IntegerNeuron(p.max_threshold) for _ in n]
        inhibitory = [oracle.IntegerInhibitory() for _ in n]
        return oracle.Network(rule, excitatory, inhibitory, p.w_ei, p.w_ie, model.k_winners)
    group = oracle.Alif if pair[1] == "alif_stdp" else oracle.Lif
    return oracle.Network(
        rule,
        [group(p.refractory) for _ in n],
        [oracle.LifInhibitory(p.inhibitory_refractory) for _ in n],
        p.w_ei,
        p.w_ie,
        model.k_winners,
    )
