"""Names of `keras.src.utils.tracking`: sets and ordered dicts that are structures, for tests of
zoo_keras.tree. Layers here refuse sets, whose order differs from process to process."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from zoo_keras.layers.base.containers import TrackedDict, TrackedList
from zoo_keras.tree import register_tree_node_class


class TrackedOrderedDict(OrderedDict):
    """An OrderedDict of its own class."""


@register_tree_node_class
class TrackedSet(set):
    """A set whose elements are the parts of a structure."""

    def tree_flatten(self) -> tuple[Any, None]:
        """The elements, and nothing else."""
        return self, None

    @classmethod
    def tree_unflatten(cls, rest: None, parts: Any) -> TrackedSet:
        """A set of these."""
        return cls(parts)


__all__ = ["TrackedDict", "TrackedList", "TrackedOrderedDict", "TrackedSet"]
