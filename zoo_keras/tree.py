"""`zoo_keras.tree`: nested structures of lists, tuples and dicts, as `keras.tree` treats them.

In: structures. Out: leaves, structures, comparisons. None is a leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from zoo_keras.errors import ShapeError
from zoo_keras.missing import missing
from zoo_keras.nest import flatten, map_structure
from zoo_keras.nest import pack_as as _pack_as


class MAP_TO_NONE:
    """What a function of `traverse` returns where None is to stand."""


def is_nested(structure: Any) -> bool:
    """Whether it is a list, tuple or dict."""
    return isinstance(structure, (list, tuple, dict))


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """The structure with func(part) wherever that is not None, from the outside in or back."""
    if top_down:
        made = func(structure)
        if made is not None:
            return None if made is MAP_TO_NONE else made
    inner = [traverse(func, part, top_down) for part in _parts(structure)]
    whole = _rebuilt(structure, inner)
    if top_down:
        return whole
    made = func(whole)
    return whole if made is None else (None if made is MAP_TO_NONE else made)


def _parts(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        return [structure[key] for key in sorted(structure)]
    return list(structure) if is_nested(structure) else []


def _rebuilt(structure: Any, parts: Sequence[Any]) -> Any:
    if isinstance(structure, dict):
        found = dict(zip(sorted(structure), parts, strict=True))
        return {key: found[key] for key in structure}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*parts)
    return type(structure)(parts) if is_nested(structure) else structure


def flatten_with_path(structure: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """(path of keys and indices, leaf) for every leaf."""
    return list(_paths(structure, ()))


def _paths(structure: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if not is_nested(structure):
        yield path, structure
        return
    keys = sorted(structure) if isinstance(structure, dict) else range(len(structure))
    for key in keys:
        yield from _paths(structure[key], (*path, key))


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """func(parts) where the shallow structure has its leaves."""
    columns = [_up_to(shallow_structure, s) for s in structures]
    made = [func(*parts) for parts in zip(*columns, strict=True)]
    return _pack_as(shallow_structure, made)


def _up_to(shallow: Any, structure: Any) -> list[Any]:
    if not is_nested(shallow):
        return [structure]
    pairs = zip(_parts(shallow), _parts(structure), strict=True)
    return [part for s, d in pairs for part in _up_to(s, d)]


def assert_same_structure(a: Any, b: Any, check_types: Any = None) -> None:
    """ShapeError unless both nest alike, in the same kinds of lists, tuples and dicts."""
    del check_types
    alike = (type(a) is type(b) and len(a) == len(b)) if is_nested(a) else not is_nested(b)
    if alike and isinstance(a, dict):
        alike = set(a) == set(b)
    if not alike:
        raise ShapeError(f"The structures differ. Received: {a!r} and {b!r}. Nest them alike.")
    for one, other in zip(_parts(a), _parts(b), strict=True):
        assert_same_structure(one, other)


def assert_same_paths(a: Any, b: Any) -> None:
    """ShapeError unless the paths of all leaves are the same."""
    first, second = ({path for path, _ in flatten_with_path(s)} for s in (a, b))
    if first != second:
        raise ShapeError(
            f"The structures have different paths. Received: {sorted(map(str, first ^ second))} in "
            "one of them only. Nest them alike."
        )


def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any]) -> Any:
    """The structure with other leaves; ShapeError for another number of them."""
    count = len(flatten(structure))
    if count != len(flat_sequence):
        raise ShapeError(
            f"pack_sequence_as: the structure has {count} leaves. Received: {len(flat_sequence)} "
            "values. Pass one for each leaf."
        )
    return _pack_as(structure, flat_sequence)


def lists_to_tuples(structure: Any) -> Any:
    """The structure with tuples in place of lists."""
    made = _rebuilt(structure, [lists_to_tuples(part) for part in _parts(structure)])
    return tuple(made) if isinstance(made, list) else made


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """func(shape) for every shape, which are tuples and lists of numbers."""
    if isinstance(structure, (list, tuple)) and all(
        d is None or isinstance(d, int) for d in structure
    ):
        return func(tuple(structure))
    if not is_nested(structure):
        return func(structure)
    return _rebuilt(structure, [map_shape_structure(func, part) for part in _parts(structure)])


__all__ = [
    "MAP_TO_NONE", "assert_same_paths", "assert_same_structure", "flatten", "flatten_with_path",
    "is_nested", "lists_to_tuples", "map_shape_structure", "map_structure", "map_structure_up_to",
    "pack_sequence_as", "traverse",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.tree", name)
