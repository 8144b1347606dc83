"""Turns errors into one line that names the key, the value and the allowed values."""

import errno
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from stdp_run.cli.overrides import is_sweep, key_of
from stdp_run.config.build import conf_folder
from stdp_run.config.compatibility import flat
from stdp_run.config.custom_code import named_folders
from stdp_run.errors import UserError, nearest


def explained(error: Exception, directory: Path) -> str | None:
    """Return the line for an error of a job in a directory; None for a defect of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OmegaConfBaseException):  # from a value with ${...}
        return "; ".join(str(error).splitlines())
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{error.filename or directory}: {error.strerror}; the last checkpoint is unharmed"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if any(Path(frame.filename).is_relative_to(folder) for folder in named_folders):
            return f"{frame.filename}, line {frame.lineno}: {type(error).__name__}: {error}"
    return None


def in_one_line(error: Exception, arguments: Sequence[str]) -> str:
    """Return the line for an error in the arguments of a command."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        others = " or the directory of a run" if group == "first_layer" else ""
        if group.startswith("hydra/"):
            others = '; pip install "stdp-run[parallel,slurm,ray,tune]" adds others'
        return f"{group}={name}: must be one of {', '.join(error.options)}{others}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        return _unknown_key(str(cause.full_key), cause.parent_node, arguments)
    if isinstance(error, OverrideParseException):
        quotes = "\"KEY='VALUE'\" where VALUE has brackets, commas, quotation marks or letters that are not ASCII"
        return f"{error.override}: must be KEY=VALUE, or {quotes}"
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        key = "hydra.sweep.dir" if is_sweep(arguments) else "hydra.run.dir"
        return f"{key}={error.filename}: cannot be written: {error.strerror}"
    lines = str(error).splitlines() or [type(error).__name__]
    return "; ".join(line.strip(" .") for line in lines[:2])


def _unknown_key(key: str, section: DictConfig, arguments: Sequence[str]) -> str:
    """Return the line for a key that is unknown in its section."""
    given = next((item for item in arguments if f"{key_of(item)}.".startswith(f"{key}.")), key)
    group = key.rpartition(".")[0].replace(".", "/")
    names = {str(name) for name in section if name not in ("_target_", "hydra")}
    if group in ("hydra/launcher", "hydra/sweeper"):
        return f"{given}: unknown key; {nearest(key, names)}; {group}=NAME has others"
    if not names:
        choices = sorted(file.stem for file in (conf_folder() / group).glob("*.yaml") if file.stem != "none")
        return f"{given}: needs {group}=NAME; NAME is one of {', '.join(choices)}"
    if not group:
        names |= {folder.name for folder in conf_folder().iterdir() if folder.is_dir()} | {"tuned"}
        inner = flat(cast(dict, OmegaConf.to_container(section)))
        if found := [each for each in inner if each.endswith(f".{key}") and not each.startswith("hydra.")]:
            return f"{given}: unknown key; did you mean {' or '.join(found)}?"
    return f"{given}: unknown key; {nearest(key, names)}"
