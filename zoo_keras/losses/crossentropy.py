"""Losses of probabilities: cross-entropies, their focal forms, divergence, Poisson.

In: y_true as probabilities, one-hot rows or class numbers; y_pred as probabilities or logits. Out:
one value for each row. The result of a softmax or sigmoid is taken back to its logits.
Source: https://keras.io/api/losses/probabilistic_losses.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.losses.loss import NamedLoss, like_prediction
from zoo_keras.ops.convert import as_float, fuzz_factor
from zoo_keras.ops.masks import set_mask
from zoo_keras.ops.symbolic import public


def _check_axis(axis: Any) -> None:
    if isinstance(axis, bool):
        raise ConfigError(
            f"The axis of a cross-entropy must be an integer. Received: axis={axis}. "
            "Check the order of the arguments."
        )


def _smoothed(y_true: Any, label_smoothing: float, share: float) -> Any:
    """The targets moved by label_smoothing towards `share`."""
    if not label_smoothing:
        return y_true
    return ops.add(ops.multiply(y_true, 1.0 - label_smoothing), label_smoothing * share)


@public
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """-sum(y_true * log(y_pred)) along axis."""
    _check_axis(axis)
    y_true, y_pred = like_prediction(y_true, y_pred)
    y_true = _smoothed(y_true, label_smoothing, 1.0 / y_true.shape[-1])
    return ops.categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)


@public
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """The cross-entropy times alpha * (1 - y_pred)**gamma. Lin et al. 2017, arXiv:1708.02002."""
    _check_axis(axis)
    y_true, y_pred = like_prediction(y_true, y_pred)
    y_true = _smoothed(y_true, label_smoothing, 1.0 / y_true.shape[-1])
    y_pred = ops.softmax(y_pred, axis=axis) if from_logits else y_pred
    shares = ops.divide(y_pred, ops.sum(y_pred, axis=axis, keepdims=True))
    shares = ops.clip(shares, fuzz_factor(), 1.0 - fuzz_factor())
    losses = ops.negative(ops.multiply(y_true, ops.log(shares)))
    factor = ops.multiply(ops.power(ops.subtract(1.0, shares), gamma), alpha)
    return ops.sum(ops.multiply(factor, losses), axis=axis)


def _labels(y_true: Any, y_pred: Any, axis: int) -> Any:
    """Class numbers without a last column."""
    y_true = ops.convert_to_tensor(y_true)
    column = len(y_true.shape) == len(y_pred.shape) and y_true.shape[axis] == 1
    return ops.squeeze(y_true, axis) if column else y_true


@public
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Any:
    """-log(y_pred[y_true]); where y_true is ignore_class 0, and left out of means."""
    y_pred = as_float(y_pred)
    y_true = ops.cast(_labels(y_true, y_pred, axis), "int32")
    if ignore_class is None:
        return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits, axis)
    kept = ops.not_equal(y_true, ignore_class)
    labels = ops.where(kept, y_true, 0)
    rows = ops.where(ops.expand_dims(kept, axis), y_pred, 0.0)
    losses = ops.sparse_categorical_crossentropy(labels, rows, from_logits, axis)
    losses = ops.where(kept, losses, 0.0)
    set_mask(losses, kept)
    return losses


@public
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """The mean along axis of -y_true * log(y_pred) - (1 - y_true) * log(1 - y_pred)."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    y_true = _smoothed(y_true, label_smoothing, 0.5)
    losses = ops.binary_crossentropy(y_true, y_pred, from_logits=from_logits)
    return ops.mean(losses, axis=axis)


