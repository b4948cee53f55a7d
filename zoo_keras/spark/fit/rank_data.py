"""The rows of one rank of a fit: read once, checked, and kept as typed columns.

In: a RankContext whose partition has not been read, and the plan. Out: columns to train on and to
validate on. Knows no programs.
"""

from __future__ import annotations

import pickle
import time
from typing import Any

import numpy as np

from zoo_keras.spark.data.records import Columns, Layout
from zoo_keras.spark.fit.plan import FitPlan
from zoo_keras.spark.transport.job import RankContext
from zoo_keras.training.data import class_weights_of
from zoo_keras.training.labels import check_labels

_HASHED = 4096  # rows hashed at a time
_ODD = np.uint64(0x9E3779B97F4A7C15)
PAUSE = 0.002  # seconds between looks at the driver's board


def wait_for_blob(rank: RankContext, name: str) -> np.ndarray:
    """A blob of the driver's, waiting until it is published."""
    while True:
        rank.control.read()
        if name in rank.control.blobs():
            return rank.control.fetch(name)
        time.sleep(PAUSE)


class RankData:
    """This rank's columns.

    Attributes:
        columns, tests: arrays of shape (rows, ...), one for each leaf of the layout or test layout.
        rows, test_rows: how many there are.
        order: which rows of the columns to train on, in an order by content; None: all, as read.
        weighted: whether `columns` end with the sample weights that class weights have become.
    """

    def __init__(self, rank: RankContext, plan: FitPlan, decode: Any, decode_tests: Any) -> None:
        read = _read(rank.rows, plan.layout, rank.rank, plan, decode)
        self.columns, self.rows = read, len(read[0])
        self.order = content_order(read) if plan.by_content else None
        self.tests = self._tests(rank, plan, read, decode_tests)
        self.test_rows = len(self.tests[0])
        _check(self.columns, plan.layout, plan.labels, f"Partition {rank.rank}, ")
        if not plan.held:
            where = f"Validation data, partition {rank.rank}, "
            _check(self.tests, plan.test_layout, plan.test_labels, where)
        self._layout, self.weighted = plan.layout, plan.class_weight is not None
        if plan.class_weight is not None:
            self._weigh(plan.class_weight)

    def _tests(self, rank: RankContext, plan: FitPlan, read: list, decode: Any) -> list[np.ndarray]:
        """Rows to validate on: the driver's, the last of our own, or a second partition's."""
        if plan.held:
            blob = wait_for_blob(rank, f"held:{rank.rank}")
            held: list[np.ndarray] = pickle.loads(blob.tobytes())
            return held
        if plan.validation_split:
            kept = int(self.rows * (1 - plan.validation_split))
            self.rows = kept
            if self.order is None:
                self.columns = [c[:kept] for c in read]
                return [c[kept:] for c in read]
            tests, self.order = self.order[kept:], self.order[:kept]
            return [c[tests] for c in read]
        return _read(rank.validation, plan.test_layout, rank.rank, plan, decode)

    def _weigh(self, class_weight: dict[int, float]) -> None:
        """Class weights, times the sample weights that there are, become the sample weights."""
        xs, ys, ws = self._layout.split(self.columns)
        keep = sum(self._layout.counts[:2])
        self.columns = [*self.columns[:keep], class_weights_of(ys, ws, class_weight)]


def content_order(columns: list[np.ndarray]) -> np.ndarray:
    """Numbers of the rows in an order that depends on what is in them alone, and on nothing else:
    by a hash, for the last rows may be held back and must be like the others."""
    rows = len(columns[0])
    hashes = np.zeros(rows, np.uint64)
    for first in range(0, rows, _HASHED):
        part = hashes[first : first + _HASHED]
        for column in columns:
            _mix(part, column[first : first + _HASHED])
    return np.argsort(hashes, kind="stable")


def _mix(hashes: np.ndarray, column: np.ndarray) -> None:
    """Mix the bytes of each row of the column into the row's hash, eight at a time."""
    flat = np.ascontiguousarray(column).reshape(len(column), -1).view(np.uint8)
    words = np.zeros((len(flat), -(-flat.shape[1] // 8) * 8), np.uint8)
    words[:, : flat.shape[1]] = flat
    for word in words.view(np.uint64).T:
        hashes ^= word
        hashes *= _ODD
        hashes ^= hashes >> np.uint64(29)


def _read(
    items: Any, layout: Layout, partition: int, plan: FitPlan, decode: Any
) -> list[np.ndarray]:
    columns = Columns(layout, partition, plan.budget, plan.spills)
    if decode is not None:
        return columns.read_chunks(decode(items))
    return columns.read(items, supervised=True)


def _check(columns: list[np.ndarray], layout: Layout, labels: Any, where: str) -> None:
    """All labels are ones that the model knows."""
    _, ys, _ = layout.split(columns)
    for y, classes in zip(ys, labels, strict=True):
        if classes is not None and y.size:
            check_labels(y, classes, where)
