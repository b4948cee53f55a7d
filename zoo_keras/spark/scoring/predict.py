"""predict on an RDD (an RDD of outputs, same order) or DataFrame (columns added, all others kept).

Lazy, as Spark users expect: at most one record is looked at before the result is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zoo_keras.dtypes import TEXT
from zoo_keras.engine import spaces
from zoo_keras.errors import ConfigError, DataError
from zoo_keras.graph import Spec
from zoo_keras.nest import flatten
from zoo_keras.spark import cluster
from zoo_keras.spark.data import frames
from zoo_keras.spark.data.first import first_record
from zoo_keras.spark.data.partitions import is_frame
from zoo_keras.spark.data.records import (
    Columns,
    Layout,
    Leaf,
    inputs_alone,
    layout_of,
)
from zoo_keras.spark.engine import this_engine
from zoo_keras.spark.fit.layer_state import refuse_assigned, refuse_stateful
from zoo_keras.spark.scoring.columns import with_outputs
from zoo_keras.spark.scoring.open_rows import open_model
from zoo_keras.spark.scoring.sent import Sent, sent_once
from zoo_keras.spark.scoring.worker import Parcel, in_chunks, make_parcel, worker_for
from zoo_keras.spark.transport import failures
from zoo_keras.training import steps
from zoo_keras.training.data import check_batch_size
from zoo_keras.training.fed import takes_text


def predict_on_spark(
    model: Any,
    x: Any,
    batch_size: int | None = None,
    feature_cols: Any = None,
    output_col: str | list[str] = "prediction",
    fill_value: Any = None,
    error_col: str | None = None,
    stage: str = "",
    **local: Any,
) -> Any:
    """Model.predict for an RDD of inputs, or a DataFrame.

    Args:
        batch_size: rows that one call of the engine takes.
        feature_cols: columns of a DataFrame that are the model's inputs.
        output_col: name of the new column, or one for each output. An output of one number a row
            becomes a column of doubles (of integers where it is some), others arrays of numbers.
        fill_value: stands for nulls and NaN: a number or text, or a dict by column.
        error_col: name of a column for what is wrong with a row that cannot be scored; its outputs
            are null. None: the first such row ends the job with an error.
        stage: what errors in rows of a DataFrame call the step of a pipeline that scores.
        local: arguments of Model.predict that make no sense here; refused unless None.
    """
    given = sorted(name for name, value in local.items() if value is not None)
    if given:
        raise ConfigError(
            f"predict on Spark: these arguments are unknown, or not for an RDD or DataFrame. "
            f"Received: {given}. Known ones are batch_size, feature_cols, "
            "output_col, fill_value and error_col."
        )
    refuse_stateful(model, "predict")
    size = check_batch_size(128 if batch_size is None else batch_size)
    if not cluster.is_connect(x):
        cluster.check_not_inside(cluster.spark_context(x), "predict")
    if is_frame(x):
        return _predict_frame(
            model, x, size, feature_cols, output_col, fill_value, error_col, stage
        )
    for name, value in (("feature_cols", feature_cols), ("error_col", error_col)):
        if value is not None:
            raise ConfigError(
                f"predict: {name} belongs to a DataFrame. Received: an RDD. Leave it out."
            )
    return _predict_rdd(model, x, size, fill_value)


def parcel_for(model: Any, where: Any, layout: Layout, size: int, threads: int) -> Sent:
    """The Parcel for prediction, sent to the session of `where`, an RDD or DataFrame."""
    sample = layout.zeros(2)
    runtime = model._local()
    state = runtime.prepare(sample, training=model._has_trained())
    shapes = steps.shapes_of(sample)
    refuse_assigned(model, shapes, sample.structure, "predict")
    found: dict[str, Any] = {}

    def compile_for(rows: int) -> Any:
        program, outputs = steps.predict_program(model, state, shapes.with_rows(rows),
                                                 layout.structure)  # fmt: skip
        found["outputs"] = outputs
        return program

    needed = {
        name: array for name, array in state.arrays().items()
        if name in (spaces.WEIGHTS, spaces.STATE) or name in spaces.VAR
    }  # fmt: skip

    def make() -> tuple[Parcel, Any]:
        parcel = make_parcel(needed, layout, compile_for, size, threads)
        specs = tuple(Spec(t.shape[1:], t.dtype) for t in flatten(found["outputs"]))
        by_shape = open_model(model, threads) if layout.is_open else None
        return parcel._replace(outputs=specs, by_shape=by_shape), found["outputs"]

    key = (layout, size, threads, model.last_change(), this_engine())
    return sent_once(runtime, where, key, needed, make)


# ---- RDD ---------------------------------------------------------------------------------------


def _predict_rdd(model: Any, rdd: Any, size: int, fill: Any) -> Any:
    layout = (_known_layout(model) or _first_layout(model, rdd, fill)).filled(fill)
    layout = layout.opened(_input_shapes(model, layout.structure[0])).through(model)
    sent = parcel_for(model, rdd, layout, size, cluster.task_cpus(rdd.ctx))
    structure, value = sent.outputs, sent.value
    single = not isinstance(structure, (list, tuple, dict))
    keys = sorted(structure) if isinstance(structure, dict) else None

    def run(partition: int, items: Iterator[Any]) -> Iterator[Any]:
        return failures.alone(predict_records(value(), partition, items, size, single, keys))

    return rdd.mapPartitionsWithIndex(run)


def _input_shapes(model: Any, structure: Any) -> list[Any]:
    return [shape for shape, _ in frames.inputs_of(model, structure)]


def _known_layout(model: Any) -> Layout | None:
    """The layout of a model with one Input of floats whose shape leaves nothing open."""
    inputs = frames.inputs_of(model, None)
    if len(inputs) != 1:
        return None
    shape, dtype = tuple(d for d in inputs[0][0] if d is not None), inputs[0][1]
    if not shape or len(shape) < len(inputs[0][0]) or dtype != "float32":
        return None
    return Layout((Leaf("x", shape, dtype),), (1, 0, 0), (0, None, None))


def _first_layout(model: Any, rdd: Any, fill: Any) -> Layout:
    sample = first_record(rdd)
    if not sample:
        raise DataError(
            "predict: the RDD holds no records. Received: 0 rows. Check the filters that made it."
        )
    layout = layout_of(sample[0], False, takes_text(model), fill)
    inputs = frames.inputs_of(model, None)
    if inputs and layout.counts[0] != len(inputs) and isinstance(sample[0], tuple):
        raise inputs_alone(len(inputs), sample[0])
    return layout


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
    model: Any, frame: Any, size: int, feature_cols: Any, output_col: str | list[str], fill: Any,
    error_col: str | None, stage: str,
) -> Any:  # fmt: skip
    if feature_cols is None:
        raise ConfigError(
            "predict on a DataFrame needs feature_cols. Received: None. "
            f"The columns are {frame.columns}."
        )
    names = [output_col] if isinstance(output_col, str) else list(output_col)
    added = [*names, *filter(None, [error_col])]
    taken = [n for n in added if n in frame.columns or added.count(n) > 1]
    if taken:
        raise ConfigError(
            f"predict: the DataFrame has a column {taken} already. Received: output_col="
            f"{output_col!r}, error_col={error_col!r}. Choose another name."
        )
    wanted = len(frames.inputs_of(model, None))
    chosen = frames.Chosen(frame)
    groups, structure = frames.column_groups(chosen.named(feature_cols), wanted)
    selected = chosen.select([c for group in groups for c in group])
    layout = _frame_layout(model, selected, groups, structure, fill)
    connect = cluster.is_connect(frame)
    cpus = 1 if connect else cluster.task_cpus(frame.sparkSession.sparkContext)
    sent = parcel_for(model, frame, layout, size, cpus)
    outputs = len(flatten(sent.outputs))
    if len(names) != outputs:
        raise ConfigError(
            f"predict: the model has {outputs} outputs. Received: output_col="
            f"{output_col!r}. Give one name for each."
        )
    return with_outputs(frame, chosen, groups, sent, names, stage, error_col)


def _frame_layout(
    model: Any, selected: Any, groups: list[tuple[str, ...]], structure: Any, fill: Any
) -> Layout:
    """Shapes from the Inputs; without known Inputs, from the first row."""
    counts = (len(groups), 0, 0)
    inputs = frames.inputs_of(model, structure)
    if len(inputs) != len(groups) or any(None in shape for shape, _ in inputs):
        if selected.isStreaming:
            raise ConfigError(
                "predict on a stream needs Inputs of known shape, for there is no first row to "
                f"look at. Received: inputs {[shape for shape, _ in inputs]} (without the batch "
                "axis). Give the model's Input a whole shape, and pad the column to it."
            )
        nested = (structure, None, None)
        made = frames.Records(selected, tuple(groups), counts, nested, fill)
        return made.layout(model, "predict").opened([shape for shape, _ in inputs])
    text, schema = takes_text(model), selected.schema
    fills = frames.fills_of(groups, fill, len(groups))
    leaves = [
        Leaf(", ".join(group), tuple(d or 0 for d in shape),
             frames.leaf_dtype(schema, group, text, fills, dtype in TEXT), fills)
        for group, (shape, dtype), fills in zip(groups, inputs, fills, strict=True)
    ]  # fmt: skip
    return Layout(tuple(leaves), counts, (structure, None, None)).through(model)
