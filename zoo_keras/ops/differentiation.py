"""Gradients of functions: rules of one's own, and products with Jacobians.

In: functions of tensors or arrays. Out: functions, or values of the same kinds as the arguments.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.graph import EagerTrace, Tensor, constant, current_trace, tracing
from zoo_keras.nest import flatten, map_structure, pack_as
from zoo_keras.ops.convert import is_variable
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives.op import as_tensors
from zoo_keras.primitives.own_gradient import own_gradient
from zoo_keras.values import answering


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function with a gradient of its own: f gives (result, grad), and grad gives the gradients
    of f's arguments, of those of the result.

    On arrays outside of a tape the result is all there is. Source: keras.ops.custom_gradient.

    >>> @custom_gradient
    ... def log1pexp(x):
    ...     e = ops.exp(x)
    ...     return ops.log(1 + e), lambda upstream: upstream * (1 - 1 / (1 + e))
    """

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        made = f(*args, **kwargs)
        if not isinstance(made, tuple) or len(made) != 2 or not callable(made[1]):
            raise ConfigError(
                "custom_gradient: the function must return its result and a function that gives "
                f"gradients. Received: {made!r}. Return (result, grad)."
            )
        result, grad = made
        if current_trace() is None and not any(isinstance(t, Tensor) for t in flatten(args)):
            return result
        outputs = as_tensors(flatten(result))
        taken = [isinstance(a, (Tensor, np.ndarray)) or is_variable(a) for a in flatten(args)]
        inputs = [a for a, take in zip(flatten(args), taken, strict=True) if take]
        rule = _Rule(grad, taken)
        tied = own_gradient(*outputs, *inputs, rule=rule, count=len(outputs))
        return pack_as(result, tied if isinstance(tied, (tuple, list)) else [tied])

    return public(call)


class _Rule:
    """The gradients of the arguments that are tensors, by a function of the user's."""

    def __init__(self, grad: Callable[..., Any], taken: Sequence[bool]) -> None:
        self.grad, self.taken = grad, list(taken)

    def __call__(self, upstream: Sequence[Any]) -> list[Any]:
        given = flatten(self.grad(*upstream))
        if len(given) != len(self.taken):
            raise ConfigError(
                "custom_gradient: the gradient function must give one gradient for each argument. "
                f"Received: {len(given)} for {len(self.taken)} arguments. Use None where there is "
                "none."
            )
        kept = [g for g, take in zip(given, self.taken, strict=True) if take]
        return [None if g is None else as_tensors([g])[0] for g in kept]


@public
def jvp(
    fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False
) -> tuple[Any, ...]:
    """(fun(*primals), the derivative of fun there along the tangents), and fun's second result as
    the third if has_aux.

    The derivative is taken of the gradient, which is linear in what it is given, so every op on
    the way needs a gradient of its gradient. Source: keras.ops.jvp.

    >>> jvp(ops.sin, (0.1,), (0.2,))
    (array(0.09983342, dtype=float32), array(0.19900084, dtype=float32))
    """
    given, along = flatten(list(primals)), flatten(list(tangents))
    if [np.shape(p) for p in given] != [np.shape(t) for t in along]:
        raise ShapeError(
            "jvp: the tangents need the structure and shapes of the primals. Received: "
            f"{[np.shape(t) for t in along]} for {[np.shape(p) for p in given]}. Make them equal."
        )
    arrays = current_trace() is None
    with tracing(EagerTrace()) if arrays else nullcontext():
        points = [_own(t) for t in as_tensors(given)]
        made = fun(*pack_as(list(primals), points))
        result, aux = made if has_aux else (made, None)
        moved = _along(as_tensors(flatten(result)), points, as_tensors(along))
        found = [pack_as(result, as_tensors(flatten(result))), pack_as(result, moved)]
        found += [aux] if has_aux else []
        return tuple(map_structure(_array, part) if arrays else part for part in found)


def _own(tensor: Tensor) -> Tensor:
    """A tensor of its own, so that two equal arguments stay two."""
    if tensor.node.op.name == "constant":
        return constant(tensor.node.attrs["value"])
    same: Tensor = own_gradient(tensor, tensor, rule=_same, count=1)
    return same


def _same(upstream: Sequence[Any]) -> list[Any]:
    return list(upstream)


def _along(outputs: list[Tensor], points: list[Tensor], along: list[Tensor]) -> list[Tensor]:
    from zoo_keras.passes.grad import pullback

    weights = [constant(np.zeros(t.shape, np.float32), t.dtype) for t in outputs]
    back = pullback(outputs, weights, points)
    pairs = [(b, v) for b, v in zip(back, along, strict=True) if b is not None]
    found = pullback([b for b, _ in pairs], [v for _, v in pairs], weights)
    return [
        constant(np.zeros(t.shape, np.float32), t.dtype) if g is None else g
        for t, g in zip(outputs, found, strict=True)
    ]


def _array(leaf: Any) -> Any:
    return answering(np.asarray(leaf)) if isinstance(leaf, Tensor) else leaf


__all__ = ["custom_gradient", "jvp"]
