"""From a rule and a neuron group, which are plain Python, to compiled code that is cached on disk.

A kernel is a plain function, and so is all that it calls. A module of kernels leaves names open for what differs from
rule to rule and from neuron group to neuron group:

    rule = Bound("rule")              the elementwise functions of the rule
    neuron = Bound("neuron")          those of the neuron group
    plasticity = Bound("plasticity")  the functions of the rule's compiled implementation

`specialise` makes a copy of a function in which these names mean given namespaces, and so do they in everything that
it calls; `Kernel` makes one that Python calls. numba keeps a compiled function by its source file and bytecode, and
does not look at what the function calls: therefore each kernel has a cache folder of its own, named by a digest of all
functions that it is made of and of the engine's sources. An edit in any of them compiles anew, an edit elsewhere does
not.
"""

import dis
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import cache
from typing import Any

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher

from stdp_run import elementwise
from stdp_run.engines.event import arithmetic as arithmetic  # teaches numba the functions of stdp_run.elementwise
from stdp_run.engines.event.cache import kernel_folder, numba_keeps_code_in
from stdp_run.files import locked

# Without "_nrt" numba counts references, atomically, whenever an array is taken out of a tuple: a third of the time of
# learning with 100 neurons. Compiled code here creates no arrays, and what it is given is held by the caller.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}
# For functions that only compiled code calls: what would let Python or C call them takes a third of the time.
INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class Namespace(types.ModuleType):
    """Compiled functions by name: compiled code can call `namespace.function`, as it can with modules only."""

    def __init__(self, functions: Mapping[str, Callable]):
        super().__init__("namespace")
        self.__dict__.update(functions)


Bindings = Mapping[str, Namespace]


class Bound:
    """What stands for a namespace until `specialise` puts it in its place."""

    def __init__(self, name: str):
        self.name = name


_rarely_called: set[Callable] = set()


def rarely_called(function: Callable) -> Callable:
    """Let a function stay a function, which takes less time to compile than a copy at each call."""
    _rarely_called.add(function)
    return function


@cache
def methods(cls: type) -> Namespace:
    """Return the static methods of a rule or neuron group for compiled code."""
    names = (each for each in dir(cls) if not each.startswith("_"))
    static = [each for each in names if isinstance(inspect.getattr_static(cls, each), staticmethod)]
    return namespace({each: getattr(cls, each) for each in static}, {})


def namespace(functions: Mapping[str, Callable], bindings: Bindings) -> Namespace:
    """Return plain functions for compiled code, each as `specialise` makes it."""
    return Namespace({name: specialise(function, bindings) for name, function in functions.items()})


_specialised: dict[tuple, Dispatcher] = {}


def specialise(function: Callable, bindings: Bindings) -> Dispatcher:
    """Return a compiled copy of a plain function in which open names mean the namespaces of `bindings`.

    So they do in the plain functions that it calls. It becomes a part of the kernel that calls it: a call would copy
    every tuple that is handed over, once a step.
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

    def compile(self, *arguments: Any) -> bool:
        """Call it for the first time; return whether it was compiled, and not found on disk.

        One process at a time does: the others find its work after it.
        """
        before = self._compiled.stats.cache_misses.total()
        with locked(self._folder / "lock", wait=True, what="compiling") if self._folder else nullcontext():
            self(*arguments)
        return self._compiled.stats.cache_misses.total() > before


def _describe(function: Any, seen: set) -> Iterator[str]:
    """Yield what a resolved function is made of: its code, the constants that it names, and what it calls."""
    if function in seen:
        return
    seen.add(function)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    yield f"{function.__module__}.{function.__qualname__} {function.__defaults__} {cells} {_code(function.__code__)}"
    for name, value in _used_globals(function).items():
        called = vars(value).values() if isinstance(value, Namespace) else (value,)
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
