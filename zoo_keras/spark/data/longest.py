"""The longest rows of distributed records: all ranks pad to them, as their programs have one shape.

In: Records, and their Layout with leaves that are open. Out: the Layout with the largest shapes,
and what pads shorter rows. One Spark job that reads every record. Knows no model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo_keras import errors
from zoo_keras.errors import ZooKerasError
from zoo_keras.feed.ragged import Ragged
from zoo_keras.spark.data.records import CHUNK, Columns, Layout, in_partition
from zoo_keras.spark.transport.bridge import arrow_batches

Sizes = list[tuple[int, ...]]


def padded_layout(records: Any, layout: Layout, pad: float) -> Layout:
    """The Layout of records padded to the longest; targets are padded with 0."""
    layout = _open_targets(layout)
    if not layout.is_open:
        return layout
    sizes = _longest(records, layout)
    leaves = list(layout.leaves)
    for i, leaf in enumerate(leaves):
        if leaf.open is not None:
            value = pad if i < layout.counts[0] else 0
            leaves[i] = leaf._replace(shape=sizes[i], pad=value)
    return layout._replace(leaves=tuple(leaves))


def _open_targets(layout: Layout) -> Layout:
    """Targets of steps are as long as the inputs are: their first axis is open."""
    if not layout.is_open:
        return layout
    first, last = layout.counts[0], sum(layout.counts[:2])
    leaves = list(layout.leaves)
    for i in range(first, last):
        if leaves[i].shape:
            leaves[i] = leaves[i]._replace(open=(None, *leaves[i].shape[1:]))
    return layout._replace(leaves=tuple(leaves))


def _longest(records: Any, layout: Layout) -> Sizes:
    """The largest shape of each leaf over all partitions. DataError for a wrong row."""
    source, decode = records.source, records.decoder(layout)
    if decode is not None:
        source = arrow_batches(source)
    found = source.mapPartitionsWithIndex(_Sizes(layout, decode)).collect()
    for each in found:
        if isinstance(each, tuple):  # Spark would only try the task again
            raise getattr(errors, each[0], ZooKerasError)(each[1])
    return _merged([leaf.shape for leaf in layout.leaves], found)


def _merged(first: Sizes, others: list[Sizes]) -> Sizes:
    shapes = zip(first, *others, strict=True)
    return [tuple(np.max(each, axis=0).tolist()) if each[0] else () for each in shapes]


class _Sizes:
    """What every task does; plain data."""

    def __init__(self, layout: Layout, decode: Any) -> None:
        self.layout, self.decode = layout, decode

    def __call__(self, partition: int, items: Iterator[Any]) -> Iterator[Any]:
        try:
            for columns in self._chunks(partition, items):
                yield [c.largest() if isinstance(c, Ragged) else c.shape[1:] for c in columns]
        except ZooKerasError as error:
            yield type(error).__name__, str(error)

    def _chunks(self, partition: int, items: Iterator[Any]) -> Iterator[list[Any]]:
        if self.decode is not None:
            with in_partition(partition):
                yield from self.decode(items)
            return
        columns = Columns(self.layout, partition)
        while chunk := list(itertools.islice(items, CHUNK)):
            yield columns.chunk(chunk, supervised=True)
