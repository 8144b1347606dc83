"""Runs the training of one network, from its preparation to its result."""

import logging

from stdp_run import checkpoint
from stdp_run.config.schema import Settings
from stdp_run.datasets.selection import Data
from stdp_run.engines.selection import make_engine, set_process_options
from stdp_run.evaluation.supervised import Features, fit_and_test
from stdp_run.network import initial_state
from stdp_run.reporting.report import write_report
from stdp_run.training import result as results
from stdp_run.training.measuring import label, measure
from stdp_run.training.plot_writer import PlotWriter
from stdp_run.training.preparation import Prepared
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.signals import Stop
from stdp_run.training.tracking import Bars, Tracker
from stdp_run.training.trainer import Trainer

log = logging.getLogger(__name__)


def complete(run: Prepared, data: Data, bars: Bars, stop: Stop) -> dict:
    """Learn, label the neurons, test, and write and return the result; `data` are the images that the network sees.

    Raises:
        Stopped: a stop signal came; everything learned is saved.
    """
    settings, directory, progress, saved = run.settings, run.directory, run.progress, run.saved
    if saved:
        log.info("%s: resumed after %d images", directory.path, progress.images)
    state = saved.state() if saved else initial_state(run.model)
    set_process_options(run.options.threads, run.options.tf32)
    with stop.at_once():  # compiling takes long
        engine = make_engine(run.model, state, run.options, run.choice)
    with (
        Tracker(directory.path, progress.images if saved else None) as tracker,
        PlotWriter(directory.path, tracker.plot, settings, run.model, data) as plots,
    ):
        trainer = Trainer(run, data, engine, tracker, plots, stop)
        trainer.train(bars)
        labelled, tested = _features(settings, data)
        labels = label(engine, data, bars, stop, features=labelled)
        learned = progress.images, engine.state()
        plots.submit(progress.images, plots.network(*learned, labels.label))
        plots.submit(progress.images, plots.labelled(*learned, labels))
        final = measure(engine, data, labels, bars, stop, features=tested)
        history = trainer.record_end(final)
    stored = {"label": labels.label, "mean_count": labels.mean_count, "classes": list(data.classes)}
    stored["calibration"] = {name: list(each) for name, each in labels.calibration.items()}
    checkpoint.save(directory.path / "checkpoint.pt", trainer.checkpoint(labels=stored))
    result = results.describe(settings, engine, run.choice, data, labels, final)
    result["train_images_per_second"] = progress.images / max(progress.seconds, 1e-9)
    result["train_spikes_per_image"] = progress.spikes / max(progress.images, 1)
    if labelled and tested:
        log.info("supervised readout: fitting to %d images", len(labelled.classes))
        with stop.at_once():
            result["supervised"] = fit_and_test(labelled, tested, len(data.classes))
    result["wall_seconds"] = trainer.wall_seconds()
    if history and settings.trainer.order == "by_class":
        result |= results.forgetting(history.accuracy, data)
    results.write_result(directory.path, result)
    write_report(directory.path)
    finish(directory)
    return result


def _features(settings: Settings, data: Data) -> tuple[Features | None, Features | None]:
    """Return the features of labelling and of test images, before counting; None without `evaluator.supervised`."""
    if not settings.evaluator.supervised:
        return None, None
    train = data.train_classes[: data.label_pixels.shape[1]], data.label_pixels[0]
    parts = (train, (data.test_classes, data.test_pixels[0]))
    labelled, tested = (
        Features(classes, settings.n_exc, inputs if data.first_layer else None) for classes, inputs in parts
    )
    return labelled, tested


def finish(directory: RunDirectory) -> None:
    """Write the report of a run with a result, if it is missing; remove checkpoints that the run does not keep."""
    if not (directory.path / "report.html").exists():
        write_report(directory.path)
    if directory.checkpoints.exists():
        settings = checkpoint.load(directory.path / "checkpoint.pt").config
        if not settings["trainer"]["keep_checkpoints"]:
            directory.remove_checkpoints()
