"""Public elementwise ops: arithmetic, powers, comparisons, logic, rounding.

In: tensors, Variables, arrays, numbers that broadcast. Out: one tensor or array. Integers become
float32 where the result is no whole number, as in Keras.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.ops.convert import (
    as_dtype,
    as_float,
    as_floats,
    common_dtype,
    dtype_of,
    is_complex,
    operand,
    value,
    without_bools,
)
from zoo_keras.ops.plain import binary, named, unary, unary_float
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import elementwise as m
from zoo_keras.primitives import special

# --- arithmetic

add = binary(m.add, "x1 + x2.")
subtract = binary(m.subtract, "x1 - x2.")
multiply = binary(m.multiply, "x1 * x2.")
divide = binary(m.divide, "x1 / x2, in floating point for integers too.")
true_divide = binary(m.divide, "x1 / x2, in floating point for integers too.", "true_divide")


@public
def divide_no_nan(x1: Any, x2: Any) -> Any:
    """x1 / x2, and 0 where x2 is 0; the gradient is 0 there too."""
    found = common_dtype(x1, x2)
    kind = found if dtypes.is_float(found) else "float32"
    x1, x2 = as_dtype(x1, kind), as_dtype(x2, kind)
    zero = m.equal(x2, 0.0)
    return m.where(zero, 0.0, m.divide(x1, m.where(zero, 1.0, x2)))


floor_divide = binary(m.floor_divide, "The largest whole number not above x1 / x2.")


@public
def mod(x1: Any, x2: Any) -> Any:
    """The remainder of x1 / x2 with the sign of x2; of bools as int32."""
    x1, x2 = operand(x1), operand(x2)
    if common_dtype(x1, x2) == "bool":
        x1, x2 = as_dtype(x1, "int32"), as_dtype(x2, "int32")
    return m.mod(x1, x2)


@public
def fmod(x1: Any, x2: Any) -> Any:
    """The remainder of x1 / x2 with the sign of x1."""
    x1, x2 = operand(x1), operand(x2)
    rest = m.mod(m.abs(x1), m.abs(x2))
    return m.where(m.less(x1, 0), m.negative(rest), rest)


power = binary(m.power, "x1 to the power of x2.")
negative = unary(m.negative, "-x.")


def _size(x: Any) -> Any:
    return np.abs(x) if is_complex(x) else m.abs(x)


absolute = named(lambda x: _size(value(x)), "absolute", "|x|.")
abs = absolute
fabs = unary_float(m.abs, "|x| in floating point.", "fabs")
sign = unary(m.sign, "-1, 0 or 1.")


@public
def signbit(x: Any) -> Any:
    """Whether x is below 0 or minus zero."""
    x = value(x)
    below = m.less(x, 0)
    if not dtypes.is_float(dtype_of(x)):
        return below
    return m.logical_or(below, m.logical_and(m.equal(x, 0), m.less(m.reciprocal(x), 0)))


reciprocal = unary_float(m.reciprocal, "1 / x.")
maximum = binary(m.maximum, "The larger of x1 and x2; NaN if one is.")
minimum = binary(m.minimum, "The smaller of x1 and x2; NaN if one is.")


@public
def fmax(x1: Any, x2: Any) -> Any:
    """The larger of x1 and x2; of a number and NaN the number."""
    kind = common_dtype(x1, x2)
    x1, x2 = as_dtype(x1, kind), as_dtype(x2, kind)
    return m.where(m.isnan(x1), x2, m.where(m.isnan(x2), x1, m.maximum(x1, x2)))


@public
def fmin(x1: Any, x2: Any) -> Any:
    """The smaller of x1 and x2; of a number and NaN the number."""
    kind = common_dtype(x1, x2)
    x1, x2 = as_dtype(x1, kind), as_dtype(x2, kind)
    return m.where(m.isnan(x1), x2, m.where(m.isnan(x2), x1, m.minimum(x1, x2)))


@public
def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """x, but not below x_min and not above x_max (numbers or tensors)."""
    x = as_dtype(x, common_dtype(x, x_min, x_max))
    if dtype_of(x) == "bool":
        x = as_dtype(x, "int32")
    if isinstance(x_min, (int, float)) and isinstance(x_max, (int, float)):
        return m.clip(x, low=x_min, high=x_max)
    return m.minimum(m.maximum(x, operand(x_min)), operand(x_max))


@public
def hypot(x1: Any, x2: Any) -> Any:
    """sqrt(x1 * x1 + x2 * x2), also where the squares are too large or small for the dtype."""
    x1, x2 = map(m.abs, as_floats(x1, x2))
    larger = m.maximum(x1, x2)
    unit = m.where(m.logical_or(m.equal(larger, 0.0), m.isinf(larger)), 1.0, larger)
    squares = m.add(m.square(m.divide(x1, unit)), m.square(m.divide(x2, unit)))
    return m.multiply(unit, m.sqrt(squares))


@public
def heaviside(x1: Any, x2: Any) -> Any:
    """0 below 0, x2 at 0, 1 above."""
    x1, x2 = as_floats(x1, x2)
    step = m.where(m.equal(x1, 0.0), x2, as_dtype(m.greater(x1, 0.0), dtype_of(x1)))
    return m.where(m.isnan(x1), x1, step)


@public
def nan_to_num(x: Any, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """x with NaN replaced by `nan`, infinities by the given numbers (default: dtype's limits)."""
    x = value(x)
    if not dtypes.is_float(dtype_of(x)):
        return x
    limit = dtypes.largest(dtype_of(x))
    top = limit if posinf is None else posinf
    bottom = -limit if neginf is None else neginf
    x = m.where(m.isnan(x), nan, x)
    if posinf is None and neginf is None:
        return m.clip(x, low=bottom, high=top)
    x = m.where(m.equal(x, math.inf), top, x)
    return m.where(m.equal(x, -math.inf), bottom, x)


# --- powers, exponentials, logarithms

square = unary(m.square, "x * x; of bools as int32.", take=lambda x: without_bools(value(x)))
sqrt = unary_float(m.sqrt, "The square root.")
rsqrt = unary_float(m.rsqrt, "1 / sqrt(x).")


@public
def cbrt(x: Any) -> Any:
    """The cube root, negative below 0."""
    x = as_float(x)
    return m.multiply(m.sign(x), m.power(m.abs(x), 1.0 / 3.0))


exp = unary_float(m.exp, "e to the power of x.")
exp2 = unary_float(special.exp2, "2 to the power of x.")
expm1 = unary_float(m.expm1, "exp(x) - 1, exact near 0.")
log = unary_float(m.log, "The natural logarithm.")
log1p = unary_float(m.log1p, "log(1 + x), exact near 0.")


@public
def log2(x: Any) -> Any:
    """The logarithm to base 2."""
    return m.multiply(m.log(as_float(x)), 1.0 / math.log(2.0))


@public
def log10(x: Any) -> Any:
    """The logarithm to base 10."""
    return m.multiply(m.log(as_float(x)), 1.0 / math.log(10.0))


@public
def logaddexp(x1: Any, x2: Any) -> Any:
    """log(exp(x1) + exp(x2)) without overflow."""
    x1, x2 = as_floats(x1, x2)
    top = m.stop_gradient(m.maximum(x1, x2))
    top = m.where(m.isfinite(top), top, 0.0)
    total = m.add(m.exp(m.subtract(x1, top)), m.exp(m.subtract(x2, top)))
    return m.add(m.log(total), top)


@public
def logaddexp2(x1: Any, x2: Any) -> Any:
    """log2(2**x1 + 2**x2) without overflow."""
    ln2 = math.log(2.0)
    x1, x2 = as_floats(x1, x2)
    total = logaddexp(m.multiply(x1, ln2), m.multiply(x2, ln2))
    return m.multiply(total, 1.0 / ln2)


@public
def ldexp(x1: Any, x2: Any) -> Any:
    """x1 * 2**x2."""
    return m.multiply(as_float(x1), special.exp2(as_float(x2)))


erf = unary_float(m.erf, "The error function.")


@public
def erfc(x: Any) -> Any:
    """1 - erf(x)."""
    return m.subtract(1.0, m.erf(as_float(x)))


erfinv = unary_float(special.erfinv, "The inverse of the error function.")


# --- rounding

floor = unary_float(m.floor, "The largest whole number not above x, in floating point.")
ceil = unary_float(m.ceil, "The smallest whole number not below x, in floating point.")


@public
def trunc(x: Any) -> Any:
    """x without its digits after the point."""
    x = value(x)
    if not dtypes.is_float(dtype_of(x)):
        return x
    return m.where(m.less(x, 0.0), m.ceil(x), m.floor(x))


@public
def round(x: Any, decimals: int = 0) -> Any:
    """x rounded to so many decimals, halves to the even neighbour."""
    x = value(x)
    if not dtypes.is_float(dtype_of(x)) and decimals >= 0:
        return x
    if not decimals:
        return m.round(x)
    factor = 10.0**decimals
    return as_dtype(m.divide(m.round(m.multiply(as_float(x), factor)), factor), dtype_of(x))


# --- comparisons and logic

equal = binary(m.equal, "x1 == x2.")
not_equal = binary(m.not_equal, "x1 != x2.")
less = binary(m.less, "x1 < x2.")
less_equal = binary(m.less_equal, "x1 <= x2.")
greater = binary(m.greater, "x1 > x2.")
greater_equal = binary(m.greater_equal, "x1 >= x2.")
logical_and = binary(m.logical_and, "Whether both are true (not 0).")
logical_or = binary(m.logical_or, "Whether one is true (not 0).")
logical_xor = binary(m.logical_xor, "Whether exactly one is true (not 0).")
logical_not = unary(m.logical_not, "Whether x is false (0).")
isnan = unary(m.isnan, "Whether x is NaN.")
isinf = unary(m.isinf, "Whether x is infinite.")
isfinite = unary(m.isfinite, "Whether x is neither infinite nor NaN.")


@public
def isposinf(x: Any) -> Any:
    """Whether x is plus infinity."""
    return m.equal(value(x), math.inf)


@public
def isneginf(x: Any) -> Any:
    """Whether x is minus infinity."""
    return m.equal(value(x), -math.inf)


@public
def isreal(x: Any) -> Any:
    """True where there is no imaginary part: everywhere but in arrays of complex numbers."""
    x = value(x)
    if is_complex(x):
        return np.isreal(x)
    return m.logical_or(m.equal(x, x), True)


@public
def isclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether |x1 - x2| <= atol + rtol * |x2|."""
    x1, x2 = as_float(x1), as_float(x2)
    bound = m.add(m.multiply(m.abs(x2), rtol), atol)
    near = m.logical_and(m.less_equal(m.abs(m.subtract(x1, x2)), bound), m.isfinite(x2))
    near = m.logical_or(near, m.equal(x1, x2))
    return m.logical_or(near, m.logical_and(m.isnan(x1), m.isnan(x2))) if equal_nan else near


__all__ = [
    "abs", "absolute", "add", "cbrt", "ceil", "clip", "divide", "divide_no_nan", "equal", "erf",
    "erfc", "erfinv", "exp", "exp2", "expm1", "fabs", "floor", "floor_divide", "fmax", "fmin",
    "fmod", "greater", "greater_equal", "heaviside", "hypot", "isclose", "isfinite", "isinf",
    "isnan", "isneginf", "isposinf", "isreal", "ldexp", "less", "less_equal", "log", "log10",
    "log1p", "log2", "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or",
    "logical_xor", "maximum", "minimum", "mod", "multiply", "nan_to_num", "negative",
    "not_equal", "power", "reciprocal", "round", "rsqrt", "sign", "signbit", "sqrt", "square",
    "subtract", "true_divide", "trunc",
]  # fmt: skip
