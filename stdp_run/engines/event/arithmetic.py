"""The functions of stdp_run.elementwise in compiled code, for single numbers; stdp_run.engines.event.simd: for vectors.

A whole number beside a float is taken as that float, so that a 0 or 1 in a formula does not turn float32 into float64.
"""

import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload

from stdp_run import elementwise
from stdp_run.engines.event.simd import Vector


def _common(first, second):
    """Return a converter to the type in which two operands meet."""
    if isinstance(first, types.Float) and not isinstance(second, types.Float):
        return np.dtype(first.name).type
    if isinstance(second, types.Float) and not isinstance(first, types.Float):
        return np.dtype(second.name).type
    if isinstance(first, types.Float):
        return np.dtype(max(first.name, second.name)).type
    return np.int64


@overload(elementwise.where)
def _where(condition, chosen, otherwise):
    if isinstance(condition, Vector):
        return None
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
        convert = _common(values, bound) if isinstance(bound, types.Integer) else np.dtype(values.name).type

        def implementation(values, bound):
            return choose(convert(values), convert(bound))

        return implementation


_compile_bound(elementwise.maximum, max)
_compile_bound(elementwise.minimum, min)


@intrinsic
def float_bits(typing_context, value):
    """Return the bits of a float64 (float32) as int64 (int32), or the other way round; also lane by lane."""
    dtype = value.dtype if isinstance(value, Vector) else value
    word = getattr(types, ("int" if isinstance(dtype, types.Float) else "float") + dtype.name[-2:])
    if isinstance(value, Vector):
        word = Vector(word, value.lanes)

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(word))

    return word(value), generate


# exp without a call, so that loops over synapses are vectorised: exp(z) = 2^n exp(r), n the whole number next to
# z / ln 2 and |r| <= ln 2 / 2, where the Taylor series to r^13 (r^7 in float32) is exact to the last bits.


def _constants(dtype, lowest, rounder, ln2_high, bias, mantissa, terms):
    """Constants in one type, so that nothing is promoted. Adding `rounder` leaves the whole number in the low bits."""
    ln2_low = dtype(0.693147180559945309417 - float(dtype(ln2_high)))
    inverses = tuple(dtype(1 / k) for k in range(terms, 0, -1))
    word = np.int64 if dtype is np.float64 else np.int32
    scaling = dtype(lowest), dtype(1.4426950408889634), dtype(rounder), dtype(ln2_high), ln2_low
    return *scaling, inverses, word, bias, mantissa


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
