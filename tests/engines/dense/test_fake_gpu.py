"""The whole dense engine on a fake GPU, which a CUDA build of torch has without a GPU: shapes and devices, no values.

An operation raises if a tensor was left on the CPU, or if a value is read back before the end.
"""

import pytest
import torch
from helpers.networks import make_model, one_pair_per_rule
from torch._subclasses.fake_tensor import FakeTensorMode

from stdp_run.engines.dense.presentation import Presentation, to_tensors
from stdp_run.network import initial_state
from stdp_run.rules.base import Reduction

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.version.cuda is None, reason="torch is no CUDA build"),
]


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("n_images", [1, 8])
@one_pair_per_rule
def test_every_operation_is_on_the_gpu(pair, n_images, learning):
    model, device = make_model(pair, n_steps=70, dtype="float32", k_winners=3), torch.device("cuda")
    with FakeTensorMode():
        persistent = to_tensors(initial_state(model), model, device)
        reduction = Reduction("sum") if learning else None
        presentation = Presentation(model, persistent, n_images, reduction, limits_winners=learning, record=False)
        presentation.run()
    assert all(tensor.device.type == "cuda" for tensor in persistent[:2])
