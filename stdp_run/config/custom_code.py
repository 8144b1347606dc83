"""Imports classes by their path: from this package, or custom classes from folders that the user named.

A `_target_` may come from an untrusted checkpoint, and importing a module runs it. So custom modules are imported only
from folders that this command or Python process named by --config-dir or `config_dir=`.
"""

import os
import shlex
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TypeVar

from stdp_run.errors import UserError

T = TypeVar("T")

PACKAGE = __name__.partition(".")[0]
named_folders: list[Path] = []  # newest first


def name_folder(folder: str | Path) -> None:
    """Allow this process to import custom classes from a folder; raise UserError if it is not a folder."""
    if not isinstance(folder, str | Path) or not os.path.isdir(folder):
        raise UserError.bad_value("config_dir", folder, "an existing folder with the code of custom classes")
    path = Path(folder).resolve()
    named_folders[:] = [path, *(other for other in named_folders if other != path)]
    if str(path) not in sys.path:
        sys.path.append(str(path))


def command_to_resume(directory: Path) -> str:
    """Return the command that resumes the run in a directory, quoted for a shell."""
    options = [word for folder in named_folders[:1] for word in ("--config-dir", str(folder))]
    return shlex.join(["stdp-run", *options, f"resume={directory}"])


def import_class(section: str, target: str, base: type[T]) -> type[T]:
    """Return the class at the path `target`; raise UserError, which names the file, unless it derives from `base`."""
    key = f"{section}._target_"
    module_name, _, class_name = target.rpartition(".")
    if not module_name or not all(map(str.isidentifier, target.split("."))):
        raise UserError.bad_value(key, target, f"the path of a class, module.Class, derived from {base.__name__}")
    top = module_name.partition(".")[0]
    file = None if top == PACKAGE else _custom_file(f"{key}={target}", top)
    try:
        module = import_module(module_name)
    except Exception as error:
        raise UserError(f"{key}={target}: {type(error).__name__}: {error}{f'; in {file}' if file else ''}") from error
    other = getattr(sys.modules[top], "__file__", None) or "one of Python's own"
    if file and os.path.realpath(other) != os.path.realpath(file):
        raise UserError(f"{key}={target}: {file} has the name of another module, {other}; rename it")
    cls = getattr(module, class_name, None)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        where = f"in {file} " if file else ""
        raise UserError.bad_value(key, target, f"a class {where}derived from {base.__module__}.{base.__name__}")
    return cls


def _custom_file(what: str, top: str) -> str:
    """Return the file of the module `top` in a folder that the user named."""
    spec = PathFinder.find_spec(top, [str(folder) for folder in named_folders])
    if spec is None or spec.origin is None:
        names_it = "--config-dir FOLDER (in Python: config_dir=FOLDER) names the folder of a custom class"
        raise UserError(f"{what}: no {top}.py in {PACKAGE} or in a named folder; {names_it}")
    return spec.origin
