"""One experiment, which is what Hydra calls for every job, and how its failure is reported."""

import logging
import math
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from itertools import product
from pathlib import Path

from hydra.conf import HydraConf
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

BAD_INPUT = 2
JOB_FAILED = 1
SECONDS_TO_SAVE = 20

log = logging.getLogger(__name__)


def job(config: DictConfig) -> float:
    """Run one experiment in Hydra's output directory; return its accuracy, by which a sweeper may optimise.

    A job that fails in a sweep leaves the reason in `error.txt` and lets the others continue.
    """
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    folders = [Path(source.path) for source in hydra_config.runtime.config_sources if source.schema == "file"]
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    if "joblib" in hydra_config.launcher._target_:
        end_with_parent()
    reason = directory / "error.txt"

    def accepted(begins: bool) -> None:
        if begins:
            write_command(config, directory)
        open_logs()

    try:
        own_folder(config, hydra_config)
        invocation = Invocation(
            directory,
            explicit=tuple(key_of(item) for item in hydra_config.overrides.task),
            job=hydra_config.job.num if in_sweep else None,
            bars=not in_sweep or "basic" in hydra_config.launcher._target_,
            sweep_directory=Path(hydra_config.sweep.dir) if in_sweep else None,
            tuning=tuning(config, hydra_config, folders),
            accepted=accepted,
        )
        accuracy = run(config, invocation)
    except Exception as error:
        message = explained(error, [*folders, *in_use])
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
    reason.unlink(missing_ok=True)
    return accuracy


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
    there = sorted({file.stem for folder in folders for file in folder.glob("tuned/*.yaml")})
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


@cache
def end_with_parent() -> None:
    """Have this process save and end when the one that started it is gone, which joblib's workers else outlive."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_SAVE)
        os._exit(128 + signal.SIGTERM)  # a worker with nobody to report to may hang

    threading.Thread(target=watch, daemon=True).start()
