"""mode=eval: measure the accuracy of a trained network again, on its data or what the command names, or perturbed."""

import time
from collections.abc import Sequence
from dataclasses import replace

from stdp_run.commands import Invocation
from stdp_run.config.build import build_model
from stdp_run.config.compatibility import settings_to_evaluate
from stdp_run.config.schema import Settings
from stdp_run.config.sections import DatasetSettings
from stdp_run.datasets.pictures import reader_for
from stdp_run.datasets.selection import load_images, matched_by_name
from stdp_run.engines.selection import choose, engine_options, make_engine, set_process_options
from stdp_run.errors import UserError
from stdp_run.inference.load import Trained, read_trained
from stdp_run.inference.perturbation import Perturbation, build_perturbation, perturbed_images
from stdp_run.training import result as results
from stdp_run.training.result import judged
from stdp_run.training.run import measure
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.tracking import Bars


def run(asked: Settings, invocation: Invocation) -> float:
    """Evaluate the network of a checkpoint; return its accuracy.

    Raises:
        UserError: the directory holds a run, or the checkpoint cannot be read, holds no labels, or was made with other
            settings than the command's.
    """
    begun, directory, path = time.perf_counter(), RunDirectory(invocation.directory), str(asked.checkpoint)
    with directory.locked(wait=invocation.in_sweep):
        directory.refuse_files_of_others()
        if directory.holds_run() or directory.mode() == "train":
            allowed = "a directory without a run, whose files the evaluation would replace"
            raise UserError.bad_value("hydra.run.dir", directory.path, allowed)
        trained = read_trained(path, asked.config_dir)
        settings = settings_to_evaluate(asked, trained.saved.config, path, invocation.explicit)
        settings = _prepared_as_learned(settings, trained.settings.dataset, invocation.explicit)
        model, perturbation = build_model(settings), build_perturbation(settings)
        name, there = settings.dataset.name, settings.dataset
        size = trained.settings.dataset
        if there.n_inputs != size.n_inputs or (trained.first_layer and there.height != size.height):
            what = f"{there.height} x {there.width} pixels; the network learned from {size.height} x {size.width}"
            raise UserError(f"dataset={name}: {what}")
        labels = trained.labels()
        data = matched_by_name(load_images(settings), name, trained.classes)
        options = engine_options(settings, invocation.job, learning=False)
        set_process_options(options.threads, options.tf32)
        choice = choose(model, options)
        settings = settings.with_values({"engine": choice[0], "device": choice[1]})
        invocation.accepted(True)
        directory.write_config(settings)
        state = trained.saved.state()
        if perturbation:
            state, trained = perturbation.network(state, model.seed), _first_layer_perturbed(perturbation, trained)
            pixels = perturbed_images(perturbation, data.test_pixels, data.test_index, settings)
            data = replace(data, test_pixels=pixels)
        if layer := trained.make_first_layer(options._replace(engine="auto")):
            counts = layer.counts(data.test_pixels, cached=perturbation is None)
            data = replace(data, test_pixels=layer.seen(counts))
        final = measure(make_engine(model, state, options, choice), data, labels, Bars(invocation.bars))
        result = results.describe(settings, model, data, labels, final, time.perf_counter() - begun)
        result["train_images_per_second"] = None
        if perturbation:
            result["perturbation"] = {"name": settings.record["perturbation"]["name"], **perturbation.described()}
        results.write_result(directory.path, result)
        results.log_accuracy(result)
    invocation.show(results.summary_table(result, directory.path))
    return judged(result)


def _prepared_as_learned(settings: Settings, learned: DatasetSettings, explicit: Sequence[str]) -> Settings:
    """Return the settings by which pictures are prepared as mode=predict does, unless the command says how."""
    options, reader = settings.dataset.options, reader_for(learned)
    taken = {"prepare": reader.prepare, "invert": reader.invert} if "dataset.prepare" not in explicit else {}
    taken = {key: value for key, value in taken.items() if key in options and f"dataset.{key}" not in explicit}
    return settings.with_values({f"dataset.{key}": value for key, value in taken.items()})


def _first_layer_perturbed(perturbation: Perturbation, trained: Trained) -> Trained:
    """Return a network of which the first layer, if it has one, is perturbed as well."""
    layer = trained.settings.first_layer
    if layer is None or trained.first_layer is None:
        return trained
    return trained._replace(first_layer=perturbation.network(trained.first_layer, layer.network.seed))
