"""Losses of margins: y_true is -1 or 1 (0 and 1 are converted), y_pred any number.

In: y_true and y_pred of one shape. Out: one value for each row. Source:
https://keras.io/api/losses/hinge_losses.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.losses.loss import NamedLoss, like_prediction
from zoo_keras.ops.symbolic import public


def _signs(y_true: Any) -> Any:
    """Labels 0 and 1 as -1 and 1; anything else stays, decided by all labels of the batch."""
    binary = ops.all(ops.logical_or(ops.equal(y_true, 0.0), ops.equal(y_true, 1.0)))
    return ops.where(binary, ops.subtract(ops.multiply(y_true, 2.0), 1.0), y_true)


def _margins(y_true: Any, y_pred: Any) -> Any:
    y_true, y_pred = like_prediction(y_true, y_pred)
    return ops.maximum(ops.subtract(1.0, ops.multiply(_signs(y_true), y_pred)), 0.0)


@public
def hinge(y_true: Any, y_pred: Any) -> Any:
    """The mean of max(1 - y_true * y_pred, 0)."""
    return ops.mean(_margins(y_true, y_pred), axis=-1)


@public
def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """The mean of max(1 - y_true * y_pred, 0)**2."""
    return ops.mean(ops.square(_margins(y_true, y_pred)), axis=-1)


@public
def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """max(1 + the largest wrong score - the right score, 0); y_true is one-hot."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    right = ops.sum(ops.multiply(y_true, y_pred), axis=-1)
    wrong = ops.max(ops.multiply(ops.subtract(1.0, y_true), y_pred), axis=-1)
    return ops.maximum(ops.add(ops.subtract(wrong, right), 1.0), 0.0)


class Hinge(NamedLoss):
    """The mean of max(1 - y_true * y_pred, 0)."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(hinge, reduction, name, dtype)


class SquaredHinge(NamedLoss):
    """The mean of max(1 - y_true * y_pred, 0)**2."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "squared_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(squared_hinge, reduction, name, dtype)


class CategoricalHinge(NamedLoss):
    """max(1 + the largest wrong score - the right score, 0)."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(categorical_hinge, reduction, name, dtype)
