"""Elementwise ops: arithmetic, powers, comparisons, logic and the activations made of them.

In: arrays or tensors that broadcast to one shape. Out: one array of that shape. Most have a tile
function in C (`tile=`), which a chain instruction runs; the others run on the host. Gradients may
keep the broadcast shape: the gradient pass sums them down to the shape of their input.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.graph import Spec
from zoo_keras.primitives.op import Sample, broadcast, broadcast_shapes, compare, elementwise, same


def floating(*specs: Spec, **attrs: Any) -> Spec:
    """Shape rule: numpy broadcasting; integers and bools give float32."""
    spec = broadcast(*specs)
    return spec if dtypes.is_float(spec.dtype) else Spec(spec.shape, "float32")


def no_gradient(g: Any, y: Any, *inputs: Any, **attrs: Any) -> tuple[None, ...]:
    """Gradient rule of step functions: nothing flows back."""
    return (None,) * len(inputs)


def _mask(g: Any, condition: Any) -> Any:
    return where(condition, g, 0.0)


_ONE = [Sample([(2, 3)]), Sample([(33,)]), Sample([()])]
_WIDE = [*_ONE, Sample([(5, 7)], low=-20, high=20)]
_POSITIVE = [Sample([s], low=0.1, high=5) for s in [(2, 3), (33,), ()]]
_INSIDE = [Sample([(4, 5)], low=-0.9, high=0.9)]
_PAIR = [Sample([(2, 3), (2, 3)]), Sample([(4, 3), (3,)]), Sample([(4, 1), (1, 5)])]
_INT_PAIR = [Sample([(3, 5), (5,)], dtypes=("int32", "int32"), low=-9, high=9)]
_BOOL_PAIR = [Sample([(3, 5), (5,)], dtypes=("bool", "bool"))]
_POSITIVE_PAIR = [Sample([(4, 3), (3,)], low=0.5, high=4), Sample([(33,), ()], low=0.5, high=4)]
_TIES = [*_PAIR, Sample([(40,), (40,)], dtypes=("int32", "int32"), low=-2, high=2)]


# --- arithmetic


@elementwise(
    tile="add",
    neutral=0,
    commutes=True,
    cheap=True,
    grad=lambda g, y, a, b: (g, g),
    samples=_PAIR + _INT_PAIR + _BOOL_PAIR,
)
def add(a: Any, b: Any) -> Any:
    """a + b; logical or for bools."""
    return np.add(a, b)


@elementwise(
    tile="subtract",
    neutral=0,
    cheap=True,
    grad=lambda g, y, a, b: (g, negative(g)),
    samples=_PAIR + _INT_PAIR,
)
def subtract(a: Any, b: Any) -> Any:
    """a - b."""
    return np.subtract(a, b)


@elementwise(
    tile="multiply",
    neutral=1,
    commutes=True,
    cheap=True,
    grad=lambda g, y, a, b: (multiply(g, b), multiply(g, a)),
    samples=_PAIR + _INT_PAIR + _BOOL_PAIR,
)
def multiply(a: Any, b: Any) -> Any:
    """a * b; logical and for bools."""
    return np.multiply(a, b)


@elementwise(
    tile="divide",
    neutral=1,
    shape=floating,
    grad=lambda g, y, a, b: (divide(g, b), negative(multiply(g, divide(y, b)))),
    samples=[*_POSITIVE_PAIR, *_INT_PAIR],
)
def divide(a: Any, b: Any) -> Any:
    """a / b, in floating point for integers too."""
    return np.true_divide(a, b)


@elementwise(tile="floor_divide", grad=no_gradient, samples=_POSITIVE_PAIR + _INT_PAIR)
def floor_divide(a: Any, b: Any) -> Any:
    """The largest whole number not above a / b."""
    return np.floor_divide(a, b)


@elementwise(
    tile="mod",
    grad=lambda g, y, a, b: (g, negative(multiply(g, floor_divide(a, b)))),
    samples=[Sample([(6, 5), ()], low=2, high=2.9), *_INT_PAIR],
)
def mod(a: Any, b: Any) -> Any:
    """a - b * floor(a / b): the remainder with the sign of b."""
    return np.mod(a, b)


def _power_grad(g: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    slope = where(equal(b, 0.0), 0.0, multiply(b, power(a, subtract(b, 1.0))))
    log_a = log(where(greater(a, 0.0), a, 1.0))
    return multiply(g, slope), multiply(g, multiply(y, log_a))


@elementwise(
    tile="power",
    neutral=1,
    grad=_power_grad,
    samples=[*_POSITIVE_PAIR, Sample([(9,), ()], low=1, high=3)],
)
def power(a: Any, b: Any) -> Any:
    """a to the power of b."""
    return np.power(a, b)


def _maximum_grad(g: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    first = greater_equal(a, b)
    return _mask(g, first), where(first, 0.0, g)


@elementwise(tile="maximum", cheap=True, grad=_maximum_grad, samples=_TIES + _BOOL_PAIR)
def maximum(a: Any, b: Any) -> Any:
    """The larger of a and b; NaN where either is NaN. At ties the gradient goes to a."""
    return np.maximum(a, b)


def _minimum_grad(g: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    first = less_equal(a, b)
    return _mask(g, first), where(first, 0.0, g)


@elementwise(tile="minimum", cheap=True, grad=_minimum_grad, samples=_TIES + _BOOL_PAIR)
def minimum(a: Any, b: Any) -> Any:
    """The smaller of a and b; NaN where either is NaN. At ties the gradient goes to a."""
    return np.minimum(a, b)


_INT = [Sample([(3, 5)], dtypes=("int32",), low=-9, high=9)]


@elementwise(tile="negative", cheap=True, grad=lambda g, y, x: (negative(g),), samples=_ONE + _INT)
def negative(x: Any) -> Any:
    """-x."""
    return np.negative(x)


@elementwise(
    tile="abs", cheap=True, grad=lambda g, y, x: (multiply(g, sign(x)),), samples=_ONE + _INT
)
def abs(x: Any) -> Any:
    """|x|."""
    return np.abs(x)


@elementwise(tile="sign", cheap=True, grad=no_gradient, samples=_ONE + _INT)
def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN for NaN."""
    return np.sign(x)


