"""mode=train: learn, label, test and write the results, from where the run in the directory is."""

import logging
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

from tqdm.contrib.logging import logging_redirect_tqdm

from stdp_run.commands import Invocation
from stdp_run.commands.first_layer import behind
from stdp_run.config.build import build_first_layer, build_model
from stdp_run.config.compatibility import settings_to_resume
from stdp_run.config.schema import Settings, keys_of_first_layer
from stdp_run.config.side_by_side import read_networks
from stdp_run.datasets.selection import Data, load_images
from stdp_run.engines.selection import Choice, make_group, set_process_options
from stdp_run.errors import UserError
from stdp_run.inference.first_layer import FirstLayer, make_first_layer
from stdp_run.inference.load import FIRST_LAYER_FOLDER, learned_in
from stdp_run.reporting.report import write_report
from stdp_run.training.drive import drive_together
from stdp_run.training.engine_choice import choose_once, engine_options
from stdp_run.training.result import relative_path, summary_table
from stdp_run.training.run import Start, TrainingRun
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.signals import Interruption
from stdp_run.training.tracking import Bar, Bars

log = logging.getLogger(__name__)

Run = tuple[Settings, RunDirectory]  # what is asked, and where


class Done(NamedTuple):
    """What became of runs."""

    results: list[dict]
    trained: bool  # whether there was anything to do


def run(settings: Settings, invocation: Invocation) -> float:
    """Bring the run in the directory to its end; return its test accuracy.

    With several networks side by side that is their mean, and each has a run of its own in a directory below.

    Raises:
        UserError: another process is at work there, or what is there was made with other settings.
    """
    directory = RunDirectory(invocation.directory)
    with directory.locked(wait=invocation.in_sweep):
        directory.refuse_files_of_others()
        if directory.mode() == "eval":
            raise UserError(f"{directory.path} holds the evaluation of a network; hydra.run.dir=PATH starts elsewhere")
        resumed = directory.config() if settings.resume not in ("auto", None) else None
        if (resumed or settings).networks > 1:
            return _run_side_by_side(settings, directory, invocation)
        done = _complete([(settings, directory)], None, invocation)
    [result] = done.results
    if done.trained or not invocation.in_sweep:
        invocation.show(summary_table(result, directory.path))
    return result["test_accuracy"]


def _run_side_by_side(asked: Settings, directory: RunDirectory, invocation: Invocation) -> float:
    from stdp_run.reporting.comparison import to_text, write_comparison  # slow to import

    settings = _as_resumed(asked, directory, None, invocation)
    networks = [(each, RunDirectory(directory.path / name)) for name, each in read_networks(settings)]
    with ExitStack() as locks:
        for _, below in networks:
            locks.enter_context(below.locked(wait=invocation.in_sweep))
            below.refuse_files_of_others()
        done = _complete(networks, (settings, directory), invocation)
    if done.trained or not invocation.in_sweep:
        invocation.show(to_text(write_comparison(directory.path)))
        invocation.show(f"\nresults  {relative_path(directory.path)}")
    return statistics.mean(result["test_accuracy"] for result in done.results)


def _complete(runs: Sequence[Run], around: Run | None, invocation: Invocation) -> Done:
    """Bring runs, whose directories are locked, to their end.

    `around` has what is asked of several side by side, and the directory around theirs.
    """
    unfinished = []
    results = [place.result() for _, place in runs]
    for (asked, place), result in zip(runs, results, strict=True):
        saved = place.newest() if result is None else None
        settings = _as_resumed(asked, place, saved.config if saved else None, invocation)
        if result is None:
            unfinished.append(Start(settings, place, saved, place.path.name if around else ""))
            continue
        log.info("%s: this run is complete; nothing to do", place.path)
        if not (place.path / "report.html").exists():
            write_report(place.path)
    made = iter(_train(unfinished, around, invocation) if unfinished else ())
    return Done([next(made) if result is None else result for result in results], trained=bool(unfinished))


