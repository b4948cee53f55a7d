"""Nested structures of lists, tuples and dicts: flatten, rebuild, map. Dicts go by sorted keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any


def flatten(structure: Any) -> list[Any]:
    """The leaves, left to right. None is a leaf."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for item in structure for leaf in flatten(item)]
    return [structure]


def pack_as(structure: Any, leaves: Iterable[Any]) -> Any:
    """The same structure with other leaves."""
    return _pack(structure, iter(leaves))


def map_structure(function: Callable[..., Any], structure: Any, *others: Any) -> Any:
    """The structure with function(leaf, ...) in place of every leaf."""
    columns = [flatten(structure), *[flatten(o) for o in others]]
    return pack_as(structure, [function(*leaves) for leaves in zip(*columns, strict=True)])


def _pack(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, dict):
        made = {key: _pack(structure[key], leaves) for key in sorted(structure)}
        return {key: made[key] for key in structure}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*[_pack(item, leaves) for item in structure])
    if isinstance(structure, (list, tuple)):
        return type(structure)(_pack(item, leaves) for item in structure)
    return next(leaves)
