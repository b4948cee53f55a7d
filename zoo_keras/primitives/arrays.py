"""Ops that move elements and compute nothing: reshape, transpose, slices, joins, repetition.

In: tensors of any dtype. Out: the same values at other places. Every attribute is normalised by
the caller: axes are 0 or more, bounds lie inside the tensor, shapes and repeats name every axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import ShapeError
from zoo_keras.graph import Node, Spec
from zoo_keras.primitives.op import (
    AxisAttributes,
    Sample,
    broadcast_shapes,
    flat_numbers,
    op,
    registry,
)
from zoo_keras.primitives.row_rules import first_axis_stays, in_row_order, other_axes, other_axis

Ints = Sequence[int]


def movable(*specs: Spec) -> bool:
    """Kernel rule: one dtype, of those that C knows, whatever it is."""
    return len({s.dtype for s in specs}) == 1 and specs[0].dtype not in ("uint32", "uint64")


def fillable(*specs: Spec) -> bool:
    """Kernel rule of ops that write a given number: half floats are left to the host."""
    return movable(*specs) and specs[0].dtype != "float16"


def named(*names: str) -> Callable[..., list[float]]:
    """attrs_to_c: the numbers of these attributes, in this order, tuples flattened."""
    return lambda attrs, ins, outs: list(flat_numbers(attrs[n] for n in names))


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ShapeError(message)


def _reshaped(x: Spec, *, shape: Ints) -> Spec:
    known = math.prod(d for d in shape if d != -1)
    count = math.prod(x.shape)
    if -1 in shape and known:
        shape = [count // known if d == -1 else d for d in shape]
    _require(math.prod(shape) == count, f"{count} elements do not fill shape {tuple(shape)}.")
    return Spec(tuple(int(d) for d in shape), x.dtype)


@op(
    kernel="copy",
    counts_rows=("shape",),
    rows=in_row_order,
    keeps_rounding=True,
    shape=_reshaped,
    grad=lambda g, y, x, *, shape: (reshape(g, shape=x.shape),),
    attrs_to_c=named(),
    dtypes=movable,
    inplace=(0,),
    samples=[
        Sample([(2, 3, 4)], {"shape": (6, 4)}),
        Sample([(5,)], {"shape": (1, 5, 1)}, ["int32"], 0, 9),
        Sample([(0, 3)], {"shape": (3, 0)}),
        Sample([(1, 1)], {"shape": ()}),
    ],
)
def reshape(x: np.ndarray, *, shape: Ints) -> np.ndarray:
    """The same elements in row-major order under another shape; one entry may be -1."""
    return np.reshape(x, tuple(shape))


def _rows_stay_first(node: Node, _: Sequence[int]) -> bool:
    return bool(node.attrs["perm"][0] == 0)


def _transposed(x: Spec, *, perm: Ints) -> Spec:
    _require(sorted(perm) == list(range(len(x.shape))), f"perm={perm} is no order of the axes.")
    return Spec(tuple(x.shape[p] for p in perm), x.dtype)


@op(
    kernel=True,
    rows=_rows_stay_first,
    keeps_rounding=True,
    shape=_transposed,
    grad=lambda g, y, x, *, perm: (transpose(g, perm=tuple(int(i) for i in np.argsort(perm))),),
    dtypes=movable,
    samples=[
        Sample([(3, 5)], {"perm": (1, 0)}),
        Sample([(2, 7, 5, 3)], {"perm": (0, 3, 1, 2)}),
        Sample([(2, 3, 7, 5)], {"perm": (0, 2, 3, 1)}),
        Sample([(2, 3, 4)], {"perm": (2, 0, 1)}, ["int32"], 0, 99),
        Sample([(2, 0, 4)], {"perm": (2, 0, 1)}),
        Sample([()], {"perm": ()}),
    ],
)
def transpose(x: np.ndarray, *, perm: Ints) -> np.ndarray:
    """Axis i of the result is axis perm[i] of x."""
    return np.transpose(x, tuple(perm))


def _broadcast_shape(x: Spec, *, shape: Ints) -> Spec:
    _require(
        broadcast_shapes(x.shape, tuple(shape)) == tuple(shape), f"no broadcast to {tuple(shape)}."
    )
    return Spec(tuple(int(d) for d in shape), x.dtype)


def sum_to(g: Any, shape: Ints) -> Any:
    """Broadcasting undone: the sum of g over the axes that were stretched or put in front."""
    lead = len(g.shape) - len(shape)
    axes = [i for i, d in enumerate(g.shape) if d != 1 and (i < lead or shape[i - lead] == 1)]
    if axes:
        g = registry["reduce_sum"](g, axes=tuple(axes), keepdims=True)
    if lead > 0:
        g = reshape(g, shape=tuple(g.shape[lead:]))
    # A rule may give one number for all elements.
    return g if tuple(g.shape) == tuple(shape) else broadcast_to(g, shape=tuple(shape))


@op(
    kernel=True,
    counts_rows=("shape",),
    rows=first_axis_stays,
    shape=_broadcast_shape,
    grad=lambda g, y, x, *, shape: (sum_to(g, x.shape),),
    attrs_to_c=named(),
    dtypes=movable,
    samples=[
        Sample([(3,)], {"shape": (2, 3)}),
        Sample([(3, 1)], {"shape": (2, 3, 5)}),
        Sample([(2, 1, 4)], {"shape": (2, 3, 4)}, ["int32"], 0, 9),
        Sample([()], {"shape": (4, 1)}),
        Sample([(1, 3)], {"shape": (0, 3)}),
    ],
)
def broadcast_to(x: np.ndarray, *, shape: Ints) -> np.ndarray:
    """x repeated along the axes where it has one element or none."""
    return np.broadcast_to(x, tuple(shape))


def _joined(*xs: Spec, axis: int) -> Spec:
    first = xs[0].shape
    _require(0 <= axis < len(first), f"axis={axis} is no axis of the first tensor.")
    rest = {(*x.shape[:axis], *x.shape[axis + 1 :]) for x in xs}
    _require(len(rest) == 1, f"all axes but axis {axis} must be equal.")
    length = sum(x.shape[axis] for x in xs)
    dtype = dtypes.promote(*[x.dtype for x in xs])
    return Spec((*first[:axis], length, *first[axis + 1 :]), dtype)


def _slices_along(g: Any, xs: Sequence[Any], axis: int) -> Iterable[Any]:
    """One slice of g for each of xs, in their order along the axis."""
    start = 0
    for x in xs:
        begin, end = [0] * len(g.shape), list(g.shape)
        begin[axis], end[axis] = start, start + x.shape[axis]
        start = end[axis]
        yield strided_slice(g, begin=tuple(begin), end=tuple(end), strides=(1,) * len(begin))


@op(
    kernel=True,
    axes=AxisAttributes(one="axis"),
    rows=other_axis,
    shape=_joined,
    grad=lambda g, y, *xs, axis: tuple(_slices_along(g, xs, axis)),
    dtypes=movable,
    samples=[
        Sample([(2, 3), (2, 5)], {"axis": 1}),
        Sample([(2, 3), (1, 3), (4, 3)], {"axis": 0}),
        Sample([(2, 3, 5), (2, 1, 5), (2, 0, 5)], {"axis": 1}),
        Sample([(3,), (4,)], {"axis": 0}, ["int32", "int32"], 0, 9),
        Sample([(7, 1)], {"axis": 0}),
    ],
)
def concatenate(*xs: np.ndarray, axis: int) -> np.ndarray:
    """The tensors one after the other along `axis`; their other axes are equal."""
    return np.concatenate(xs, axis=axis)


def _taken(begin: int, end: int, stride: int) -> int:
    """Number of indices in begin, begin + stride, ... before end."""
    return len(range(begin, end, stride))


def _check_slice(shape: Ints, begin: Ints, end: Ints, strides: Ints) -> tuple[int, ...]:
    _require(
        len(shape) == len(begin) == len(end) == len(strides) and 0 not in strides,
        f"begin={begin}, end={end} and strides={strides} must name every axis; no stride is 0.",
    )
    counts = tuple(_taken(*bounds) for bounds in zip(begin, end, strides, strict=True))
    inside = all(
        n == 0 or (0 <= b < d and 0 <= b + (n - 1) * s < d)
        for n, d, b, s in zip(counts, shape, begin, strides, strict=True)
    )
    _require(inside, f"the slice begin={begin}, end={end} leaves the tensor {tuple(shape)}.")
    return counts


def _all_rows(node: Node, _: Sequence[int]) -> bool:
    """All rows are taken, in their order."""
    first = (node.attrs[name][0] for name in ("begin", "end", "strides"))
    return tuple(first) == (0, node.inputs[0].shape[0], 1)


def _slices(begin: Ints, end: Ints, strides: Ints) -> tuple[slice, ...]:
    """numpy's slices; an end of -1 with a negative stride means "through element 0"."""
    bounds = zip(begin, end, strides, strict=True)
    return tuple(slice(b, None if e < 0 else e, s) for b, e, s in bounds)