@elementwise(tile="floor", shape=floating, grad=no_gradient, samples=_WIDE)
def floor(x: Any) -> Any:
    """The largest whole number not above x."""
    return np.floor(x)


@elementwise(tile="ceil", shape=floating, grad=no_gradient, samples=_WIDE)
def ceil(x: Any) -> Any:
    """The smallest whole number not below x."""
    return np.ceil(x)


@elementwise(tile="round", grad=no_gradient, samples=_WIDE)
def round(x: Any) -> Any:
    """The nearest whole number, the even one when two are equally near."""
    return np.round(x)


@elementwise(tile="copy", grad=no_gradient, samples=_ONE)
def stop_gradient(x: Any) -> Any:
    """x itself, through which no gradient flows."""
    return x


# --- powers and exponentials


@elementwise(
    tile="square",
    cheap=True,
    grad=lambda g, y, x: (multiply(g, multiply(x, 2.0)),),
    samples=_ONE + _INT,
)
def square(x: Any) -> Any:
    """x * x."""
    return np.square(x)


@elementwise(
    tile="sqrt",
    shape=floating,
    grad=lambda g, y, x: (divide(multiply(g, 0.5), y),),
    samples=_POSITIVE,
)
def sqrt(x: Any) -> Any:
    """The square root; NaN below 0."""
    return np.sqrt(x)


@elementwise(
    tile="rsqrt",
    shape=floating,
    grad=lambda g, y, x: (multiply(multiply(g, -0.5), divide(y, x)),),
    samples=_POSITIVE,
)
def rsqrt(x: Any) -> Any:
    """1 / sqrt(x)."""
    return 1 / np.sqrt(x)


@elementwise(
    tile="reciprocal",
    shape=floating,
    grad=lambda g, y, x: (negative(multiply(g, square(y))),),
    samples=_POSITIVE,
)
def reciprocal(x: Any) -> Any:
    """1 / x."""
    return np.true_divide(1, x)


@elementwise(tile="exp", shape=floating, grad=lambda g, y, x: (multiply(g, y),), samples=_WIDE)
def exp(x: Any) -> Any:
    """e to the power of x."""
    return np.exp(x)


