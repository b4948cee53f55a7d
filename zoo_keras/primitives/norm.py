"""Batch and layer normalization, training form, with their fused gradients.

In: x with channels (batch_norm) or features (layer_norm) on the last axis, gamma and beta of that
length. Out: the normalised x and the statistics. Moving averages belong to the layer, not here.
Arrays of batch normalization may lie in memory as bits of bfloat16 (uint16); arithmetic, statistics
and gradients of gamma and beta are float32 in any case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.native import attributes
from zoo_keras.primitives.arrays import broadcast_to, named, reshape
from zoo_keras.primitives.op import Sample, all_float32, op, registry
from zoo_keras.primitives.rounding import nearest
from zoo_keras.primitives.row_rules import last_axis_of_first


def check_channels(x: Spec, *vectors: Spec) -> None:
    if not x.shape:
        raise ShapeError("x must have at least one axis.")
    if any(v.shape != x.shape[-1:] for v in vectors):
        raise ShapeError(f"one number is needed for each of the {x.shape[-1]} channels.")


def plus(a: Any, b: Any) -> Any:
    """The sum of two gradients, of which the first may be None."""
    return b if a is None else a + b


def stored(shape: tuple[int, ...], like: str, narrow: bool) -> Spec:
    """An array that is kept as bits, or else in a float dtype: that of another, which may be kept
    as bits itself."""
    return Spec(shape, "uint16" if narrow else "float32" if like == "uint16" else like)


def _batch_shape(
    x: Spec, gamma: Spec, beta: Spec, *, epsilon: float, axis: int = -1, rounds: bool = False,
    narrow: bool = False,
) -> Any:  # fmt: skip
    check_channels(x, gamma, beta)
    if axis not in (-1, len(x.shape) - 1):
        raise ShapeError(f"axis={axis} is not the last axis; transpose x first.")
    statistic = stored(x.shape[-1:], x.dtype, False)
    return stored(x.shape, x.dtype, narrow), statistic, statistic


def _batch_numbers(attrs: dict[str, Any], ins: Sequence[Spec], outs: Sequence[Spec]) -> list[float]:
    rounds, most = attrs.get("rounds", False), attrs.get("most", math.inf)
    return attributes("BATCH_NORM", epsilon=attrs["epsilon"], rounds=rounds, most=most)


def _takes_bits(*specs: Spec) -> bool:
    """Kernel rule: vectors are float32, what has rows is float32 or bits."""
    return all(s.dtype == "float32" or (s.dtype == "uint16" and len(s.shape) > 1) for s in specs)


def _read(x: np.ndarray, rounds: bool) -> np.ndarray:
    """The numbers of an array that may be bits, or is rounded as it is read."""
    if x.dtype == np.uint16:
        numbers: np.ndarray = registry["from_bfloat16"].reference(x)
        return numbers
    return nearest(x) if rounds else x


def _written(y: np.ndarray, rounds: bool, narrow: bool) -> np.ndarray:
    if narrow:
        bits: np.ndarray = registry["to_bfloat16"].reference(y)
        return bits
    return nearest(y) if rounds else y


def _batch_backward(
    g: Any, y: Any, x: Any, gamma: Any, beta: Any, *, epsilon: float, **how: Any
) -> tuple[Any, ...]:
    (gy, gmean, gvariance), (_, mean, variance) = g, y
    rows = max(x.size // max(x.shape[-1], 1), 1)
    dx = dgamma = dbeta = None
    if gy is not None:
        dx, dgamma, dbeta = batch_norm_grad(gy, x, gamma, mean, variance, epsilon=epsilon)
    if gvariance is not None:
        dx = plus(dx, (x - mean) * (gvariance * (2.0 / rows)))
    if gmean is not None:
        dx = plus(dx, broadcast_to(gmean * (1.0 / rows), shape=x.shape))
    return dx, dgamma, dbeta


_SHAPES = [(4, 3), (2, 5, 7), (3, 2, 3, 16), (33, 20), (1, 6), (5, 1)]


@op(
    kernel=True,
    shape=_batch_shape,
    grad=_batch_backward,
    attrs_to_c=_batch_numbers,
    dtypes=_takes_bits,
    samples=[Sample([s, s[-1:], s[-1:]], {"epsilon": 1e-3, "axis": -1}) for s in _SHAPES],
)
def batch_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    *,
    epsilon: float,
    axis: int = -1,
    rounds: bool = False,
    narrow: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over all axes but the last.

    Returns y (x's shape), mean and biased variance (channels,). Without rows, both are 0.
    rounds: x is read, and y written, as the nearest bfloat16 numbers; narrow: y is their bits.
    x may be bits. Ioffe and Szegedy 2015, arXiv:1502.03167.
    """
    y, mean, variance = _normalized(x, gamma, beta, epsilon, rounds)
    return _written(y, rounds, narrow), mean, variance


