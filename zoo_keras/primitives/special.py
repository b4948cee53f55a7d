"""Rare elementwise functions: powers of two, trigonometry beyond sine and cosine, its
hyperbolic relatives, and the inverse of erf.

In: arrays or tensors that broadcast to one shape. Out: one array of that shape, floating point.
"""

from __future__ import annotations

import math
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
    tile="exp2",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, multiply(y, math.log(2.0))),),
    samples=_INSIDE,
)
def exp2(x: Any) -> Any:
    """2 to the power of x."""
    return np.exp2(x)


@elementwise(
    tile="tan",
    shape=floating,
    grad=lambda g, y, x: (divide(g, square(cos(x))),),
    samples=_INSIDE,
)
def tan(x: Any) -> Any:
    """The tangent of x radians."""
    return np.tan(x)


@elementwise(
    tile="arcsin",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, rsqrt(subtract(1.0, square(x)))),),
    samples=_INSIDE,
)
def arcsin(x: Any) -> Any:
    """The angle whose sine is x."""
    return np.arcsin(x)


@elementwise(
    tile="arccos",
    shape=floating,
    grad=lambda g, y, x: (negative(multiply(g, rsqrt(subtract(1.0, square(x))))),),
    samples=_INSIDE,
)
def arccos(x: Any) -> Any:
    """The angle whose cosine is x."""
    return np.arccos(x)


@elementwise(
    tile="arctan",
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
    tile="arctan2",
    shape=floating,
    grad=_arctan2_grad,
    samples=[Sample([(4, 5), (5,)], low=0.2, high=2)],
)
def arctan2(a: Any, b: Any) -> Any:
    """The angle of the point (b, a), from -pi to pi."""
    return np.arctan2(a, b)


@elementwise(
    tile="sinh",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, cosh(x)),),
    samples=_INSIDE,
)
def sinh(x: Any) -> Any:
    """The hyperbolic sine."""
    return np.sinh(x)


@elementwise(
    tile="cosh",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, sinh(x)),),
    samples=_INSIDE,
)
def cosh(x: Any) -> Any:
    """The hyperbolic cosine."""
    return np.cosh(x)


@elementwise(
    tile="arcsinh",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, rsqrt(add(square(x), 1.0))),),
    samples=_INSIDE,
)
def arcsinh(x: Any) -> Any:
    """The inverse of sinh."""
    return np.arcsinh(x)


@elementwise(
    tile="arccosh",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, rsqrt(subtract(square(x), 1.0))),),
    samples=[Sample([(4, 5)], low=1.2, high=4)],
)
def arccosh(x: Any) -> Any:
    """The inverse of cosh; NaN below 1."""
    return np.arccosh(x)


@elementwise(
    tile="arctanh",
    shape=floating,
    grad=lambda g, y, x: (divide(g, subtract(1.0, square(x))),),
    samples=_INSIDE,
)
def arctanh(x: Any) -> Any:
    """The inverse of tanh; infinite at -1 and 1, NaN outside."""
    return np.arctanh(x)


# Numerators and denominators of algorithm AS 241 (Wichura 1988), the highest power first: for x
# around 0, and for -1 and 1 from the root of a logarithm, nearer and farther.
_RATIOS = np.array([
    (2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987,
     13731.69376550946, 1971.5909503065513, 133.14166789178438, 3.3871328727963665),
    (5226.495278852854, 28729.085735721943, 39307.89580009271, 21213.794301586597,
     5394.196021424751, 687.1870074920579, 42.31333070160091, 1.0),
    (0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684,
     3.6478483247632045, 5.769497221460691, 4.630337846156546, 1.4234371107496835),
    (1.0507500716444169e-09, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008,
     0.6897673349851, 1.6763848301838038, 2.053191626637759, 1.0),
    (2.0103343992922881e-07, 2.7115555687434876e-05, 0.0012426609473880784, 0.026532189526576124,
     0.29656057182850487, 1.7848265399172913, 5.463784911164114, 6.657904643501103),
    (2.0442631033899397e-15, 1.421511758316446e-07, 1.8463183175100548e-05, 0.0007868691311456133,
     0.014875361290850615, 0.1369298809227358, 0.599832206555888, 1.0),
]).reshape(3, 2, 8)  # fmt: skip


def _ratio(part: int, r: np.ndarray) -> np.ndarray:
    above, below = _RATIOS[part]
    return np.polyval(above, r) / np.polyval(below, r)


def _erfinv(x: Any) -> np.ndarray:
    """In float64, exact to its last digits but one."""
    x = np.asarray(x, np.float64)
    found = np.asarray(x / 2 * _ratio(0, 0.180625 - x * x / 4))
    outer = np.abs(x) > 0.85
    if outer.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            r = np.sqrt(-np.log((1 - np.abs(x[outer])) / 2))
            tail = np.where(r <= 5, _ratio(1, r - 1.6), _ratio(2, r - 5))
        # Infinite at -1 and 1, NaN outside.
        found[outer] = np.copysign(np.where(np.isinf(r), r, tail), x[outer])
    return found / math.sqrt(2)


@elementwise(
    tile="erfinv",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, multiply(exp(square(y)), math.sqrt(math.pi) / 2)),),
    samples=_INSIDE,
)
def erfinv(x: Any) -> Any:
    """The inverse of erf; infinite at -1 and 1, NaN outside."""
    return _erfinv(x)
