"""Calls of ops that gather numbers along axes: sums, extremes, quantiles, sorting, counting."""

from __future__ import annotations

import numpy as np

from .ops_table import Table, bools, spread, whole

T = Table()
f32, nan, inf = np.float32, np.nan, np.inf

CUBE = spread((2, 3, 4), -2, 3)
INTS, BYTES = whole((2, 3, 4), -4, 5), whole((2, 3, 4), 1, 5, "uint8", 2)
BOOLS = bools((2, 3, 4))
HALF, WIDE = CUBE.astype("float16"), CUBE.astype("float64")
HOLES = np.where(spread((2, 3, 4), seed=3) > 0.2, CUBE, f32(nan))
HOLES[1, 2] = nan  # a row of nothing but NaN
FILLED = np.where(np.isnan(HOLES), f32(0.5), HOLES)
FEW = np.where(spread((2, 3, 4), seed=3) > -0.8, CUBE, f32(nan))
SCALAR, EMPTY = np.array(f32(0.7)), np.zeros((0, 3), "float32")

MEANS = "sum mean prod std var logsumexp"
EXTREMES = "max min amax amin ptp"
NANS = "nansum nanmean nanprod nanstd nanvar nanmax nanmin"
TRUTH = "all any"
REDUCTIONS = f"{MEANS} {EXTREMES} {NANS} {TRUTH} median nanmedian"
T.each(REDUCTIONS, CUBE)
for axis in (0, -1, 1, (0, 2), (-1, 0), (0, 1, 2)):
    T.each(REDUCTIONS, CUBE, axis=axis)
    T.each(REDUCTIONS, CUBE, axis=axis, keepdims=True)
T.each(REDUCTIONS, CUBE, None, True)
for x in (INTS, BYTES, BOOLS, HALF, WIDE, INTS.astype("int64"), INTS.astype("int8")):
    T.each(REDUCTIONS, x, axis=1, grad=x is WIDE)
T.each(f"{MEANS} {EXTREMES} {TRUTH}", SCALAR)
T.each("sum prod mean logsumexp all any nansum nanprod", EMPTY, axis=0, grad=False)
T.each("sum mean all any", EMPTY, axis=1)
T.each("sum mean max std median all any", CUBE, axis=())
T.each(NANS, FEW, axis=-1)
T.each(NANS + " nanmedian", FEW)
T.each(NANS + " nanmedian", HOLES, axis=(1, 2), keepdims=True)
T.each(NANS + " nanmedian", HOLES, axis=-1, grad=False)
T.each(f"{MEANS} {EXTREMES} median", HOLES, axis=0, grad=False)
T.each(
    "max min sum mean logsumexp prod", f32([[inf, 1], [-inf, 2], [inf, -inf]]), axis=1, grad=False
)
T.each("logsumexp", CUBE * 100, axis=0)
T.each("all any", f32([[0, nan], [0, 0]]), axis=1, grad=False)
T.each("max min", CUBE, axis=1, initial=0.5)
T.each("max min", CUBE, initial=-9.0, keepdims=True)
T.each("max min", INTS, axis=0, initial=2)
T.add("max", EMPTY, axis=0, initial=1.5, grad=False)
for dtype in ("float32", "float64", "int32", "float16"):
    T.add("prod", INTS, axis=0, dtype=dtype)
    T.add("cumsum", INTS, axis=0, dtype=dtype)
    T.add("cumprod", BYTES, axis=-1, dtype=dtype)
    T.add("nancumsum", INTS, axis=0, dtype=dtype)
    T.add("nancumprod", BYTES, axis=0, dtype=dtype)
T.add("prod", CUBE, dtype="int32", axis=2, grad=False)
RUNNING = "cumsum cumprod nancumsum nancumprod"
for x in (CUBE, INTS, BOOLS, BYTES, HALF, WIDE):
    T.each(RUNNING, x, grad=x is CUBE or x is WIDE)
    T.each(RUNNING, x, axis=1, grad=x is CUBE or x is WIDE)
T.each(RUNNING, CUBE, axis=-1)
T.each(RUNNING, HOLES, axis=-1, grad=False)
T.each(RUNNING, EMPTY, axis=0)
T.each(RUNNING, SCALAR)
T.each("cumprod", f32([2, 0, 3, 0, 4]))

INDEX = "argmax argmin nanargmax nanargmin"
for x in (CUBE, INTS, BYTES, BOOLS, HALF):
    T.each(INDEX, x)
    T.each(INDEX, x, axis=1)
    T.each(INDEX, x, axis=-1, keepdims=True)
T.each(INDEX, CUBE, keepdims=True)
T.each(INDEX, f32([-0.0, 0.0, -0.0]))
T.each("nanargmax nanargmin", HOLES, axis=-1)
T.each("nanargmax nanargmin", FEW)
T.each("argmax argmin", f32([[1, nan, 3], [nan, 1, 1]]), axis=1)
for x in (CUBE, INTS, BOOLS, HOLES, HALF):
    T.add("count_nonzero", x)
    T.add("count_nonzero", x, axis=1)
    T.add("count_nonzero", x, axis=(0, -1))

