"""Calls of ops that make arrays and move numbers without changing them: shapes, places, windows."""

from __future__ import annotations

import numpy as np

from .ops_table import Table, bools, spread, whole

T = Table()
f32, nan = np.float32, np.nan

ROW, MATRIX, CUBE = spread((4,)), spread((3, 4)), spread((2, 3, 4))
INTS, BOOLS, SCALAR = whole((3, 4), -4, 5), bools((3, 4)), np.array(f32(0.7))
EMPTY = np.zeros((0, 3), "float32")

# Made of nothing
for args in ((5,), (5.0,), (2, 7), (2, 9, 3), (5, 0, -2), (0,), (3, 3), (0.5, 2, 0.25)):
    T.add("arange", *args)
for dtype in ("float32", "int32", "int64", "uint8", "float16"):
    T.add("arange", 1, 7, 2, dtype=dtype)
    T.add("linspace", 0, 5, 6, dtype=dtype)
    T.each("zeros ones", (2, 3), dtype=dtype)
    T.add("empty", (2, 3), dtype=dtype, call=lambda ops, shape, dtype: ops.empty(shape, dtype) * 0)
    T.each("eye identity tri", 3, dtype=dtype)
    T.add("full", (2,), 3, dtype=dtype)
    T.each("zeros_like ones_like", MATRIX, dtype=dtype)
    T.add("full_like", MATRIX, 2, dtype=dtype)
    T.add("logspace", 0, 3, 4, dtype=dtype)
    T.add("geomspace", 1, 8, 4, dtype=dtype)
T.each("zeros ones", ())
T.each("zeros ones", 3)
T.each("zeros ones", (0, 2))
T.each("zeros ones", (2,), dtype="bool")
T.add("empty", (2, 3), call=lambda ops, shape: ops.empty(shape) * 0)
T.add("empty_like", MATRIX, call=lambda ops, x: ops.empty_like(x) * 0)
T.add("empty_like", INTS, "float32", call=lambda ops, x, d: ops.empty_like(x, dtype=d) * 0)
for x in (MATRIX, INTS, BOOLS, SCALAR, EMPTY):
    T.each("zeros_like ones_like", x)
    T.add("full_like", x, 1)
T.add("full_like", MATRIX, ROW)
T.add("full", (2, 3), 2.5)
T.add("full", (2, 3), f32([1, 2, 3]))
T.add("full", (4,), True)
for kwargs in ({}, {"M": 5}, {"M": 2}, {"k": 1}, {"k": -2}, {"M": 5, "k": 3}):
    T.each("eye tri", 3, **kwargs)
T.each("eye identity tri", 0)
T.add("identity", 2)
for kwargs in ({}, {"num": 4}, {"endpoint": False}, {"num": 1}, {"num": 0}, {"num": 3, "axis": -1}):
    T.add("linspace", 1, 3, **kwargs)
    T.add("linspace", ROW, f32([3, 4, 5, 6]), **kwargs)
    T.add("logspace", 0.5, 2, **kwargs)
    T.add("geomspace", 1.5, 20, **kwargs)
T.add("linspace", 0, 1, 5, retstep=True)
T.add("linspace", 0.0, 1.0, 4, False, True)
T.add("linspace", SCALAR, 5, num=3)
T.add("linspace", 0, MATRIX, num=3, axis=1)
T.add("logspace", 0, 2, num=5, base=2)
T.add("logspace", ROW, f32([1, 2, 1, 2]), num=3, axis=1)
T.add("geomspace", f32([1, 2]), f32([8, 32]), num=3)
T.add("geomspace", -1, -8, num=4)
T.each("bartlett blackman hamming hanning", 7)
T.each("bartlett blackman hamming hanning", 8)
T.each("bartlett blackman hamming hanning", 1)
for beta in (0.0, 5.0, 14.0):
    T.add("kaiser", 6, beta)
    T.add("kaiser", 7, beta=beta)
for indexing in ("xy", "ij"):
    T.add("meshgrid", ROW, f32([1, 2]), indexing=indexing)
    T.add("meshgrid", ROW, f32([1, 2]), f32([3, 4, 5]), indexing=indexing)
    T.add("meshgrid", ROW, indexing=indexing)

# Conversions and what is known of a tensor
for x in ([1, 2], [1, 2.5], 3, 2.5, True, [[True, False]], [[1.0], [2.0]]):
    T.each("array convert_to_tensor", x)
    T.each("array convert_to_tensor", x, dtype="float32")
    T.add("convert_to_numpy", x, call=lambda ops, x: ops.convert_to_numpy(ops.array(x)))