def _normalized(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float, rounds: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = _read(x, rounds)
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64) if x.size else np.zeros((1, x.shape[-1]))
    mean, variance = rows.mean(0), rows.var(0)
    y = (x - mean) / np.sqrt(variance + epsilon) * gamma + beta
    return y, mean, variance


def _batch_grad_shape(
    g: Spec, x: Spec, gamma: Spec, mean: Spec, variance: Spec, *, epsilon: float,
    rounds: bool = False, narrow: bool = False,
) -> tuple[Spec, ...]:  # fmt: skip
    check_channels(x, gamma, mean, variance)
    if g.shape != x.shape:
        raise ShapeError("g and x must have one shape.")
    return stored(x.shape, x.dtype, narrow), gamma, gamma


@op(
    kernel=True,
    shape=_batch_grad_shape,
    attrs_to_c=_batch_numbers,
    dtypes=_takes_bits,
    samples=[
        Sample([s, s, s[-1:], s[-1:], s[-1:]], {"epsilon": 1e-3}, low=0.1, high=1.0)
        for s in _SHAPES
    ],
)
def batch_norm_grad(
    g: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    epsilon: float,
    rounds: bool = False,
    narrow: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients (dx, dgamma, dbeta) of batch_norm's y, given its statistics.

    g and x may be bits. rounds: x is read as the nearest bfloat16 numbers; narrow: dx is bits.
    """
    g, x = _read(g, False), _read(x, rounds)
    channels, rstd = x.shape[-1], 1 / np.sqrt(variance.astype(np.float64) + epsilon)
    count = max(x.size // max(channels, 1), 1)
    hat = (x - mean.astype(np.float64)) * rstd
    dbeta = g.reshape(-1, channels).sum(0, dtype=np.float64) if x.size else np.zeros(channels)
    dgamma = (g * hat).reshape(-1, channels).sum(0) if x.size else np.zeros(channels)
    dx = gamma * rstd * (g - dbeta / count - hat * (dgamma / count))
    return _written(dx, False, narrow), dgamma, dbeta


def _relu_shape(
    x: Spec, gamma: Spec, beta: Spec, *residual: Spec, most: float = math.inf, **how: Any
) -> Any:
    if len(residual) > 1 or any(r.shape != x.shape for r in residual):
        raise ShapeError("there may be one residual, of x's shape.")
    return _batch_shape(x, gamma, beta, **how)


@op(
    kernel=True,
    shape=_relu_shape,
    attrs_to_c=_batch_numbers,
    dtypes=_takes_bits,
    samples=[Sample([s, s[-1:], s[-1:], *more], {"epsilon": 1e-3})
             for s in _SHAPES for more in ([], [s])],
)  # fmt: skip
def batch_norm_relu(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    *residual: np.ndarray,
    epsilon: float,
    most: float = math.inf,
    rounds: bool = False,
    narrow: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """batch_norm, then the sum with a residual if there is one, then relu, at most `most`.

    rounds, narrow: as of `batch_norm`; the residual is read as x is.
    """
    y, mean, variance = _normalized(x, gamma, beta, epsilon, rounds)
    y = np.clip(sum((_read(r, rounds) for r in residual), y), 0, most)
    return _written(y, rounds, narrow), mean, variance


def _relu_grad_shape(
    g: Spec, y: Spec, x: Spec, gamma: Spec, mean: Spec, variance: Spec, *, residual: bool = False,
    most: float = math.inf, **how: Any,
) -> tuple[Spec, ...]:  # fmt: skip
    if y.shape != x.shape:
        raise ShapeError("y and x must have one shape.")
    found = _batch_grad_shape(g, x, gamma, mean, variance, **how)
    return (*found, g) if residual else found


@op(
    kernel=True,
    shape=_relu_grad_shape,
    attrs_to_c=_batch_numbers,
    dtypes=_takes_bits,
    samples=[
        Sample([s] * 3 + [s[-1:]] * 3, {"epsilon": 1e-3, "residual": residual}, low=0.1, high=1.0)
        for s in _SHAPES
        for residual in (False, True)
    ],
)
def batch_norm_relu_grad(
    g: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    epsilon: float,
    residual: bool = False,
    most: float = math.inf,
    rounds: bool = False,
    narrow: bool = False,
) -> tuple[np.ndarray, ...]:
    """Gradients (dx, dgamma, dbeta, and the residual's if asked for) of batch_norm_relu's y.

    rounds, narrow: as of `batch_norm_grad`; y may be bits. The residual's gradient lies in memory
    as g does.
    """
    out = _read(y, False)
    passes = (out > 0) & ((out < most) | np.isinf(most))
    masked = np.where(passes, g, np.zeros((), g.dtype))
    how: dict[str, Any] = {"epsilon": epsilon, "rounds": rounds, "narrow": narrow}
    found = batch_norm_grad.reference(masked, x, gamma, mean, variance, **how)
    return (*found, masked) if residual else found


def _layer_shape(x: Spec, gamma: Spec, beta: Spec, *, epsilon: float) -> tuple[Spec, ...]:
    check_channels(x, gamma, beta)
    statistic = Spec(x.shape[:-1], x.dtype)
    return x, statistic, statistic


def _layer_backward(
    g: Any, y: Any, x: Any, gamma: Any, beta: Any, *, epsilon: float
) -> tuple[Any, ...]:
    (gy, gmean, grstd), (_, mean, rstd) = g, y
    dx = dgamma = dbeta = None
    if gy is not None:
        dx, dgamma, dbeta = layer_norm_grad(gy, x, gamma, mean, rstd)
    column, share = (*x.shape[:-1], 1), 1.0 / max(x.shape[-1], 1)
    if grstd is not None:  # rstd = (variance + epsilon) ** -0.5
        factor = reshape(grstd * rstd * rstd * rstd * -share, shape=column)
        dx = plus(dx, (x - reshape(mean, shape=column)) * factor)
    if gmean is not None:
        dx = plus(dx, broadcast_to(reshape(gmean * share, shape=column), shape=x.shape))
    return dx, dgamma, dbeta


@op(
    kernel=True,
    rows=last_axis_of_first,
    shape=_layer_shape,
    grad=_layer_backward,
    attrs_to_c=named("epsilon"),
    dtypes=all_float32,
    samples=[Sample([s, s[-1:], s[-1:]], {"epsilon": 1e-3}) for s in _SHAPES],
)
def layer_norm(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x - mean) * rstd * gamma + beta over the last axis; rstd = 1 / sqrt(variance + epsilon).

    Returns y (x's shape), mean and rstd (x's shape without the last axis).
    Ba, Kiros and Hinton 2016, arXiv:1607.06450.
    """
    wide = x.astype(np.float64)
    mean = wide.mean(-1, keepdims=True) if x.shape[-1] else np.zeros((*x.shape[:-1], 1))
    variance = np.square(wide - mean).sum(-1, keepdims=True) / max(x.shape[-1], 1)
    rstd = 1 / np.sqrt(variance + epsilon)
    return (wide - mean) * rstd * gamma + beta, mean[..., 0], rstd[..., 0]


def _layer_grad_shape(
    g: Spec, x: Spec, gamma: Spec, mean: Spec, rstd: Spec
) -> tuple[Spec, Spec, Spec]:
    check_channels(x, gamma)
    if g.shape != x.shape or mean.shape != x.shape[:-1] or rstd.shape != x.shape[:-1]:
        raise ShapeError("g must look like x; mean and rstd like x without its last axis.")
    return x, gamma, gamma


@op(
    kernel=True,
    shape=_layer_grad_shape,
    dtypes=all_float32,
    samples=[Sample([s, s, s[-1:], s[:-1], s[:-1]], low=0.1, high=1.0) for s in _SHAPES],
)
def layer_norm_grad(
    g: np.ndarray, x: np.ndarray, gamma: np.ndarray, mean: np.ndarray, rstd: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients (dx, dgamma, dbeta) of layer_norm's y, given its statistics."""
    features, rstd = x.shape[-1], rstd.astype(np.float64)[..., None]
    hat = (x - mean.astype(np.float64)[..., None]) * rstd
    scaled = g * gamma.astype(np.float64)
    count = max(features, 1)
    first = scaled.sum(-1, keepdims=True) / count
    second = (scaled * hat).sum(-1, keepdims=True) / count
    over = tuple(range(x.ndim - 1))
    return rstd * (scaled - first - hat * second), (g * hat).sum(over), g.sum(over)
