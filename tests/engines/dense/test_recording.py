"""The spikes of the raster are those that the engines count."""

import numpy as np
import pytest
import torch
from helpers.networks import both_engines, learned, make, make_model, mnist, one_pair_per_rule

from stdp_run.encoding import SPIKES_EVALUATING, spikes_below
from stdp_run.engines.dense.recording import record_spikes


@both_engines
@one_pair_per_rule
def test_recorded_spikes_are_those_that_an_engine_counts(pair, engine):
    model = make_model(pair)
    network = make(engine, model, learned(engine, pair)[1])
    pixels, index = mnist(2)[100:112], np.arange(300, 312)
    before = network.state()
    _, excitatory, inhibitory = record_spikes(model, before, pixels, index)
    assert excitatory.dtype == bool and excitatory.shape == inhibitory.shape == (12, 60, 17)
    np.testing.assert_array_equal(excitatory.sum(axis=1), network.count_spikes(pixels, index))
    assert len(np.unique(np.nonzero(excitatory)[2])) > 1
    for name, array in network.state().arrays().items():
        np.testing.assert_array_equal(before.arrays()[name], array)


def test_recorded_input_spikes_are_those_of_evaluating():
    model = make_model(("nearest_online", "lif_stdp"))
    pixels, index = mnist(2)[:3], np.array([5, 0, 9])
    recorded, _, _ = record_spikes(model, make("torch", model).state(), pixels, index)
    limits = torch.from_numpy(model.encoder.limits(pixels))
    sampled = spikes_below(limits, torch.from_numpy(index), 0, 0, 60, model.seed, SPIKES_EVALUATING)
    np.testing.assert_array_equal(recorded, sampled.numpy().astype(bool).transpose(1, 0, 2))


def test_an_inhibitory_neuron_fires_with_its_partner_or_not_at_all():
    model = make_model(("nearest_online", "lif_stdp"))
    _, excitatory, inhibitory = record_spikes(model, make("torch", model).state(), mnist(2)[:4], np.arange(4))
    assert inhibitory.any() and not (inhibitory & ~excitatory).any()


@pytest.mark.parametrize("neurons", [1, 3])
def test_one_image_and_few_neurons_are_recorded(neurons):
    model = make_model(("nearest_online", "lif_stdp"), n_exc=neurons)
    spikes = record_spikes(model, make("torch", model).state(), mnist(2)[:1], np.arange(1))
    assert [layer.shape for layer in spikes] == [(1, 60, 196), (1, 60, neurons), (1, 60, neurons)]
