"""A DataFrame with a model's outputs as columns; only what the model reads goes to Python.

In: a frame, the columns that the inputs are made of, and a parcel. Out: the frame, lazily, with a
column for each output. From Spark 4.1 on this is a scalar Arrow function: other columns never leave
the JVM, and Spark moves filters and pruning below it. Before, Arrow batches go there and back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ConfigError, DataError
from zoo_keras.graph import Spec
from zoo_keras.spark import cluster
from zoo_keras.spark.data import arrow
from zoo_keras.spark.data.records import in_partition
from zoo_keras.spark.scoring.sent import Sent
from zoo_keras.spark.scoring.worker import Parcel, worker_for
from zoo_keras.spark.transport import failures

HIDDEN = "__zoo_keras_"  # prefix of names on the way


class Reader(NamedTuple):
    """Which columns make the inputs.

    Attributes:
        groups: names of the columns of each input.
        names: of what is sent, in order: these columns, once each, or arrays of many of them.
        stage: of a pipeline, for messages.
        tells: whether what is wrong with a row is a last output of it, the others being null, and
            no error.
    """

    groups: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    stage: str = ""
    tells: bool = False

    def outputs(self, parcel: Parcel, columns: Sequence[Any], first: int) -> list[Any]:
        """Arrow arrays of the outputs for Arrow arrays of the columns.

        Args:
            first: number of the first row, for messages.
        """
        if not self.tells:
            return self._outputs(parcel, columns, first)
        import pyarrow as pa

        parts = list(self._told(parcel, columns, first))
        return [pa.concat_arrays(each) for each in zip(*parts, strict=True)]

    def _told(self, parcel: Parcel, columns: Sequence[Any], first: int) -> Iterator[list[Any]]:
        """The outputs of runs of rows: halves of halves, until a wrong row is alone."""
        import pyarrow as pa

        rows = len(columns[0])
        try:
            yield [*self._outputs(parcel, columns, first), pa.nulls(rows, pa.string())]
        except DataError as error:
            if rows == 1:
                kinds = [_arrow_array(np.empty((0, *s.shape), s.dtype), s.shape).type
                         for s in parcel.outputs]  # fmt: skip
                yield [*(pa.nulls(1, kind) for kind in kinds), pa.array([str(error)])]
                return
            for lo, hi in ((0, rows // 2), (rows // 2, rows)):
                yield from self._told(parcel, [c[lo:hi] for c in columns], first + lo)

    def _outputs(self, parcel: Parcel, columns: Sequence[Any], first: int) -> list[Any]:
        import pyarrow as pa

        batch = pa.RecordBatch.from_arrays(list(columns), list(self.names))
        with in_partition(_partition(), self.stage):
            raw = arrow.leaves_of_batch(batch, self.groups, parcel.layout.records.leaves, first)
            inputs = parcel.layout.fed(raw)
        results = worker_for(parcel).predict(inputs)
        return [_arrow_array(r, s.shape) for r, s in zip(results, parcel.outputs, strict=True)]


def with_outputs(
    frame: Any, chosen: Any, groups: Sequence[tuple[str, ...]], sent: Sent, names: list[str],
    stage: str = "", error_col: str | None = None,
) -> Any:  # fmt: skip
    """The frame with one more column for each output.

    Args:
        chosen: the frame's `Chosen` columns, which `groups` name.
        error_col: a last column, for what is wrong with a row; None: a wrong row is an error.
    """
    tells = error_col is not None
    names = [*names, *filter(None, [error_col])]
    if has_scalar_arrow(frame.sparkSession):
        columns, on_the_way = chosen.sent(groups, sent.parcel.layout.records.leaves)
        reader = Reader(tuple(groups), tuple(on_the_way), stage, tells)
        return _by_function(frame, columns, reader, sent, names)
    sent_names = tuple(dict.fromkeys(n for group in groups for n in group))
    reader = Reader(tuple(groups), sent_names, stage, tells)
    return _by_batches(frame, chosen, reader, sent, names)


# ---- a scalar Arrow function -------------------------------------------------------------------


def has_scalar_arrow(session: Any) -> bool:
    """Whether a session's Spark has functions of Arrow arrays that need no pandas."""
    from pyspark.sql.pandas.functions import PythonEvalType  # its module differs in 3.5 and 4

    version = tuple(int(v) for v in session.version.split(".")[:2])
    return version >= (4, 1) and hasattr(PythonEvalType, "SQL_SCALAR_ARROW_ITER_UDF")


