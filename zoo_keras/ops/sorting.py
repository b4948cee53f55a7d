"""Public ops along one axis: running sums, sorting, searching, counting, segments.

In: a tensor, Variable or array. Out: arrays whose shape does not depend on values; ops whose
result does (unique) work outside a trace only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.graph import Tensor
from zoo_keras.ops.convert import (
    as_dtype,
    as_float,
    axis_in,
    dtype_of,
    is_known,
    known_array,
    known_int,
    value,
)
from zoo_keras.ops.plain import binary, named
from zoo_keras.ops.shaping import ravel, stack
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import elementwise as m
from zoo_keras.primitives import host, reduce
from zoo_keras.primitives import sorting as scan
from zoo_keras.primitives.arrays import flip as flip_op
from zoo_keras.primitives.arrays import reshape as reshape_op
from zoo_keras.primitives.arrays import strided_slice
from zoo_keras.primitives.conv import conv
from zoo_keras.primitives.index import scatter_add
from zoo_keras.primitives.index import take_along_axis as take_along_axis_op
from zoo_keras.primitives.products import matmul


def _flat_or_axis(x: Any, axis: int | None) -> tuple[Any, int]:
    x = value(x)
    if isinstance(axis, (tuple, list)) and len(axis) == 1:
        axis = axis[0]
    flat = axis is None or not x.shape
    return (ravel(x), 0) if flat else (x, axis_in(axis, len(x.shape)))


@public
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The running sum along axis; of the flattened x when axis is None."""
    x, axis = _flat_or_axis(x if dtype is None else as_dtype(x, dtype), axis)
    return scan.cumsum(x, axis=axis, reverse=False)


@public
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The running product along axis; of the flattened x when axis is None."""
    x, axis = _flat_or_axis(x if dtype is None else as_dtype(x, dtype), axis)
    return scan.cumprod(x, axis=axis)


@public
def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The running sum with NaN counted as 0."""
    x = value(x)
    return cumsum(m.where(m.isnan(x), 0, x), axis, dtype)


@public
def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """The running product with NaN counted as 1."""
    x = value(x)
    return cumprod(m.where(m.isnan(x), 1, x), axis, dtype)


@public
def sort(x: Any, axis: int | None = -1) -> Any:
    """The elements along axis, smallest first."""
    x, axis = _flat_or_axis(x, axis)
    return scan.sort(x, axis=axis)


@public
def argsort(x: Any, axis: int | None = -1) -> Any:
    """The places of the elements along axis, smallest first, int32."""
    x, axis = _flat_or_axis(x, axis)
    return scan.argsort(x, axis=axis)


@public
def argpartition(x: Any, kth: int, axis: int | None = -1) -> Any:
    """Places such that smaller elements stand before the kth; here they are fully sorted."""
    if not isinstance(kth, int):
        raise ConfigError(
            f"argpartition: kth must be a whole number. Received: kth={kth!r}. Pass one place."
        )
    return argsort(x, axis)


@public
def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """(values, places) of the k largest elements of the last axis, largest first."""
    return scan.top_k(value(x), k=known_int(k, "k"))


