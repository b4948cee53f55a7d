"""evaluate on an RDD of (x, y[, weight]) or a DataFrame: metrics of every partition, added up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zoo_keras import errors
from zoo_keras.engine import spaces
from zoo_keras.errors import ConfigError, DataError, ZooKerasError
from zoo_keras.spark import cluster
from zoo_keras.spark.data import frames
from zoo_keras.spark.data.records import Columns, in_partition
from zoo_keras.spark.fit.layer_state import refuse_assigned, refuse_stateful
from zoo_keras.spark.fit.measures import Measured, merged_logs, metric_others
from zoo_keras.spark.scoring.sent import is_small
from zoo_keras.spark.scoring.worker import Parcel, in_chunks, make_parcel, worker_for
from zoo_keras.spark.transport import failures
from zoo_keras.spark.transport.bridge import arrow_batches
from zoo_keras.training import steps
from zoo_keras.training.data import check_batch_size
from zoo_keras.training.label_counts import class_counts
from zoo_keras.training.labels import check_labels


def evaluate_on_spark(
    model: Any,
    x: Any,
    batch_size: int | None = None,
    feature_cols: Any = None,
    label_cols: Any = None,
    weight_col: str | None = None,
    fill_value: Any = None,
    pad_value: float | None = None,
    **local: Any,
) -> dict[str, Any]:
    """Logs of the whole data set, as Model.evaluate(..., return_dict=True).

    Args:
        batch_size: rows that one call of the engine takes; a loss with the reduction "sum" is
            that of so many rows.
        fill_value: stands for nulls and NaN of inputs: a number or text, or a dict by column.
        pad_value: pads rows of different sizes to the longest of all rows.
        local: arguments of Model.evaluate that make no sense here; refused unless None.
    """
    _refuse(local)
    refuse_stateful(model, "evaluate")
    size = check_batch_size(128 if batch_size is None else batch_size)
    sc = cluster.spark_context(x)
    cluster.check_not_inside(sc, "evaluate")
    records = frames.records_of(x, feature_cols, label_cols, weight_col, model, fill_value,
                                pad_value)  # fmt: skip
    layout = records.layout(model, "evaluate")
    records = records.packed(layout)
    sample = layout.zeros(2)
    state = model._local().prepare(sample, training=model._has_trained())
    shapes = steps.shapes_of(sample)
    refuse_assigned(model, shapes, sample.structure, "evaluate")

    def compile_for(rows: int) -> Any:
        return steps.evaluate_program(model, state, shapes.with_rows(rows), sample.structure,
                                      shared=True, counted=False)  # fmt: skip

    parcel = make_parcel(state.arrays(), layout, compile_for, size, cluster.task_cpus(sc))
    labels = class_counts(model, shapes, sample.structure)
    task = _Task(records.decoder(layout), size, labels, metric_others(model, state))
    with cluster.described(sc, f"zoo_keras evaluate of {model.name}"):
        measured = _run(sc, records, parcel, task)
    if not any(m.rows for m in measured):
        raise DataError(
            "evaluate: the data hold no records. Received: 0 rows. Check the filters that made it."
        )
    return merged_logs(model, state, [m for m in measured if m.rows])


def _refuse(local: dict[str, Any]) -> None:
    given = sorted(name for name, value in local.items() if value is not None)
    if given:
        raise ConfigError(
            f"evaluate on Spark: these arguments are not for an RDD or DataFrame. Received: "
            f"{given}. Put targets and weights into the records; all rows are used."
        )


def _run(sc: Any, records: Any, parcel: Parcel, task: _Task) -> list[Measured]:
    """What every partition has measured, in their order. A wrong row raises its DataError: tasks
    return errors, since Spark would only try the task again."""
    source = records.source if records.groups is None else arrow_batches(records.source)

    with _given(sc, parcel) as value:

        def run(partition: int, items: Iterator[Any]) -> Iterator[Any]:
            try:
                yield task.measure(value(), partition, items)
            except ZooKerasError as error:
                yield type(error).__name__, str(error)

        try:
            found = source.mapPartitionsWithIndex(run).collect()
        except Exception as error:
            if clear := failures.of_installation(str(error)):
                failures.raise_instead(error, clear)
            raise
    for each in found:
        if not isinstance(each, Measured):
            kind, message = each
            raise getattr(errors, kind, ZooKerasError)(message)
    return found


@contextlib.contextmanager
def _given(sc: Any, parcel: Parcel) -> Iterator[Callable[[], Parcel]]:
    """What gives the parcel on an executor, for one job."""
    if is_small(parcel):
        yield lambda: parcel
        return
    sent = sc.broadcast(parcel)
    try:
        yield lambda: sent.value
    finally:
        sent.destroy()


class _Task:
    """What every task does; holds plain data only."""

    def __init__(self, decode: Any, size: int, labels: Any, counted: tuple[int, ...]) -> None:
        self.decode, self.size, self.labels, self.counted = decode, size, labels, counted

    def measure(self, parcel: Parcel, partition: int, items: Iterator[Any]) -> Measured:
        """Metric state of one partition."""
        worker = worker_for(parcel)
        worker.spaces[spaces.METRICS][:] = 0
        for i in self.counted:
            worker.spaces[spaces.VAR(i)][...] = 0
        rows = 0
        for columns in self._chunks(parcel, partition, items):
            self._check(parcel, partition, columns, rows)
            rows += len(columns[0])
            worker.measure(columns)
        others = [a.copy() for n, a in worker.spaces.items() if n in spaces.VAR]
        return Measured(worker.spaces[spaces.METRICS].copy(), others, rows)

    def _check(self, parcel: Parcel, partition: int, columns: list, first: int) -> None:
        _, ys, _ = parcel.layout.split(columns)
        for y, classes in zip(ys, self.labels, strict=True):
            if classes is not None:
                check_labels(y, classes, f"Partition {partition}, ", first)

    def _chunks(
        self, parcel: Parcel, partition: int, items: Iterator[Any]
    ) -> Iterator[list[np.ndarray]]:
        if self.decode is not None:
            with in_partition(partition):
                yield from self.decode(items)
            return
        columns = Columns(parcel.layout, partition)
        for chunk in in_chunks(items, self.size):
            yield columns.chunk(chunk, supervised=True)
