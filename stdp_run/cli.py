"""The console script `stdp-run`: Hydra's command line, the names that rules go by, errors in one line, exit codes."""

import errno
import hashlib
import logging
import math
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from stdp_run import rules
from stdp_run.config.settings import conf_folder
from stdp_run.errors import UserError

BAD_INPUT = 2
JOB_FAILED = 1
SECONDS_TO_SAVE = 20
# What does not change what a sweep or a job is about, and so not the name of its folder.
NOT_IN_NAMES = ("resume", "threads", "device", "trainer.checkpoint_every", "trainer.checkpoint_seconds")

log = logging.getLogger(__name__)


class HeldBack:
    """Standard error that keeps what is written until `release`, and from then on passes it through."""

    def __init__(self, stream):
        self._stream = stream
        self.released = False
        self.text = ""

    def write(self, text: str) -> int:
        if self.released:
            return self._stream.write(text)
        self.text += text
        return len(text)

    def release(self, show: bool = True) -> None:
        """Pass on what was kept, if `show`, and everything that follows."""
        if not self.released:
            self.released = True
            self._stream.write(self.text if show else "")

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


_standard_error = HeldBack(sys.stderr)


def job(config: DictConfig) -> float:
    """Run one experiment in Hydra's output directory; return its accuracy, by which a sweeper may optimise.

    A job that fails in a sweep leaves the reason in `error.txt` and lets the others go on.
    """
    _standard_error.release()
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    folders = [source.path for source in hydra_config.runtime.config_sources if source.schema == "file"]
    # A rule or neuron group of one's own lies beside its YAML.
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    if "joblib" in hydra_config.launcher._target_:
        end_with_parent()
    reason = directory / "error.txt"
    try:
        check_pairing(hydra_config, folders)
        from stdp_run.commands.train import Invocation, run

        accuracy = run(
            config,
            directory,
            Invocation(
                explicit=tuple(key_of(item) for item in hydra_config.overrides.task),
                job=hydra_config.job.num if in_sweep else None,
                bars=not in_sweep or "basic" in hydra_config.launcher._target_,
            ),
        )
    except Exception as error:
        message = explained(error, folders)
        if message is None and not in_sweep:
            raise
        log.error("stdp-run: error: %s", message or f"{type(error).__name__}: {error}", exc_info=message is None)
        log.debug("", exc_info=error)
        if not in_sweep:
            sys.exit(BAD_INPUT)
        with suppress(OSError):
            reason.write_text(f"{message or repr(error)}\n")
        if "basic" not in hydra_config.sweeper._target_:
            raise
        return math.nan
    reason.unlink(missing_ok=True)
    return accuracy


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


def explained(error: Exception, folders: list[str]) -> str | None:
    """Return in one line what a person did wrong, or can mend; None if it is a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'outputs'}: {error.strerror}; the last checkpoint is unharmed"
    place = users_line(error, folders)
    return None if place is None else f"{place}: {type(error).__name__}: {error}"


class EndOfSweep(Callback):
    """When all jobs of a sweep are done, compares them and names those that failed."""

    def on_multirun_end(self, config: DictConfig, **_) -> None:
        """Write the comparison of the jobs, print it, and exit with 1 if one failed."""
        _standard_error.release()
        from stdp_run.reporting.comparing import to_text, write_comparison

        directory = Path(config.hydra.sweep.dir)
        failed = sorted(directory.rglob("error.txt"))
        try:
            comparison = write_comparison(directory)
            print(to_text(comparison))
            named = {run.directory for run in comparison.failed}
        except UserError as error:  # the sweep was not about learning, or every job failed before it began
            log.warning("%s", error)
            named = set()
        for reason in failed:
            if reason.parent not in named:
                print(f"failed: {reason.parent}: {reason.read_text().strip()}", file=sys.stderr)
        if failed:
            print(f"stdp-run: error: {len(failed)} failed, named above", file=sys.stderr)
            sys.exit(JOB_FAILED)


def users_line(error: Exception, folders: list[str]) -> str | None:
    """Return the file and line, among the user's own config folders, where an error arose; None if it is not theirs."""
    own = [folder for folder in folders if Path(folder) != conf_folder()]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if any(Path(frame.filename).is_relative_to(folder) for folder in own):
            return f"{frame.filename}, line {frame.lineno}"
    return None


