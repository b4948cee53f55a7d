"""Signs of life: each rank's process counts on while it runs, whatever it is busy with, so that the
driver sees which one stands still.

In: a place that others read; on the driver, what was read there. Out: how long a rank has stood
still. Knows no boards and no jobs.
"""

from __future__ import annotations

import threading
import time

import numpy as np

_EVERY = 0.5  # seconds


class Pulse:
    """Counts on in `place`, one int64, until it is closed."""

    def __init__(self, place: np.ndarray) -> None:
        self._place, self._ended = place, threading.Event()
        self._thread = threading.Thread(target=self._beat, name="zookeras-pulse", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._ended.wait(_EVERY):
            self._place += 1

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join()


class Pulses:
    """What the driver has seen of the ranks' counts."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}  # by rank: the count, and since when

    def still(self, rank: int, count: int) -> float:
        """A rank's count has just been read: for how many seconds has it been the same?"""
        now, seen = time.monotonic(), self._seen.get(rank)
        if seen is None or seen[0] != count:
            self._seen[rank] = seen = count, now
        return now - seen[1]
