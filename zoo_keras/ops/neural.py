"""Public neural-network ops: activations, softmax, cross-entropies, normalisation, attention.

In: tensors, Variables or arrays. Out: the same shape, or one value a row for the cross-entropies.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from zoo_keras import dtypes
from zoo_keras.errors import ConfigError, ShapeError, UnsupportedError
from zoo_keras.graph import Tensor
from zoo_keras.ops.convert import (
    alike,
    as_dtype,
    as_float,
    axes_in,
    axis_in,
    dtype_of,
    fuzz_factor,
    shape_of,
    value,
)
from zoo_keras.ops.plain import unary, unary_float
from zoo_keras.ops.shaping import moveaxis, split
from zoo_keras.ops.symbolic import public
from zoo_keras.primitives import elementwise as m
from zoo_keras.primitives import reduce, smooth
from zoo_keras.primitives import softmax as nn
from zoo_keras.primitives import sorting as scan
from zoo_keras.primitives.arrays import reshape as reshape_op
from zoo_keras.primitives.attention import MASKED, attention
from zoo_keras.primitives.norm import layer_norm
from zoo_keras.primitives.straight import straight

# --- activations

relu = unary(m.relu, "max(x, 0).")


@public
def relu6(x: Any) -> Any:
    """max(x, 0), but at most 6."""
    x = value(x)
    return m.relu6(x) if dtypes.is_float(dtype_of(x)) else m.clip(x, low=0, high=6)


@public
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x above 0, else negative_slope * x."""
    return m.leaky_relu(as_float(x), negative_slope=float(negative_slope))


@public
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0, else alpha * (exp(x) - 1)."""
    return m.elu(as_float(x), alpha=float(alpha))


@public
def celu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0, else alpha * (exp(x / alpha) - 1)."""
    if not alpha:
        raise ConfigError("celu: alpha must not be 0. Received: alpha=0. Use ops.relu.")
    x = as_float(x)
    return m.multiply(m.elu(m.multiply(x, 1.0 / alpha), alpha=1.0), float(alpha))


@public
def selu(x: Any) -> Any:
    """The self-normalising ELU. Klambauer et al. 2017, arXiv:1706.02515."""
    return m.multiply(m.elu(as_float(x), alpha=1.6732632423543772), 1.0507009873554805)


@public
def gelu(x: Any, approximate: bool = True) -> Any:
    """x times the normal distribution function of x, or its tanh approximation."""
    x = as_float(x)
    return smooth.gelu_tanh(x) if approximate else smooth.gelu(x)


@public
def glu(x: Any, axis: int = -1) -> Any:
    """The first half of an axis times the sigmoid of the second."""
    first, second = split(as_float(x), 2, axis)
    return m.multiply(first, m.sigmoid(second))


sigmoid = unary_float(m.sigmoid, "1 / (1 + exp(-x)).")


@public
def hard_sigmoid(x: Any) -> Any:
    """x / 6 + 1 / 2, cut to 0..1."""
    return m.multiply(relu6(m.add(as_float(x), 3.0)), 1.0 / 6.0)


@public
def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2, cut to 0..1; flat where it is cut."""
    return m.multiply(relu6(m.multiply(m.add(as_float(x), 1.0), 3.0)), 1.0 / 6.0)


@public
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)) without underflow."""
    return m.negative(m.softplus(m.negative(as_float(x))))


silu = unary_float(smooth.silu, "x * sigmoid(x).")


swish = silu


@public
def hard_silu(x: Any) -> Any:
    """x * hard_sigmoid(x)."""
    x = as_float(x)
    return m.multiply(x, hard_sigmoid(x))


hard_swish = hard_silu


@public
def hard_tanh(x: Any) -> Any:
    """x cut to -1..1."""
    return m.clip(as_float(x), low=-1.0, high=1.0)


softplus = unary_float(m.softplus, "log(1 + exp(x)).")


@public
def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    x = as_float(x)
    return m.divide(x, m.add(m.abs(x), 1.0))


