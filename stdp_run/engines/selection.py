"""Selects the engine and the device of a network, and makes the engine."""

import logging
from typing import NamedTuple

from stdp_run.config.compatibility import ENGINE_KEYS
from stdp_run.config.schema import Settings
from stdp_run.engines.base import Engine
from stdp_run.errors import UserError
from stdp_run.network import Model, NetworkState
from stdp_run.system import available_cores, available_threads

log = logging.getLogger(__name__)


class EngineOptions(NamedTuple):
    """The options of an engine."""

    engine: str = "auto"  # or "event", "torch"
    device: str = "auto"  # or "cpu", "cuda"
    batch_size: int = 1
    reduction: str = "sum"
    threads: int | None = None  # None: OMP_NUM_THREADS of the environment, else one for each available core
    tf32: bool = False  # see set_process_options
    gpu: int | None = None  # number of the GPU, modulo the number of GPUs
    learning: bool = True  # False: inference only


def engine_options(settings: Settings, gpu: int | None, learning: bool = True) -> EngineOptions:
    """Return the options in the settings; warn of more threads than cores."""
    if settings.threads is not None and settings.threads > available_cores():
        log.warning("threads=%d: slower than %d, the number of cores", settings.threads, available_cores())
    return EngineOptions(**{key: getattr(settings, key) for key in ENGINE_KEYS}, gpu=gpu, learning=learning)


def set_process_options(threads: int | None, tf32: bool) -> None:
    """Set torch's number of threads, and the mantissa of float32 matrix products on a GPU: 10 bits (TF32) or 23.

    Both settings affect the whole process, so only commands call this.
    """
    import torch

    torch.set_num_threads(threads or available_threads())
    torch.set_float32_matmul_precision("high" if tf32 else "highest")


def choose(model: Model, options: EngineOptions) -> tuple[str, str]:
    """Return the engine ("event", "torch") and the device ("cpu", "cuda") of a network; log them with the reason.

    engine=auto selects event if it can run the network, since it is fastest, else torch, on a GPU if one is available.
    The choice depends on no measurement. Raise UserError if the engine cannot run the model, batch size or device.
    """
    if options.device == "cuda" and not _has_gpu():
        raise UserError("device=cuda: no GPU that this build of torch can use; a new run can have cpu or auto")
    obstacle = _event_obstacle(model, options)
    if options.engine == "event" and obstacle:
        raise UserError(f"engine=event: {obstacle}; engine=torch can run it")
    engine, reason = options.engine, f"engine={options.engine}"
    if engine == "auto":
        purpose = "online learning" if options.learning else "inference"
        engine, reason = ("torch", obstacle) if obstacle else ("event", f"the faster engine for {purpose}")
    device = "cuda" if engine == "torch" and options.device != "cpu" and _has_gpu() else "cpu"
    log.info("engine %s on the %s: %s", engine, "CPU" if device == "cpu" else "GPU", reason)
    online = options._replace(batch_size=1)
    if options.learning and (engine, device) == ("torch", "cpu") and not _event_obstacle(model, online):
        log.info("engine=event batch_size=1 learns faster on a CPU, from one image at a time")
    return engine, device


def make_engine(
    model: Model, state: NetworkState, options: EngineOptions, choice: tuple[str, str] | None = None
) -> Engine:
    """Return the engine of one network; `choice` is a result of `choose`, None: choose here."""
    engine, device = choice or choose(model, options)
    if engine == "event":
        from stdp_run.engines.event.engine import EventEngine

        return EventEngine(model, state, options.threads or available_threads())
    import torch

    from stdp_run.engines.dense.engine import TorchEngine

    if device == "cuda" and options.gpu is not None:
        device = f"cuda:{options.gpu % torch.cuda.device_count()}"
    return TorchEngine(model, state, device, options.batch_size, options.reduction)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _event_obstacle(model: Model, options: EngineOptions) -> str | None:
    """Return the reason why the event engine cannot run the model; None if it can."""
    from stdp_run.engines.event.learning import implementation_for

    if implementation_for(model.rule, model.neuron) is None:
        return f"{model.rule.__name__} with {model.neuron.__name__} has no compiled implementation"
    if options.learning and options.batch_size > 1:
        return f"batch_size={options.batch_size}: must be 1 for the event engine"
    return "device=cuda: must be cpu or auto for the event engine" if options.device == "cuda" else None
