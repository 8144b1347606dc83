"""From a rule and a neuron group, which are plain Python, to compiled code that is cached on disk.

numba caches a compiled function by its source file and bytecode, and does not look at what the function calls. So the
kernels name what they call through a global (`rule`, `neuron`), `specialise` binds that name in a copy of the
function, and each binding has a cache folder of its own, named by a digest of every source file that it is made of: an
edit in any of them, or in a user's own rule, compiles anew.
"""

import hashlib
import inspect
import os
import sys
import types
from collections.abc import Iterable
from pathlib import Path

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic, overload

from stdp_run import elementwise

PACKAGE = Path(__file__).parents[1]
# Without "_nrt" numba counts references, atomically, whenever an array is taken out of a tuple: a third of the time of
# learning with 100 neurons. Compiled code here creates no arrays, and what it is given is held by the caller.
OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False}


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
    convert = _common(chosen, otherwise)

    def implementation(condition, chosen, otherwise):
        return convert(chosen) if condition else convert(otherwise)

    return implementation


@overload(elementwise.maximum)
def _maximum(values, bound):
    convert = _common(values, bound) if isinstance(bound, numba_types.Integer) else np.dtype(values.name).type

    def implementation(values, bound):
        return max(convert(values), convert(bound))

    return implementation


@overload(elementwise.minimum)
def _minimum(values, bound):
    convert = _common(values, bound) if isinstance(bound, numba_types.Integer) else np.dtype(values.name).type

    def implementation(values, bound):
        return min(convert(values), convert(bound))

    return implementation


@intrinsic
def _float_bits(typing_context, value):
    """Return the bits of a float64 as int64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return numba_types.int64(numba_types.float64), generate


@intrinsic
def _bits_float(typing_context, value):
    """Return the float64 that has these bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return numba_types.float64(numba_types.int64), generate


@intrinsic
def trailing_zeros(typing_context, value):
    """Return the number of zero bits below the lowest set bit of a uint64."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return numba_types.uint64(numba_types.uint64), generate


LANE_BYTES = 64  # one vector of AVX-512; the compiler splits it where the processor's are shorter


def _sum_block(n_vectors: int):
    """Return the compiled function that adds up `n_vectors` vectors of several rows of a matrix in registers."""

    @intrinsic
    def sum_block(typing_context, total, matrix, active, picks, n_picks, start):
        """Set total[start:start + n] to the sum of matrix[active[picks[s]], start:start + n] for s < n_picks."""
        item = np.dtype(total.dtype.name).itemsize
        lanes = LANE_BYTES // item

        def generate(context, builder, signature, arguments):
            arrays = [context.make_array(t)(context, builder, value=a) for t, a in zip(signature.args[:4], arguments)]
            n, first = arguments[4:]
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
                for v, slot in enumerate(sums):
                    pointer = vector_at(arrays[1].data, builder.add(offset, ir.Constant(word, v * lanes)))
                    builder.store(add(builder.load(slot), builder.load(pointer, align=item)), slot)
            for v, slot in enumerate(sums):
                pointer = vector_at(arrays[0].data, builder.add(first, ir.Constant(word, v * lanes)))
                builder.store(builder.load(slot), pointer, align=item)
            return context.get_dummy_value()

        arguments = (total, matrix, active, picks, numba_types.int64, numba_types.int64)
        return numba_types.void(*arguments), generate

    return sum_block


sum_block_8, sum_block_4, sum_block_2, sum_block_1 = (_sum_block(n) for n in (8, 4, 2, 1))


# exp without a call, so that loops over synapses are vectorised. exp(z) = 2^n exp(r), n the whole number next to
# z / ln 2, |r| <= ln 2 / 2; the Taylor series to r^13 is exact to the last bits of float64.
_LOWEST = -700.0
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
_ROUNDER = 6755399441055744.0  # 1.5 * 2^52: adding it leaves the nearest whole number in the low bits


@overload(elementwise.exp)
def _exp(exponent):
    def implementation(exponent):
        z = max(np.float64(exponent), _LOWEST)
        shifted = z * _LOG2_E + _ROUNDER
        n = shifted - _ROUNDER
        r = (z - n * _LN2_HIGH) - n * _LN2_LOW
        series = 1.0 + r / 13.0
        series = 1.0 + r / 12.0 * series
        series = 1.0 + r / 11.0 * series
        series = 1.0 + r / 10.0 * series
        series = 1.0 + r / 9.0 * series
        series = 1.0 + r / 8.0 * series
        series = 1.0 + r / 7.0 * series
        series = 1.0 + r / 6.0 * series
        series = 1.0 + r / 5.0 * series
        series = 1.0 + r / 4.0 * series
        series = 1.0 + r / 3.0 * series
        series = 1.0 + r / 2.0 * series
        series = 1.0 + r * series
        return series * _bits_float((_float_bits(shifted) + 1023) << 52)

    return implementation


# ------------------------------------------------------------------------------------------------------------------


def specialise(functions: Iterable, bindings: dict, cache_folder: Path | None = None) -> dict:
    """Return compiled copies of plain `functions`, by name, that see each other and `bindings` as globals.

    With a `cache_folder` what is compiled is kept there; only functions called from Python need that.
    """
    numba.config.CACHE_DIR = str(cache_folder or "")
    compiled = {}
    for function in functions:
        scope = dict(function.__globals__)
        copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
        compiled[function.__name__] = numba.njit(copy, cache=cache_folder is not None, **OPTIONS)
    for dispatcher in compiled.values():
        dispatcher.py_func.__globals__.update({**bindings, **compiled})
    return compiled


def namespace(name: str, members: dict) -> types.ModuleType:
    """Return a module with `members`: compiled code can call `name.member`."""
    module = types.ModuleType(name)
    module.__dict__.update(members)
    return module


def compile_methods(cls: type) -> dict:
    """Return the static methods of a rule or neuron group, compiled, by name."""
    return {name: numba.njit(getattr(cls, name), **OPTIONS) for name in dir(cls) if _is_static(cls, name)}


def _is_static(cls: type, name: str) -> bool:
    return not name.startswith("_") and isinstance(inspect.getattr_static(cls, name), staticmethod)


def cache_folder(*classes: type) -> Path:
    """Return the folder for code compiled from this package and the files of `classes`, one for each state of them."""
    files = {Path(inspect.getsourcefile(base)) for cls in classes for base in cls.__mro__[:-1]}
    files |= set(PACKAGE.rglob("*.py"))
    digest = hashlib.sha256(f"{numba.__version__} {sys.version} {[cls.__qualname__ for cls in classes]}".encode())
    for file in sorted(files):
        digest.update(file.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "stdp_run" / "compiled" / digest.hexdigest()[:20]
