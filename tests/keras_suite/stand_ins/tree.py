"""Names of `keras.src.tree` that zoo_keras keeps elsewhere."""

from __future__ import annotations

from typing import Any


def register_tree_node_class(cls: Any) -> Any:
    """Classes that optree is told of; zoo_keras knows lists, tuples and dicts by themselves."""
    return cls
