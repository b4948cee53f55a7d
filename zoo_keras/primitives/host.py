"""Rare ops, most of which run on the host: quantiles, whole numbers, counting, searching, segments.

In: arrays whose shapes are known. Out: arrays of known shapes. Those without a gradient rule say so
when one is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives import elementwise as m
from zoo_keras.primitives.arrays import reshape
from zoo_keras.primitives.index import at_places, gather, gather_grad
from zoo_keras.primitives.op import Sample, all_float32, broadcast, elementwise, op, registry
from zoo_keras.primitives.reduce import kept_shape

_PAIR = [Sample([(3, 5), (5,)], dtypes=("int32", "int32"), low=1, high=40)]


@elementwise(tile="gcd_int", shape=broadcast, samples=_PAIR)
def gcd(a: Any, b: Any) -> Any:
    """The greatest common divisor of integers."""
    return np.gcd(a, b)


@elementwise(tile="lcm_int", shape=broadcast, samples=_PAIR)
def lcm(a: Any, b: Any) -> Any:
    """The least common multiple of integers."""
    return np.lcm(a, b)


@elementwise(tile="nextafter", shape=broadcast, grad=lambda g, y, a, b: (g, None),
             samples=[Sample([(3, 5), (5,)])])  # fmt: skip
def nextafter(a: Any, b: Any) -> Any:
    """The next floating number after a towards b."""
    return np.nextafter(a, b)


@elementwise(samples=[Sample([(3, 5)], low=-4, high=4)])
def bessel_i1(x: Any) -> Any:
    """The modified Bessel function of the first kind, order 1: the slope of order 0."""
    turns = np.cos(np.pi * (np.arange(128) + 0.5) / 128)  # its integral over half a turn
    wide = np.asarray(x, np.float64)[..., None]
    mean = (np.exp(wide * turns - np.abs(wide)) * turns).mean(-1)
    return (mean * np.exp(np.abs(wide[..., 0]))).astype(x.dtype)


@elementwise(
    grad=lambda g, y, x: (m.multiply(g, bessel_i1(x)),),
    samples=[Sample([(3, 5)], low=-4, high=4)],
)
def bessel_i0(x: Any) -> Any:
    """The modified Bessel function of the first kind, order 0."""
    return np.i0(x).astype(x.dtype)


def _quantile_spec(
    x: Spec,
    *,
    q: Sequence[float],
    axes: tuple[int, ...],
    method: str,
    keepdims: bool,
    skip_nan: bool,
) -> Spec:
    return Spec((len(q), *kept_shape(x.shape, axes, keepdims)), x.dtype)


@op(
    shape=_quantile_spec,
    samples=[
        Sample(
            [(4, 5)],
            {"q": (0.25, 0.5), "axes": (1,), "method": "linear", "keepdims": k, "skip_nan": k},
        )
        for k in (False, True)
    ],
)
def quantile(
    x: np.ndarray,
    *,
    q: Sequence[float],
    axes: tuple[int, ...],
    method: str,
    keepdims: bool,
    skip_nan: bool,
) -> np.ndarray:
    """The quantiles q (each from 0 to 1) over the axes, on a new first axis."""
    function: Any = np.nanquantile if skip_nan else np.quantile

    def by(way: str) -> np.ndarray:
        found: np.ndarray = function(x, q, axis=axes, method=way, keepdims=keepdims)
        return found

    if method not in ("linear", "midpoint") or not np.isinf(x).any():
        return by(method)
    with np.errstate(invalid="ignore"):  # numpy makes NaN of an infinity times 0
        low, high, found = by("lower"), by("higher"), by(method)
        found = np.where(np.isinf(low) | np.isinf(high), low + high, found)
    return np.where(low == high, low, found)


def _count_spec(ids: Spec, weights: Spec, *, length: int) -> Spec:
    if ids.shape != weights.shape or not ids.shape:
        raise ShapeError("ids and weights must have one shape of at least one axis.")
    return Spec((*ids.shape[:-1], length), weights.dtype)


@op(
    kernel=True,
    dtypes=lambda ids, weights: at_places(weights, ids),
    attrs_to_c=lambda attrs, ins, outs: (),
    shape=_count_spec,
    grad=lambda g, y, ids, weights, *, length: (
        None,
        registry["take_along_axis"](g, ids, axis=len(ids.shape) - 1),
    ),
    samples=[Sample([(3, 6), (3, 6)], {"length": 5}, ["int32"], 0, 5)],
)
def count_ids(ids: np.ndarray, weights: np.ndarray, *, length: int) -> np.ndarray:
    """For each row the sum of the weights whose id is 0, 1, ... length - 1."""
    rows = math.prod(ids.shape[:-1])
    found = np.zeros((rows, length), weights.dtype)
    at = np.arange(rows)[:, None]
    flat = (rows, ids.shape[-1])
    np.add.at(found, (at, ids.reshape(flat)), weights.reshape(flat))
    return found.reshape(*ids.shape[:-1], length)


def _search_spec(sequence: Spec, values: Spec, *, right: bool) -> Spec:
    if len(sequence.shape) != 1:
        raise ShapeError("the sorted sequence must have one axis.")
    return Spec(values.shape, "int32")


@op(
    kernel=True,
    attrs_to_c=lambda attrs, ins, outs: [attrs["right"]],
    dtypes=all_float32,
    shape=_search_spec,
    samples=[
        Sample(
            (),
            {"right": r},
            make=lambda rng: [np.arange(5, dtype="f4"), rng.normal(size=7).astype("f4")],
        )
        for r in (False, True)
    ],
)
def searchsorted(sequence: np.ndarray, values: np.ndarray, *, right: bool) -> np.ndarray:
    """Where each value belongs in a sorted sequence: before its equals, or behind them."""
    return np.searchsorted(sequence, values, "right" if right else "left")


_KINDS = {"max": 0, "min": 1, "prod": 2, "mul": 2}


def _kind(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[int]:
    return [_KINDS[attrs["kind"]]]


_SEGMENTS: dict[str, Any] = {"max": np.maximum, "min": np.minimum, "prod": np.multiply}


def _segment_start(kind: str, dtype: np.dtype) -> Any:
    if kind == "prod":
        return 1
    if dtypes.is_float(dtype.name):
        return -np.inf if kind == "max" else np.inf
    return np.iinfo(dtype).min if kind == "max" else np.iinfo(dtype).max


def _segment_grad(
    g: Any, y: Any, x: Any, ids: Any, *, kind: str, segments: int
) -> tuple[Any, None]:
    """Equal extremes share a gradient; of a product the others' product is its slope."""
    inside = m.logical_and(m.greater_equal(ids, 0), m.less(ids, segments))
    rows = m.where(inside, ids, 0)
    inside = reshape(inside, shape=(-1, *[1] * (len(x.shape) - 1)))
    slope = (_product_slope if kind == "prod" else _extreme_slope)(y, x, rows, inside, segments)
    return m.where(inside, m.multiply(gather(g, rows), slope), 0.0), None


