"""Kernels that pick rows by number: values, order of sums, ids out of range."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import SETS, check_kernel, check_samples, instruction_set, run_kernel

from zoo_keras.errors import DataError, ShapeError
from zoo_keras.primitives.index import (
    gather,
    gather_grad,
    gather_grad_rows,
    gather_nd,
    one_hot,
    scatter_add,
)


def rows_and_ids(rows: int, row: tuple[int, ...], ids: tuple[int, ...], dtype: str = "int32"):
    rng = np.random.default_rng(rows)
    table = rng.normal(size=(rows, *row)).astype(np.float32)
    return table, rng.integers(0, rows, ids).astype(dtype)


def test_samples_without_sums_are_exact():
    check_samples([gather, one_hot])


def test_samples_with_sums():
    check_samples([gather_grad, gather_grad_rows], 1e-6, 1e-6)


CASES = [
    (1, (1,), (50,)),
    (1000, (67,), (300,)),
    (70000, (5,), (40, 37)),
    (3000, (128,), (999,)),
    (40, (), (10000,)),
    (5, (0,), (9,)),
    (9, (4, 3), (0,)),
]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("rows, row, ids_shape", CASES)
def test_gather_and_both_gradients(rows, row, ids_shape, dtype):
    table, ids = rows_and_ids(rows, row, ids_shape, dtype)
    g = np.random.default_rng(5).normal(size=(*ids_shape, *row)).astype(np.float32)
    check_kernel(gather, [table, ids])
    check_kernel(gather_grad, [g, ids], {"rows": rows}, 2e-5, 2e-5)
    check_kernel(gather_grad_rows, [g, ids], {}, 2e-5, 2e-5)


@pytest.mark.parametrize("dtype", ["uint8", "float64", "int64"])
def test_tables_of_other_dtypes_are_gathered(dtype):
    table = np.arange(60).reshape(12, 5).astype(dtype)
    check_kernel(gather, [table, np.array([[11, 0], [3, 3]], np.int32)])


def test_large_ids_need_every_pass_of_the_sort():
    ids = np.array([2**31 - 1, 5, 2**22 + 3, 5, 2**11, 2**31 - 1, 0], np.int64)
    g = np.arange(14, dtype=np.float32).reshape(7, 2)
    check_kernel(gather_grad_rows, [g, ids])


def test_touched_rows_are_those_of_the_whole_gradient():
    _, ids = rows_and_ids(50, (7,), (30,))
    g = np.random.default_rng(4).normal(size=(30, 7)).astype(np.float32)
    unique, rows, count = run_kernel(gather_grad_rows, [g, ids], {})
    assert count == np.unique(ids).size < 30
    (dense,) = run_kernel(gather_grad, [g, ids], {"rows": 50})
    np.testing.assert_array_equal(rows[:count], dense[unique[:count]])


@pytest.mark.parametrize("wrong", [-1, 50, 2**31 - 1])
@pytest.mark.parametrize("op", [gather, gather_grad], ids=lambda op: op.name)
def test_an_id_out_of_range_stops_kernel_and_reference_alike(op, wrong):
    table, ids = rows_and_ids(50, (7,), (30,))
    ids[17] = wrong
    first, attrs = (table, {}) if op is gather else (np.ones((30, 7), "f4"), {"rows": 50})
    text = f"id out of range at position 17: .* below 50, .* Received: {wrong}"
    with pytest.raises(DataError, match=text):
        op(first, ids, **attrs)
    for name in SETS:
        with instruction_set(name), pytest.raises(DataError, match=text):
            run_kernel(op, [first, ids], attrs)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int64", "bool"])
def test_one_hot_in_every_dtype(dtype):
    ids = np.array([[0, 5, -1], [2, 6, 5]], np.int32)
    check_kernel(one_hot, [ids], {"depth": 6, "dtype": dtype})


def test_many_one_hot_codes():
    ids = np.random.default_rng(0).integers(-2, 70, 5000)
    check_kernel(one_hot, [ids], {"depth": 67})


def test_ids_must_be_integers():
    with pytest.raises(ShapeError, match="gather: ids must be integers"):
        gather(np.zeros((3, 2), np.float32), np.zeros(3, np.float32))


def test_scatters_are_gradients_of_gather_nd():
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    at = np.array([[1, 2], [3, 0], [1, 2]])
    np.testing.assert_array_equal(gather_nd(x, at), [5, 9, 5])
    added = scatter_add(x, at, np.ones(3, np.float32))
    assert added[1, 2] == 7 and added[3, 0] == 10 and added.sum() == x.sum() + 3
    with pytest.raises(DataError, match="below 3"):
        gather_nd(x, np.array([[0, 3]]))
