"""Ops that pick elements by number: embedding rows and their gradients, one-hot codes.

In: tables and integer ids. Out: rows, sums of rows, codes. An id outside its table is an error
in every op but one_hot, whose code for it is all zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import DataError, ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.arrays import movable
from zoo_keras.primitives.op import Sample, op, same
from zoo_keras.primitives.row_rules import first_input, other_axis, rows_in

IDS = ("int32", "int64")


def _integer(name: str, spec: Spec) -> None:
    if not spec.dtype.startswith(("int", "uint")):
        raise ShapeError(f"{name} must be integers, not {spec.dtype}.")


def check_ids(ids: np.ndarray, rows: int) -> None:
    """Raise DataError with the first id that is below 0 or not below `rows`."""
    wrong = np.flatnonzero((ids < 0) | (ids >= rows))
    if wrong.size:
        at = int(wrong[0])
        raise DataError(
            f"id out of range at position {at}: ids must be at least 0 and below {rows}, the "
            f"number of rows. Received: {ids.ravel()[at]}. Correct the id or use a larger table."
        )


def _with_ids(floats: tuple[int, ...], below: int, ids: tuple[int, ...], **attrs: Any) -> Sample:
    """Floats and ids of these shapes."""

    def make(rng: np.random.Generator) -> list[np.ndarray]:
        return [rng.normal(size=floats).astype("f4"), rng.integers(0, below, ids).astype("int32")]

    return Sample((), attrs, make=make)


def _gathered(table: Spec, ids: Spec) -> Spec:
    _integer("ids", ids)
    if not table.shape:
        raise ShapeError("the table must have rows.")
    return Spec((*ids.shape, *table.shape[1:]), table.dtype)


@op(
    kernel=True,
    rows=rows_in(0, 1),
    shape=_gathered,
    grad=lambda g, y, table, ids: (gather_grad(g, ids, rows=table.shape[0]), None),
    dtypes=lambda table, ids: movable(table) and ids.dtype in IDS,
    samples=[
        _with_ids((7, 3), 7, (2, 5)),
        _with_ids((4,), 4, (6,)),
        _with_ids((5, 2, 3), 5, ()),
        _with_ids((5, 9), 5, (0, 2)),
    ],
)
def gather(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Rows of the table: (rows, ...) and ids of any shape give ids.shape + (...).

    Raises DataError when an id is below 0 or not below the number of rows.
    """
    check_ids(ids, table.shape[0])
    return table[ids]


def _row_shape(g: Spec, ids: Spec) -> tuple[int, ...]:
    _integer("ids", ids)
    if g.shape[: len(ids.shape)] != ids.shape:
        raise ShapeError("the gradient must begin with the shape of the ids.")
    return g.shape[len(ids.shape) :]


def _float_rows(g: Spec, ids: Spec) -> bool:
    return g.dtype == "float32" and ids.dtype in IDS


@op(
    kernel=True,
    shape=lambda g, ids, *, rows: Spec((rows, *_row_shape(g, ids)), g.dtype),
    grad=lambda g, y, g0, ids, *, rows: (gather(g, ids), None),
    attrs_to_c=lambda attrs, ins, outs: [],
    dtypes=_float_rows,
    samples=[
        _with_ids((2, 5, 3), 7, (2, 5), rows=7),
        _with_ids((40,), 3, (40,), rows=3),
        _with_ids((0, 3), 4, (0,), rows=4),
    ],
)
def gather_grad(g: np.ndarray, ids: np.ndarray, *, rows: int) -> np.ndarray:
    """Gradient of gather as a whole table: row i is the sum of the g whose id is i."""
    check_ids(ids, rows)
    result = np.zeros((rows, *g.shape[ids.ndim :]), g.dtype)
    np.add.at(result, ids.ravel(), g.reshape(ids.size, *g.shape[ids.ndim :]))
    return result


def _touched_rows(g: Spec, ids: Spec) -> tuple[Spec, Spec, Spec]:
    rest, n = _row_shape(g, ids), int(np.prod(ids.shape, dtype=np.int64))
    return Spec((n,), "int32"), Spec((n, *rest), g.dtype), Spec((), "int32")


