"""`zoo_keras.tree`: nested structures of lists, tuples, deques and dicts, as `keras.tree` treats
them.

In: structures. Out: leaves, structures, comparisons. None is a leaf. Dicts go by sorted keys, an
OrderedDict by its own order. Inside the package `nest` does the same for lists, tuples and dicts.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.missing import missing

_DICTS = (dict, OrderedDict, defaultdict)  # a dict of one kind may stand where another is expected
_nodes: set[type] = set()
_Class = TypeVar("_Class", bound=type)


class MAP_TO_NONE:
    """What a function of `traverse` returns where None is to stand."""


def register_tree_node_class(cls: _Class) -> _Class:
    """Let objects of a class be structures: `tree_flatten()` gives their parts and what else they
    are made of, the class method `tree_unflatten(rest, parts)` makes one again.

    Source: keras.src.tree.
    """
    _nodes.add(cls)
    return cls


def is_nested(structure: Any) -> bool:
    """Whether it is a list, tuple, deque or dict."""
    return isinstance(structure, (list, tuple, deque, dict)) or type(structure) in _nodes


def _keys(structure: dict[Any, Any]) -> list[Any]:
    return list(structure) if isinstance(structure, OrderedDict) else sorted(structure)


def _parts(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        return [structure[key] for key in _keys(structure)]
    if isinstance(structure, (list, tuple, deque)):
        return list(structure)
    return list(structure.tree_flatten()[0]) if type(structure) in _nodes else []


def _rebuilt(structure: Any, parts: Sequence[Any]) -> Any:
    """A structure of the same kind with other parts."""
    kind = type(structure)
    if isinstance(structure, dict):
        found = dict(zip(_keys(structure), parts, strict=True))
        pairs = [(key, found[key]) for key in structure]
        first = (structure.default_factory,) if isinstance(structure, defaultdict) else ()
        return kind(*first, pairs)
    if isinstance(structure, deque):
        return kind(parts, structure.maxlen)
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return kind(*parts)
    if isinstance(structure, (list, tuple)):
        return kind(parts)
    if kind in _nodes:
        return kind.tree_unflatten(structure.tree_flatten()[1], parts)
    return structure


def _callable(func: Any) -> None:
    if not callable(func):
        raise TypeError(f"`func` must be callable. Received: {func!r}. Pass a function.")


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """The structure with func(part) wherever that is not None, from the outside in or back."""
    _callable(func)
    return _traversed(func, structure, top_down)


def _traversed(func: Callable[[Any], Any], structure: Any, top_down: bool) -> Any:
    if top_down:
        made = func(structure)
        if made is not None:
            return None if made is MAP_TO_NONE else made
    inner = [_traversed(func, part, top_down) for part in _parts(structure)]
    whole = _rebuilt(structure, inner)
    if top_down:
        return whole
    made = func(whole)
    return whole if made is None else (None if made is MAP_TO_NONE else made)


def flatten(structure: Any) -> list[Any]:
    """The leaves, left to right.

    >>> flatten({"b": [2, 3], "a": 1})
    [1, 2, 3]
    """
    return [leaf for _, leaf in _paths(structure, ())]


def flatten_with_path(structure: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """(path of keys and indices, leaf) for every leaf."""
    return list(_paths(structure, ()))


def _paths(structure: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if not is_nested(structure):
        yield path, structure
        return
    parts = _parts(structure)
    keys = _keys(structure) if isinstance(structure, dict) else range(len(parts))
    for key, part in zip(keys, parts):
        yield from _paths(part, (*path, key))


def map_structure(func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True) -> Any:
    """The first structure with func(leaf, ...) in place of each leaf; all must nest alike.

    Without `none_is_leaf` None stays None. Raises TypeError for what cannot be called, ConfigError
    without a structure, ShapeError for structures that differ.
    """
    _callable(func)
    if not structures:
        raise ConfigError("map_structure needs at least one structure. Received: none. Pass one.")
    for other in structures[1:]:
        assert_same_structure(structures[0], other)
    return _mapped(func if none_is_leaf else _skipping_none(func), structures)


def _skipping_none(func: Callable[..., Any]) -> Callable[..., Any]:
    def call(*leaves: Any) -> Any:
        if leaves[0] is not None:
            return func(*leaves)
        if any(leaf is not None for leaf in leaves):
            raise ShapeError(
                f"Structure mismatch: None is in one structure only. Received: {leaves}. Nest them "
                "alike."
            )
        return None

    return call


def _mapped(func: Callable[..., Any], structures: Sequence[Any]) -> Any:
    first = structures[0]
    if not is_nested(first):
        return func(*structures)
    columns = [_parts_like(first, other) for other in structures]
    return _rebuilt(first, [_mapped(func, parts) for parts in zip(*columns, strict=True)])


def _parts_like(first: Any, other: Any) -> list[Any]:
    """The parts of `other` in the order of those of `first`."""
    if isinstance(first, dict):
        return [other[key] for key in _keys(first)]
    return _parts(other)


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """func(parts) where the shallow structure has its leaves."""
    _callable(func)
    columns = [_up_to(shallow_structure, s) for s in structures]
    return pack_sequence_as(shallow_structure, [func(*parts) for parts in zip(*columns)])


def _up_to(shallow: Any, structure: Any) -> list[Any]:
    if not is_nested(shallow):
        return [structure]
    _compare(shallow, structure)
    pairs = zip(_parts(shallow), _parts_like(shallow, structure))
    return [part for s, d in pairs for part in _up_to(s, d)]


def assert_same_structure(a: Any, b: Any) -> None:
    """ShapeError unless both nest alike, in the same kinds of lists, tuples and dicts."""
    _compare(a, b)
    if is_nested(a):
        for one, other in zip(_parts(a), _parts_like(a, b)):
            assert_same_structure(one, other)


def _compare(a: Any, b: Any) -> None:
    """ShapeError unless both are leaves, or of one kind with as many parts under the same keys."""
    if not is_nested(a):
        if is_nested(b):
            raise _differ("The structures don't have the same nested structure", a, b)
        return
    if type(a) is not type(b) and not (type(a) in _DICTS and type(b) in _DICTS):
        raise _differ(f"Expected {_kind(a)}, got {_kind(b)}", a, b)
    if isinstance(a, dict):
        free = type(a) in _DICTS
        if (sorted(a) != sorted(b)) if free else (_keys(a) != _keys(b)):
            raise _differ("Dictionary key mismatch", a, b)
    elif len(_parts(a)) != len(_parts(b)):
        raise _differ(f"Arity mismatch: {len(_parts(a))} and {len(_parts(b))} parts", a, b)


def _kind(structure: Any) -> str:
    kind = type(structure)
    named = " (a namedtuple)" if hasattr(kind, "_fields") else ""
    return f"{kind.__module__}.{kind.__qualname__}{named}"


def _differ(how: str, a: Any, b: Any) -> ShapeError:
    return ShapeError(f"{how}. Received: {a!r} and {b!r}. Nest them alike.")


def assert_same_paths(a: Any, b: Any) -> None:
    """ShapeError unless the paths of all leaves are the same."""
    first, second = ({path for path, _ in flatten_with_path(s)} for s in (a, b))
    if first != second:
        raise ShapeError(
            "The structures don't have the same paths. Received: "
            f"{sorted(map(str, first ^ second))}"
            " in one of them only. Nest them alike."
        )


def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any]) -> Any:
    """The structure with other leaves; ShapeError for another number of them."""
    if not isinstance(flat_sequence, Iterable):
        raise TypeError(
            f"pack_sequence_as: `flat_sequence` must be iterable. Received: {flat_sequence!r}. "
            "Pass a list."
        )
    leaves, count = list(flat_sequence), len(flatten(structure))
    if count != len(leaves):
        raise ShapeError(
            f"pack_sequence_as: wrong number of leaves, expected: {count}. Received: {len(leaves)} "
            "values. Pass one for each leaf."
        )
    rest = iter(leaves)
    return _mapped(lambda _: next(rest), (structure,))


def lists_to_tuples(structure: Any) -> Any:
    """The structure with tuples in place of lists."""
    return traverse(lambda part: tuple(part) if isinstance(part, list) else None, structure, False)


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """func(shape) for every shape, which are tuples and lists of numbers."""
    _callable(func)

    def mapped(part: Any) -> Any:
        if is_nested(part) and not _is_shape(part):
            return None
        made = func(part)
        return MAP_TO_NONE if made is None else made

    return traverse(mapped, structure)


def _is_shape(part: Any) -> bool:
    return isinstance(part, (list, tuple)) and all(d is None or isinstance(d, int) for d in part)


__all__ = [
    "MAP_TO_NONE", "assert_same_paths", "assert_same_structure", "flatten", "flatten_with_path",
    "is_nested", "lists_to_tuples", "map_shape_structure", "map_structure", "map_structure_up_to",
    "pack_sequence_as", "traverse",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    raise missing("zoo_keras.tree", name)
