"""Columns: arrays of numbers in their own dtype, or of text (str and bytes objects).

In: what users and readers hand over for one input: arrays, lists, pandas. Out: a numpy column,
checked. Numbers are narrowed to what the engine computes with; text is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import DataError
from zoo_keras.feed import kinds
from zoo_keras.nest import flatten


def as_column(value: Any, what: str, fill: Any = None, wide: bool = False) -> np.ndarray:
    """A column of rank 1 or more. DataError for nulls, ragged rows and other objects.

    Args:
        fill: stands for nulls and NaN; for a table a dict by column, too. None: nulls are refused.
        wide: float64 is kept.
    """
    if is_ragged(value):
        return value
    if value is None:
        raise DataError(
            f"{what}: data are needed here; an input is not optional in fit, evaluate and predict. "
            "Received: None. Pass an array, or call the model itself."
        )
    array = _as_numpy(value, what, fill)
    if array.dtype.kind in "OMm" and not holds_text(array):
        if fill is None or isinstance(fill, dict):
            _refuse_nulls(array, what)
        array = kinds.numbers(array)
    if fill is not None and not isinstance(fill, dict):
        array = kinds.without_nulls(array, fill)
    if array.dtype == object and not holds_text(array):
        array = dtypes.from_objects(array)
    if array.dtype.kind in "US":
        array = array.astype(object)
    elif array.dtype == object:
        _check_text(array, what)
    elif array.dtype.kind not in "fiub":
        raise DataError(
            f"{what}: expected numbers or text. Received: dtype {array.dtype}. "
            "Convert the data to a numeric array first."
        )
    if array.ndim == 0:
        raise DataError(f"{what}: expected an array of rows. Received: one value. Wrap it: [x].")
    if array.dtype == object:
        return array
    return narrowed(dtypes.native(array), strict=False, wide=wide)


def with_lists_of_text(structure: Any) -> Any:
    """The structure of inputs with each list of str or bytes, or of such lists, as one array."""
    if isinstance(structure, dict):
        return {k: with_lists_of_text(v) for k, v in structure.items()}
    if not isinstance(structure, (list, tuple)):
        return structure
    if holds_text(structure) and all(
        isinstance(leaf, (str, bytes, type(None))) for leaf in flatten(structure)
    ):
        return _as_numpy(structure, "x")
    if not any(isinstance(v, (list, tuple, dict)) for v in structure):
        return structure
    made = [with_lists_of_text(v) for v in structure]
    return type(structure)(*made) if hasattr(structure, "_fields") else type(structure)(made)


def holds_text(value: Any) -> bool:
    """Whether the first leaf of nested lists or of an array of objects is text."""
    while isinstance(value, (list, tuple, np.ndarray)) and len(value):
        if isinstance(value, np.ndarray) and value.dtype != object:
            return value.dtype.kind in "US"
        value = value[0]
    return isinstance(value, (str, bytes))


def _as_numpy(value: Any, what: str, fill: Any = None) -> np.ndarray:
    if _is_arrow(value):
        if not hasattr(value, "column_names"):
            return kinds.numpy_column(value, what, 0, True, fill)
        return _table({name: value.column(name) for name in value.column_names}, what, fill)
    if hasattr(value, "to_numpy") and not isinstance(value, np.ndarray):
        array = value.to_numpy()
        if hasattr(value, "columns") and (
            isinstance(fill, dict) or (array.dtype == object and not holds_text(array))
        ):
            return _table({name: value[name] for name in value.columns}, what, fill)
        value = array
    try:
        return np.array(value, object) if holds_text(value) else np.asarray(value)
    except ValueError:
        raise DataError(
            f"{what}: the rows have different lengths. Received: a ragged {type(value).__name__}. "
            "Pad them to one length."
        ) from None


def _is_arrow(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pyarrow"


def _table(columns: dict[Any, Any], what: str, fill: Any) -> np.ndarray:
    """A table's columns side by side, (rows, columns)."""
    parts = []
    for name, column in columns.items():
        mine = fill.get(name) if isinstance(fill, dict) else fill
        part = as_column(column, f"{what}, column {name}", mine)
        parts.append(part.reshape(len(part), -1))
    if len({is_text(part) for part in parts}) > 1:
        raise DataError(
            f"{what}: a table of one input must hold numbers alone or text alone. Received: "
            f"columns {list(columns)}. Give an input for each: {{'a': table['a'], ...}}."
        )
    return np.concatenate(parts, axis=1)


