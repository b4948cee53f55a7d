"""Arrow record batches of a DataFrame -> numpy columns, with nulls and ragged rows refused.

In: batches as bytes or pyarrow objects. Out: arrays of shape (rows, ...). pyarrow is imported when
something is decoded. Knows no model; pandas is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import DataError, UnsupportedError
from zoo_keras.spark.rows import Leaf


class LeafColumns(NamedTuple):
    """Columns that make one leaf; several scalar columns make a vector."""

    names: tuple[str, ...]


_PRIMITIVES = {
    "FloatType": "float32", "DoubleType": "float64", "ByteType": "int8", "ShortType": "int16",
    "IntegerType": "int32", "LongType": "int64", "BooleanType": "bool",
}  # fmt: skip


def plain_column(frame: Any, name: str, kind: Any) -> Any:
    """The column, turned into an array of floats when it holds Spark ML vectors."""
    column = frame[name]
    if type(kind).__name__ == "VectorUDT":
        from pyspark.ml.functions import vector_to_array

        return vector_to_array(column, dtype="float32").alias(name)
    _type_name(kind, name)
    return column


def _type_name(kind: Any, name: str) -> Any:
    """A Spark type as nested plain data: "float32" or ["list", inner]."""
    label = type(kind).__name__
    if label == "ArrayType":
        return ["list", _type_name(kind.elementType, name)]
    if label not in _PRIMITIVES:
        raise DataError(
            f"Column {name}: expected numbers, booleans, arrays of them, or ML vectors. Received: "
            f"{label}. Cast or encode the column first."
        )
    return _PRIMITIVES[label]


def schema_text(schema: Any) -> str:
    """A Spark schema as text that `Decoder` understands (executors need no Spark classes)."""
    return json.dumps([[f.name, _type_name(f.dataType, f.name)] for f in schema.fields])


def arrow_schema(text: str) -> Any:
    """The pyarrow schema of `schema_text`."""
    import pyarrow as pa

    def kind(name: Any) -> Any:
        if isinstance(name, list):
            return pa.list_(pa.field("element", kind(name[1])))
        return pa.bool_() if name == "bool" else getattr(pa, name)()

    return pa.schema([pa.field(name, kind(k)) for name, k in json.loads(text)])


class Decoder(NamedTuple):
    """Turns a partition's Arrow batches into chunks: one array for each leaf."""

    columns: tuple[LeafColumns, ...]
    leaves: tuple[Leaf, ...]
    schema: str

    def __call__(self, items: Iterator[Any]) -> Iterator[list[np.ndarray]]:
        import pyarrow as pa

        schema = arrow_schema(self.schema)
        first = 0
        for item in items:
            batch = pa.ipc.read_record_batch(pa.py_buffer(item), schema)
            yield leaves_of_batch(batch, self.columns, self.leaves, first)
            first += batch.num_rows


def leaves_of_batch(
    batch: Any, columns: Sequence[LeafColumns], leaves: Sequence[Leaf], first: int = 0
) -> list[np.ndarray]:
    """One array for each leaf of a pyarrow RecordBatch.

    Args:
        first: number of the batch's first row, for messages.
    """
    names = batch.schema.names
    found = []
    for group, leaf in zip(columns, leaves, strict=True):
        parts = [numpy_column(batch.column(names.index(n)), n, first) for n in group.names]
        if len(parts) > 1:
            array = np.concatenate([p.reshape(batch.num_rows, -1) for p in parts], axis=1)
        else:
            array = parts[0]
        found.append(_fit(array, leaf, first))
    return found


def _fit(array: np.ndarray, leaf: Leaf, first: int) -> np.ndarray:
    rows = len(array)
    if rows and array.size != rows * int(np.prod(leaf.shape, dtype=np.int64)):
        raise DataError(
            f"Row {first}: column {leaf.name}: expected {int(np.prod(leaf.shape))} numbers a row "
            f"(shape {leaf.shape}). Received: {array.size // rows}. Pad or cut the rows."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array.reshape(rows, -1)).all(axis=1))[0, 0])
        raise DataError(
            f"Row {first + row}: column {leaf.name}: expected finite numbers. Received: NaN or "
            "infinity. Fill or drop such rows."
        )
    return np.ascontiguousarray(array.reshape(rows, *leaf.shape), dtype=leaf.dtype)


def numpy_column(column: Any, name: str, first: int) -> np.ndarray:
    """A pyarrow array of numbers, or of equally long lists of them, as a dense array."""
    import pyarrow as pa

    shape: list[int] = [len(column)]
    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        _no_nulls(column, name, first)
        lengths = np.diff(np.asarray(column.offsets))
        if lengths.size and (lengths != lengths[0]).any():
            row = int(np.argmax(lengths != lengths[0]))
            raise DataError(
                f"Row {first + row}: column {name}: expected lists of {lengths[0]} numbers as in "
                f"the rows before. Received: {lengths[row]}. Pad or cut them to one length."
            )
        shape.append(int(lengths[0]) if lengths.size else 0)
        column = column.flatten()
    _no_nulls(column, name, first)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
            or pa.types.is_boolean(column.type)):  # fmt: skip
        raise UnsupportedError(f"Column {name}: Arrow type {column.type} is not supported.")
    return np.asarray(column.to_numpy(zero_copy_only=False)).reshape(shape)


def _no_nulls(column: Any, name: str, first: int) -> None:
    if column.null_count:
        row = int(np.argmax(np.asarray(column.is_null())))
        raise DataError(
            f"Row {first + row}: column {name}: expected numbers. Received: null. Fill or drop "
            "such rows."
        )
