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

tan = elementwise(
    np.tan,
    "The tangent of x radians.",
    shape=floating,
    grad=lambda g, y, x: (divide(g, square(cos(x))),),
    samples=_INSIDE,
)
arcsin = elementwise(
    np.arcsin,
    "The angle whose sine is x.",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, rsqrt(subtract(1.0, square(x)))),),
    samples=_INSIDE,
)
arccos = elementwise(
    np.arccos,
    "The angle whose cosine is x.",
    shape=floating,
    grad=lambda g, y, x: (negative(multiply(g, rsqrt(subtract(1.0, square(x))))),),
    samples=_INSIDE,
)
arctan = elementwise(
    np.arctan,
    "The angle whose tangent is x.",
    shape=floating,
    grad=lambda g, y, x: (divide(g, add(square(x), 1.0)),),
    samples=_INSIDE,
)


def _arctan2_grad(g: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    scaled = divide(g, add(square(a), square(b)))
    return multiply(scaled, b), negative(multiply(scaled, a))


arctan2 = elementwise(
    np.arctan2,
    "The angle of the point (b, a), from -pi to pi.",
    shape=floating,
    grad=_arctan2_grad,
    samples=[Sample([(4, 5), (5,)], low=0.2, high=2)],
)
sinh = elementwise(
    np.sinh,
    "The hyperbolic sine.",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, cosh(x)),),
    samples=_INSIDE,
)
cosh = elementwise(
    np.cosh,
    "The hyperbolic cosine.",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, sinh(x)),),
    samples=_INSIDE,
)
arcsinh = elementwise(
    np.arcsinh,
    "The inverse of sinh.",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, rsqrt(add(square(x), 1.0))),),
    samples=_INSIDE,
)
arccosh = elementwise(
    np.arccosh,
    "The inverse of cosh; NaN below 1.",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, rsqrt(subtract(square(x), 1.0))),),
    samples=[Sample([(4, 5)], low=1.2, high=4)],
)
arctanh = elementwise(
    np.arctanh,
    "The inverse of tanh; infinite at -1 and 1, NaN outside.",
    shape=floating,
    grad=lambda g, y, x: (divide(g, subtract(1.0, square(x))),),
    samples=_INSIDE,
)


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
