"""Intersection over union of classes, from a confusion matrix that is summed over batches.

In: class numbers, or rows of scores, for y_true and y_pred. Out: one number. Source:
https://keras.io/api/metrics/segmentation_metrics.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.dtypes import is_float
from zoo_keras.errors import ConfigError
from zoo_keras.metrics.metric import Metric
from zoo_keras.ops.convert import as_dtype, dtype_of, fuzz_factor


class IoU(Metric):
    """The mean of intersection / union over the classes target_class_ids that occur."""

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name=name, dtype=dtype or "int64")
        if max(target_class_ids) >= num_classes:
            raise ConfigError(
                f"{type(self).__name__}: target_class_ids must be below num_classes={num_classes}. "
                f"Received: {list(target_class_ids)}. Drop the others."
            )
        self.num_classes, self.ignore_class, self.axis = num_classes, ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        self.target_class_ids = list(target_class_ids)
        self.total_cm = self.add_variable(
            (num_classes, num_classes), name="total_confusion_matrix"
        )  # a float32 sum, whatever the dtype: ranks add theirs up

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true = y_true if self.sparse_y_true else ops.argmax(y_true, axis=self.axis)
        y_pred = y_pred if self.sparse_y_pred else ops.argmax(y_pred, axis=self.axis)
        y_true, y_pred = (ops.ravel(as_dtype(y, "int32")) for y in (y_true, y_pred))
        weights = as_dtype(1 if sample_weight is None else sample_weight, "float32")
        if not self.dtype.startswith("float"):
            if sample_weight is not None and is_float(dtype_of(sample_weight)):
                warnings.warn(
                    f"{type(self).__name__}: each weight is a float, but counts are of dtype "
                    f"{self.dtype} (int): casting cuts it off. Use whole weights, or "
                    "dtype='float32'.",
                    stacklevel=2,
                )
            weights = ops.trunc(weights)
        weights = ops.ravel(weights) if len(weights.shape) > 1 else weights
        weights = ops.broadcast_to(weights, y_true.shape)
        known = ops.logical_and(self._is_class(y_true), self._is_class(y_pred))
        if self.ignore_class is not None:
            known = ops.logical_and(known, ops.not_equal(y_true, self.ignore_class))
        rows = ops.multiply(
            ops.one_hot(y_true, self.num_classes),
            ops.expand_dims(ops.where(known, weights, 0.0), 1),
        )
        found = ops.matmul(ops.transpose(rows), ops.one_hot(y_pred, self.num_classes))
        self.total_cm.assign(ops.add(self.total_cm, found))

    def _is_class(self, ids: Any) -> Any:
        return ops.logical_and(ops.greater_equal(ids, 0), ops.less(ids, self.num_classes))

    def result(self) -> Any:
        matrix = self.total_cm.value
        hit = ops.diagonal(matrix)
        union = ops.subtract(ops.add(ops.sum(matrix, axis=0), ops.sum(matrix, axis=1)), hit)
        ids = np.asarray(self.target_class_ids, "int32")
        hit, union = ops.take(hit, ids), ops.take(union, ids)
        there = ops.greater(union, 1e-9)
        shares = ops.where(there, ops.divide(hit, ops.add(union, fuzz_factor())), 0.0)
        count = ops.sum(as_dtype(there, "float32"))
        return ops.divide(ops.sum(shares), ops.add(count, fuzz_factor()))

    def get_config(self) -> dict[str, Any]:
        own = ("num_classes", "target_class_ids", "ignore_class", "sparse_y_true",
               "sparse_y_pred", "axis")  # fmt: skip
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}


class BinaryIoU(IoU):
    """Intersection over union of classes 0 and 1, y_pred cut at a threshold."""

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        above = ops.greater_equal(as_dtype(y_pred, "float32"), self.threshold)
        super().update_state(y_true, as_dtype(above, "int32"), sample_weight)

    def get_config(self) -> dict[str, Any]:
        own = {"target_class_ids": self.target_class_ids, "threshold": self.threshold}
        return {**own, **Metric.get_config(self)}


class MeanIoU(IoU):
    """The mean intersection over union of all classes that occur."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        ids = range(num_classes)
        super().__init__(
            num_classes, ids, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("target_class_ids")
        return config


class OneHotIoU(IoU):
    """Intersection over union for y_true (and y_pred unless sparse) in one-hot rows."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("sparse_y_true")
        return config


class OneHotMeanIoU(MeanIoU):
    """The mean intersection over union for y_true (and y_pred unless sparse) in one-hot rows."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("sparse_y_true")
        return config
