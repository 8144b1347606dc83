"""The console script `stdp-run`: Hydra's command line, the names that rules go by, errors in one line, exit codes."""

import errno
import hashlib
import logging
import math
import os
import re
import signal
import sys
import textwrap
import threading
import time
import traceback
from argparse import Namespace
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from itertools import groupby, product
from operator import itemgetter
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from stdp_run import rules
from stdp_run.commands import Invocation, run
from stdp_run.config.build import conf_folder, relatives
from stdp_run.errors import UserError
from stdp_run.system import STOP_SIGNALS

BAD_INPUT = 2
JOB_FAILED = 1
BROKEN_PIPE = 13  # SIGPIPE, which Windows does not have
SECONDS_TO_SAVE = 20
# Ctrl-C is an exception already, and USR2 belongs to submitit.
SIGNALS_THAT_END = [number for number in STOP_SIGNALS if number.name in ("SIGTERM", "SIGUSR1")]
# What does not change what a sweep or a job is about, and so not the name of its folder.
NOT_IN_NAMES = ("resume", "threads", "device", "trainer.checkpoint_every", "trainer.checkpoint_seconds")
# Launchers and sweepers that can be installed, and the extra of this package that has them.
EXTRAS = {"joblib": "parallel", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray", "optuna": "tune"}

log = logging.getLogger(__name__)


def job(config: DictConfig) -> float:
    """Run one experiment in Hydra's output directory; return its accuracy, by which a sweeper may optimise.

    A job that fails in a sweep leaves the reason in `error.txt` and lets the others continue.
    """
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    folders = [Path(source.path) for source in hydra_config.runtime.config_sources if source.schema == "file"]
    # A rule or neuron group of one's own lies beside its YAML.
    sys.path.extend(str(folder) for folder in folders if str(folder) not in sys.path)
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    if "joblib" in hydra_config.launcher._target_:
        end_with_parent()
    reason = directory / "error.txt"
    try:
        invocation = Invocation(
            directory,
            explicit=tuple(key_of(item) for item in hydra_config.overrides.task),
            job=hydra_config.job.num if in_sweep else None,
            bars=not in_sweep or "basic" in hydra_config.launcher._target_,
            sweep_directory=Path(hydra_config.sweep.dir) if in_sweep else None,
            tuning=tuning(config, hydra_config, folders),
        )
        accuracy = run(config, invocation)
    except Exception as error:
        message = explained(error, folders)
        log.error("stdp-run: error: %s", message or f"{type(error).__name__}: {error}", exc_info=message is None)
        log.debug("", exc_info=error)
        if not in_sweep:
            sys.exit(JOB_FAILED if message is None else BAD_INPUT)
        with suppress(OSError):
            reason.write_text(f"{message or repr(error)}\n")
        if "basic" not in hydra_config.sweeper._target_:
            raise
        return math.nan
    reason.unlink(missing_ok=True)
    return accuracy


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
    based_on = [relatives(part, str(choices.get(part)), target, folders) for part, target in targets.items()]
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


def explained(error: Exception, folders: list[Path]) -> str | None:
    """Return in one line what a user did wrong, or can mend; None if it is a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'outputs'}: {error.strerror}; the last checkpoint is unharmed"
    own = [folder for folder in folders if folder != conf_folder()]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if any(Path(frame.filename).is_relative_to(folder) for folder in own):
            return f"{frame.filename}, line {frame.lineno}: {type(error).__name__}: {error}"
    return None


class EndOfSweep(Callback):
    """When all jobs of a sweep are done, compares them and names those that failed."""

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


def main() -> None:
    """Run `stdp-run`."""
    for number in SIGNALS_THAT_END:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints a mistake in the overrides over several lines, and exits
    try:
        arguments = [canonical_rule(argument) for argument in sys.argv[1:]]
        sys.argv[1:] = [*arguments, *implied(arguments)]
        options = read_options()
        if options.help:  # Hydra's own help takes a second to find out what this one does not say
            return print(help_text([conf_folder(), Path(options.config_dir or conf_folder())]), flush=True)
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(job)()
    except BrokenPipeError:  # `stdp-run --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + BROKEN_PIPE)
    except Exception as error:  # not of a job, which handles its own
        of_command = isinstance(error, (UserError, HydraException, OmegaConfBaseException, OSError))
        if show_traceback or not (of_command or HydraConfig.instance().cfg is None):
            raise
        print(f"stdp-run: error: {in_one_line(error)}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def read_options() -> Namespace:
    """Return the options of the command; raise UserError for unknown ones, where Hydra prints a page of usage."""

    def refuse(message: str) -> NoReturn:
        raise UserError(message)

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_args()


def help_text(folders: Iterable[Path]) -> str:
    """Return the text of --help, with the config groups in the folders and their choices, for 80 columns."""
    choices = {(file.parent.name, file.stem) for folder in folders for file in folder.glob("*/*.yaml")}
    lines = []
    for group, found in groupby(sorted(choices), itemgetter(0)):
        line = f"  {group}: {', '.join(name for _, name in found)}"
        lines += textwrap.wrap(line, 80, subsequent_indent="    ", break_on_hyphens=False)
    return (conf_folder() / "help.txt").read_text().format(groups="\n".join(lines))


def key_of(override: str) -> str:
    """Return the key that an override such as "+rule.a_post=0.1" gives a value to."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def implied(arguments: list[str]) -> list[str]:
    """Return the overrides that follow from the command's own: where Hydra is to write, and not to stop at a failure.

    Raises:
        UserError: there is no run in the directory that `resume` names.
    """
    given = {key_of(item): item.partition("=")[2] for item in arguments if "=" in item}
    if given.get("hydra/sweeper") == "optuna" and "hydra.sweeper.max_failure_rate" not in given:
        return ["hydra.sweeper.max_failure_rate=1.0"]  # a trial that fails is one to learn from, not the end
    if given.get("mode") in ("predict", "export", "compare"):  # they have no run of their own
        return ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=terminal"]
    resume = given.get("resume", "auto")
    if resume in ("auto", "null", ""):
        return []
    if any(item in ("-m", "--multirun") for item in arguments):
        raise UserError(f"resume={resume}: resumes one run; the same command without it resumes a sweep")
    if not (Path(resume) / "config.yaml").is_file():
        raise UserError.bad_value("resume", resume, "auto, null, or the directory of a run, with a config.yaml in it")
    if "'" in resume or "\\" in resume:
        raise UserError.bad_value("resume", resume, "a path without quotation marks and backslashes")
    # Hydra would replace the record of the run's own command by this one's.
    return [f"hydra.run.dir='{resume}'", "hydra.output_subdir=null"]


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


# The cache hands every job the name that its sweep was given.
OmegaConf.register_new_resolver("sweep_name", lambda: sweep_name(sys.argv[1:]), use_cache=True, replace=True)
OmegaConf.register_new_resolver("job_name", job_name, replace=True)


def canonical_rule(argument: str) -> str:
    """Return a command-line argument with the rules it chooses by their own names, whatever their case or alias."""
    key, _, names = argument.partition("=")
    own = ",".join(rules.registered.canonical(name) or name for name in names.split(","))
    return f"rule={own}" if key == "rule" and names else argument


def in_one_line(error: Exception) -> str:
    """Return a mistake in the command line in one line that names the key, the value and what is allowed."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group in ("hydra/launcher", "hydra/sweeper") and name in EXTRAS:
            return f'{group}={name}: needs a package: pip install "stdp_run[{EXTRAS[name]}]"'
        return f"{group}={name}: must be one of {', '.join(error.options)}"
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and isinstance(cause.parent_node, DictConfig):
        key = cause.full_key
        given = next((item for item in sys.argv[1:] if f"{key_of(item)}.".startswith(f"{key}.")), key)
        known = sorted(str(name) for name in cause.parent_node if name not in ("_target_", "hydra"))
        return f"{given}: unknown key; known beside it: {', '.join(known)}"
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        key = "hydra.sweep.dir" if {"-m", "--multirun"} & set(sys.argv) else "hydra.run.dir"
        return f"{key}={error.filename}: cannot be written: {error.strerror}"
    if isinstance(error, OverrideParseException):
        quoted = "\"KEY='VALUE'\" where VALUE has brackets, commas or quotation marks"
        return f"{error.override}: must be KEY=VALUE, or {quoted}"
    if isinstance(error, ValueError) and "group override" in str(error):  # Hydra does not say which
        groups = [item for item in sys.argv[1:] if (conf_folder() / key_of(item)).is_dir()]
        return f"{', '.join(groups)}: must be the name of a choice"
    text = str(error).partition("Config search path:")[0] or type(error).__name__
    lines = [line.strip(" .") for line in text.splitlines() if line.strip()]
    if several := re.match(r"Ambiguous value for argument '(.*)'$", lines[0]):
        return f"{several[1]}: must be one value; -m sweeps over several, and a list is [VALUE,VALUE]"
    return f"{error.full_key}: {lines[0]}" if isinstance(error, OmegaConfBaseException) else "; ".join(lines[:2])


if __name__ == "__main__":
    # Jobs in other processes find the function of a module by its name, which __main__ is not.
    from stdp_run.cli import main as main_by_name

    main_by_name()
