"""A sample that lies on Spark, as batches on the driver: what Model.quantize sees ranges in.

In: an RDD of inputs as `predict` takes them, or a DataFrame whose columns are the inputs in their
order. Out: arrays, batch after batch, so that the sample need not fit in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo_keras.nest import pack_as
from zoo_keras.spark import cluster
from zoo_keras.spark.data import frames
from zoo_keras.spark.data.partitions import is_frame
from zoo_keras.spark.data.records import Columns, layout_of
from zoo_keras.spark.scoring.worker import in_chunks
from zoo_keras.training.fed import takes_text

BATCH = 128


def batches_of(model: Any, sample: Any) -> Iterator[Any]:
    """The model's inputs, up to 128 rows at a time."""
    if not cluster.is_connect(sample):
        cluster.check_not_inside(cluster.spark_context(sample), "quantize")
    rows = _rows_of(model, sample) if is_frame(sample) else sample.toLocalIterator()
    columns = None
    for chunk in in_chunks(rows, BATCH):
        if columns is None:
            columns = Columns(layout_of(chunk[0], False, takes_text(model)).through(model), 0)
        arrays = columns.chunk(chunk, supervised=False)
        yield pack_as(columns.layout.structure[0], arrays)


def _rows_of(model: Any, frame: Any) -> Iterator[Any]:
    """Records of a DataFrame: one column is an input, or all are the only one."""
    chosen, wanted = frames.Chosen(frame), len(frames.inputs_of(model, None))
    groups, _ = frames.column_groups(list(frame.columns), wanted)
    for row in chosen.select([c for group in groups for c in group]).toLocalIterator():
        values = [np.asarray([row[c] for c in group]) for group in groups]
        inputs = [v[0] if len(v) == 1 and v.ndim > 1 else v for v in values]
        yield inputs[0] if len(inputs) == 1 else inputs
