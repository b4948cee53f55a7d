"""Public ops that pick and place elements: indexing, take, scatter, where.

In: tensors, Variables or arrays, and indices (arrays, tensors, slices). Out: elements at those
places. What has a shape that depends on values (boolean masks, nonzero) works on arrays only.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import dtypes
from zoo_keras.bfloat16 import in_dtype
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.graph import Tensor
from zoo_keras.ops.convert import (
    as_dtype,
    axis_in,
    dtype_of,
    is_known,
    is_variable,
    known_array,
    known_int,
    known_ints,
    operand,
    value,
)
from zoo_keras.ops.shaping import moveaxis, ravel
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import elementwise as m
from zoo_keras.primitives import host
from zoo_keras.primitives import index as ix
from zoo_keras.primitives.arrays import broadcast_to, strided_slice, strided_slice_grad
from zoo_keras.primitives.arrays import reshape as reshape_op
from zoo_keras.primitives.reduce import reduce_max

# --- by number along an axis


def _wrapped(ids: Any, size: int) -> Any:
    """Integer ids with those below 0 counted from the end."""
    ids = value(ids)
    if not dtype_of(ids).startswith(("int", "uint")):
        ids = as_dtype(ids, "int32")
    if is_known(ids):
        return np.where(ids < 0, ids + size, ids).astype(dtype_of(ids))
    return m.where(m.less(ids, 0), m.add(ids, size), ids)


@public
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The elements at these places of an axis (of the flattened x when None)."""
    x = ravel(x) if axis is None else value(x)
    at = axis_in(axis or 0, len(x.shape))
    ids = _wrapped(indices, x.shape[at])
    if not at:
        return ix.gather(x, ids)
    new = len(ids.shape)
    found = ix.gather(moveaxis(x, at, 0), ids)
    return moveaxis(found, tuple(range(new)), tuple(range(at, at + new))) if new else found


@public
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The element of x at each index of the axis, the other places kept: numpy.take_along_axis."""
    x = ravel(x) if axis is None else value(x)
    at = axis_in(axis or 0, len(x.shape))
    ids = _wrapped(indices, x.shape[at])
    around = lambda s: (*s[:at], 1, *s[at + 1 :])  # noqa: E731
    if around(ids.shape) != around(x.shape):
        shape = np.broadcast_shapes(around(ids.shape), around(x.shape))
        x = broadcast_to(x, shape=(*shape[:at], x.shape[at], *shape[at + 1 :]))
        ids = broadcast_to(ids, shape=(*shape[:at], ids.shape[at], *shape[at + 1 :]))
    return ix.take_along_axis(x, ids, axis=at)


# --- x[key]


class _Basic(NamedTuple):
    """The slice part of a key, and the result's axes: sizes, 1 for None, arrays for later."""

    begin: list[int]
    end: list[int]
    strides: list[int]
    shape: list[int]
    arrays: dict[int, Any]


def _expanded(key: Any, ndim: int) -> list[Any]:
    """The key as a list with one entry for each axis, and the Nones between."""
    parts = list(key) if isinstance(key, tuple) else [key]
    used = sum(1 for p in parts if p is not None and p is not Ellipsis)
    if used > ndim:
        raise ShapeError(
            f"Indexing: {used} indices for a tensor of {ndim} dimensions. Received: {key}. "
            "Use fewer indices."
        )
    if not any(p is Ellipsis for p in parts):
        parts.append(Ellipsis)
    at = next(i for i, p in enumerate(parts) if p is Ellipsis)
    return [*parts[:at], *[slice(None)] * (ndim - used), *parts[at + 1 :]]


def _basic(parts: list[Any], shape: tuple[int, ...]) -> _Basic:
    made = _Basic([], [], [], [], {})
    for part in parts:
        axis = len(made.begin)
        if part is None:
            made.shape.append(1)
            continue
        size = shape[axis]
        if isinstance(part, slice):
            bounds = [None if b is None else known_int(b, "a slice bound")
                      for b in (part.start, part.stop, part.step)]  # fmt: skip
            lo, hi, step = slice(*bounds).indices(size)
            made.shape.append(len(range(lo, hi, step)))
        elif _is_whole_number(part):
            lo = _inside(known_int(part, "an index"), size)
            hi, step = lo + 1, 1
        else:
            made.arrays[len(made.shape)] = part
            lo, hi, step = 0, size, 1
            made.shape.append(size)
        for column, number in zip(made[:3], (lo, hi, step), strict=True):
            column.append(number)
    return made


def _is_whole_number(part: Any) -> bool:
    if isinstance(part, bool):
        return False
    if isinstance(part, Tensor):
        return part.node.op.name == "constant" and not part.shape and part.dtype != "bool"
    return not isinstance(part, (list, tuple)) and np.ndim(part) == 0 and not is_variable(part)


def _inside(number: int, size: int) -> int:
    if not -size <= number < size:
        raise ShapeError(
            f"An index is out of range for an axis of size {size}. Received: {number}. "
            f"Use {-size} to {size - 1}.",
            met=[(size,), (abs(number),)],
        )
    return number % size


@public
def get_item(x: Any, key: Any) -> Any:
    """x[key] as numpy does it: integers, slices, None, Ellipsis, integer arrays or tensors.

    Boolean masks work on arrays only, for in a trace the result's shape would not be known.
    """
    x = value(x)
    if isinstance(x, np.ndarray) and _all_known(key):
        return np.asanyarray(x[_plain(key)])
    made = _basic(_expanded(key, len(x.shape)), x.shape)
    whole = all(made.begin[i] == 0 and made.end[i] == d and made.strides[i] == 1
                for i, d in enumerate(x.shape))  # fmt: skip
    if not whole:
        bounds = (made.begin, made.end, made.strides)
        begin, end, strides = (tuple(b) for b in bounds)
        x = strided_slice(x, begin=begin, end=end, strides=strides)
    if tuple(made.shape) != tuple(x.shape):
        x = reshape_op(x, shape=tuple(made.shape))
    return _gathered(x, made.arrays) if made.arrays else x


