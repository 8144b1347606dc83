"""Moving vectors between registers and arrays, for compiled code; they are not asked whether a place is in the array.

`load` and `store` move whole vectors of VECTOR_BYTES, `block` and `store` those of active neurons, which are few:
`BLOCK` numbers side by side, whatever their type.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from stdp_run.elementwise import BLOCK, VECTOR_BYTES
from stdp_run.engines.event.simd import Vector, convert, llvm_vector


def _pointer(context, builder, call, arguments, kind):
    array = context.make_array(call.args[0])(context, builder, value=arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), kind.as_pointer())


def _whole_vector(dtype, like) -> Vector:
    """Return the vector of `dtype` with as many numbers as a whole vector has of the type of the array `like`."""
    return Vector(dtype, VECTOR_BYTES // (like.dtype.bitwidth // 8))


def _loads(vector: Vector):
    def generate(context, builder, call, arguments):
        pointer = _pointer(context, builder, call, arguments, llvm_vector(vector))
        return builder.load(pointer, align=vector.dtype.bitwidth // 8)

    return generate


def _is_zero(vector: Vector):
    return lambda context, builder, call, arguments: ir.Constant(llvm_vector(vector), None)


@intrinsic
def load(typing_context, array, at, like):
    """Return the numbers from array[at] on, as many as a vector has of the type of the array `like`."""
    vector = _whole_vector(array.dtype, like)
    return vector(array, types.int64, like), _loads(vector)


@intrinsic
def block(typing_context, array, at):
    """Return the `BLOCK` numbers from array[at] on."""
    vector = Vector(array.dtype, BLOCK)
    return vector(array, types.int64), _loads(vector)


@intrinsic
def zeros(typing_context, array, like):
    """Return zeros of the type of `array`, as many as a vector has of the type of the array `like`."""
    vector = _whole_vector(array.dtype, like)
    return vector(array, like), _is_zero(vector)


@intrinsic
def zero_block(typing_context, array):
    """Return `BLOCK` zeros of the type of `array`."""
    vector = Vector(array.dtype, BLOCK)
    return vector(array), _is_zero(vector)


@intrinsic
def rounded(typing_context, value, like):
    """Return a vector in the type of the array `like`."""
    vector = Vector(like.dtype, value.lanes)
    return vector(value, like), lambda context, builder, call, args: convert(context, builder, args[0], value, vector)


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
def take(typing_context, array, at):
    """Return array[at]; `at` is not looked at, where numba would ask whether it counts from the end."""

    def generate(context, builder, call, arguments):
        return builder.load(_pointer(context, builder, call, arguments, context.get_value_type(array.dtype)))

    return array.dtype(array, types.int64), generate


@intrinsic
def put(typing_context, array, at, value):
    """Set array[at] to a number; `at` is not looked at."""

    def generate(context, builder, call, arguments):
        number = context.cast(builder, arguments[2], value, array.dtype)
        builder.store(number, _pointer(context, builder, call, arguments, context.get_value_type(array.dtype)))
        return context.get_dummy_value()

    return types.void(array, types.int64, value), generate


@intrinsic
def lanes_where(typing_context, condition):
    """Return a uint64 with a bit for each lane in which the condition holds."""
    bits = ir.IntType(condition.lanes)
    return types.uint64(condition), lambda context, builder, call, arguments: builder.zext(
        builder.bitcast(arguments[0], bits), ir.IntType(64)
    )
