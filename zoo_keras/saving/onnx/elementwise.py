"""ONNX ops that go element by element, reductions and activations."""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

import numpy as np

from zoo_keras import layers, ops
from zoo_keras.saving.onnx.calls import (
    CONVERTERS,
    FOLDS,
    Call,
    converts,
    folds,
    is_array,
    operand,
)
from zoo_keras.saving.onnx.sizes import is_open, tidy

# ONNX -> (on arrays, on tensors).
_BINARY: dict[str, tuple[Any, Any]] = {
    "Add": (operator.add, ops.add), "Sub": (operator.sub, ops.subtract),
    "Mul": (operator.mul, ops.multiply), "And": (np.logical_and, ops.logical_and),
    "Or": (np.logical_or, ops.logical_or), "Xor": (np.logical_xor, ops.logical_xor),
    "Equal": (operator.eq, ops.equal), "Greater": (np.greater, ops.greater),
    "Less": (np.less, ops.less), "GreaterOrEqual": (np.greater_equal, ops.greater_equal),
    "LessOrEqual": (np.less_equal, ops.less_equal), "Max": (np.maximum, ops.maximum),
    "Min": (np.minimum, ops.minimum), "Sum": (operator.add, ops.add),
    "Pow": (np.power, ops.power),
}  # fmt: skip
_UNARY: dict[str, tuple[Any, Any]] = {
    "Abs": (np.abs, ops.absolute), "Neg": (operator.neg, ops.negative), "Exp": (np.exp, ops.exp),
    "Log": (np.log, ops.log), "Sqrt": (np.sqrt, ops.sqrt),
    "Reciprocal": (np.reciprocal, ops.reciprocal), "Floor": (np.floor, ops.floor),
    "Ceil": (np.ceil, ops.ceil), "Round": (np.round, ops.round), "Sign": (np.sign, ops.sign),
    "Erf": (None, ops.erf), "Sin": (np.sin, ops.sin), "Cos": (np.cos, ops.cos),
    "Tan": (np.tan, ops.tan), "Asin": (np.arcsin, ops.arcsin), "Acos": (np.arccos, ops.arccos),
    "Atan": (np.arctan, ops.arctan), "Sinh": (np.sinh, ops.sinh), "Cosh": (np.cosh, ops.cosh),
    "Asinh": (np.arcsinh, ops.arcsinh), "Acosh": (np.arccosh, ops.arccosh),
    "Atanh": (np.arctanh, ops.arctanh), "Not": (np.logical_not, ops.logical_not),
    "IsNaN": (np.isnan, ops.isnan), "IsInf": (np.isinf, ops.isinf),
}  # fmt: skip
_NAMED = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Softsign": "softsign",
          "HardSwish": "hard_swish", "Mish": "mish"}  # fmt: skip
_REDUCTIONS: dict[str, tuple[Any, Any]] = {
    "ReduceMean": (np.mean, ops.mean), "ReduceSum": (np.sum, ops.sum),
    "ReduceMax": (np.max, ops.max), "ReduceMin": (np.min, ops.min),
    "ReduceProd": (np.prod, ops.prod),
}  # fmt: skip
_INPUT_AXES_SINCE = {"ReduceSum": 13}  # 18 for the others


def _binary(call: Call) -> Any:
    return reduce(_BINARY[call.node.kind][1], map(operand, call.inputs))


def _fold_binary(call: Call) -> Any:
    call.check_joined(*call.inputs)
    return tidy(reduce(_BINARY[call.node.kind][0], call.inputs))


def _unary(call: Call) -> Any:
    return _UNARY[call.node.kind][1](operand(call.input(0)))


def _fold_unary(call: Call) -> Any:
    on_arrays, on_tensors = _UNARY[call.node.kind]
    x = call.input(0)
    return np.asarray((on_arrays or on_tensors)(x)).astype(None if is_open(x) else _kept(x, call))


def _kept(x: np.ndarray, call: Call) -> Any:
    return np.dtype(bool) if call.node.kind in ("Not", "IsNaN", "IsInf") else x.dtype


CONVERTERS.update(dict.fromkeys(_BINARY, _binary) | dict.fromkeys(_UNARY, _unary))
FOLDS.update(dict.fromkeys(_BINARY, _fold_binary) | dict.fromkeys(_UNARY, _fold_unary))


@converts("Div")
def _divide(call: Call) -> Any:
    x, y = map(operand, call.inputs)
    if "int" in str(x.dtype) and "int" in str(y.dtype):
        low = ops.floor_divide(x, y)
        odd = ops.not_equal(ops.multiply(low, y), x)
        up = ops.logical_and(odd, ops.logical_xor(ops.less(x, 0), ops.less(y, 0)))
        return ops.add(low, ops.cast(up, low.dtype))
    return ops.divide(x, y)


