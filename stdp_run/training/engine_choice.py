"""What runs a network is chosen once: for a run when it begins, and for jobs of a sweep that ask for the same."""

import json
from collections.abc import Sequence
from pathlib import Path

from stdp_run import files
from stdp_run.config.compatibility import ENGINE_KEYS
from stdp_run.config.schema import Settings
from stdp_run.engines.selection import Choice, EngineOptions, choose, needs_trial
from stdp_run.network import Model


def engine_options(settings: Settings, gpu: int | None, learning: bool = True) -> EngineOptions:
    """Return what the settings ask for; with several GPUs, the one numbered `gpu` is meant, counted around."""
    return EngineOptions(**{key: getattr(settings, key) for key in ENGINE_KEYS}, gpu=gpu, learning=learning)


def choose_once(models: Sequence[Model], options: EngineOptions, known: Choice | None, sweep: Path | None) -> Choice:
    """Return what runs networks; where only a speed trial can say, one job of a sweep makes it and the others wait.

    `known` is what was chosen when the run began. The file `engines.json` in the directory of a `sweep` has what was
    chosen, by what was asked for.
    """
    if known or sweep is None or not needs_trial(options):
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


def _asked_for(models: Sequence[Model], options: EngineOptions) -> str:
    """Return all that the speed depends on: constants, such as a sweep varies, hardly change it."""
    model = models[0]
    parts = f"{len(models)} x {model.rule.__name__} {model.neuron.__name__} {model.dtype}"
    size = f"{model.n_inputs} inputs {model.n_exc} neurons {model.encoder.n_steps} steps"
    return " ".join([parts, size, *(f"{key}={value}" for key, value in options._asdict().items() if key != "gpu")])
