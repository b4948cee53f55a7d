"""The same global batches for a cluster and for one process, to compare their results."""

from __future__ import annotations

import numpy as np

import zoo_keras as keras
from zoo_keras.spark.fit.schedule import make_schedule

# Rows of each rank: uneven, and one rank that has none.
SPLITS = {2: (13, 30), 4: (17, 0, 25, 1)}


def places(sizes):
    """Row numbers of each partition."""
    ends = np.cumsum(sizes)
    return [list(range(end - size, end)) for end, size in zip(ends, sizes)]


def rdd_of(sc, records, sizes):
    """An RDD whose partitions hold that many of the records, in order."""
    parts = [[records[i] for i in rows] for rows in places(sizes)]
    return sc.parallelize(parts, len(parts)).flatMap(lambda part: part).cache()


class GlobalBatches(keras.utils.PyDataset):
    """The global batches that ranks with so many rows see, unshuffled, as one data set.

    Args:
        data: (x, y) or (x, y, weight); each an array, or a list or dict of arrays.
    """

    def __init__(self, data, sizes, batch_size):
        super().__init__()
        self.data, self.rows = data, places(sizes)
        self.schedule = make_schedule(sizes, batch_size)

    def __len__(self):
        return self.schedule.steps

    def __getitem__(self, step):
        slices = [self.schedule.slice_of(rank, step) for rank in range(len(self.rows))]
        rows = [i for part, (lo, hi) in zip(self.rows, slices) for i in part[lo:hi]]
        return tuple(_taken(part, rows) for part in self.data)


def _taken(part, rows):
    if isinstance(part, dict):
        return {name: _taken(each, rows) for name, each in part.items()}
    if isinstance(part, list):
        return [_taken(each, rows) for each in part]
    return part[rows]


def records_of(data):
    """The same data as a list of records."""
    return [tuple(_record(part, i) for part in data) for i in range(_rows(data[0]))]


def _rows(part):
    while isinstance(part, (list, dict)):
        part = next(iter(part.values())) if isinstance(part, dict) else part[0]
    return len(part)


def _record(part, i):
    if isinstance(part, dict):
        return {name: each[i] for name, each in part.items()}
    return [each[i] for each in part] if isinstance(part, list) else part[i]
