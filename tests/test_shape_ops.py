"""The kernels that move elements, against numpy: every dtype, odd sizes, empty axes."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_check import check_kernel, check_samples, run_kernel

from zoo_keras.errors import ShapeError
from zoo_keras.primitives.arrays import (
    Spec,
    broadcast_to,
    concatenate,
    flip,
    movable,
    pad,
    repeat,
    reshape,
    strided_slice,
    strided_slice_grad,
    tile,
    transpose,
)

OPS = [
    reshape,
    transpose,
    broadcast_to,
    concatenate,
    strided_slice,
    strided_slice_grad,
    pad,
    flip,
    tile,
    repeat,
]
DTYPES = ["float32", "float64", "int32", "int64", "uint8", "bool", "int8", "int16", "uint16"]


def numbers(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_kernel_equals_numpy_on_the_samples(op):
    check_samples([op])


LARGE = [
    (transpose, [(67, 129)], {"perm": (1, 0)}),
    (transpose, [(300, 211)], {"perm": (1, 0)}),
    (transpose, [(3, 17, 33, 3)], {"perm": (0, 3, 1, 2)}),
    (transpose, [(3, 3, 17, 33)], {"perm": (0, 2, 3, 1)}),
    (transpose, [(2, 16, 24, 32)], {"perm": (0, 3, 1, 2)}),
    (transpose, [(5, 6, 7, 9)], {"perm": (3, 2, 1, 0)}),
    (transpose, [(9, 31, 4, 20)], {"perm": (0, 2, 1, 3)}),
    (transpose, [(2, 3, 1, 4, 5, 2, 3, 2)], {"perm": (7, 0, 3, 1, 2, 6, 5, 4)}),
    (concatenate, [(40, 30, 7), (40, 30, 64), (40, 30, 1)], {"axis": 2}),
    (
        strided_slice,
        [(90, 40, 17)],
        {"begin": (80, 1, 16), "end": (-1, 39, 2), "strides": (-3, 2, -4)},
    ),
    (pad, [(30, 31, 33, 2)], {"paddings": ((0, 1), (2, 0), (1, 1), (0, 3)), "value": 3}),
    (tile, [(11, 13, 7)], {"repeats": (3, 1, 9)}),
    (tile, [(1, 2, 1, 2, 1, 2, 1, 2)], {"repeats": (2, 2, 2, 2, 2, 2, 2, 2)}),
    (repeat, [(50, 30, 12)], {"repeats": 5, "axis": 1}),
    (repeat, [(1000, 30)], {"repeats": 2, "axis": 1}),
    (flip, [(70, 50, 3)], {"axes": (0, 1)}),
    (broadcast_to, [(60, 1, 33)], {"shape": (4, 60, 50, 33)}),
    (reshape, [(500, 301)], {"shape": (301, 500)}),
]


@pytest.mark.parametrize("op, shapes, attrs", LARGE, ids=lambda v: getattr(v, "name", None))
def test_large_arrays_cut_among_threads(op, shapes, attrs):
    for dtype in ("float32", "uint8"):
        check_kernel(op, [numbers(s, dtype) for s in shapes], attrs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_moved_whole(dtype):
    x = numbers((5, 3, 4), dtype)
    check_kernel(transpose, [x], {"perm": (2, 0, 1)})
    check_kernel(flip, [x], {"axes": (2,)})
    check_kernel(pad, [x], {"paddings": ((1, 0), (0, 2), (1, 1)), "value": 1})
    check_kernel(broadcast_to, [x[:, :, :1]], {"shape": (5, 3, 4)})


def test_nan_bits_survive():
    x = np.array([0x7FC00123, 0xFF800001, 0x80000000, 1], np.uint32).view(np.float32)
    (y,) = run_kernel(repeat, [x], {"repeats": 3, "axis": 0})
    assert y.tobytes() == np.repeat(x.view(np.uint32), 3).tobytes()


def test_mixed_dtypes_are_left_to_the_host():
    a, b = numbers((2, 3)), numbers((2, 3), "int32")
    joined = concatenate(a, b, axis=0)
    assert joined.dtype == np.float32
    assert not movable(*[Spec(v.shape, v.dtype.name) for v in (a, b)])


WRONG = [
    (reshape, [(2, 3)], {"shape": (4,)}),
    (reshape, [(2, 3)], {"shape": (4, -1)}),
    (transpose, [(2, 3)], {"perm": (0, 0)}),
    (broadcast_to, [(2, 3)], {"shape": (2, 4)}),
    (broadcast_to, [(2, 3)], {"shape": (3,)}),
    (concatenate, [(2, 3), (2, 4)], {"axis": 0}),
    (concatenate, [(2, 3), (2, 3)], {"axis": 2}),
    (strided_slice, [(4,)], {"begin": (1,), "end": (5,), "strides": (1,)}),
    (strided_slice, [(4,)], {"begin": (1,), "end": (3,), "strides": (0,)}),
    (strided_slice, [(4,)], {"begin": (4,), "end": (1,), "strides": (-1,)}),
    (pad, [(4,)], {"paddings": ((-1, 0),)}),
    (flip, [(4,)], {"axes": (1,)}),
    (tile, [(4,)], {"repeats": (1, 2)}),
    (repeat, [(4,)], {"repeats": -1, "axis": 0}),
]


@pytest.mark.parametrize("op, shapes, attrs", WRONG, ids=lambda v: getattr(v, "name", None))
def test_wrong_attributes_are_refused(op, shapes, attrs):
    with pytest.raises(ShapeError, match=op.name):
        op(*[numbers(s) for s in shapes], **attrs)
