"""Which engine runs networks, on which device, and why; and the engine itself."""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from stdp_run.engines.base import Engine, NetworkGroup
from stdp_run.engines.side_by_side import EngineGroup
from stdp_run.engines.speed_trial import images_per_second
from stdp_run.errors import UserError
from stdp_run.network import Model, NetworkState, initial_state
from stdp_run.system import available_threads

log = logging.getLogger(__name__)


class EngineOptions(NamedTuple):
    """What the user asked for, and what the networks are for."""

    engine: str = "auto"  # or "event", "torch"
    device: str = "auto"  # or "cpu", "cuda"
    batch_size: int = 1
    reduction: str = "sum"
    threads: int | None = None  # None: OMP_NUM_THREADS of the environment, else one for each available core
    tf32: bool = False  # see set_process_options
    gpu: int | None = None  # number of the GPU, where there are several; counted around
    learning: bool = True  # False: inference only, so nothing is said about how fast networks learn


class Choice(NamedTuple):
    """An engine, where it runs, and why it is this one."""

    engine: str
    device: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.engine} on the {'CPU' if self.device == 'cpu' else 'GPU'}"


EVENT, ON_CPU, ON_GPU = Choice("event", "cpu"), Choice("torch", "cpu"), Choice("torch", "cuda")
SpeedTrial = Callable[[Choice], float]  # images a second that all networks together learn from


def set_process_options(threads: int | None, tf32: bool) -> None:
    """Set torch's number of threads, and let a GPU multiply float32 matrices with 10 bits of mantissa (TF32) or all 23.

    Both are of the whole process, so only commands call this: use from Python leaves them alone.
    """
    import torch

    torch.set_num_threads(threads or available_threads())
    torch.set_float32_matmul_precision("high" if tf32 else "highest")


def choose(models: Sequence[Model], options: EngineOptions, known: Choice | None = None) -> Choice:
    """Return what runs one network or several side by side; what was chosen, and why, goes to the log.

    It is what was asked for, or else what is fastest. Without a GPU nothing needs to be measured: the event engine is
    the faster one by far, where it can run. With one, what can run the networks learns for a moment. What is `known`,
    because the run that is resumed began with it, is kept without a trial.

    Raises:
        UserError: the engine cannot run the models, the batch size or the device.
    """
    if known:
        if known.device == "cuda" and not _has_gpu():
            raise UserError("device=cuda: what is resumed began on a GPU, and this build of torch can use none here")
        log.info("engine %s: as was chosen before", known)
        return known

    @cache
    def trial(choice: Choice) -> float:
        states = [initial_state(model) for model in models]
        # The event engine instead of batches means to learn from one image at a time.
        batch_size = 1 if choice.engine == "event" else options.batch_size
        group = make_group(models, states, options._replace(batch_size=batch_size), choice)
        return images_per_second(group, batch_size)

    has_gpu = needs_trial(options) or (options.device == "cuda" and _has_gpu())
    choice = decide(models, options, has_gpu, trial)
    log.info("engine %s: %s", choice, choice.why)
    if options.learning and (remark := faster_online(models, options, choice._replace(why=""), trial)):
        log.info("%s", remark)
    return choice


def needs_trial(options: EngineOptions) -> bool:
    """Return whether a speed trial decides what runs networks: there is a GPU, and nothing rules it out."""
    return options.device == "auto" and options.engine != "event" and _has_gpu()


def decide(models: Sequence[Model], options: EngineOptions, has_gpu: bool, trial: SpeedTrial) -> Choice:
    """Return what was asked for, or else what is the fastest.

    Raises:
        UserError: the engine cannot run the models, the batch size or the device.
    """
    if options.device == "cuda" and not has_gpu:
        raise UserError("device=cuda: no GPU that this build of torch can use; must be cpu or auto")
    obstacle = _event_obstacle(models[0], options)
    if options.engine == "event":
        if obstacle:
            raise UserError(f"engine=event: {obstacle[0]}; {obstacle[1]}, or engine=torch")
        return EVENT._replace(why="asked for")
    if options.device == "cuda":
        return ON_GPU._replace(why="device=cuda")
    if options.device == "auto" and has_gpu:
        with_event = options.engine == "auto" and not obstacle
        return _fastest([EVENT, ON_GPU] if with_event else [ON_GPU, ON_CPU], trial)
    if options.engine == "torch":
        return ON_CPU._replace(why="asked for")
    if obstacle:
        return ON_CPU._replace(why=obstacle[0])
    if not options.learning:
        learned_there = options.batch_size > 1
        return ON_CPU._replace(why="as it learned") if learned_there else EVENT._replace(why="the faster one here")
    what = "side by side" if len(models) > 1 else "(batch_size=1)"
    return EVENT._replace(why=f"the faster one for online learning {what}")


