"""Gradients of gradients: ops that compute a gradient in one kernel, written by ops that have one.

In: the tensors and attributes of such an op. Out: tensors of the same values, by which
`passes/grad.py` differentiates once more (a penalty on a gradient's norm asks for it). Norms take
the statistics of their forward pass as inputs, whose own gradients lead back to x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from zoo_keras.primitives.arrays import reshape
from zoo_keras.primitives.elementwise import erf, exp, sigmoid
from zoo_keras.primitives.group_norm import rms_norm_grad
from zoo_keras.primitives.norm import batch_norm_grad, layer_norm_grad
from zoo_keras.primitives.op import registry
from zoo_keras.primitives.smooth import gelu_grad, silu_grad
from zoo_keras.primitives.softmax import (
    log_softmax_grad,
    softmax,
    softmax_cross_entropy_grad,
    softmax_grad,
)


def _sum(x: Any, *axes: int) -> Any:
    axes = tuple(a % len(x.shape) for a in axes)
    return registry["reduce_sum"](x, axes=axes, keepdims=True) if axes else x


def _rows_summed(x: Any) -> Any:
    """The sum over all axes but the last."""
    return reshape(_sum(x, *range(len(x.shape) - 1)), shape=x.shape[-1:])


def _column(x: Any) -> Any:
    return reshape(x, shape=(*x.shape, 1))


def _softmax_grad(g: Any, y: Any, *, axis: int) -> Any:
    return y * (g - _sum(g * y, axis))


def _log_softmax_grad(g: Any, y: Any, *, axis: int) -> Any:
    return g - exp(y) * _sum(g, axis)


def _cross_entropy_grad(g: Any, target: Any, logits: Any) -> Any:
    return _column(g) * (softmax(logits, axis=-1) * _sum(target, -1) - target)


def _silu_grad(g: Any, x: Any) -> Any:
    s = sigmoid(x)
    return g * (s + x * s * (1.0 - s))


def _gelu_grad(g: Any, x: Any) -> Any:
    share = 0.5 * (1.0 + erf(x * math.sqrt(0.5)))
    return g * (share + x * exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi)))


def _batch_norm_grad(
    g: Any, x: Any, gamma: Any, mean: Any, variance: Any, *, epsilon: float
) -> tuple[Any, ...]:
    rstd = registry["rsqrt"](variance + epsilon)
    share = 1 / max(math.prod(x.shape[:-1]), 1)
    hat = (x - mean) * rstd
    dbeta, dgamma = _rows_summed(g), _rows_summed(g * hat)
    return gamma * rstd * (g - dbeta * share - hat * (dgamma * share)), dgamma, dbeta


def _layer_norm_grad(g: Any, x: Any, gamma: Any, mean: Any, rstd: Any) -> tuple[Any, ...]:
    share, rstd = 1 / max(x.shape[-1], 1), _column(rstd)
    hat, scaled = (x - _column(mean)) * rstd, g * gamma
    moved = _sum(scaled, -1) * share + hat * (_sum(scaled * hat, -1) * share)
    return rstd * (scaled - moved), _rows_summed(g * hat), _rows_summed(g)


def _rms_norm_grad(g: Any, x: Any, gamma: Any, rstd: Any) -> tuple[Any, ...]:
    share, rstd = 1 / max(x.shape[-1], 1), _column(rstd)
    hat, scaled = x * rstd, g * gamma
    mean = _sum(scaled * hat, -1) * share
    return rstd * (scaled - hat * mean), _rows_summed(g * hat)


COMPOSED: dict[str, Callable[..., Any]] = {
    softmax_grad.name: _softmax_grad,
    log_softmax_grad.name: _log_softmax_grad,
    softmax_cross_entropy_grad.name: _cross_entropy_grad,
    silu_grad.name: _silu_grad,
    gelu_grad.name: _gelu_grad,
    batch_norm_grad.name: _batch_norm_grad,
    layer_norm_grad.name: _layer_norm_grad,
    rms_norm_grad.name: _rms_norm_grad,
}
