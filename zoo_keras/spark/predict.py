"""predict on an RDD (an RDD of outputs, same order) or DataFrame (one more column, all others kept).

Lazy, as Spark users expect: nothing runs until the result is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, DataError
from zoo_keras.graph import Spec
from zoo_keras.nest import flatten
from zoo_keras.spark import arrow, cluster, frames
from zoo_keras.spark.inference import Parcel, in_chunks, make_parcel, worker_for
from zoo_keras.spark.rows import Columns, Layout, Leaf, layout_of
from zoo_keras.training import steps
from zoo_keras.training.data import Batch, check_batch_size

HIDDEN = "__zoo_keras_"  # prefix of columns that exist only on the way


def predict_on_spark(
    model: Any,
    x: Any,
    batch_size: int | None = None,
    feature_cols: Any = None,
    output_col: str | list[str] = "prediction",
) -> Any:
    """Model.predict for an RDD of inputs, or a DataFrame.

    Args:
        batch_size: rows that one call of the engine takes.
        feature_cols: columns of a DataFrame that are the model's inputs.
        output_col: name of the new column, or one for each output. An output of one number a row
            becomes a float column, others arrays of floats.
    """
    size = check_batch_size(batch_size or 128)
    if frames.is_frame(x):
        return _predict_frame(model, x, size, feature_cols, output_col)
    if feature_cols is not None:
        raise ConfigError("predict: feature_cols belongs to a DataFrame. Received: an RDD.")
    return _predict_rdd(model, x, size)


def parcel_for(model: Any, layout: Layout, size: int, threads: int) -> tuple[Parcel, Any]:
    """(Parcel for prediction, nesting of the outputs)."""
    sample = Batch([np.zeros((2, *leaf.shape), leaf.dtype) for leaf in layout.leaves], [], [],
                   layout.structure)  # fmt: skip
    runtime = model._local()
    state = runtime.prepare(sample, training=model._has_trained())
    shapes = steps.shapes_of(sample)
    found: dict[str, Any] = {}

    def compile_for(rows: int) -> Any:
        program, outputs = steps.predict_program(model, state, shapes.with_rows(rows),
                                                 layout.structure)  # fmt: skip
        found["outputs"] = outputs
        return program

    spaces = {n: a for n, a in state.arrays().items() if n in ("weights", "state") or n[:3] == "var"}
    parcel = make_parcel(spaces, layout, compile_for, size, threads)
    specs = tuple(Spec(t.shape[1:], t.dtype) for t in flatten(found["outputs"]))
    return parcel._replace(outputs=specs), found["outputs"]


# ---- RDD ---------------------------------------------------------------------------------------


def _predict_rdd(model: Any, rdd: Any, size: int) -> Any:
    sample = rdd.take(1)
    if not sample:
        raise DataError("predict: the RDD holds no records. Received: 0 rows.")
    layout = layout_of(sample[0], supervised=False)
    parcel, structure = parcel_for(model, layout, size, cluster.task_cpus(rdd.ctx))
    single = not isinstance(structure, (list, tuple, dict))
    keys = sorted(structure) if isinstance(structure, dict) else None
    sent = rdd.ctx.broadcast(parcel)

    def run(partition: int, items: Iterator[Any]) -> Iterator[Any]:
        return predict_records(sent.value, partition, items, size, single, keys)

    return rdd.mapPartitionsWithIndex(run, preservesPartitioning=True)


def predict_records(
    parcel: Parcel, partition: int, items: Iterator[Any], size: int, single: bool, keys: Any
) -> Iterator[Any]:
    """Outputs of records, in order."""
    worker = worker_for(parcel)
    columns = Columns(parcel.layout, partition)
    for chunk in in_chunks(items, size):
        rows = columns.chunk(chunk, supervised=False)
        results = worker.predict(rows)
        for i in range(len(chunk)):
            values = [r[i] for r in results]
            yield values[0] if single else dict(zip(keys, values)) if keys else values


# ---- DataFrame ---------------------------------------------------------------------------------


def _predict_frame(
    model: Any, frame: Any, size: int, feature_cols: Any, output_col: str | list[str]
) -> Any:
    if feature_cols is None:
        raise ConfigError(
            "predict on a DataFrame needs feature_cols. Received: None. "
            f"The columns are {frame.columns}."
        )
    groups = frames.column_groups(feature_cols)
    names = [output_col] if isinstance(output_col, str) else list(output_col)
    taken = [n for n in names if n in frame.columns]
    if taken:
        raise ConfigError(
            f"predict: the DataFrame has a column {taken} already. Received: output_col="
            f"{output_col!r}. Choose another output_col."
        )
    layout, columns = _frame_layout(model, frame, groups)
    connect = cluster.is_connect(frame)
    cpus = 1 if connect else cluster.task_cpus(frame.sparkSession.sparkContext)
    parcel, structure = parcel_for(model, layout, size, cpus)
    if len(names) != len(flatten(structure)):
        raise ConfigError(
            f"predict: the model has {len(flatten(structure))} outputs. Received: output_col="
            f"{output_col!r}. Give one name for each."
        )
    return _map_batches(frame, columns, parcel, names)


def _frame_layout(
    model: Any, frame: Any, groups: list[list[str]]
) -> tuple[Layout, tuple[arrow.LeafColumns, ...]]:
    selected = frames.select(frame, [c for group in groups for c in group])
    columns = tuple(arrow.LeafColumns(tuple(group)) for group in groups)
    counts = (len(groups), 0, 0)
    shapes = frames.input_shapes(model)
    if shapes and all(d is not None for s in shapes for d in s) and len(shapes) == len(groups):
        dtypes = [t.dtype for t in model._function.inputs]
        leaves = [Leaf(", ".join(g), tuple(s), d)  # type: ignore[arg-type]
                  for g, s, d in zip(groups, shapes, dtypes, strict=True)]  # fmt: skip
        structure = (0 if len(groups) == 1 else list(range(len(groups))), None, None)
        return Layout(tuple(leaves), counts, structure), columns
    return frames.Records(selected, columns, counts).layout(model), columns


def _map_batches(frame: Any, columns: Any, parcel: Parcel, names: list[str]) -> Any:
    """The frame with the outputs appended, by way of Arrow batches."""
    from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

    types = {f.name: f.dataType for f in frame.schema.fields}
    wanted = list(dict.fromkeys(n for leaf in columns for n in leaf.names))
    extra = [arrow.plain_column(frame, n, types[n]).alias(HIDDEN + n) for n in wanted]
    hidden = tuple(arrow.LeafColumns(tuple(HIDDEN + n for n in leaf.names)) for leaf in columns)
    fields = []
    for name, spec in zip(names, parcel.outputs, strict=True):
        kind: Any = FloatType()
        for _ in _listed(spec.shape):
            kind = ArrayType(kind)
        fields.append(StructField(name, kind))
    schema = StructType([*frame.schema.fields, *fields])
    kept = list(frame.columns)
    send = _sender(frame, parcel)

    def run(batches: Iterator[Any]) -> Iterator[Any]:
        return predict_batches(send(), hidden, kept, names, batches)

    return map_in_arrow(frame.select("*", *extra), run, schema)


def _sender(frame: Any, parcel: Parcel) -> Any:
    """What gives the parcel on an executor: a broadcast, or on Spark Connect the parcel itself."""
    if cluster.is_connect(frame):
        return lambda: parcel
    sent = frame.sparkSession.sparkContext.broadcast(parcel)
    return lambda: sent.value


def _listed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that become nested lists; a single number is a plain float."""
    return () if int(np.prod(shape, dtype=np.int64)) == 1 and len(shape) <= 1 else shape


