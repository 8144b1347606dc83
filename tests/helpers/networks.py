"""Small networks that spike often, and what tests of the engines do with them."""

from functools import cache

import numpy as np
import pytest

from helpers import conductance_oracle, oracle
from stdp_run import neurons
from stdp_run.config.build import build_rule, published, published_parameters
from stdp_run.datasets import MNIST
from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING
from stdp_run.engines.dense.engine import TorchEngine
from stdp_run.engines.event.engine import EventEngine
from stdp_run.network import Encoder, Model, NetworkState, initial_state
from stdp_run.parameters import check_parameters, named_parameters
from stdp_run.rules.spike import OCCASIONS

# Constants under which a small network on 14 x 14 pixels and 60 steps spikes often, and weights reach w_max.
_LEARN_FAST = {"a_post": 0.1, "a_pre": 3e-3}
_FLOAT_NORM = {"w_norm": 30.0, "w_max": 0.5}
# Thresholds near rest and short refractory periods: several neurons fire in an image.
_EAGER = {"theta_start": 12.0, "theta_increment": 0.3, "w_ie": 3.0, "refractory": 4, "w_init_max": 0.6}
# (rule, neuron group) -> what differs from their published constants
PAIRS: dict[tuple[str, str], tuple[dict, dict]] = {
    ("nearest_online", "diehl_cook"): (_LEARN_FAST | _FLOAT_NORM, {}),
    ("nearest_online", "lif_stdp"): (_LEARN_FAST | _FLOAT_NORM, {}),
    ("full_online", "lif_stdp"): (_LEARN_FAST | _FLOAT_NORM, {}),
    ("meta_nearest_online", "diehl_cook"): (_LEARN_FAST, {}),
    ("power_law_pre_post", "lif_stdp"): ({"eta_post": 0.1, "eta_pre": 3e-3} | _FLOAT_NORM, {}),
    ("post_pre_int", "diehl_cook_int"): ({"nu1": 1400, "w_max": 40, "max_threshold": 600}, {"max_threshold": 600}),
    ("triplet", "diehl_cook_2015"): ({"a_post": 0.3, "a_pre": 0.01, "w_norm": 30.0}, _EAGER),
}
ONE_PER_RULE = [
    ("nearest_online", "diehl_cook"),
    ("full_online", "lif_stdp"),
    ("meta_nearest_online", "diehl_cook"),
    ("power_law_pre_post", "lif_stdp"),  # the frame that the other rules of the literature share
    ("post_pre_int", "diehl_cook_int"),
]
TRIPLET = ("triplet", "diehl_cook_2015")
# Compiling a pair for the event engine takes 5 to 20 s. Other pairs run with `-m slow`.
COMPILED_FAST = (("nearest_online", "diehl_cook"),)
ENGINES = {"torch": TorchEngine, "event": EventEngine}
EPOCH = 1


def each_of(pairs):
    """Run a test with each of some pairs."""
    marked = [pair if pair in COMPILED_FAST else pytest.param(pair, marks=pytest.mark.slow) for pair in pairs]
    return pytest.mark.parametrize("pair", marked, ids="-".join)


one_pair_per_rule = pytest.mark.parametrize("pair", ONE_PER_RULE, ids="-".join)
both_engines = pytest.mark.parametrize("engine", ENGINES)


@cache
def mnist(stride: int = 1) -> np.ndarray:
    """Return the first 400 training images, of every stride-th row and column, [400, I]."""
    images = MNIST().load().train.pixels[:400]
    return np.ascontiguousarray(images[:, ::stride, ::stride]).reshape(400, -1)


@cache
def pictures(n_inputs: int, n_images: int = 100) -> np.ndarray:
    """Return random images [N, I]. In each image most pixels are black, and three in ten are black in all images."""
    random = np.random.RandomState(0)  # its numbers stay the same in every version of NumPy
    used, spots = random.random_sample(n_inputs) < 0.7, random.random_sample((n_images, n_inputs)) < 0.4
    return (random.randint(0, 256, (n_images, n_inputs)) * (used & spots)).astype(np.uint8)


