"""One experiment, which is what Hydra calls for every job, and how its failure is reported."""

import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from stdp_run.cli.messages import explained
from stdp_run.cli.overrides import key_of
from stdp_run.cli.records import FOLDER, open_logs, remove_unused_folders, write_command
from stdp_run.commands import Invocation, run
from stdp_run.config.build import conf_folder, relatives
from stdp_run.config.own_code import in_use, name_folder
from stdp_run.errors import UserError
from stdp_run.training.signals import Stoppable
from stdp_run.training.workers import SECONDS_TO_SAVE, watch_sweep

BAD_INPUT = 2
JOB_FAILED = 1

log = logging.getLogger(__name__)


def job(config: DictConfig) -> float:
    """Run one experiment in Hydra's output directory; return its accuracy, by which a sweeper may optimise.

    A job that fails in a sweep leaves the reason in `error.txt` and lets the others continue.
    """
    logging.raiseExceptions = False  # a full disk would have it print a traceback for every line of run.log
    hydra_config = HydraConfig.get()
    with as_worker(hydra_config), Stoppable() as stoppable:
        stoppable.end_if_asked()
        return _run(config, hydra_config, stoppable)


def _run(config: DictConfig, hydra_config: HydraConf, stoppable: Stoppable) -> float:
    directory = Path(hydra_config.runtime.output_dir)
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    reason = directory / "error.txt"
    try:
        accuracy = run(config, invocation_of(config, hydra_config))
    except Exception as error:
        stoppable.end_if_asked()  # an import that is interrupted may fail with an error of its own
        message = explained(error, [*config_folders(hydra_config), *in_use], directory)
        log.error("stdp-run: error: %s", message or f"{type(error).__name__}: {error}", exc_info=message is None)
        log.debug("", exc_info=error)
        if not in_sweep:
            sys.exit(JOB_FAILED if message is None else BAD_INPUT)
        with suppress(OSError):
            reason.write_text(f"{message or repr(error)}\n", encoding="utf-8")
            if not (directory / FOLDER).exists():
                write_command(config, directory)
        if "basic" not in hydra_config.sweeper._target_:
            raise
        return math.nan
    finally:
        remove_unused_folders()
    if in_sweep:
        reason.unlink(missing_ok=True)
    return accuracy


def invocation_of(config: DictConfig, hydra_config: HydraConf) -> Invocation:
    """Return how a composed command was given; its folder of --config-dir is put into the config.

    Raises:
        UserError: as `own_folder` and `tuning`.
    """
    own_folder(config, hydra_config)
    directory, in_sweep = Path(hydra_config.runtime.output_dir), hydra_config.mode == RunMode.MULTIRUN

    def accepted(begins: bool) -> None:
        if begins:
            write_command(config, directory)
        open_logs()

    return Invocation(
        directory,
        explicit=tuple(key_of(item) for item in hydra_config.overrides.task),
        job=hydra_config.job.num if in_sweep else None,
        bars=False if in_sweep and "basic" not in hydra_config.launcher._target_ else None,
        tuning=tuning(config, hydra_config, config_folders(hydra_config)),
        accepted=accepted,
    )


def config_folders(hydra_config: HydraConf) -> list[Path]:
    """Return the folders that config groups were looked for in."""
    return [Path(source.path) for source in hydra_config.runtime.config_sources if source.schema == "file"]


def own_folder(config: DictConfig, hydra_config: HydraConf) -> None:
    """Put the folder of --config-dir into the config; say in the log which of its choices the package's stand before.

    Raises:
        UserError: the key is given on the command line.
    """
    if "config_dir" in map(key_of, hydra_config.overrides.task):
        raise UserError.bad_value(
            "config_dir", config.config_dir, "given as --config-dir FOLDER, which finds its YAML too"
        )
    for source in hydra_config.runtime.config_sources:
        if source.provider != "command-line":
            continue
        config.config_dir = name_folder(source.path)
        for group, choice in hydra_config.runtime.choices.items():
            own, known = (folder / group / f"{choice}.yaml" for folder in (Path(source.path), conf_folder()))
            if own.is_file() and known.is_file() and not own.samefile(known):
                log.warning("%s=%s: the package's is taken; %s needs another name to be used", group, choice, own)


def tuning(config: DictConfig, hydra_config: HydraConf, folders: list[Path]) -> str:
    """Return in a line whose tuned constants are in effect; empty where tuned=none was asked for, as by presets.

    Raises:
        UserError: a choice was asked for by name and does not exist; Hydra ignores that, as not all parts have one.
    """
    there = GlobalHydra.instance().config_loader().get_group_options("tuned")
    choices = hydra_config.runtime.choices
    tuned, rule, neuron = (choices.get(group) for group in ("tuned", "rule", "neuron"))
    if tuned in there:
        line = f"constants tuned for {tuned.replace('-', ' with ', 1)}; tuned=none has the published ones"
        return "" if tuned == "none" else line
    if "tuned" in map(key_of, hydra_config.overrides.task):
        raise UserError.bad_value("tuned", tuned, f"one of {', '.join(there)}")
    line = f"no tuned constants for {rule} with {neuron}: neurons and encoder are as published"
    targets = {part: str(OmegaConf.select(config, f"{part}._target_")) for part in ("rule", "neuron")}
    based_on = [
        relatives(part, str(choices.get(part)), target, folders, config.config_dir) for part, target in targets.items()
    ]
    nearby = next((name for pair in product(*based_on) if (name := "-".join(pair)) in there), None)
    return f"{line}; tuned={nearby} takes all of {nearby.replace('-', ' with ', 1)}" if nearby else line


def has_workers(hydra_config: HydraConf) -> bool:
    """Return whether the jobs of a sweep run on this machine in processes of their own."""
    return hydra_config.launcher._target_.endswith((".JoblibLauncher", ".LocalLauncher"))


@contextmanager
def as_worker(hydra_config: HydraConf) -> Iterator[None]:
    """Have a job that runs in a worker stop with its sweep."""
    if not has_workers(hydra_config):
        yield
        return
    watch_sweep(Path(hydra_config.sweep.dir))
    try:
        yield
    except SystemExit:
        if "joblib" in hydra_config.launcher._target_:
            # It ends all workers when the first reports, and others may still have to save.
            time.sleep(SECONDS_TO_SAVE)
        raise