T.each("array convert_to_tensor", MATRIX)
T.each("array convert_to_tensor", MATRIX, "float16", grad=False)
T.each("array convert_to_tensor", INTS, dtype="float32")
T.add("convert_to_numpy", whole((2, 2), 0, 9), call=lambda ops, x: ops.shape(x))
for x in (MATRIX, INTS, SCALAR, CUBE, EMPTY):
    T.each("shape ndim size is_tensor dtype", x, call=None, grad=False)
T.each("is_tensor", 3)
T.each("is_tensor", [1, 2])
T.each("ndim size", [[1, 2], [3, 4]])

# Shapes
for shape in ((4, 3), (2, -1), (-1,), 12, (1, 3, 1, 4), -1):
    T.add("reshape", MATRIX, shape)
    T.add("reshape", INTS, shape)
T.add("reshape", SCALAR, (1, 1))
T.add("reshape", SCALAR, ())
T.add("reshape", EMPTY, (3, 0))
T.each("ravel transpose", MATRIX)
T.each("ravel transpose", INTS)
T.each("ravel transpose", SCALAR)
T.each("ravel transpose", CUBE)
for axes in ((2, 0, 1), (0, 2, 1), (-1, 0, 1), [1, 0, 2]):
    T.add("transpose", CUBE, axes=axes)
for axis in (0, 1, -1, 2, (0, 2), (-1, -2), [0, 1]):
    T.add("expand_dims", MATRIX, axis)
T.add("expand_dims", SCALAR, 0)
ONES = spread((1, 3, 1))
for axis in (None, 0, 2, -1, (0, 2), (-1,)):
    T.add("squeeze", ONES, axis=axis)
T.add("squeeze", MATRIX)
for a, b in ((0, 1), (0, -1), (-1, 1), (1, 1)):
    T.add("swapaxes", CUBE, a, b)
    T.add("moveaxis", CUBE, a, b)
T.add("moveaxis", CUBE, (0, 1), (-1, 0))
T.add("moveaxis", CUBE, [2, 0], [0, 1])
for shape in ((3, 4), (2, 3, 4), (5, 1, 3, 4)):
    T.add("broadcast_to", MATRIX, shape)
T.add("broadcast_to", SCALAR, (2, 2))
T.add("broadcast_to", np.int32([[1], [2]]), (2, 3))
for axis in (None, 0, 1, -1, (0, 2), (-1, 1)):
    T.add("flip", CUBE, axis=axis)
T.add("flip", BOOLS)
T.each("fliplr flipud", MATRIX)
T.each("fliplr flipud", CUBE)
for k in (1, 2, 3, 4, 0, -1, 5):
    T.add("rot90", MATRIX, k=k)
    T.add("rot90", CUBE, k=k, axes=(0, 2))
T.add("rot90", CUBE, axes=(2, 1))
for shift, axis in (
    (1, None),
    (-2, None),
    (1, 0),
    (-1, 1),
    (7, -1),
    ((1, 2), (0, 1)),
    (0, 0),
    (9, None),
):
    T.add("roll", MATRIX, shift, axis=axis)
T.add("roll", INTS, 2, axis=1)
for reps in (2, (2,), (2, 1), (1, 2, 3), (0, 2)):
    T.add("tile", MATRIX, reps)
T.add("tile", ROW, [2, 2])
T.add("tile", SCALAR, 3)
for reps, axis in ((2, None), (3, 0), (2, -1), (0, 1), ([1, 0, 2], 0), ([2, 1, 0, 3], 1), ([2], 1)):
    T.add("repeat", MATRIX, reps, axis=axis)
T.add("repeat", INTS, np.array(2, "int32"), axis=0)
T.add("repeat", ROW, np.int32([1, 2, 0, 1]))
WIDTHS = (((1, 2), (0, 1)), ((0, 0), (2, 1)), [[1, 1], [2, 2]])
for width in WIDTHS:
    T.add("pad", MATRIX, width)
    T.add("pad", INTS, width, constant_values=7)
    for mode in ("reflect", "symmetric"):
        T.add("pad", MATRIX, width, mode=mode)
T.add("pad", ROW, ((1, 0),), mode="constant", constant_values=2.5)
T.add("pad", BOOLS, ((1, 1), (0, 2)))
T.add("pad", EMPTY, ((1, 1), (0, 2)))
T.add("pad", ROW, 2)
T.add("pad", ROW, (1, 2))

