"""Sums and means over all samples, and the metric made of any function of y_true and y_pred.

In: values of each sample, with weights. Out: their (weighted) sum or mean. Source:
https://keras.io/api/metrics/reduction_metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zoo_keras import losses, ops
from zoo_keras.configs.serialization import deserialize_keras_object, serialize_keras_object
from zoo_keras.graph import current_trace
from zoo_keras.losses.loss import masked_weights, same_rank
from zoo_keras.metrics.metric import Metric
from zoo_keras.ops.convert import as_dtype, shape_of
from zoo_keras.ops.masks import mask_of


def by_sample(
    values: Any, sample_weight: Any, reduce: Callable[..., Any], dtype: str
) -> tuple[Any, Any]:
    """(values, weights) with one entry a sample; values are multiplied by their weights.

    Axes that the weights do not have are reduced before they are applied, the others after. Values
    that their own mask leaves out (`ignore_class`) count nowhere, with and without weights.
    """
    mask = mask_of(values)
    values = as_dtype(values, dtype)
    if mask is not None and sample_weight is not None:
        missing = len(mask.shape) - len(shape_of(sample_weight))
        sample_weight = ops.reshape(sample_weight, (*shape_of(sample_weight), *[1] * missing))
    sample_weight = masked_weights(sample_weight, mask, dtype)
    if sample_weight is not None:
        values, sample_weight = same_rank(values, sample_weight)
        weight_ndim, ndim = len(sample_weight.shape), len(values.shape)
        if ndim > weight_ndim:
            values = reduce(values, axis=tuple(range(weight_ndim, ndim)))
        if tuple(sample_weight.shape) != tuple(values.shape):
            sample_weight = ops.broadcast_to(sample_weight, values.shape)
        values = ops.multiply(values, sample_weight)
        if weight_ndim > 1:
            sample_weight = reduce(sample_weight, axis=tuple(range(1, weight_ndim)))
    if len(values.shape) > 1:
        values = reduce(values, axis=tuple(range(1, len(values.shape))))
    return values, sample_weight


class Sum(Metric):
    """The weighted sum of values."""

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), dtype=self.dtype, name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values, _ = by_sample(values, sample_weight, ops.sum, self.dtype)
        self.total.assign(ops.add(self.total, ops.sum(values)))

    def result(self) -> Any:
        return ops.add(self.total, 0.0)


class Mean(Metric):
    """The weighted mean of values, 0 without any."""

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), dtype=self.dtype, name="total")
        self.count = self.add_variable((), dtype=self.dtype, name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values, weights = by_sample(values, sample_weight, ops.mean, self.dtype)
        count = float(values.shape[0] if values.shape else 1)
        count = count if weights is None else ops.sum(weights)
        self.total.assign(ops.add(self.total, ops.sum(values)))
        self.count.assign(ops.add(self.count, count))

    def result(self) -> Any:
        if current_trace() is not None:
            return ops.divide_no_nan(self.total, self.count)
        total, count = self.total.numpy(), self.count.numpy()  # ops take 0.2 ms, in every step
        with np.errstate(all="ignore"):
            return np.divide(total, count, out=np.zeros_like(total), where=count != 0)


class MeanMetricWrapper(Mean):
    """The mean of fn(y_true, y_pred, **kwargs) over all samples."""

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs
        if fn in losses.KNOWN.values():
            self._direction = "down"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        weights = masked_weights(sample_weight, mask_of(y_pred), self.dtype)
        super().update_state(self._fn(y_true, y_pred, **self._fn_kwargs), weights)

    def get_config(self) -> dict[str, Any]:
        own = {"fn": serialize_keras_object(self._fn)}
        return {**super().get_config(), **own, **serialize_keras_object(self._fn_kwargs)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        return cls(**(deserialize_keras_object(config) if "fn" in config else config))


class NamedMean(MeanMetricWrapper):
    """A built-in mean: its class fixes the function; its config holds the arguments `own`."""

    own: tuple[str, ...] = ()

    def get_config(self) -> dict[str, Any]:
        return {**Metric.get_config(self), **{key: self._fn_kwargs[key] for key in self.own}}

    def __getattr__(self, name: str) -> Any:
        kwargs = self.__dict__.get("_fn_kwargs", {})
        if name in kwargs:
            return kwargs[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
