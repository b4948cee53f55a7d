"""Public reductions: sums, means, extremes, logic, statistics, and their NaN-blind forms.

In: a tensor, Variable or array; `axis` an int, a tuple or None for all. Out: one tensor or array
without those axes, or with size 1 there when keepdims.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.errors import ConfigError
from zoo_keras.ops.convert import (
    as_dtype,
    as_float,
    axes_in,
    axis_in,
    dtype_of,
    fuzz_factor,
    value,
)
from zoo_keras.ops.elementwise import isclose
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import elementwise as m
from zoo_keras.primitives import reduce
from zoo_keras.primitives.arrays import broadcast_to as broadcast_op
from zoo_keras.primitives.arrays import concatenate as concatenate_op
from zoo_keras.primitives.arrays import reshape as reshape_op
from zoo_keras.primitives.arrays import transpose as transpose_op
from zoo_keras.primitives.host import quantile as quantile_op
from zoo_keras.primitives.host_linalg import svd as svd_op
from zoo_keras.primitives.index import gather as take_op
from zoo_keras.primitives.index import take_along_axis as along_op
from zoo_keras.primitives.sorting import sort as sort_op


def _reduce(op: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    x = value(x)
    return op(x, axes=axes_in(axis, len(x.shape)), keepdims=keepdims)


def _number(x: Any) -> Any:
    """x with bools as int32."""
    return as_dtype(x, "int32") if dtype_of(x) == "bool" else value(x)


@public
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum; bools and small integers are summed as int32, small ones without sign as uint32."""
    return _reduce(reduce.reduce_sum, _number(x), axis, keepdims)


@public
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean; float32 for integers. That of half precision is summed in float32."""
    x = as_float(x)
    if (half := dtype_of(x)) in ("float16", "bfloat16"):
        return as_dtype(mean(as_dtype(x, "float32"), axis, keepdims), half)
    return _reduce(reduce.reduce_mean, x, axis, keepdims)


@public
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product."""
    x = _number(x) if dtype is None else as_dtype(x, dtype)
    return _reduce(reduce.reduce_prod, x, axis, keepdims)