# Joined and parted
for axis in (0, 1, -1):
    T.add("concatenate", [MATRIX, MATRIX * 2], axis=axis)
    T.add("stack", [MATRIX, MATRIX * 2, MATRIX], axis=axis)
    T.add("unstack", MATRIX, axis=axis)
    T.add("append", MATRIX, MATRIX * 3, axis=axis)
T.add("concatenate", [MATRIX, EMPTY.reshape(0, 3)[:, :0].reshape(3, 0)], axis=1)
T.add("concatenate", [MATRIX, INTS, BOOLS])
T.add("concatenate", [MATRIX])
T.add("concatenate", (ROW, f32([1, 2])))
T.add("stack", [ROW, np.int32([1, 2, 3, 4])])
T.add("stack", [SCALAR, SCALAR])
T.add("stack", [1, 2.5])
T.add("unstack", CUBE, num=2)
T.add("append", MATRIX, ROW)
T.add("append", INTS, f32([[1, 2, 3, 4]]), axis=0)
for name in ("hstack", "vstack", "dstack"):
    T.add(name, [ROW, ROW * 2])
    T.add(name, [MATRIX, MATRIX])
    T.add(name, (CUBE, CUBE))
    T.add(name, [INTS, MATRIX])
WIDE = spread((6, 4, 4))
for parts in (2, 1, [1, 3], [2], (1, 1, 2)):
    T.add("split", WIDE, parts)
    T.add("split", WIDE, parts, axis=-1)
    T.each("hsplit vsplit dsplit", WIDE, parts)
for parts in (1, 2, 4, 5, 9):
    T.add("array_split", WIDE, parts)
    T.add("array_split", WIDE, parts, axis=1)
T.add("hsplit", spread((6,)), 3)
T.add("split", np.arange(6, dtype="int32"), 3)

# Places
PLACES = np.int32([[2, 0], [1, 1]])
for axis in (0, 1, -1, None):
    T.add("take", MATRIX, PLACES, axis=axis)
    T.add("take", MATRIX, 1, axis=axis)
    T.add("take", INTS, [0, -1], axis=axis)
    T.add("take", CUBE, np.array(1, "int64"), axis=axis)
T.add("take", MATRIX, np.int32([-1, -3]), axis=0)
T.add("take", MATRIX, np.zeros((0,), "int32"), axis=0)
for axis in (0, 1, -1):
    T.add("take_along_axis", MATRIX, whole((3, 4), 0, 3), axis=axis)
T.add("take_along_axis", MATRIX, whole((3, 2), 0, 4), axis=1)
T.add("take_along_axis", MATRIX, whole((1, 4), 0, 3), axis=0)
T.add("take_along_axis", MATRIX, np.int32([[-1], [0], [-2]]), axis=1)
T.add("take_along_axis", MATRIX, np.int32([0, 11, 5]), axis=None)
T.add("take_along_axis", INTS, whole((3, 4), 0, 3, "int64"), axis=0)
KEYS = (
    0,
    -1,
    (1, 2),
    slice(1, 3),
    (slice(None), 2),
    slice(None, None, -1),
    (..., 0),
    None,
    (slice(None, None, 2), slice(-2, None)),
    (Ellipsis, None),
    (1, ..., -1),
    (slice(2, 0, -1),),
)
for key in KEYS:
    T.add("get_item", MATRIX, key)
    T.add("get_item", CUBE, key)
T.add("get_item", INTS, np.array(1, "int32"))
for start, shape in (((0, 1), (2, 2)), ((1, 0), (2, 4)), ([2, 3], [1, 1]), ((0, 0), (0, 4))):
    T.add("slice", MATRIX, start, shape)
T.add("slice", CUBE, np.int32([1, 0, 2]), (1, 3, 2))
T.add("slice", MATRIX, (1, 1), (-1, -1))
for start in ((0, 1), [1, 2], np.int32([1, 0])):
    T.add("slice_update", MATRIX, start, f32([[7, 8], [9, 10]]))
    T.add("slice_update", INTS, start, np.int32([[7, 8]]))
