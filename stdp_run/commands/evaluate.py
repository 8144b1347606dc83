"""mode=eval: measures the accuracy of a trained network, on its own or other data, intact or perturbed."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stdp_run.commands import Invocation
from stdp_run.config.build import build_model
from stdp_run.config.compatibility import record_to_evaluate
from stdp_run.config.schema import NEEDED, Settings, read_settings
from stdp_run.datasets.pictures import reader_for
from stdp_run.datasets.selection import load_images, matched_by_name
from stdp_run.engines.selection import choose, engine_options, make_engine, set_process_options
from stdp_run.errors import UserError
from stdp_run.inference.first_layer import views
from stdp_run.inference.load import Trained, checkpoint_file, read_trained
from stdp_run.inference.perturbation import Perturbation, build_perturbation, perturbed_images
from stdp_run.training import result as results
from stdp_run.training.measuring import measure
from stdp_run.training.operations import layer_operations, operations
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.signals import Stop
from stdp_run.training.tracking import Bars

log = logging.getLogger(__name__)


def run(record: dict[str, Any], invocation: Invocation) -> float:
    """Evaluate the network of a checkpoint; return its accuracy; raise UserError if the command does not fit it."""
    begun, directory, path = time.perf_counter(), RunDirectory(invocation.directory), record.get("checkpoint")
    if path is None:
        raise UserError(f"checkpoint=null: mode=eval needs {NEEDED['checkpoint']}")
    with directory.locked(wait=invocation.in_sweep):
        existing = directory.record("eval")
        trained = read_trained(path)
        changed = record_to_evaluate(record, trained.saved.config, path, invocation.explicit)
        settings = read_settings(_prepared_as_learned(changed, trained.settings, invocation.explicit))
        result = directory.result(needs_checkpoint=False) if existing == settings.record else None
        if result and (directory.path / "result.json").stat().st_mtime > checkpoint_file(path).stat().st_mtime:
            log.info("%s: this evaluation is complete; nothing to do", directory.path)
            if invocation.in_sweep:
                return results.judged(result)
        else:
            result = _evaluate(trained, settings, directory, invocation)
            result["wall_seconds"] = time.perf_counter() - begun
            results.write_result(directory.path, result)
    invocation.show(results.summary_table(result, directory.path))
    return results.judged(result)


def _evaluate(trained: Trained, settings: Settings, directory: RunDirectory, invocation: Invocation) -> dict:
    """Return the result of the evaluation; all checks come before the first write."""
    model, perturbation = build_model(settings), build_perturbation(settings)
    images, learned = settings.dataset, trained.settings.dataset
    if images.n_inputs != learned.n_inputs or (trained.first_layer and images.height != learned.height):
        size = f"{images.height} x {images.width} pixels; the network learned from {learned.height} x {learned.width}"
        raise UserError(f"dataset={images.name}: {size}")
    labels, data = trained.labels, matched_by_name(load_images(settings), images.name, trained.classes)
    options = engine_options(settings, invocation.job, learning=False)
    set_process_options(options.threads, options.tf32)
    choice = choose(model, options)
    with invocation.accepted():
        directory.write_config(settings)
        state = trained.saved.state()
        if perturbation:
            state, trained = perturbation.network(state, model.seed), _first_layer_perturbed(perturbation, trained)
            pixels = perturbed_images(perturbation, data.test_pixels[0], data.test_index, settings)
            data = replace(data, test_pixels=pixels[None])
        layer = trained.make_first_layer(options._replace(engine="auto"))
        data = replace(data, test_pixels=views(data.test_pixels[0], settings, layer, cached=perturbation is None))
        engine = make_engine(model, state, options, choice)
        final = measure(engine, data, labels, Bars(invocation.bars), Stop())
    result = results.describe(settings, engine, choice, data, labels, final)
    if layer:
        first = layer_operations(layer.activity, layer.model, layer.state, final.n_images)
        result["operations"] = operations(first, *result["operations"]["layers"])
    learned_from = trained.saved.global_step // trained.settings.epochs
    labelled = min(trained.settings.n_label or learned_from, learned_from)
    result |= {"train_images": learned_from, "label_images": labelled}
    result["train_images_per_second"] = None
    if perturbation:
        result["perturbation"] = {"name": settings.record["perturbation"]["name"], **perturbation.described()}
    return result


def _prepared_as_learned(record: dict[str, Any], trained: Settings, explicit: Sequence[str]) -> dict[str, Any]:
    """Return a record that prepares pictures as in training, unless the command sets this."""
    dataset, reader = record["dataset"], reader_for(trained.dataset)
    taken = {"prepare": reader.prepare, "invert": reader.invert} if "dataset.prepare" not in explicit else {}
    taken = {key: value for key, value in taken.items() if key in dataset and f"dataset.{key}" not in explicit}
    return {**record, "dataset": {**dataset, **taken}}


def _first_layer_perturbed(perturbation: Perturbation, trained: Trained) -> Trained:
    """Return the network with a perturbed first layer, if it has one."""
    layer = trained.settings.first_layer
    if layer is None or trained.first_layer is None:
        return trained
    return trained._replace(first_layer=perturbation.network(trained.first_layer, layer.network.seed))
