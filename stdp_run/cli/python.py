"""`stdp_run.run`: what the command does, from a notebook or a script."""

import logging
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import OmegaConfBaseException

from stdp_run import commands
from stdp_run.cli.job import invocation_of
from stdp_run.cli.messages import in_one_line
from stdp_run.cli.overrides import PATHS, prepared
from stdp_run.cli.records import RunLog, remove_unused_folders
from stdp_run.commands.result import Result
from stdp_run.config.build import conf_folder
from stdp_run.config.command_line import quoted
from stdp_run.errors import UserError
from stdp_run.training.signals import Stoppable

OF_HYDRA = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)  # what it has once in a process


def run(*overrides: str, config_dir: str | Path | None = None, **settings: object) -> Result:
    """Do what `stdp-run` does with the same settings, in a directory of the same kind; return what came of it.

        result = stdp_run.run("rule=full_online", n_exc=100, seed=1)
        result.accuracy, result.receptive_fields, result.network.classify(images)

    The figures are those of the command, to the last bit. Nothing that belongs to the whole process stays changed:
    signals, loggers, torch's threads, a Hydra and resolvers of the caller's. An interrupt (Ctrl-C, or a notebook's
    button) saves as on the command line, and `stdp_run.run(resume=DIRECTORY)` resumes. A loop makes a sweep.

    Args:
        overrides: as on the command line, "KEY=VALUE".
        config_dir: the folder of rules, neuron groups and datasets of one's own, as of --config-dir.
        settings: the same by keyword. None is null; lists and dicts are what they are in YAML. A key with a dot goes
            into a dict: `**{"trainer.log_every": 500}`.

    Raises:
        UserError: what would end the command, with the same line; also modes but train and eval.
        KeyboardInterrupt: it was interrupted; what was learned is saved.
    """
    for argument in overrides:
        if argument.startswith("-"):
            raise UserError(f"{argument}: options are for the command line; in Python a loop makes a sweep")
    arguments = [*overrides, *(f"{key}={_as_override(key, value)}" for key, value in settings.items())]
    failed: list[Exception] = []

    def job(config: DictConfig) -> Result | None:
        try:
            return _run(config)
        except Exception as error:  # Hydra would print something of its own about it
            failed.append(error)
            return None

    with _interruptible(), _torch_as_it_was(), _hydra_apart():
        try:
            done = _hydra(config_dir).run("config", job, prepared(arguments), with_log_configuration=False)
        except (HydraException, OmegaConfBaseException, OSError) as error:
            raise UserError(in_one_line(error, arguments)) from None
        finally:
            remove_unused_folders()
    if failed:
        raise failed[0]
    return done.return_value


def _run(config: DictConfig) -> Result:
    """Run one experiment in Hydra's output directory."""
    hydra_config = HydraConfig.get()
    if config.mode not in ("train", "eval"):
        raise UserError.bad_value("mode", config.mode, "train or eval in Python; stdp_run.load(RUN) is for the others")
    directory = Path(hydra_config.runtime.output_dir)
    layout = hydra_config.job_logging["formatters"]["file"]["format"]
    with _log_in(RunLog(str(directory / "run.log")), layout):
        given = invocation_of(config, hydra_config)
        commands.run(config, replace(given, bars=_in_notebook() or None, show=lambda table: None))
    return Result(directory)


def _as_override(key: str, value: object) -> str:
    """Return a value of Python as the value of an override."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_as_override(key, each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_as_override(key, each) for each in value) + "]"
    text = str(value)
    plain = key in PATHS or isinstance(value, int | float) or re.fullmatch(r"[\w./-]+", text, re.ASCII)
    return text if plain else quoted(text)


def _hydra(config_dir: str | Path | None) -> Hydra:
    """Return a Hydra that composes the configs of the command."""
    setbase("1.3")
    path: ConfigSearchPath = create_config_search_path(str(conf_folder()))
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise UserError.bad_value("config_dir", config_dir, "a folder that is there")
        own = f"file://{Path(config_dir).absolute()}"
        path.prepend(provider="command-line", path=own, anchor=SearchPathQuery(provider="schema"))
    return Hydra.create_main_hydra2("stdp_run", path)


@contextmanager
def _hydra_apart() -> Iterator[None]:
    """Have a Hydra of one's own in a context; what the caller has of it, and of resolvers, is as it was after it."""
    instances, resolvers = Singleton._instances, BaseContainer._resolvers
    BaseContainer._resolvers = dict(resolvers)
    before: dict[type, Singleton] = {each: instances.pop(each) for each in OF_HYDRA if each in instances}
    try:
        yield
    finally:
        for each in OF_HYDRA:
            instances.pop(each, None)
        instances.update(before)
        BaseContainer._resolvers = resolvers


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Undo what a command sets in torch for the whole process."""
    import torch

    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have an interrupt raise KeyboardInterrupt once all is saved, and another signal do what it would have done."""
    stoppable = Stoppable()
    try:
        with stoppable:
            yield
    except SystemExit:
        if stoppable.pending == signal.SIGINT:
            raise KeyboardInterrupt from None
        if stoppable.pending is not None:
            signal.raise_signal(stoppable.pending)
        raise


@contextmanager
def _log_in(file: RunLog, layout: str) -> Iterator[None]:
    """Have a file take what the program logs, and the caller's loggers what they would take without it."""
    logger, outer = logging.getLogger("stdp_run"), logging.getLogger()

    class Outer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            outer.callHandlers(record)

    file.setFormatter(logging.Formatter(layout))
    handlers, level, propagate = [file, Outer(logger.getEffectiveLevel())], logger.level, logger.propagate
    for handler in handlers:
        logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        for handler in handlers:
            logger.removeHandler(handler)
        file.close()


def _in_notebook() -> bool:
    """Return whether this is a notebook, whose standard error is no terminal and where bars are seen all the same."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config
