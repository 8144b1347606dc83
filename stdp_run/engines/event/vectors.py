"""The vector type of compiled code, with loads from arrays and stores to arrays.

A vector has VECTOR_BYTES bytes, or BLOCK numbers of any type. The elementwise functions of rules and neuron groups take
numbers and vectors (stdp_run.engines.event.arithmetic). Bounds are not checked.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model

VECTOR_BYTES = 64  # one vector of AVX-512, or several shorter ones
BLOCK = 8  # active neurons that advance together; an image has few active neurons


def zeros_for_vectors(shape: Any, dtype: Any) -> np.ndarray:
    """Return an array of zeros aligned to cache lines, so that no vector crosses two lines."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + VECTOR_BYTES, np.uint8)  # untouched pages take no memory
    start = -memory.ctypes.data % VECTOR_BYTES
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


class Vector(types.Type):
    """`lanes` numbers of one type; boolean for the result of a comparison."""

    def __init__(self, dtype, lanes: int):
        super().__init__(name=f"vector({dtype}, {lanes})")
        self.dtype, self.lanes = dtype, lanes


def llvm_vector(vector: Vector):
    """Return the LLVM type of a vector."""
    bits = getattr(vector.dtype, "bitwidth", 1)
    number = {32: ir.FloatType(), 64: ir.DoubleType()}[bits] if is_float(vector) else ir.IntType(bits)
    return ir.VectorType(number, vector.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, llvm_vector(vector))


def is_float(kind) -> bool:
    """Return whether a type of numbers or vectors is float."""
    return isinstance(kind.dtype if isinstance(kind, Vector) else kind, types.Float)


def spread(builder, value, lanes: int):
    """Return a vector with `value` in all its lanes."""
    nothing = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), lanes), None))


def convert(context, builder, value, source, target):
    """Convert `value` from numba type `source` to `target`, a number or a vector."""
    if not isinstance(target, Vector):
        return context.cast(builder, value, source, target)
    if not isinstance(source, Vector):
        return spread(builder, context.cast(builder, value, source, target.dtype), target.lanes)
    old, new, kind = source.dtype, target.dtype, llvm_vector(target)
    if old == new:
        return value
    if isinstance(old, types.Boolean):
        return (builder.uitofp if is_float(target) else builder.zext)(value, kind)
    if is_float(source) != is_float(target):
        return builder.sitofp(value, kind)
    wider, narrower = (builder.fpext, builder.fptrunc) if is_float(target) else (builder.sext, builder.trunc)
    return (wider if new.bitwidth > old.bitwidth else narrower)(value, kind)


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def _pointer(context, builder, call, arguments, kind):
    array = context.make_array(call.args[0])(context, builder, value=arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), kind.as_pointer())


def _vector_like(dtype, like) -> Vector:
    """Return the vector type of `dtype` with the length of `like`: a number of lanes, a vector, or an array."""
    if isinstance(like, types.IntegerLiteral):
        return Vector(dtype, like.literal_value)
    return Vector(dtype, like.lanes if isinstance(like, Vector) else VECTOR_BYTES // (like.dtype.bitwidth // 8))


@intrinsic(prefer_literal=True)
def load(typing_context, array, at, like):
    """Return the vector that begins at array[at], with the length of `like` (`_vector_like`)."""
    vector = _vector_like(array.dtype, like)

    def generate(context, builder, call, arguments):
        pointer = _pointer(context, builder, call, arguments, llvm_vector(vector))
        return builder.load(pointer, align=vector.dtype.bitwidth // 8)

    return vector(array, types.int64, like), generate


@intrinsic(prefer_literal=True)
def zeros(typing_context, array, like):
    """Return a vector of zeros in the type of `array`, with the length of `like` (`_vector_like`)."""
    vector = _vector_like(array.dtype, like)
    return vector(array, like), lambda context, builder, call, arguments: ir.Constant(llvm_vector(vector), None)


@intrinsic
def typed_as(typing_context, array, value):
    """Convert a vector to the type of `array`."""
    vector = Vector(array.dtype, value.lanes)
    return vector(array, value), lambda context, builder, call, args: convert(context, builder, args[1], value, vector)


@intrinsic
def conditions(typing_context, word):
    """Return the bits of a uint64 as a vector of conditions."""
    vector = Vector(types.boolean, 64)
    return vector(word), lambda context, builder, call, args: builder.bitcast(args[0], llvm_vector(vector))


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
    """Return a uint64 with one bit per lane, 1 if the condition holds."""
    bits = ir.IntType(condition.lanes)
    return types.uint64(condition), lambda context, builder, call, arguments: builder.zext(
        builder.bitcast(arguments[0], bits), ir.IntType(64)
    )


def add_up(numbers, vector):
    """Return the sum of a vector; `numbers` is working memory of the same length."""
    store(numbers, 0, vector)
    total = 0.0
    for r in range(numbers.shape[0]):
        total += numbers[r]
    return total


def largest_of(numbers, vector):
    """Return the largest number of a vector; `numbers` is working memory of the same length."""
    store(numbers, 0, vector)
    largest = numbers[0]
    for r in range(1, numbers.shape[0]):
        largest = max(largest, numbers[r])
    return largest


def add_rows(total, matrix, active_inputs, ranks, coefficient):
    """Set total[E] to the sum of coefficient[rank] matrix[active_inputs[rank], E] for rank in `ranks`, in order.

    `coefficient` None means 1. Registers hold 128 neurons at a time, then 64, then 8.
    """
    done = add_columns(total, matrix, active_inputs, ranks, coefficient, 0, (128, zeros(total, 128)))
    done = add_columns(total, matrix, active_inputs, ranks, coefficient, done, (64, zeros(total, 64)))
    add_columns(total, matrix, active_inputs, ranks, coefficient, done, (8, zeros(total, 8)))


def add_columns(total, matrix, active_inputs, ranks, coefficient, done, vector):
    """Add the columns from `done` on in vectors of one length; return the number of columns done.

    `vector` is (length, zeros). If at least three quarters of a vector remain, the last one overlaps its predecessor.
    """
    (width, start), n_columns = vector, total.shape[0]
    while width <= n_columns and n_columns - done >= width - width // 4:
        first = min(done, n_columns - width)
        sums = start
        for s in range(ranks.shape[0]):
            rank = ranks[s]
            row = load(matrix, np.int64(active_inputs[rank]) * matrix.shape[1] + first, start)
            if coefficient is not None:
                row = coefficient[rank] * row
            sums = sums + row
        store(total, first, sums)
        done = first + width
    return done