@folds("Div")
def _fold_divide(call: Call) -> Any:
    x, y = call.inputs
    call.check_joined(x, y)
    if is_open(x) or is_open(y):
        return tidy(x // y)
    if x.dtype.kind not in "iu" or y.dtype.kind not in "iu":
        return x / y
    low = x // y
    return low + ((low * y != x) & ((x < 0) != (y < 0)))  # towards zero


@converts("Mod")
def _modulo(call: Call) -> Any:
    if call.attribute("fmod", 0):
        raise call.refuse("fmod is not supported", "fmod=1")
    return ops.mod(*map(operand, call.inputs))


@folds("Mod")
def _fold_modulo(call: Call) -> Any:
    call.check_joined(*call.inputs)
    return (np.fmod if call.attribute("fmod", 0) else np.mod)(*call.inputs)


@converts("Mean")
def _mean(call: Call) -> Any:
    if all(map(is_array, call.inputs)):
        call.check_joined(*call.inputs)
    return ops.divide(reduce(ops.add, map(operand, call.inputs)), float(len(call.inputs)))


@converts("Where")
def _where(call: Call) -> Any:
    return ops.where(*map(operand, call.inputs))


@folds("Where")
def _fold_where(call: Call) -> Any:
    call.check_joined(*call.inputs)
    return tidy(np.where(*call.inputs))


@converts("Clip")
def _clip(call: Call) -> Any:
    low, high = (call.setting(name, i, 11) for i, name in ((1, "min"), (2, "max")))
    return _between(call.input(0), low, high)


def _between(x: Any, low: Any, high: Any) -> Any:
    low, high = (None if v is None else float(np.ravel(v)[0]) for v in (low, high))
    if low == 0 and high is None:
        return layers.ReLU()(x)
    if low == 0 and high == 6:
        return layers.ReLU(max_value=6.0)(x)
    if high is None:
        return x if low is None else ops.maximum(x, low)
    return ops.minimum(x, high) if low is None else ops.clip(x, low, high)


@folds("Clip")
def _fold_clip(call: Call) -> Any:
    low, high = (call.setting(name, i, 11) for i, name in ((1, "min"), (2, "max")))
    call.check_joined(call.input(0), *(v for v in (low, high) if v is not None))
    return np.clip(call.input(0), low, high) if (low, high) != (None, None) else call.input(0)


# ---- activations ---------------------------------------------------------------------------------


@converts(*_NAMED)
def _activation(call: Call) -> Any:
    if call.node.kind == "Mish":
        x = call.input(0)
        return ops.multiply(x, ops.tanh(ops.softplus(x)))
    return layers.Activation(_NAMED[call.node.kind], name=call.name)(call.input(0))


@converts("Relu")
def _relu(call: Call) -> Any:
    return layers.ReLU(name=call.name)(call.input(0))


@converts("LeakyRelu")
def _leaky_relu(call: Call) -> Any:
    slope = call.attribute("alpha", 0.01)
    return layers.LeakyReLU(negative_slope=slope, name=call.name)(call.input(0))


@converts("Elu")
def _elu(call: Call) -> Any:
    return layers.ELU(call.attribute("alpha", 1.0), name=call.name)(call.input(0))


@converts("Celu")
def _celu(call: Call) -> Any:
    return ops.celu(call.input(0), call.attribute("alpha", 1.0))


@converts("Selu")
def _selu(call: Call) -> Any:
    alpha = call.attribute("alpha", 1.6732632)
    return ops.multiply(ops.elu(call.input(0), alpha), call.attribute("gamma", 1.0507010))


@converts("Gelu")
def _gelu(call: Call) -> Any:
    return ops.gelu(call.input(0), approximate=call.attribute("approximate", "none") == "tanh")


@converts("HardSigmoid")
def _hard_sigmoid(call: Call) -> Any:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    return ops.clip(ops.add(ops.multiply(call.input(0), alpha), beta), 0.0, 1.0)


@converts("ThresholdedRelu")
def _thresholded(call: Call) -> Any:
    x, alpha = call.input(0), call.attribute("alpha", 1.0)
    return ops.where(ops.greater(x, alpha), x, 0.0)


@converts("PRelu")
def _prelu(call: Call) -> Any:
    x, slope = call.input(0), operand(call.constant(1, "the slope"))
    rank = len(x.shape)
    shape = [1] * (rank - slope.ndim) + list(slope.shape)
    if shape[0] != 1 or any(n not in (1, m) for n, m in zip(shape[1:], x.shape[1:], strict=True)):
        raise call.refuse("the slope must be shaped like a row", f"a slope of shape {slope.shape}")
    shared = [a for a in range(1, rank) if shape[a] == 1]
    layer = layers.PReLU(shared_axes=shared or None, name=call.name)
    y = layer(x)
    layer.alpha.assign(slope.reshape(shape[1:]))
    return y


@converts("Softmax", "LogSoftmax")
def _softmax(call: Call) -> Any:
    x = call.input(0)
    rank = len(x.shape)
    function = ops.softmax if call.node.kind == "Softmax" else ops.log_softmax
    axis = call.attribute("axis", 1 if call.opset < 13 else -1) % rank
    if axis == rank - 1 and call.node.kind == "Softmax":
        return layers.Softmax(name=call.name)(x)
    if call.opset < 13 and axis < rank - 1:  # over all axes from this one on
        return function(x, axis=tuple(range(axis, rank)))
    return function(x, axis=axis)


# ---- reductions ----------------------------------------------------------------------------------


def _over(call: Call) -> tuple[Any, bool]:
    """(axes or None for all, keepdims) of a reduction."""
    since = _INPUT_AXES_SINCE.get(call.node.kind, 18)
    axes = call.setting("axes", 1, since)
    axes = None if axes is None or not np.size(axes) else tuple(int(a) for a in np.ravel(axes))
    return axes, bool(call.attribute("keepdims", 1))


def _does_nothing(call: Call) -> bool:
    return bool(call.attribute("noop_with_empty_axes", 0)) and _over(call)[0] is None


@converts(*_REDUCTIONS)
def _reduced(call: Call) -> Any:
    axes, keepdims = _over(call)
    x = call.input(0)
    if _does_nothing(call):
        return x
    return _REDUCTIONS[call.node.kind][1](x, axis=axes, keepdims=keepdims)


@folds(*_REDUCTIONS)
def _fold_reduced(call: Call) -> Any:
    axes, keepdims = _over(call)
    x = call.input(0)
    if _does_nothing(call):
        return x
    return tidy(_REDUCTIONS[call.node.kind][0](x, axis=axes, keepdims=keepdims))


@converts("ReduceL2", "ReduceL1", "ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum")
def _other_reduced(call: Call) -> Any:
    axes, keepdims = _over(call)
    x, kind = call.input(0), call.node.kind
    if kind == "ReduceLogSumExp":
        return ops.logsumexp(x, axis=axes, keepdims=keepdims)
    inner = {"ReduceL1": ops.absolute, "ReduceLogSum": lambda v: v}.get(kind, ops.square)
    total = ops.sum(inner(x), axis=axes, keepdims=keepdims)
    outer = {"ReduceL2": ops.sqrt, "ReduceLogSum": ops.log}.get(kind)
    return outer(total) if outer else total


@converts("ArgMax", "ArgMin")
def _arg(call: Call) -> Any:
    if call.attribute("select_last_index", 0):
        raise call.refuse("of equal values the first is found", "select_last_index=1")
    function = ops.argmax if call.node.kind == "ArgMax" else ops.argmin
    keepdims = bool(call.attribute("keepdims", 1))
    return function(call.input(0), axis=call.attribute("axis", 0), keepdims=keepdims)


@converts("CumSum")
def _cumulated(call: Call) -> Any:
    if call.attribute("exclusive", 0) or call.attribute("reverse", 0):
        raise call.refuse("sums go forward and include their own", "exclusive or reverse")
    return ops.cumsum(call.input(0), axis=int(call.constant(1, "the axis")))


@converts("TopK")
def _top(call: Call) -> Any:
    x, k = call.input(0), int(np.ravel(call.setting("k", 1, 10))[0])
    last = call.attribute("axis", -1) % len(x.shape) == len(x.shape) - 1
    if not last or not call.attribute("largest", 1):
        raise call.refuse("the largest along the last axis are found", "another axis, or largest=0")
    return ops.top_k(x, k)


def spread(value: Any, like: Any) -> Any:
    """A constant with one row, or equal ones, as a tensor with as many rows as `like`."""
    if not is_array(value):
        return value
    value = operand(value)
    if len(value) > 1 and np.array_equal(value, np.broadcast_to(value[:1], value.shape)):
        value = value[:1]
    first = like[(slice(None), *(slice(0, 1) for _ in like.shape[1:]))]
    zeros = ops.zeros_like(ops.reshape(first, (-1, *([1] * (value.ndim - 1)))))
    return ops.add(ops.cast(zeros, str(value.dtype)), value)