@op(
    kernel=True,
    counts_rows=("end",),
    axes=AxisAttributes(listed=("begin", "end", "strides")),
    rows=_all_rows,
    keeps_rounding=True,
    shape=lambda x, *, begin, end, strides: Spec(
        _check_slice(x.shape, begin, end, strides), x.dtype
    ),
    grad=lambda g, y, x, **bounds: (strided_slice_grad(g, shape=x.shape, **bounds),),
    attrs_to_c=named("begin", "strides"),
    dtypes=movable,
    samples=[
        Sample([(6, 5)], {"begin": (1, 0), "end": (5, 5), "strides": (2, 1)}),
        Sample([(6, 5)], {"begin": (5, 1), "end": (-1, 4), "strides": (-1, 2)}),
        Sample([(2, 7, 3)], {"begin": (0, 2, 1), "end": (2, 5, 2), "strides": (1, 1, 1)}),
        Sample([(9,)], {"begin": (3,), "end": (3,), "strides": (1,)}, ["int32"], 0, 9),
    ],
)
def strided_slice(x: np.ndarray, *, begin: Ints, end: Ints, strides: Ints) -> np.ndarray:
    """Elements begin, begin + stride, ... before end, along every axis.

    With a negative stride, `end` may be -1: the slice then runs through element 0.
    """
    return x[_slices(begin, end, strides)]


