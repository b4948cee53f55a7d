"""Rare elementwise functions, which run on the host: trigonometry beyond sine and cosine, its
hyperbolic relatives, and the inverse of erf.

In: arrays or tensors that broadcast to one shape. Out: one array of that shape, floating point.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

from zoo_keras.primitives.elementwise import (
    add,
    cos,
    divide,
    exp,
    floating,
    multiply,
    negative,
    rsqrt,
    square,
    subtract,
)
from zoo_keras.primitives.op import Sample, elementwise

_INSIDE = [Sample([(4, 5)], low=-0.9, high=0.9)]


@elementwise(
    shape=floating,
    grad=lambda g, y, x: (divide(g, square(cos(x))),),
    samples=_INSIDE,
)
def tan(x: Any) -> Any:
    """The tangent of x radians."""
    return np.tan(x)


@elementwise(
    shape=floating,
    grad=lambda g, y, x: (multiply(g, rsqrt(subtract(1.0, square(x)))),),
    samples=_INSIDE,
)
def arcsin(x: Any) -> Any:
    """The angle whose sine is x."""
    return np.arcsin(x)


@elementwise(
    shape=floating,
    grad=lambda g, y, x: (negative(multiply(g, rsqrt(subtract(1.0, square(x))))),),
    samples=_INSIDE,
)
def arccos(x: Any) -> Any:
    """The angle whose cosine is x."""
    return np.arccos(x)


@elementwise(
    shape=floating,
    grad=lambda g, y, x: (divide(g, add(square(x), 1.0)),),
    samples=_INSIDE,
)
def arctan(x: Any) -> Any:
    """The angle whose tangent is x."""
    return np.arctan(x)


def _arctan2_grad(g: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    scaled = divide(g, add(square(a), square(b)))
    return multiply(scaled, b), negative(multiply(scaled, a))


@elementwise(
    shape=floating,
    grad=_arctan2_grad,
    samples=[Sample([(4, 5), (5,)], low=0.2, high=2)],
)
def arctan2(a: Any, b: Any) -> Any:
    """The angle of the point (b, a), from -pi to pi."""
    return np.arctan2(a, b)


@elementwise(shape=floating, grad=lambda g, y, x: (multiply(g, cosh(x)),), samples=_INSIDE)
def sinh(x: Any) -> Any:
    """The hyperbolic sine."""
    return np.sinh(x)


@elementwise(shape=floating, grad=lambda g, y, x: (multiply(g, sinh(x)),), samples=_INSIDE)
def cosh(x: Any) -> Any:
    """The hyperbolic cosine."""
    return np.cosh(x)


@elementwise(
    shape=floating,
    grad=lambda g, y, x: (multiply(g, rsqrt(add(square(x), 1.0))),),
    samples=_INSIDE,
)
def arcsinh(x: Any) -> Any:
    """The inverse of sinh."""
    return np.arcsinh(x)


@elementwise(
    shape=floating,
    grad=lambda g, y, x: (multiply(g, rsqrt(subtract(square(x), 1.0))),),
    samples=[Sample([(4, 5)], low=1.2, high=4)],
)
def arccosh(x: Any) -> Any:
    """The inverse of cosh; NaN below 1."""
    return np.arccosh(x)


@elementwise(
    shape=floating,
    grad=lambda g, y, x: (divide(g, subtract(1.0, square(x))),),
    samples=_INSIDE,
)
def arctanh(x: Any) -> Any:
    """The inverse of tanh; infinite at -1 and 1, NaN outside."""
    return np.arctanh(x)


def _erfinv_of(x: float) -> float:
    if -1 < x < 1:
        return NormalDist().inv_cdf((x + 1) / 2) / math.sqrt(2)
    return math.copysign(math.inf, x) if x in (-1, 1) else math.nan


_erfinv = np.vectorize(_erfinv_of, otypes=[np.float64])


@elementwise(
    shape=floating,
    grad=lambda g, y, x: (multiply(g, multiply(exp(square(y)), math.sqrt(math.pi) / 2)),),
    samples=_INSIDE,
)
def erfinv(x: Any) -> Any:
    """The inverse of erf; infinite at -1 and 1, NaN outside."""
    return _erfinv(x)
