"""Data given to `adapt`, of any kind, into a state of `feed.states`.

In: arrays, lists, iterables of batches, RDDs or DataFrames. Out: the state, having seen all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zoo_keras.errors import DataError


def seen(
    make: Callable[[], Any], data: Any, prepare: Callable[[Any], Any], steps: int | None = None,
    column: Any = None, lists_are_batches: bool = False,
) -> Any:  # fmt: skip
    """A state that has seen all of the data.

    Args:
        make: makes a fresh state; plain data, since it travels to a cluster.
        prepare: from one chunk of raw rows to what the state takes; travels too.
        steps: how many batches of an iterable are taken.
        column: the column of a DataFrame.
        lists_are_batches: a list holds batches, not rows.
    """
    if is_spark(data):
        from zoo_keras.spark.scoring.adapt import reduced

        return reduced(data, column, make, prepare)
    state, found = make(), False
    for chunk in _chunks(data, steps, lists_are_batches):
        state.update(prepare(chunk))
        found = True
    if not found:
        raise DataError("adapt: the data hold no batch. Received: an empty source. Pass some data.")
    return state


def is_spark(data: Any) -> bool:
    """Whether data are an RDD or DataFrame of pyspark."""
    return any(cls.__module__.startswith("pyspark.") for cls in type(data).__mro__)


def _chunks(data: Any, steps: int | None, lists_are_batches: bool) -> Iterator[Any]:
    if hasattr(data, "to_numpy"):
        data = data.to_numpy()
    rows = isinstance(data, (list, tuple)) and not lists_are_batches
    if rows or isinstance(data, (np.ndarray, np.generic, str, bytes)):
        yield data
        return
    batches = (data[i] for i in range(len(data))) if _indexed(data) else iter(data)
    for number, batch in enumerate(batches):
        if steps is not None and number >= steps:
            return
        yield batch[0] if isinstance(batch, tuple) else batch


def _indexed(data: Any) -> bool:
    """A PyDataset: batches by number, and no iterator."""
    return hasattr(data, "__getitem__") and hasattr(data, "__len__") and not hasattr(
        data, "__iter__")  # fmt: skip
