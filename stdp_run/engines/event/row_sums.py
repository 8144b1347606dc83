"""Sums of rows of the weights, added in registers: what input spikes give to all neurons at once.

Eight vectors of neurons are added up side by side, so that one's additions need not wait for one another; what is left
over at the end of the rows, one to seven vectors, has its own loop for each number, since a loop of two or three parts
would read the list of rows again for each part.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from stdp_run.engines.event.vectors import VECTOR_BYTES, spread

_AT_ONCE = 8
_WORD = ir.IntType(64)


@intrinsic
def add_rows(typing_context, total, matrix, active_inputs, places):
    """Set total[E] to the sum of the rows matrix[active_inputs[place], E] for place in `places`, in their order."""
    return types.void(total, matrix, active_inputs, places), _generate


@intrinsic
def add_weighted_rows(typing_context, total, matrix, active_inputs, places, coefficient):
    """The same, each row times coefficient[place]."""
    return types.void(total, matrix, active_inputs, places, coefficient), _generate


def _generate(context, builder, signature, arguments):
    total, matrix, active_inputs, places, *coefficient = (
        context.make_array(kind)(context, builder, value=value)
        for kind, value in zip(signature.args, arguments, strict=True)
    )
    dtype = signature.args[0].dtype
    item = np.dtype(dtype.name).itemsize
    lanes = VECTOR_BYTES // item
    vector = ir.VectorType(context.get_value_type(dtype), lanes)
    add = builder.fadd if isinstance(dtype, types.Float) else builder.add
    n_columns, n_rows = (cgutils.unpack_tuple(builder, array.shape)[0] for array in (total, places))
    stride = cgutils.unpack_tuple(builder, matrix.shape)[1]

    def element(array, at):
        return builder.load(builder.gep(array.data, [at]))

    def vector_at(array, at):
        return builder.bitcast(builder.gep(array.data, [at]), vector.as_pointer())

    def add_up(n_vectors: int, first):
        """Add up `n_vectors` vectors of all rows, from column `first` on."""
        sums = [cgutils.alloca_once(builder, vector) for _ in range(n_vectors)]
        offsets = [builder.add(first, ir.Constant(_WORD, v * lanes)) for v in range(n_vectors)]
        for slot in sums:
            builder.store(ir.Constant(vector, None), slot)
        with cgutils.for_range(builder, n_rows) as loop:
            place = builder.zext(element(places, loop.index), _WORD)
            row = builder.mul(builder.zext(element(active_inputs, place), _WORD), stride)
            factor = spread(builder, element(coefficient[0], place), lanes) if coefficient else None
            for offset, slot in zip(offsets, sums, strict=True):
                values = builder.load(vector_at(matrix, builder.add(row, offset)), align=item)
                if factor is not None:
                    values = builder.fmul(factor, values)
                builder.store(add(builder.load(slot), values), slot)
        for offset, slot in zip(offsets, sums, strict=True):
            builder.store(builder.load(slot), vector_at(total, offset), align=item)

    width = ir.Constant(_WORD, _AT_ONCE * lanes)
    n_whole = builder.udiv(n_columns, width)
    with cgutils.for_range(builder, n_whole) as loop:
        add_up(_AT_ONCE, builder.mul(loop.index, width))
    first = builder.mul(n_whole, width)
    left_over = builder.udiv(builder.sub(n_columns, first), ir.Constant(_WORD, lanes))
    for n_vectors in range(1, _AT_ONCE):
        with builder.if_then(builder.icmp_unsigned("==", left_over, ir.Constant(_WORD, n_vectors))):
            add_up(n_vectors, first)
    return context.get_dummy_value()
