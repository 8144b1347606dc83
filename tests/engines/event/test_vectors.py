"""Elementwise functions give the same numbers for vectors as one by one, with every operator."""

from types import FunctionType

import numba
import numpy as np
import pytest

from stdp_run.elementwise import exp, maximum, minimum, power, where
from stdp_run.engines.event import vectors
from stdp_run.engines.event.jit import OPTIONS, Kernel
from stdp_run.engines.event.vectors import BLOCK, VECTOR_BYTES, add_rows, zeros_for_vectors


def floats(x, y, k):
    between = (x > 0) & (x <= y) | (x == y)
    compared = where(between, 1, 0) * x + (x != y) * y + where(y >= 0, x, 0)
    called = where(x < y, exp(-abs(x)), maximum(x, y)) + minimum(y, 1)
    return (x + 2 * y - x / 3) * y - 1 + 10 * compared + 100 * called + 1000 * (x * k + where(k > 2, y, 0))


def integers(x, y, k):
    return where(k > 3, (k * 7) >> 2, k << 1) + (k & 5 ^ 3) - (-k)


float_vectors, integer_vectors = (numba.njit(function, **OPTIONS) for function in (floats, integers))


@numba.njit(**OPTIONS)
def apply_both(x, y, k, results, whole):
    """Write the functions of vectors to `results` and `whole`."""
    for at in range(0, x.shape[0], BLOCK):
        a, b, n = vectors.load(x, at, BLOCK), vectors.load(y, at, BLOCK), vectors.load(k, at, BLOCK)
        vectors.store(results, at, float_vectors(a, b, n))
        vectors.store(whole, at, integer_vectors(a, b, n))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_compute_as_numbers_do_one_by_one(dtype):
    random = np.random.default_rng(0)
    x, y = (random.normal(0, 2, 64).round(1).astype(dtype) for _ in range(2))
    k = random.integers(0, 8, 64).astype(np.int32)
    results, whole = np.zeros(64, dtype), np.zeros(64, np.int32)
    apply_both(x, y, k, results, whole)
    by_numpy = {"where": np.where, "exp": np.exp, "maximum": np.maximum, "minimum": np.minimum, "abs": np.abs}
    for function, found in ((floats, results), (integers, whole)):
        expected = FunctionType(function.__code__, by_numpy)(x.astype(np.float64), y.astype(np.float64), k)
        assert found == pytest.approx(expected, rel=1e-5 if dtype is np.float32 else 1e-12, abs=1e-6)


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 3e-13), (np.float32, 1e-5)])
def test_a_power_is_right_for_numbers_of_any_size(dtype, error):
    """From nearly the smallest to next to 1, and 0; a logarithm of 700 (87) loses three (two) digits."""
    compiled = numba.njit(lambda base, exponent: power(base, exponent), **OPTIONS)

    @numba.njit(**OPTIONS)
    def both(bases, exponent, together, each):
        for at in range(0, bases.shape[0], BLOCK):
            vectors.store(together, at, compiled(vectors.load(bases, at, BLOCK), exponent))
        for k in range(bases.shape[0]):
            each[k] = compiled(bases[k], exponent)

    smallest = -300 if dtype == np.float64 else -37
    sizes = np.concatenate([10 ** np.linspace(smallest, 3, 300), 1 + np.linspace(-1e-3, 1e-3, 98), [0.0, -0.5]])
    bases = sizes.astype(dtype)
    for exponent in (0.0, 0.2, 0.9, 1.0):
        together, each = np.zeros((2, len(bases)), dtype)
        both(bases, dtype(exponent), together, each)
        expected = np.maximum(bases.astype(np.float64), 0) ** np.float64(dtype(exponent))
        assert (together == each).all()
        assert together == pytest.approx(expected, rel=error, abs=0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_sums_of_rows_are_those_of_one_row_after_the_other(dtype):
    random = np.random.default_rng(0)
    kernel = Kernel(add_rows)
    active_inputs = np.arange(1, 40, 2, dtype=np.uint32)
    ranks = np.flatnonzero(random.random(20) < 0.7).astype(np.uint32)
    coefficient = (random.random(20) * 4).astype(dtype)
    for n_vectors in range(1, 25):
        n_columns = n_vectors * VECTOR_BYTES // np.dtype(dtype).itemsize
        matrix, total = zeros_for_vectors((40, n_columns), dtype), zeros_for_vectors(n_columns, dtype)
        matrix[:] = random.random(matrix.shape) * 100
        rows = matrix[active_inputs[ranks]]
        kernel(total, matrix, active_inputs, ranks, None)
        assert (total == sum(rows)).all()
        kernel(total, matrix, active_inputs, ranks, coefficient)
        assert (total == sum(rows * coefficient[ranks, None])).all()
