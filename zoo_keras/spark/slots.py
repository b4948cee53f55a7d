"""Fits take the cluster's task slots in turn.

In: a SparkContext and how many slots a fit needs at once. Out: a block in which it may use them.
The ranks of two fits that started together could hold half of the slots each and wait for the
other half; so a fit starts when all of its ranks can, and first come is first served.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

from zoo_keras.errors import ClusterError
from zoo_keras.spark import cluster

_LOOK_EVERY = 0.5  # executors may have come or gone


class _Line:
    """Who holds slots of one SparkContext, and who waits."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.held = 0
        self.waiting: deque[object] = deque()

    def fits(self, ranks: int, slots: float) -> bool:
        """Whether so many more can start; alone, any number may: it is checked elsewhere."""
        return self.held == 0 or self.held + ranks <= slots


_lines: weakref.WeakKeyDictionary[Any, _Line] = weakref.WeakKeyDictionary()  # by SparkContext
_making = threading.Lock()


@contextlib.contextmanager
def taken(sc: Any, ranks: int) -> Iterator[None]:
    """Waits until so many slots are free of other fits, and holds them for the block.

    Raises:
        ClusterError: a callback of a running fit asks, and would wait for other fits, perhaps for
            ever.
    """
    with _making:
        line = _lines.setdefault(sc, _Line())
    _wait(line, sc, ranks)
    try:
        yield
    finally:
        with line.changed:
            line.held -= ranks
            line.changed.notify_all()


def _wait(line: _Line, sc: Any, ranks: int) -> None:
    ticket = object()
    with line.changed:
        if cluster.holds(sc):
            _refuse_waiting(line, sc, ranks)
        else:
            line.waiting.append(ticket)
            try:
                while line.waiting[0] is not ticket or not line.fits(ranks, cluster.sure_room(sc)):
                    line.changed.wait(_LOOK_EVERY)
            finally:
                line.waiting.remove(ticket)
                line.changed.notify_all()
        line.held += ranks


def _refuse_waiting(line: _Line, sc: Any, ranks: int) -> None:
    slots = cluster.sure_room(sc)
    if not line.fits(ranks, slots):
        raise ClusterError(
            "fit was called by a callback of another fit, while fits hold the slots that it needs. "
            f"Received: {slots:.0f} task slots, {line.held} of them held, {ranks} wanted. Call it "
            "when fit has returned, or leave slots free with num_ranks."
        )