@op(
    kernel=True,
    shape=_touched_rows,
    dtypes=_float_rows,
    samples=[
        _with_ids((3, 5, 2), 6, (3, 5)),
        _with_ids((0, 3), 4, (0,)),
    ],
)
def gather_grad_rows(g: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradient of gather as the touched rows only: (ids, rows, count).

    With n ids: ids (n,) int32, ascending, the first `count` of them used and -1 after; rows
    (n, ...), row i the sum of the g with id ids[i], zeros after; count () int32.
    """
    check_ids(ids, 2**31)
    found, place = np.unique(ids.ravel(), return_inverse=True)
    unique = np.full(ids.size, -1, np.int32)
    unique[: found.size] = found
    rows = np.zeros((ids.size, *g.shape[ids.ndim :]), g.dtype)
    np.add.at(rows, place, g.reshape(rows.shape))
    return unique, rows, np.array(found.size, np.int32)


@op(
    kernel=True,
    rows=first_input,
    shape=lambda ids, *, depth, dtype="float32": Spec((*ids.shape, depth), dtype),
    grad=lambda g, y, ids, **attrs: (None,),
    attrs_to_c=lambda attrs, ins, outs: [],
    dtypes=lambda ids: ids.dtype in IDS,
    samples=[
        Sample([(5,)], {"depth": 4, "dtype": "float32"}, ["int32"], 0, 4),
        Sample([(2, 3)], {"depth": 3, "dtype": "int32"}, ["int32"], -2, 6),
        Sample([(7,)], {"depth": 1, "dtype": "bool"}, ["int32"], 0, 2),
        Sample([(0, 2)], {"depth": 3, "dtype": "float32"}, ["int32"], 0, 3),
    ],
)
def one_hot(ids: np.ndarray, *, depth: int, dtype: str = "float32") -> np.ndarray:
    """ids.shape + (depth,): 1 at each id, 0 elsewhere; all 0 for an id outside 0..depth-1."""
    return (ids[..., None] == np.arange(depth)).astype(dtype)


def _along_axis(x: Spec, ids: Spec, *, axis: int) -> Spec:
    _integer("ids", ids)
    if len(x.shape) != len(ids.shape):
        raise ShapeError("x and the ids must have as many axes.")
    return Spec(ids.shape, x.dtype)


@op(
    kernel=True,
    attrs_to_c=lambda attrs, ins, outs: [attrs["axis"]],
    dtypes=lambda x, ids: (
        x.dtype in ("float32", "int32", "bool") and ids.dtype in ("int32", "int64")
    ),
    rows=other_axis,
    shape=_along_axis,
    grad=lambda g, y, x, ids, *, axis: (
        take_along_axis_grad(g, ids, shape=x.shape, axis=axis),
        None,
    ),
    samples=[_with_ids((3, 5), 5, (3, 2), axis=1)],
)
def take_along_axis(x: np.ndarray, ids: np.ndarray, *, axis: int) -> np.ndarray:
    """numpy's take_along_axis: the element of x at each id of the axis, other indices kept."""
    check_ids(ids, x.shape[axis])
    return np.take_along_axis(x, ids, axis)


@op(
    kernel=True,
    attrs_to_c=lambda attrs, ins, outs: [attrs["axis"]],
    dtypes=lambda g, ids: g.dtype == "float32" and ids.dtype in ("int32", "int64"),
    shape=lambda g, ids, *, shape, axis: Spec(tuple(shape), g.dtype),
    grad=lambda g, y, g0, ids, *, shape, axis: (take_along_axis(g, ids, axis=axis), None),
)
def take_along_axis_grad(
    g: np.ndarray, ids: np.ndarray, *, shape: Sequence[int], axis: int
) -> np.ndarray:
    """Zeros of `shape` to which g is added at the places that take_along_axis reads."""
    result = np.zeros(tuple(shape), g.dtype)
    where: list[np.ndarray] = list(np.indices(ids.shape, sparse=True))
    where = [at if n > 1 else at * 0 for at, n in zip(where, shape, strict=True)]  # repeated
    where[axis] = ids
    np.add.at(result, tuple(where), g)
    return result


def _places(indices: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, ...]:
    """numpy's index of the places that rows (..., k) of indices name in a tensor's first axes."""
    found = tuple(np.moveaxis(indices, -1, 0))
    for axis, ids in enumerate(found):
        check_ids(ids, shape[axis])
    return found


def at_places(*specs: Spec) -> bool:
    """Whether the kernels of places know the dtypes: 32 bits, but for ids of 64."""
    *others, ids = [s.dtype for s in (*specs[:1], *specs[2:], specs[1])]
    return ids in ("int32", "int64") and others[0] in ("float32", "int32") and len({*others}) == 1


def _at_places(x: Spec, indices: Spec) -> tuple[int, ...]:
    _integer("indices", indices)
    depth = indices.shape[-1] if indices.shape else 0
    if not 0 < depth <= len(x.shape):
        raise ShapeError("the last axis of indices must hold one number for each leading axis.")
    return (*indices.shape[:-1], *x.shape[depth:])


@op(
    kernel=True,
    dtypes=at_places,
    attrs_to_c=lambda attrs, ins, outs: (),
    shape=lambda x, indices: Spec(_at_places(x, indices), x.dtype),
    grad=lambda g, y, x, indices: (gather_nd_grad(g, indices, shape=x.shape), None),
    samples=[_with_ids((4, 4, 2), 4, (3, 2))],
)
def gather_nd(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Slices of x: indices (..., k) name a place in x's first k axes -> (...) + x.shape[k:]."""
    return x[_places(indices, x.shape)]


@op(
    kernel=True,
    dtypes=at_places,
    attrs_to_c=lambda attrs, ins, outs: (),
    shape=lambda g, indices, *, shape: Spec(tuple(shape), g.dtype),
    grad=lambda g, y, g0, indices, *, shape: (gather_nd(g, indices), None),
    samples=[_with_ids((3, 2), 4, (3, 2), shape=(4, 4, 2))],
)
def gather_nd_grad(g: np.ndarray, indices: np.ndarray, *, shape: Sequence[int]) -> np.ndarray:
    """Zeros of `shape` to which g is added at the places that gather_nd reads."""
    result = np.zeros(tuple(shape), g.dtype)
    np.add.at(result, _places(indices, shape), g)
    return result


def _updated(x: Spec, indices: Spec, updates: Spec) -> Spec:
    if _at_places(x, indices) != updates.shape:
        raise ShapeError("updates must have the shape of what the indices name.")
    return same(x)


def _scatter_sample(rng: np.random.Generator) -> list[Any]:
    x, updates = rng.normal(size=(4, 2)).astype("f4"), rng.normal(size=(3, 2)).astype("f4")
    return [x, rng.permutation(4)[:3].astype("int32")[:, None], updates]


@op(
    kernel=True,
    dtypes=at_places,
    attrs_to_c=lambda attrs, ins, outs: (),
    shape=_updated,
    grad=lambda g, y, x, indices, updates: (g, None, gather_nd(g, indices)),
    samples=[Sample((), make=_scatter_sample)],
)
def scatter_add(x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    """x with updates added at the places that gather_nd would read; repeated places sum up."""
    result = x.copy()
    np.add.at(result, _places(indices, x.shape), updates)
    return result


def _scatter_update_grad(g: Any, y: Any, x: Any, indices: Any, updates: Any) -> tuple[Any, ...]:
    zeros = np.zeros(updates.shape, updates.dtype)
    return scatter_update(g, indices, zeros), None, gather_nd(g, indices)


@op(
    kernel=True,
    dtypes=at_places,
    attrs_to_c=lambda attrs, ins, outs: (),
    shape=_updated,
    grad=_scatter_update_grad,
    samples=[Sample((), make=_scatter_sample)],
)
def scatter_update(x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    """x with updates written at the places that gather_nd would read; the last one wins."""
    result = x.copy()
    result[_places(indices, x.shape)] = updates
    return result
