"""Reductions over axes, and the scans and sorts along one axis.

In: one array. `axes` is a tuple of axes (negative ones count from the end; empty: none). Out: an
array without those axes, or with size 1 there when keepdims. The C kernels add in pieces of fixed
size, so a result never depends on the number of threads.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.elementwise import divide, equal, multiply, where
from zoo_keras.primitives.op import AxisAttributes, Sample, all_float32, op, registry, same
from zoo_keras.primitives.row_rules import other_axes, other_axis

Axes = tuple[int, ...]
_SHORT = ("bool", "int8", "int16", "uint8", "uint16")


def normal_axis(axis: int, ndim: int) -> int:
    """The axis counted from the front. ShapeError when there is no such axis."""
    if not -ndim <= axis < ndim:
        raise ShapeError(f"axis {axis} does not exist in an array of {ndim} dimensions.")
    return axis % ndim


def normal_axes(axes: Axes, ndim: int) -> Axes:
    """Axes from the front, in order. ShapeError for an axis that is missing or named twice."""
    found = sorted(normal_axis(axis, ndim) for axis in axes)
    if len(set(found)) < len(found):
        raise ShapeError(f"an axis is named twice in {tuple(axes)}.")
    return tuple(found)


def kept_shape(shape: Sequence[int], axes: Axes, keepdims: bool = True) -> tuple[int, ...]:
    """The shape with the axes set to 1, or left out."""
    gone = normal_axes(axes, len(shape))
    if keepdims:
        return tuple(1 if i in gone else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def collapse(shape: Sequence[int], axes: Axes) -> list[tuple[int, bool]]:
    """Neighbouring axes of one kind as one: (size, reduced?) alternately kept and reduced."""
    gone = normal_axes(axes, len(shape))
    flags = [(d, i in gone) for i, d in enumerate(shape) if d != 1]
    return [
        (math.prod(d for d, _ in group), reduced)
        for reduced, group in itertools.groupby(flags, key=lambda pair: pair[1])
    ]


def _numbers(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    """For C: the collapsed sizes, each negative when it is reduced minus one, so 0 shows too."""
    groups = collapse(ins[0].shape, attrs["axes"])
    return [float(-1 - size if reduced else size) for size, reduced in groups]


def _same_dtype(x: Spec, *, axes: Axes, keepdims: bool) -> Spec:
    return Spec(kept_shape(x.shape, axes, keepdims), x.dtype)


def _wider(x: Spec, *, axes: Axes, keepdims: bool) -> Spec:
    wide = "uint32" if x.dtype in ("uint8", "uint16") else "int32"
    return Spec(kept_shape(x.shape, axes, keepdims), wide if x.dtype in _SHORT else x.dtype)


def _float(x: Spec, *, axes: Axes, keepdims: bool) -> Spec:
    dtype = x.dtype if dtypes.is_float(x.dtype) else "float32"
    return Spec(kept_shape(x.shape, axes, keepdims), dtype)


def _bool(x: Spec, *, axes: Axes, keepdims: bool) -> Spec:
    return Spec(kept_shape(x.shape, axes, keepdims), "bool")


def _not_empty(x: Spec, *, axes: Axes, keepdims: bool) -> Spec:
    spec = _same_dtype(x, axes=axes, keepdims=keepdims)
    if 0 in x.shape and 0 not in spec.shape:
        raise ShapeError("the largest or smallest of no elements does not exist.")
    return spec


def _floats_or_ints(*specs: Spec) -> bool:
    return specs[0].dtype in ("float32", "int32")


def _bools(*specs: Spec) -> bool:
    return specs[0].dtype == "bool"


def spread(tensor: Any, x: Any, axes: Axes) -> Any:
    """A reduced tensor with size 1 at the reduced axes, so that it broadcasts over x."""
    shape = kept_shape(x.shape, axes)
    return tensor if tuple(tensor.shape) == shape else registry["reshape"](tensor, shape=shape)


def _expanded(tensor: Any, x: Any, axes: Axes) -> Any:
    return registry["broadcast_to"](spread(tensor, x, axes), shape=tuple(x.shape))


_SETS: list[tuple[tuple[int, ...], Axes]] = [
    ((7,), (0,)), ((4, 5), (1,)), ((4, 5), (0,)), ((4, 5), (0, 1)), ((3, 4, 5), (1,)),
    ((3, 4, 5), (0, 2)), ((2, 3, 4, 5), (0, 2)), ((2, 3, 4, 5), (1, 3)), ((2, 3, 2), (-1, 0)),
    ((3, 1, 4), (1,)), ((4, 5), ()), ((), ()), ((300, 3), (0,)), ((3, 300), (1,)),
]  # fmt: skip
_SAMPLES = [
    Sample([shape], {"axes": axes, "keepdims": bool(i % 2)})
    for i, (shape, axes) in enumerate(_SETS)
]
_EMPTY = [Sample([s], {"axes": (0,), "keepdims": False}) for s in ((0,), (0, 3), (3, 0))]
_INTS = [Sample([s.shapes[0]], s.attrs, dtypes=("int32",), low=-9, high=9) for s in _SAMPLES[:9]]
_LOGIC = [Sample([s.shapes[0]], s.attrs, dtypes=("bool",)) for s in _SAMPLES + _EMPTY]


_AXES = AxisAttributes(reduced="axes")
_over_axes: Any = functools.partial(op, kernel=True, rows=other_axes, attrs_to_c=_numbers)


@_over_axes(
    axes=_AXES,
    shape=_wider,
    dtypes=_floats_or_ints,
    grad=lambda g, y, x, *, axes, keepdims: (_expanded(g, x, axes),),
    samples=_SAMPLES + _EMPTY + _INTS,
)
def reduce_sum(x: Any, *, axes: Axes, keepdims: bool) -> Any:
    """The sum over the axes; 0 over no elements."""
    return np.sum(x, axis=axes, keepdims=keepdims)


def _mean_grad(g: Any, y: Any, x: Any, *, axes: Axes, keepdims: bool) -> tuple[Any]:
    count = math.prod(x.shape[i] for i in normal_axes(axes, len(x.shape)))
    return (_expanded(multiply(g, 1.0 / max(count, 1)), x, axes),)


@_over_axes(
    axes=_AXES,
    shape=_float,
    dtypes=all_float32,
    grad=_mean_grad,
    samples=_SAMPLES,
)
def reduce_mean(x: Any, *, axes: Axes, keepdims: bool) -> Any:
    """The arithmetic mean over the axes; NaN over no elements."""
    count = math.prod(x.shape[i] for i in normal_axes(axes, x.ndim))
    return np.true_divide(np.sum(x, axis=axes, keepdims=keepdims), count)


def _extreme_grad(g: Any, y: Any, x: Any, *, axes: Axes, keepdims: bool) -> tuple[Any]:
    hit = where(equal(x, spread(y, x, axes)), spread(g, x, axes), 0.0)
    ties = where(equal(x, spread(y, x, axes)), 1.0, 0.0)
    return (divide(hit, reduce_sum(ties, axes=axes, keepdims=True)),)


@_over_axes(
    axes=_AXES,
    shape=_not_empty,
    dtypes=_floats_or_ints,
    grad=_extreme_grad,
    samples=_SAMPLES + _INTS,
)
def reduce_max(x: Any, *, axes: Axes, keepdims: bool) -> Any:
    """The largest element over the axes, NaN if one is; ties share the gradient equally."""
    return np.max(x, axis=axes, keepdims=keepdims)


@_over_axes(
    axes=_AXES,
    shape=_not_empty,
    dtypes=_floats_or_ints,
    grad=_extreme_grad,
    samples=_SAMPLES + _INTS,
)
def reduce_min(x: Any, *, axes: Axes, keepdims: bool) -> Any:
    """The smallest element over the axes, NaN if one is; ties share the gradient equally."""
    return np.min(x, axis=axes, keepdims=keepdims)


@_over_axes(
    shape=_wider,
    dtypes=_floats_or_ints,
    grad=lambda g, y, x, *, axes, keepdims: (
        multiply(spread(g, x, axes), product_of_others(x, axes=axes)),
    ),
    samples=_SAMPLES + _EMPTY + _INTS,
)
def reduce_prod(x: Any, *, axes: Axes, keepdims: bool) -> Any:
    """The product over the axes; 1 over no elements."""
    return np.prod(x, axis=axes, keepdims=keepdims)


@op(shape=same, samples=[Sample([(3, 4, 5)], {"axes": a}) for a in [(1,), (0, 2), (2,), ()]])
def product_of_others(x: Any, *, axes: Axes) -> Any:
    """For every element the product of the others over the axes: the slope of reduce_prod."""
    gone = normal_axes(axes, x.ndim)
    moved = np.moveaxis(x, gone, range(x.ndim - len(gone), x.ndim))
    kept = moved.shape[: x.ndim - len(gone)]
    flat = moved.reshape(*kept, math.prod(moved.shape[len(kept) :]))
    ones = np.ones_like(flat[..., :1])
    before = np.cumprod(np.concatenate([ones, flat[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, flat[..., :0:-1]], -1), -1)[..., ::-1]
    result = (before * after).reshape(moved.shape)
    return np.moveaxis(result, range(x.ndim - len(gone), x.ndim), gone)


@_over_axes(shape=_bool, dtypes=_bools, samples=_LOGIC)
def reduce_any(x: Any, *, axes: Axes, keepdims: bool) -> Any:
    """Whether any element over the axes is true (not 0); false over no elements."""
    return np.any(x, axis=axes, keepdims=keepdims)


@_over_axes(shape=_bool, dtypes=_bools, samples=_LOGIC)
def reduce_all(x: Any, *, axes: Axes, keepdims: bool) -> Any:
    """Whether all elements over the axes are true (not 0); true over no elements."""
    return np.all(x, axis=axes, keepdims=keepdims)


def _index_spec(x: Spec, *, axis: int) -> Spec:
    shape = kept_shape(x.shape, (axis,), keepdims=False)
    if x.shape[axis] == 0 and 0 not in shape:
        raise ShapeError("the place of the largest of no elements does not exist.")
    return Spec(shape, "int32")


def outer_length_inner(shape: Sequence[int], axis: int) -> list[float]:
    """For C: the sizes before, at and behind an axis."""
    at = normal_axis(axis, len(shape))
    return [float(math.prod(shape[:at])), float(shape[at]), float(math.prod(shape[at + 1 :]))]


def axis_numbers(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    """attrs_to_c for ops with one `axis`, over the first input."""
    return outer_length_inner(ins[0].shape, attrs["axis"])


_ALONG = [((7,), 0), ((4, 5), -1), ((4, 5), 0), ((3, 4, 5), 1), ((3, 300), 1), ((3, 19), 0)]
_ALONG_SAMPLES = [Sample([shape], {"axis": axis}) for shape, axis in _ALONG]
_ALONG_TIES = [
    Sample(
        [(5, 40)],
        {"axis": a},
        make=lambda rng: [rng.integers(0, 9, (5, 40)).astype("float32")],
    )
    for a in (0, 1)
]


_place: Any = functools.partial(
    op,
    kernel=True,
    rows=other_axis,
    shape=_index_spec,
    attrs_to_c=axis_numbers,
    dtypes=all_float32,
    samples=_ALONG_SAMPLES + _ALONG_TIES,
)


@_place
def argmax(x: Any, *, axis: int) -> Any:
    """The place of the first largest element along the axis; of the first NaN if there is one."""
    return np.argmax(x, axis=axis)


@_place
def argmin(x: Any, *, axis: int) -> Any:
    """The place of the first smallest element along the axis; of the first NaN if there is one."""
    return np.argmin(x, axis=axis)
