"""Classes by their import path: from this package, and from config folders that the user has named.

A `_target_` may come from a checkpoint that somebody else made, and importing a module runs it. So a module is never
looked for on Python's path. It is one of this package, or lies in the `config_dir` of the settings, which a run
records; and that folder counts only if the user has named it, by --config-dir or `config_dir=`, in this process or in
an earlier one: the user's cache keeps a list.
"""

import logging
import os
import shlex
import sys
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import TypeVar

from stdp_run.errors import UserError
from stdp_run.files import cache_folder, write_atomically

T = TypeVar("T")

log = logging.getLogger(__name__)

PACKAGE = __name__.partition(".")[0]
in_use: set[Path] = set()  # folders of which code runs in this process
_named: set[Path] = set()  # in this process: the list may not be writable


def name_folder(folder: object) -> str:
    """Let classes be imported from a folder that the user named, now and in later processes; return its whole path.

    Raises:
        UserError: it is no folder.
    """
    if not isinstance(folder, str | Path) or not str(folder) or not os.path.isdir(folder):
        raise UserError.bad_value("config_dir", folder, "a folder that is there, with the code of classes of one's own")
    named = Path(folder).resolve()
    _named.add(named)
    if named not in (kept := _kept()):
        text = "".join(f"{each}\n" for each in (*kept, named) if each.is_dir() and "\n" not in str(each))
        try:
            _list().parent.mkdir(parents=True, exist_ok=True)
            write_atomically(_list(), os.fsencode(text))
        except (OSError, UserError) as error:
            log.info("%s has to be named again by the next command: %s", named, error)
    return os.path.abspath(folder)


def _list() -> Path:
    return cache_folder("config_folders.txt")


def _kept() -> list[Path]:
    """Return the folders that were named in earlier processes."""
    try:
        return [Path(line) for line in os.fsdecode(_list().read_bytes()).splitlines()]
    except OSError:
        return []


def import_class(section: str, target: str, base: type[T], config_dir: str | None) -> type[T]:
    """Return the class at the import path `target`, the `_target_` of a section, which must derive from `base`.

    Args:
        section: "rule", "neuron", "dataset" or "perturbation".
        target: module.Class.
        base: what it must derive from.
        config_dir: the folder in which a class of one's own lies, if the user has named it.

    Raises:
        UserError: it cannot be imported, or is not what the section needs; the line names the file.
    """
    key = f"{section}._target_"
    module_name, _, class_name = target.rpartition(".")
    if not module_name or not all(map(str.isidentifier, target.split("."))):
        raise UserError.bad_value(key, target, f"the path of a class, module.Class, from {base.__name__}")
    top = module_name.partition(".")[0]
    spec = None if top == PACKAGE else _find(f"{key}={target}", top, config_dir)
    try:
        if spec is not None and top not in sys.modules:
            _load(spec, str(config_dir))
        cls = getattr(import_module(module_name), class_name)
    except Exception as error:
        with suppress(Exception):  # there is no such module, or its package cannot be imported either
            spec = find_spec(module_name) or spec
        where = f"; in {spec.origin}" if spec else ""
        raise UserError(f"{key}={target}: {type(error).__name__}: {error}{where}") from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError.bad_value(key, target, f"a class derived from {base.__module__}.{base.__name__}")
    return cls


def _find(what: str, top: str, config_dir: str | None) -> ModuleSpec:
    """Return where the module `top` of one's own lies; nothing of it has run yet."""
    if config_dir is None:
        names_it = "--config-dir FOLDER (in Python: config_dir=FOLDER) names the folder of a class of one's own"
        raise UserError(f"{what}: not in the package {PACKAGE}; {names_it}")
    option = f"--config-dir {shlex.quote(config_dir)} (in Python: config_dir=...)"
    if not os.path.isdir(config_dir):
        raise UserError(f"{what}: its folder, {config_dir}, is not there any more; --config-dir FOLDER names another")
    if Path(config_dir).resolve() not in (*_named, *_kept()):
        raise UserError(f"{what}: its code is said to lie in {config_dir}; {option} lets it run, if you trust it")
    spec = PathFinder.find_spec(top, [config_dir])
    if spec is None or spec.origin is None:  # none: a folder without code, such as that of a config group
        raise UserError(
            f"{what}: there is no {top}.py in {config_dir}; --config-dir FOLDER names the folder that has it"
        )
    known = sys.modules.get(top)
    if known is not None and not _is_same(getattr(known, "__file__", None), spec.origin):
        other = getattr(known, "__file__", None) or "one of Python's own"
        raise UserError(f"{what}: {spec.origin} has the name of another module, {other}; rename it")
    return spec


def _is_same(file: str | None, other: str) -> bool:
    return file is not None and os.path.realpath(file) == os.path.realpath(other)


def _load(spec: ModuleSpec, config_dir: str) -> None:
    """Import the module of a spec, which may import what lies beside it."""
    if config_dir not in sys.path:
        sys.path.append(config_dir)
    in_use.add(Path(config_dir))
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        assert spec.loader is not None  # it has an origin
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