def _train(unfinished: Sequence[Start], around: Run | None, invocation: Invocation) -> list[dict]:
    """Train the networks of unfinished runs, side by side if there are several; return the results.

    Nothing is written before all that can be refused was checked.
    """
    begun, bars = time.perf_counter(), Bars(invocation.bars)
    if invocation.tuning and unfinished[0].settings.resume in ("auto", None):  # else they are the run's own
        log.info("%s", invocation.tuning)
    if any(each.settings.trainer.order == "by_class" for each in unfinished):
        log.info("trainer.order=by_class: labels decide the order of the images, and nothing else in learning")
    models = [build_model(each.settings) for each in unfinished]
    resumed = next((each.settings for each in unfinished if each.saved is not None), None)
    options = engine_options(resumed or unfinished[0].settings, invocation.job)
    known = Choice(resumed.engine, resumed.device) if resumed else None
    data = load_images(unfinished[0].settings)
    set_process_options(options.threads, options.tf32)
    choice = choose_once(models, options, known, invocation.sweep_directory)
    chosen = {"engine": choice.engine, "device": choice.device}
    starts = [each._replace(settings=each.settings.with_values(chosen)) for each in unfinished]
    directory = around[1] if around else starts[0].directory
    layer = _first_layer(starts, directory, invocation)
    begins = not directory.holds_run()
    invocation.accepted(begins)
    if around and begins:
        directory.write_config(around[0])
    for each in starts:
        if each.saved is None:
            each.directory.clear()
            each.directory.write_config(each.settings)
    is_first_layer = around is not None and around[0].networks == 1
    # Log lines appear above the bars.
    with (
        Interruption(directory.path, is_last=not is_first_layer) as interruption,
        logging_redirect_tqdm(tqdm_class=Bar),
    ):
        if layer is not None:
            data = _behind(layer, data, bars, interruption)
        runs = [TrainingRun(each, data, interruption, bars, begun) for each in starts]
        group = make_group(models, [each.state for each in runs], options, choice)
        return drive_together([each.steps for each in runs], group, options.batch_size, interruption)


def _first_layer(starts: Sequence[Start], directory: RunDirectory, invocation: Invocation) -> FirstLayer | None:
    """Return the first layer that networks are behind, if they are, as it has learned.

    A run that is resumed has it in its checkpoint; else it is that of a run that is given, or it learns in a run of its
    own, in a folder of the directory.
    """
    saved = next((each for each in starts if each.saved is not None), None)
    settings = (saved or starts[0]).settings
    layer, model = settings.first_layer, build_first_layer(settings)
    if layer is None or model is None:
        return None
    if saved is not None and saved.saved is not None:
        state = saved.saved.first_layer(model, saved.directory.checkpoints)
    elif layer.run is not None:
        state = learned_in(layer.run, settings.config_dir).state
    else:
        below = RunDirectory(directory.path / FIRST_LAYER_FOLDER)
        with below.locked(wait=invocation.in_sweep), keys_of_first_layer():
            below.refuse_files_of_others()
            log.info("the first layer has a run of its own: %s", relative_path(below.path))
            _complete([(layer.network, below)], (settings, directory), replace(invocation, tuning=""))
        state = learned_in(str(below.path), settings.config_dir).state
    return make_first_layer(settings, state, engine_options(layer.network, invocation.job, learning=False))


def _behind(layer: FirstLayer, data: Data, bars: Bars, interruption: Interruption) -> Data:
    """Return the images as the second layer sees them; a signal ends that at any time, as what is done is kept."""
    with bars.open("first layer answers", len(data.train_pixels) + len(data.test_pixels)) as bar:

        def progress(n_images: int) -> None:
            bar.update(n_images)
            interruption.stop()

        return behind(layer, data, progress)


def _as_resumed(asked: Settings, directory: RunDirectory, saved: dict | None, invocation: Invocation) -> Settings:
    """Return the settings with which the run in the directory is resumed; the command's own where there is none.

    `saved` is the config that its newest checkpoint has.
    """
    there = directory.config()
    record = saved or (there.record if there else None)
    if record is None or (asked.resume in ("auto", None) and not directory.holds_run()):
        return asked
    return settings_to_resume(asked, record, directory.path, invocation.explicit)
