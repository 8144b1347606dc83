"""Learning: begun, or resumed from where the run in the directory is."""

import logging
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from stdp_run import files
from stdp_run.commands import Invocation, describe_tuning
from stdp_run.config.build import build_model
from stdp_run.config.compatibility import settings_to_resume
from stdp_run.config.schema import Settings, as_yaml, read_networks
from stdp_run.reporting import result as results
from stdp_run.reporting.report import write_report
from stdp_run.training.checkpoint import Checkpoint
from stdp_run.training.run import LearningRuns
from stdp_run.training.run_directory import RunDirectory

log = logging.getLogger(__name__)


def run(asked: Settings, invocation: Invocation) -> float:
    """Do mode=train: learn, label, evaluate, and write the results, from where the run in the directory is; return the accuracy.

    With several networks side by side it is their mean, and each has a run of its own in a directory below.

    Raises:
        UserError: another process is at work there, or what is there was made with other settings.
    """
    directory = RunDirectory(invocation.directory)
    log.info("%s", describe_tuning(asked, invocation))
    with directory.locked(wait=invocation.in_sweep):
        there = directory.config()
        goes_on_there = there is not None and asked.resume not in ("auto", None)
        if (there if goes_on_there else asked.record).get("networks", 1) > 1:
            return _learn_side_by_side(asked, directory, invocation)
        [result] = _complete([asked], [directory], directory.path, invocation)
        print(results.summary_table(result, directory.path))
        return result["test_accuracy"]


def _learn_side_by_side(asked: Settings, directory: RunDirectory, invocation: Invocation) -> float:
    from stdp_run.reporting.comparing import to_text, write_comparison

    whole = _as_it_goes_on(asked, directory, directory.config(), invocation)
    found = read_networks(whole.composed)
    for _, each in found:  # before anything is written
        build_model(each)
    if not directory.holds_run():
        files.write_atomically(directory.path / "config.yaml", as_yaml(whole.record).encode())
    directories = [RunDirectory(directory.path / name) for name, _ in found]
    with ExitStack() as locks:
        for each in directories:
            each.path.mkdir(exist_ok=True)
            locks.enter_context(each.locked(wait=invocation.in_sweep))
        reached = _complete([settings for _, settings in found], directories, directory.path, invocation)
    print(to_text(write_comparison(directory.path)))
    print(f"\nresults  {results.shown_path(directory.path)}")
    return statistics.mean(result["test_accuracy"] for result in reached)


def _complete(
    configs: Sequence[Settings], directories: Sequence[RunDirectory], place: Path, invocation: Invocation
) -> list[dict]:
    """Bring the runs in the directories, which are locked, to their end, in step; return their results.

    `place` is the directory that `resume` is given to go on with all of them.
    """
    reached: list[dict | None] = []
    unfinished: list[tuple[dict, RunDirectory, Checkpoint | None]] = []
    for config, directory in zip(configs, directories, strict=True):
        result = directory.result()
        saved = directory.newest() if result is None else None
        config = _as_it_goes_on(config, directory, directory.config() if saved is None else saved.config, invocation)
        reached.append(result)
        if result is not None:
            log.info("%s: this run is complete; nothing to do", directory.path)
            continue
        unfinished.append((config.record, directory, saved))
    for config, directory, saved in unfinished:
        if saved is None:
            directory.clear()
            files.write_atomically(directory.path / "config.yaml", as_yaml(config).encode())
    if unfinished:
        runs = LearningRuns(*zip(*unfinished, strict=True), place, invocation.job, invocation.bars)
        made = iter(runs.complete())
        reached = [next(made) if result is None else result for result in reached]
    for directory in directories:
        if not (directory.path / "report.html").exists():
            write_report(directory.path)
    return reached


def _as_it_goes_on(config: Settings, directory: RunDirectory, there: dict | None, invocation: Invocation) -> Settings:
    """Return the config with which the run in the directory goes on; the command's own where there is none."""
    if there is None or not (directory.holds_run() or config.resume not in ("auto", None)):
        return config
    return settings_to_resume(config, there, directory.path, invocation.explicit)
