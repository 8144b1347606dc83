"""`stdp_run.run`: runs an experiment from a notebook or a script."""

import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from stdp_run import commands
from stdp_run.cli.jobs import invocation_of, remove_if_empty
from stdp_run.cli.messages import in_one_line
from stdp_run.cli.overrides import PATHS, prepared, quoted
from stdp_run.commands.run_result import Result
from stdp_run.config.build import conf_folder
from stdp_run.config.custom_code import name_folder
from stdp_run.datasets import Arrays
from stdp_run.errors import UserError, shown
from stdp_run.training.signals import Stopped


def run(*overrides: str, config_dir: str | Path | None = None, **settings: object) -> Result:
    """Run the command `stdp-run` with the same settings, and return its result.

    Example::

        result = stdp_run.run("rule=full_online", n_exc=100, seed=1)
        result.accuracy, result.receptive_fields, result.network.classify(images)

    The result equals that of the command to the last bit. An interrupt (Ctrl-C, or a notebook's button) saves the run,
    and `stdp_run.run(resume=DIRECTORY)` resumes it. A loop replaces a sweep.

    Args:
        overrides: as on the command line, "KEY=VALUE".
        config_dir: the folder of custom rules, neuron groups and datasets, as with --config-dir.
        settings: overrides as keywords. None is null, lists and dicts are as in YAML. A key with a dot is passed in a
            dict: `**{"trainer.log_every": 500}`. `dataset` may be `stdp_run.datasets.Arrays(x, y)`.

    Raises:
        UserError: the command would end with this line, or its mode is neither train nor eval.
        KeyboardInterrupt: the run was interrupted; everything learned is saved.
    """
    for argument in overrides:
        if argument.startswith("-"):
            raise UserError(f"{argument}: options are for the command line; in Python a loop replaces a sweep")
    if isinstance(arrays := settings.get("dataset"), Arrays):
        settings |= {"dataset": "arrays", "dataset.file": arrays.file()}
    arguments = [*overrides, *(f"{key}={as_override(key, value)}" for key, value in settings.items())]
    try:
        config = composed(arguments, config_dir)
        hydra_config, directory = config.hydra, Path(config.hydra.run.dir).absolute()
        if config.mode not in ("train", "eval"):
            raise UserError.bad_value("mode", config.mode, "train or eval in Python; stdp_run.load predicts")
        directory.mkdir(parents=True, exist_ok=True)
    except (OmegaConfBaseException, OSError) as error:
        raise UserError(in_one_line(error, arguments)) from None
    hydra_config.runtime.output_dir = str(directory)
    with open_dict(config):
        del config["hydra"]
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    in_notebook = shell is not None and "IPKernelApp" in shell.config  # standard error is no terminal there
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        invocation = invocation_of(config, hydra_config)
        commands.run(config, replace(invocation, bars=in_notebook or None, show=lambda table: None))
    except Stopped as stopped:
        if stopped.signal == signal.SIGINT:
            raise KeyboardInterrupt from None
        signal.raise_signal(stopped.signal)
        raise
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        remove_if_empty(directory)
    return Result(directory)


def as_override(key: str, value: object) -> str:
    """Return a Python value as the value of an override."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{as_override(key, each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(as_override(key, each) for each in value) + "]"
    if not isinstance(value, str | int | float | np.generic | Path | None):
        allowed = "text, a number, True, False, None, a path, or lists or dicts of these"
        own = "; a dataset is the name of one, or stdp_run.datasets.Arrays(x, y)"
        raise UserError(f"{key}: {type(value).__name__} given; must be {allowed}{own if key == 'dataset' else ''}")
    text = shown(value.item() if isinstance(value, np.generic) else value)
    return text if key in PATHS or re.fullmatch(r"[\w.+/-]+", text, re.ASCII) else quoted(text)


def composed(arguments: list[str], config_dir: str | Path | None) -> DictConfig:
    """Return the config of a command with its section `hydra`; raise UserError for a bad argument.

    Hydra's global state is restored.
    """
    searched = []
    if config_dir is not None:
        name_folder(config_dir)
        searched = [f"hydra.searchpath=[{quoted(f'file://{Path(config_dir).absolute()}')}]"]
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_folder()), job_name="stdp_run", version_base="1.3"):
            return compose("config", [*prepared(arguments), *searched], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(in_one_line(error, arguments)) from None
    finally:
        GlobalHydra.instance().hydra = before
