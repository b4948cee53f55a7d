"""Public ops that are one primitive: their arguments become tensors or arrays, no more.

In: a primitive, and what its public form says of itself. Out: the public op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo_keras.ops.convert import as_float, operand, value
from zoo_keras.ops.symbolic import public

Unary = Callable[[Any], Any]
Binary = Callable[[Any, Any], Any]


def unary(op: Any, doc: str, name: str = "", take: Unary = value) -> Unary:
    """op(x), under the primitive's name or another."""

    def function(x: Any) -> Any:
        return op(take(x))

    return named(function, name or op.name, doc)


def unary_float(op: Any, doc: str, name: str = "") -> Unary:
    """op(x) of a floating x; integers become float32."""
    return unary(op, doc, name, as_float)


def binary(op: Any, doc: str, name: str = "") -> Binary:
    """op(x1, x2); a Python number takes the dtype of what it meets."""

    def function(x1: Any, x2: Any) -> Any:
        return op(operand(x1), operand(x2))

    return named(function, name or op.name, doc)


def bits(op: Any, doc: str) -> Binary:
    """op(x, y) of whole numbers."""

    def function(x: Any, y: Any) -> Any:
        return op(operand(x), operand(y))

    return named(function, op.name, doc)


def named(function: Callable[..., Any], name: str, doc: str) -> Callable[..., Any]:
    """As `def name` in zoo_keras.ops would make it, so that pickle finds it there."""
    function.__name__ = function.__qualname__ = name
    function.__module__, function.__doc__ = "zoo_keras.ops", doc
    return public(function)
