"""Input spikes for the torch engine, a chunk of steps at a time: drawn by torch on a GPU, compiled on a CPU.

On a CPU the compiled way is faster by far, as it skips black pixels and keeps a counter's words in registers.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from stdp_run.encoding import philox, spikes_below

if TYPE_CHECKING:
    import torch


def drawer(device: "torch.device") -> Callable:
    """Return the function to draw spikes with on a device; arguments and result are those of `spikes_below`."""
    return _draw_on_cpu if device.type == "cpu" else spikes_below


def _draw_on_cpu(limits, image_index, presentation, first_step, n_steps, seed, stream):
    import torch

    def per_image(value):
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
def _compiled() -> Callable:
    from stdp_run.engines.event.jit import Kernel

    kernel = Kernel(draw_below)
    nothing = np.zeros(0, np.int64)
    kernel.compile(np.zeros((0, 1), np.int64), nothing, nothing, nothing, 0, 0, np.zeros((0, 0, 1), np.uint8))
    return kernel


def draw_below(limits, image_index, presentation, seed, first_step, stream, spikes):
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
                if words[0] < limit:
                    spikes[t, n, j] = 1
                if t + 1 < n_steps and words[1] < limit:
                    spikes[t + 1, n, j] = 1
                if t + 2 < n_steps and words[2] < limit:
                    spikes[t + 2, n, j] = 1
                if t + 3 < n_steps and words[3] < limit:
                    spikes[t + 3, n, j] = 1
