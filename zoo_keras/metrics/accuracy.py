"""How often predictions are right: by value, by threshold, by largest entry, among the k largest.

In: y_true as values, one-hot rows or class numbers; y_pred as values or scores. Out: 1 or 0 for
each prediction, and their mean. Source: https://keras.io/api/metrics/accuracy_metrics.
"""

from __future__ import annotations

from typing import Any

from zoo_keras import ops
from zoo_keras.losses.loss import same_rank
from zoo_keras.metrics.means import NamedMean
from zoo_keras.ops.convert import as_dtype, dtype_of
from zoo_keras.ops.symbolic import public


def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where y_pred equals y_true."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true, y_pred = same_rank(as_dtype(y_true, dtype_of(y_pred)), y_pred)
    return ops.cast(ops.equal(y_true, y_pred), "float32")


@public
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1 where y_pred is above the threshold and y_true is 1, or neither."""
    y_true, y_pred = same_rank(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred))
    decided = as_dtype(ops.greater(y_pred, threshold), dtype_of(y_true))
    return ops.cast(ops.equal(y_true, decided), "float32")


@public
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where y_true and y_pred are largest in the same column."""
    right = ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))
    return ops.cast(right, "float32")


@public
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where y_pred is largest in the column y_true."""
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    found = ops.argmax(y_pred, axis=-1)
    right = ops.cast(ops.equal(as_dtype(y_true, "int32"), found), "float32")
    return ops.squeeze(right, -1) if len(right.shape) > 1 and right.shape[-1] == 1 else right


@public
def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """1 where the column in which y_true is largest is among the k largest of y_pred."""
    return sparse_top_k_categorical_accuracy(ops.argmax(y_true, axis=-1), y_pred, k)


@public
def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Any:
    """1 where the column y_true is among the k largest of y_pred (or y_pred lists the columns)."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = as_dtype(y_true, dtype_of(y_pred) if from_sorted_ids else "int32")
    rows = ops.reshape(y_pred, (-1, y_pred.shape[-1]))
    labels = ops.reshape(y_true, (-1,))
    if from_sorted_ids:
        right = ops.any(ops.equal(ops.expand_dims(labels, 1), rows[:, :k]), axis=1)
    else:
        right = ops.in_top_k(labels, rows, k)
    return ops.reshape(ops.cast(right, "float32"), y_true.shape)


class Accuracy(NamedMean):
    """How often y_pred equals y_true."""

    _direction = "up"

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(NamedMean):
    """How often y_pred is on the right side of the threshold."""

    _direction, own = "up", ("threshold",)

    def __init__(
        self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class CategoricalAccuracy(NamedMean):
    """How often y_pred is largest where the one-hot y_true is."""

    _direction = "up"

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(NamedMean):
    """How often y_pred is largest in the column y_true."""

    _direction = "up"

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(NamedMean):
    """How often the class of the one-hot y_true is among the k largest of y_pred."""

    _direction, own = "up", ("k",)

    def __init__(
        self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(NamedMean):
    """How often the class y_true is among the k largest of y_pred."""

    _direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        how = {"k": k, "from_sorted_ids": from_sorted_ids}
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, **how)

    def get_config(self) -> dict[str, Any]:
        extra = {"from_sorted_ids": True} if self.from_sorted_ids else {}
        return {**super().get_config(), "k": self.k, **extra}