def predict_batches(
    parcel: Parcel, columns: Any, kept: list[str], names: list[str], batches: Iterator[Any]
) -> Iterator[Any]:
    """Arrow batches with the outputs appended and the hidden columns dropped."""
    import pyarrow as pa

    worker, first = worker_for(parcel), 0
    for batch in batches:
        inputs = arrow.leaves_of_batch(batch, columns, parcel.layout.leaves, first)
        outputs = [_arrow_array(r) for r in worker.predict(inputs)]
        first += batch.num_rows
        arrays = [*batch.columns[: len(kept)], *outputs]
        yield pa.RecordBatch.from_arrays(arrays, [*kept, *names])


def _arrow_array(values: np.ndarray) -> Any:
    """(rows, ...) floats as an Arrow array of floats or nested lists."""
    import pyarrow as pa

    shape = _listed(values.shape[1:])
    array = pa.array(values.reshape(-1).astype(np.float32, copy=False))
    sizes = [len(values), *shape]
    for axis in range(len(shape), 0, -1):
        count = int(np.prod(sizes[:axis], dtype=np.int64))
        offsets = np.arange(count + 1, dtype=np.int32) * np.int32(sizes[axis])
        array = pa.ListArray.from_arrays(pa.array(offsets), array)
    return array


def map_in_arrow(frame: Any, function: Any, schema: Any) -> Any:
    """DataFrame.mapInArrow, which in pyspark insists on pandas although nothing here uses it."""
    if cluster.is_connect(frame):
        return frame.mapInArrow(function, schema)
    from pyspark.sql.dataframe import DataFrame
    from pyspark.sql.udf import _create_udf
    from pyspark.util import PythonEvalType

    made = _create_udf(function, schema, PythonEvalType.SQL_MAP_ARROW_ITER_UDF)
    column = made(*[frame[c] for c in frame.columns])
    if frame.sparkSession.version.startswith("3."):
        result = frame._jdf.pythonMapInArrow(column._jc.expr(), False)
    else:
        result = frame._jdf.mapInArrow(column._jc, False, None)
    return DataFrame(result, frame.sparkSession)
