"""How a parcel gets to the executors: inside the function that asks for it, or as a broadcast, one
for each state of a model, however often it predicts.

In: a model's runtime and what a parcel is made for. Out: the parcel and what gives it on an
executor. A copy on disk goes with the last plan, RDD or Python object that can ask for it.
"""

from __future__ import annotations

import pickle
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from zoo_keras.spark import cluster
from zoo_keras.spark.java import call_java
from zoo_keras.spark.scoring.worker import Parcel

SMALL = 1 << 17  # bytes up to which a function carries a parcel: it costs no file and no fetch
_lock = threading.Lock()


class Sent(NamedTuple):
    """A parcel, the nesting of its outputs, and what gives it on an executor."""

    parcel: Parcel
    outputs: Any
    value: Callable[[], Parcel]


class _Entry(NamedTuple):
    key: tuple[Any, ...]
    sent: Sent


_last: weakref.WeakKeyDictionary[Any, _Entry] = weakref.WeakKeyDictionary()  # by runtime


def sent_once(
    owner: Any,
    where: Any,
    key: tuple[Any, ...],
    spaces: Mapping[str, np.ndarray],
    make: Callable[[], tuple[Parcel, Any]],
) -> Sent:
    """What was sent last, when it still is the model's state; else what `make` gives, sent anew.

    Args:
        owner: the runtime of the model.
        where: an RDD or DataFrame of the session.
        key: all that a parcel depends on besides the spaces.
        spaces: weights and state as they are now.
    """
    context = None if cluster.is_connect(where) else cluster.spark_context(where)
    key = (*key, id(context), getattr(context, "applicationId", None))
    with _lock:
        last = _last.get(owner)
        if last is not None and last.key == key and _same(last.sent.parcel.spaces, spaces):
            return last.sent
        parcel, outputs = make()
        sent = Sent(parcel, outputs, _sender(context, parcel))
        _last[owner] = _Entry(key, sent)
        return sent


def _same(sent: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> bool:
    return sent.keys() == now.keys() and all(
        np.array_equal(_bytes(sent[name]), _bytes(now[name])) for name in now
    )


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _sender(context: Any, parcel: Parcel) -> Callable[[], Parcel]:
    """A broadcast of a large parcel, else the parcel itself; Spark Connect has no broadcasts."""
    if context is None or is_small(parcel):
        return lambda: parcel
    sent = context.broadcast(parcel)
    call_java(context, "Tidy", "whenGone", sent._python_broadcast)
    return lambda: sent.value


def is_small(parcel: Parcel) -> bool:
    """Whether a function may carry the parcel: each task reads it anew."""
    try:
        pickle.Pickler(_Short(), 5).dump(parcel)
    except OverflowError:
        return False
    return True


class _Short:
    """Takes SMALL bytes and no more."""

    def __init__(self) -> None:
        self.room = SMALL

    def write(self, data: Any) -> None:
        self.room -= memoryview(data).nbytes
        if self.room < 0:
            raise OverflowError