@public
def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether predictions[i, targets[i]] is among the k largest of row i (ties count)."""
    targets, predictions = as_dtype(targets, "int32"), value(predictions)
    column = reshape_op(targets, shape=(*targets.shape, 1))
    inside = m.logical_and(m.greater_equal(column, 0), m.less(column, predictions.shape[-1]))
    own = take_along_axis_op(predictions, m.where(inside, column, 0), axis=1)
    larger = as_dtype(m.greater(predictions, own), "int32")
    rank = reduce.reduce_sum(larger, axes=(1,), keepdims=False)
    usable = m.logical_and(m.isfinite(own), inside)
    return m.logical_and(m.less(rank, k), reshape_op(usable, shape=targets.shape))


@public
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """Where each value belongs in a sorted sequence, int32."""
    if side not in ("left", "right"):
        raise ConfigError(f"searchsorted: side must be 'left' or 'right'. Received: {side!r}.")
    return host.searchsorted(value(sorted_sequence), value(values), right=side == "right")


@public
def digitize(x: Any, bins: Any) -> Any:
    """The number of the bin (ascending edges) that each element lies in, int32."""
    return host.searchsorted(value(bins), value(x), right=True)


@public
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often (or with what total weight) each number 0, 1, ... occurs in the last axis.

    In a trace the result has `minlength` entries, which must then cover all values.
    """
    if sparse:
        raise UnsupportedError("bincount: zoo_keras has dense tensors only. Received: sparse=True.")
    x = as_dtype(x, "int32")
    length = minlength
    if is_known(x):
        length = max(minlength, int(np.max(x, initial=-1)) + 1)
    elif not minlength:
        raise UnsupportedError(
            "bincount in a trace needs its length. Received: minlength=0. Pass the number of bins."
        )
    weights = m.add(m.multiply(x, 0), 1) if weights is None else value(weights)
    return host.count_ids(x, weights, length=length)


def _known(x: Any, name: str) -> np.ndarray:
    x = value(x)
    if isinstance(x, Tensor):
        raise UnsupportedError(
            f"The shape of {name}'s result depends on values, which a traced model cannot have. "
            f"Received: {x}. Compute it on arrays before the model."
        )
    return known_array(x, name)


@public
def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different elements in order; only outside a trace. See numpy.unique.

    With `size` the result is cut to so many, or filled up by `fill_value` (0 when it is None).
    """
    if size is not None and size < 0:
        raise ConfigError(f"unique: size must be >= 0. Received: size={size}. Pass a length.")
    kind, x = dtype_of(x), _known(x, "unique")
    found = np.unique(  # every NaN is an element of its own, as in Keras
        x, return_index, return_inverse, return_counts, axis=axis, equal_nan=False
    )  # type: ignore[call-overload]
    parts = list(found) if type(found) is tuple else [found]
    if size is not None:
        asked = [return_index, return_inverse, return_counts]
        kinds = ["elements", *itertools.compress(["index", "inverse", "counts"], asked)]
        fills = {"elements": fill_value or 0, "counts": 0}
        for i, what in enumerate(kinds):
            at = axis if axis is not None and what == "elements" else 0
            if what != "inverse":  # an index is filled up by the first one
                parts[i] = _in_length(parts[i], size, at, fills.get(what))
    parts[0] = in_dtype(parts[0], kind)
    return tuple(parts) if type(found) is tuple else parts[0]


def _in_length(x: np.ndarray, size: int, axis: int, fill: Any) -> np.ndarray:
    x = np.moveaxis(x, axis, 0)[:size]
    rest = np.empty((size - len(x), *x.shape[1:]), x.dtype)
    rest[...] = x[0] if fill is None and len(x) else fill or 0
    return np.moveaxis(np.concatenate([x, rest]), 0, axis)


@public
def histogram(x: Any, bins: int = 10, range: tuple[float, float] | None = None) -> Any:
    """(counts, edges) of a histogram: numpy.histogram."""
    if not isinstance(bins, int) or bins < 0:
        raise ConfigError(
            f"histogram: Argument `bins` should be a non-negative integer. Received: bins={bins}. "
            "Pass the number of bins."
        )
    if range is not None and (not isinstance(range, (tuple, list)) or len(range) != 2):
        raise ConfigError(
            "histogram: Argument `range` must be a tuple of two elements. Received: "
            f"range={range!r}. Pass the lowest and the highest edge."
        )
    x = value(x)
    if isinstance(x, Tensor):
        return _traced_histogram(ravel(as_float(x)), bins, range)
    counts, edges = np.histogram(known_array(x, "histogram"), bins, range)
    return counts.astype("int32"), edges.astype("float32")


def _traced_histogram(x: Any, bins: int, range: tuple[float, float] | None) -> tuple[Any, Any]:
    low, high = range or (
        reduce.reduce_min(x, axes=(0,), keepdims=False),
        reduce.reduce_max(x, axes=(0,), keepdims=False),
    )
    half = m.where(m.equal(high, low), 0.5, 0.0)  # as numpy for equal values
    low, high = m.subtract(low, half), m.add(high, half)
    width = m.divide(m.subtract(high, low), bins)
    edges = m.add(low, m.multiply(width, np.arange(bins + 1, dtype="float32")))
    places = host.searchsorted(edges[1:-1], x, right=True)
    inside = m.logical_and(m.greater_equal(x, low), m.less_equal(x, high))
    counts = host.count_ids(places, as_dtype(inside, "float32"), length=bins)
    return as_dtype(counts, "int32"), edges


@public
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element of x1 is one of those of x2."""
    x1, x2 = value(x1), ravel(x2)
    column = reshape_op(x1, shape=(*x1.shape, 1))
    found = reduce.reduce_any(m.equal(column, x2), axes=(len(x1.shape),), keepdims=False)
    return m.logical_not(found) if invert else found


