"""meta_nearest_online: leaving out changes that cannot alter a weight is the full computation, within rounding."""

import numpy as np
import pytest
from helpers.networks import largest_difference, learn, make, make_model, mnist

from stdp_run.config.build import build_rule, published_parameters
from stdp_run.engines.event.learning import meta
from stdp_run.rules import MetaNearestOnline
from stdp_run.rules.meta_nearest_online import SMALLEST_ROOM


def largest_quiet_trace(rule=MetaNearestOnline, dtype=np.float32, **changed):
    constants = published_parameters("meta_nearest_online", 784)[1] | changed
    return meta.largest_quiet_trace(rule, build_rule(rule, constants, 1.0, 784), np.dtype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("w_min", [0.0, 0.1])
@pytest.mark.parametrize("bound", [0.2, 1.5])
def test_a_trace_at_the_bound_alters_no_weight(dtype, w_min, bound):
    limit = largest_quiet_trace(dtype=dtype, w_min=w_min, bound=bound)
    powers = np.repeat(2.0 ** np.arange(-40, 1), 3) + np.tile([-1e-9, 0, 1e-9], 41)  # spacing halves below one
    weights = np.concatenate([np.geomspace(1e-30, 1, 100_000), np.linspace(0, 1, 100_000), np.abs(powers)])
    stored = weights.astype(dtype)
    room = np.maximum(stored.astype(np.float64) - w_min, SMALLEST_ROOM)
    share = np.exp(-bound / room)
    share[share < (1e-37 if dtype is np.float32 else 1e-300)] = 0  # as in compiled code
    fall = (1e-4 * limit * share).astype(dtype)
    assert (stored - fall == stored).all()
    assert (stored - dtype(10) * fall != stored).any()


@pytest.mark.parametrize(
    "changed", [{"w_min": -0.1}, {"a_pre": -1e-4}, {"bound": 1e-3}, {"bound": 0.02, "dtype": np.float64}]
)
def test_without_a_known_bound_all_neurons_are_active(changed):
    assert largest_quiet_trace(**changed) < 0


@pytest.mark.parametrize("name", ["change", "post_trace"])
def test_a_custom_rule_with_other_changes_or_traces_has_all_neurons_active(name):
    function = staticmethod(lambda *arguments: getattr(MetaNearestOnline, name)(*arguments))
    assert largest_quiet_trace(type("Own", (MetaNearestOnline,), {name: function})) < 0
    assert largest_quiet_trace(type("Named", (MetaNearestOnline,), {})) == largest_quiet_trace() > 0


@pytest.mark.slow
@pytest.mark.parametrize("a_pre", [1e-4, 3e-3])
def test_a_network_equals_the_full_computation_of_the_torch_engine(a_pre):
    changed = {"a_post": 0.1, "a_pre": a_pre, "tau_post": 30.0}
    model = make_model(("meta_nearest_online", "diehl_cook"), n_exc=37, rule=changed)
    network, full, images = make("event", model), make("torch", model), mnist(2)[:120]
    memory, counts, n_quiet = network._learning.networks[0].memory, [], 0
    for n in range(120):
        n_quiet += (memory.y[:37] <= memory.largest_quiet_trace).sum()
        counts.append(learn(network, images[n : n + 1], n))
    assert n_quiet > 300 and np.sum(counts) > 500
    assert (np.concatenate(counts) == learn(full, images)).all()
    assert largest_difference(network.state(), full.state()) < 1e-12