@public
def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x * x + b)) / 2."""
    x = as_float(x)
    return m.multiply(m.add(x, m.sqrt(m.add(m.square(x), float(b)))), 0.5)


@public
def sparse_plus(x: Any) -> Any:
    """0 up to -1, (x + 1)**2 / 4 up to 1, x above."""
    x = as_float(x)
    curve = m.multiply(m.square(m.add(x, 1.0)), 0.25)
    return m.where(m.less_equal(x, -1.0), 0.0, m.where(m.less(x, 1.0), curve, x))


@public
def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    x = as_float(x)
    return m.subtract(x, m.tanh(x))


@public
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x, but 0 within the threshold around 0."""
    x = as_float(x)
    return m.where(m.greater(m.abs(x), float(threshold)), x, 0.0)


@public
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved by the threshold towards 0, and 0 within it."""
    x = as_float(x)
    return m.subtract(x, m.clip(x, low=-float(threshold), high=float(threshold)))


@public
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x above the threshold, else default_value."""
    x, kind = value(x), dtype_of(value(x))
    if not dtypes.is_float(kind) and default_value != int(default_value):
        raise ConfigError(
            f"threshold: of {kind} the default_value must be a whole number. Received: "
            f"default_value={default_value}. Cast x to a float."
        )
    return m.where(m.greater(as_float(x), float(threshold)), x, as_dtype(default_value, kind))


# --- softmax


def _along(op: Any, x: Any, axis: Any) -> Any:
    """A softmax over one axis, or over several taken as one."""
    x = as_float(x)
    if isinstance(axis, int):
        return op(x, axis=axis_in(axis, len(x.shape)))
    axes = axes_in(axis, len(x.shape))
    last = tuple(range(len(x.shape) - len(axes), len(x.shape)))
    moved = moveaxis(x, axes, last)
    lead = moved.shape[: len(x.shape) - len(axes)]
    flat = op(reshape_op(moved, shape=(*lead, -1)), axis=len(lead))
    return moveaxis(reshape_op(flat, shape=moved.shape), last, axes)


@public
@straight
def softmax(x: Any, axis: Any = -1) -> Any:
    """exp(x) divided by its sum along the axis (an int, a tuple, or None for all)."""
    return _along(nn.softmax, x, axis)


@public
@straight
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """log(softmax(x)) without underflow."""
    return _along(nn.log_softmax, x, axis)


@public
def sparsemax(x: Any, axis: int = -1) -> Any:
    """max(x - tau, 0) with tau as Keras 3 computes it: from all running sums of the support.

    Keras' threshold is not that of Martins and Astudillo 2016, so rows need not add up to 1;
    models trained with Keras need Keras' values.
    """
    x = as_float(x)
    axis = axis_in(axis, len(x.shape))
    falling = m.negative(scan.sort(m.negative(x), axis=axis))
    column = [-1 if i == axis else 1 for i in range(len(x.shape))]
    rank = as_dtype(np.arange(1, x.shape[axis] + 1).reshape(column), dtype_of(x))
    above = scan.cumsum(falling, axis=axis, reverse=False)
    support = m.greater(falling, m.divide(m.subtract(above, 1.0), rank))
    count = reduce.reduce_sum(as_dtype(support, dtype_of(x)), axes=(axis,), keepdims=True)
    total = reduce.reduce_sum(m.where(support, above, 0.0), axes=(axis,), keepdims=True)
    return m.maximum(m.subtract(x, m.divide(m.subtract(total, 1.0), count)), 0.0)


# --- cross-entropies


def before_activation(output: Any, activation: str, axis: int | None = None) -> Any:
    """What softmax or sigmoid was applied to, when `output` is its result; else None."""
    if not isinstance(output, Tensor) or output.node.op.name != activation:
        return None
    if axis is not None and output.node.attrs["axis"] % output.ndim != axis:
        return None
    return output.node.inputs[0]


def _same_shape(target: Any, output: Any, name: str) -> None:
    if tuple(target.shape) != tuple(output.shape):
        raise ShapeError(
            f"{name}: target and output must have the same shape. Received: target.shape="
            f"{tuple(target.shape)}, output.shape={tuple(output.shape)}. Reshape the target, or "
            "give the last layer as many units as the target has columns."
        )


