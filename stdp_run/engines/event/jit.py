"""Compiles kernels for a rule and a neuron group, and keeps the code on disk.

A kernel and all functions that it calls are plain Python functions. Modules of kernels leave names open::

    rule = Bound("rule")                      the elementwise functions of the rule
    neuron = Bound("neuron")                  the elementwise functions of the neuron group
    implementation = Bound("implementation")  the functions of the rule's compiled implementation

`specialise` copies a function and its callees with namespaces in place of these names. `Kernel` makes the copy that
Python calls. numba's cache distinguishes functions by source file and bytecode, and ignores their callees. So each
kernel has its own cache folder, named by a digest of all its functions and of the engine's sources.
"""

import dis
import hashlib
import inspect
import logging
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.dispatcher import Dispatcher

from stdp_run import elementwise, encoding, parameters
from stdp_run.engines.event import arithmetic as arithmetic  # registers stdp_run.elementwise with numba
from stdp_run.files import cache_folder, locked

log = logging.getLogger(__name__)


class _NoEnvironment:
    """Replaces numba's code generator, which would register the Python environment of each function."""

    @staticmethod
    def set_env(name: str, environment: Any) -> None:
        """Do nothing: inner functions hold no Python objects."""


class _InnerLibrary(JITCodeLibrary):
    """The code of an inner function; it is optimised and compiled to machine code only as a part of kernels.

    By default numba also does both for each function alone, which took a third of the time to compile.
    """

    codegen = _NoEnvironment()

    def add_ir_module(self, ir_module: Any) -> None:
        """Keep LLVM from inlining rarely called functions, which would make kernels slower."""
        for function in ir_module.functions:
            if not function.is_declaration and "alwaysinline" not in function.attributes:
                function.attributes.add("noinline")
        super().add_ir_module(ir_module)

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0  # numba's value for a function that Python cannot call


class _InnerCompiler(Compiler):
    """numba's compiler with `_InnerLibrary` for the code."""

    def __init__(self, typing_context: Any, target_context: Any, library: None, *arguments: Any):
        inner = _InnerLibrary(target_context.codegen(), "inner")
        super().__init__(typing_context, target_context, inner, *arguments)


# "_nrt" off: no reference counts. Atomic counts for each array taken out of a tuple cost a third of the learning time
# with 100 neurons. They are not needed: compiled code creates no arrays, and the caller holds the arguments.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
    "_nrt": False,
    "no_cfunc_wrapper": True,  # C code calls no kernel
}
# Further options of inner functions, which only compiled code calls.
INNER: dict[str, Any] = {"no_cpython_wrapper": True, "pipeline_class": _InnerCompiler}


Bindings = Mapping[str, types.ModuleType]


class Bound:
    """A placeholder for a namespace, which `specialise` replaces."""

    def __init__(self, name: str):
        self.name = name


_rarely_called: set[Callable] = set()


def rarely_called(function: Callable) -> Callable:
    """Mark a function as not inlined; it compiles faster than a copy at each call."""
    _rarely_called.add(function)
    return function


@cache
def methods(cls: type) -> types.ModuleType:
    """Return the static methods of a rule or neuron group for compiled code."""
    names = (each for each in dir(cls) if not each.startswith("_"))
    static = [each for each in names if isinstance(inspect.getattr_static(cls, each), staticmethod)]
    return namespace({each: getattr(cls, each) for each in static}, {})


def namespace(functions: Mapping[str, Callable], bindings: Bindings) -> types.ModuleType:
    """Return specialised functions as a module, the only kind of namespace that compiled code accepts."""
    module = types.ModuleType("namespace")
    vars(module).update({name: specialise(function, bindings) for name, function in functions.items()})
    return module


_specialised: dict[tuple, Dispatcher] = {}


def specialise(function: Callable, bindings: Bindings) -> Dispatcher:
    """Return a compiled copy of a plain function and its callees, with their open names replaced by `bindings`.

    The copy is inlined into its caller, since a call would copy every tuple among the arguments.
    """
    key = (function, *((name, bindings[name]) for name in sorted(_open_names(function))))
    if key not in _specialised:
        copy = _copy(function)
        _specialised[key] = numba.njit(copy, **INNER, **OPTIONS, forceinline=function not in _rarely_called)
        _resolve(copy, bindings)
    return _specialised[key]


def _copy(function: Any) -> Any:
    scope = dict(function.__globals__)
    return types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, function.__closure__)


