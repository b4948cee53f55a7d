"""Columns whose rows have different sizes: sequences, token ids, images.

In: lists of arrays or of lists, arrays of objects, Arrow lists. Out: a Ragged column, which batches
take like an array; it is padded to the longest row of a batch, or grouped by the shapes of rows.
Only numbers; knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import DataError
from zoo_keras.feed.columns import narrowed

OPEN = -1  # the size of an axis that differs from row to row


class Ragged:
    """Rows of one rank and several shapes.

    Args:
        rows: arrays of numbers.
        what: what messages call the column.
        pad: fills shorter rows up when rows of several shapes come together; None: they may not.
    """

    def __init__(self, rows: Sequence[np.ndarray], what: str, pad: float | None = None) -> None:
        self.rows, self.what, self.pad = rows, what, pad
        found = {row.dtype for row in rows if row.size} or {np.dtype(np.float32)}
        self.dtype = narrowed(np.zeros(0, np.result_type(*found))).dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, take: Any) -> Ragged:
        if isinstance(take, slice):
            return Ragged(self.rows[take], self.what, self.pad)
        return Ragged([self.rows[int(i)] for i in take], self.what, self.pad)

    def astype(self, dtype: Any, copy: bool = True) -> Ragged:
        """The column with rows of another dtype."""
        return Ragged([row.astype(dtype, copy=copy) for row in self.rows], self.what, self.pad)

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, ...), OPEN where sizes differ."""
        sizes = zip(*[row.shape for row in self.rows], strict=True)
        return (len(self.rows), *[s[0] if len(set(s)) == 1 else OPEN for s in sizes])

    def array(self) -> np.ndarray:
        """The rows as one array, padded to the largest. DataError when that was not asked for."""
        shape = self.shape
        if OPEN not in shape:
            return np.stack(self.rows).astype(self.dtype, copy=False)
        if self.pad is None:
            row = next(i for i, r in enumerate(self.rows) if r.shape != self.rows[0].shape)
            raise DataError(
                f"{self.what}, row {row} of a batch: the rows have different lengths. Received: "
                f"shapes {self.rows[0].shape} and {self.rows[row].shape}. Pass pad_value to pad "
                "them to the longest of a batch, or pad them to one length."
            )
        return padded(self.rows, self.largest(), self.dtype, self.pad)

    def largest(self) -> tuple[int, ...]:
        """The largest size along each axis."""
        return tuple(np.max([row.shape for row in self.rows], axis=0).tolist())


def padded(
    rows: Sequence[np.ndarray], shape: tuple[int, ...], dtype: Any, pad: float
) -> np.ndarray:
    """Rows of at most this shape as one array, (rows, *shape)."""
    made = np.full((len(rows), *shape), pad, dtype)
    for i, each in enumerate(rows):
        place: tuple[Any, ...] = (i, *[slice(n) for n in each.shape])
        made[place] = each
    return made


def ragged(value: Any, rank: int | None, what: str, pad: float | None = None) -> Ragged | None:
    """A Ragged column of these rows; None when they are no rows of numbers of that rank.

    Args:
        rank: how many axes a row has; None: as many as the first, at least one.
    """
    if type(value).__module__.partition(".")[0] == "pyarrow" and hasattr(value, "to_pylist"):
        value = value.to_pylist()
    if hasattr(value, "tolist") and not isinstance(value, (list, tuple)):
        if getattr(getattr(value, "dtype", None), "kind", "") != "O" or value.ndim != 1:
            return None
        value = list(value)
    if not isinstance(value, (list, tuple)) or not value:
        return None
    try:
        rows = [np.asarray(row) for row in value]
    except ValueError:
        return None
    rank = rows[0].ndim if rank is None else rank
    if not rank or any(row.ndim != rank or row.dtype.kind not in "fiub" for row in rows):
        return None
    return Ragged([narrowed(dtypes.native(row)) for row in rows], what, pad)


def groups_of(columns: Sequence[Any]) -> Iterator[np.ndarray]:
    """Numbers of the rows whose shapes are equal in all columns, group by group."""
    found: dict[Any, list[int]] = {}
    many = [c.rows for c in columns if isinstance(c, Ragged)]
    for number, rows in enumerate(zip(*many, strict=True)):
        found.setdefault(tuple(row.shape for row in rows), []).append(number)
    yield from map(np.array, found.values())


def whole(column: Any) -> np.ndarray:
    """A column as one array."""
    made: np.ndarray = column.array() if isinstance(column, Ragged) else column
    return made