T.add("scatter", np.int32([[0, 1], [2, 3], [0, 1]]), f32([1, 2, 3]), (3, 4))
T.add("scatter", np.int32([[0], [2]]), MATRIX[:2], (4, 4))
T.add("scatter", np.int32([[1], [1]]), np.int32([3, 4]), (3,))
PAIRS, TO = np.int32([[0, 1], [2, 3], [1, 1]]), f32([0.5, -2.5, 3.5])
for reduction in (None, "add", "max", "min", "mul"):
    T.add("scatter_update", MATRIX, PAIRS, TO, reduction=reduction, grad=reduction in (None, "add"))
    T.add("scatter_update", INTS, PAIRS, np.int32([4, -5, 2]), reduction=reduction)
    T.add(
        "scatter_update",
        MATRIX,
        np.int32([[2], [0]]),
        MATRIX[:2] * 2,
        reduction=reduction,
        grad=reduction in (None, "add"),
    )
T.add("scatter_update", MATRIX, np.int32([[0, 0], [0, 0]]), f32([1, 2]), "add")
for indices in (np.int32([0, 5, 11]), np.int32([[3, 4], [7, 8]]), 7, np.int32([-1, -5])):
    T.add("unravel_index", indices, (3, 4))
T.add("unravel_index", np.int64([22, 3]), (2, 3, 4))
CONDITION = bools((3, 4), 2)
T.add("where", CONDITION, MATRIX, MATRIX * 2)
T.add("where", CONDITION, MATRIX, 0.0)
T.add("where", CONDITION, 1, INTS)
T.add("where", CONDITION, INTS, MATRIX)
T.add("where", CONDITION, ROW, SCALAR)
T.add("where", CONDITION[:, :1], MATRIX, 2)
T.add("where", INTS, MATRIX, -MATRIX)
T.add("where", CONDITION)
T.add("where", CONDITION, 1.5, 2)
T.add("select", [CONDITION, MATRIX > 0], [MATRIX, MATRIX * 2], 7.0)
T.add("select", [CONDITION, bools((3, 4), 3)], [INTS, INTS * 2])
T.add("select", [bools((4,), 1)], [MATRIX], default=-1.0)
for k in (0, 1, -1, 2):
    T.each("diag tril triu", MATRIX, k=k)
    T.each("diag diagflat", ROW, k=k)
    T.each("tril triu", CUBE, k=k)
    T.each("trace", MATRIX, offset=k)
    T.add("diagonal", MATRIX, offset=k)
    T.add("diagonal", CUBE, offset=k, axis1=-1, axis2=0)
    T.add("trace", CUBE, offset=k, axis1=1, axis2=2)
T.add("diagflat", MATRIX)
T.add("diagflat", SCALAR)
T.each("diag tril triu diagflat trace diagonal", INTS)
T.each("tril triu trace", BOOLS)
T.each("trace diagonal", CUBE)
T.add("vander", ROW)
T.add("vander", ROW, N=3)
T.add("vander", ROW, N=2, increasing=True)
T.add("vander", np.int32([1, 2, 3]))
T.add("vander", ROW, 0)
for n, axis in ((1, -1), (2, 0), (0, 1), (3, 1)):
    T.add("diff", MATRIX, n=n, axis=axis)
    T.add("diff", INTS, n=n, axis=axis)
T.add("diff", BOOLS)
for pattern, sizes in (("b h w -> b (h w)", {}), ("a b c -> c a b", {}),
                       ("a (b c) d -> a c b d", {"b": 3}),
                       ("a b (c d) -> a (b d) c", {"d": 2})):  # fmt: skip
    T.add("rearrange", CUBE, pattern, **sizes)
for num, axis in ((4, -1), (3, 1), (None, -1), (5, 0)):
    T.add("one_hot", np.int32([0, 2, 1, -1]), num or 3, axis=axis if axis != 1 else -1)
    T.add("one_hot", whole((2, 3), 0, 4), num or 4, axis=axis if axis else 0)
for dtype in ("float32", "int32", "bool", "float16"):
    T.add("one_hot", np.int32([0, 2, 9]), 3, dtype=dtype)
    T.add("multi_hot", np.int32([[0, 2], [1, 1]]), 4, dtype=dtype)
T.add("multi_hot", np.int32([0, 2]), 4)
T.add("multi_hot", np.int32([[0, 2], [1, 3]]), num_classes=4, axis=-1)
T.add("multi_hot", np.int32([[0, 2], [1, 3]]), 4, axis=0)
T.add("multi_hot", np.int32([[0, 2], [-1, 9]]), 4)
T.add("extract_sequences", spread((2, 10)), 4, 2)
T.add("extract_sequences", spread((9,)), 3, 3)
T.add("extract_sequences", spread((2, 2, 7)), 5, 1)
