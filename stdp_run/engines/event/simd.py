"""Vectors of a few numbers as a type for compiled code, so that elementwise functions run on whole registers.

A rule's or neuron group's functions are written for one number; given vectors, numba compiles them for as many
numbers as a vector has, one instruction for all. As with tensors, a scalar beside a vector takes its type, unless the
vector is of whole numbers and the scalar is not. stdp_run.engines.event.vectors moves them in and out of arrays.
"""

import operator

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

from stdp_run import elementwise


class Vector(types.Type):
    """`lanes` numbers of one type; boolean for the result of a comparison."""

    def __init__(self, dtype, lanes: int):
        super().__init__(name=f"vector({dtype}, {lanes})")
        self.dtype, self.lanes = dtype, lanes


def _llvm(dtype):
    if isinstance(dtype, types.Boolean):
        return ir.IntType(1)
    if isinstance(dtype, types.Float):
        return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
    return ir.IntType(dtype.bitwidth)


def llvm_vector(vector: Vector):
    """Return the type of the generated code."""
    return ir.VectorType(_llvm(vector.dtype), vector.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, llvm_vector(vector))


# ------------------------------------------------------------------------------------------------------------------
# Types that meet, and conversion.


def _rank(dtype):
    return (isinstance(dtype, types.Float), not isinstance(dtype, types.Boolean), getattr(dtype, "bitwidth", 1))


def meet(*operands):
    """Return the vector type in which operands meet, or None where none of them is a vector."""
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


def spread(builder, value, lanes: int):
    """Return a vector with `value` in all its lanes."""
    nothing = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), lanes), None))


def convert(context, builder, value, source, target: Vector):
    """Return `value` of numba type `source` as a vector."""
    if not isinstance(source, Vector):
        return spread(builder, context.cast(builder, value, source, target.dtype), target.lanes)
    old, new, kind = source.dtype, target.dtype, llvm_vector(target)
    if old == new:
        return value
    if isinstance(new, types.Float):
        if isinstance(old, types.Float):
            return (builder.fpext if new.bitwidth > old.bitwidth else builder.fptrunc)(value, kind)
        return (builder.uitofp if isinstance(old, types.Boolean) else builder.sitofp)(value, kind)
    if isinstance(old, types.Boolean):
        return builder.zext(value, kind)
    return (builder.sext if new.bitwidth > old.bitwidth else builder.trunc)(value, kind)


# ------------------------------------------------------------------------------------------------------------------
# Operators.

_ARITHMETIC = {
    operator.add: ("fadd", "add"),
    operator.sub: ("fsub", "sub"),
    operator.mul: ("fmul", "mul"),
    operator.truediv: ("fdiv", None),
    operator.rshift: (None, "ashr"),
    operator.lshift: (None, "shl"),
    operator.and_: (None, "and_"),
    operator.or_: (None, "or_"),
}
_COMPARISONS = {
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}
_SCALARS = (types.Number, types.Boolean)


def _define(function, n_operands: int, result_of, generate) -> None:
    """Let `function` take vectors: `result_of` the met type is its type, `generate` makes the code."""

    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, arguments, keywords):
            met = meet(*arguments) if len(arguments) == n_operands else None
            result = met and result_of(met)
            return result and signature(result, *arguments)

    def lower(context, builder, call, arguments):
        met = meet(*call.args)
        values = [convert(context, builder, *pair, met) for pair in zip(arguments, call.args, strict=True)]
        return generate(context, builder, met, *values)

    kinds: list[tuple] = [(Vector,)] if n_operands == 1 else [(Vector, Vector)]
    kinds += [pair for scalar in _SCALARS for pair in ((Vector, scalar), (scalar, Vector)) if n_operands == 2]
    for kind in kinds:
        lower_builtin(function, *kind)(lower)


def _define_arithmetic(function, for_floats, for_whole) -> None:
    def instruction(met):
        return for_floats if isinstance(met.dtype, types.Float) else for_whole

    def generate(context, builder, met, first, second):
        return getattr(builder, instruction(met))(first, second)

    _define(function, 2, lambda met: met if instruction(met) else None, generate)


def _define_comparison(function, sign: str) -> None:
    def generate(context, builder, met, first, second):
        if isinstance(met.dtype, types.Float):
            compare = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
            return compare(sign, first, second)
        return builder.icmp_signed(sign, first, second)

    _define(function, 2, lambda met: Vector(types.boolean, met.lanes), generate)


def _negate(context, builder, met, value):
    return builder.fneg(value) if isinstance(met.dtype, types.Float) else builder.neg(value)


def _absolute(context, builder, met, value):
    zero = ir.Constant(value.type, None)
    if isinstance(met.dtype, types.Float):
        return builder.select(builder.fcmp_ordered("<", value, zero), builder.fneg(value), value)
    return builder.select(builder.icmp_signed("<", value, zero), builder.neg(value), value)


def _power(context, builder, met, base, exponent):
    """Raise number by number: there is no instruction for it."""
    call = signature(met.dtype, met.dtype, met.dtype)
    raise_one = context.get_function(operator.pow, call)
    result = ir.Constant(base.type, ir.Undefined)
    for lane in range(met.lanes):
        place = ir.Constant(ir.IntType(32), lane)
        pair = [builder.extract_element(operand, place) for operand in (base, exponent)]
        result = builder.insert_element(result, raise_one(builder, pair), place)
    return result


for _function, _instructions in _ARITHMETIC.items():
    _define_arithmetic(_function, *_instructions)
for _function, _sign in _COMPARISONS.items():
    _define_comparison(_function, _sign)
_define(operator.neg, 1, lambda met: met, _negate)
_define(abs, 1, lambda met: met, _absolute)
_define(operator.pow, 2, lambda met: met if isinstance(met.dtype, types.Float) else None, _power)


# ------------------------------------------------------------------------------------------------------------------
# The functions of stdp_run.elementwise; `exp` is in stdp_run.engines.event.arithmetic.


@infer_global(elementwise.where)
class _Where(AbstractTemplate):
    def generic(self, arguments, keywords):
        if len(arguments) != 3 or not isinstance(arguments[0], Vector):
            return None
        return signature(_chosen(*arguments), *arguments)


def _chosen(condition, chosen, otherwise) -> Vector:
    scalars = [types.unliteral(operand) for operand in (chosen, otherwise)]
    return meet(chosen, otherwise) or Vector(max(scalars, key=_rank), condition.lanes)


@lower_builtin(elementwise.where, Vector, types.Any, types.Any)
def _lower_where(context, builder, call, arguments):
    met = _chosen(*call.args)
    values = [convert(context, builder, v, t, met) for v, t in zip(arguments[1:], call.args[1:], strict=True)]
    return builder.select(arguments[0], *values)


def _define_bound(function, sign: str) -> None:
    """Let `maximum` or `minimum` take vectors; the result has the type of the values."""

    @infer_global(function)
    class _Bound(AbstractTemplate):
        def generic(self, arguments, keywords):
            takes = len(arguments) == 2 and isinstance(arguments[0], Vector)
            return signature(arguments[0], *arguments) if takes else None

    def lower(context, builder, call, arguments):
        values, bound = call.args
        other = convert(context, builder, arguments[1], bound, values)
        is_float = isinstance(values.dtype, types.Float)
        compare = builder.fcmp_ordered if is_float else builder.icmp_signed
        return builder.select(compare(sign, arguments[0], other), arguments[0], other)

    lower_builtin(function, Vector, types.Any)(lower)


_define_bound(elementwise.maximum, ">")
_define_bound(elementwise.minimum, "<")
