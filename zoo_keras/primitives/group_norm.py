"""Group normalization and normalization by the root mean square, with their fused gradients.

In: x with channels (group_norm) or features (rms_norm) on the last axis, gamma and beta of that
length. Out: the normalised x and the statistics, which the gradients read. Layer and batch
normalization are in primitives/norm.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras.errors import ShapeError
from zoo_keras.graph import Spec
from zoo_keras.primitives.arrays import broadcast_to, named, reshape
from zoo_keras.primitives.norm import check_channels, plus
from zoo_keras.primitives.op import Sample, all_float32, op
from zoo_keras.primitives.row_rules import first_input, last_axis_of_first


def _rms_shape(x: Spec, gamma: Spec, *, epsilon: float) -> tuple[Spec, Spec]:
    check_channels(x, gamma)
    return x, Spec(x.shape[:-1], x.dtype)


def _rms_backward(g: Any, y: Any, x: Any, gamma: Any, *, epsilon: float) -> tuple[Any, Any]:
    (gy, grstd), (_, rstd) = g, y
    dx, dgamma = (None, None) if gy is None else rms_norm_grad(gy, x, gamma, rstd)
    if grstd is not None:  # rstd = (mean square + epsilon) ** -0.5
        factor = grstd * rstd * rstd * rstd * (-1.0 / max(x.shape[-1], 1))
        dx = plus(dx, x * reshape(factor, shape=(*x.shape[:-1], 1)))
    return dx, dgamma


_ROWS = [(4, 3), (2, 5, 7), (33, 20), (1, 6), (5, 1), (70, 65)]


@op(
    kernel=True,
    rows=last_axis_of_first,
    shape=_rms_shape,
    grad=_rms_backward,
    attrs_to_c=named("epsilon"),
    dtypes=all_float32,
    samples=[Sample([s, s[-1:]], {"epsilon": 1e-3}) for s in [*_ROWS, (0, 4), (3, 0)]],
)
def rms_norm(x: np.ndarray, gamma: np.ndarray, *, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """x * rstd * gamma over the last axis; rstd = 1 / sqrt(mean(x * x) + epsilon).

    Returns y (x's shape) and rstd (x's shape without the last axis).
    Zhang and Sennrich 2019, arXiv:1910.07467.
    """
    squares = np.square(x.astype(np.float64)).sum(-1) / max(x.shape[-1], 1)
    rstd = 1 / np.sqrt(squares + epsilon)
    return x * rstd[..., None] * gamma, rstd


def _rms_grad_shape(g: Spec, x: Spec, gamma: Spec, rstd: Spec) -> tuple[Spec, Spec]:
    check_channels(x, gamma)
    if g.shape != x.shape or rstd.shape != x.shape[:-1]:
        raise ShapeError("g must look like x, and rstd like x without its last axis.")
    return x, gamma


@op(
    kernel=True,
    shape=_rms_grad_shape,
    dtypes=all_float32,
    samples=[Sample([s, s, s[-1:], s[:-1]], low=0.1) for s in [*_ROWS, (0, 4), (3, 0)]],
)
def rms_norm_grad(
    g: np.ndarray, x: np.ndarray, gamma: np.ndarray, rstd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients (dx, dgamma) of rms_norm's y, given its statistics."""
    rstd = rstd.astype(np.float64)[..., None]
    hat, scaled = x * rstd, g * gamma.astype(np.float64)
    mean = (scaled * hat).sum(-1, keepdims=True) / max(x.shape[-1], 1)
    return rstd * (scaled - hat * mean), (g * hat).sum(tuple(range(x.ndim - 1)))


def _group_shape(
    x: Spec, gamma: Spec, beta: Spec, *, groups: int, epsilon: float
) -> tuple[Spec, ...]:
    check_channels(x, gamma, beta)
    if len(x.shape) < 2 or groups < 1 or x.shape[-1] % groups:
        raise ShapeError(f"x needs a batch axis, and channels that groups={groups} divides.")
    statistic = Spec((x.shape[0], groups), x.dtype)
    return x, statistic, statistic


def _grouped(x: np.ndarray, groups: int) -> np.ndarray:
    """(samples, rows, groups, channels of a group) in double precision."""
    width = x.shape[-1] // groups
    rows = int(np.prod(x.shape[1:-1]))
    return x.astype(np.float64).reshape(x.shape[0], rows, groups, width)


