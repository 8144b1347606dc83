"""Which engine runs a network, on which device, and why; and the engine itself."""

import logging
from typing import NamedTuple

from stdp_run.config.compatibility import ENGINE_KEYS
from stdp_run.config.schema import Settings
from stdp_run.engines.base import Engine
from stdp_run.errors import UserError
from stdp_run.network import Model, NetworkState
from stdp_run.system import available_threads

log = logging.getLogger(__name__)


class EngineOptions(NamedTuple):
    """The user's wishes, and the purpose of the engine."""

    engine: str = "auto"  # or "event", "torch"
    device: str = "auto"  # or "cpu", "cuda"
    batch_size: int = 1
    reduction: str = "sum"
    threads: int | None = None  # None: OMP_NUM_THREADS of the environment, else one for each available core
    tf32: bool = False  # see set_process_options
    gpu: int | None = None  # number of the GPU, modulo the number of GPUs
    learning: bool = True  # False: inference only


class Choice(NamedTuple):
    """An engine, its device, and the reason for both."""

    engine: str
    device: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.engine} on the {'CPU' if self.device == 'cpu' else 'GPU'}"


def engine_options(settings: Settings, gpu: int | None, learning: bool = True) -> EngineOptions:
    """Return the options in the settings."""
    return EngineOptions(**{key: getattr(settings, key) for key in ENGINE_KEYS}, gpu=gpu, learning=learning)


def set_process_options(threads: int | None, tf32: bool) -> None:
    """Set torch's number of threads, and let a GPU multiply float32 matrices with 10 bits of mantissa (TF32) or all 23.

    Both are of the whole process, so only commands call this: use from Python leaves them alone.
    """
    import torch

    torch.set_num_threads(threads or available_threads())
    torch.set_float32_matmul_precision("high" if tf32 else "highest")


def choose(model: Model, options: EngineOptions) -> Choice:
    """Return the engine and the device of a network, and log them with the reason.

    engine=auto is event for online learning and for inference where the rule has an implementation; it is torch for
    batches and everything else, on the GPU if there is one. Nothing is measured, so equal machines choose equally.

    Raises:
        UserError: the engine cannot run the model, the batch size or the device.
    """
    if options.device == "cuda" and not _has_gpu():
        raise UserError("device=cuda: no GPU that this build of torch can use; a new run can have cpu or auto")
    obstacle = _event_obstacle(model, options)
    if options.engine == "event" and obstacle:
        raise UserError(f"engine=event: {obstacle[0]}; {obstacle[1]}, or engine=torch")
    engine, why = options.engine, f"engine={options.engine}"
    if engine == "auto":
        purpose = "online learning" if options.learning else "inference"
        engine, why = ("torch", obstacle[0]) if obstacle else ("event", f"the faster one for {purpose}")
    on_gpu = engine == "torch" and options.device != "cpu" and _has_gpu()
    choice = Choice(engine, "cuda" if on_gpu else "cpu", why)
    log.info("engine %s: %s", choice, choice.why)
    if options.learning and choice[:2] == ("torch", "cpu") and not _not_compiled(model):
        change = "batch_size=1" if options.batch_size > 1 else ""
        change = f"engine=event {change}".rstrip() if options.engine == "torch" else change
        log.info("on a CPU the event engine learns faster, from one image at a time: %s", change)
    return choice


def make_engine(model: Model, state: NetworkState, options: EngineOptions, choice: Choice | None = None) -> Engine:
    """Return the engine for one network; without a `choice` as `choose` chooses.

    Raises:
        UserError: the engine cannot run the model, the batch size or the device.
    """
    choice = choice or choose(model, options)
    if choice.engine == "event":
        from stdp_run.engines.event.engine import EventEngine

        return EventEngine(model, state, options.threads or available_threads())
    import torch

    from stdp_run.engines.dense.engine import TorchEngine

    device = choice.device
    if device == "cuda" and options.gpu is not None:
        device = f"cuda:{options.gpu % torch.cuda.device_count()}"
    return TorchEngine(model, state, device, options.batch_size, options.reduction)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _event_obstacle(model: Model, options: EngineOptions) -> tuple[str, str] | None:
    """Return why the event engine cannot run this, and what would let it."""
    if options.learning and options.batch_size > 1:
        return f"batch_size={options.batch_size}: the event engine learns from one image at a time", "must be 1"
    if options.device == "cuda":
        return "device=cuda: the event engine runs on the CPU", "must be cpu or auto"
    what = _not_compiled(model)
    return (what, "give it one") if what else None


def _not_compiled(model: Model) -> str | None:
    """Return which part of a network the event engine cannot run; None: it can run it."""
    from stdp_run.engines.event.learning import implementation_for, implementation_of

    rule, neuron = model.rule, model.neuron
    if implementation_for(rule, neuron):
        return None
    if implementation_of(rule) is None:
        return f"{rule.__module__}.{rule.__name__} has no compiled implementation"
    if not neuron.compiled:
        return f"{neuron.__module__}.{neuron.__name__} has no compiled implementation"
    return f"{rule.__module__}.{rule.__name__} has no compiled implementation with {neuron.__name__}"