@public
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Any:
    """The binary cross-entropy times (1 - p)**gamma, p the probability of the true class."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    y_true = _smoothed(y_true, label_smoothing, 0.5)
    losses = ops.binary_crossentropy(y_true, y_pred, from_logits=from_logits)
    y_pred = ops.sigmoid(y_pred) if from_logits else y_pred
    right = _chosen(y_true, y_pred, ops.subtract(1.0, y_pred))
    losses = ops.multiply(ops.power(ops.subtract(1.0, right), gamma), losses)
    if apply_class_balancing:
        losses = ops.multiply(_chosen(y_true, alpha, 1.0 - alpha), losses)
    return ops.mean(losses, axis=axis)


def _chosen(y_true: Any, of_one: Any, of_zero: Any) -> Any:
    ones = ops.multiply(y_true, of_one)
    return ops.add(ones, ops.multiply(ops.subtract(1.0, y_true), of_zero))


@public
def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """sum(y_true * log(y_true / y_pred)) along the last axis."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    y_true, y_pred = ops.clip(y_true, fuzz_factor(), 1.0), ops.clip(y_pred, fuzz_factor(), 1.0)
    return ops.sum(ops.multiply(y_true, ops.log(ops.divide(y_true, y_pred))), axis=-1)


@public
def poisson(y_true: Any, y_pred: Any) -> Any:
    """The mean of y_pred - y_true * log(y_pred)."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    logs = ops.log(ops.add(y_pred, fuzz_factor()))
    return ops.mean(ops.subtract(y_pred, ops.multiply(y_true, logs)), axis=-1)


@public
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Any:
    """(1 - p**q) / q for the probability p of the true class. Zhang and Sabuncu 2018."""
    y_pred = as_float(y_pred)
    labels = ops.cast(y_true, "int32")
    if len(labels.shape) >= len(y_pred.shape):
        raise ShapeError(
            "categorical_generalized_cross_entropy: y_true must hold class numbers. Received: "
            f"shapes {tuple(labels.shape)} and {tuple(y_pred.shape)}. Drop its last axis."
        )
    p = ops.sum(ops.multiply(y_pred, ops.one_hot(labels, y_pred.shape[-1])), axis=-1)
    return ops.multiply(ops.subtract(1.0, ops.power(p, q)), 1.0 / q)


class BinaryCrossentropy(NamedLoss):
    """The cross-entropy of labels 0 and 1 (or probabilities) and predicted probabilities."""

    own = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            binary_crossentropy, reduction, name, dtype,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


class BinaryFocalCrossentropy(NamedLoss):
    """A binary cross-entropy in which well classified samples count less."""

    own = ("from_logits", "label_smoothing", "axis", "apply_class_balancing", "alpha", "gamma")

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            binary_focal_crossentropy, reduction, name, dtype,
            apply_class_balancing=apply_class_balancing, alpha=alpha, gamma=gamma,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


class CategoricalCrossentropy(NamedLoss):
    """The cross-entropy of one-hot (or probability) rows and predicted probabilities."""

    own = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            categorical_crossentropy, reduction, name, dtype,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


class CategoricalFocalCrossentropy(NamedLoss):
    """A categorical cross-entropy in which well classified samples count less."""

    own = ("from_logits", "label_smoothing", "axis", "alpha", "gamma")

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            categorical_focal_crossentropy, reduction, name, dtype, alpha=alpha, gamma=gamma,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


class SparseCategoricalCrossentropy(NamedLoss):
    """The cross-entropy of class numbers and predicted probabilities.

    Samples of the class `ignore_class` count neither in the sum nor in the denominator.
    """

    own = ("from_logits", "ignore_class")
    casts_target = False

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            sparse_categorical_crossentropy, reduction, name, dtype,
            from_logits=from_logits, ignore_class=ignore_class, axis=axis,
        )  # fmt: skip


class KLDivergence(NamedLoss):
    """The Kullback-Leibler divergence of two distributions."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kl_divergence",
        dtype: Any = None,
    ) -> None:
        super().__init__(kl_divergence, reduction, name, dtype)


class Poisson(NamedLoss):
    """The mean of y_pred - y_true * log(y_pred)."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "poisson",
        dtype: Any = None,
    ) -> None:
        super().__init__(poisson, reduction, name, dtype)


class CategoricalGeneralizedCrossEntropy(NamedLoss):
    """A cross-entropy that bears wrong labels. Zhang and Sabuncu 2018, arXiv:1805.07836."""

    own = ("q",)
    casts_target = False

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ) -> None:
        if not 0 < q < 1:
            raise ConfigError(
                "CategoricalGeneralizedCrossEntropy: q must lie between 0 and 1. Received: "
                f"q={q}. Pass such a number."
            )
        super().__init__(categorical_generalized_cross_entropy, reduction, name, dtype, q=q)
