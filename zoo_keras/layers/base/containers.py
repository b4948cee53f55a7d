"""Lists and dicts of a layer that tell it what is put into them, and taken out, later.

`self.blocks = []` and then `self.blocks.append(Dense(3))` makes the Dense a sublayer, as in Keras.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class TrackedList(list):
    """A list that reports new items, and those taken out, to its owner."""

    def __init__(self, values: Iterable[Any] = (), owner: Any = None) -> None:
        super().__init__(values)
        self._owner = owner

    def _report(self, item: Any) -> None:
        if getattr(self, "_owner", None) is not None:
            self._owner._track_all(item)

    def __reduce__(self) -> Any:
        return TrackedList, (), (list(self), getattr(self, "_owner", None))

    def __setstate__(self, state: tuple[list[Any], Any]) -> None:
        super().extend(state[0])
        self._owner = state[1]

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

    def _drop(self, items: Any) -> None:
        if getattr(self, "_owner", None) is not None:
            self._owner._untrack_all(items)

    def pop(self, index: Any = -1) -> Any:
        """Take an item out."""
        item = super().pop(index)
        self._drop(item)
        return item

    def remove(self, item: Any) -> None:
        """Take out the first item that is equal."""
        del self[self.index(item)]

    def clear(self) -> None:
        """Take all items out."""
        del self[:]

    def __delitem__(self, index: Any) -> None:
        items = self[index]
        super().__delitem__(index)
        self._drop(items)


class TrackedDict(dict):
    """A dict that reports new values, and those taken out, to its owner."""

    def __init__(self, values: Any = (), owner: Any = None) -> None:
        super().__init__(values)
        self._owner = owner

    def __reduce__(self) -> Any:
        return TrackedDict, (), (dict(self), getattr(self, "_owner", None))

    def __setstate__(self, state: tuple[dict[Any, Any], Any]) -> None:
        super().update(state[0])
        self._owner = state[1]

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if getattr(self, "_owner", None) is not None:
            self._owner._track_all(value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set all given keys."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def pop(self, key: Any, *default: Any) -> Any:
        """Take a value out."""
        value = super().pop(key, *default)
        if getattr(self, "_owner", None) is not None:
            self._owner._untrack_all(value)
        return value

    def __delitem__(self, key: Any) -> None:
        self.pop(key)

    def popitem(self) -> tuple[Any, Any]:
        """Take out the pair that was put in last."""
        key = next(reversed(self))
        return key, self.pop(key)

    def clear(self) -> None:
        """Take all values out."""
        for key in list(self):
            self.pop(key)

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
