"""Input spikes for the torch engine, a chunk of steps at a time: sampled by torch on a GPU, by compiled code on a CPU.

On a CPU compiled code is faster by far, as it skips black pixels and keeps a counter's words in registers.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stdp_run.encoding import philox, spikes_below


def sampler(device: torch.device) -> Callable[..., Tensor]:
    """Return the function that samples spikes on a device; arguments and result are those of `spikes_below`."""
    return _sample_on_cpu if device.type == "cpu" else spikes_below


def _sample_on_cpu(
    limits: Tensor, image_index: Tensor, presentation: Any, first_step: Any, n_steps: int, seed: Any, stream: int
) -> Tensor:
    def per_image(value: Any) -> np.ndarray:
        value = torch.as_tensor(value)
        return value.unsqueeze(-1).expand(image_index.shape).reshape(-1).contiguous().numpy()

    *_, n_inputs = limits.shape
    spikes = torch.zeros((n_steps, *limits.shape), dtype=torch.uint8)
    _compiled()(
        limits.reshape(-1, n_inputs).numpy(),
        image_index.reshape(-1).numpy(),
        per_image(presentation),
        per_image(seed),
        int(first_step),
        stream,
        spikes.view(n_steps, -1, n_inputs).numpy(),
    )
    return spikes


@cache
def _compiled() -> Callable[..., None]:
    from stdp_run.engines.event.jit import Kernel

    return Kernel(sample_below)


def sample_below(limits, image_index, presentation, seed, first_step, stream, spikes):
    """Set spikes[T, N, I] to 1 where a random word is below limits[N, I]; compiled."""
    n_steps = spikes.shape[0]
    for n in range(limits.shape[0]):
        for j in range(limits.shape[1]):
            limit = limits[n, j]
            if limit == 0:
                continue
            for t in range(0, n_steps, 4):
                counter = np.int64((first_step + t) // 4)
                words = philox(counter, np.int64(j), image_index[n], presentation[n], seed[n], np.int64(stream))
                for k in range(min(4, n_steps - t)):
                    if words[k] < limit:
                        spikes[t + k, n, j] = 1
