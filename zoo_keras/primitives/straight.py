"""Public ops that are one call of the engine: arrays of shapes seen before go straight to it.

In: a public op, and what the engine notes of its calls. Out: the op, which remembers by shapes,
dtypes and plain arguments which compiled call its result was. Knows no engine and no op.
"""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo_keras import native
from zoo_keras.primitives import conv_choice, tile_choice
from zoo_keras.recent import Recent
from zoo_keras.switches import image_data_format
from zoo_keras.values import ARRAYS

KEPT, KEPT_BYTES = 64, 32 << 20  # calls of each op
_PLAIN = frozenset({int, float, str, bool, type(None)})


class Made(NamedTuple):
    """A call of the engine: what was called, with which arrays, and what it gave."""

    call: Any
    arrays: Sequence[np.ndarray]
    outs: Sequence[np.ndarray]


class _Seen(threading.local):
    made: list[Made] | None = None  # None: nobody asks


_seen = _Seen()


def note(made: Made) -> None:
    """The engine has made a call on arrays."""
    if _seen.made is not None:
        _seen.made.append(made)


def settings() -> Hashable:
    """What else than an op, shapes and attributes decides which program is made."""
    engine = native.settings(), conv_choice.exact(), tile_choice.inference_dtype()
    return (*engine, image_data_format())


def straight(function: Callable[..., Any]) -> Callable[..., Any]:
    """For an op whose attributes follow from shapes and plain arguments, never from values.

    `ready(args, kwargs)` of the function that is made gives the result by a call that is
    remembered, or None; the function itself computes, and remembers.
    """
    kept = Recent(KEPT, KEPT_BYTES)

    def ready(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        arrays: list[np.ndarray] = []
        key = _key(args, kwargs, arrays)
        call = None if key is None else kept.get(key)
        return None if call is None else call(arrays)[0]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        arrays: list[np.ndarray] = []
        key = _key(args, kwargs, arrays)
        if key is None:
            return function(*args, **kwargs)
        made: list[Made] = []
        before, _seen.made = _seen.made, made
        try:
            result = function(*args, **kwargs)
        finally:
            _seen.made = before
        if len(made) == 1 and _is_all(made[0], arrays, result):
            kept.put(key, made[0].call, made[0].call.nbytes)
        return result

    call.ready = ready  # type: ignore[attr-defined]
    return call


def _is_all(made: Made, arrays: Sequence[np.ndarray], result: Any) -> bool:
    """Whether a call got just the arrays as they are, and gave the result as it is."""
    expected, found = [*arrays, result], [*made.arrays, *made.outs]
    return len(found) == len(expected) and all(map(operator.is_, found, expected))


def _key(
    args: Sequence[Any], kwargs: Mapping[str, Any], arrays: list[np.ndarray]
) -> Hashable | None:
    """What tells the program of one call from that of another, its arrays being collected. None:
    there is an argument of which nothing is known."""
    kinds: list[Any] = [settings()]
    known = _add_kinds(kinds, args, arrays)
    if known and kwargs:
        known = _add_kinds(kinds, [*kwargs.items()], arrays)
    return tuple(kinds) if known else None


def _add_kinds(kinds: list[Any], args: Iterable[Any], arrays: list[np.ndarray]) -> bool:
    for a in args:
        kind = type(a)
        if kind in ARRAYS and a.flags.c_contiguous:
            arrays.append(a)
            kinds += a.shape, a.dtype
        elif kind in _PLAIN:
            kinds += kind, a
        elif kind is tuple:
            kinds.append(len(a))
            if not _add_kinds(kinds, a, arrays):
                return False
        else:
            return False
    return True
