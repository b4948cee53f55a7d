"""A model as a function of SQL: `zoo_keras.spark.udf`.

In: a model whose Inputs have known shapes. Out: a function of Columns that may be registered by
name; a worker learns from the Arrow arrays that it gets what columns it was called with. Weights
are those of the moment when the function was made, and travel once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.errors import ClusterError, ConfigError, DataError
from zoo_keras.feed import kinds
from zoo_keras.spark import cluster
from zoo_keras.spark.data import frames
from zoo_keras.spark.data.records import Layout, Leaf, narrow
from zoo_keras.spark.fit.layer_state import refuse_stateful
from zoo_keras.spark.scoring.columns import (
    Reader,
    has_scalar_arrow,
    make_function,
    result_type,
    struct_of,
)
from zoo_keras.spark.scoring.predict import parcel_for
from zoo_keras.spark.scoring.worker import Parcel
from zoo_keras.spark.transport import failures
from zoo_keras.training.data import check_batch_size


def udf(model: Any, name: str | None = None, *, session: Any = None, batch_size: int = 128) -> Any:
    """A Spark function that gives a model's predictions, in SQL and for DataFrame columns.

    Its arguments are one column for each Input, or the parts of the only Input: numbers, arrays,
    text, bytes, images, ML vectors. It gives what `predict` gives for the same rows: a number or
    nested arrays of them, or a struct with a field for each of several outputs. Where the columns
    of a call don't fit, or a row holds a null, the job fails with an error that names it.

    Args:
        model: its Inputs must have known shapes. Later training does not change the function.
        name: by which SQL calls it in this session; None registers nothing.
        session: a SparkSession; None: the active one.
        batch_size: rows that one call of the engine takes; results do not depend on it.

    Before Spark 4.1 rows are scored one by one: `predict` is faster there.

    Raises ClusterError without a session, ConfigError for Inputs of unknown shape. Source: none;
    mlflow.pyfunc.spark_udf is alike.

    >>> score = zoo_keras.spark.udf(model, "score")
    >>> frame.where(score("features") > 0.5)
    >>> spark.sql("SELECT id, score(features) FROM events WHERE score(features) > 0.5")
    """
    refuse_stateful(model, "udf")
    session = session or _active()
    cpus = 1 if cluster.is_connect(session) else cluster.task_cpus(session.sparkContext)
    layout = _layout(model)
    sent = parcel_for(model, session, layout, check_batch_size(batch_size), cpus)
    call = _Call(name or "udf", len(layout.records.leaves), _names(model, sent.outputs))
    value = sent.value
    kind = result_type(sent.parcel.outputs, call.fields)
    if has_scalar_arrow(session):

        def run(batches: Iterator[Any]) -> Iterator[Any]:
            return failures.alone(call.batches(value(), batches))

        made = make_function(session, run, kind, "SQL_SCALAR_ARROW_ITER_UDF", call.name)
    else:

        def one(*values: Any) -> Any:
            return call.row(value(), values)

        made = make_function(session, one, kind, "SQL_BATCHED_UDF", call.name)
    return made if name is None else session.udf.register(name, made)


class _Call(NamedTuple):
    """How a function is called.

    Attributes:
        name: for messages.
        inputs: how many the model has.
        fields: a name for each output of several; one output has none.
    """

    name: str
    inputs: int
    fields: tuple[str, ...]

    def batches(self, parcel: Parcel, batches: Iterator[Any]) -> Iterator[Any]:
        """The outputs of each batch of Arrow arrays."""
        first = 0
        for batch in batches:
            columns = batch if isinstance(batch, tuple) else (batch,)
            yield self.outputs(parcel, columns, first)
            first += len(columns[0])

    def outputs(self, parcel: Parcel, columns: Sequence[Any], first: int) -> Any:
        """An Arrow array of the output, or of structs of several."""
        outputs = self._reader(len(columns)).outputs(parcel, columns, first)
        return struct_of(outputs, self.fields) if self.fields else outputs[0]

    def row(self, parcel: Parcel, values: Sequence[Any]) -> Any:
        """The output of one row of Python's values; a struct is a tuple."""
        try:
            columns = [kinds.arrow_value(value) for value in values]
            found = self.outputs(parcel, columns, 0)[0].as_py()
        except DataError as error:
            raise error.with_traceback(None) from None
        return tuple(found[field] for field in self.fields) if self.fields else found

    def _reader(self, count: int) -> Reader:
        names = tuple(f"{i + 1} of {self.name}" for i in range(count))
        if self.inputs == 1:
            return Reader((names,), names)
        if count != self.inputs:
            raise DataError(
                f"{self.name}: expected {self.inputs} columns, one for each Input of the model. "
                f"Received: {count}. Pass them in the order of the Inputs."
            )
        return Reader(tuple((name,) for name in names), names)


def _active() -> Any:
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is None:
        raise ClusterError(
            "udf needs a Spark session. Received: none is active. Start one "
            "(zoo_keras.spark.cluster.init_session), or pass session=..."
        )
    return session


def _layout(model: Any) -> Layout:
    """Rows as the Inputs say; columns of other types are converted to theirs."""
    inputs = frames.inputs_of(model, None)
    shapes = [shape for shape, _ in inputs]
    if not inputs or any(None in shape for shape in shapes):
        found = f"Inputs of shapes {shapes}" if inputs else "a model without Inputs"
        raise ConfigError(
            "udf needs a model whose Inputs have known shapes, for SQL shows no rows before it "
            f"runs. Received: {found} (without the batch axis). Give them whole shapes, or use "
            "predict on a DataFrame."
        )
    leaves = tuple(
        Leaf(f"Input {i + 1}", tuple(d or 0 for d in shape), _dtype(dtype))
        for i, (shape, dtype) in enumerate(inputs)
    )
    nested = 0 if len(leaves) == 1 else list(range(len(leaves)))
    return Layout(leaves, (len(leaves), 0, 0), (nested, None, None)).through(model)


def _dtype(wanted: str) -> str:
    return wanted if wanted == "string" else narrow(np.dtype(wanted))


def _names(model: Any, outputs: Any) -> tuple[str, ...]:
    if not isinstance(outputs, (list, tuple, dict)):
        return ()
    names = sorted(outputs) if isinstance(outputs, dict) else model.output_names
    return (
        tuple(names)
        if len(set(names)) == len(outputs)
        else tuple(f"output_{i + 1}" for i in range(len(outputs)))
    )
