"""What runs a network is chosen once: for a run when it begins, and for jobs of a sweep that ask for the same."""

import json
from collections.abc import Sequence
from pathlib import Path

from stdp_run import files
from stdp_run.config.schema import Settings
from stdp_run.engines.selection import Choice, EngineOptions, choose
from stdp_run.network import Model


def engine_options(settings: Settings, gpu: int | None, learning: bool = True) -> EngineOptions:
    """Return what the settings ask for; with several GPUs, the one numbered `gpu` is meant, counted around."""
    return EngineOptions(
        engine=settings.engine,
        device=settings.device,
        batch_size=settings.batch_size,
        reduction=settings.reduction,
        threads=settings.threads,
        tf32=settings.tf32,
        gpu=gpu,
        learning=learning,
    )


def choose_once(models: Sequence[Model], options: EngineOptions, known: Choice | None, sweep: Path | None) -> Choice:
    """Return what runs networks; where only a speed trial can say, one job of a sweep makes it and the others wait.

    The file `engines.json` of a sweep has what was chosen, by what was asked for.

    Args:
        models: of the networks.
        options: what was asked for.
        known: what was chosen when the run began.
        sweep: the directory of the sweep that the run belongs to.
    """
    if known or sweep is None or not _needs_trial(options):
        return choose(models, options, known)
    with files.locked(sweep / ".engines.lock", wait=True, what=str(sweep)):
        file, asked = sweep / "engines.json", _asked_for(models, options)
        chosen = json.loads(file.read_text()) if file.exists() else {}
        if asked in chosen:
            return choose(models, options, Choice(*chosen[asked]))
        choice = choose(models, options)
        chosen[asked] = (choice.engine, choice.device)
        files.write_atomically(file, (json.dumps(chosen, indent=2) + "\n").encode())
    return choice


def _needs_trial(options: EngineOptions) -> bool:
    import torch

    return options.device == "auto" and options.engine != "event" and torch.cuda.is_available()


def _asked_for(models: Sequence[Model], options: EngineOptions) -> str:
    """Return all that the speed depends on: constants, such as a sweep varies, hardly change it."""
    model = models[0]
    return " ".join(
        [
            f"{len(models)} x {model.rule.__name__} {model.neuron.__name__} {model.dtype}",
            f"{model.n_inputs} x {model.n_exc}, {model.encoder.n_steps} steps",
            *(f"{name}={value}" for name, value in options._replace(gpu=None)._asdict().items()),
        ]
    )
