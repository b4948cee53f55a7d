"""Public elementwise ops of the rarer kind: trigonometry, complex parts of real numbers, bits.

In: tensors, Variables, arrays, numbers that broadcast. Out: one tensor or array.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zoo_keras.ops.convert import as_dtype, as_float, as_floats, dtype_of, is_complex, value
from zoo_keras.ops.plain import bits, unary, unary_float
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import bitwise, special
from zoo_keras.primitives import elementwise as m

# --- trigonometry

sin = unary_float(m.sin, "The sine of x radians.")
cos = unary_float(m.cos, "The cosine of x radians.")
tan = unary_float(special.tan, "The tangent of x radians.")
arcsin = unary_float(special.arcsin, "The angle whose sine is x.")
arccos = unary_float(special.arccos, "The angle whose cosine is x.")
arctan = unary_float(special.arctan, "The angle whose tangent is x.")


@public
def arctan2(x1: Any, x2: Any) -> Any:
    """The angle of the point (x2, x1), from -pi to pi."""
    return special.arctan2(*as_floats(x1, x2))


sinh = unary_float(special.sinh, "The hyperbolic sine.")
cosh = unary_float(special.cosh, "The hyperbolic cosine.")
tanh = unary_float(m.tanh, "The hyperbolic tangent.")
arcsinh = unary_float(special.arcsinh, "The inverse of sinh.")
arccosh = unary_float(special.arccosh, "The inverse of cosh.")
arctanh = unary_float(special.arctanh, "The inverse of tanh.")


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


# --- complex numbers, on arrays; and real ones seen as such


@public
def real(x: Any) -> Any:
    """The real part: x itself where it is real."""
    x = value(x)
    return x.real.copy() if is_complex(x) else x


@public
def imag(x: Any) -> Any:
    """The imaginary part: zeros of real numbers."""
    x = value(x)
    return x.imag.copy() if is_complex(x) else as_dtype(m.multiply(x, 0), dtype_of(x))


@public
def conjugate(x: Any) -> Any:
    """The complex conjugate: x itself where it is real."""
    x = value(x)
    return x.conj() if is_complex(x) else x


conj = conjugate


@public
def angle(x: Any) -> Any:
    """The angle in the complex plane: of real numbers 0, or pi below 0."""
    x = as_float(x)
    if is_complex(x):
        return np.angle(x)
    return m.where(m.less(x, 0.0), math.pi, m.multiply(x, 0.0))


# --- bits


bitwise_and = bits(bitwise.bitwise_and, "The bits that both integers have.")
bitwise_or = bits(bitwise.bitwise_or, "The bits that one of the integers has.")
bitwise_xor = bits(bitwise.bitwise_xor, "The bits that exactly one of the integers has.")
bitwise_not = unary(bitwise.bitwise_not, "Every bit of an integer turned.")
bitwise_invert = unary(bitwise.bitwise_not, "Every bit of an integer turned.", "bitwise_invert")
left_shift = bits(bitwise.left_shift, "x * 2**y for integers.")
right_shift = bits(bitwise.right_shift, "The bits of x moved y places down.")


bitwise_left_shift, bitwise_right_shift = left_shift, right_shift

__all__ = [
    "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh",
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "conj", "conjugate", "cos", "cosh", "deg2rad", "imag",
    "left_shift", "rad2deg", "real", "right_shift", "sin", "sinc", "sinh", "tan", "tanh",
]  # fmt: skip
