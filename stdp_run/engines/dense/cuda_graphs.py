"""Records work on fixed tensors as a CUDA graph; on a CPU the work runs without a recording.

A step of the network has about fifty small operations. A GPU takes longer to launch them one by one than to execute
them.
"""

from collections.abc import Callable

import torch

WARM_UPS = 2  # runs before recording: libraries choose algorithms and allocate memory


def recorded(work: Callable[[], None], changed: list[torch.Tensor], device: torch.device) -> Callable[[], None]:
    """Return a function that does `work`, on a GPU by replaying its recording.

    `work` uses tensors with fixed addresses on `device`, and its control flow does not depend on their values.
    `changed` lists the tensors that it writes to; recording restores their values.
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
