"""Compiled operators of vectors, and compiled functions of stdp_run.elementwise for numbers and vectors.

They let an elementwise function, written for one number, compute all numbers of a vector with one instruction. Types
follow torch: a number beside a vector takes the vector's type, except a float beside a vector of integers. An integer
beside a float becomes that float type, so a 0 or 1 in a formula does not turn float32 into float64.
"""

import math
import operator
from itertools import product

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, overload

from stdp_run import elementwise
from stdp_run.engines.event.vectors import Vector, convert, is_float, spread


def _rank(dtype):
    return (isinstance(dtype, types.Float), not isinstance(dtype, types.Boolean), getattr(dtype, "bitwidth", 1))


def _vector_of(*operands):
    """Return the common vector type of operands, or None if no operand is a vector."""
    vectors = [operand for operand in operands if isinstance(operand, Vector)]
    if not vectors:
        return None
    dtype = max((vector.dtype for vector in vectors), key=_rank)
    for operand in operands:
        if isinstance(operand, Vector):
            continue
        scalar = types.unliteral(operand)
        if isinstance(dtype, types.Boolean) and isinstance(scalar, types.Integer):
            dtype = types.int32
        elif _rank(dtype)[:2] < _rank(scalar)[:2]:
            dtype = scalar
    return Vector(dtype, vectors[0].lanes)


def _compare(builder, kind, sign: str, first, second):
    if is_float(kind):
        return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, first, second)
    return builder.icmp_signed(sign, first, second)


def _define(function, result_of, generate, *kinds: tuple) -> None:
    """Compile `function` for operands of `kinds`; `result_of` returns the type of the result, None: not supported."""

    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, arguments, keywords):
            result = result_of(*arguments) if len(arguments) == len(kinds[0]) else None
            return result and signature(result, *arguments)

    for each in kinds:
        lower_builtin(function, *each)(generate)


def _define_operator(function, n_operands: int, instruction, result_of=lambda met: met) -> None:
    """Compile an operator for vectors; `result_of` maps the common type of the operands to that of the result."""

    def result(*operands):
        met = _vector_of(*operands)
        return met and result_of(met)

    def generate(context, builder, call, arguments):
        met = _vector_of(*call.args)
        values = [convert(context, builder, *pair, met) for pair in zip(arguments, call.args, strict=True)]
        return instruction(context, builder, met, *values)

    kinds = product((Vector, types.Number, types.Boolean), repeat=n_operands)
    _define(function, result, generate, *(each for each in kinds if Vector in each))


def _negate(context, builder, met, value):
    return builder.fneg(value) if is_float(met) else builder.neg(value)


def _absolute(context, builder, met, value):
    is_negative = _compare(builder, met, "<", value, ir.Constant(value.type, None))
    return builder.select(is_negative, _negate(context, builder, met, value), value)


for _name, *_instructions in (  # LLVM instructions for integers and for floats
    ("add", "add", "fadd"),
    ("sub", "sub", "fsub"),
    ("mul", "mul", "fmul"),
    ("truediv", None, "fdiv"),
    ("rshift", "ashr", None),
    ("lshift", "shl", None),
    ("and_", "and_", None),
    ("or_", "or_", None),
    ("xor", "xor", None),
):
    _define_operator(
        getattr(operator, _name),
        2,
        lambda context, builder, met, a, b, names=_instructions: getattr(builder, names[is_float(met)])(a, b),
        lambda met, names=_instructions: met if names[is_float(met)] else None,
    )
for _name, _sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    _define_operator(
        getattr(operator, _name),
        2,
        lambda context, builder, met, a, b, sign=_sign: _compare(builder, met, sign, a, b),
        lambda met: Vector(types.boolean, met.lanes),
    )
_define_operator(operator.neg, 1, _negate)
_define_operator(abs, 1, _absolute)


def _type_chosen(condition, *choices):
    met = _vector_of(*choices)
    if met is None:
        met = max((types.unliteral(choice) for choice in choices), key=_rank)
        met = met if is_float(met) else types.int64
        met = Vector(met, condition.lanes) if isinstance(condition, Vector) else met
    return met


def _where(context, builder, call, arguments):
    (condition, is_chosen), *choices = zip(call.args, arguments, strict=True)
    if not isinstance(condition, Vector):
        is_chosen = context.cast(builder, is_chosen, condition, types.boolean)
    values = (convert(context, builder, value, kind, call.return_type) for kind, value in choices)
    return builder.select(is_chosen, *values)


def _define_bound(function, sign: str) -> None:
    """Compile `maximum` or `minimum`; the result has the type of the values, not of the bound."""

    def generate(context, builder, call, arguments):
        kind = call.return_type
        values, bound = (convert(context, builder, *pair, kind) for pair in zip(arguments, call.args, strict=True))
        return builder.select(_compare(builder, kind, sign, values, bound), values, bound)

    _define(function, lambda values, bound: types.unliteral(values), generate, (types.Any, types.Any))