def make_model(
    pair, n_inputs=196, n_exc=17, n_steps=60, rate_hz=500.0, *, dtype="float64", seed=3, rule=(), neuron=(), **options
) -> Model:
    """Return a model with the pair's constants; `rule` and `neuron` change some more, `options` the model's own."""
    rule_class, constants = published_parameters(pair[0], n_inputs)
    group = neurons[pair[1]]
    of_rule, of_neuron = PAIRS[pair]
    dt, encoder = 1.0, {}
    if group.runs_on:
        dt, encoder = 0.5, {"min_spikes": 6, "rate_step_hz": 100.0, "max_repeats": 2, "rest_steps": 60}
    # Checked, as a run does it: that also sets the order of the fields, and so which compiled code is found.
    of_group = check_parameters("neuron", group.parameters, published("neuron", pair[1]) | of_neuron | dict(neuron))
    return Model(
        n_inputs=n_inputs,
        n_exc=n_exc,
        rule=rule_class,
        rule_parameters=build_rule(rule_class, constants | of_rule | dict(rule), dt, n_inputs),
        neuron=group,
        neuron_parameters=named_parameters(group, of_group, dt),
        encoder=Encoder(n_steps, rate_hz, dt, **encoder | options.pop("encoder", {})),
        seed=seed,
        dtype=dtype,
        **options,
    )


def make(engine: str, model: Model, state: NetworkState | None = None, **options):
    """Return an engine of that name, from the state, or from the start."""
    return ENGINES[engine](model, state or initial_state(model), **options)


def learn(engine, images, first=0, rates=None) -> np.ndarray:
    """Learn from images whose index begins at `first`; return the counts."""
    index = np.arange(first, first + len(images))
    # A rate that falls from image to image; integer rules take no other than 1, and ignore it.
    rates = np.linspace(1, 0.4, 400)[index] if rates is None else rates
    return engine.learn(images, index, EPOCH, rates)


def count(engine, images, first=0) -> np.ndarray:
    """Count the spikes of images whose index begins at `first`, with learning off."""
    return engine.count_spikes(images, np.arange(first, first + len(images)))


def same_bits(first: NetworkState, second: NetworkState) -> bool:
    """Return whether two states are the same to the last bit."""
    a, b = first.arrays(), second.arrays()
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes() for name in a
    )


def largest_difference(first: NetworkState, second: NetworkState) -> float:
    """Return the largest difference between two numbers of the same index in two states."""
    a, b = first.arrays(), second.arrays()
    assert a.keys() == b.keys()
    return max(np.abs(a[name].astype(np.float64) - b[name]).max(initial=0) for name in a)


def plain_network(pair, model: Model, state: NetworkState):
    """Return the plain-loop network with the model's constants."""
    p, q = model.neuron_parameters._asdict(), model.rule_parameters._asdict()
    if model.runs_on:
        return conductance_oracle.Network(state.weight.tolist(), p, q, model.seed, model.encoder.rest_steps)
    constants = {name: q[name] for name in model.rule.parameters} | {"seed": model.seed}
    if "normalise" in q:
        constants["normalise"] = OCCASIONS[q["normalise"]]
    rule = oracle.RULES[pair[0]](state.weight.tolist(), **constants)
    return oracle.Network(rule, pair[1], p, state.theta.tolist())


def present_plainly(plain, model: Model, images, rates=None, winners=None) -> tuple[list, list]:
    """Present images to a plain-loop network, with learning off if there are no rates; `winners` may learn from each.

    Return the counts, and the activity: presentations, and excitatory, inhibitory and input spikes.
    """
    encoder, learning = (model.inference_encoder, False) if rates is None else (model.encoder, True)
    plain.w_ie = model.neuron_parameters.w_ie if learning or model.inference_w_ie is None else model.inference_w_ie
    counts, activity = [], np.zeros(3 + model.n_inputs, int)
    for n, image in enumerate(encoder.prepare(images).tolist()):
        total = np.zeros(model.n_exc, int)
        plain.rule.rate, plain.k_winners = rates[n] if learning else 1, winners[n] if winners else model.n_exc
        for number in [EPOCH] if learning else range(model.n_presentations):
            for repeat in range(1 + encoder.max_repeats):
                plain.rule.image = n, number + repeat * 2**24
                rate_hz = encoder.max_rate_hz + repeat * encoder.rate_step_hz
                key = *plain.rule.image, model.seed, SPIKES_LEARNING if learning else SPIKES_EVALUATING
                spikes = oracle.image_spikes(image, *key, encoder.n_steps, rate_hz, encoder.dt_ms)
                before, last = plain.n_inhibitory, plain.present(spikes, learning)
                activity += [1, sum(last), plain.n_inhibitory - before, *np.sum(spikes, axis=0)]
                if sum(last) >= encoder.min_spikes:
                    break
            total += last
        counts.append(total.tolist())
    return counts, activity.tolist()
