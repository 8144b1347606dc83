"""Vectors of a few numbers as a type for compiled code, and how they get from arrays to registers and back.

A vector has the numbers of VECTOR_BYTES, or BLOCK numbers of any type. The elementwise functions of rules and neuron
groups, written for one number, take vectors too (stdp_run.engines.event.arithmetic). Nothing here asks whether a place
is in the array.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

VECTOR_BYTES = 64  # one vector of AVX-512, or several shorter ones
BLOCK = 8  # active neurons are treated as many at once: there are few


def zeros_for_vectors(shape: Any, dtype: Any) -> np.ndarray:
    """Return an array of zeros that begins with a cache line, so that no vector of it straddles two."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + VECTOR_BYTES, np.uint8)  # what is never touched takes no memory
    start = -memory.ctypes.data % VECTOR_BYTES
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


class Vector(types.Type):
    """`lanes` numbers of one type; boolean for the result of a comparison."""

    def __init__(self, dtype, lanes: int):
        super().__init__(name=f"vector({dtype}, {lanes})")
        self.dtype, self.lanes = dtype, lanes


def llvm_vector(vector: Vector):
    """Return the type of the generated code."""
    bits = getattr(vector.dtype, "bitwidth", 1)
    number = {32: ir.FloatType(), 64: ir.DoubleType()}[bits] if is_float(vector) else ir.IntType(bits)
    return ir.VectorType(number, vector.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, llvm_vector(vector))


def is_float(kind) -> bool:
    """Return whether a number, or each of a vector, is a float."""
    return isinstance(kind.dtype if isinstance(kind, Vector) else kind, types.Float)


def spread(builder, value, lanes: int):
    """Return a vector with `value` in all its lanes."""
    nothing = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), lanes), None))


def convert(context, builder, value, source, target):
    """Return `value` of numba type `source` as a `target`, number or vector."""
    if not isinstance(target, Vector):
        return context.cast(builder, value, source, target)
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
# Compiled code.


def _pointer(context, builder, call, arguments, kind):
    array = context.make_array(call.args[0])(context, builder, value=arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), kind.as_pointer())


def _whole_vector(dtype, like) -> Vector:
    """Return the vector of `dtype` with as many numbers as a whole vector has of the type of the array `like`."""
    return Vector(dtype, VECTOR_BYTES // (like.dtype.bitwidth // 8))


def _loading(vector: Vector, array):
    def generate(context, builder, call, arguments):
        pointer = _pointer(context, builder, call, arguments, llvm_vector(vector))
        return builder.load(pointer, align=vector.dtype.bitwidth // 8)

    return vector(array, types.int64), generate


def _zero(vector: Vector, array):
    return vector(array), lambda context, builder, call, arguments: ir.Constant(llvm_vector(vector), None)


@intrinsic
def load(typing_context, array, at):
    """Return the vector of the numbers from array[at] on."""
    return _loading(_whole_vector(array.dtype, array), array)


@intrinsic
def load_as_many(typing_context, array, at, like):
    """Return the numbers from array[at] on, as many as a vector has of the type of the array `like`."""
    vector = _whole_vector(array.dtype, like)

    def generate(context, builder, call, arguments):
        return _loading(vector, array)[1](context, builder, call, arguments[:2])

    return vector(array, types.int64, like), generate


@intrinsic
def block(typing_context, array, at):
    """Return the `BLOCK` numbers from array[at] on."""
    return _loading(Vector(array.dtype, BLOCK), array)


@intrinsic
def zeros(typing_context, array):
    """Return a vector of zeros of the type of `array`."""
    return _zero(_whole_vector(array.dtype, array), array)


@intrinsic
def zero_block(typing_context, array):
    """Return `BLOCK` zeros of the type of `array`."""
    return _zero(Vector(array.dtype, BLOCK), array)


@intrinsic
def typed_as(typing_context, array, value):
    """Return a vector in the type of `array`."""
    vector = Vector(array.dtype, value.lanes)
    return vector(array, value), lambda context, builder, call, args: convert(context, builder, args[1], value, vector)


@intrinsic
def load_bits(typing_context, array, at, like):
    """Return the bits from the byte array[at] on as conditions, as many as a vector has of the type of `like`."""
    vector = _whole_vector(types.boolean, like)

    def generate(context, builder, call, arguments):
        pointer = _pointer(context, builder, call, arguments, ir.IntType(vector.lanes))
        return builder.bitcast(builder.load(pointer, align=1), llvm_vector(vector))

    return vector(array, types.int64, like), generate


@intrinsic
def store(typing_context, array, at, value):
    """Write a vector to the array from array[at] on, in the array's type."""
    vector = Vector(array.dtype, value.lanes)

    def generate(context, builder, call, arguments):
        converted = convert(context, builder, arguments[2], value, vector)
        pointer = _pointer(context, builder, call, arguments, llvm_vector(vector))
        builder.store(converted, pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, value), generate


@intrinsic
def lanes_where(typing_context, condition):
    """Return a uint64 with a bit for each lane in which the condition holds."""
    bits = ir.IntType(condition.lanes)
    return types.uint64(condition), lambda context, builder, call, arguments: builder.zext(
        builder.bitcast(arguments[0], bits), ir.IntType(64)
    )


@intrinsic
def prefetch(typing_context, array, at):
    """Have the cache line of array[at] fetched, which will be read soon; it need not be in the array."""

    def generate(context, builder, call, arguments):
        pointer = _pointer(context, builder, call, arguments, ir.IntType(8))
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [pointer, *(ir.Constant(number, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate
