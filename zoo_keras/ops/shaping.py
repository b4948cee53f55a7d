"""Public ops that move elements: reshape, transpose, join, split, repeat, pad, triangles.

In: tensors, Variables or arrays; axes as in numpy. Out: the same elements at other places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.bfloat16 import in_dtype
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.ops.convert import (
    alike,
    as_dtype,
    axes_in,
    axis_in,
    dtype_of,
    known_array,
    known_int,
    known_ints,
    operand,
    stacked,
    value,
)
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import elementwise as m
from zoo_keras.primitives import reduce
from zoo_keras.primitives.arrays import broadcast_to as broadcast_op
from zoo_keras.primitives.arrays import concatenate as concatenate_op
from zoo_keras.primitives.arrays import flip as flip_op
from zoo_keras.primitives.arrays import pad as pad_op
from zoo_keras.primitives.arrays import repeat as repeat_op
from zoo_keras.primitives.arrays import reshape as reshape_op
from zoo_keras.primitives.arrays import strided_slice
from zoo_keras.primitives.arrays import tile as tile_op
from zoo_keras.primitives.arrays import transpose as transpose_op
from zoo_keras.primitives.index import gather

# --- one tensor under another shape


@public
def reshape(x: Any, newshape: Any) -> Any:
    """The same elements under another shape; one entry may be -1 (or None)."""
    if isinstance(newshape, (list, tuple)):
        newshape = [-1 if d is None else d for d in newshape]
    sizes = known_ints(newshape, "newshape")
    if any(d < -1 for d in sizes) or list(sizes).count(-1) > 1:
        raise ConfigError(
            "reshape: each size must be a non-negative integer, or once -1 for what is left. "
            f"Received: newshape={tuple(sizes)}. Change it."
        )
    return reshape_op(value(x), shape=sizes)


@public
def ravel(x: Any) -> Any:
    """All elements on one axis."""
    return reshape_op(value(x), shape=(-1,)) if len(value(x).shape) != 1 else value(x)


@public
def squeeze(x: Any, axis: Any = None) -> Any:
    """Without the axes of size 1, or without those given (which must have size 1)."""
    x = value(x)
    shape = x.shape
    if axis is None:
        return reshape_op(x, shape=tuple(d for d in shape if d != 1))
    gone = axes_in(axis, len(shape))
    if any(shape[a] != 1 for a in gone):
        raise ShapeError(
            f"squeeze: only axes of size 1 can be dropped. Received: shape={shape}, axis={axis}. "
            "Use reshape or a reduction for others."
        )
    return reshape_op(x, shape=tuple(d for i, d in enumerate(shape) if i not in gone))


@public
def expand_dims(x: Any, axis: Any) -> Any:
    """With new axes of size 1 at these places of the result."""
    x = value(x)
    many = axis if isinstance(axis, (list, tuple)) else (axis,)
    ndim = len(x.shape) + len(many)
    new, old = axes_in(many, ndim), iter(x.shape)
    return reshape_op(x, shape=tuple(1 if i in new else next(old) for i in range(ndim)))


@public
def transpose(x: Any, axes: Any = None) -> Any:
    """Axis i of the result is axes[i] of x; the axes in opposite order when None."""
    x = value(x)
    ndim = len(x.shape)
    order = range(ndim)[::-1] if axes is None else [axis_in(a, ndim) for a in axes]
    if sorted(order) != list(range(ndim)):
        raise ConfigError(
            f"transpose: the axes must be a valid permutation of those of x, which has {ndim}. "
            f"Received: axes={list(axes)}. Name each axis once."
        )
    return transpose_op(x, perm=tuple(order))


@public
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """The axes `source` moved to the places `destination`, the others in their order."""
    x = value(x)
    ndim = len(x.shape)
    both = [v if isinstance(v, (list, tuple)) else (v,) for v in (source, destination)]
    froms, tos = ([axis_in(a, ndim) for a in v] for v in both)
    order = [a for a in range(ndim) if a not in froms]
    for to, at in sorted(zip(tos, froms, strict=True)):
        order.insert(to, at)
    return transpose_op(x, perm=tuple(order))


@public
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    x = value(x)
    order = list(range(len(x.shape)))
    a, b = axis_in(axis1, len(order)), axis_in(axis2, len(order))
    order[a], order[b] = order[b], order[a]
    return transpose_op(x, perm=tuple(order))


@public
def broadcast_to(x: Any, shape: Any) -> Any:
    """x repeated along axes of size 1, and along new leading ones, up to the shape."""
    return broadcast_op(value(x), shape=known_ints(shape, "shape"))


@public
def flip(x: Any, axis: Any = None) -> Any:
    """In the opposite order along the axes."""
    x = value(x)
    return flip_op(x, axes=axes_in(axis, len(x.shape)))


@public
def fliplr(x: Any) -> Any:
    """In the opposite order along axis 1."""
    return flip_op(value(x), axes=(1,))


@public
def flipud(x: Any) -> Any:
    """In the opposite order along axis 0."""
    return flip_op(value(x), axes=(0,))


@public
def rot90(array: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Turned by k quarters from the first of the axes towards the second."""
    x = value(array)
    first, second = (axis_in(a, len(x.shape)) for a in axes)
    if first == second:
        raise ConfigError(
            f"rot90: an image turns in a plane of two axes. Received: axes={tuple(axes)}. Name two "
            "different ones."
        )
    k %= 4
    if k >= 2:
        x = flip_op(x, axes=(first, second) if k == 2 else (first,))
    return swapaxes(flip_op(x, axes=(second,)) if k == 1 else x, first, second) if k % 2 else x


@public
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Moved by `shift` places along the axes, what leaves at the end coming in at the front."""
    x = value(x)
    if axis is None:
        return reshape_op(roll(ravel(x), shift, 0), shape=x.shape)
    many = axis if isinstance(axis, (list, tuple)) else (axis,)
    shifts = shift if isinstance(shift, (list, tuple)) else (shift,) * len(many)
    for s, a in zip(shifts, many, strict=True):
        x = _rolled(x, known_int(s, "shift"), axis_in(a, len(x.shape)))
    return x


def _rolled(x: Any, shift: int, axis: int) -> Any:
    size = x.shape[axis]
    cut = size - shift % size if size else 0
    if cut in (0, size):
        return x
    return concatenate_op(cut_out(x, axis, cut, size), cut_out(x, axis, 0, cut), axis=axis)


def cut_out(x: Any, axis: int, begin: int, end: int) -> Any:
    """Elements begin to end - 1 along one axis."""
    first = tuple(begin if i == axis else 0 for i in range(len(x.shape)))
    last = tuple(end if i == axis else d for i, d in enumerate(x.shape))
    return strided_slice(x, begin=first, end=last, strides=(1,) * len(first))


# --- several tensors


@public
def concatenate(xs: Any, axis: int = 0) -> Any:
    """The tensors one after the other along an axis."""
    values = alike(xs)
    return concatenate_op(*values, axis=axis_in(axis, len(values[0].shape)))


@public
def stack(x: Any, axis: int = 0) -> Any:
    """The tensors side by side along a new axis."""
    return stacked(x, axis)


@public
def unstack(x: Any, num: int | None = None, axis: int = 0) -> Any:
    """A list of the slices along an axis."""
    x = value(x)
    axis = axis_in(axis, len(x.shape))
    if num is not None and num != x.shape[axis]:
        raise ShapeError(
            f"unstack: num must be the size of the axis, {x.shape[axis]}. Received: num={num}.",
            met=[(x.shape[axis],), (num,)],
        )
    rest = (*x.shape[:axis], *x.shape[axis + 1 :])
    return [reshape_op(cut_out(x, axis, i, i + 1), shape=rest) for i in range(x.shape[axis])]


@public
def hstack(xs: Any) -> Any:
    """Side by side: along axis 1, vectors along axis 0."""
    values = [v if len(v.shape) else reshape_op(v, shape=(1,)) for v in alike(xs)]
    return concatenate_op(*values, axis=0 if len(values[0].shape) == 1 else 1)


@public
def vstack(xs: Any) -> Any:
    """One below the other: along axis 0, vectors as rows."""
    values = [v if len(v.shape) > 1 else reshape_op(v, shape=(1, -1)) for v in alike(xs)]
    return concatenate_op(*values, axis=0)


@public
def dstack(xs: Any) -> Any:
    """One behind the other: along axis 2, vectors as (1, n, 1)."""
    return concatenate_op(*[_deep(v) for v in alike(xs)], axis=2)


def _deep(x: Any) -> Any:
    if len(x.shape) < 2:
        return reshape_op(x, shape=(1, -1, 1))
    return reshape_op(x, shape=(*x.shape, 1)) if len(x.shape) == 2 else x


@public
def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """x2 behind x1 along an axis; both flattened when axis is None."""
    return concatenate([ravel(x1), ravel(x2)]) if axis is None else concatenate([x1, x2], axis)


@public
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """A list of pieces: so many equal ones, or cut at the given indices."""
    x = value(x)
    axis = axis_in(axis, len(x.shape))
    size = x.shape[axis]
    if isinstance(indices_or_sections, int):
        if size % indices_or_sections:
            raise ShapeError(
                f"split: an axis of size {size} has no {indices_or_sections} equal pieces. "
                "Received: indices_or_sections="
                f"{indices_or_sections}. Use a divisor, or array_split.",
                met=[(size,), (indices_or_sections,)],
            )
        step = size // indices_or_sections
        cuts = [i * step for i in range(1, indices_or_sections)]
    else:
        cuts = list(known_ints(indices_or_sections, "indices_or_sections"))
    return _pieces(x, axis, cuts)


def _pieces(x: Any, axis: int, cuts: Sequence[int]) -> list[Any]:
    size = x.shape[axis]
    inside = [min(max(c + size if c < 0 else c, 0), size) for c in cuts]
    borders = zip([0, *inside], [*inside, size], strict=True)
    return [cut_out(x, axis, lo, max(lo, hi)) for lo, hi in borders]


@public
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Like split, but the first pieces may be one longer than the others."""
    if not isinstance(indices_or_sections, int):
        return split(x, indices_or_sections, axis)
    x = value(x)
    axis = axis_in(axis, len(x.shape))
    small, longer = divmod(x.shape[axis], indices_or_sections)
    cuts = [i * small + min(i, longer) for i in range(1, indices_or_sections)]
    return _pieces(x, axis, cuts)


@public
def hsplit(x: Any, indices_or_sections: Any) -> Any:
    """Split along axis 1, a vector along axis 0."""
    return split(x, indices_or_sections, 0 if len(value(x).shape) == 1 else 1)


@public
def vsplit(x: Any, indices_or_sections: Any) -> Any:
    """Split along axis 0."""
    return split(x, indices_or_sections, 0)


@public
def dsplit(x: Any, indices_or_sections: Any) -> Any:
    """Split along axis 2."""
    return split(x, indices_or_sections, 2)


# --- repetition and padding


@public
def tile(x: Any, repeats: Any) -> Any:
    """Whole copies side by side, repeats[i] along axis i."""
    x, counts = value(x), known_ints(repeats, "repeats")
    missing = len(x.shape) - len(counts)
    if missing < 0:
        x = reshape_op(x, shape=(*(1,) * -missing, *x.shape))
    return tile_op(x, repeats=(*(1,) * missing, *counts))


@public
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element `repeats` times in a row (one number, or one for each element)."""
    x = ravel(x) if axis is None else value(x)
    axis = axis_in(axis or 0, len(x.shape))
    counts = known_array(operand(repeats), "repeats")
    if counts.size == 1:
        return repeat_op(x, repeats=int(counts.ravel()[0]), axis=axis)
    return pick(x, np.repeat(np.arange(x.shape[axis]), counts), axis)


def pick(x: Any, places: np.ndarray, axis: int) -> Any:
    """The elements at known places of an axis."""
    front = moveaxis(x, axis, 0) if axis else x
    found = gather(front, places.astype("int32"))
    return moveaxis(found, 0, axis) if axis else found


_EDGE_MODES = ("reflect", "symmetric", "edge", "wrap")


@public
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """Elements added before and after each axis: a value, or x's own ("reflect", "symmetric")."""
    x = value(x)
    widths = known_array(pad_width, "pad_width")
    pairs = tuple((int(a), int(b)) for a, b in np.broadcast_to(widths, (len(x.shape), 2)))
    if mode == "constant":
        number = 0 if constant_values is None else known_array(constant_values, "constant_values")
        return pad_op(x, paddings=pairs, value=float(number))
    if constant_values is not None:
        raise ConfigError(
            "pad: Argument `constant_values` can only be provided when `mode == 'constant'`. "
            f"Received: mode={mode!r}, constant_values={constant_values}. Leave it out."
        )
    if mode not in _EDGE_MODES:
        raise ConfigError(
            f"pad: mode must be 'constant' (with constant_values) or one of {_EDGE_MODES}. "
            f"Received: mode={mode!r}, constant_values={constant_values}."
        )
    for axis, pair in enumerate(pairs):
        if pair != (0, 0):
            places = np.pad(np.arange(x.shape[axis]), pair, mode)  # type: ignore[call-overload]
            x = pick(x, places, axis)
    return x


# --- diagonals and triangles


def _triangle(x: Any, keep: Any) -> Any:
    x = value(x)
    return m.where(keep, x, in_dtype(0, dtype_of(x)))


@public
def tril(x: Any, k: int = 0) -> Any:
    """The last two axes with zeros above the k-th diagonal."""
    rows, columns = value(x).shape[-2:]
    return _triangle(x, np.tri(rows, columns, k, dtype="bool"))


@public
def triu(x: Any, k: int = 0) -> Any:
    """The last two axes with zeros below the k-th diagonal."""
    rows, columns = value(x).shape[-2:]
    return _triangle(x, ~np.tri(rows, columns, k - 1, dtype="bool"))


@public
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes, on the last axis of the result."""
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = x.shape[-2:]
    below, right = max(-offset, 0), max(offset, 0)
    count = max(min(rows - below, columns - right), 0)
    flat = reshape_op(x, shape=(*x.shape[:-2], rows * columns))
    first = below * columns + right
    end = first + (count - 1) * (columns + 1) + 1 if count else first
    return flat[..., first : end : columns + 1]


@public
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of the diagonal of two axes."""
    found = diagonal(x, offset, axis1, axis2)
    found = as_dtype(found, "int32") if dtype_of(found) == "bool" else found
    return reduce.reduce_sum(found, axes=(len(found.shape) - 1,), keepdims=False)


@public
def diag(x: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix, or the matrix with a vector on its k-th diagonal."""
    x = value(x)
    if len(x.shape) == 2:
        return diagonal(x, k)
    size = x.shape[0] + abs(k)
    row = pad_op(x, paddings=((max(k, 0), max(-k, 0)),), value=0)
    square = broadcast_op(reshape_op(row, shape=(1, size)), shape=(size, size))
    return _triangle(square, np.eye(size, k=k, dtype="bool"))


@public
def diagflat(x: Any, k: int = 0) -> Any:
    """The matrix with all elements of x on its k-th diagonal."""
    return diag(ravel(x), k)


@public
def kron(x1: Any, x2: Any) -> Any:
    """The Kronecker product: every element of x1 times the whole of x2."""
    x1, x2 = value(x1), value(x2)
    ndim = max(len(x1.shape), len(x2.shape))
    a, b = (((1,) * (ndim - len(x.shape)) + tuple(x.shape)) for x in (x1, x2))
    outer = m.multiply(
        reshape_op(x1, shape=tuple(v for d in a for v in (d, 1))),
        reshape_op(x2, shape=tuple(v for d in b for v in (1, d))),
    )
    return reshape_op(outer, shape=tuple(p * q for p, q in zip(a, b, strict=True)))


__all__ = [
    "append", "array_split", "broadcast_to", "concatenate", "diag", "diagflat", "diagonal",
    "dsplit", "dstack", "expand_dims", "flip", "fliplr", "flipud", "hsplit", "hstack", "kron",
    "moveaxis", "pad", "ravel", "repeat", "reshape", "roll", "rot90", "split", "squeeze", "stack",
    "swapaxes", "tile", "trace", "transpose", "tril", "triu", "unstack", "vsplit", "vstack",
]  # fmt: skip
