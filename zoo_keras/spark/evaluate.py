"""evaluate on an RDD of (x, y[, weight]) or a DataFrame: metrics of every partition, added up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo_keras.errors import DataError
from zoo_keras.spark import cluster, frames
from zoo_keras.spark.inference import Parcel, in_chunks, make_parcel, worker_for
from zoo_keras.spark.rows import Columns
from zoo_keras.training import steps
from zoo_keras.training.data import Batch, check_batch_size
from zoo_keras.training.labels import check_labels, class_counts


def evaluate_on_spark(
    model: Any,
    x: Any,
    batch_size: int | None = None,
    feature_cols: Any = None,
    label_cols: Any = None,
    weight_col: str | None = None,
) -> dict[str, Any]:
    """Logs of the whole data set, as Model.evaluate(..., return_dict=True)."""
    size = check_batch_size(batch_size or 128)
    sc = cluster.spark_context(x)
    records = frames.records_of(x, feature_cols, label_cols, weight_col)
    layout = records.layout(model)
    sample = model._arranged(Batch(*_zeros(layout), layout.structure))
    state = model._local().prepare(sample, training=model._has_trained())
    shapes = steps.shapes_of(sample)
    model._reset()
    parcel = make_parcel(
        state.arrays(), layout,
        lambda n: steps.evaluate_program(model, state, shapes.with_rows(n), sample.structure),
        size, cluster.task_cpus(sc),
    )  # fmt: skip
    labels = class_counts(model, shapes, sample.structure)
    total = _sum(sc, records, parcel, records.decoder(layout), size, labels)
    if total is None:
        raise DataError("evaluate: the data hold no records. Received: 0 rows.")
    state.metrics.array[:] = total
    logs: dict[str, Any] = model._logs()
    return logs


def _zeros(layout: Any) -> tuple[list, list, list]:
    found: tuple[list, list, list] = layout.split(
        [np.zeros((2, *leaf.shape), leaf.dtype) for leaf in layout.leaves]
    )
    return found


def _sum(sc: Any, records: Any, parcel: Parcel, decode: Any, size: int, labels: Any) -> Any:
    """Metric state summed over partitions, in their order; None when there is no row."""
    from zoo_keras.spark.bridge import arrow_batches

    sent = sc.broadcast(parcel)
    rdd = records.rdd if records.columns is None else arrow_batches(records.rdd)

    def run(partition: int, items: Iterator[Any]) -> Iterator[Any]:
        yield measure(sent.value, partition, items, decode, size, labels)

    found = [m for m in rdd.mapPartitionsWithIndex(run).collect() if m is not None]
    return np.sum(found, axis=0, dtype=np.float64) if found else None


def measure(
    parcel: Parcel, partition: int, items: Iterator[Any], decode: Any, size: int, labels: Any
) -> np.ndarray | None:
    """Metric state of one partition."""
    worker = worker_for(parcel)
    worker.spaces["metrics"][:] = 0
    seen = 0
    for columns in _column_chunks(parcel, partition, items, decode, size):
        _, ys, _ = parcel.layout.split(columns)
        for y, classes in zip(ys, labels, strict=True):
            if classes is not None:
                check_labels(y, classes, f"Partition {partition}, ")
        seen += len(columns[0])
        worker.measure(columns)
    return worker.spaces["metrics"].copy() if seen else None


def _column_chunks(
    parcel: Parcel, partition: int, items: Iterator[Any], decode: Any, size: int
) -> Iterator[list[np.ndarray]]:
    if decode is not None:
        yield from decode(items)
        return
    columns = Columns(parcel.layout, partition)
    for chunk in in_chunks(items, size):
        yield columns.chunk(chunk, supervised=True)