def _by_function(
    frame: Any, columns: list[Any], reader: Reader, sent: Sent, names: list[str]
) -> Any:
    value, single = sent.value, len(names) == 1

    def run(batches: Iterator[Any]) -> Iterator[Any]:
        return failures.alone(_scored(value(), reader, batches, single))

    fields = () if single else _numbered(len(names))
    kind = result_type(sent.parcel.outputs, fields, reader.tells)
    function = make_function(frame.sparkSession, run, kind, "SQL_SCALAR_ARROW_ITER_UDF", "predict")
    made = function(*columns)
    if single:
        return frame.select("*", made.alias(names[0]))
    whole = frame.select("*", made.alias(HIDDEN))  # evaluated once for all of its fields
    parts = [whole[HIDDEN][f].alias(n) for f, n in zip(fields, names, strict=True)]
    return whole.select("*", *parts).drop(HIDDEN)


def _scored(parcel: Parcel, reader: Reader, batches: Iterator[Any], single: bool) -> Iterator[Any]:
    """Outputs of each batch: an Arrow array, or a struct of several.

    Args:
        batches: an Arrow array each when the model reads one column, else a tuple of arrays.
    """
    first = 0
    for batch in batches:
        columns = batch if isinstance(batch, tuple) else (batch,)
        outputs = reader.outputs(parcel, columns, first)
        first += len(columns[0])
        yield outputs[0] if single else struct_of(outputs, _numbered(len(outputs)))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"_{i}" for i in range(count))


def struct_of(outputs: Sequence[Any], fields: Sequence[str]) -> Any:
    """Arrow arrays of several outputs as one of structs."""
    import pyarrow as pa

    return pa.StructArray.from_arrays(list(outputs), list(fields))


def result_type(specs: Sequence[Spec], fields: Sequence[str] = (), tells: bool = False) -> Any:
    """The Spark type of an output, or of a struct of several with these fields; `tells`: the last
    field is text."""
    from pyspark.sql.types import StringType, StructField, StructType

    kinds = [*(_spark_type(spec) for spec in specs), *[StringType()] * tells]
    if not fields:
        return kinds[0]
    return StructType([StructField(f, kind) for f, kind in zip(fields, kinds, strict=True)])


def make_function(session: Any, body: Any, kind: Any, eval_type: str, name: str) -> Any:
    """A Python function of Spark; the public way of pyspark wants pandas, or type hints of
    pyarrow at import, though nothing here uses the one or has the other."""
    from pyspark.sql.pandas.functions import PythonEvalType

    if cluster.is_connect(session):
        from pyspark.sql.connect.udf import _create_udf as make
    else:
        from pyspark.sql.udf import _create_udf as make
    return make(body, kind, getattr(PythonEvalType, eval_type), name)


# ---- before Spark 4.1 --------------------------------------------------------------------------


def _by_batches(frame: Any, chosen: Any, reader: Reader, sent: Sent, names: list[str]) -> Any:
    """The same by way of Arrow batches. On the way columns have numbers for names, so that any
    names may be taken, even one twice."""
    from pyspark.sql.types import StructType

    kept, value = list(frame.columns), sent.value
    places, extra = _places(frame, chosen, reader)
    numbers = [str(i) for i in range(len(kept) + len(extra))]
    outputs = [f"{HIDDEN}{i}" for i in range(len(names))]
    known = [
        field.__class__(number, field.dataType, field.nullable, field.metadata)
        for number, field in zip(numbers, frame.schema.fields, strict=False)
    ]
    fields = result_type(sent.parcel.outputs, outputs, reader.tells).fields
    keeps = [*numbers[: len(kept)], *outputs]

    def run(batches: Iterator[Any]) -> Iterator[Any]:
        return failures.alone(predict_batches(value(), reader, places, keeps, batches))

    whole = frame.select("*", *extra).toDF(*numbers)
    return map_in_arrow(whole, run, StructType([*known, *fields])).toDF(*kept, *names)


