"""Public elementwise ops of the rarer kind: trigonometry, complex parts of real numbers, bits.

In: tensors, Variables, arrays, numbers that broadcast. Out: one tensor or array.
"""

from __future__ import annotations

import math
from typing import Any

from zoo_keras.ops.convert import as_float, operand, value
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import bitwise, special
from zoo_keras.primitives import elementwise as m

# --- trigonometry


@public
def sin(x: Any) -> Any:
    """The sine of x radians."""
    return m.sin(as_float(x))


@public
def cos(x: Any) -> Any:
    """The cosine of x radians."""
    return m.cos(as_float(x))


@public
def tan(x: Any) -> Any:
    """The tangent of x radians."""
    return special.tan(as_float(x))


@public
def arcsin(x: Any) -> Any:
    """The angle whose sine is x."""
    return special.arcsin(as_float(x))


@public
def arccos(x: Any) -> Any:
    """The angle whose cosine is x."""
    return special.arccos(as_float(x))


@public
def arctan(x: Any) -> Any:
    """The angle whose tangent is x."""
    return special.arctan(as_float(x))


@public
def arctan2(x1: Any, x2: Any) -> Any:
    """The angle of the point (x2, x1), from -pi to pi."""
    return special.arctan2(as_float(x1), as_float(x2))


@public
def sinh(x: Any) -> Any:
    """The hyperbolic sine."""
    return special.sinh(as_float(x))


@public
def cosh(x: Any) -> Any:
    """The hyperbolic cosine."""
    return special.cosh(as_float(x))


@public
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return m.tanh(as_float(x))


@public
def arcsinh(x: Any) -> Any:
    """The inverse of sinh."""
    return special.arcsinh(as_float(x))


@public
def arccosh(x: Any) -> Any:
    """The inverse of cosh."""
    return special.arccosh(as_float(x))


@public
def arctanh(x: Any) -> Any:
    """The inverse of tanh."""
    return special.arctanh(as_float(x))


@public
def sinc(x: Any) -> Any:
    """sin(pi * x) / (pi * x), and 1 at 0."""
    x = m.multiply(as_float(x), math.pi)
    zero = m.equal(x, 0.0)
    safe = m.where(zero, 1.0, x)
    return m.where(zero, 1.0, m.divide(m.sin(safe), safe))


@public
def deg2rad(x: Any) -> Any:
    """Degrees to radians."""
    return m.multiply(as_float(x), math.pi / 180.0)


@public
def rad2deg(x: Any) -> Any:
    """Radians to degrees."""
    return m.multiply(as_float(x), 180.0 / math.pi)


# --- real numbers seen as complex ones


@public
def real(x: Any) -> Any:
    """The real part: x itself."""
    return value(x)


@public
def imag(x: Any) -> Any:
    """The imaginary part: zeros."""
    return m.multiply(value(x), 0)


@public
def conj(x: Any) -> Any:
    """The complex conjugate: x itself."""
    return value(x)


@public
def conjugate(x: Any) -> Any:
    """The complex conjugate: x itself."""
    return value(x)


@public
def angle(x: Any) -> Any:
    """The angle in the complex plane: 0, or pi below 0."""
    x = as_float(x)
    return m.where(m.less(x, 0.0), math.pi, m.multiply(x, 0.0))


# --- bits


@public
def bitwise_and(x: Any, y: Any) -> Any:
    """The bits that both integers have."""
    return bitwise.bitwise_and(operand(x), operand(y))


@public
def bitwise_or(x: Any, y: Any) -> Any:
    """The bits that one of the integers has."""
    return bitwise.bitwise_or(operand(x), operand(y))


@public
def bitwise_xor(x: Any, y: Any) -> Any:
    """The bits that exactly one of the integers has."""
    return bitwise.bitwise_xor(operand(x), operand(y))


@public
def bitwise_not(x: Any) -> Any:
    """Every bit of an integer turned."""
    return bitwise.bitwise_not(value(x))


@public
def bitwise_invert(x: Any) -> Any:
    """Every bit of an integer turned."""
    return bitwise.bitwise_not(value(x))


@public
def left_shift(x: Any, y: Any) -> Any:
    """x * 2**y for integers."""
    return bitwise.left_shift(operand(x), operand(y))


@public
def right_shift(x: Any, y: Any) -> Any:
    """The bits of x moved y places down."""
    return bitwise.right_shift(operand(x), operand(y))


bitwise_left_shift, bitwise_right_shift = left_shift, right_shift


__all__ = [
    "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh",
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "conj", "conjugate", "cos", "cosh", "deg2rad", "imag",
    "left_shift", "rad2deg", "real", "right_shift", "sin", "sinc", "sinh", "tan", "tanh",
]  # fmt: skip
