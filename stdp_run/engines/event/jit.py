"""From a rule and a neuron group, which are plain Python, to compiled code that is kept on disk.

A kernel is a plain function, and so is everything that it calls. Modules of kernels leave names open:

    rule = Bound("rule")                      the elementwise functions of the rule
    neuron = Bound("neuron")                  those of the neuron group
    implementation = Bound("implementation")  the functions of the rule's compiled implementation

`specialise` copies a function and all that it calls with namespaces in place of these names; `Kernel` makes a copy that
Python calls. numba keeps a compiled function by its source file and bytecode and ignores what the function calls, so
each kernel has a cache folder of its own, named by a digest of all its functions and of the engine's sources.
"""

import dis
import inspect
import time
import types
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from typing import Any

import numba
import numpy as np
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.dispatcher import Dispatcher

from stdp_run import elementwise
from stdp_run.engines.event import arithmetic as arithmetic  # teaches numba the functions of stdp_run.elementwise
from stdp_run.engines.event.cache import kernel_folder, numba_keeps_code_in
from stdp_run.files import locked


class _NoEnvironment:
    """Replaces numba's code generator, by which numba registers the Python environment of a function."""

    @staticmethod
    def set_env(name: str, environment: Any) -> None:
        """Do nothing: inner functions hold no Python objects."""


class _InnerLibrary(JITCodeLibrary):
    """The code of an inner function, which is optimised and turned into machine code only as a part of kernels.

    By default numba does both for each function on its own as well, which took a third of the time to compile.
    """

    codegen = _NoEnvironment()

    def add_ir_module(self, ir_module: Any) -> None:
        """Keep rarely called functions out of kernels, which LLVM would make slower by inlining them."""
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
        return 0  # as for any function that Python cannot call


class _InnerCompiler(Compiler):
    """numba's compiler with `_InnerLibrary` for the code."""

    def __init__(self, typing_context: Any, target_context: Any, library: None, *arguments: Any):
        inner = _InnerLibrary(target_context.codegen(), "inner")
        super().__init__(typing_context, target_context, inner, *arguments)


# Without "_nrt" numba counts references, atomically, whenever an array is taken out of a tuple: a third of the time of
# learning with 100 neurons. Compiled code here creates no arrays, and what it is given is held by the caller.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
    "_nrt": False,
    "no_cfunc_wrapper": True,  # C calls none of it
}
# Only compiled code calls these functions.
INNER: dict[str, Any] = {"no_cpython_wrapper": True, "pipeline_class": _InnerCompiler}


Bindings = Mapping[str, types.ModuleType]


class Bound:
    """A placeholder for a namespace, which `specialise` replaces."""

    def __init__(self, name: str):
        self.name = name


_rarely_called: set[Callable] = set()


def rarely_called(function: Callable) -> Callable:
    """Let a function stay a function, which takes less time to compile than a copy at each call."""
    _rarely_called.add(function)
    return function


@cache
def methods(cls: type) -> types.ModuleType:
    """Return the static methods of a rule or neuron group for compiled code."""
    names = (each for each in dir(cls) if not each.startswith("_"))
    static = [each for each in names if isinstance(inspect.getattr_static(cls, each), staticmethod)]
    return namespace({each: getattr(cls, each) for each in static}, {})


def namespace(functions: Mapping[str, Callable], bindings: Bindings) -> types.ModuleType:
    """Return plain functions for compiled code, each as `specialise` makes it; compiled code takes modules only."""
    module = types.ModuleType("namespace")
    vars(module).update({name: specialise(function, bindings) for name, function in functions.items()})
    return module


_specialised: dict[tuple, Dispatcher] = {}


def specialise(function: Callable, bindings: Bindings) -> Dispatcher:
    """Return a compiled copy of a plain function, and of all that it calls, with the namespaces of `bindings`.

    The copy is inlined into the kernel that calls it, as a call would copy every tuple among its arguments.
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
    """Return whether a global is a function to compile; those of stdp_run.elementwise numba knows from `arithmetic`."""
    return isinstance(value, types.FunctionType) and value.__module__ != elementwise.__name__


@cache
def _open_names(function: Callable) -> frozenset[str]:
    """Return the open names that a function uses, itself or in what it calls."""
    used = _used_globals(function).values()
    own = {value.name for value in used if isinstance(value, Bound)}
    return frozenset(own.union(*(_open_names(value) for value in used if _is_plain(value) and value is not function)))


compiling = ThreadPoolExecutor(1, "compiling")  # so that the main thread can receive signals


class Kernel:
    """A compiled function that Python calls, specialised as by `specialise` and kept on disk."""

    def __init__(self, function: Callable, bindings: Bindings | None = None):
        copy = _copy(function)
        _resolve(copy, bindings or {})
        self._folder = kernel_folder("\n".join(_describe(copy, set())))
        with numba_keeps_code_in(self._folder) if self._folder else nullcontext():
            self._compiled = numba.njit(copy, cache=self._folder is not None, **OPTIONS)

    def __call__(self, *arguments: Any) -> Any:
        return self._compiled(*arguments)

    def compile(self, purpose: str, *arguments: Any) -> float:
        """Call it for the first time; return the seconds of compiling, 0 if its code was found on disk.

        One process at a time does: the others find its work after it. Messages name the `purpose`.
        """
        before, what = self._compiled.stats.cache_misses.total(), f"compiling for {purpose}"
        with locked(self._folder / "lock", wait=True, what=what) if self._folder else nullcontext():
            start = time.perf_counter()
            self(*arguments)
            seconds = time.perf_counter() - start
        return seconds if self._compiled.stats.cache_misses.total() > before else 0.0


def _describe(function: Any, seen: set) -> Iterator[str]:
    """Yield what a resolved function is made of: its code, the constants that it names, and what it calls."""
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
