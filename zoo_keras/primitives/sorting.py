"""Running sums and products, and sorting, along one axis.

In: one array and an axis. Out: an array of the same shape, or the k largest of the last axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.op import Sample, op, registry, same
from zoo_keras.primitives.reduce import normal_axis
from zoo_keras.primitives.row_rules import last_axis_of_first, other_axis

_ALONG = [((7,), 0), ((4, 5), -1), ((4, 5), 0), ((3, 4, 5), 1)]
_SAMPLES = [Sample([shape], {"axis": axis}) for shape, axis in _ALONG]
_BOTH_WAYS = [
    Sample(s.shapes, {**s.attrs, "reverse": reverse}) for s in _SAMPLES for reverse in (False, True)
]


def _axis(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[int]:
    return [attrs["axis"]]


def _running(x: Spec, *, axis: int, reverse: bool = False) -> Spec:
    normal_axis(axis, len(x.shape))
    return x if x.dtype != "bool" else Spec(x.shape, "int32")


def _like(x: Spec, *, axis: int) -> Spec:
    normal_axis(axis, len(x.shape))
    return x


@op(
    kernel=True,
    attrs_to_c=lambda attrs, ins, outs: [attrs["axis"], attrs["reverse"]],
    rows=other_axis,
    shape=_running,
    grad=lambda g, y, x, *, axis, reverse: (cumsum(g, axis=axis, reverse=not reverse),),
    samples=_BOTH_WAYS,
)
def cumsum(x: Any, *, axis: int, reverse: bool) -> Any:
    """The sums of all elements up to each one (from each one on when reverse)."""
    if reverse:
        return np.flip(np.cumsum(np.flip(x, axis), axis), axis)
    return np.cumsum(x, axis)


@op(
    rows=other_axis,
    shape=_running,
    grad=lambda g, y, x, *, axis: (cumprod_grad(g, x, axis=axis),),
    samples=_SAMPLES,
)
def cumprod(x: Any, *, axis: int) -> Any:
    """The products of all elements up to each one."""
    return np.cumprod(x, axis)


@op(shape=same, samples=[Sample([shape, shape], {"axis": axis}) for shape, axis in _ALONG])
def cumprod_grad(g: Any, x: Any, *, axis: int) -> Any:
    """Gradient of cumprod, exact at zeros too: what lies before an element, times a sum over what
    follows that is carried backwards."""
    x, carried = np.moveaxis(x, axis, 0), np.moveaxis(g, axis, 0).copy()
    before = np.ones_like(x)
    before[1:] = np.cumprod(x[:-1], 0)
    for i in range(len(x) - 2, -1, -1):
        carried[i] += x[i + 1] * carried[i + 1]
    return np.moveaxis(before * carried, 0, axis)


def _put_back(g: Any, places: Any, x: Any, axis: int) -> Any:
    return registry["take_along_axis_grad"](g, places, shape=tuple(x.shape), axis=axis)


def _sort_grad(g: Any, y: Any, x: Any, *, axis: int) -> tuple[Any]:
    return (_put_back(g, argsort(x, axis=axis), x, axis),)


@op(
    kernel=True,
    attrs_to_c=_axis,
    rows=other_axis,
    shape=_like,
    grad=_sort_grad,
    samples=_SAMPLES,
)
def sort(x: Any, *, axis: int) -> Any:
    """The elements along the axis, smallest first."""
    return np.sort(x, axis=axis, kind="stable")


def _places(x: Spec, *, axis: int) -> Spec:
    normal_axis(axis, len(x.shape))
    return Spec(x.shape, "int32")


@op(kernel=True, attrs_to_c=_axis, rows=other_axis, shape=_places, samples=_SAMPLES)
def argsort(x: Any, *, axis: int) -> Any:
    """The places of the elements along the axis, smallest first; equal ones keep their order."""
    return np.argsort(x, axis=axis, kind="stable")


def _top_k_spec(x: Spec, *, k: int) -> tuple[Spec, Spec]:
    if not x.shape or not 0 <= k <= x.shape[-1]:
        raise ShapeError(f"k={k} must lie between 0 and the size of the last axis.")
    shape = (*x.shape[:-1], k)
    return Spec(shape, x.dtype), Spec(shape, "int32")


@op(
    kernel=True,
    attrs_to_c=lambda attrs, ins, outs: (),
    rows=last_axis_of_first,
    shape=_top_k_spec,
    grad=lambda g, y, x, *, k: (_put_back(g[0], y[1], x, -1),),
    samples=[Sample([s], {"k": k}) for s, k in [((7,), 3), ((4, 5), 1), ((2, 3, 4), 4)]],
)
def top_k(x: Any, *, k: int) -> tuple[Any, Any]:
    """The k largest elements of the last axis, largest first, and their places.

    Of equal elements the first comes first.
    """
    backwards = np.argsort(np.flip(x, -1), axis=-1, kind="stable")
    places = np.flip(x.shape[-1] - 1 - backwards, -1)[..., :k]
    return np.take_along_axis(x, places, -1), places
