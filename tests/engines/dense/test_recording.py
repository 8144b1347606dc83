"""The spikes of the raster are those that the engines count."""

import numpy as np
import pytest
import torch
from helpers.networks import ONE_PER_RULE, TRIPLET, learn, make, make_model, pictures, same_bits

from stdp_run.encoding import SPIKES_EVALUATING, spikes_below
from stdp_run.engines.dense.presentation import record_spikes


@pytest.mark.parametrize("pair", [*ONE_PER_RULE, TRIPLET], ids="-".join)
def test_recorded_spikes_are_those_that_an_engine_counts(pair):
    model = make_model(pair, encoder={"min_spikes": 0})
    network, (pixels, index) = make("torch", model), (pictures(196)[:6], np.arange(300, 306))
    learn(network, pictures(196)[:6])
    before = network.state()
    inputs, excitatory, inhibitory = record_spikes(model, before, pixels, index)
    limits = torch.from_numpy(model.encoder.limits(pixels))
    sampled = spikes_below(limits, torch.from_numpy(index), 0, 0, 60, model.seed, SPIKES_EVALUATING)
    np.testing.assert_array_equal(inputs, sampled.numpy().astype(bool).transpose(1, 0, 2))
    assert excitatory.dtype == bool and excitatory.shape == inhibitory.shape == (6, 60, 17)
    np.testing.assert_array_equal(excitatory.sum(axis=1), network.count_spikes(pixels, index))
    numbers = 6, excitatory.sum(), inhibitory.sum(), *inputs.sum(axis=(0, 1))
    np.testing.assert_array_equal(network.take_activity(), numbers)
    assert inhibitory.any() and not (inhibitory & ~excitatory).any(), "a neuron fires with its partner or not at all"
    assert same_bits(network.state(), before)
