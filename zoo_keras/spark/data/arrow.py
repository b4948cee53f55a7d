"""Arrow record batches of a DataFrame -> numpy columns, with nulls and ragged rows refused.

In: batches as bytes or pyarrow objects, and groups of columns: each group is one leaf, and several
scalar columns make a vector. The JVM sends many of them as one array column. Out: arrays of shape
(rows, ...). pyarrow is imported when something is decoded. Knows no model; pandas is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.dtypes import storage
from zoo_keras.errors import DataError
from zoo_keras.feed import kinds
from zoo_keras.feed.kinds import numpy_column
from zoo_keras.spark.data.records import Layout, Leaf, fits, together


def quoted(name: str) -> str:
    """A column's name for SQL, in which dots, spaces and backticks stand for themselves."""
    return "`" + name.replace("`", "``") + "`"


def plain_column(frame: Any, column: Any, kind: Any, name: str) -> Any:
    """The Column under that name, turned into an array of floats when it holds Spark ML vectors."""
    if is_vector(kind):
        from pyspark.sql.functions import when

        array = _vector_to_array(frame, column)
        return when(column.isNotNull(), array).alias(name)  # a null would fail without a row
    kinds.kind_of(kind, name)
    return column.alias(name)


def _vector_to_array(frame: Any, column: Any) -> Any:
    """pyspark.ml.functions.vector_to_array, whose module wants pandas in pyspark 3.5."""
    if not hasattr(column, "_jc"):  # Spark Connect
        from pyspark.ml.functions import vector_to_array

        return vector_to_array(column, dtype="float32")
    functions = getattr(frame.sparkSession._jvm, "org.apache.spark.ml.functions")
    return type(column)(functions.vector_to_array(column._jc, "float32"))


def is_vector(kind: Any) -> bool:
    """Whether a Spark type is that of ML vectors."""
    return type(kind).__name__ == "VectorUDT"


MANY = 64  # columns of a leaf from which on the JVM makes an array of them; 39 cost the same
_PLAIN = {"boolean", "byte", "short", "integer", "long", "float", "double"}


def packed_name(number: int) -> str:
    """The name on the way of the array of a leaf's columns, by the number of the leaf."""
    return f"__zoo_keras_leaf{number}"


def packed_text(types: Sequence[tuple[str, Any]], dtype: str) -> str | None:
    """SQL for one array of columns, given by name and Spark type, whose leaf is of that dtype:
    Spark is slow with many columns, and fast with long ones. None where they are few or of other
    kinds.
    """
    found = {kind.typeName() for _, kind in types}
    if len(types) < MANY or not found <= _PLAIN:
        return None
    wanted = "float" if dtype == "float32" else found.pop() if len(found) == 1 else "long"
    sql = {"integer": "INT", "long": "BIGINT"}.get(wanted, wanted.upper())
    items = [quoted(n) if kind.typeName() == wanted else f"CAST({quoted(n)} AS {sql})"
             for n, kind in types]  # fmt: skip
    return f"array({', '.join(items)})"


def number_type(kind: Any, name: str) -> str:
    """The dtype of the numbers or text that a column of this Spark type holds."""
    return kinds.number_type(kinds.kind_of(kind, name))


def schema_text(schema: Any) -> str:
    """A Spark schema as text that `Decoder` understands (executors need no Spark classes)."""
    return json.dumps([[f.name, kinds.kind_of(f.dataType, f.name)] for f in schema.fields])


def arrow_schema(text: str) -> Any:
    """The pyarrow schema of `schema_text`."""
    import pyarrow as pa

    return pa.schema([pa.field(name, kinds.arrow_type(kind)) for name, kind in json.loads(text)])


class Decoder(NamedTuple):
    """Turns a partition's Arrow batches into chunks: one array for each leaf of the layout."""

    groups: tuple[tuple[str, ...], ...]
    layout: Layout
    schema: str

    def __call__(self, items: Iterator[Any]) -> Iterator[list[np.ndarray]]:
        import pyarrow as pa

        schema = arrow_schema(self.schema)
        first = 0
        for item in items:
            batch = pa.ipc.read_record_batch(pa.py_buffer(item), schema)
            yield self.layout.fed(
                leaves_of_batch(batch, self.groups, self.layout.records.leaves, first)
            )
            first += batch.num_rows


def leaves_of_batch(
    batch: Any, groups: Sequence[Sequence[str]], leaves: Sequence[Leaf], first: int = 0
) -> list[np.ndarray]:
    """One array for each leaf of a pyarrow RecordBatch.

    Args:
        first: number of the batch's first row, for messages.
    """
    places = {name: i for i, name in enumerate(batch.schema.names)}
    found = []
    for number, (group, leaf) in enumerate(zip(groups, leaves, strict=True)):
        if packed_name(number) in places:
            column = batch.column(places[packed_name(number)])
            found.append(_fit(_unpacked(column, group, leaf, first), leaf, first))
            continue
        if leaf.open and len(group) == 1:
            found.append(_open_column(batch.column(places[group[0]]), group[0], leaf, first))
            continue
        array = _scalars(batch, group, leaf)
        if array is None:
            array = _joined(batch, places, group, leaf, first)
        found.append(_fit(array, leaf, first))
    return found


