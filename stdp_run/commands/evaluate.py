"""Evaluating the network of an earlier run again."""

import time
from pathlib import Path

from stdp_run import files
from stdp_run.commands import Invocation
from stdp_run.config.build import build_model
from stdp_run.config.compatibility import settings_to_evaluate
from stdp_run.config.schema import Settings, as_yaml
from stdp_run.datasets.selection import load_data
from stdp_run.engines import make_networks
from stdp_run.errors import UserError
from stdp_run.evaluation.readouts import Labels
from stdp_run.reporting import result as results
from stdp_run.training import checkpoint
from stdp_run.training.run import engine_options, measure, state_of


def run(asked: Settings, invocation: Invocation) -> float:
    """Evaluate the network of an earlier run again, on its data or on what the command names; return the accuracy.

    Raises:
        UserError: the checkpoint cannot be read, holds no labels, or was made with other settings than the command's.
    """
    directory = invocation.directory
    begun = time.perf_counter()
    saved = checkpoint.load(Path(asked.checkpoint))
    if "label" not in saved.extra:
        raise UserError(f"checkpoint={asked.checkpoint}: of a run on its way, without labels; resume it first")
    settings = settings_to_evaluate(asked, saved.config, asked.checkpoint, invocation.explicit)
    model = build_model(settings)
    if model.n_inputs != saved.arrays["weight"].shape[1]:
        there = saved.arrays["weight"].shape[1]
        raise UserError(f"dataset={settings.dataset.name}: {model.n_inputs} pixels; the network has {there} inputs")
    files.write_atomically(directory / "config.yaml", as_yaml(settings.record).encode())
    networks = make_networks([model], [state_of(saved)], **engine_options(settings), gpu=invocation.job)
    data = load_data(settings)
    labels = Labels(saved.extra["label"], saved.extra["mean_count"])
    if len(data.classes) != labels.n_classes:
        raise UserError(
            f"dataset={settings.dataset.name}: {len(data.classes)} classes; the network knows {labels.n_classes}"
        )
    [final] = measure(networks, [0], [labels], data, invocation.bars, lambda: None)
    result = results.describe(settings, networks, model, labels, final, data, time.perf_counter() - begun)
    result["train_images_per_second"] = None
    results.write_result(directory, result)
    print(results.summary_table(result, directory))
    return result["test_accuracy"]