@elementwise(
    tile="expm1",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, add(y, 1.0)),),
    samples=_WIDE,
)
def expm1(x: Any) -> Any:
    """exp(x) - 1, exact near 0."""
    return np.expm1(x)


@elementwise(tile="log", shape=floating, grad=lambda g, y, x: (divide(g, x),), samples=_POSITIVE)
def log(x: Any) -> Any:
    """The natural logarithm; -inf at 0, NaN below."""
    return np.log(x)


@elementwise(
    tile="log1p",
    shape=floating,
    grad=lambda g, y, x: (divide(g, add(x, 1.0)),),
    samples=_POSITIVE + _INSIDE,
)
def log1p(x: Any) -> Any:
    """log(1 + x), exact near 0."""
    return np.log1p(x)


@elementwise(tile="sin", shape=floating, grad=lambda g, y, x: (multiply(g, cos(x)),), samples=_WIDE)
def sin(x: Any) -> Any:
    """The sine of x radians."""
    return np.sin(x)


@elementwise(
    tile="cos", shape=floating, grad=lambda g, y, x: (negative(multiply(g, sin(x))),), samples=_WIDE
)
def cos(x: Any) -> Any:
    """The cosine of x radians."""
    return np.cos(x)


_erf = np.vectorize(math.erf, otypes=[np.float64])


@elementwise(
    tile="erf",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, multiply(exp(negative(square(x))), 2 / math.sqrt(math.pi))),),
    samples=[*_ONE, Sample([(5, 7)], low=-4, high=4)],
)
def erf(x: Any) -> Any:
    """The error function: 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x."""
    return _erf(x)


# --- comparisons and logic


@elementwise(tile="equal", cheap=True, shape=compare, samples=_TIES + _BOOL_PAIR)
def equal(a: Any, b: Any) -> Any:
    """a == b."""
    return np.equal(a, b)


@elementwise(tile="not_equal", cheap=True, shape=compare, samples=_TIES + _BOOL_PAIR)
def not_equal(a: Any, b: Any) -> Any:
    """a != b."""
    return np.not_equal(a, b)


@elementwise(tile="less", cheap=True, shape=compare, samples=_TIES)
def less(a: Any, b: Any) -> Any:
    """a < b."""
    return np.less(a, b)


@elementwise(tile="less_equal", cheap=True, shape=compare, samples=_TIES)
def less_equal(a: Any, b: Any) -> Any:
    """a <= b."""
    return np.less_equal(a, b)


@elementwise(tile="less", cheap=True, shape=compare, samples=_TIES)
def greater(a: Any, b: Any) -> Any:
    """a > b."""
    return np.greater(a, b)


@elementwise(tile="less_equal", cheap=True, shape=compare, samples=_TIES)
def greater_equal(a: Any, b: Any) -> Any:
    """a >= b."""
    return np.greater_equal(a, b)


@elementwise(tile="and", cheap=True, shape=compare, samples=_BOOL_PAIR + _PAIR)
def logical_and(a: Any, b: Any) -> Any:
    """Whether both are true (not 0)."""
    return np.logical_and(a, b)


@elementwise(tile="or", cheap=True, shape=compare, samples=_BOOL_PAIR + _PAIR)
def logical_or(a: Any, b: Any) -> Any:
    """Whether one is true (not 0)."""
    return np.logical_or(a, b)


@elementwise(tile="xor", shape=compare, samples=_BOOL_PAIR + _PAIR)
def logical_xor(a: Any, b: Any) -> Any:
    """Whether exactly one is true (not 0)."""
    return np.logical_xor(a, b)


@elementwise(
    tile="not", cheap=True, shape=compare, samples=[Sample([(3, 5)], dtypes=("bool",)), *_ONE]
)
def logical_not(x: Any) -> Any:
    """Whether x is false (0)."""
    return np.logical_not(x)


@elementwise(tile="isnan", shape=compare, samples=_ONE)
def isnan(x: Any) -> Any:
    """Whether x is NaN."""
    return np.isnan(x)


@elementwise(tile="isinf", shape=compare, samples=_ONE)
def isinf(x: Any) -> Any:
    """Whether x is plus or minus infinity."""
    return np.isinf(x)


