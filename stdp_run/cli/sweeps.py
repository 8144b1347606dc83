"""Sweeps: the names of their folders and those of their jobs, and what is printed when all jobs are done."""

import hashlib
import logging
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from stdp_run.cli.job import JOB_FAILED, has_workers
from stdp_run.cli.overrides import key_of
from stdp_run.errors import UserError
from stdp_run.training.workers import WaitForWorkers

# What does not change what a sweep or a job is about, and so not the name of its folder.
NOT_IN_NAMES = ("resume", "threads", "device", "trainer.checkpoint_every", "trainer.checkpoint_seconds")

log = logging.getLogger(__name__)


class EndOfSweep(Callback):
    """When all jobs of a sweep are done, compares them and names those that failed."""

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Have this process wait for its workers when it is asked to stop."""
        if has_workers(config.hydra):
            waiting = WaitForWorkers(Path(config.hydra.sweep.dir)).__enter__()  # until the process ends
            start_helpers_of_joblib()
            waiting.keep_signals()

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        """Write the comparison of the jobs, print it, and exit with 1 if one failed."""
        from stdp_run.reporting.comparison import to_text, write_comparison

        directory = Path(config.hydra.sweep.dir)
        failed = sorted(directory.rglob("error.txt"))
        try:
            comparison = write_comparison(directory)
            print(to_text(comparison))
            named = {directory / name for name in comparison.of_state("failed")["directory"]}
        except UserError as error:  # the sweep was not about learning, or every job failed before it began
            log.warning("%s", error)
            named = set()
        for reason in failed:
            if reason.parent not in named:
                print(f"failed: {reason.parent}: {reason.read_text().strip()}", file=sys.stderr)
        if failed:
            print(f"stdp-run: error: {len(failed)} failed, named above", file=sys.stderr)
            sys.exit(JOB_FAILED)


def start_helpers_of_joblib() -> None:
    """Start the processes that joblib would start before its workers, and then let these have signals again."""
    with suppress(ImportError):
        from multiprocessing import resource_tracker

        from joblib.externals.loky.backend import resource_tracker as of_joblib  # type: ignore[import-untyped]

        of_joblib.ensure_running()
        resource_tracker.ensure_running()


def words_of_jobs(overrides: Iterable[str]) -> list[str]:
    """Return those overrides that say what a sweep or a job is about, whatever order they were given in."""
    words = [item for item in overrides if "=" in item and item[0] != "-" and key_of(item) not in NOT_IN_NAMES]
    return sorted(item for item in words if not key_of(item).startswith(("hydra.", "hydra/")))


def job_name(overrides: Iterable[str]) -> str:
    """Return a name for a job's folder that tells its settings, as far as they fit, and is its own."""
    words = words_of_jobs(overrides)
    return _with_digest("_".join(words), words)


def sweep_name(overrides: Iterable[str]) -> str:
    """Return a name for a sweep's folder that tells what is swept and is its own."""
    words = words_of_jobs(overrides)
    swept = [key_of(item) for item in words if re.search(r",|^[^=]+=\w+\(", item)]
    return _with_digest("_".join(key.rpartition(".")[2] for key in swept), words)


def _with_digest(text: str, words: list[str]) -> str:
    shown = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:80].strip("-_.")
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
    return f"{shown}_{digest}" if shown else digest
