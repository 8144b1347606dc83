"""What went wrong, in one line that names the key, the value and what is allowed."""

import errno
import re
import traceback
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from stdp_run.cli.overrides import key_of
from stdp_run.config.build import conf_folder
from stdp_run.errors import UserError

# Launchers and sweepers that can be installed, and the extra of this package that has them.
EXTRAS = {"joblib": "parallel", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray", "optuna": "tune"}


def explained(error: Exception, folders: list[Path], directory: Path) -> str | None:
    """Return in one line what a user did wrong, or can mend, in a job's directory; None: a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or directory}: {error.strerror}; the last checkpoint is unharmed"
    own = [folder for folder in folders if folder != conf_folder()]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if any(Path(frame.filename).is_relative_to(folder) for folder in own):
            return f"{frame.filename}, line {frame.lineno}: {type(error).__name__}: {error}"
    return None


def in_one_line(error: Exception, arguments: Sequence[str]) -> str:
    """Return a mistake in the arguments of a command in one line: the key, the value and what is allowed."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group in ("hydra/launcher", "hydra/sweeper") and name in EXTRAS:
            return f'{group}={name}: needs a package: pip install "stdp_run[{EXTRAS[name]}]"'
        others = " or the directory of a run" if group == "first_layer" else ""
        return f"{group}={name}: must be one of {', '.join(error.options)}{others}"
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and isinstance(cause.parent_node, DictConfig):
        key = cause.full_key
        given = next((item for item in arguments if f"{key_of(item)}.".startswith(f"{key}.")), key)
        known = sorted(str(name) for name in cause.parent_node if name not in ("_target_", "hydra"))
        hint = "; others belong to hydra/sweeper=optuna" if f"{key}".startswith("hydra.sweeper.") else ""
        if not known:
            return f"{given}: unknown key; {cause.parent_node._key()} is null"
        return f"{given}: unknown key; known beside it: {', '.join(known)}{hint}"
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        key = "hydra.sweep.dir" if {"-m", "--multirun"} & set(arguments) else "hydra.run.dir"
        reason = error.strerror
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
            around = next(path for path in Path(error.filename).absolute().parents if path.is_dir())
            reason = f"{around} is not writable ({reason})"
        return f"{key}={error.filename}: cannot be written: {reason}"
    if isinstance(error, OverrideParseException):
        quoted = "\"KEY='VALUE'\" where VALUE has brackets, commas, quotation marks or letters that are not ASCII"
        return f"{error.override}: must be KEY=VALUE, or {quoted}"
    if isinstance(error, ValueError) and "group override" in str(error):  # Hydra does not say which
        groups = [item for item in arguments if (conf_folder() / key_of(item)).is_dir()]
        return f"{', '.join(groups)}: must be the name of a choice"
    text = str(error).partition("Config search path:")[0] or type(error).__name__
    lines = [line.strip(" .") for line in text.splitlines() if line.strip()]
    if several := re.match(r"Ambiguous value for argument '(.*)'$", lines[0]):
        return f"{several[1]}: must be one value; -m sweeps over several, and a list is [VALUE,VALUE]"
    return f"{error.full_key}: {lines[0]}" if isinstance(error, OmegaConfBaseException) else "; ".join(lines[:2])