W = spread((3,), 0.2, 1, seed=4)
T.add("average", CUBE)
T.add("average", CUBE, axis=1)
T.add("average", CUBE, axis=-1, weights=None)
T.add("average", CUBE, axis=1, weights=W)
T.add("average", CUBE, axis=None, weights=spread((2, 3, 4), 0.2, 1, seed=5))
T.add("average", CUBE, axis=-1, weights=spread((2, 3, 4), 0.2, 1, seed=5))
T.add("average", INTS, axis=1, weights=np.int32([1, 2, 1]))
T.add("average", BOOLS, axis=0)
T.add("average", SCALAR)

METHODS = ("linear", "lower", "higher", "midpoint", "nearest")
for method in METHODS:
    T.add("quantile", CUBE, 0.3, axis=1, method=method)
    T.add("nanquantile", FEW, [0.1, 0.6], axis=-1, method=method)
    T.add("percentile", CUBE, 40, axis=(0, 2), method=method)
    T.add("nanpercentile", FEW, [25, 75], method=method)
for names, q in (("quantile nanquantile", 0.3), ("percentile nanpercentile", 30)):
    T.each(names, CUBE, q)
    T.each(names, CUBE, q, axis=-1, keepdims=True)
    T.each(names, CUBE, [0, q, q, 1], axis=(0, 2), keepdims=True)
    T.each(names, INTS, q, axis=0)
    T.each(names, BYTES, q)
    T.each(names, CUBE, np.array(f32(q)), axis=1, grad=False)
    T.each(names, CUBE, f32([q, 0]), axis=0, grad=False)
    T.each(names, HALF, q, axis=0, grad=False)
    T.each(names, WIDE, q, axis=0)
    T.each(names, BOOLS, q, axis=0)
T.each("quantile percentile", HOLES, 0.5, axis=-1, grad=False)
T.each("nanquantile nanpercentile", HOLES, 0.5, axis=-1, grad=False)
T.each("median", spread((5,)))
T.each("median nanmedian", spread((4, 1)), axis=0)
T.each("nanmedian", f32([[inf, nan, 1], [-inf, 2, inf]]), axis=1, grad=False)
T.each("nanquantile", f32([[inf, nan, 1], [-inf, 2, inf]]), [0, 0.5, 1], axis=0, grad=False)

ORDER = "sort argsort"
for x in (CUBE, INTS, BYTES, BOOLS, HALF, WIDE):
    T.each(ORDER, x)
    T.each(ORDER, x, axis=1)
    T.each(ORDER, x, axis=None)
    T.each(ORDER, x, axis=-2)
T.each(ORDER, EMPTY)
T.each(ORDER, f32([2, inf, -inf, 0]), grad=False)
T.add("argsort", np.int32([3, 1, 3, 1, 1]))


def partitioned(ops, x, kth, axis=-1):
    """What the order of argpartition leaves to the backend: only the k-th number is told."""
    found = ops.take_along_axis(x, ops.argpartition(x, kth, axis), axis=axis)
    return ops.take(found, kth, axis=axis), ops.sort(found, axis=axis)


for kth in (1, 0, 2, -2):  # of more axes TensorFlow fails, and of most floats its k-th is another
    T.add("argpartition", INTS[0, 0], kth, call=partitioned)
T.add("argpartition", CUBE[0, 0], 0, call=partitioned)
T.add("argpartition", spread((5,)), 1, call=lambda ops, x, kth: ops.argpartition(x, kth) * 0)
for k in (1, 3):
    T.add("top_k", CUBE, k)
    T.add(
        "top_k",
        INTS.astype("float32") + CUBE,
        k,
        sorted=False,
        call=lambda ops, x, k, sorted: [ops.sort(ops.top_k(x, k, sorted=sorted)[0])],
    )
T.add("top_k", whole((3, 6), 0, 90), 2)
T.add("top_k", f32([1, 3, 3, 2]), 2)
for k in (1, 2, 3):
    T.add("in_top_k", np.int32([0, 3, 1]), spread((3, 4)), k)
T.add("in_top_k", np.int32([0, 1]), f32([[1, 1, 0], [2, 2, 2]]), 1)
T.add("in_top_k", np.int32([0, 1]), f32([[nan, 1, 0], [2, inf, 2]]), k=1)

# Counting, searching, sets and segments.
IDS = whole((12,), 0, 5)
T.add("bincount", IDS)
T.add("bincount", IDS, minlength=8)
T.add("bincount", IDS.astype("int64"), minlength=3)
T.add("bincount", IDS.astype("uint8"))
T.add("bincount", IDS, weights=spread((12,)), grad=False)
T.add("bincount", IDS, weights=whole((12,), 0, 4), minlength=7)
T.add("bincount", whole((3, 4), 0, 5))
T.add("bincount", whole((3, 4), 0, 5), weights=spread((3, 4)), minlength=6, grad=False)
for x in (CUBE.ravel(), INTS.ravel()):
    T.add("histogram", x, grad=False)
    T.add("histogram", x, bins=4, grad=False)
    T.add("histogram", x, bins=5, range=(-1, 2), grad=False)
