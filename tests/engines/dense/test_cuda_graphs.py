"""The torch engine on GPUs: one that is played on the CPU operation by operation, a fake one, and a real one.

A CUDA graph holds the operations of one run and the addresses of their tensors. Values that Python computed or read
from tensors meanwhile are constants in it. `Tape` does the same on the CPU. A value that should have been in a
tensor then shows as a difference between two batches.
"""

import numpy as np
import pytest
import torch
from helpers.networks import EPOCH, count, learn, make_model, mnist, one_pair_per_rule, same_bits
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from stdp_run import encoding
from stdp_run.engines.dense import presentation as presenting
from stdp_run.engines.dense.engine import TorchEngine
from stdp_run.engines.dense.presentation import WARM_UPS
from stdp_run.network import initial_state
from stdp_run.rules.base import Reduction

pytestmark = pytest.mark.slow


class Tape(TorchDispatchMode):
    """Records operations, and does them again on the same tensors."""

    def __init__(self):
        super().__init__()
        self._operations = []

    def __torch_dispatch__(self, function, kinds, arguments=(), keywords=None):
        assert "_local_scalar_dense" not in str(function), "a value is read by Python, which a GPU would wait for"
        result = function(*arguments, **(keywords or {}))
        self._operations.append((function, arguments, keywords or {}, result))
        return result

    def replay(self):
        for function, arguments, keywords, result in self._operations:
            again = function(*arguments, **keywords)
            for old, new in zip(_tensors(result), _tensors(again), strict=True):
                if old.data_ptr() != new.data_ptr():  # neither a view nor changed in place
                    old.copy_(new)


def _tensors(result):
    return [each for each in (result if isinstance(result, (tuple, list)) else [result]) if torch.is_tensor(each)]


def record_on_tape(work, changed, device):
    """Do what `presentation.recorded` does on a GPU, with a tape for the graph."""
    changed = list(changed)
    before = [tensor.clone() for tensor in changed]
    for _ in range(WARM_UPS):
        work()
    tape = Tape()
    with torch.no_grad(), tape:
        work()
    for tensor, saved in zip(changed, before, strict=True):
        tensor.copy_(saved)
    return tape.replay


@pytest.mark.parametrize("batch_size", [1, 4])
@one_pair_per_rule
def test_recorded_work_is_the_same_work(pair, batch_size, monkeypatch):
    model = make_model(pair, n_steps=36)  # input spikes are sampled for 16 steps at once
    rates, winners = np.linspace(1, 0.3, 6) if model.neuron.arithmetic == "float" else np.ones(6), np.arange(17, 5, -2)
    images = mnist(2)[:6]
    plain = TorchEngine(model, initial_state(model), batch_size=batch_size)
    expected = plain.learn(images, np.arange(6), EPOCH, rates, winners)
    assert expected.sum() > 20

    monkeypatch.setattr(presenting, "recorded", record_on_tape)
    monkeypatch.setattr(encoding, "pixels_to_sample", lambda limits: torch.arange(limits.numel()))
    taped = TorchEngine(model, initial_state(model), batch_size=batch_size)
    assert (taped.learn(images, np.arange(6), EPOCH, rates, winners) == expected).all()
    assert same_bits(taped.state(), plain.state())
    assert (count(taped, images) == count(plain, images)).all()


@pytest.mark.skipif(torch.version.cuda is None, reason="torch is no CUDA build")
@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("n_images", [1, 8])
@one_pair_per_rule
def test_every_operation_is_on_the_gpu(pair, n_images, learning):
    """On a fake GPU: an operation raises if a tensor was left on the CPU, or if a value is read before the end."""
    model, device = make_model(pair, n_steps=70, dtype="float32", k_winners=3), torch.device("cuda")
    with FakeTensorMode():
        persistent = presenting.to_tensors(initial_state(model), model, device)
        reduction = Reduction("sum") if learning else None
        work = presenting.Presentation(model, persistent, n_images, reduction, limits_winners=learning, record=False)
        work.run()
    assert all(tensor.device.type == "cuda" for tensor in persistent[:2])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("batch_size", [1, 4])
@one_pair_per_rule
def test_a_gpu_learns_what_the_cpu_learns(pair, batch_size):
    model = make_model(pair, n_steps=150)
    on_cpu = TorchEngine(model, initial_state(model), "cpu", batch_size)
    on_gpu = TorchEngine(model, initial_state(model), "cuda", batch_size)
    images = mnist(2)[:12]
    assert (learn(on_gpu, images) == learn(on_cpu, images)).all()
    for name, array in on_cpu.state().arrays().items():
        assert on_gpu.state().arrays()[name] == pytest.approx(array, abs=1e-9), name
    assert (count(on_gpu, images) == count(on_cpu, images)).all()
