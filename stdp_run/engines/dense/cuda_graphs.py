"""The one seam between a GPU and a CPU: work on tensors of fixed shapes and places, recorded as a CUDA graph or not.

A step of the network is some fifty small operations, and launching each of them would take a GPU longer than doing it.
Recorded once, as a CUDA graph, they are launched together. On a CPU the same work is simply done anew each time.
"""

from collections.abc import Callable, Iterable

import torch

WARM_UPS = 2  # runs before recording, in which libraries choose their algorithms and take their memory


def recorded(work: Callable[[], None], changed: Iterable[torch.Tensor], device: torch.device) -> Callable[[], None]:
    """Return a function that does `work`, on a GPU by replaying its recording.

    `work` reads and writes tensors that stay where they are, on `device`, and decides nothing by their values. Those
    that it writes to, `changed`, are as before when this returns.
    """
    if device.type != "cuda":
        return work
    changed = list(changed)
    before = [tensor.clone() for tensor in changed]
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    for tensor, saved in zip(changed, before, strict=True):
        tensor.copy_(saved)
    return graph.replay