def _slice_grad_shape(g: Spec, *, shape: Ints, begin: Ints, end: Ints, strides: Ints) -> Spec:
    _require(g.shape == _check_slice(shape, begin, end, strides), f"not a slice of {tuple(shape)}.")
    return Spec(tuple(shape), g.dtype)


@op(
    kernel=True,
    axes=AxisAttributes(listed=("shape", "begin", "end", "strides")),
    shape=_slice_grad_shape,
    grad=lambda g, y, x, *, shape, **bounds: (strided_slice(g, **bounds),),
    attrs_to_c=named("begin", "strides"),
    dtypes=movable,
    samples=[
        Sample([(2, 5)], {"shape": (6, 5), "begin": (1, 0), "end": (5, 5), "strides": (2, 1)}),
        Sample([(6, 2)], {"shape": (6, 5), "begin": (5, 1), "end": (-1, 4), "strides": (-1, 2)}),
        Sample([(0,)], {"shape": (4,), "begin": (2,), "end": (2,), "strides": (1,)}),
    ],
)
def strided_slice_grad(
    g: np.ndarray, *, shape: Ints, begin: Ints, end: Ints, strides: Ints
) -> np.ndarray:
    """Zeros of `shape` with g at the places that strided_slice reads."""
    result = np.zeros(tuple(shape), g.dtype)
    result[_slices(begin, end, strides)] = g
    return result


def _padded(x: Spec, *, paddings: Sequence[Ints], value: float = 0) -> Spec:
    _require(
        len(paddings) == len(x.shape) and all(p >= 0 for pair in paddings for p in pair),
        f"paddings={paddings} must hold two whole numbers of 0 or more for every axis.",
    )
    shape = tuple(d + sum(p) for d, p in zip(x.shape, paddings, strict=True))
    return Spec(shape, x.dtype)


def _no_rows_added(node: Node, _: Sequence[int]) -> bool:
    return tuple(node.attrs["paddings"][0]) == (0, 0)


def _unpadded(g: Any, x: Any, paddings: Sequence[Ints]) -> Any:
    begin = tuple(p[0] for p in paddings)
    end = tuple(b + d for b, d in zip(begin, x.shape, strict=True))
    return strided_slice(g, begin=begin, end=end, strides=(1,) * len(begin))


