"""The engines: `torch` (dense, any device and batch size, the reference) and `event` (compiled, online, CPU)."""

import logging
from collections.abc import Sequence
from functools import cache

from stdp_run.engines.selection import Choice, Request, choose, describe, faster_online
from stdp_run.engines.side_by_side import EngineNetworks, Networks
from stdp_run.engines.speed_trial import images_per_second
from stdp_run.network import Model, NetworkState, initial_state
from stdp_run.system import available_threads

log = logging.getLogger(__name__)


def make_engine(
    model: Model,
    state: NetworkState,
    *,
    engine: str = "auto",
    device: str = "auto",
    batch_size: int = 1,
    reduction: str = "sum",
    threads: int | None = None,
    gpu: int | None = None,
    tf32: bool = False,
):
    """Return the engine for a model; what was chosen, and why, goes to the log.

    Without `threads`, the environment's OMP_NUM_THREADS counts, which launchers set so that jobs side by side do not
    fight for the cores, else all cores are used. With several GPUs, the one numbered `gpu` is used, counted around.
    `tf32` lets a GPU multiply float32 matrices at a lower precision.

    Raises:
        UserError: the engine cannot run the model, the batch size or the device.
    """
    n_threads = threads or available_threads()
    request = Request([model], engine, device, batch_size, reduction, n_threads, gpu)
    return _engine(request, _choose(request, tf32), model, state, n_threads)


def make_networks(
    models: Sequence[Model],
    states: Sequence[NetworkState],
    *,
    engine: str = "auto",
    device: str = "auto",
    batch_size: int = 1,
    reduction: str = "sum",
    threads: int | None = None,
    gpu: int | None = None,
    tf32: bool = False,
) -> Networks:
    """Return K networks side by side, for K models that differ in their seed or in a constant; else as `make_engine`.

    Raises:
        UserError: the engine cannot run the models, the batch size or the device.
    """
    n_threads = threads or available_threads()
    request = Request(models, engine, device, batch_size, reduction, n_threads, gpu)
    return _networks(request, _choose(request, tf32), states)


def _choose(request: Request, tf32: bool) -> Choice:
    has_gpu = False
    if request.engine != "event" or request.device == "cuda":
        import torch

        from stdp_run.engines.dense.cuda_graphs import set_precision

        has_gpu = torch.cuda.is_available()
        torch.set_num_threads(request.n_threads)
        set_precision(tf32)

    @cache
    def measure(choice: Choice) -> float:
        fresh = [initial_state(model) for model in request.models]
        # A trial of the event engine instead of batches is one of learning online.
        batch_size = 1 if choice.engine == "event" else request.batch_size
        return images_per_second(_networks(request._replace(batch_size=batch_size), choice, fresh), batch_size)

    choice = choose(request, has_gpu, measure)
    log.info("%s", describe(choice))
    remark = faster_online(request, choice._replace(why=""), has_gpu, measure)
    if remark:
        log.info("%s", remark)
    return choice


def _networks(request: Request, choice: Choice, states: Sequence[NetworkState]) -> Networks:
    models, n_threads = request.models, request.n_threads
    if choice.engine == "torch" and len(models) > 1:
        from stdp_run.engines.dense.engine import TorchNetworks, obstacle_side_by_side

        obstacle = obstacle_side_by_side(models)
        if obstacle is None:
            return TorchNetworks(models, states, _place(request, choice))
        log.info("the networks take turns: %s", obstacle)
    # The networks share the threads: each gets its part, and where there are more networks, some wait for their turn.
    each = max(1, n_threads // len(models))
    engines = [_engine(request, choice, model, state, each) for model, state in zip(models, states, strict=True)]
    return EngineNetworks(engines, n_threads if choice.engine == "event" else 1)


def _engine(request: Request, choice: Choice, model: Model, state: NetworkState, n_threads: int):
    if choice.engine == "event":
        from stdp_run.engines.event.engine import EventEngine

        return EventEngine(model, state, n_threads)
    from stdp_run.engines.dense.engine import TorchEngine

    return TorchEngine(model, state, _place(request, choice), request.batch_size, request.reduction)


def _place(request: Request, choice: Choice) -> str:
    if choice.device != "cuda" or request.gpu is None:
        return choice.device
    import torch

    return f"cuda:{request.gpu % torch.cuda.device_count()}"