def value_array(value: Any) -> np.ndarray:
    """One record's value as an array: text as objects, since numpy's own would lose zero bytes.

    Raises ValueError for ragged lists.
    """
    return np.array(value, object) if holds_text(value) else np.asarray(value)


def stacked_text(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray | None:
    """Rows of text as one column, or None when they are not all text of this shape."""
    made = np.empty((len(values), *shape), object)
    try:
        made[...] = values if shape == () else [value_array(v) for v in values]
    except ValueError:
        return None
    good = all(isinstance(v, (str, bytes)) for v in made.reshape(-1).tolist())
    return made if good else None


def is_ragged(column: Any) -> bool:
    """Whether a column's rows may differ in shape: a `feed.ragged.Ragged`."""
    return hasattr(column, "pad") and hasattr(column, "rows")


def is_text(array: np.ndarray) -> bool:
    """Whether a column holds text."""
    return array.dtype == object


def _refuse_nulls(array: np.ndarray, what: str) -> None:
    """DataError for None, NA and NaT; NaN is a number, unless a fill value stands for it."""
    if array.dtype != object:
        nulls = np.isnat(array)
    else:
        nulls = np.array([kinds.is_null(v) and not _is_nan(v) for v in array.flat], bool)
    if nulls.any():
        row = int(np.argmax(nulls)) // max(1, array.size // max(1, len(array)))
        raise DataError(
            f"{what}, row {row}: expected numbers or text. Received: a null. Fill or drop such "
            "rows, or pass fill_value."
        )


def _is_nan(value: Any) -> bool:
    return isinstance(value, (float, np.floating))


def _check_text(array: np.ndarray, what: str) -> None:
    for row, value in enumerate(array.reshape(-1).tolist()):
        if not isinstance(value, (str, bytes)):
            row = row // max(1, array[0].size if isinstance(array[0], np.ndarray) else 1)
            received = "a null" if kinds.is_null(value) else repr(value)[:60]
            raise DataError(
                f"{what}, row {row}: expected numbers or text. Received: {received} in an array of "
                "objects (nulls, strings or ragged rows). Fill or drop such rows, pass "
                "fill_value, or use a numeric array."
            )


def narrowed(array: np.ndarray, strict: bool = True, wide: bool = False) -> np.ndarray:
    """Other floats become float32 and wide integers int32, as the engine computes so. When `wide`,
    float64 stays.

    Integers that need more than 32 bits raise a DataError, or stay wide when not strict: lookups
    and hashes take them.
    """
    if array.dtype.kind == "f" and array.dtype != np.float32:
        return array if wide and array.dtype == np.float64 else array.astype(np.float32)
    if (array.dtype.kind in "iu" and array.dtype.itemsize > 4) or array.dtype == np.uint32:
        if array.size and (array.max() > 2**31 - 1 or array.min() < -(2**31)):
            if not strict:
                return array
            raise DataError(
                f"Integers must fit into 32 bits. Received: a value up to {array.max()}. "
                "Map ids to a smaller range first."
            )
        return array.astype(np.int32)
    return array


def dtype_of(array: np.ndarray) -> str:
    """The dtype that a column has in a graph."""
    if is_text(array):
        return "string"
    wide = array.dtype.kind in "iu" and array.dtype.itemsize > 4
    return "int32" if wide or array.dtype == np.uint32 else array.dtype.name
