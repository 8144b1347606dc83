"""mode=train: trains, labels and tests a network, and writes the results; resumes the run in the directory."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm.contrib.logging import logging_redirect_tqdm

from stdp_run.commands import Invocation
from stdp_run.config.compatibility import record_to_resume
from stdp_run.config.custom_code import command_to_resume, import_class
from stdp_run.config.schema import LEARNED_BY, Settings, in_first_layer, read_settings
from stdp_run.datasets import Dataset, Patches
from stdp_run.datasets.selection import Data, FirstLayerRecord
from stdp_run.engines.selection import engine_options, set_process_options
from stdp_run.errors import UserError
from stdp_run.inference.first_layer import FirstLayer, largest_cosine, make_first_layer, views
from stdp_run.inference.load import FIRST_LAYER_FOLDER, learned_in
from stdp_run.training.operations import layer_operations
from stdp_run.training.preparation import Prepared, prepare
from stdp_run.training.result import judged, summary_table
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.signals import Stop, Stopped
from stdp_run.training.tracking import Bar, Bars
from stdp_run.training.trainer import complete, finish

log = logging.getLogger(__name__)


def run(record: dict[str, Any], invocation: Invocation) -> float:
    """Complete the run in the directory; return the accuracy of the judged readout.

    Raise UserError if the run there has other settings, and Stopped, with everything saved, at a stop signal.
    """
    directory = RunDirectory(invocation.directory)
    with directory.locked(wait=invocation.in_sweep):
        record = _with_given_layer(record, invocation.explicit)
        existing = directory.record("train")
        if existing is not None:
            record = record_to_resume(record, existing, directory.path, invocation.explicit)
        settings = read_settings(record)
        result = directory.result()
        if result is None:
            result = _train(settings, directory, invocation, begins=existing is None)
        else:
            log.info("%s: this run is complete; nothing to do", directory.path)
            finish(directory)
            if invocation.in_sweep:
                return judged(result)
    invocation.show(summary_table(result, directory.path))
    return judged(result)


def _train(settings: Settings, directory: RunDirectory, invocation: Invocation, begins: bool) -> dict:
    """Train the network of an unfinished run, after the first of two layers; return the result."""
    network = prepare(settings, directory, invocation.job)
    first = None if network.saved else _prepare_first_layer(settings, directory, invocation)
    # tqdm prints log lines above the bars. Its handler has no level, so it is used only if the terminal shows INFO.
    shown = [each for each in logging.root.handlers if getattr(each, "stream", None) in (sys.stdout, sys.stderr)]
    loggers = [logging.root] if any(each.level <= logging.INFO for each in shown) else []
    with invocation.accepted(begins), Stop() as stop, logging_redirect_tqdm(loggers, tqdm_class=Bar):
        try:
            if begins and invocation.tuning:
                log.info("%s", invocation.tuning)
            if settings.trainer.order == "by_class":
                log.info("trainer.order=by_class: labels determine the order of images, nothing else in learning")
            return _learn(network, first, invocation, stop)
        except Stopped as stopped:
            log.warning("%s: stopped; `%s` resumes", stopped.signal.name, command_to_resume(directory.path))
            raise


def _learn(network: Prepared, first: Prepared | None, invocation: Invocation, stop: Stop) -> dict:
    settings, bars, data = network.settings, Bars(invocation.bars), network.data
    for run in (network, first):
        if run is not None and run.saved is None:
            run.directory.path.mkdir(exist_ok=True)
            run.directory.clear()
            run.directory.write_config(run.settings)
    if first is not None:
        log.info("the run of the first layer: %s", first.directory.path)
        complete(first, first.data, bars, stop)
    layer = settings.first_layer
    if layer is None:
        label, test = (views(pixels[0], settings, None) for pixels in (data.label_pixels, data.test_pixels))
        data = replace(data, label_pixels=label, test_pixels=test)
    else:
        state = network.saved.first_state() if network.saved else None
        if state is None:
            _, state = learned_in(layer.run or str(network.directory.path / FIRST_LAYER_FOLDER))
        options = engine_options(layer.network, invocation.job, learning=False)
        set_process_options(options.threads, options.tf32)
        with stop.at_once():  # the cache keeps the answers computed so far
            data = _through_first_layer(
                make_first_layer(settings, state, options), data, settings.evaluator.shifts, bars
            )
    return complete(network, data, bars, stop)


def _prepare_first_layer(settings: Settings, directory: RunDirectory, invocation: Invocation) -> Prepared | None:
    """Return the run of the first of two layers; None if there is one layer, or the first has finished learning."""
    layer = settings.first_layer
    below = RunDirectory(directory.path / FIRST_LAYER_FOLDER)
    if layer is None or layer.run is not None:
        return None
    if below.result() is not None:
        finish(below)
        return None
    with in_first_layer():
        return prepare(layer.network, below, invocation.job)


def _with_given_layer(record: dict[str, Any], explicit: Sequence[str]) -> dict[str, Any]:
    """Return a record with the first layer's settings from the run `first_layer.run`, if there is one.

    Raise UserError if that run did not learn patches, or if the command sets one of these settings.
    """
    section = record.get("first_layer")
    run = section.get("run") if isinstance(section, dict) else None
    if section is None or run is None:
        return record
    for key in explicit:
        if key.startswith("first_layer.") and key.split(".")[1] in LEARNED_BY:
            raise UserError(f"{key}: cannot be set, as the first layer of first_layer.run={run} has learned already")
    settings, _ = learned_in(run)
    if not issubclass(import_class("dataset", settings.dataset.target, Dataset), Patches):
        allowed = "a run of two layers, or one with dataset=patches; this one learned whole images of "
        raise UserError.bad_value("first_layer.run", run, allowed + settings.dataset.name)
    return {**record, "first_layer": {**section, **{key: settings.record[key] for key in LEARNED_BY}}}


def _through_first_layer(layer: FirstLayer, data: Data, shifts: int, bars: Bars) -> Data:
    """Return the images of the second layer, with the record of the first layer."""
    label, test = data.label_pixels[0], data.test_pixels[0]
    n_images = len(data.train_pixels) + len(test) + (len(label) if shifts else 0)
    with bars.open("first layer answers", n_images) as bar:
        counts = layer.counts(data.train_pixels, 0, True, bar.update)
        seen_train = layer.seen(counts)
        seen_label = seen_train[:, : len(label)]
        if shifts:
            seen_label = layer.seen(layer.counts(label, shifts, True, bar.update))
        seen_test = layer.seen(layer.counts(test, shifts, True, bar.update))
    n_exc = len(layer.state.theta)
    spikes = counts.reshape(-1, n_exc).sum(axis=0, dtype=np.int64)
    figures = {
        "n_exc": n_exc,
        "silent_neurons": int((spikes == 0).sum()),
        "spikes_per_image": float(spikes.sum() / layer.parts / len(data.train_pixels)),
        "active_inputs": float((counts > 0).mean()),
        "largest_cosine": largest_cosine(layer.state.weight),
    }
    log.info("first layer: largest cosine between two filters %.3f", figures["largest_cosine"])
    found = layer_operations(layer.activity, layer.model, layer.state, len(test))
    kept = FirstLayerRecord(layer.state.arrays(), layer.projection(), test, figures, found)
    return replace(data, train_pixels=seen_train[0], label_pixels=seen_label, test_pixels=seen_test, first_layer=kept)
