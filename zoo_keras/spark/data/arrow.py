"""Arrow record batches of a DataFrame -> numpy columns, with nulls and ragged rows refused.

In: batches as bytes or pyarrow objects, and groups of columns: each group is one leaf, and several
scalar columns make a vector. Out: arrays of shape (rows, ...). pyarrow is imported when something
is decoded. Knows no model; pandas is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import DataError, UnsupportedError
from zoo_keras.spark.data.records import Layout, Leaf, fits

_PRIMITIVES = {
    "FloatType": "float32", "DoubleType": "float64", "ByteType": "int8", "ShortType": "int16",
    "IntegerType": "int32", "LongType": "int64", "BooleanType": "bool",
    "StringType": "string", "BinaryType": "binary",
}  # fmt: skip


def quoted(name: str) -> str:
    """A column's name for SQL, in which dots, spaces and backticks stand for themselves."""
    return "`" + name.replace("`", "``") + "`"


def plain_column(frame: Any, column: Any, kind: Any, name: str) -> Any:
    """The Column under that name, turned into an array of floats when it holds Spark ML vectors."""
    if _is_vector(kind):
        from pyspark.sql.functions import when

        array = _vector_to_array(frame, column)
        return when(column.isNotNull(), array).alias(name)  # a null would fail without a row
    _type_name(kind, name)
    return column.alias(name)


def _vector_to_array(frame: Any, column: Any) -> Any:
    """pyspark.ml.functions.vector_to_array, whose module wants pandas in pyspark 3.5."""
    if not hasattr(column, "_jc"):  # Spark Connect
        from pyspark.ml.functions import vector_to_array

        return vector_to_array(column, dtype="float32")
    functions = getattr(frame.sparkSession._jvm, "org.apache.spark.ml.functions")
    return type(column)(functions.vector_to_array(column._jc, "float32"))


def _is_vector(kind: Any) -> bool:
    return type(kind).__name__ == "VectorUDT"


def number_type(kind: Any, name: str) -> str:
    """The dtype of the numbers or text that a column of this Spark type holds."""
    found = ["list", "float32"] if _is_vector(kind) else _type_name(kind, name)
    while isinstance(found, list):
        found = found[1]
    return "string" if found == "binary" else str(found)


def _type_name(kind: Any, name: str) -> Any:
    """A Spark type as nested plain data: "float32" or ["list", inner]."""
    label = type(kind).__name__
    if label == "ArrayType":
        return ["list", _type_name(kind.elementType, name)]
    if label not in _PRIMITIVES:
        raise DataError(
            f"Column {name}: expected numbers, text, arrays of them, or ML vectors. Received: "
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
    names = batch.schema.names
    found = []
    for group, leaf in zip(groups, leaves, strict=True):
        text = leaf.dtype == "string"
        parts = [numpy_column(batch.column(names.index(n)), n, first, text) for n in group]
        found.append(_fit(parts[0] if len(parts) == 1 else _beside(parts, leaf), leaf, first))
    return found


def _beside(parts: list[np.ndarray], leaf: Leaf) -> np.ndarray:
    """Columns of numbers side by side: floats of the leaf's dtype at once, others in their own."""
    flat = [p.reshape(len(p), -1) for p in parts]
    if leaf.dtype != "float32":
        return np.concatenate(flat, axis=1)
    made = np.empty((len(flat[0]), sum(p.shape[1] for p in flat)), np.float32)
    with np.errstate(over="ignore"):  # becomes infinity, which is refused
        return np.concatenate(flat, axis=1, out=made, casting="unsafe")


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


def numpy_column(column: Any, name: str, first: int, text: bool = False) -> np.ndarray:
    """A pyarrow array of numbers, or of equally long lists of them, as a dense array.

    Args:
        text: strings and binaries are taken too, as objects.
    """
    import pyarrow as pa

    shape: list[int] = [len(column)]
    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        _no_nulls(column, name, first, shape)
        shape.append(_common_length(np.diff(np.asarray(column.offsets)), name, first, shape))
        column = column.flatten()
    _no_nulls(column, name, first, shape)
    if text and _is_text(column.type):
        objects = np.empty(len(column), object)
        objects[:] = column.to_pylist()
        return objects.reshape(shape)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
            or pa.types.is_boolean(column.type)):  # fmt: skip
        raise UnsupportedError(
            f"Column {name}: expected numbers. Received: Arrow type {column.type}. Cast the column."
        )
    return np.asarray(column.to_numpy(zero_copy_only=False)).reshape(shape)


def is_list_of_text(kind: Any) -> bool:
    """Whether an Arrow type is a list of strings, whose rows may have different lengths."""
    import pyarrow as pa

    return pa.types.is_list(kind) and _is_text(kind.value_type)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    t = pa.types
    return bool(t.is_string(kind) or t.is_binary(kind) or t.is_large_string(kind)
                or t.is_large_binary(kind))  # fmt: skip


def _common_length(lengths: np.ndarray, name: str, first: int, shape: list[int]) -> int:
    if not lengths.size:
        return 0
    usual = int(np.bincount(lengths).argmax())
    if (lengths != usual).any():
        at = int(np.argmax(lengths != usual))
        raise DataError(
            f"Row {first + _row(at, shape)}: column {name}: expected lists of {usual} as in most "
            f"rows. Received: a list of {lengths[at]}. Pad or cut them to one length."
        )
    return usual


def _row(index: int, shape: list[int]) -> int:
    """The row to which an element of the flattened column belongs."""
    return index // int(np.prod(shape[1:], dtype=np.int64))


def _no_nulls(column: Any, name: str, first: int, shape: list[int]) -> None:
    if column.null_count:
        row = _row(int(np.argmax(np.asarray(column.is_null()))), shape)
        raise DataError(
            f"Row {first + row}: column {name}: expected numbers. Received: null. Fill or drop "
            "such rows."
        )