def _counted(hits: Any, like: Any, rows: Any, segments: int) -> tuple[Any, Any]:
    """The hits as numbers, and beside each how many its segment has."""
    ones = m.multiply(m.cast(hits, dtype=like.dtype), 1.0)
    return ones, gather(gather_grad(ones, rows, rows=segments), rows)


def _extreme_slope(y: Any, x: Any, rows: Any, inside: Any, segments: int) -> Any:
    hits, count = _counted(m.logical_and(m.equal(x, gather(y, rows)), inside), x, rows, segments)
    return m.divide(hits, m.maximum(count, 1.0))


def _product_slope(y: Any, x: Any, rows: Any, inside: Any, segments: int) -> Any:
    zero, count = _counted(m.logical_and(m.equal(x, 0.0), inside), x, rows, segments)
    safe = m.where(m.equal(x, 0.0), 1.0, x)
    outside = m.where(reshape(inside, shape=(-1,)), rows, segments)
    others = gather(segment_reduce(safe, outside, kind="prod", segments=segments), rows)
    return m.where(m.greater(m.subtract(count, zero), 0.0), 0.0, m.divide(others, safe))


@op(
    kernel=True,
    dtypes=at_places,
    attrs_to_c=_kind,
    grad=_segment_grad,
    shape=lambda x, ids, *, kind, segments: Spec((segments, *x.shape[1:]), x.dtype),
    samples=[
        Sample(
            (),
            {"kind": kind, "segments": 4},
            make=lambda rng: [rng.normal(size=(6, 2)).astype("f4"), rng.integers(0, 3, 6)],
        )
        for kind in ("max", "min", "prod")
    ],
)
def segment_reduce(x: np.ndarray, ids: np.ndarray, *, kind: str, segments: int) -> np.ndarray:
    """The largest, smallest or product of the rows of x with the ids 0, 1, ... segments - 1.

    A segment without rows is infinite (of whole numbers the dtype's limit), or 1 for the product.
    Ids outside are left out.
    """
    found = np.full((segments, *x.shape[1:]), _segment_start(kind, x.dtype), x.dtype)
    inside = (ids >= 0) & (ids < segments)
    _SEGMENTS[kind].at(found, ids[inside], x[inside])
    return found


@op(
    kernel=True,
    dtypes=at_places,
    attrs_to_c=_kind,
    shape=lambda x, ids, updates, *, kind: x,
    samples=[
        Sample(
            (),
            {"kind": kind},
            make=lambda rng: [
                rng.normal(size=(4, 2)).astype("f4"),
                rng.integers(0, 4, (6, 1)),
                rng.normal(size=(6, 2)).astype("f4"),
            ],
        )
        for kind in ("max", "min", "mul")
    ],
)
def scatter_reduce(x: np.ndarray, ids: np.ndarray, updates: np.ndarray, *, kind: str) -> np.ndarray:
    """x with the updates of the places ids[..., :], each met with what is there."""
    found = x.copy()
    at = tuple(np.moveaxis(ids, -1, 0))
    _SEGMENTS["prod" if kind == "mul" else kind].at(found, at, updates)
    return found
