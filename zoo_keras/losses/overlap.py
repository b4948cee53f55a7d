"""Losses of whole masks and of embeddings: Dice, Tversky, Circle.

In: y_true and y_pred of one shape; for Circle class numbers and normalised rows. Out: one number,
one for each index left after `axis`, or one for each row. Source: https://keras.io/api/losses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.losses.loss import NamedLoss, like_prediction
from zoo_keras.ops.convert import as_float, fuzz_factor
from zoo_keras.ops.masks import set_mask
from zoo_keras.ops.symbolic import public


@public
def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Any:
    """1 - 2 * overlap / (size of y_true + size of y_pred). Dice 1945."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    overlap = ops.multiply(ops.sum(ops.multiply(y_true, y_pred), axis=axis), 2.0)
    sizes = ops.add(ops.sum(y_true, axis=axis), ops.sum(y_pred, axis=axis))
    return ops.subtract(1.0, ops.divide(overlap, ops.add(sizes, fuzz_factor())))


@public
def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None
) -> Any:
    """1 - overlap / (overlap + alpha * missed + beta * too much). Salehi et al. 2017."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    overlap = ops.sum(ops.multiply(y_true, y_pred), axis=axis)
    missed = ops.sum(ops.multiply(ops.subtract(1.0, y_pred), y_true), axis=axis)
    extra = ops.sum(ops.multiply(y_pred, ops.subtract(1.0, y_true)), axis=axis)
    whole = ops.add(overlap, ops.add(ops.multiply(missed, alpha), ops.multiply(extra, beta)))
    return ops.subtract(1.0, ops.divide(overlap, ops.add(whole, fuzz_factor())))


@public
def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """The circle loss of embeddings (rows of norm 1) by class. Sun et al. 2020, 2002.10857."""
    y_pred, labels = as_float(y_pred), ops.ravel(ops.cast(y_true, "int32"))
    others = y_pred if ref_embeddings is None else as_float(ref_embeddings)
    other_labels = labels if ref_labels is None else ops.ravel(ops.cast(ref_labels, "int32"))
    distance = ops.subtract(1.0, ops.matmul(y_pred, ops.transpose(others)))
    distance = ops.maximum(distance, 0.0)
    alike = ops.equal(ops.expand_dims(labels, 1), ops.expand_dims(other_labels, 0))
    unlike = ops.logical_not(alike)
    if remove_diagonal:
        rows, columns = alike.shape
        alike = ops.logical_and(alike, np.eye(rows, columns) == 0)
    pull = _weighted(ops.add(distance, margin), ops.subtract(margin, distance), alike, -gamma)
    push = ops.subtract(1.0 + margin, distance)
    push = _weighted(push, ops.subtract(1.0 - margin, distance), unlike, gamma)
    losses = ops.softplus(ops.add(ops.logsumexp(pull, axis=1), ops.logsumexp(push, axis=1)))
    set_mask(losses, ops.greater(losses, 0.0))
    return losses


def _weighted(weight: Any, offset: Any, used: Any, gamma: float) -> Any:
    scores = ops.multiply(ops.multiply(ops.maximum(weight, 0.0), offset), float(gamma))
    return ops.where(used, scores, -np.inf)


class Dice(NamedLoss):
    """1 - 2 * overlap / (size of y_true + size of y_pred)."""

    own = ("axis",)

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dice, reduction, name, dtype, axis=axis)


class Tversky(NamedLoss):
    """Dice with weights for what is missed (alpha) and what is too much (beta)."""

    own = ("alpha", "beta", "axis")

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)


class Circle(NamedLoss):
    """The circle loss of embeddings by class; rows of loss 0 do not count in the mean."""

    own = ("gamma", "margin", "remove_diagonal")
    casts_target = False

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: Any = None,
    ) -> None:
        how = {"gamma": gamma, "margin": margin, "remove_diagonal": remove_diagonal}
        super().__init__(circle, reduction, name, dtype, **how)
