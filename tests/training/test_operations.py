"""Operations of an answer: a network by hand, two layers, and the recorded spikes of a finished run."""

import copy
import json

import numpy as np
import pytest
from helpers.networks import ONE_PER_RULE, make_model

from stdp_run.engines.dense.presentation import record_spikes
from stdp_run.inference.load import read_trained
from stdp_run.network import initial_state
from stdp_run.training.operations import layer_operations, operations

FLOAT = ONE_PER_RULE[0]
SHARES = ("activation_sparsity", "connection_sparsity")


def activity_of(inputs, excitatory, inhibitory) -> np.ndarray:
    """Return the activity of recorded spikes, one presentation of each image."""
    return np.array([len(inputs), excitatory.sum(), inhibitory.sum(), *inputs.sum(axis=(0, 1))])


def test_a_hand_made_network():
    model = make_model(FLOAT, n_inputs=3, n_exc=3, n_steps=10, dtype="float32")
    state = initial_state(model)
    state.weight[:] = [[1, 0, 0], [2, 3, 0], [0, 0, 0]]
    found = layer_operations(np.array([4, 6, 8, 5, 7, 11]), model, state, 2)  # of two images
    assert found["connections"] == {
        "input_to_excitatory": {"Effective_ACs": (5 * 2 + 7 * 1 + 11 * 0) / 2, "Dense": 20 * 9},
        "excitatory_to_inhibitory": {"Effective_ACs": 6 / 2, "Dense": 20 * 3},
        "inhibition": {"Effective_ACs": 8 * 2 / 2, "Dense": 20 * 6},
    }
    assert found["synaptic_operations"] == {"Effective_ACs": 8.5 + 3 + 8, "Dense": 360}
    assert found["energy_uj"] == pytest.approx(19.5 * 0.9e-6) and found["membrane_updates"] == 20 * 6
    assert found["activation_sparsity"] == pytest.approx(1 - 7 / 120)
    assert found["synapses"] == 18 and found["connection_sparsity"] == pytest.approx(6 / 18)
    # Weights, float64 thresholds, and for each of the three neurons v, refractory, inhibitory v, refractory and spikes.
    assert found["footprint"] == 9 * 4 + 3 * 8 + 3 * 5 * 4


def test_layers_are_added_and_their_shares_weighted():
    large, small = (
        layer_operations(np.full(6, n), model, initial_state(model), 1)
        for n, model in ((1, make_model(FLOAT, 3, 6)), (5, make_model(FLOAT, 3, 2)))
    )
    before = copy.deepcopy((large, small))
    total, alone = operations(large, small), operations(small)
    assert (large, small) == before and total["layers"] == [large, small] and alone["layers"] == [small]
    assert all(alone[name] == pytest.approx(small[name]) for name in (*SHARES, "energy_uj", "membrane_updates"))
    for name in ("membrane_updates", "synapses", "footprint", "energy_uj"):
        assert total[name] == pytest.approx(large[name] + small[name])
    for name, each in total["connections"].items():
        dense = [layer["connections"][name]["Dense"] for layer in (large, small)]
        assert each["Dense"] == pytest.approx(sum(dense))
    for name in SHARES:
        low, high = sorted((large[name], small[name]))
        assert low <= total[name] <= high
    assert total["activation_sparsity"] == pytest.approx(1 - (2 + 10) / total["membrane_updates"])


def test_the_result_of_a_run_has_the_spikes_of_its_test_images(finished_run, mnist):
    result = json.loads((finished_run / "result.json").read_text())
    trained, found = read_trained(finished_run), result["operations"]
    model, state, n_images = trained.model, trained.saved.state(), result["test_images"]
    assert (model.n_presentations, model.inference_encoder.min_spikes) == (1, 0)
    pixels = mnist.test.pixels[:n_images].reshape(n_images, -1)
    spikes = record_spikes(model, state, pixels, np.arange(n_images))
    expected = operations(layer_operations(activity_of(*spikes), model, state, n_images))
    assert found == json.loads(json.dumps(expected)) and found["synaptic_operations"]["Effective_ACs"] > 1000
    assert expected["activation_sparsity"] < 1