@public
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-sum(target * log(output)) along axis; outputs are scaled to sum 1.

    The result of a softmax is taken back to its logits, which is exact for small probabilities.
    """
    output = as_float(output)
    target = as_dtype(target, dtype_of(output))
    _same_shape(target, output, "categorical_crossentropy")
    axis = axis_in(axis, len(output.shape))
    logits = before_activation(output, "softmax", axis)
    if from_logits or logits is not None:
        logits = output if logits is None else logits
        return nn.softmax_cross_entropy(_last(target, axis), _last(logits, axis))
    total = reduce.reduce_sum(output, axes=(axis,), keepdims=True)
    bounded = m.clip(m.divide(output, total), low=fuzz_factor(), high=1.0 - fuzz_factor())
    losses = m.multiply(target, m.log(bounded))
    return m.negative(reduce.reduce_sum(losses, axes=(axis,), keepdims=False))


def _last(x: Any, axis: int) -> Any:
    return x if axis == len(x.shape) - 1 else moveaxis(x, axis, -1)


@public
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Any:
    """-log(output[target]) for every row; target holds class numbers.

    Raises DataError when the program meets a class that is none.
    """
    output = as_float(output)
    last = len(output.shape) - 1
    if axis_in(axis, last + 1) != last:
        output = moveaxis(output, axis, -1)
    target = as_dtype(target, "int32")
    if len(target.shape) == len(output.shape) and target.shape[-1] == 1:
        target = reshape_op(target, shape=target.shape[:-1])
    if tuple(target.shape) != tuple(output.shape[:-1]):
        raise ShapeError(
            "sparse_categorical_crossentropy: the target must have the output's shape without its "
            f"last axis. Received: target.shape={tuple(target.shape)}, output.shape="
            f"{tuple(output.shape)}. Use one class number for each row of the output."
        )
    logits = before_activation(output, "softmax", last)
    if logits is None:
        logits = output
        if not from_logits:
            logits = m.log(m.clip(output, low=fuzz_factor(), high=1.0 - fuzz_factor()))
    return nn.sparse_softmax_cross_entropy(target, logits)


@public
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-target * log(output) - (1 - target) * log(1 - output), element by element.

    The result of a sigmoid is taken back to its logits.
    """
    output = as_float(output)
    target = as_dtype(target, dtype_of(output))
    _same_shape(target, output, "binary_crossentropy")
    logits = before_activation(output, "sigmoid")
    if from_logits or logits is not None:
        return m.sigmoid_cross_entropy(target, output if logits is None else logits)
    bounded = m.clip(output, low=fuzz_factor(), high=1.0 - fuzz_factor())
    ones = m.multiply(target, m.log(bounded))
    zeros = m.multiply(m.subtract(1.0, target), m.log(m.subtract(1.0, bounded)))
    return m.negative(m.add(ones, zeros))


# --- normalisation


def _channel_shape(x: Any, axis: Any) -> tuple[int, ...]:
    axes = axes_in(axis, len(x.shape))
    return tuple(d if i in axes else 1 for i, d in enumerate(x.shape))


@public
def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, with vectors along axis."""
    x = as_float(x)
    shape = _channel_shape(x, axis)
    for name, vector in {
        "mean": mean,
        "variance": variance,
        "offset": offset,
        "scale": scale,
    }.items():
        if vector is not None and math.prod(shape_of(vector)) != math.prod(shape):
            raise ShapeError(
                f"batch_normalization: `{name}` must be a vector of length {math.prod(shape)}, "
                "that "
                f"of axis {axis}. Received: shape {shape_of(vector)}. Pass one number for each "
                "channel."
            )
    factor = m.rsqrt(m.add(as_float(variance), float(epsilon)))
    if scale is not None:
        factor = m.multiply(factor, as_float(scale))
    shift = m.negative(m.multiply(as_float(mean), factor))
    if offset is not None:
        shift = m.add(shift, as_float(offset))
    return m.add(m.multiply(x, reshape_op(factor, shape=shape)), reshape_op(shift, shape=shape))


@public
def layer_normalization(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    axis: Any = -1,
    epsilon: float | None = None,
    **kwargs: Any,
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over the axes of each sample."""
    if kwargs.pop("rms_scaling", False):
        return _scaled_alone(x, gamma, axis, epsilon)
    if kwargs:
        raise UnsupportedError(
            f"layer_normalization: further arguments are not supported. Received: {kwargs}. "
            "Leave them out."
        )
    x, epsilon = as_float(x), fuzz_factor() if epsilon is None else epsilon
    axes = axes_in(axis, len(x.shape))
    if axes == (len(x.shape) - 1,):
        size = (x.shape[-1],)
        weight = np.ones(size, "float32") if gamma is None else as_float(gamma)
        shift = np.zeros(size, "float32") if beta is None else as_float(beta)
        return layer_norm(x, weight, shift, epsilon=float(epsilon))[0]
    mean = reduce.reduce_mean(x, axes=axes, keepdims=True)
    apart = m.subtract(x, mean)
    variance = reduce.reduce_mean(m.square(apart), axes=axes, keepdims=True)
    y = m.multiply(apart, m.rsqrt(m.add(variance, float(epsilon))))
    shape = _channel_shape(x, axes)
    y = y if gamma is None else m.multiply(y, reshape_op(as_float(gamma), shape=shape))
    return y if beta is None else m.add(y, reshape_op(as_float(beta), shape=shape))


