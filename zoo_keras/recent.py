"""What was used of late: a dict that forgets the entries used longest ago.

In: entries with a number of bytes, and limits. Out: the entries by key, as long as they are kept.
Looking up takes no lock. Knows nothing of what it keeps.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable, Iterator
from typing import Any

_clock = itertools.count()


class _Entry:
    __slots__ = ("nbytes", "used", "value")

    def __init__(self, value: Any, nbytes: int) -> None:
        self.value, self.nbytes, self.used = value, nbytes, next(_clock)


class Recent:
    """At most `count` entries of at most `nbytes` bytes together; the two used last always stay.

    Args:
        shared: what of an entry others may hold too: {id: bytes}, counted once.
        dropped: called with each value that is forgotten.
    """

    def __init__(
        self,
        count: int,
        nbytes: int,
        shared: Callable[[Any], dict[int, int]] | None = None,
        dropped: Callable[[Any], None] | None = None,
    ) -> None:
        self.count, self.nbytes = count, nbytes
        self._shared, self._dropped = shared, dropped
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """The value of a key, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        entry.used = next(_clock)
        return entry.value

    def put(self, key: Hashable, value: Any, nbytes: int) -> None:
        """Keep a value, and forget others if there is no room."""
        with self._lock:
            self._entries[key] = _Entry(value, nbytes)
            while self._too_many():
                oldest = min(self._entries, key=lambda k: self._entries[k].used)
                gone = self._entries.pop(oldest)
                if self._dropped:
                    self._dropped(gone.value)

    def _too_many(self) -> bool:
        n = len(self._entries)
        return n > self.count or (n > 2 and self.held() > self.nbytes)

    def held(self) -> int:
        """Bytes of all entries."""
        entries = list(self._entries.values())
        shared: dict[int, int] = {}
        for entry in entries if self._shared else ():
            shared.update(self._shared(entry.value))  # type: ignore[misc]
        return sum(entry.nbytes for entry in entries) + sum(shared.values())

    def discard(self, unwanted: Callable[[Any], bool]) -> None:
        """Forget the keys for which this holds."""
        with self._lock:
            for key in [key for key in self._entries if unwanted(key)]:
                del self._entries[key]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Keys and values, the order being that of first use."""
        return iter([(key, entry.value) for key, entry in list(self._entries.items())])
