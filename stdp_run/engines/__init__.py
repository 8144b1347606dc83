"""The engines: `torch` (dense, any device and batch size, the reference) and `event` (compiled, online, CPU)."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from stdp_run.engines.side_by_side import EngineNetworks, Networks
from stdp_run.errors import UserError
from stdp_run.network import Model, NetworkState

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
):
    """Return the engine for a model; what "auto" chose, and why, goes to the log.

    Without `threads`, the environment's OMP_NUM_THREADS counts, which launchers set so that jobs side by side do not
    fight for the cores, else all cores are used. With several GPUs, the one numbered `gpu` is used, counted around.

    Raises:
        UserError: the engine cannot run the model, the batch size or the device.
    """
    return _maker(model, engine, device, batch_size, reduction, threads or available_threads(os.environ), gpu)(
        model, state
    )


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
) -> Networks:
    """Return K networks side by side, for K models that differ in their seed or in a constant; else as `make_engine`.

    Raises:
        UserError: the engine cannot run the models, the batch size or the device.
    """
    n_threads = threads or available_threads(os.environ)
    # The networks share the threads: each gets its part, and where there are more networks, some wait for their turn.
    each = max(1, n_threads // len(models))
    make = _maker(models[0], engine, device, batch_size, reduction, each, gpu)
    return EngineNetworks([make(model, state) for model, state in zip(models, states, strict=True)], n_threads)


def _maker(
    model: Model, engine: str, device: str, batch_size: int, reduction: str, n_threads: int, gpu: int | None
) -> Callable:
    """Return what makes an engine of a model like this one and a state; log which engine it is, and why."""
    chosen, why = _choose_engine(model, engine, device, batch_size)
    if chosen == "event":
        from stdp_run.engines.event import EventEngine

        log.info("engine event on the CPU: %s", why)
        return partial(EventEngine, n_threads=n_threads)

    import torch

    from stdp_run.engines.torch import TorchEngine

    place = _choose_device(device, batch_size, torch.cuda.is_available())
    if place == "cuda" and gpu is not None:
        place = f"cuda:{gpu % torch.cuda.device_count()}"
    torch.set_num_threads(n_threads)
    log.info("engine torch on %s: %s", place, why)
    return partial(TorchEngine, device=place, batch_size=batch_size, reduction=reduction)


def available_threads(environment: Mapping[str, str]) -> int:
    """Return how many threads to use: OMP_NUM_THREADS of the environment, else one for each core of this process."""
    cores = len(os.sched_getaffinity(0))
    asked = environment.get("OMP_NUM_THREADS", "")
    return min(int(asked), cores) if asked.isdigit() and int(asked) > 0 else cores


def _choose_engine(model: Model, engine: str, device: str, batch_size: int) -> tuple[str, str]:
    if engine == "torch":
        return "torch", "asked for"
    obstacle = _event_obstacle(model, device, batch_size)
    if engine == "event":
        if obstacle:
            raise UserError(f"engine=event: {obstacle[0]}; {obstacle[1]}, or engine=torch")
        return "event", "asked for"
    if obstacle:
        return "torch", obstacle[0]
    return "event", "it is the faster one for online learning (batch_size=1)"


def _event_obstacle(model: Model, device: str, batch_size: int) -> tuple[str, str] | None:
    """Return why the event engine cannot run this, and what would let it."""
    if batch_size > 1:
        return f"batch_size={batch_size}: the event engine learns from one image at a time", "must be 1"
    if device == "cuda":
        return "device=cuda: the event engine runs on the CPU", "must be cpu or auto"
    for part in (model.rule, model.neuron):
        runs = part.runs_on_event_engine()
        if not runs:
            return f"{part.__module__}.{part.__name__} has no compiled spelling", "give it one"
    return None


def _choose_device(device: str, batch_size: int, has_cuda: bool) -> str:
    if device == "cuda" and not has_cuda:
        raise UserError("device=cuda: no GPU that this build of torch can use; must be cpu or auto")
    if device != "auto":
        return device
    if not has_cuda:
        return "cpu"
    if batch_size > 1:
        log.info("device=auto: the GPU, as %d images learn side by side", batch_size)
        return "cuda"
    log.info("device=auto: the CPU, as one image at a time leaves a GPU idle")
    return "cpu"