def main() -> None:
    """Run `stdp-run`."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    arguments = [canonical_rule(argument) for argument in sys.argv[1:]]
    try:
        sys.argv[1:] = [*arguments, *implied(arguments)]
    except UserError as error:
        print(f"stdp-run: error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    decorated = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(job)
    sys.stderr = _standard_error
    try:
        decorated()
    except SystemExit as stop:
        # Hydra explains a mistake in the overrides over several lines, before the job starts.
        if stop.code in (1, 2) and not _standard_error.released and "HYDRA_FULL_ERROR" not in os.environ:
            _standard_error.release(show=False)
            print(f"stdp-run: error: {in_one_line(_standard_error.text, sys.argv[1:])}", file=sys.stderr)
            sys.exit(BAD_INPUT)
        raise
    except KeyboardInterrupt:
        _standard_error.release(show=False)
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # `stdp-run --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    finally:
        _standard_error.release()


def check_pairing(hydra_config, folders: list[str]) -> None:
    """Refuse a pairing that was asked for by name and does not exist; Hydra ignores it, as most pairs have none."""
    asked = [item.partition("=")[2] for item in hydra_config.overrides.task if item.startswith("pairing=")]
    there = sorted({file.stem for folder in folders for file in Path(folder).glob("pairing/*.yaml")})
    for name in asked:
        if name not in there:
            raise UserError.bad_value("pairing", name, f"one of {', '.join(there)}")


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
        raise UserError(f"resume={resume}: one run goes on there; a sweep goes on by the same command without it")
    if not (Path(resume) / "config.yaml").is_file():
        raise UserError.bad_value("resume", resume, "auto, null, or the directory of a run, with a config.yaml in it")
    if "'" in resume or "\\" in resume:
        raise UserError.bad_value("resume", resume, "a path without quotation marks and backslashes")
    # Hydra would replace the record of the run's own command by this one's.
    return [f"hydra.run.dir='{resume}'", "hydra.output_subdir=null"]


def telling(overrides: Iterable[str]) -> list[str]:
    """Return those overrides that say what a sweep or a job is about, whatever order they were given in."""
    told = [item for item in overrides if "=" in item and item[0] != "-" and key_of(item) not in NOT_IN_NAMES]
    return sorted(item for item in told if not key_of(item).startswith(("hydra.", "hydra/")))


def job_name(overrides: Iterable[str]) -> str:
    """Return a name for a job's folder that tells its settings, as far as they fit, and is its own."""
    told = telling(overrides)
    return _with_digest(re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(told))[:80], told)


def sweep_name(overrides: Iterable[str]) -> str:
    """Return a name for a sweep's folder that tells what is swept and is its own."""
    told = telling(overrides)
    swept = [key_of(item) for item in told if re.search(r",|^[^=]+=\w+\(", item)]
    return _with_digest("_".join(key.rpartition(".")[2] for key in swept)[:80], told)


def _with_digest(shown: str, told: list[str]) -> str:
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]
    shown = shown.strip("-_.")
    return f"{shown}_{digest}" if shown else digest


# The cache hands every job the name that its sweep was given.
OmegaConf.register_new_resolver("sweep_name", lambda: sweep_name(sys.argv[1:]), use_cache=True, replace=True)
OmegaConf.register_new_resolver("job_name", job_name, replace=True)


def canonical_rule(argument: str) -> str:
    """Return a command-line argument with the rules it chooses by their own names, whatever their case or alias."""
    match = re.fullmatch(r"(rule=)(.+)", argument)
    if match is None:
        return argument
    return match[1] + ",".join(rules.canonical(name) or name for name in match[2].split(","))


def in_one_line(message: str, overrides: list[str]) -> str:
    """Return Hydra's explanation of a mistake in one line that names the key, the value and what is allowed."""
    unknown_choice = re.search(
        r"Could not find '([^']+)/([^'/]+)'\s+Available options in '[^']+':\n((?:\t\S+\n)+)", message
    )
    if unknown_choice:
        group, name, options = unknown_choice.groups()
        return f"{group}={name}: must be one of {', '.join(options.split())}"
    unknown_key = re.search(r"Could not override '([^']+)'", message)
    if unknown_key:
        key = unknown_key[1]
        given = next((item for item in overrides if item.lstrip("+~").split("=")[0] == key), key)
        return f"{given}: unknown key; known beside it: {', '.join(keys_beside(key))}"
    unwritable = re.search(
        r"(?:Permission|FileExists|FileNotFound|NotADirectory|OS)Error: \[Errno \d+\] (.+): '([^']+)'", message
    )
    if unwritable:
        return f"hydra.run.dir={unwritable[2]}: cannot be written: {unwritable[1]}"
    usage = re.search(r"^\S+: error: (.+)$", message, re.MULTILINE)
    if usage:
        return usage[1]
    lines = [line.strip() for line in message.splitlines() if line.strip() and "HYDRA_FULL_ERROR" not in line]
    return "; ".join(lines[:3]) or "the command line cannot be understood"


def keys_beside(key: str) -> list[str]:
    """Return the keys that the default config has where `key` would stand."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config")
    section, _, _ = key.rpartition(".")
    found = OmegaConf.select(config, section) if section else config
    if not isinstance(found, DictConfig):
        found = config
    return sorted(str(name) for name in found if name != "_target_")


if __name__ == "__main__":
    # Jobs in other processes find the function of a module by its name, which __main__ is not.
    from stdp_run.cli import main as main_by_name

    main_by_name()
