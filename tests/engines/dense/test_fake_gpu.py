"""The whole dense engine on a fake GPU, which a CUDA build of torch has without a GPU: shapes and devices, no values.

Where a tensor was left on the CPU, or a value is read back before the end, an operation raises.
"""

import numpy as np
import pytest
import torch
from helpers.networks import make_model, one_pair_per_rule
from torch._subclasses.fake_tensor import FakeTensorMode

from stdp_run.engines.dense.presentation import Persistent, Presentation, PresentationSpec, SingleNetwork
from stdp_run.engines.dense.stacked import StackedModels
from stdp_run.network import NetworkState, initial_state

pytestmark = pytest.mark.slow

pytestmark = pytest.mark.skipif(torch.version.cuda is None, reason="torch is no CUDA build")


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("n_images", [1, 8])
@one_pair_per_rule
def test_every_operation_is_on_the_gpu(pair, n_images, learning):
    model, device = make_model(pair, n_steps=70, dtype="float32", max_learners=3), torch.device("cuda")
    with FakeTensorMode():
        persistent = Persistent.of(initial_state(model), model, device)
        spec = PresentationSpec(n_images, learning, limits_learners=learning)
        presentation = Presentation(SingleNetwork(model), persistent, spec, record=False)
        presentation.run()
    assert all(tensor.device.type == "cuda" for tensor in (persistent.weight, persistent.theta))


@one_pair_per_rule
def test_every_operation_of_stacked_networks_is_on_the_gpu(pair):
    models = [make_model(pair, n_steps=70, dtype="float32", seed=seed) for seed in (1, 2)]
    arrays = [initial_state(model).arrays() for model in models]
    both = {name: np.stack([each[name] for each in arrays]) for name in arrays[0]}
    with FakeTensorMode():
        device = torch.device("cuda")
        persistent = Persistent.of(NetworkState(both.pop("weight"), both.pop("theta"), both), models[0], device)
        Presentation(StackedModels(models, device), persistent, PresentationSpec(1, True), record=False).run()
