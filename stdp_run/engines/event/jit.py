"""From a rule and a neuron group, which are plain Python, to compiled code that is cached on disk.

numba caches a compiled function by its source file and bytecode, and does not look at what the function calls. So the
kernels name what they call through a global (`rule`, `neuron`), `specialise` binds that name in a copy of the
function, and each binding has a cache folder of its own, named by a digest of every source file that it is made of: an
edit in any of them, or in a user's own rule, compiles anew.
"""

import fcntl
import hashlib
import inspect
import os
import sys
import types
from collections.abc import Container, Iterable
from contextlib import contextmanager
from pathlib import Path

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic, overload

from stdp_run import elementwise
from stdp_run.elementwise import VECTOR_BYTES
from stdp_run.engines.event.simd import Vector, spread


def _package_digest() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for file in sorted(Path(__file__).parents[2].rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


# Taken at import, when the sources are those that run: an edit while a process runs must not label its code as new.
_PACKAGE_DIGEST = _package_digest()
# Without "_nrt" numba counts references, atomically, whenever an array is taken out of a tuple: a third of the time of
# learning with 100 neurons. Compiled code here creates no arrays, and what it is given is held by the caller.
OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}
# For functions that only compiled code calls: what would let Python or C call them takes a third of the time.
INNER = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


# ------------------------------------------------------------------------------------------------------------------
# The functions of stdp_run.elementwise for single numbers. A whole number beside a float is taken as that float, so
# that a 0 or 1 in a formula does not turn float32 into float64.


def _common(first, second):
    """Return a converter to the type in which two operands meet."""
    if isinstance(first, numba_types.Float) and not isinstance(second, numba_types.Float):
        return np.dtype(first.name).type
    if isinstance(second, numba_types.Float) and not isinstance(first, numba_types.Float):
        return np.dtype(second.name).type
    if isinstance(first, numba_types.Float):
        return np.dtype(max(first.name, second.name)).type
    return np.int64


@overload(elementwise.where)
def _where(condition, chosen, otherwise):
    if isinstance(condition, Vector):
        return None  # stdp_run.engines.event.simd
    convert = _common(chosen, otherwise)

    def implementation(condition, chosen, otherwise):
        return convert(chosen) if condition else convert(otherwise)

    return implementation


def _compile_bound(function, choose) -> None:
    """Compile `maximum` or `minimum`: the result has the type of the values, whatever that of the bound."""

    @overload(function)
    def _bound(values, bound):
        if isinstance(values, Vector):
            return None
        convert = _common(values, bound) if isinstance(bound, numba_types.Integer) else np.dtype(values.name).type

        def implementation(values, bound):
            return choose(convert(values), convert(bound))

        return implementation


_compile_bound(elementwise.maximum, max)
_compile_bound(elementwise.minimum, min)


@intrinsic
def float_bits(typing_context, value):
    """Return the bits of a float64 (float32) as int64 (int32), or the other way round; also lane by lane."""
    dtype = value.dtype if isinstance(value, Vector) else value
    word = getattr(numba_types, ("int" if isinstance(dtype, numba_types.Float) else "float") + dtype.name[-2:])
    if isinstance(value, Vector):
        word = Vector(word, value.lanes)

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(word))

    return word(value), generate


def _sum_block(n_vectors: int, weighted: bool = False):
    """Return the compiled function that adds up `n_vectors` vectors of several rows of a matrix in registers."""

    def define(total, matrix, active, picks, coefficient):
        item = np.dtype(total.dtype.name).itemsize
        lanes = VECTOR_BYTES // item

        def generate(context, builder, signature, arguments):
            arrays = [
                context.make_array(t)(context, builder, value=a)
                for t, a in zip(signature.args, arguments, strict=True)
                if isinstance(t, numba_types.Array)
            ]
            n, first = arguments[4:6]
            word = ir.IntType(64)
            vector = ir.VectorType(context.get_value_type(total.dtype), lanes)
            add = builder.fadd if isinstance(total.dtype, numba_types.Float) else builder.add
            stride = cgutils.unpack_tuple(builder, arrays[1].shape, 2)[1]
            sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(n_vectors)]
            for slot in sums:
                builder.store(ir.Constant(vector, None), slot)

            def vector_at(pointer, offset):
                return builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())

            with cgutils.for_range(builder, n) as loop:
                place = builder.zext(builder.load(builder.gep(arrays[3].data, [loop.index])), word)
                row = builder.zext(builder.load(builder.gep(arrays[2].data, [place])), word)
                offset = builder.add(builder.mul(row, stride), first)
                if weighted:
                    factor = spread(builder, builder.load(builder.gep(arrays[4].data, [place])), lanes)
                for v, slot in enumerate(sums):
                    pointer = vector_at(arrays[1].data, builder.add(offset, ir.Constant(word, v * lanes)))
                    values = builder.load(pointer, align=item)
                    if weighted:
                        values = builder.fmul(factor, values)
                    builder.store(add(builder.load(slot), values), slot)
            for v, slot in enumerate(sums):
                pointer = vector_at(arrays[0].data, builder.add(first, ir.Constant(word, v * lanes)))
                builder.store(builder.load(slot), pointer, align=item)
            return context.get_dummy_value()

        arguments = (total, matrix, active, picks, numba_types.int64, numba_types.int64)
        return numba_types.void(*arguments, *((coefficient,) if weighted else ())), generate

    if weighted:

        @intrinsic
        def weigh_block(typing_context, total, matrix, active, picks, n_picks, start, coefficient):
            """The same, each row times coefficient[picks[s]]."""
            return define(total, matrix, active, picks, coefficient)

        return weigh_block

    @intrinsic
    def sum_block(typing_context, total, matrix, active, picks, n_picks, start):
        """Set total[start:start + n] to the sum of matrix[active[picks[s]], start:start + n] for s < n_picks."""
        return define(total, matrix, active, picks, None)

    return sum_block