T.add("histogram", f32([0, 1, 1, 2]), bins=2, range=(0.0, 2.0), grad=False)
T.add("histogram", f32([1, 1, 1]), grad=False)
BINS = f32([-1, 0, 0.5, 2])
for values in (CUBE.ravel(), f32([-1, 0, 0.5, 2, inf]), EMPTY[:, 0]):
    for side in ("left", "right"):
        T.add("searchsorted", BINS, values, side=side, grad=False)
for values in (CUBE, INTS, f32([-1, 0, 0.5, 2, inf]), SCALAR):
    T.add("digitize", values, BINS, grad=False)
T.add("searchsorted", np.int32([1, 3, 3, 7]), whole((6,), 0, 9))
T.add(
    "searchsorted",
    spread((5,)),
    spread((3,)),
    call=lambda ops, a, x: ops.searchsorted(ops.sort(a), x),
)
T.add("digitize", whole((2, 3), 0, 9), np.int32([1, 3, 7]))
T.add("digitize", CUBE, [-1.0, 0.0, 1.0])
T.add("isin", INTS, np.int32([1, 3]))
T.add("isin", INTS, np.int32([1, 3]), invert=True)
T.add("isin", INTS, np.int32([1, 3]), assume_unique=True)
T.add("isin", f32([1, nan, 2]), f32([nan, 2]))
T.add("isin", INTS, f32([1.0, 2.5]))
T.add("isin", np.array(np.int32(3)), np.int32([[1, 3]]))
T.add("isin", CUBE, np.zeros((0,), "float32"))
VALUES = np.int32([3, 1, 3, 2, 1, 7])
T.add("unique", VALUES)
T.add("unique", VALUES, return_index=True, return_inverse=True, return_counts=True)
T.add("unique", VALUES, return_counts=True)
T.add("unique", VALUES, return_inverse=True)
T.add("unique", VALUES, return_index=True)
T.add("unique", VALUES.reshape(2, 3), return_inverse=True)
T.add("unique", f32([0.5, -1, 0.5]), grad=False)
T.add("unique", np.int32([[1, 2], [3, 4], [1, 2]]), axis=0)
T.add("unique", np.int32([[1, 1], [3, 3], [1, 1]]), axis=1, return_inverse=True, return_counts=True)
T.add("unique", f32([nan, 1, 2, nan]), return_counts=True, grad=False)
T.add("unique", VALUES, size=6, fill_value=-1)
T.add("unique", VALUES, size=2)
T.add("unique", VALUES, size=5)
T.add(
    "unique",
    VALUES,
    sorted=False,
    call=lambda ops, x, sorted: ops.sort(ops.unique(x, sorted=sorted)),
)
T.add("nonzero", INTS)
T.add("nonzero", BOOLS)
T.add("nonzero", CUBE * 0, grad=False)
SEGMENTS = "segment_sum segment_max segment_min segment_prod"
ROWS = spread((6, 2), 0.2, 2)
SORTED, MIXED = np.int32([0, 0, 1, 1, 1, 3]), np.int32([2, 0, 1, 0, 2, 2])
for x in (ROWS, ROWS[:, 0], whole((6, 2), -5, 9), spread((6, 2, 2), seed=2)):
    T.each(SEGMENTS, x, SORTED, sorted=True, grad=False)
    T.each(SEGMENTS, x, MIXED)
    T.each(SEGMENTS, x, MIXED, num_segments=3)
    T.each(SEGMENTS, x, SORTED, num_segments=5)
T.each(SEGMENTS, ROWS, SORTED, num_segments=6, grad=False)
T.each(SEGMENTS, ROWS, np.int32([0, 1, -1, 1, 0, 0]), num_segments=2, grad=False)

T.each("moments", CUBE, 0)
T.each("moments", CUBE, [0, 2])
T.each("moments", CUBE, (0, -1), keepdims=True)
T.each("moments", HALF, 1, grad=False)
T.add("moments", INTS, 1)
for order in (None, 1, 2, 3, 0, inf, -inf, -1):
    T.add("norm", CUBE, ord=order, axis=-1, grad=order not in (0, -1))
    T.add("norm", spread((5,)), ord=order, grad=order not in (0, -1))
for order in (None, "fro", "nuc", 1, -1, 2, -2, inf, -inf):
    T.add("norm", CUBE, ord=order, axis=(0, 2), grad=order not in ("nuc",))
    T.add("norm", CUBE[0], ord=order, keepdims=True, grad=order not in ("nuc",))
T.add("norm", INTS, axis=1)
T.add("norm", CUBE, axis=(-1, 0), keepdims=True)

# Gradients between equals and at zeros
EQUALS = f32([[1, 1, 0], [2, 2, 2], [0, -1, -1]])
T.each(f"{EXTREMES} nanmax nanmin", EQUALS, axis=1)
T.each("prod nanprod", EQUALS, axis=0)
T.each("prod", EQUALS)
T.each("sort", EQUALS, axis=1)
T.each("segment_max segment_min segment_prod", EQUALS, np.int32([0, 1, 0]), num_segments=2)
T.add("top_k", EQUALS, 2)
