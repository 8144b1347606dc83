"""Records work on tensors of fixed shapes and places as a CUDA graph; a CPU does the same work anew each time.

A step of the network is some fifty small operations. A GPU takes longer to launch them one by one than to do them.
"""

from collections.abc import Callable

import torch

WARM_UPS = 2  # runs before recording, in which libraries choose their algorithms and take their memory


def recorded(work: Callable[[], None], changed: list[torch.Tensor], device: torch.device) -> Callable[[], None]:
    """Return a function that does `work`, on a GPU by replaying its recording.

    `work` uses tensors that stay where they are, on `device`, and decides nothing by their values. `changed` are those
    that it writes to; recording restores them.
    """
    if device.type != "cuda":
        return work
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