@op(
    kernel=True,
    axes=AxisAttributes(listed=("paddings",)),
    rows=_no_rows_added,
    shape=_padded,
    grad=lambda g, y, x, *, paddings, value=0: (_unpadded(g, x, paddings),),
    attrs_to_c=lambda attrs, ins, outs: [
        float(attrs.get("value", 0)),
        *flat_numbers(attrs["paddings"]),
    ],
    dtypes=fillable,
    samples=[
        Sample([(3, 5)], {"paddings": ((1, 0), (2, 3)), "value": 0.0}),
        Sample([(2, 3, 1)], {"paddings": ((0, 0), (1, 1), (0, 0)), "value": -1.5}),
        Sample([(3,)], {"paddings": ((0, 2),), "value": 7}, ["int32"], 0, 5),
        Sample([(0, 2)], {"paddings": ((1, 0), (0, 1)), "value": 1.0}),
    ],
)
def pad(x: np.ndarray, *, paddings: Sequence[Ints], value: float = 0) -> np.ndarray:
    """x with (before, after) elements of `value` added along each axis."""
    return np.pad(x, [tuple(p) for p in paddings], constant_values=value)


def _flipped(x: Spec, *, axes: Ints) -> Spec:
    _require(all(0 <= a < len(x.shape) for a in axes), f"axes={axes} are not all axes of x.")
    return x


@op(
    kernel=True,
    rows=other_axes,
    shape=_flipped,
    grad=lambda g, y, x, *, axes: (flip(g, axes=axes),),
    dtypes=movable,
    samples=[
        Sample([(3, 5)], {"axes": (0,)}),
        Sample([(3, 5, 2)], {"axes": (1, 2)}),
        Sample([(4,)], {"axes": (0,)}, ["int32"], 0, 9),
        Sample([(0, 3)], {"axes": (1,)}),
    ],
)
def flip(x: np.ndarray, *, axes: Ints) -> np.ndarray:
    """x in the opposite order along the axes."""
    return np.flip(x, tuple(axes))


def _tiled(x: Spec, *, repeats: Ints) -> Spec:
    _require(
        len(repeats) == len(x.shape) and all(r >= 0 for r in repeats),
        f"repeats={repeats} must be one whole number of 0 or more for every axis.",
    )
    return Spec(tuple(d * r for d, r in zip(x.shape, repeats, strict=True)), x.dtype)


def _untiled(g: Any, x: Any, repeats: Ints) -> Any:
    """Sum over the copies: each tiled axis d * r is seen as the two axes (r, d)."""
    split: list[int] = []
    copies: list[int] = []
    for d, r in zip(x.shape, repeats, strict=True):
        if r != 1:
            copies.append(len(split))
            split.append(r)
        split.append(d)
    if not copies:
        return g
    return registry["reduce_sum"](
        reshape(g, shape=tuple(split)), axes=tuple(copies), keepdims=False
    )


@op(
    kernel=True,
    rows=first_axis_stays,
    shape=_tiled,
    grad=lambda g, y, x, *, repeats: (_untiled(g, x, repeats),),
    dtypes=movable,
    samples=[
        Sample([(3, 2)], {"repeats": (2, 3)}),
        Sample([(2, 1, 5)], {"repeats": (1, 4, 1)}),
        Sample([(3,)], {"repeats": (5,)}, ["int32"], 0, 9),
        Sample([(2, 3)], {"repeats": (1, 0)}),
    ],
)
def tile(x: np.ndarray, *, repeats: Ints) -> np.ndarray:
    """Whole copies of x side by side: repeats[i] of them along axis i."""
    return np.tile(x, tuple(repeats))


def _repeated(x: Spec, *, repeats: int, axis: int) -> Spec:
    _require(0 <= axis < len(x.shape), f"axis={axis} is no axis of x.")
    _require(repeats >= 0, f"repeats={repeats} is below 0.")
    return Spec((*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :]), x.dtype)


def _unrepeated(g: Any, x: Any, repeats: int, axis: int) -> Any:
    split = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
    return registry["reduce_sum"](reshape(g, shape=split), axes=(axis + 1,), keepdims=False)


@op(
    kernel=True,
    axes=AxisAttributes(one="axis"),
    rows=other_axis,
    shape=_repeated,
    grad=lambda g, y, x, *, repeats, axis: (_unrepeated(g, x, repeats, axis),),
    attrs_to_c=named("repeats", "axis"),
    dtypes=movable,
    samples=[
        Sample([(3, 2)], {"repeats": 3, "axis": 0}),
        Sample([(2, 3, 5)], {"repeats": 2, "axis": 1}),
        Sample([(4,)], {"repeats": 3, "axis": 0}, ["int32"], 0, 9),
        Sample([(2, 3)], {"repeats": 0, "axis": 1}),
    ],
)
def repeat(x: np.ndarray, *, repeats: int, axis: int) -> np.ndarray:
    """Each element of the axis `repeats` times in a row."""
    return np.repeat(x, repeats, axis=axis)