def _unpacked(column: Any, group: Sequence[str], leaf: Leaf, first: int) -> np.ndarray:
    """(rows, columns) of an array of the leaf's columns; nulls are found in the user's column."""
    flat, count = column.flatten(), len(group)
    if not flat.null_count:
        array: np.ndarray = flat.to_numpy(zero_copy_only=False).reshape(len(column), count)
        if not leaf.fill or array.dtype.kind != "f" or not np.isnan(array).any():
            return array
    fills = leaf.fill or (None,) * count
    parts = [
        numpy_column(flat.take(np.arange(i, len(flat), count)), name, first, False, fill)
        for i, (name, fill) in enumerate(zip(group, fills, strict=True))
    ]
    return side_by_side(parts, leaf.dtype)


def _joined(
    batch: Any, places: dict[str, int], group: Sequence[str], leaf: Leaf, first: int
) -> np.ndarray:
    """The columns of a leaf, of any kinds, read one by one."""
    text = leaf.dtype == "string"
    fills = leaf.fill or (None,) * len(group)
    parts = [
        numpy_column(batch.column(places[n]), n, first, text, fill, files=text)
        for n, fill in zip(group, fills, strict=True)
    ]
    return parts[0] if len(parts) == 1 else side_by_side(parts, leaf.dtype)


_EXACT = float(1 << 53)  # integers below it are float64's, so that float32 is rounded to once
_FEW_ROWS = 4096  # of columns of several types: with more, the common type costs more than it saves


def _scalars(batch: Any, group: Sequence[str], leaf: Leaf) -> np.ndarray | None:
    """Many columns of plain numbers as (rows, columns), by Arrow in one call: no step of Python's
    for a column. None where columns are of other kinds, have nulls or ask for more care."""
    if len(group) == 1 or leaf.fill or leaf.dtype == "string" or not batch.num_rows:
        return None
    chosen = batch if list(group) == batch.schema.names else batch.select(list(group))
    types = set(chosen.schema.types)
    if len(types) > 1 and (batch.num_rows > _FEW_ROWS or "uint64" in map(str, types)):
        return None  # of uint64 beside int64 Arrow would make int64, which it may not fit
    try:
        array = np.asarray(chosen.to_tensor(row_major=False))
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # Arrow's errors are these
        return None
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(array.astype(storage(leaf.dtype), copy=False))
    is_exact = len(types) == 1 or (made.min() > -_EXACT and made.max() < _EXACT)
    return made if is_exact else None


def _open_column(column: Any, name: str, leaf: Leaf, first: int) -> Any:
    """A column whose rows may differ in shape: an array where they do not."""
    fill = leaf.fill[0] if leaf.fill else None
    rows = [_open_row(row, leaf, first + i)
            for i, row in enumerate(kinds.rows_of(column, name, first, fill))]  # fmt: skip
    return together(rows, leaf) if rows else np.empty((0, *leaf.shape), leaf.dtype)


def _open_row(row: np.ndarray, leaf: Leaf, number: int) -> np.ndarray:
    if not leaf.allows(row.shape):
        raise DataError(
            f"Row {number}: column {leaf.name}: expected shape {leaf.open}, as the Input says. "
            f"Received: shape {row.shape}. Only axes of None may differ."
        )
    return _fit(row[None], leaf._replace(shape=row.shape), number)[0]


def _fit(array: np.ndarray, leaf: Leaf, first: int) -> np.ndarray:
    if array.dtype == object:
        return array.reshape(len(array), *leaf.shape)
    rows = len(array)
    size = int(np.prod(leaf.shape, dtype=np.int64))
    if rows and array.size != rows * size:
        raise DataError(
            f"Row {first}: column {leaf.name}: expected {size} numbers a row (shape {leaf.shape}). "
            f"Received: {array.size // rows}. Pad or cut the rows."
        )
    flat = array.reshape(rows, size)
    if array.dtype.kind == "f":
        finite = np.isfinite(flat)
        if not finite.all():
            _refuse_at(~finite, "finite numbers", "NaN or infinity", leaf, first)
    elif np.dtype(leaf.dtype).kind in "iu" and not fits(array, leaf.dtype):
        wide = np.abs(flat.astype(np.float64)) > np.iinfo(leaf.dtype).max
        _refuse_at(wide, f"integers that fit into {leaf.dtype}", "a larger one", leaf, first)
    return np.ascontiguousarray(array.reshape(rows, *leaf.shape), dtype=leaf.dtype)


def _refuse_at(bad: np.ndarray, expected: str, received: str, leaf: Leaf, first: int) -> None:
    """DataError for the first row that has a bad value, if there is one."""
    if bad.any():
        row = int(np.argmax(bad.any(axis=1)))
        raise DataError(
            f"Row {first + row}: column {leaf.name}: expected {expected}. Received: {received}. "
            "Fill or drop such rows."
        )


def side_by_side(parts: Sequence[np.ndarray], dtype: str) -> np.ndarray:
    """Columns of numbers as one (rows, ...) array; floats take the dtype while they are copied."""
    flat = [p.reshape(len(p), -1) for p in parts]
    if np.dtype(dtype).kind in "iub":  # too large integers are found before they are narrowed
        return np.concatenate(flat, axis=1)
    made = np.empty((len(flat[0]), sum(p.shape[1] for p in flat)), storage(dtype))
    with np.errstate(over="ignore"):  # becomes infinity, which is refused
        return np.concatenate(flat, axis=1, out=made, casting="unsafe")


def is_list_of_text(kind: Any) -> bool:
    """Whether an Arrow type is a list of strings, whose rows may have different lengths."""
    import pyarrow as pa

    return pa.types.is_list(kind) and kinds.is_text(kind.value_type)
