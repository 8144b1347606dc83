"""What happens around the jobs of a sweep: which trials of a search are left, and what is printed at the end."""

import logging
import sys
from contextlib import suppress
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from stdp_run.cli.job import JOB_FAILED, has_workers
from stdp_run.errors import UserError
from stdp_run.training.workers import WaitForWorkers

log = logging.getLogger(__name__)


class Sweep(Callback):
    """Leaves to a search by Optuna what is not done yet; at the end compares the jobs and names those that failed."""

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Leave to a search what is not done, and have this process wait for its workers when it is asked to stop."""
        if "optuna" in config.hydra.sweeper._target_:
            with read_write(config):
                leave_trials(config.hydra.sweeper)
        if has_workers(config.hydra):
            waiting = WaitForWorkers(Path(config.hydra.sweep.dir)).__enter__()  # until the process ends
            start_helpers_of_joblib()
            waiting.keep_signals()

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        """Write the comparison of the jobs, print it, and exit with 1 if one failed."""
        from stdp_run.reporting.comparison import compare, to_text, write_files
        from stdp_run.reporting.runs import find_runs

        directory = Path(config.hydra.sweep.dir)
        failed = sorted(directory.rglob("error.txt"))
        named: set[Path] = set()
        try:
            comparison = compare(find_runs(directory))
            print(to_text(comparison))
            runs = comparison.runs
            named = {directory / name for name in runs["directory"][runs["state"] == "failed"]}
            write_files(comparison, directory)
        except UserError as error:  # the sweep was not about learning, or every job failed before it began
            log.warning("%s", error)
        print(f"\nresults  {directory}")
        for reason in failed:
            if reason.parent not in named:
                print(f"failed: {reason.parent}: {reason.read_text(encoding='utf-8').strip()}", file=sys.stderr)
        if failed:
            print(f"stdp-run: error: {len(failed)} failed, named above", file=sys.stderr)
            sys.exit(JOB_FAILED)


def leave_trials(search: DictConfig) -> None:
    """Take the trials that are complete in the storage of a search by Optuna from the number that it is to do."""
    study, storage = search.study_name, search.storage
    if study is None or not isinstance(storage, str):
        needed = "hydra.sweeper.storage=sqlite:///NAME.db and hydra.sweeper.study_name=NAME"
        log.warning("this search cannot be resumed: that needs %s", needed)
        return
    complete = trials_complete(study, storage)
    if complete:
        left = max(0, search.n_trials - sum(complete))
        log.info("study %s: %d of %d trials complete, %d left", study, sum(complete), search.n_trials, left)
        search.n_trials = left
        if search.sampler.get("seed") is not None:
            search.sampler.seed += len(complete)  # else it would choose the same again


def start_helpers_of_joblib() -> None:
    """Start the processes that joblib would start before its workers, and then let these have signals again."""
    with suppress(ImportError):
        from multiprocessing import resource_tracker

        from joblib.externals.loky.backend import resource_tracker as of_joblib  # type: ignore[import-untyped]

        of_joblib.ensure_running()
        resource_tracker.ensure_running()


def trials_complete(study: str, storage: str) -> list[bool]:
    """Return of each trial of a study, by its name, whether it is complete; its storage need not have it yet."""
    import optuna  # comes with the sweeper

    if study not in {each.study_name for each in optuna.get_all_study_summaries(storage)}:
        return []
    trials = optuna.load_study(study_name=study, storage=storage).trials
    return [trial.state == optuna.trial.TrialState.COMPLETE for trial in trials]
