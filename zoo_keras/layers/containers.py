"""Lists and dicts of a layer that tell it what is put into them later.

`self.blocks = []` and then `self.blocks.append(Dense(3))` makes the Dense a sublayer, as in Keras.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class TrackedList(list):
    """A list that reports new items to its owner."""

    def __init__(self, values: Iterable[Any] = (), owner: Any = None) -> None:
        super().__init__(values)
        self._owner = owner

    def _report(self, item: Any) -> None:
        if getattr(self, "_owner", None) is not None:
            self._owner._track_all(item)

    def append(self, item: Any) -> None:
        """Add an item at the end."""
        super().append(item)
        self._report(item)

    def insert(self, index: Any, item: Any) -> None:
        """Put an item before the index."""
        super().insert(index, item)
        self._report(item)

    def extend(self, items: Iterable[Any]) -> None:
        """Add all items at the end."""
        for item in items:
            self.append(item)

    def __iadd__(self, items: Iterable[Any]) -> TrackedList:  # type: ignore[misc]
        self.extend(items)
        return self

    def __setitem__(self, index: Any, item: Any) -> None:
        super().__setitem__(index, item)
        self._report(item)


class TrackedDict(dict):
    """A dict that reports new values to its owner."""

    def __init__(self, values: Any = (), owner: Any = None) -> None:
        super().__init__(values)
        self._owner = owner

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if getattr(self, "_owner", None) is not None:
            self._owner._track_all(value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set all given keys."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The value of the key, which becomes the default when there is none."""
        if key not in self:
            self[key] = default
        return self[key]


def tracked(value: Any, owner: Any) -> Any:
    """A plain list or dict as one that reports to the owner; anything else stays itself."""
    if type(value) is list:
        return TrackedList((tracked(v, owner) for v in value), owner)
    if type(value) is dict:
        return TrackedDict({k: tracked(v, owner) for k, v in value.items()}, owner)
    return value
