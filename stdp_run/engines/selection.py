"""Which engine runs a request, on which device, and why."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stdp_run.errors import UserError
from stdp_run.network import Model


class Request(NamedTuple):
    """What is to be run, and what was asked for."""

    models: Sequence[Model]  # of one network, or of several side by side
    engine: str = "auto"  # or "event", "torch"
    device: str = "auto"  # or "cpu", "cuda"
    batch_size: int = 1
    reduction: str = "sum"
    n_threads: int = 1
    gpu: int | None = None  # number of the GPU, where there are several; counted around


class Choice(NamedTuple):
    """An engine, where it runs, and why it is this one."""

    engine: str
    device: str
    why: str = ""


Measure = Callable[[Choice], float]  # images a second that all networks together learn from, in a short trial
EVENT, ON_CPU, ON_GPU = Choice("event", "cpu"), Choice("torch", "cpu"), Choice("torch", "cuda")


def choose(request: Request, has_gpu: bool, measure: Measure) -> Choice:
    """Return what runs the request: what was asked for, or else what is the fastest.

    Without a GPU nothing needs to be measured: the event engine is the faster one by far, where it can run.

    Raises:
        UserError: the engine cannot run the request, or there is no such device.
    """
    if request.device == "cuda" and not has_gpu:
        raise UserError("device=cuda: no GPU that this build of torch can use; must be cpu or auto")
    obstacle = _event_obstacle(request)
    if request.engine == "event":
        if obstacle:
            raise UserError(f"engine=event: {obstacle[0]}; {obstacle[1]}, or engine=torch")
        return EVENT._replace(why="asked for")
    if request.device == "cuda":
        return ON_GPU._replace(why="device=cuda")
    if request.device == "auto" and has_gpu:
        event = [EVENT] if request.engine == "auto" and not obstacle else []
        return _fastest([*event, ON_GPU, *([] if event else [ON_CPU])], measure)
    if request.engine == "torch":
        return ON_CPU._replace(why="asked for")
    if obstacle:
        return ON_CPU._replace(why=obstacle[0])
    what = "side by side" if len(request.models) > 1 else "(batch_size=1)"
    return EVENT._replace(why=f"the faster one for online learning {what}")


def faster_online(request: Request, choice: Choice, has_gpu: bool, measure: Measure) -> str | None:
    """Return a remark if the event engine on the CPU would be the faster way to learn what the choice learns.

    It is measured where a GPU was chosen. On a CPU it is known (README, Batches and GPUs), and needs no trial.
    """
    if choice.engine == "event" or _no_compiled_spelling(request.models[0]):
        return None
    change = "batch_size=1" if request.batch_size > 1 else "engine=auto device=cpu"
    if choice.device == "cpu":
        if request.engine == "torch" and request.batch_size == 1:
            return None  # asked for in so many words
        return f"on a CPU the event engine learns faster, from one image at a time: {change}"
    here, event = measure(choice), measure(EVENT)
    if event <= here:
        return None
    return f"the event engine would be faster, on the CPU: {event:,.0f} images/s against {here:,.0f} ({change})"


def _fastest(candidates: list[Choice], measure: Measure) -> Choice:
    speeds = {candidate: measure(candidate) for candidate in candidates}
    best = max(candidates, key=speeds.get)
    others = [
        f"{each.engine} on {_device_name(each.device)} {speed:,.0f}" for each, speed in speeds.items() if each != best
    ]
    return best._replace(why=f"the fastest in a short trial, {speeds[best]:,.0f} images/s; {', '.join(others)}")


def _device_name(device: str) -> str:
    return "the CPU" if device == "cpu" else "the GPU"


def describe(choice: Choice) -> str:
    """Return the choice in words."""
    return f"engine {choice.engine} on {_device_name(choice.device)}: {choice.why}"


def _event_obstacle(request: Request) -> tuple[str, str] | None:
    """Return why the event engine cannot run this, and what would let it."""
    if request.batch_size > 1:
        return f"batch_size={request.batch_size}: the event engine learns from one image at a time", "must be 1"
    if request.device == "cuda":
        return "device=cuda: the event engine runs on the CPU", "must be cpu or auto"
    what = _no_compiled_spelling(request.models[0])
    return (what, "give it one") if what else None


def _no_compiled_spelling(model: Model) -> str | None:
    for part in (model.rule, model.neuron):
        if not part.runs_on_event_engine():
            return f"{part.__module__}.{part.__name__} has no compiled spelling"
    return None