@elementwise(tile="isfinite", shape=compare, samples=_ONE)
def isfinite(x: Any) -> Any:
    """Whether x is neither infinite nor NaN."""
    return np.isfinite(x)


def _where_spec(condition: Spec, a: Spec, b: Spec) -> Spec:
    shape = broadcast_shapes(condition.shape, a.shape, b.shape)
    return Spec(shape, dtypes.promote(a.dtype, b.dtype))


@elementwise(
    tile="select",
    cheap=True,
    shape=_where_spec,
    grad=lambda g, y, c, a, b: (None, where(c, g, 0.0), where(c, 0.0, g)),
    samples=[
        Sample([(4, 3), (4, 3), (3,)], dtypes=("bool",)),
        Sample([(4, 1), (3,), ()], dtypes=("bool",)),
        Sample([(7,), (7,), (7,)], dtypes=("bool", "int32", "int32"), low=-9, high=9),
    ],
)
def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition is true (not 0), else b."""
    return np.where(condition, a, b)


def _cast_spec(x: Spec, *, dtype: str) -> Spec:
    return Spec(x.shape, dtypes.standardize(dtype))


def _cast_grad(g: Any, y: Any, x: Any, *, dtype: str) -> tuple[Any]:
    return (cast(g, dtype=str(x.dtype)) if dtypes.is_float(str(x.dtype)) else None,)


_CHAINED = ("float32", "int32", "uint8", "bool")
_CAST = (*_CHAINED, "float64", "int64", "int8", "int16", "uint16", "uint32")
_CASTS = [(of, to) for of in _CHAINED for to in _CHAINED if (of, to) != ("float32", "uint8")] + [
    ("int32", "int64"), ("int64", "int32"), ("int64", "float32"), ("float32", "float64"),
    ("float64", "int64"), ("bool", "int64"), ("int64", "bool"), ("int32", "int16"),
]  # fmt: skip


@elementwise(
    tile="copy",
    kernel=True,
    dtypes=lambda x: x.dtype in _CAST,
    writes=_CAST,
    attrs_to_c=lambda attrs, ins, outs: (),
    cheap=True,
    shape=_cast_spec,
    grad=_cast_grad,
    samples=[
        Sample([(3, 5)], {"dtype": to}, dtypes=(of,), low=0 if of == "uint8" else -9, high=9)
        for of, to in _CASTS
    ],
)
def cast(x: Any, *, dtype: str) -> Any:
    """x in another dtype; floats are cut off towards 0 on their way to integers."""
    return np.asarray(x).astype(dtype)


# --- activations


@elementwise(
    tile="relu",
    activation="relu",
    keeps_rounding=True,
    cheap=True,
    shape=same,
    grad=lambda g, y, x: (relu_grad(g, y),),
    samples=_ONE + _INT,
)
def relu(x: Any) -> Any:
    """max(x, 0); NaN stays NaN."""
    return np.maximum(x, 0)


@elementwise(tile="relu_grad", grad=lambda gg, r, g, y: (relu_grad(gg, y), None), samples=_PAIR[:1])
def relu_grad(g: Any, y: Any) -> Any:
    """g where the output y of relu is above 0, else 0."""
    return np.where(y > 0, g, 0)


@elementwise(
    tile="relu6", activation="relu6", keeps_rounding=True, cheap=True, shape=floating,
    grad=lambda g, y, x: (relu6_grad(g, y),), samples=[Sample([(4, 9)], low=-3, high=9)],
)  # fmt: skip
def relu6(x: Any) -> Any:
    """max(x, 0), but at most 6; NaN stays NaN."""
    return np.clip(x, 0, 6)


@elementwise(tile="relu6_grad", grad=lambda gg, r, g, y: (relu6_grad(gg, y), None),
             samples=[Sample([(4, 9)] * 2, low=-3, high=9)])  # fmt: skip
def relu6_grad(g: Any, y: Any) -> Any:
    """g where the output y of relu6 is above 0 and below 6, else 0."""
    return np.where((y > 0) & (y < 6), g, 0)


def _leaky_grad(g: Any, y: Any, x: Any, *, negative_slope: float) -> tuple[Any]:
    return (where(greater(x, 0.0), g, multiply(g, negative_slope)),)


@elementwise(
    tile="leaky_relu",
    shape=floating,
    grad=_leaky_grad,
    samples=[Sample([(4, 5)], {"negative_slope": 0.3})],
)
def leaky_relu(x: Any, *, negative_slope: float) -> Any:
    """x above 0, else negative_slope * x."""
    return np.where(x > 0, x, np.multiply(x, negative_slope))


def _elu_grad(g: Any, y: Any, x: Any, *, alpha: float) -> tuple[Any]:
    return (where(greater(x, 0.0), g, multiply(g, add(y, alpha))),)


@elementwise(tile="elu", shape=floating, grad=_elu_grad, samples=[Sample([(4, 9)], {"alpha": 0.7})])
def elu(x: Any, *, alpha: float) -> Any:
    """x above 0, else alpha * (exp(x) - 1)."""
    return np.where(x > 0, x, np.multiply(alpha, np.expm1(np.minimum(x, 0))))


def _is_relu6(attrs: dict[str, Any]) -> str | None:
    return "relu6" if (attrs["low"], attrs["high"]) == (0, 6) else None


def _clip_grad(g: Any, y: Any, x: Any, *, low: float, high: float) -> tuple[Any]:
    return (_mask(g, logical_and(greater_equal(x, low), less_equal(x, high))),)


@elementwise(
    tile="clip",
    activation=_is_relu6,
    cheap=True,
    shape=same,
    grad=_clip_grad,
    samples=[
        Sample([(4, 9)], {"low": -0.5, "high": 0.25}),
        Sample([(4, 9)], {"low": -2, "high": 3}, dtypes=("int32",), low=-9, high=9),
    ],
)
def clip(x: Any, *, low: float, high: float) -> Any:
    """x, but not below low and not above high."""
    return np.clip(x, low, high)


@elementwise(
    tile="tanh",
    activation="tanh",
    shape=floating,
    grad=lambda g, y, x: (tanh_grad(g, y),),
    samples=_WIDE,
)
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return np.tanh(x)


def _tanh_grad_grad(gg: Any, r: Any, g: Any, y: Any) -> tuple[Any, Any]:
    return tanh_grad(gg, y), multiply(gg, multiply(g, multiply(y, -2.0)))


@elementwise(tile="tanh_grad", grad=_tanh_grad_grad, samples=_PAIR[:1])
def tanh_grad(g: Any, y: Any) -> Any:
    """g * (1 - y * y), for the output y of tanh."""
    return g * (1 - y * y)


@elementwise(
    tile="sigmoid",
    activation="sigmoid",
    shape=floating,
    grad=lambda g, y, x: (sigmoid_grad(g, y),),
    samples=_WIDE,
)
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return np.exp(-np.logaddexp(0, np.negative(x)))


def _sigmoid_grad_grad(gg: Any, r: Any, g: Any, y: Any) -> tuple[Any, Any]:
    return sigmoid_grad(gg, y), multiply(gg, multiply(g, subtract(1.0, multiply(y, 2.0))))


@elementwise(tile="sigmoid_grad", grad=_sigmoid_grad_grad, samples=_PAIR[:1])
def sigmoid_grad(g: Any, y: Any) -> Any:
    """g * y * (1 - y), for the output y of sigmoid."""
    return g * (y * (1 - y))


@elementwise(
    tile="softplus",
    shape=floating,
    grad=lambda g, y, x: (multiply(g, sigmoid(x)),),
    samples=_WIDE,
)
def softplus(x: Any) -> Any:
    """log(1 + exp(x))."""
    return np.logaddexp(x, 0)


@elementwise(
    tile="sigmoid_cross_entropy",
    shape=floating,
    grad=lambda g, y, t, x: (negative(multiply(g, x)), multiply(g, subtract(sigmoid(x), t))),
    samples=[Sample([(4, 5), (4, 5)], low=-3, high=3), Sample([(4, 5), (5,)], low=-20, high=20)],
)
def sigmoid_cross_entropy(target: Any, logits: Any) -> Any:
    """-target * log(p) - (1 - target) * log(1 - p) for p = sigmoid(logits), without overflow."""
    return np.maximum(logits, 0) - logits * target + np.log1p(np.exp(-np.abs(logits)))