def _places(frame: Any, chosen: Any, reader: Reader) -> tuple[list[int], list[Any]]:
    """Where each column of the reader lies in the batch, and the Columns that go there behind the
    frame's own: those that are not a column of the frame as it is."""
    kept = list(frame.columns)
    places: list[int] = []
    extra: list[Any] = []
    types = {field.name: type(field.dataType).__name__ for field in frame.schema.fields}
    for name, column in zip(reader.names, chosen.plain(reader.names), strict=True):
        if kept.count(name) == 1 and types[name] != "VectorUDT":
            places.append(kept.index(name))
        else:
            places.append(len(kept) + len(extra))
            extra.append(column)
    return places, extra


def predict_batches(
    parcel: Parcel, reader: Reader, places: list[int], names: list[str], batches: Iterator[Any]
) -> Iterator[Any]:
    """Arrow batches with the outputs behind the columns that are kept.

    Args:
        places: where the reader's columns lie.
        names: of all columns of the result; columns that have none were sent for the model alone.
    """
    import pyarrow as pa

    first, kept = 0, len(names) - len(parcel.outputs) - reader.tells
    for batch in batches:
        outputs = reader.outputs(parcel, [batch.column(i) for i in places], first)
        first += batch.num_rows
        yield pa.RecordBatch.from_arrays([*batch.columns[:kept], *outputs], names)


def map_in_arrow(frame: Any, function: Any, schema: Any) -> Any:
    """DataFrame.mapInArrow, which in pyspark insists on pandas although nothing here uses it."""
    if cluster.is_connect(frame):
        return frame.mapInArrow(function, schema)
    from pyspark.sql.dataframe import DataFrame

    made = make_function(frame.sparkSession, function, schema, "SQL_MAP_ARROW_ITER_UDF", "predict")
    column = made(*[frame[c] for c in frame.columns])
    if frame.sparkSession.version.startswith("3."):
        result = frame._jdf.pythonMapInArrow(column._jc.expr(), False)
    else:
        result = frame._jdf.mapInArrow(column._jc, False, None)
    return DataFrame(result, frame.sparkSession)


# ---- types and arrays --------------------------------------------------------------------------


def _spark_type(spec: Spec) -> Any:
    """The column type of an output: a number, or lists of them."""
    from pyspark.sql import types

    kinds = {"float32": types.FloatType, "float64": types.DoubleType, "int32": types.IntegerType,
             "int64": types.LongType, "bool": types.BooleanType}  # fmt: skip
    if spec.dtype not in kinds:
        raise ConfigError(
            f"predict on a DataFrame: outputs must be one of {', '.join(kinds)}. Received: "
            f"{spec.dtype}. Cast the model's output."
        )
    axes = _listed(spec.shape)
    if not axes and spec.dtype == "float32":
        return types.DoubleType()  # as Spark's evaluators want single numbers
    kind: Any = kinds[spec.dtype]()
    for _ in axes:
        kind = types.ArrayType(kind)
    return kind


def _listed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that become nested lists; a single number is a plain float."""
    return () if int(np.prod(shape, dtype=np.int64)) == 1 and len(shape) <= 1 else shape


def _partition() -> int:
    from pyspark import TaskContext

    context = TaskContext.get()
    return int(context.partitionId()) if context else 0


def _arrow_array(values: Any, usual: tuple[int, ...]) -> Any:
    """(rows, ...) numbers as an Arrow array of numbers or nested lists; of rows that differ in
    shape a list. `usual`: the shape that the column's type is of."""
    import pyarrow as pa

    if isinstance(values, list):
        return pa.concat_arrays([_arrow_array(row[None], usual) for row in values])
    shape = values.shape[1:] if _listed(usual) else _listed(values.shape[1:])
    if not shape and values.dtype == np.float32:
        values = values.astype(np.float64)
    array = pa.array(values.reshape(-1))
    sizes = [len(values), *shape]
    for axis in range(len(shape), 0, -1):
        count = int(np.prod(sizes[:axis], dtype=np.int64))
        offsets = np.arange(count + 1, dtype=np.int32) * np.int32(sizes[axis])
        array = pa.ListArray.from_arrays(pa.array(offsets), array)
    return array
