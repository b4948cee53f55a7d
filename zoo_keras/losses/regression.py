"""Losses that compare numbers: squares, absolute values, logarithms, angles.

In: y_true and y_pred of one shape (a column may be missing). Out: one value for each row: the mean
over the last axis. Source: https://keras.io/api/losses/regression_losses.
"""

from __future__ import annotations

import math
from typing import Any

from zoo_keras import ops
from zoo_keras.losses.loss import NamedLoss, like_prediction
from zoo_keras.ops.convert import fuzz_factor
from zoo_keras.ops.symbolic import public


@public
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of (y_true - y_pred)**2."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    return ops.mean(ops.square(ops.subtract(y_true, y_pred)), axis=-1)


@public
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of |y_true - y_pred|."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    return ops.mean(ops.absolute(ops.subtract(y_true, y_pred)), axis=-1)


@public
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """100 times the mean of |y_true - y_pred| / |y_true|."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    size = ops.maximum(ops.absolute(y_true), fuzz_factor())
    parts = ops.absolute(ops.divide(ops.subtract(y_true, y_pred), size))
    return ops.multiply(ops.mean(parts, axis=-1), 100.0)


@public
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of (log(y_true + 1) - log(y_pred + 1))**2, numbers below 0 taken as 0."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    logs = [ops.log(ops.add(ops.maximum(y, fuzz_factor()), 1.0)) for y in (y_pred, y_true)]
    return ops.mean(ops.square(ops.subtract(*logs)), axis=-1)


@public
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Minus the cosine of the angle between y_true and y_pred: -1 for one direction."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    y_true, y_pred = ops.normalize(y_true, axis=axis), ops.normalize(y_pred, axis=axis)
    return ops.negative(ops.sum(ops.multiply(y_true, y_pred), axis=axis))


@public
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """The mean of error**2 / 2, beyond delta of the straight line that continues it."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    error = ops.subtract(y_pred, y_true)
    size = ops.absolute(error)
    line = ops.subtract(ops.multiply(size, delta), 0.5 * delta * delta)
    curve = ops.multiply(ops.square(error), 0.5)
    return ops.mean(ops.where(ops.less_equal(size, delta), curve, line), axis=-1)


@public
def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """The mean of log(cosh(y_pred - y_true)), without overflow."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    error = ops.subtract(y_pred, y_true)
    tail = ops.softplus(ops.multiply(error, -2.0))
    return ops.mean(ops.subtract(ops.add(error, tail), math.log(2.0)), axis=-1)


class MeanSquaredError(NamedLoss):
    """The mean of (y_true - y_pred)**2."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(NamedLoss):
    """The mean of |y_true - y_pred|."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(mean_absolute_error, reduction, name, dtype)


class MeanAbsolutePercentageError(NamedLoss):
    """100 times the mean of |y_true - y_pred| / |y_true|."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_percentage_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


class MeanSquaredLogarithmicError(NamedLoss):
    """The mean of (log(y_true + 1) - log(y_pred + 1))**2."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


class CosineSimilarity(NamedLoss):
    """Minus the cosine of the angle between y_true and y_pred along `axis`."""

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)


class Huber(NamedLoss):
    """Squares near 0, straight lines beyond delta."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(huber, reduction, name, dtype, delta=delta)


class LogCosh(NamedLoss):
    """The mean of log(cosh(y_pred - y_true))."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "log_cosh",
        dtype: Any = None,
    ) -> None:
        super().__init__(log_cosh, reduction, name, dtype)
