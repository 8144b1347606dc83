"""K engines, each with a network of its own, that answer at the same time on threads."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from stdp_run.engines.base import Engine, Request, answer
from stdp_run.network import Model, NetworkState


class EngineGroup:
    """K engines side by side (stdp_run.engines.base.NetworkGroup); each answers its own request whole.

    Nothing passes from one to another, so a network comes to the same last bit as it would alone.

    Args:
        engines: K of them.
        n_threads: engines that work at the same time; that helps where they let go of Python's lock.
    """

    def __init__(self, engines: Sequence[Engine], n_threads: int):
        self._engines = engines
        self.name = engines[0].name
        self.models: Sequence[Model] = [engine.model for engine in engines]
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="network")

    def answer(self, requests: Mapping[int, Request]) -> dict[int, np.ndarray]:
        """See `NetworkGroup.answer`."""
        counts = self._pool.map(lambda k: answer(self._engines[k], requests[k]), requests)
        return dict(zip(requests, counts, strict=True))

    def state(self, k: int) -> NetworkState:
        """See `NetworkGroup.state`."""
        return self._engines[k].state()
