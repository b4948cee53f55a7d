"""One partition for each rank: counting partitions, and moving records when there are others.

In: an RDD or DataFrame. Out: the same records in as many partitions as there are ranks, always in
the same order, so that a fit that runs again gives the same bits. Knows no columns.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterator
from typing import Any

from zoo_keras.spark.transport.bridge import arrow_batches

_ORDER = "__zoo_keras_order"


def is_frame(x: Any) -> bool:
    """Whether x is a DataFrame."""
    return hasattr(x, "schema") and hasattr(x, "select")


def count(x: Any) -> int:
    """How many partitions there are."""
    return int(_rdd(x).getNumPartitions())


def _rdd(x: Any) -> Any:
    return arrow_batches(x) if is_frame(x) else x


def spread(x: Any, ranks: int, by_content: bool = False) -> Any:
    """The records in `ranks` partitions, moved only when needed.

    Args:
        by_content: where a record goes may not depend on its place, which is one of luck.
    """
    if count(x) == ranks:
        return x
    if is_frame(x):  # Spark itself sorts rows by content before it deals them out
        return x.repartition(ranks) if by_content else _spread_frame(x, ranks)
    return _spread_rdd(x, ranks, by_content)


def arrives_by_luck(x: Any) -> bool:
    """Whether the order of records depends on which task ended first: there is a shuffle before
    them, and no sort of a DataFrame after it."""
    if is_frame(x):
        if not x._jdf.queryExecution().executedPlan().outputOrdering().isEmpty():
            return False
        x = arrow_batches(x)
    return any(kind.startswith("Shuffle") for kind in _dependencies(x))


def _dependencies(rdd: Any) -> Iterator[str]:
    """The kinds of all dependencies that an RDD has, however far back."""
    left, seen = [rdd._jrdd.rdd()], set()
    while left:
        java = left.pop()
        if java.id() in seen:
            continue
        seen.add(java.id())
        found = java.dependencies()
        for i in range(found.size()):
            yield str(found.apply(i).getClass().getSimpleName())
            left.append(found.apply(i).rdd())


def _spread_rdd(rdd: Any, ranks: int, by_content: bool) -> Any:
    """Dealt out in turn. Sorted afterwards: a shuffle delivers in the order of arrival."""

    def numbered(partition: int, items: Iterator[Any]) -> Iterator[Any]:
        if by_content:
            items = iter(sorted(items, key=lambda item: zlib.crc32(pickle.dumps(item))))
        return (((partition, i), item) for i, item in enumerate(items))

    def rank_of(place: tuple[int, int]) -> int:
        return sum(place)

    pairs = rdd.mapPartitionsWithIndex(numbered)
    return pairs.repartitionAndSortWithinPartitions(ranks, rank_of).values()


def _spread_frame(frame: Any, ranks: int) -> Any:
    from pyspark.sql.functions import monotonically_increasing_id

    numbered = frame.withColumn(_ORDER, monotonically_increasing_id())
    return numbered.repartition(ranks).sortWithinPartitions(_ORDER).drop(_ORDER)