def faster_online(models: Sequence[Model], options: EngineOptions, choice: Choice, trial: SpeedTrial) -> str | None:
    """Return a remark if the event engine on the CPU would learn faster than the choice does.

    It is measured where a GPU was chosen. On a CPU it is known (conf/README.md, Batches and GPUs), and needs no trial.
    """
    if choice.engine == "event" or _not_compiled(models[0]):
        return None
    change = "batch_size=1" if options.batch_size > 1 else "device=cpu"
    change = f"engine=event {change}" if options.engine == "torch" else change
    if choice.device == "cpu":
        return f"on a CPU the event engine learns faster, from one image at a time: {change}"
    here, event = trial(choice), trial(EVENT)
    if event <= here:
        return None
    return f"the event engine would be faster, on the CPU: {event:,.0f} images/s against {here:,.0f} ({change})"


def make_engine(model: Model, state: NetworkState, options: EngineOptions, choice: Choice | None = None) -> Engine:
    """Return the engine for one network; without a `choice` as `choose` chooses.

    Raises:
        UserError: the engine cannot run the model, the batch size or the device.
    """
    choice = choice or choose([model], options)
    if choice.engine == "event":
        from stdp_run.engines.event.engine import EventEngine

        return EventEngine(model, state, options.threads or available_threads())
    from stdp_run.engines.dense.engine import TorchEngine

    return TorchEngine(model, state, _torch_device(choice, options), options.batch_size, options.reduction)


def make_group(
    models: Sequence[Model], states: Sequence[NetworkState], options: EngineOptions, choice: Choice | None = None
) -> NetworkGroup:
    """Return K networks side by side, for models that differ in their seed or in a constant; else as `make_engine`."""
    choice = choice or choose(models, options)
    if choice.engine == "torch" and len(models) > 1:
        from stdp_run.engines.dense.stacked import StackedNetworks, obstacle_to_stacking

        obstacle = obstacle_to_stacking(models)
        if obstacle is None:
            return StackedNetworks(models, states, _torch_device(choice, options))
        log.info("the networks take turns: %s", obstacle)
    # The networks share the threads: each gets its part, and where there are more networks, some wait for their turn.
    n_threads = options.threads or available_threads()
    share = options._replace(threads=max(1, n_threads // len(models)))
    engines = [make_engine(model, state, share, choice) for model, state in zip(models, states, strict=True)]
    return EngineGroup(engines, n_threads if choice.engine == "event" else 1)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _torch_device(choice: Choice, options: EngineOptions) -> str:
    if choice.device != "cuda" or options.gpu is None:
        return choice.device
    import torch

    return f"cuda:{options.gpu % torch.cuda.device_count()}"


def _fastest(candidates: Sequence[Choice], trial: SpeedTrial) -> Choice:
    speeds = {each: trial(each) for each in candidates}
    best = max(candidates, key=lambda each: speeds[each])
    others = (f"{each} {speed:,.0f}" for each, speed in speeds.items() if each != best)
    return best._replace(why=f"the fastest in a short trial, {speeds[best]:,.0f} images/s; {', '.join(others)}")


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
    from stdp_run.engines.event.plasticity import functions_of, implementation_of

    rule, neuron = model.rule, model.neuron
    if functions_of(rule, neuron):
        return None
    part = rule if implementation_of(rule) is None or neuron.compiled else neuron
    together = "" if implementation_of(rule) is None or part is neuron else f" with {neuron.__name__}"
    return f"{part.__module__}.{part.__name__} has no compiled implementation{together}"