sum_block_1, sum_block_2, sum_block_3, sum_block_4 = (_sum_block(n) for n in range(1, 5))
sum_block_5, sum_block_6, sum_block_7, sum_block_8 = (_sum_block(n) for n in range(5, 9))
weigh_block_1, weigh_block_2, weigh_block_3, weigh_block_4 = (_sum_block(n, weighted=True) for n in range(1, 5))
weigh_block_5, weigh_block_6, weigh_block_7, weigh_block_8 = (_sum_block(n, weighted=True) for n in range(5, 9))


# exp without a call, so that loops over synapses are vectorised: exp(z) = 2^n exp(r), n the whole number next to
# z / ln 2 and |r| <= ln 2 / 2, where the Taylor series to r^13 (r^7 in float32) is exact to the last bits.


def _constants(dtype, lowest, rounder, ln2_high, bias, mantissa, terms):
    """Constants in one type, so that nothing is promoted. Adding `rounder` leaves the whole number in the low bits."""
    ln2_low = dtype(0.693147180559945309417 - float(dtype(ln2_high)))
    inverses = tuple(dtype(1 / k) for k in range(terms, 0, -1))
    word = np.int64 if dtype is np.float64 else np.int32
    return (
        dtype(lowest),
        dtype(1.4426950408889634),
        dtype(rounder),
        dtype(ln2_high),
        ln2_low,
        inverses,
        word,
        bias,
        mantissa,
    )


_EXP_CONSTANTS = {
    "float64": _constants(np.float64, -700, 1.5 * 2.0**52, 0.6931471803691238, 1023, 52, 13),
    "float32": _constants(np.float32, -87, 1.5 * 2.0**23, 0.693359375, 127, 23, 7),
}


@overload(elementwise.exp)
def _exp(exponent):
    is_vector = isinstance(exponent, Vector)
    dtype = exponent.dtype if is_vector else exponent
    lowest, log2_e, rounder, ln2_high, ln2_low, inverses, word, bias, mantissa = _EXP_CONSTANTS[dtype.name]
    one = lowest / lowest
    maximum = elementwise.maximum

    def implementation(exponent):
        z = max(exponent, lowest)
        shifted = z * log2_e + rounder
        n = shifted - rounder
        r = (z - n * ln2_high) - n * ln2_low
        series = one
        for inverse in inverses:
            series = one + r * inverse * series
        return series * float_bits(word((float_bits(shifted) + bias) << mantissa))

    def for_vectors(exponent):
        z = maximum(exponent, lowest)
        shifted = z * log2_e + rounder
        n = shifted - rounder
        r = (z - n * ln2_high) - n * ln2_low
        series = one + r * 0
        for inverse in inverses:
            series = one + r * inverse * series
        return series * float_bits((float_bits(shifted) + bias) << mantissa)

    return for_vectors if is_vector else implementation


# ------------------------------------------------------------------------------------------------------------------


def specialise(
    functions: Iterable, bindings: dict, cache_folder: Path | None = None, apart: Container[str] = ()
) -> dict:
    """Return compiled copies of plain `functions`, by name, that see each other and `bindings` as globals.

    With a `cache_folder` what is compiled is kept there, and can be called from Python. Functions named in `apart`
    are called rarely: they stay functions, which takes less time to compile than a copy at each call.
    """
    numba.config.CACHE_DIR = str(cache_folder or "")
    compiled = {}
    for function in functions:
        scope = dict(function.__globals__)
        copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
        # Inner functions become part of the kernel: a call copies every tuple that it is given, once a step.
        options = {"cache": True} if cache_folder else {**INNER, "forceinline": function.__name__ not in apart}
        compiled[function.__name__] = numba.njit(copy, **options, **OPTIONS)
    for dispatcher in compiled.values():
        dispatcher.py_func.__globals__.update({**bindings, **compiled})
    return compiled


def namespace(name: str, members: dict) -> types.ModuleType:
    """Return a module with `members`: compiled code can call `name.member`."""
    module = types.ModuleType(name)
    module.__dict__.update(members)
    return module


def compile_methods(cls: type, from_python: bool = False) -> dict:
    """Return the static methods of a rule or neuron group, compiled, by name; for compiled code to call, or Python."""
    options = {} if from_python else INNER
    return {name: numba.njit(getattr(cls, name), **options, **OPTIONS) for name in dir(cls) if _is_static(cls, name)}


def _is_static(cls: type, name: str) -> bool:
    return not name.startswith("_") and isinstance(inspect.getattr_static(cls, name), staticmethod)


def cache_folder(*classes: type) -> Path:
    """Return the folder for code compiled from this package and the files of `classes`, one for each state of them."""
    files = {Path(inspect.getsourcefile(base)) for cls in classes for base in cls.__mro__[:-1]}
    digest = hashlib.sha256(f"{_PACKAGE_DIGEST} {[cls.__qualname__ for cls in classes]}".encode())
    for file in sorted(files):
        digest.update(file.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "stdp_run" / "compiled" / digest.hexdigest()[:20]


@contextmanager
def one_process_compiling(what: str, *classes: type):
    """Let one process at a time compile `what` for `classes`: the others find its work on the disk after it."""
    folder = cache_folder(*classes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / f"{what}.lock", "a")  # noqa: SIM115  closed below
    except OSError:  # a cache that cannot be written: everyone compiles
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
