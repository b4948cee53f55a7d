"""`adapt` on an RDD of records or a DataFrame: a state for each partition, merged on the driver.

In: the data, and how to make a state of `feed.states` and prepare a chunk for it. Out: the state,
having seen every row. Only states travel back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zoo_keras import errors
from zoo_keras.errors import ConfigError, DataError, ZooKerasError
from zoo_keras.spark.data import arrow, frames
from zoo_keras.spark.data.first import first_record
from zoo_keras.spark.data.partitions import is_frame
from zoo_keras.spark.data.records import CHUNK, in_partition
from zoo_keras.spark.scoring.worker import in_chunks
from zoo_keras.spark.transport.bridge import arrow_batches


def reduced(data: Any, column: Any, make: Callable[[], Any], prepare: Callable[[Any], Any]) -> Any:
    """A state that has seen all rows of an RDD or DataFrame."""
    source, decode = _frame_source(data, column) if is_frame(data) else (data, _chunks_of_records)

    def run(partition: int, items: Iterator[Any]) -> Iterator[Any]:
        state, rows = make(), 0
        try:
            with in_partition(partition):
                for chunk in decode(items):
                    rows += len(chunk)
                    state.update(prepare(chunk))
        except ZooKerasError as error:  # Spark would only try the task again
            yield type(error).__name__, str(error)
            return
        yield state, rows

    return _merged(make, source.mapPartitionsWithIndex(run).collect())


def _merged(make: Callable[[], Any], found: list[tuple[Any, Any]]) -> Any:
    state, total = make(), 0
    for part, rows in found:
        if isinstance(part, str):
            raise getattr(errors, part, ZooKerasError)(rows)
        state.merge(part)
        total += rows
    if not total:
        raise _no_rows()
    return state


def _no_rows() -> DataError:
    return DataError(
        "adapt: the data hold no records. Received: 0 rows. Check the filters that made it."
    )


def _chunks_of_records(items: Iterator[Any]) -> Iterator[Any]:
    """Records as arrays of numbers, or lists of text."""
    for chunk in in_chunks(items, CHUNK):
        first = chunk[0]
        while isinstance(first, (list, tuple)) and first:
            first = first[0]
        yield chunk if isinstance(first, (str, bytes)) else _numbers(chunk)


def _numbers(chunk: list[Any]) -> np.ndarray:
    try:
        return np.asarray([c.toArray() if hasattr(c, "toArray") else c for c in chunk])
    except ValueError:
        raise DataError(
            "adapt: the records have different shapes. Received: ragged rows. Pad them."
        ) from None


def _frame_source(frame: Any, column: Any) -> tuple[Any, Any]:
    names = _columns(frame, column)
    selected = frames.Chosen(frame).select(names)
    return arrow_batches(selected), _ColumnChunks(names, arrow.schema_text(selected.schema))


def _columns(frame: Any, column: Any) -> list[str]:
    if column is None and len(frame.columns) != 1:
        raise ConfigError(
            "adapt on a DataFrame of several columns needs feature_col. Received: None. The "
            f"columns are {frame.columns}."
        )
    if column is None:
        return list(frame.columns)
    return [column] if isinstance(column, str) else list(column)


class _ColumnChunks:
    """Decodes Arrow batches into one array a batch: several columns become a vector."""

    def __init__(self, names: list[str], schema: str) -> None:
        self.names, self.schema = names, schema

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        schema, first = arrow.arrow_schema(self.schema), 0
        for item in items:
            batch = pa.ipc.read_record_batch(pa.py_buffer(item), schema)
            yield self._chunk(batch, first)
            first += batch.num_rows

    def _chunk(self, batch: Any, first: int) -> Any:
        names = batch.schema.names
        columns = [batch.column(names.index(n)) for n in self.names]
        if len(columns) == 1 and arrow.is_list_of_text(columns[0].type):
            return columns[0].to_pylist()
        named = zip(columns, self.names, strict=True)
        parts = [arrow.numpy_column(c, n, first, text=True) for c, n in named]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)


def first_row(data: Any, column: Any) -> np.ndarray:
    """One row, as an array."""
    if is_frame(data):
        names = _columns(data, column)
        found = frames.Chosen(data).select(names).limit(1).collect()
        rows = [[*r] if len(names) > 1 else r[0] for r in found]
    else:
        rows = first_record(data)
    if not rows:
        raise _no_rows()
    return _numbers(rows)[0]