def _scaled_alone(x: Any, gamma: Any, axis: Any, epsilon: float | None) -> Any:
    """x / sqrt(variance + epsilon) * gamma, which Keras 3.0 called RMS scaling."""
    warnings.warn(
        "You passed `rms_scaling=True`, which is deprecated: it divides by the deviation from the "
        "mean. Use ops.rms_normalization.",
        stacklevel=4,
    )
    x, epsilon = as_float(x), fuzz_factor() if epsilon is None else epsilon
    axes = axes_in(axis, len(x.shape))
    apart = m.subtract(x, reduce.reduce_mean(x, axes=axes, keepdims=True))
    variance = reduce.reduce_mean(m.square(apart), axes=axes, keepdims=True)
    y = m.multiply(x, m.rsqrt(m.add(variance, float(epsilon))))
    if gamma is None:
        return y
    return m.multiply(y, reshape_op(as_float(gamma), shape=_channel_shape(x, axes)))


@public
def rms_normalization(
    x: Any, scale: Any = None, axis: Any = -1, epsilon: float | None = None
) -> Any:
    """x divided by the root of its mean square over the axes, times scale."""
    x, epsilon = as_float(x), fuzz_factor() if epsilon is None else epsilon
    axes = axes_in(axis, len(x.shape))
    mean_square = reduce.reduce_mean(m.square(x), axes=axes, keepdims=True)
    y = m.multiply(x, m.rsqrt(m.add(mean_square, float(epsilon))))
    if scale is None:
        return y
    return m.multiply(y, reshape_op(as_dtype(scale, dtype_of(x)), shape=_channel_shape(x, axes)))


# --- attention


@public
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:
    """softmax(query @ key * scale + bias) @ value; tensors are (batch, length, heads, width).

    Key and value may have fewer heads, each for a group of query heads. bias and mask (True: use)
    broadcast to (batch, heads, query length, key length). The scores are never in memory as a
    whole, so `flash_attention` changes nothing.
    """
    if attn_logits_soft_cap:
        raise UnsupportedError(
            "dot_product_attention: attn_logits_soft_cap is not supported. Received: "
            f"attn_logits_soft_cap={attn_logits_soft_cap}. Leave it out."
        )
    del flash_attention
    query, key, value = alike([as_float(query), as_float(key), as_float(value)])
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    masks = _attention_mask(bias, mask)
    return attention(query, key, value, *masks, scale=scale, causal=bool(is_causal))[0]


def _attention_mask(bias: Any, mask: Any) -> list[Any]:
    """One mask of 4 axes from both, or none: bool, or numbers to add to the scores."""
    if mask is not None:
        mask = _four_axes(as_dtype(mask, "bool"))
    if bias is not None:
        bias = _four_axes(as_float(bias))
        mask = bias if mask is None else m.where(mask, bias, MASKED)
    return [] if mask is None else [mask]


def _four_axes(x: Any) -> Any:
    return reshape_op(x, shape=((1,) * (4 - len(x.shape)) + tuple(x.shape)))


__all__ = [
    "batch_normalization", "binary_crossentropy", "categorical_crossentropy", "celu",
    "dot_product_attention", "elu", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_swish", "hard_tanh", "layer_normalization", "leaky_relu", "log_sigmoid", "log_softmax",
    "relu", "relu6", "rms_normalization", "selu", "sigmoid", "silu", "soft_shrink", "softmax",
    "softplus", "softsign", "sparse_categorical_crossentropy", "sparse_plus", "sparse_sigmoid",
    "sparsemax", "squareplus", "swish", "tanh_shrink", "threshold",
]  # fmt: skip