_define(elementwise.where, _type_chosen, _where, (types.Any, types.Any, types.Any))
_define_bound(elementwise.maximum, ">")
_define_bound(elementwise.minimum, "<")


# exp without a library call, so that loops over synapses are vectorised. exp(z) = 2^n exp(r) with n = round(z / ln 2).
# Then |r| <= ln 2 / 2, and the Taylor series to r^13 (r^7 in float32) is exact to the last bits. Adding `rounder`
# leaves n in the low bits. Below the lowest z the result is 0. All constants have one type, which avoids promotion.
_EXP = {  # lowest z, rounder, high part of ln 2, bias of the exponent, bits of the mantissa, terms
    "float64": (-700, 1.5 * 2.0**52, 0.6931471803691238, 1023, 52, 13),
    "float32": (-87, 1.5 * 2.0**23, 0.693359375, 127, 23, 7),
}


@intrinsic
def two_to(typing_context, shifted):
    """Return 2^n for a float, or a vector of floats, with n in its low bits."""
    name = (shifted.dtype if isinstance(shifted, Vector) else shifted).name
    *_, bias, mantissa, _ = _EXP[name]

    def generate(context, builder, call, arguments):
        def constant(number):
            value = ir.Constant(ir.IntType(int(name[-2:])), number)
            return spread(builder, value, shifted.lanes) if isinstance(shifted, Vector) else value

        n = builder.bitcast(arguments[0], constant(0).type)
        power = builder.shl(builder.add(n, constant(bias)), constant(mantissa))
        return builder.bitcast(power, arguments[0].type)

    return shifted(shifted), generate


@overload(elementwise.exp)
def _exp(exponent):
    name = (exponent.dtype if isinstance(exponent, Vector) else exponent).name
    dtype = np.dtype(name).type
    lowest, rounder, ln2_high, _, _, terms = _EXP[name]
    lowest, log2_e, rounder, ln2_high, zero = map(dtype, (lowest, 1.4426950408889634, rounder, ln2_high, 0))
    ln2_low = dtype(0.693147180559945309417 - float(ln2_high))
    last, *others = (dtype(1 / math.factorial(k)) for k in range(terms, -1, -1))
    coefficients = tuple(others)
    where = elementwise.where

    def implementation(exponent):
        shifted = exponent * log2_e + rounder
        n = shifted - rounder
        r = (exponent - n * ln2_high) - n * ln2_low
        series = r * last + coefficients[0]
        for coefficient in coefficients[1:]:
            series = series * r + coefficient
        return where(exponent < lowest, zero, series * two_to(shifted))

    return implementation


# power by the logarithm: base = m 2^n, m from sqrt(1/2) to sqrt(2), log(m) = 2 artanh(s), s = (m - 1) / (m + 1).
_TERMS_OF_LOG = {"float64": 11, "float32": 5}  # of the series s + s^3 / 3 + s^5 / 5 + ...


@intrinsic
def split_float(typing_context, value):
    """Return (m, n + rounder) of a float above 0, or a vector of them; `_EXP` has the rounder."""
    name = (value.dtype if isinstance(value, Vector) else value).name
    _, rounder, _, bias, mantissa, _ = _EXP[name]
    dtype = np.dtype(name)
    word = np.dtype(f"int{name[-2:]}")
    root, first = (int(dtype.type(number).view(word)) for number in (0.5**0.5, rounder))

    def generate(context, builder, call, arguments):
        def constant(number):
            whole = ir.Constant(ir.IntType(int(name[-2:])), number)
            return spread(builder, whole, value.lanes) if isinstance(value, Vector) else whole

        bits = builder.bitcast(arguments[0], constant(0).type)
        shift = constant(mantissa)
        biased = builder.lshr(builder.add(bits, constant((bias << mantissa) - root)), shift)
        m = builder.sub(bits, builder.shl(builder.sub(biased, constant(bias)), shift))
        n = builder.add(biased, constant(first - bias))
        parts = [builder.bitcast(each, arguments[0].type) for each in (m, n)]
        return context.make_tuple(builder, call.return_type, parts)

    return types.UniTuple(value, 2)(value), generate


@overload(elementwise.power)
def _power_of(base, exponent):
    name = (base.dtype if isinstance(base, Vector) else base).name
    dtype = np.dtype(name).type
    rounder, ln2, zero, one, two = map(dtype, (_EXP[name][1], 0.6931471805599453, 0, 1, 2))
    last, *inverses = (dtype(1 / (2 * k + 1)) for k in range(_TERMS_OF_LOG[name] - 1, -1, -1))
    inverses = tuple(inverses)
    where, exp = elementwise.where, elementwise.exp

    def implementation(base, exponent):
        m, shifted = split_float(base)
        s = (m - one) / (m + one)
        series = last + zero * s
        for inverse in inverses:
            series = inverse + s * s * series
        logarithm = (shifted - rounder) * ln2 + two * s * series
        of_zero = where(exponent == 0, one, zero)
        return where(base > 0, exp(logarithm * exponent), of_zero)

    return implementation
