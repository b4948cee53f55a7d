"""Reductions that are cut into pieces: large, narrow and odd shapes, NaN, whole numbers; softmax of
extreme rows and of every width, and labels that are no class."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import SETS, check_kernel, instruction_set, run_kernel
from test_update_ops import run_in_place

from zoo_keras.errors import DataError
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.reduce import collapse

R = registry
NAN, INF = np.nan, np.inf


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


SHAPES = [
    ((100_001,), (0,)), ((70_000, 3), (0,)), ((9000, 10), (0,)), ((3000, 65), (0,)),
    ((70, 1025), (0,)), ((3, 70_000), (1,)), ((2, 40_000, 5), (1,)), ((7, 130, 70), (0, 2)),
    ((3, 900, 4, 2, 5), (1, 3)), ((1000, 4, 8), (1,)), ((33_000, 2), (1,)), ((9, 2049), (0,)),
    ((2, 3, 4, 5, 6), (0, 2, 4)), ((3, 0, 5), (1,)), ((0, 5), (1,)), ((130, 64), (0,)),
]  # fmt: skip


@pytest.mark.parametrize("shape, axes", SHAPES, ids=str)
@pytest.mark.parametrize("op", ["reduce_sum", "reduce_mean", "reduce_max", "reduce_min"])
def test_pieces_add_up(op, shape, axes):
    if 0 in shape and op in ("reduce_max", "reduce_min") and shape[0]:
        return  # refused by the shape rule, see below
    attrs = {"axes": axes, "keepdims": False}
    check_kernel(R[op], [floats(*shape)], attrs, rtol=1e-5, atol=3e-5)
    if op != "reduce_mean":
        check_kernel(R[op], [(floats(*shape) * 99).astype(np.int32)], attrs)


@pytest.mark.parametrize("op", ["reduce_any", "reduce_all", "reduce_prod"])
@pytest.mark.parametrize("shape, axes", SHAPES[6:9], ids=str)
def test_logic_and_products_over_pieces(op, shape, axes):
    near_one = (1 + floats(*shape) * 1e-3).astype(np.float32)
    array = (
        near_one if op == "reduce_prod" else floats(*shape) > (0.99 if op[7:] == "any" else -0.99)
    )
    check_kernel(R[op], [array], {"axes": axes, "keepdims": True}, rtol=1e-4)


def test_a_long_sum_is_nearly_exact():
    x = (floats(1_000_000) + 1).astype(np.float32)
    for name in SETS:
        with instruction_set(name):
            got = run_kernel(R["reduce_sum"], [x], {"axes": (0,), "keepdims": False})[0]
        assert got == pytest.approx(np.sum(x.astype(np.float64)), rel=2e-7)


@pytest.mark.parametrize("shape, axis", [((5, 300), 1), ((300, 5), 0), ((3, 40, 9), 1), ((7,), 0)])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_nan_wins(shape, axis, place):
    x = floats(*shape)
    np.moveaxis(x, axis, 0)[place] = NAN
    for op in ("reduce_max", "reduce_min"):
        check_kernel(R[op], [x], {"axes": (axis,), "keepdims": False})
    for op in ("argmax", "argmin"):
        check_kernel(R[op], [x], {"axis": axis})


@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_the_first_of_equals_is_found(op):
    x = np.random.default_rng(0).integers(0, 3, (40, 33, 21)).astype(np.float32)
    x[3] = -INF
    for axis in range(3):
        check_kernel(R[op], [x], {"axis": axis})


def test_the_largest_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no elements"):
        R["reduce_max"](np.zeros((3, 0), np.float32), axes=(1,), keepdims=False)
    with pytest.raises(ValueError, match="axis 2 does not exist"):
        R["reduce_sum"](np.zeros((3, 4), np.float32), axes=(2,), keepdims=False)
    with pytest.raises(ValueError, match="named twice"):
        R["reduce_sum"](np.zeros((3, 4), np.float32), axes=(0, -2), keepdims=False)


def test_neighbouring_axes_become_one():
    assert collapse((2, 3, 4, 5), (1, 2)) == [(2, False), (12, True), (5, False)]
    assert collapse((2, 1, 4), (0, 2)) == [(8, True)]
    assert collapse((1, 1), (0,)) == []


EXTREMES = np.array(
    [[1e4, 1e4 - 1, -1e4, 0, 0], [-1e30, -1e30, -2e30, -1e30, -3e30], [80, -80, 0, 1, 2],
     [-INF, 0, 1, -INF, 2], [INF, 0, 1, 2, 3], [NAN, 0, 1, 2, 3], [0, 1, 2, 3, NAN], [-INF] * 5],
    np.float32,
)  # fmt: skip


@pytest.mark.parametrize("repeats", [1, 4, 20])
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_softmax_of_extreme_rows_is_numpys(op, repeats):
    x = np.tile(EXTREMES, (1, repeats))
    check_kernel(R[op], [x], {"axis": -1}, rtol=1e-5, atol=1e-6)
    check_kernel(R[op], [np.ascontiguousarray(x.T)], {"axis": 0}, rtol=1e-5, atol=1e-6)


def softmax_calls(rows: int, classes: int) -> list[tuple[str, list, dict]]:
    """Every kernel of csrc/elementwise/softmax.c on such rows: its name, inputs and attributes."""
    x, g = floats(rows, classes) * 5, floats(rows, classes, seed=1)
    y, shares = R["softmax"](x, axis=-1), np.ascontiguousarray(g[:, 0])
    labels = (np.arange(rows) % classes).astype(np.int32)
    calls = [("softmax", [x]), ("log_softmax", [x]), ("softmax_grad", [g, y]),
             ("log_softmax_grad", [g, np.log(y)])]  # fmt: skip
    losses = [("softmax_cross_entropy", [y, x]), ("softmax_cross_entropy_grad", [shares, y, x]),
              ("sparse_softmax_cross_entropy", [labels, x]),
              ("sparse_softmax_cross_entropy_grad", [shares, labels, x])]  # fmt: skip
    return [(op, a, {"axis": -1}) for op, a in calls] + [(op, a, {}) for op, a in losses]


@pytest.mark.parametrize("classes", [1, 2, 8, 16, 17, 31, 33, 512, 1001])
def test_softmax_of_every_length(classes):
    for op, inputs, attrs in softmax_calls(7, classes):
        check_kernel(R[op], inputs, attrs, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("classes", [3, 10, 100, 513, 1001])
def test_a_rows_softmax_does_not_depend_on_the_rows_around_it(classes):
    for op, inputs, attrs in softmax_calls(71, classes):
        for name in SETS:
            with instruction_set(name):
                whole = run_kernel(R[op], inputs, attrs)[0]
                for part in (slice(0, 1), slice(66, 71)):
                    some = [np.ascontiguousarray(a[part]) for a in inputs]
                    assert run_kernel(R[op], some, attrs)[0].tobytes() == whole[part].tobytes()


@pytest.mark.parametrize("classes", [3, 10, 100, 1001])
def test_softmax_may_overwrite_its_input(classes):
    for op, inputs, attrs in softmax_calls(71, classes):
        if R[op].inplace:
            apart = run_kernel(R[op], inputs, attrs)[0]
            space = run_in_place(R[op], inputs, attrs)[0]
            assert space.tobytes() == apart.tobytes(), op


@pytest.mark.parametrize("inner", [2, 8, 32, 45, 77])
def test_softmax_of_columns_of_every_width(inner):
    x, g = floats(2, 9, inner) * 5, floats(2, 9, inner, seed=1)
    y = R["softmax"](x, axis=1)
    for op, inputs in [("softmax", [x]), ("log_softmax", [x]), ("softmax_grad", [g, y]),
                       ("log_softmax_grad", [g, np.log(y)])]:  # fmt: skip
        check_kernel(R[op], inputs, {"axis": 1}, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("label", [-1, 4, 2**31 - 1])
def test_a_label_that_is_no_class_is_an_error(label):
    labels, x = np.array([0, label, 1], np.int32), floats(3, 4)
    with pytest.raises(DataError, match="more units"):
        R["sparse_softmax_cross_entropy"](labels, x)
    for op, inputs in [("sparse_softmax_cross_entropy", [labels, x]),
                       ("sparse_softmax_cross_entropy_grad", [floats(3), labels, x])]:  # fmt: skip
        with pytest.raises(DataError, match="more units"):
            run_kernel(R[op], inputs, {})