# --- differences, correlation, integration


def _between(x: Any, axis: int, begin: int, end: int) -> Any:
    shape = x.shape
    first = [begin if i == axis else 0 for i in range(len(shape))]
    last = [end if i == axis else d for i, d in enumerate(shape)]
    return strided_slice(x, begin=tuple(first), end=tuple(last), strides=(1,) * len(shape))


@public
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """The differences of neighbours along axis, taken n times."""
    a = value(a)
    axis = axis_in(axis, len(a.shape))
    for _ in range(n):
        size = a.shape[axis]
        op = m.not_equal if dtype_of(a) == "bool" else m.subtract
        a = op(_between(a, axis, 1, size), _between(a, axis, 0, max(size - 1, 0)))
    return a


@public
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The integral of y along axis by the trapezoid rule."""
    y = value(y)
    axis = axis_in(axis, len(y.shape))
    size = y.shape[axis]
    if x is None and size > 1:
        ends = m.add(_between(y, axis, 0, 1), _between(y, axis, size - 1, size))
        whole = reduce.reduce_sum(as_float(y), axes=(axis,), keepdims=True)
        found = m.multiply(m.subtract(whole, m.multiply(ends, 0.5)), dx)
        return reshape_op(found, shape=(*y.shape[:axis], *y.shape[axis + 1 :]))
    middle = m.multiply(m.add(_between(y, axis, 1, size), _between(y, axis, 0, size - 1)), 0.5)
    step: Any = dx
    if x is not None:
        x = value(x)
        step = diff(x, axis=axis if len(x.shape) > 1 else 0)
        if len(x.shape) == 1:
            step = reshape_op(step, shape=[-1 if i == axis else 1 for i in range(len(y.shape))])
    return reduce.reduce_sum(m.multiply(middle, step), axes=(axis,), keepdims=False)


@public
def correlate(x1: Any, x2: Any, mode: str = "valid") -> Any:
    """The cross-correlation of two vectors: numpy.correlate."""
    x1, x2 = value(x1), value(x2)
    dtype = dtypes.promote(dtype_of(x1), dtype_of(x2), "float32")
    (n, k), swapped = (x1.shape[0], x2.shape[0]), False
    if k > n:
        x1, x2, n, k, swapped = x2, x1, k, n, True
    lows = {"valid": 0, "same": k // 2 if swapped else (k - 1) - (k - 1) // 2, "full": k - 1}
    highs = {"valid": 0, "same": k - 1 - lows["same"], "full": k - 1}
    if mode not in lows:
        raise ConfigError(f"correlate: mode must be one of {list(lows)}. Received: {mode!r}.")
    signal = reshape_op(as_dtype(x1, dtype), shape=(1, n, 1))
    kernel = reshape_op(as_dtype(x2, dtype), shape=(k, 1, 1))
    pad = ((lows[mode], highs[mode]),)
    found = ravel(conv(signal, kernel, strides=(1,), padding=pad, dilation=(1,), groups=1))
    return flip_op(found, axes=(0,)) if swapped else found


@public
def corrcoef(x: Any) -> Any:
    """Pearson's correlation of the rows with each other."""
    x = as_float(x)
    x = m.subtract(x, reduce.reduce_mean(x, axes=(1,), keepdims=True))
    length = m.sqrt(reduce.reduce_sum(m.square(x), axes=(1,), keepdims=True))
    x = m.divide(x, length)
    return m.clip(matmul(x, x, transpose_a=False, transpose_b=True), low=-1.0, high=1.0)


