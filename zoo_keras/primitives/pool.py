"""Maximum and average pooling and their gradients, channels last.

In: x (batch, *spatial, channels). Out: (batch, *places, channels), or a gradient shaped like x.
Padded cells take part in no maximum and no average. The engine has kernels for 1 to 3 spatial
axes; others run on the host.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import attributes
from zoo_keras.primitives.conv_geometry import Padding, check_lengths, three_axes, window_cells
from zoo_keras.primitives.op import Sample, op, registry
from zoo_keras.primitives.row_rules import first_input


def _places(
    shape: Sequence[int], pool: Sequence[int], strides: Sequence[int], padding: Padding
) -> tuple[int, ...]:
    if len(shape) < 3:
        raise ShapeError("x needs a batch axis, 1 spatial axis or more and a channel axis.")
    check_lengths(len(shape) - 2, pool=pool, strides=strides, padding=padding)
    for size, sides in zip(pool, padding, strict=True):
        if max(sides) >= size:
            raise ShapeError(f"padding {sides} must stay below the window's {size} cells.")
    return tuple(map(window_cells, shape[1:-1], pool, strides, padding))


def _pool_shape(x: Spec, *, pool: Any, strides: Any, padding: Any) -> Spec:
    places = _places(x.shape, pool, strides, padding)
    return Spec((x.shape[0], *places, x.shape[-1]), x.dtype)


def _geometry(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    """What C wants: window, strides and low padding of 3 axes."""
    return attributes(
        "POOL",
        window=three_axes(attrs["pool"], 1),
        strides=three_axes(attrs["strides"], 1),
        padding=three_axes([p[0] for p in attrs["padding"]], 0),
    )


def _fits_kernel(*specs: Spec) -> bool:
    """Whether the kernels apply: float32 and 1 to 3 spatial axes."""
    return all(s.dtype == "float32" for s in specs) and 3 <= len(specs[0].shape) <= 5


_pooling: Any = functools.partial(op, kernel=True, attrs_to_c=_geometry, dtypes=_fits_kernel)


def _steps(
    size: Sequence[int],
    places: Sequence[int],
    pool: Sequence[int],
    strides: Sequence[int],
    padding: Padding,
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """For each cell of the window: the places where it lies on x, and the cells of x it meets."""
    for tap in itertools.product(*map(range, pool)):
        axes = [
            _axis(*a) for a in zip(tap, size, places, strides, [p[0] for p in padding], strict=True)
        ]
        yield (slice(None), *[a[0] for a in axes]), (slice(None), *[a[1] for a in axes])


def _axis(tap: int, size: int, places: int, stride: int, low: int) -> tuple[slice, slice]:
    first = max(0, -((tap - low) // stride))
    count = max(0, min(places, (size - 1 + low - tap) // stride + 1) - first)
    start = max(0, first * stride + tap - low)
    return slice(first, first + count), slice(start, start + count * stride, stride)


# x, pool, strides, padding
_CASES = (
    ((2, 6, 8, 6), (2, 2), (2, 2), ((0, 0), (0, 0))),
    ((1, 7, 9, 5), (3, 2), (2, 1), ((1, 1), (0, 1))),
    ((2, 5, 7, 1), (3, 3), (1, 1), ((1, 1), (1, 1))),
    ((2, 5, 6, 33), (3, 3), (2, 2), ((0, 1), (1, 0))),
    ((1, 6, 5, 16), (2, 2), (3, 3), ((0, 0), (0, 0))),
    ((3, 4, 4, 8), (4, 4), (4, 4), ((0, 0), (0, 0))),
    ((0, 4, 4, 2), (2, 2), (2, 2), ((0, 0), (0, 0))),
    ((2, 4, 4, 0), (2, 2), (2, 2), ((0, 0), (0, 0))),
    ((2, 11, 3), (3,), (2,), ((1, 1),)),
    ((1, 5, 20), (2,), (2,), ((0, 1),)),
    ((1, 4, 5, 3, 2), (2, 2, 2), (2, 1, 1), ((0, 0), (0, 1), (1, 0))),
    ((2, 5, 3, 6, 17), (3, 2, 3), (2, 2, 1), ((1, 1), (0, 1), (1, 1))),
    ((1, 4, 4, 4, 5), (2, 2, 2), (2, 2, 2), ((0, 0), (0, 0), (0, 0))),
    ((2, 7, 1, 4, 1), (2, 1, 3), (3, 1, 2), ((0, 1), (0, 0), (2, 1))),
)


def _attrs(case: Any) -> dict[str, Any]:
    return dict(zip(("pool", "strides", "padding"), case[1:], strict=True))


def _y_shape(case: Any) -> tuple[int, ...]:
    return (case[0][0], *_places(*case), case[0][-1])


def _max_pool_grad(g: Any, y: Any, x: Any, **how: Any) -> Any:
    return (max_pool_grad(g, x, y, **how),)


@_pooling(
    rows=first_input,
    keeps_rounding=True,
    shape=_pool_shape,
    grad=_max_pool_grad,
    samples=[Sample((c[0],), _attrs(c)) for c in _CASES],
)
def max_pool(
    x: np.ndarray, *, pool: tuple[int, ...], strides: tuple[int, ...], padding: Padding
) -> np.ndarray:
    """The largest number of each window; padded cells take no part.

    x is (batch, *spatial, channels), padding is ((low, high), ...); the result is
    (batch, *places, channels).
    """
    places = _places(x.shape, pool, strides, padding)
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    y = np.full((x.shape[0], *places, x.shape[-1]), lowest, x.dtype)
    for at, cells in _steps(x.shape[1:-1], places, pool, strides, padding):
        y[at] = np.maximum(y[at], x[cells])
    return y


def _max_pool_grad_shape(
    g: Spec, x: Spec, y: Spec, *, pool: Any, strides: Any, padding: Any
) -> Spec:
    expected = _pool_shape(x, pool=pool, strides=strides, padding=padding).shape
    if g.shape != expected or y.shape != expected:
        raise ShapeError(f"the gradient and the output must have the shape {expected}.")
    return Spec(x.shape, g.dtype)


def _pooled(case: Any) -> Any:
    """A maker of sample inputs (g, x, y) with y = max_pool(x), some of x being equal."""

    def make(rng: np.random.Generator) -> list[np.ndarray]:
        x = rng.integers(-4, 4, case[0]).astype("float32")
        y = max_pool.reference(x, **_attrs(case))
        return [rng.uniform(-1, 1, y.shape).astype("float32"), x, y]

    return make


@_pooling(
    shape=_max_pool_grad_shape,
    samples=[Sample((_y_shape(c), c[0], _y_shape(c)), _attrs(c), make=_pooled(c)) for c in _CASES],
)
def max_pool_grad(
    g: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    *,
    pool: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
) -> np.ndarray:
    """Gradient of `max_pool`: each window's share goes to its first largest cell.

    g and y (the result of `max_pool`) are (batch, *places, channels); the result is shaped like x.
    """
    dx = np.zeros(x.shape, g.dtype)
    open_ = np.ones(y.shape, bool)
    for at, cells in _steps(x.shape[1:-1], y.shape[1:-1], pool, strides, padding):
        first = open_[at] & (x[cells] == y[at])
        dx[cells] += np.where(first, g[at], 0)
        open_[at] &= ~first
    return dx


# ---- maxima of bfloat16 --------------------------------------------------------------------------


def _of_bits(case: Any, gradient: bool) -> Any:
    def make(rng: np.random.Generator) -> list[np.ndarray]:
        bits = registry["to_bfloat16"].reference
        g, x, y = _pooled(case)(rng)
        return [g, bits(x), bits(y)] if gradient else [bits(x)]

    return make


def _float_of(x: np.ndarray) -> np.ndarray:
    values: np.ndarray = registry["from_bfloat16"].reference(x)
    return values


def _are_bits(*specs: Spec) -> bool:
    return all(s.dtype == "uint16" for s in specs) and 3 <= len(specs[0].shape) <= 5


@op(
    kernel="max_pool",
    rows=first_input,
    shape=_pool_shape,
    attrs_to_c=_geometry,
    dtypes=_are_bits,
    samples=[Sample((), _attrs(c), make=_of_bits(c, False)) for c in _CASES],
)
def max_pool_bf16(
    x: np.ndarray, *, pool: tuple[int, ...], strides: tuple[int, ...], padding: Padding
) -> np.ndarray:
    """`max_pool` of bits of bfloat16 numbers (uint16), which gives such bits."""
    y = max_pool.reference(_float_of(x), pool=pool, strides=strides, padding=padding)
    bits: np.ndarray = registry["to_bfloat16"].reference(y)
    return bits


# ---- maxima of int8 ------------------------------------------------------------------------------


def _bytes_of(case: Any) -> Any:
    def make(rng: np.random.Generator) -> list[np.ndarray]:
        return [rng.integers(-127, 128, case[0]).astype(np.int8)]

    return make


@op(
    kernel=True,
    rows=first_input,
    shape=_pool_shape,
    attrs_to_c=_geometry,
    dtypes=lambda q: q.dtype == "int8" and 3 <= len(q.shape) <= 5,
    samples=[Sample((), _attrs(c), make=_bytes_of(c)) for c in _CASES],
)
def max_pool_int8(
    q: np.ndarray, *, pool: tuple[int, ...], strides: tuple[int, ...], padding: Padding
) -> np.ndarray:
    """`max_pool` of int8 numbers, which gives such numbers."""
    y: np.ndarray = max_pool.reference(q, pool=pool, strides=strides, padding=padding)
    return y


def _grad_of_bits_shape(g: Spec, x: Spec, y: Spec, **how: Any) -> Spec:
    return Spec(_max_pool_grad_shape(g, x, y, **how).shape, "float32")


@op(
    kernel="max_pool_grad",
    shape=_grad_of_bits_shape,
    attrs_to_c=_geometry,
    dtypes=lambda *s: {t.dtype for t in s} <= {"float32", "uint16"} and 3 <= len(s[1].shape) <= 5,
    samples=[Sample((), _attrs(c), make=_of_bits(c, True)) for c in _CASES],
)
def max_pool_grad_bf16(
    g: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    *,
    pool: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
) -> np.ndarray:
    """Gradient of `max_pool` or `max_pool_bf16`, float32, in which windows add up; each input is
    float32 or bits."""
    wide = [_float_of(a) if a.dtype == np.uint16 else a for a in (g, x, y)]
    how: dict[str, Any] = {"pool": pool, "strides": strides, "padding": padding}
    dx: np.ndarray = max_pool_grad.reference(*wide, **how)
    return dx


# ---- averages ------------------------------------------------------------------------------------


def _avg_pool_grad_rule(g: Any, y: Any, x: Any, **how: Any) -> Any:
    return (avg_pool_grad(g, input_shape=tuple(x.shape), **how),)


def _counts(
    size: Sequence[int], places: Sequence[int], pool: Any, strides: Any, padding: Any, dtype: Any
) -> np.ndarray:
    """How many cells of x each window covers, shaped (1, *places, 1)."""
    counts = np.zeros((1, *places, 1), dtype)
    for at, _ in _steps(size, places, pool, strides, padding):
        counts[at] += 1
    return counts


@_pooling(
    rows=first_input,
    shape=_pool_shape,
    grad=_avg_pool_grad_rule,
    samples=[Sample((c[0],), _attrs(c)) for c in _CASES],
)
def avg_pool(
    x: np.ndarray, *, pool: tuple[int, ...], strides: tuple[int, ...], padding: Padding
) -> np.ndarray:
    """The mean of each window; padded cells take no part.

    x is (batch, *spatial, channels), padding is ((low, high), ...); the result is
    (batch, *places, channels).
    """
    places = _places(x.shape, pool, strides, padding)
    y = np.zeros((x.shape[0], *places, x.shape[-1]), x.dtype)
    for at, cells in _steps(x.shape[1:-1], places, pool, strides, padding):
        y[at] += x[cells]
    return y / _counts(x.shape[1:-1], places, pool, strides, padding, x.dtype)


def _avg_pool_grad_shape(
    g: Spec, *, input_shape: Any, pool: Any, strides: Any, padding: Any
) -> Spec:
    x = Spec(tuple(input_shape), g.dtype)
    expected = _pool_shape(x, pool=pool, strides=strides, padding=padding).shape
    if g.shape != expected:
        raise ShapeError(f"the gradient must have the shape of the output, {expected}.")
    return x


@_pooling(
    shape=_avg_pool_grad_shape,
    samples=[Sample((_y_shape(c),), {"input_shape": c[0], **_attrs(c)}) for c in _CASES],
)
def avg_pool_grad(
    g: np.ndarray,
    *,
    input_shape: tuple[int, ...],
    pool: tuple[int, ...],
    strides: tuple[int, ...],
    padding: Padding,
) -> np.ndarray:
    """Gradient of `avg_pool`: each window's share is spread evenly over its cells.

    g is (batch, *places, channels); the result has `input_shape`.
    """
    size, places = input_shape[1:-1], g.shape[1:-1]
    share = g / _counts(size, places, pool, strides, padding, g.dtype)
    dx = np.zeros(input_shape, g.dtype)
    for at, cells in _steps(size, places, pool, strides, padding):
        dx[cells] += share[at]
    return dx