def _resolve(copy: Any, bindings: Bindings) -> None:
    for name, value in _used_globals(copy).items():
        if isinstance(value, Bound):
            copy.__globals__[name] = bindings[value.name]
        elif _is_plain(value):
            copy.__globals__[name] = specialise(value, bindings)


def _used_globals(function: Any) -> dict[str, Any]:
    names = (each.argval for each in dis.get_instructions(function) if each.opname == "LOAD_GLOBAL")
    return {name: function.__globals__[name] for name in names if name in function.__globals__}


def _is_plain(value: object) -> bool:
    """Return whether a global is a function to compile; `arithmetic` already compiles stdp_run.elementwise."""
    return isinstance(value, types.FunctionType) and value.__module__ != elementwise.__name__


@cache
def _open_names(function: Callable) -> frozenset[str]:
    """Return the open names that a function and its callees use."""
    used = _used_globals(function).values()
    own = {value.name for value in used if isinstance(value, Bound)}
    return frozenset(own.union(*(_open_names(value) for value in used if _is_plain(value) and value is not function)))


compiling = ThreadPoolExecutor(1, "compiling")  # the main thread stays free to receive signals


class Kernel:
    """A compiled function that Python calls, specialised for `bindings` and kept on disk."""

    def __init__(self, function: Callable, bindings: Bindings | None = None):
        copy = _copy(function)
        _resolve(copy, bindings or {})
        self._folder = kernel_folder("\n".join(_describe(copy, set())))
        with numba_keeps_code_in(self._folder) if self._folder else nullcontext():
            self._compiled = numba.njit(copy, cache=self._folder is not None, **OPTIONS)

    def __call__(self, *arguments: Any) -> Any:
        return self._compiled(*arguments)

    def compile(self, purpose: str, *arguments: Any) -> float:
        """Compile by a first call; return the seconds that it took, 0 if the code was found on disk.

        One process compiles while others wait for its code. Messages name the `purpose`.
        """
        before, what = self._compiled.stats.cache_misses.total(), f"compiling for {purpose}"
        with locked(self._folder / "lock", wait=True, what=what) if self._folder else nullcontext():
            start = time.perf_counter()
            self(*arguments)
            seconds = time.perf_counter() - start
        return seconds if self._compiled.stats.cache_misses.total() > before else 0.0


def _describe(function: Any, seen: set) -> Iterator[str]:
    """Yield a description of a resolved function: its code, its named constants, and its callees."""
    if function in seen:
        return
    seen.add(function)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    yield f"{function.__module__}.{function.__qualname__} {function.__defaults__} {cells} {_code(function.__code__)}"
    for name, value in _used_globals(function).items():
        called = vars(value).values() if isinstance(value, types.ModuleType) else (value,)
        for each in called:
            if isinstance(each, Dispatcher):
                yield from _describe(each.py_func, seen)
        if isinstance(value, (bool, int, float, str, tuple, np.generic)):
            yield f"{name}={value!r}"
        elif isinstance(value, np.ndarray):
            yield f"{name}={value.dtype}{value.tolist()}"


def _code(code: types.CodeType) -> str:
    constants = [_code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names} {code.co_varnames}"


def _engine_digest() -> bytes:
    """Return a digest of all that every kernel depends on: the engine's sources, Python, numba and llvmlite."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    shared = [Path(str(module.__file__)) for module in (elementwise, encoding, parameters)]
    for file in (*sorted(Path(__file__).parent.rglob("*.py")), *shared):
        digest.update(file.read_bytes())
    return digest.digest()


# Read at import: an edit of the sources during a run must not label the old code as new.
ENGINE_DIGEST = _engine_digest()


def kernel_folder(description: str) -> Path | None:
    """Return the folder for a kernel with this description; None, with a warning, if it cannot be written."""
    folder = cache_folder("compiled") / hashlib.sha256(ENGINE_DIGEST + description.encode()).hexdigest()[:20]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} is read-only")
    except OSError as error:
        log.warning("compiled code cannot be kept, every start compiles anew: %s", error)
        return None
    return folder


_setting = threading.Lock()


@contextmanager
def numba_keeps_code_in(folder: Path) -> Iterator[None]:
    """Context that makes numba cache decorated functions in `folder`; it changes a setting of the process."""
    config: Any = numba.config
    with _setting:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(folder)
        try:
            yield
        finally:
            config.CACHE_DIR = before