def _group_backward(
    g: Any, y: Any, x: Any, gamma: Any, beta: Any, *, groups: int, epsilon: float
) -> tuple[Any, ...]:
    (gy, gmean, grstd), (_, mean, rstd) = g, y
    dx, dgamma, dbeta = (None,) * 3 if gy is None else group_norm_grad(gy, x, gamma, mean, rstd)
    count = max(x.size // max(x.shape[0] * groups, 1), 1)

    def spread(statistic: Any) -> Any:
        """(samples, groups) as x, each group's number for all its elements."""
        inner = (1,) * (len(x.shape) - 2)
        shape = (*x.shape[:-1], groups, x.shape[-1] // groups)
        wide = reshape(statistic, shape=(x.shape[0], *inner, groups, 1))
        return reshape(broadcast_to(wide, shape=shape), shape=tuple(x.shape))

    if grstd is not None:
        factor = spread(grstd * rstd * rstd * rstd * (-1.0 / count))
        dx = plus(dx, (x - spread(mean)) * factor)
    if gmean is not None:
        dx = plus(dx, spread(gmean * (1.0 / count)))
    return dx, dgamma, dbeta


_GROUPS = [((4, 6), 3), ((2, 5, 8), 2), ((3, 2, 3, 12), 12), ((2, 70, 20), 1), ((1, 1), 1)]
_GROUPS += [((0, 3, 4), 2), ((3, 130, 32), 4)]


@op(
    kernel=True,
    rows=first_input,
    shape=_group_shape,
    grad=_group_backward,
    attrs_to_c=named("epsilon"),
    dtypes=all_float32,
    samples=[Sample([s, s[-1:], s[-1:]], {"groups": k, "epsilon": 1e-3}) for s, k in _GROUPS],
)
def group_norm(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, groups: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x - mean) * rstd * gamma + beta, per sample and group of neighbouring channels.

    x is (samples, ..., channels). Returns y (x's shape), mean and rstd (samples, groups), where
    rstd = 1 / sqrt(variance + epsilon). Wu and He 2018, arXiv:1803.08494.
    """
    wide = _grouped(x, groups)
    count = max(wide.shape[1] * wide.shape[3], 1)
    mean = wide.sum((1, 3), keepdims=True) / count
    rstd = 1 / np.sqrt(np.square(wide - mean).sum((1, 3), keepdims=True) / count + epsilon)
    y = ((wide - mean) * rstd).reshape(x.shape) * gamma + beta
    return y, mean[:, 0, :, 0], rstd[:, 0, :, 0]


def _group_grad_shape(
    g: Spec, x: Spec, gamma: Spec, mean: Spec, rstd: Spec
) -> tuple[Spec, Spec, Spec]:
    check_channels(x, gamma)
    if g.shape != x.shape or mean.shape != rstd.shape or mean.shape[:1] != x.shape[:1]:
        raise ShapeError("g must look like x; mean and rstd are (samples, groups).")
    return x, gamma, gamma


@op(
    kernel=True,
    shape=_group_grad_shape,
    dtypes=all_float32,
    samples=[Sample([s, s, s[-1:], (s[0], k), (s[0], k)], low=0.1) for s, k in _GROUPS],
)
def group_norm_grad(
    g: np.ndarray, x: np.ndarray, gamma: np.ndarray, mean: np.ndarray, rstd: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients (dx, dgamma, dbeta) of group_norm's y, given its statistics."""
    groups, over = mean.shape[1], tuple(range(x.ndim - 1))
    rstd = rstd.astype(np.float64)[:, None, :, None]
    hat = (_grouped(x, groups) - mean.astype(np.float64)[:, None, :, None]) * rstd
    scaled = _grouped(g * gamma.astype(np.float64), groups)
    count = max(hat.shape[1] * hat.shape[3], 1)
    first = scaled.sum((1, 3), keepdims=True) / count
    second = (scaled * hat).sum((1, 3), keepdims=True) / count
    dx = rstd * (scaled - first - hat * second)
    return dx.reshape(x.shape), (g * hat.reshape(x.shape)).sum(over), g.sum(over)