@public
def max(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    """The largest element, and at least `initial`."""
    if initial is None:
        return _reduce(reduce.reduce_max, x, axis, keepdims)
    return _met(reduce.reduce_max, m.maximum, x, axis, keepdims, initial)


@public
def min(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    """The smallest element, and at most `initial`."""
    if initial is None:
        return _reduce(reduce.reduce_min, x, axis, keepdims)
    return _met(reduce.reduce_min, m.minimum, x, axis, keepdims, initial)


def _met(op: Any, both: Callable[..., Any], x: Any, axis: Any, keepdims: bool, initial: Any) -> Any:
    """An extreme that `initial` takes part in; of no elements it is `initial`."""
    x = value(x)
    axes = axes_in(axis, len(x.shape))
    if math.prod(x.shape[a] for a in axes):
        return both(_reduce(op, x, axis, keepdims), initial)
    sizes = [1 if i in axes else d for i, d in enumerate(x.shape) if keepdims or i not in axes]
    return in_dtype(np.full(sizes, initial), dtype_of(x))


@public
def amax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest element."""
    return _reduce(reduce.reduce_max, x, axis, keepdims)


@public
def amin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest element."""
    return _reduce(reduce.reduce_min, x, axis, keepdims)


@public
def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any element is true (not 0)."""
    return _reduce(reduce.reduce_any, as_dtype(x, "bool"), axis, keepdims)


@public
def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all elements are true (not 0)."""
    return _reduce(reduce.reduce_all, as_dtype(x, "bool"), axis, keepdims)


def _index(op: Any, x: Any, axis: int | None, keepdims: bool) -> Any:
    x = value(x)
    shape = x.shape
    if axis is None:
        found = op(reshape_op(x, shape=(math.prod(shape),)), axis=0)
        return reshape_op(found, shape=(1,) * len(shape)) if keepdims else found
    axis = axis_in(axis, len(shape))
    found = op(x, axis=axis)
    return reshape_op(found, shape=(*shape[:axis], 1, *shape[axis + 1 :])) if keepdims else found


@public
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the first largest element, int32; of the flattened x when axis is None."""
    return _index(reduce.argmax, x, axis, keepdims)


@public
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the first smallest element, int32; of the flattened x when axis is None."""
    return _index(reduce.argmin, x, axis, keepdims)


@public
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest less the smallest element."""
    return m.subtract(amax(x, axis, keepdims), amin(x, axis, keepdims))


@public
def count_nonzero(x: Any, axis: Any = None) -> Any:
    """How many elements are not 0, int32."""
    return sum(m.not_equal(value(x), 0), axis)


# --- statistics


@public
def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The variance (mean square distance from the mean)."""
    x = as_float(x)
    return mean(m.square(m.subtract(x, mean(x, axis, keepdims=True))), axis, keepdims)


@public
def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The standard deviation, the root of the variance."""
    return m.sqrt(var(x, axis, keepdims))


@public
def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> Any:
    """(mean, variance). `synchronized` has no effect on a single rank's values.

    Of half precision they are computed in float32, and cut to what it can hold.
    """
    x = as_float(x)
    half = dtype_of(x)
    if half not in ("bfloat16", "float16"):
        return mean(x, axes, keepdims), var(x, axes, keepdims)
    most = dtypes.largest(half)
    found = (of(as_dtype(x, "float32"), axes, keepdims) for of in (mean, var))
    return tuple(as_dtype(m.clip(each, low=-most, high=most), half) for each in found)


@public
def average(x: Any, axis: Any = None, weights: Any = None) -> Any:
    """The mean, weighted when weights are given: of x's shape, or one for each index of axis."""
    if weights is None:
        return mean(x, axis)
    x, weights = as_float(x), as_float(weights)
    if len(weights.shape) != len(x.shape):
        at = axis_in(axis, len(x.shape))
        weights = reshape_op(weights, shape=[-1 if i == at else 1 for i in range(len(x.shape))])
        weights = broadcast_op(weights, shape=x.shape)
    return m.divide(sum(m.multiply(x, weights), axis), sum(weights, axis))


@public
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) without overflow."""
    x = as_float(x)
    if 0 in x.shape:
        return m.log(sum(m.exp(x), axis, keepdims))
    top = m.stop_gradient(amax(x, axis, keepdims=True))
    top = m.where(m.isfinite(top), top, 0.0)
    total = m.add(m.log(sum(m.exp(m.subtract(x, top)), axis, keepdims=True)), top)
    axes = axes_in(axis, len(x.shape))
    kept = [d for i, d in enumerate(x.shape) if i not in axes]
    return total if keepdims else reshape_op(total, shape=kept)


# Which share of the way from the lower to the upper neighbour a quantile lies.
_BETWEEN: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda place, share: share,
    "lower": lambda place, share: 0.0 * share,
    "higher": lambda place, share: 1.0 * (share > 0),
    "midpoint": lambda place, share: 0.5 * (share > 0),
    "nearest": lambda place, share: 1.0 * ((share > 0.5) | ((share == 0.5) & (place % 2 == 1))),
}


def _sorted_lines(x: Any, axes: tuple[int, ...]) -> Any:
    """The elements over the axes in order along a last axis, NaN behind all."""
    kept = [i for i in range(len(x.shape)) if i not in axes]
    moved = transpose_op(x, perm=(*kept, *axes)) if (*kept, *axes) != (*range(len(x.shape)),) else x
    lines = reshape_op(moved, shape=(*[x.shape[i] for i in kept], -1))
    return sort_op(lines, axis=len(kept))


def _quantile_of_all(lines: Any, fraction: float, method: str) -> Any:
    """One quantile of sorted lines; NaN where there is one."""
    at = fraction * (lines.shape[-1] - 1)
    place = math.floor(at)
    last, found = lines[..., -1], lines[..., place]
    if share := float(_BETWEEN[method](place, at - place)):
        above = lines[..., place + 1]
        between = m.add(found, m.multiply(m.subtract(above, found), share))
        found = m.where(m.isinf(found), m.add(found, above), between)
    return m.where(m.isnan(last), last, found)


def _quantile_of_numbers(lines: Any, fraction: float, method: str) -> Any:
    """One quantile of what is not NaN in sorted lines."""
    size = lines.shape[-1]
    count = sum(m.logical_not(m.isnan(lines)), -1, keepdims=True)
    ats = [fraction * n for n in (0, *range(size))]  # by how many numbers there are
    places = np.floor(ats).astype("int32")
    shares = np.asarray(_BETWEEN[method](places, ats - places), dtypes.storage(dtype_of(lines)))
    place, share = (take_op(table, count) for table in (places, shares))
    last = m.maximum(m.subtract(count, 1), 0)
    low, high = (
        along_op(lines, at, axis=len(lines.shape) - 1)
        for at in (place, m.minimum(m.add(place, 1), last))
    )
    between = m.add(low, m.multiply(m.subtract(high, low), share))
    between = m.where(m.isinf(low), m.add(low, high), between)
    found = as_dtype(m.where(m.greater(share, 0.0), between, low), dtype_of(lines))
    return reshape_op(found, shape=lines.shape[:-1])


def _checked(fraction: float) -> float:
    if 0 <= fraction <= 1:
        return fraction
    raise ConfigError(f"quantile: a quantile lies between 0 and 1. Received: {fraction}. Change q.")


def _quantile(x: Any, q: Any, axis: Any, method: str, keepdims: bool, skip_nan: bool) -> Any:
    x = as_float(x)
    fractions, axes = np.asarray(q, np.float64), axes_in(axis, len(x.shape))
    flat = tuple(_checked(float(f)) for f in fractions.ravel())
    if method not in _BETWEEN or 0 in x.shape:
        how = {"axes": axes, "method": method, "keepdims": keepdims, "skip_nan": skip_nan}
        found = quantile_op(x, q=flat, **how)
        return reshape_op(found, shape=(*fractions.shape, *found.shape[1:]))
    lines, one = _sorted_lines(x, axes), _quantile_of_numbers if skip_nan else _quantile_of_all
    shape = [1 if i in axes else d for i, d in enumerate(x.shape) if keepdims or i not in axes]
    parts = [reshape_op(one(lines, f, method), shape=(1, *shape)) for f in flat]
    joined = parts[0] if len(parts) == 1 else concatenate_op(*parts, axis=0)
    return reshape_op(joined, shape=(*fractions.shape, *shape))


@public
def quantile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The q-quantiles (q from 0 to 1, known while tracing); several come on a first axis."""
    return _quantile(x, q, axis, method, keepdims, skip_nan=False)


@public
def percentile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The q-percentiles, q from 0 to 100."""
    return quantile(x, np.asarray(q, np.float64) / 100.0, axis, method, keepdims)


@public
def median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The middle value."""
    return quantile(x, 0.5, axis, "linear", keepdims)


# --- the same without NaN


def _without_nan(x: Any, instead: float) -> Any:
    x = value(x)
    return m.where(m.isnan(x), instead, x) if dtypes.is_float(dtype_of(x)) else _number(x)


@public
def nansum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum of all that is not NaN."""
    return sum(_without_nan(x, 0.0), axis, keepdims)


@public
def nanprod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The product of all that is not NaN."""
    return prod(_without_nan(x, 1.0), axis, keepdims)


def _nan_where_empty(x: Any, found: Any, axis: Any, keepdims: bool) -> Any:
    return m.where(all(m.isnan(as_float(x)), axis, keepdims), math.nan, found)


@public
def nanmax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest element that is not NaN; NaN if there is none."""
    found = amax(_without_nan(x, -math.inf), axis, keepdims)
    if not dtypes.is_float(dtype_of(x)):
        return as_dtype(found, dtype_of(x))
    return _nan_where_empty(x, found, axis, keepdims)


@public
def nanmin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest element that is not NaN; NaN if there is none."""
    found = amin(_without_nan(x, math.inf), axis, keepdims)
    if not dtypes.is_float(dtype_of(x)):
        return as_dtype(found, dtype_of(x))
    return _nan_where_empty(x, found, axis, keepdims)


@public
def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the largest element that is not NaN; -1 if there is none."""
    x = as_float(x)
    found = argmax(_without_nan(x, -math.inf), axis, keepdims)
    return m.where(all(m.isnan(x), axis, keepdims), -1, found)


@public
def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The place of the smallest element that is not NaN; -1 if there is none."""
    x = as_float(x)
    found = argmin(_without_nan(x, math.inf), axis, keepdims)
    return m.where(all(m.isnan(x), axis, keepdims), -1, found)


@public
def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean of all that is not NaN."""
    x = as_float(x)
    count = as_dtype(sum(m.logical_not(m.isnan(x)), axis, keepdims), dtype_of(x))
    return m.divide(nansum(x, axis, keepdims), count)


@public
def nanvar(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The variance of all that is not NaN."""
    x = as_float(x)
    odd = m.isnan(x)  # set to 0 before the square, whose slope would be NaN
    away = m.where(odd, 0.0, m.subtract(x, nanmean(x, axis, keepdims=True)))
    count = as_dtype(sum(m.logical_not(odd), axis, keepdims), dtype_of(x))
    return m.divide(sum(m.square(away), axis, keepdims), count)


@public
def nanstd(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The standard deviation of all that is not NaN."""
    return m.sqrt(nanvar(x, axis, keepdims))


@public
def nanquantile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The q-quantiles of all that is not NaN."""
    return _quantile(x, q, axis, method, keepdims, skip_nan=True)


@public
def nanpercentile(
    x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False
) -> Any:
    """The q-percentiles of all that is not NaN."""
    return nanquantile(x, np.asarray(q, np.float64) / 100.0, axis, method, keepdims)


@public
def nanmedian(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The middle value of all that is not NaN."""
    return nanquantile(x, 0.5, axis, "linear", keepdims)


# --- norms


@public
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The vector norm over axis, or the matrix norm over two axes: numpy.linalg.norm.

    Of the matrix norms "fro", 1, -1, inf and -inf run in the engine, 2, -2 and "nuc", those of
    singular values, on the host.
    """
    x = as_float(x)
    axes = axes_in(axis, len(x.shape))
    if ord is None or (ord == "fro" and len(axes) == 2):
        return m.sqrt(sum(m.square(x), axes, keepdims))
    if len(axes) == 2:
        ordered = axis if isinstance(axis, (list, tuple)) else axes
        return _matrix_norm(x, ord, tuple(axis_in(a, len(x.shape)) for a in ordered), keepdims)
    return _vector_norm(x, ord, axes, keepdims)


def _vector_norm(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    size = m.abs(x)
    if ord == math.inf:
        return amax(size, axes, keepdims)
    if ord == -math.inf:
        return amin(size, axes, keepdims)
    if ord == 0:
        return as_dtype(sum(m.not_equal(x, 0.0), axes, keepdims), dtype_of(x))
    if ord == 1:
        return sum(size, axes, keepdims)
    if ord == 2:
        return m.sqrt(sum(m.square(x), axes, keepdims))
    return m.power(sum(m.power(size, float(ord)), axes, keepdims), 1.0 / float(ord))


def _matrix_norm(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if ord in (1, -1, math.inf, -math.inf):
        first, second = axes if abs(ord) == 1 else axes[::-1]
        sums = sum(m.abs(x), first, keepdims=True)
        found = (amax if ord > 0 else amin)(sums, second, keepdims=True)
    else:
        found = _singular_norm(x, ord, axes)
    kept = [d for i, d in enumerate(x.shape) if i not in axes]
    return found if keepdims else reshape_op(found, shape=kept)


def _singular_norm(x: Any, ord: Any, axes: tuple[int, ...]) -> Any:
    """The largest (2), smallest (-2) or sum ("nuc") of the singular values; the axes stay."""
    if ord not in _OF_SINGULAR:
        raise ConfigError(
            f"norm: Invalid `ord` argument for matrix norm. Received: ord={ord!r}. Use 'fro', "
            "'nuc', 1, -1, 2, -2, inf or -inf."
        )
    kept = [i for i in range(len(x.shape)) if i not in axes]
    values = svd_op(transpose_op(x, perm=(*kept, *axes)), full=False)[1]
    found = _OF_SINGULAR[ord](values, -1)
    return reshape_op(found, shape=[1 if i in axes else d for i, d in enumerate(x.shape)])


_OF_SINGULAR: dict[Any, Callable[..., Any]] = {2: amax, -2: amin, "nuc": sum}


@public
def normalize(x: Any, axis: Any = -1, order: Any = 2, epsilon: float | None = None) -> Any:
    """x divided by its norm along axis; rows of zeros stay zeros."""
    if not isinstance(order, int) or order < 1:
        raise ConfigError(
            f"normalize: Argument `order` must be an int >= 1. Received: order={order!r}. Pass "
            "2 for "
            "the Euclidean norm."
        )
    x = as_float(x)
    epsilon = fuzz_factor() if epsilon is None else epsilon
    if order == 2:
        square_sum = sum(m.square(x), axis, keepdims=True)
        return m.multiply(x, m.rsqrt(m.maximum(square_sum, epsilon**2)))
    return m.divide(x, m.maximum(norm(x, order, axis, keepdims=True), epsilon))


@public
def psnr(x1: Any, x2: Any, max_val: Any) -> Any:
    """The peak signal-to-noise ratio in decibels, given the largest possible value."""
    error = mean(m.square(m.subtract(as_float(x1), as_float(x2))))
    ratio = m.divide(m.square(as_dtype(max_val, dtype_of(error))), error)
    return m.multiply(m.log(ratio), 10.0 / math.log(10.0))


@public
def allclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether all elements are close to each other (isclose)."""
    return all(isclose(x1, x2, rtol, atol, equal_nan))


__all__ = [
    "all", "allclose", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero",
    "logsumexp", "max", "mean", "median", "min", "moments", "nanargmax", "nanargmin", "nanmax",
    "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd",
    "nansum", "nanvar", "norm", "normalize", "percentile", "prod", "psnr", "ptp", "quantile",
    "std", "sum", "var",
]  # fmt: skip
