"""mode=train: learn, label, test and write the results, from where the run in the directory is."""

import logging
import time
from dataclasses import replace
from typing import NamedTuple

from tqdm.contrib.logging import logging_redirect_tqdm

from stdp_run.commands import Invocation
from stdp_run.commands.first_layer import behind
from stdp_run.config.build import build_first_layer, build_model
from stdp_run.config.compatibility import settings_to_resume
from stdp_run.config.schema import Settings, keys_of_first_layer
from stdp_run.datasets.selection import Data, load_images
from stdp_run.engines.selection import choose, engine_options, make_engine, set_process_options
from stdp_run.errors import UserError
from stdp_run.inference.first_layer import FirstLayer, make_first_layer
from stdp_run.inference.load import FIRST_LAYER_FOLDER, learned_in
from stdp_run.reporting.report import write_report
from stdp_run.training.result import judged, relative_path, summary_table
from stdp_run.training.run import Start, TrainingRun
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.signals import Interruption
from stdp_run.training.tracking import Bar, Bars

log = logging.getLogger(__name__)

Run = tuple[Settings, RunDirectory]


class Done(NamedTuple):
    """The result of a run."""

    result: dict
    trained: bool  # whether there was anything to do


def run(settings: Settings, invocation: Invocation) -> float:
    """Bring the run in the directory to its end; return its test accuracy.

    Raises:
        UserError: another process is at work there, or what is there was made with other settings.
    """
    directory = RunDirectory(invocation.directory)
    with directory.locked(wait=invocation.in_sweep):
        directory.refuse_files_of_others()
        if directory.mode() == "eval":
            raise UserError(f"{directory.path} holds the evaluation of a network; hydra.run.dir=PATH starts elsewhere")
        result, trained = _complete((settings, directory), None, invocation)
    if trained or not invocation.in_sweep:
        invocation.show(summary_table(result, directory.path))
    return judged(result)


def _complete(run: Run, around: Run | None, invocation: Invocation) -> Done:
    """Bring a run, whose directory is locked, to its end; `around` is the run whose first layer it is."""
    asked, directory = run
    result = directory.result()
    saved = directory.newest() if result is None else None
    settings = _as_resumed(asked, directory, saved.config if saved else None, invocation)
    if result is None:
        return Done(_train(Start(settings, directory, saved), around, invocation), trained=True)
    log.info("%s: this run is complete; nothing to do", directory.path)
    if not (directory.path / "report.html").exists():
        write_report(directory.path)
    return Done(result, trained=False)


def _train(start: Start, around: Run | None, invocation: Invocation) -> dict:
    """Train the network of an unfinished run; return the result.

    Nothing is written before all that can be refused was checked.
    """
    begun, bars, settings = time.perf_counter(), Bars(invocation.bars), start.settings
    if invocation.tuning and settings.resume in ("auto", None):  # else they are the run's own
        log.info("%s", invocation.tuning)
    if settings.trainer.order == "by_class":
        log.info("trainer.order=by_class: labels decide the order of the images, and nothing else in learning")
    model, options = build_model(settings), engine_options(settings, invocation.job)
    data = load_images(settings)
    set_process_options(options.threads, options.tf32)
    choice = choose(model, options)
    settings = settings.with_values({"engine": choice[0], "device": choice[1]})
    start = start._replace(settings=settings)
    layer = _first_layer(start, invocation)
    outer = around[1] if around else start.directory
    begins = not outer.holds_run()
    invocation.accepted(begins)
    if around and begins:
        outer.write_config(around[0])
    if start.saved is None:
        start.directory.clear()
        start.directory.write_config(settings)
    # Log lines appear above the bars.
    with (
        Interruption(outer.path, is_last=around is None) as interruption,
        logging_redirect_tqdm(tqdm_class=Bar),
    ):
        if layer is not None:
            data = _behind(layer, data, bars, interruption)
        run = TrainingRun(start, data, interruption, bars, begun)
        return run.complete(make_engine(model, run.state, options, choice))


def _first_layer(start: Start, invocation: Invocation) -> FirstLayer | None:
    """Return the first layer of a network, if it has one, as it has learned.

    A resumed run has it in its checkpoint. Otherwise it comes from the given run, or it learns in a run of its own in a
    folder of the directory.
    """
    settings, directory, saved = start
    layer, model = settings.first_layer, build_first_layer(settings)
    if layer is None or model is None:
        return None
    if saved is not None:
        state = saved.first_layer(model, directory.checkpoints)
    elif layer.run is not None:
        state = learned_in(layer.run, settings.config_dir).state
    else:
        below = RunDirectory(directory.path / FIRST_LAYER_FOLDER)
        with below.locked(wait=invocation.in_sweep), keys_of_first_layer():
            below.refuse_files_of_others()
            log.info("the first layer has a run of its own: %s", relative_path(below.path))
            _complete((layer.network, below), (settings, directory), replace(invocation, tuning=""))
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