@public
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The matrix of the powers of a vector's elements, highest first unless increasing."""
    x = value(x)
    count = x.shape[0] if N is None else N
    powers = range(count) if increasing else reversed(range(count))
    return stack([m.power(x, p) for p in powers], axis=1)


# --- segments


def _segments(data: Any, segment_ids: Any, num_segments: Any) -> tuple[Any, Any, int]:
    data, ids = value(data), as_dtype(segment_ids, "int32")
    if len(ids.shape) != 1:
        raise ShapeError(
            "Argument `segment_ids` should be an 1-D vector, one number for each row. Received: "
            f"shape {tuple(ids.shape)}. Flatten it."
        )
    if not data.shape or data.shape[0] != ids.shape[0]:
        raise ShapeError(
            "Argument `segment_ids` and `data` should have same leading dimension. Received: "
            "shapes "
            f"{tuple(ids.shape)} and {tuple(data.shape)}. Pass one id for each row."
        )
    if num_segments is None:
        return data, ids, int(np.max(_known(ids, "segment ops without num_segments"))) + 1
    return data, ids, known_int(num_segments, "num_segments")


@public
def segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Any:
    """The sum of the rows of data with each segment id 0, 1, ... num_segments - 1."""
    data, ids, count = _segments(data, segment_ids, num_segments)
    outside = m.logical_or(m.less(ids, 0), m.greater_equal(ids, count))
    column = reshape_op(m.where(outside, count, ids), shape=(-1, 1))
    empty = np.zeros((count + 1, *data.shape[1:]), dtypes.storage(dtype_of(data)))
    return _between(scatter_add(empty, column, data), 0, 0, count)


def _segments_by(kind: str, doc: str) -> Callable[..., Any]:
    """A reduction of segments, which runs on the host and has no gradient."""

    def function(
        data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
    ) -> Any:
        data, ids, count = _segments(data, segment_ids, num_segments)
        return host.segment_reduce(data, ids, kind=kind, segments=count)

    return named(function, f"segment_{kind}", f"The {doc} of the rows with each segment id.")


segment_max = _segments_by("max", "largest")
segment_min = _segments_by("min", "smallest")
segment_prod = _segments_by("prod", "product")


# --- whole numbers and rare functions

gcd = binary(host.gcd, "The greatest common divisor.")
lcm = binary(host.lcm, "The least common multiple.")
nextafter = binary(host.nextafter, "The next floating number after x1 towards x2.")


@public
def i0(x: Any) -> Any:
    """The modified Bessel function of the first kind, order 0."""
    x = value(x)
    return host.bessel_i0(as_dtype(x, dtypes.promote(dtype_of(x), "float32")))


@public
def unravel_index(indices: Any, shape: Any) -> Any:
    """Flat places as one tensor of places for each axis of `shape`."""
    indices, found = value(indices), []
    for axis in range(len(shape)):
        inner = math.prod(shape[axis + 1 :])
        found.append(m.mod(m.floor_divide(indices, inner), shape[axis]))
    return tuple(found)


__all__ = [
    "argpartition", "argsort", "bincount", "correlate", "corrcoef", "cumprod", "cumsum", "diff",
    "digitize", "gcd", "histogram", "i0", "in_top_k", "isin", "lcm", "nancumprod", "nancumsum",
    "nextafter", "searchsorted", "segment_max", "segment_min", "segment_prod", "segment_sum",
    "sort", "top_k", "trapezoid", "unique", "unravel_index", "vander",
]  # fmt: skip