def _all_known(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return not any(isinstance(p, Tensor) for p in parts)


def _plain(key: Any) -> Any:
    parts = key if isinstance(key, tuple) else (key,)
    made = tuple(np.asarray(p) if is_variable(p) else p for p in parts)
    return made if isinstance(key, tuple) else made[0]


def _gathered(x: Any, arrays: dict[int, Any]) -> Any:
    """Elements at integer arrays on some axes: those axes merged into one, then gathered."""
    axes = sorted(arrays)
    ids = []
    for axis in axes:
        part = value(arrays[axis])
        if dtype_of(part) == "bool":
            raise UnsupportedError(
                "Indexing with a boolean mask in a trace: the result's shape would depend on "
                "values. Received: a bool index. Use ops.where, or multiply by the mask."
            )
        ids.append(_wrapped(part, x.shape[axis]))
    adjacent = axes[-1] - axes[0] == len(axes) - 1
    place = axes[0] if adjacent else 0
    flat: Any = 0
    for axis, part in zip(axes, ids, strict=True):
        flat = m.add(m.multiply(flat, x.shape[axis]), part) if len(axes) > 1 else part
    x = moveaxis(x, axes, list(range(len(axes))))
    merged = math.prod(x.shape[: len(axes)])
    found = ix.gather(reshape_op(x, shape=(merged, *x.shape[len(axes) :])), flat)
    new = len(flat.shape)
    return moveaxis(found, list(range(new)), list(range(place, place + new)))


# --- windows of a tensor


@public
def slice_(inputs: Any, start_indices: Any, shape: Any) -> Any:
    """The window of a shape that begins at start_indices; -1 means up to the end."""
    x = value(inputs)
    begin = known_ints(start_indices, "start_indices")
    sizes = known_ints(shape, "shape")
    for name, given in (("start_indices", begin), ("shape", sizes)):
        if len(given) != len(x.shape):
            raise ShapeError(
                f"slice: the number of dimensions in `{name}` must match the number of dimensions "
                f"in `inputs`. Received: {name}={tuple(given)} for inputs of shape "
                f"{tuple(x.shape)}. Give one number for each axis."
            )
    lengths = [d - b if s == -1 else s for d, b, s in zip(x.shape, begin, sizes, strict=True)]
    end = tuple(b + s for b, s in zip(begin, lengths, strict=True))
    return strided_slice(x, begin=begin, end=end, strides=(1,) * len(begin))


@public
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """The inputs with the window that begins at start_indices replaced by updates."""
    x = value(inputs)
    updates = as_dtype(updates, dtype_of(x))
    begin = known_ints(start_indices, "start_indices")
    begin = tuple(max(min(b, d - u), 0) for b, d, u in zip(begin, x.shape, updates.shape))
    end = tuple(b + u for b, u in zip(begin, updates.shape, strict=True))
    how = {"shape": tuple(x.shape), "begin": begin, "end": end, "strides": (1,) * len(begin)}
    inside = np.zeros(x.shape, bool)
    inside[tuple(slice(b, e) for b, e in zip(begin, end, strict=True))] = True
    return m.where(inside, strided_slice_grad(updates, **how), x)


@public
def scatter(indices: Any, values: Any, shape: Any) -> Any:
    """Zeros of a shape to which values are added at indices (n, rank of the indexed axes)."""
    values = value(values)
    return ix.scatter_add(
        in_dtype(np.zeros(known_ints(shape, "shape")), dtype_of(values)), _places(indices), values
    )


@public
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Any:
    """The inputs with updates written at indices, or reduced with what is there: by "add", or by
    "max", "min" and "mul" on the host."""
    x = value(inputs)
    updates = as_dtype(updates, dtype_of(x))
    if reduction not in (None, "add", "max", "min", "mul"):
        raise ConfigError(
            f"scatter_update: unknown reduction. Received: {reduction!r}. Use 'add', 'max', 'min', "
            "'mul' or None."
        )
    if reduction in ("max", "min", "mul"):
        return host.scatter_reduce(x, _places(indices), updates, kind=reduction)
    op = ix.scatter_update if reduction is None else ix.scatter_add
    return op(x, _places(indices), updates)


def _places(indices: Any) -> Any:
    ids = value(indices)
    return ids if dtype_of(ids) in ("int32", "int64") else as_dtype(ids, "int32")


# --- by condition


@public
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """x1 where the condition is true (not 0), else x2; with the condition only: its places."""
    if x1 is None and x2 is None:
        return nonzero(condition)
    if x1 is None or x2 is None:
        raise ConfigError(
            "where: `x1` and `x2` either both should be `None` or both values. Received: "
            f"x1={x1!r}, x2={x2!r}. Pass the other one."
        )
    return m.where(value(condition), operand(x1), operand(x2))


@public
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """For every element the choice of the first condition that is true there, or default."""
    found = operand(default)
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        found = m.where(value(condition), operand(choice), found)
    return found


@public
def nonzero(x: Any) -> Any:
    """The places of the elements that are not 0, one array for each axis; only outside a trace."""
    x = value(x)
    if isinstance(x, Tensor) and x.node.op.name != "constant":
        raise UnsupportedError(
            "nonzero: the result's shape depends on values, which a traced model cannot have. "
            f"Received: {x}. Use ops.where with two values."
        )
    return tuple(a.astype("int32") for a in np.nonzero(known_array(x, "nonzero")))


@public
def one_hot(
    x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Any:
    """1 at each id on a new axis, 0 elsewhere; all 0 for an id outside 0..num_classes-1."""
    _dense(sparse)
    ids = _places(x)
    name = dtypes.standardize(dtype)
    made = ix.one_hot(ids, depth=known_int(num_classes, "num_classes"), dtype=name)
    at = axis_in(axis, len(made.shape))
    return made if at == len(made.shape) - 1 else moveaxis(made, -1, at)


@public
def multi_hot(
    inputs: Any,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
    **kwargs: Any,
) -> Any:
    """1 at every class that occurs in a row of ids, 0 elsewhere."""
    num_classes = kwargs.pop("num_tokens", num_classes)
    if kwargs or num_classes is None:
        raise ConfigError(
            f"multi_hot: num_classes must be given. Received: {num_classes}, {kwargs}. "
            "Pass the number of classes."
        )
    made = as_dtype(one_hot(inputs, num_classes, axis, "int32", sparse), "int32")
    ids_ndim = len(made.shape) - 1
    return as_dtype(reduce_max(made, axes=(1 if ids_ndim > 1 else 0,), keepdims=False), dtype)


def _dense(sparse: bool) -> None:
    if sparse:
        raise UnsupportedError("zoo_keras has dense tensors only. Received: sparse=True.")


__all__ = [
    "get_item", "multi_hot", "nonzero", "one_hot", "scatter", "scatter_update", "select",
    "slice_update", "take", "take_along_axis", "where",
]  # fmt: skip
