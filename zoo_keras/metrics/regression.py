"""Metrics that compare numbers: the means of the regression and hinge losses, correlation, R2.

In: y_true and y_pred of one shape. Out: one number. Source:
https://keras.io/api/metrics/regression_metrics.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from zoo_keras import losses, ops
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.losses.loss import like_prediction, same_rank
from zoo_keras.metrics.means import Mean, NamedMean
from zoo_keras.metrics.metric import Metric
from zoo_keras.ops.convert import as_dtype, fuzz_factor
from zoo_keras.ops.symbolic import public


class MeanSquaredError(NamedMean):
    """The mean of (y_true - y_pred)**2."""

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_squared_error, name, dtype)


class MeanAbsoluteError(NamedMean):
    """The mean of |y_true - y_pred|."""

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(losses.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(NamedMean):
    """100 times the mean of |y_true - y_pred| / |y_true|."""

    def __init__(
        self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None
    ) -> None:
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(NamedMean):
    """The mean of (log(y_true + 1) - log(y_pred + 1))**2."""

    def __init__(
        self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None
    ) -> None:
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(NamedMean):
    """The mean of log(cosh(y_pred - y_true))."""

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(losses.log_cosh, name, dtype)


class Hinge(NamedMean):
    """The mean of max(1 - y_true * y_pred, 0)."""

    def __init__(self, name: str | None = "hinge", dtype: Any = None) -> None:
        super().__init__(losses.hinge, name, dtype)


class SquaredHinge(NamedMean):
    """The mean of max(1 - y_true * y_pred, 0)**2."""

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None) -> None:
        super().__init__(losses.squared_hinge, name, dtype)


class CategoricalHinge(NamedMean):
    """The mean of max(1 + the largest wrong score - the right score, 0)."""

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None) -> None:
        super().__init__(losses.categorical_hinge, name, dtype)


class RootMeanSquaredError(Mean):
    """The root of the mean of (y_true - y_pred)**2 over all values."""

    _direction = "down"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        y_true, y_pred = like_prediction(y_true, y_pred)
        super().update_state(ops.square(ops.subtract(y_pred, y_true)), sample_weight)

    def result(self) -> Any:
        return ops.sqrt(super().result())


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """The cosine of the angle between y_true and y_pred."""
    return ops.negative(losses.cosine_similarity(y_true, y_pred, axis))


class CosineSimilarity(NamedMean):
    """The mean cosine of the angle between y_true and y_pred along `axis`."""

    _direction = "up"

    def __init__(
        self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1
    ) -> None:
        super().__init__(cosine_similarity, name, dtype, axis=axis)


# --- correlation


@public
def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Pearson's correlation of y_true and y_pred along axis."""
    both = like_prediction(y_true, y_pred)
    apart = [ops.subtract(y, ops.mean(y, axis=axis, keepdims=True)) for y in both]
    scaled = [ops.divide(y, ops.std(y, axis=axis, keepdims=True)) for y in apart]
    return ops.mean(ops.multiply(*scaled), axis=axis)


@public
def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Lin's concordance correlation along axis, as Keras computes it."""
    y_true, y_pred = like_prediction(y_true, y_pred)
    mean_true, mean_pred = (ops.mean(y, axis=axis, keepdims=True) for y in (y_true, y_pred))
    spread = ops.add(ops.var(y_true, axis, keepdims=True), ops.var(y_pred, axis, keepdims=True))
    whole = ops.add(spread, ops.square(ops.subtract(mean_true, mean_pred)))
    shared = ops.multiply(ops.subtract(y_true, mean_pred), ops.subtract(y_pred, mean_pred))
    return ops.mean(ops.divide(ops.multiply(shared, 2.0), ops.add(whole, fuzz_factor())), axis=axis)


class PearsonCorrelation(NamedMean):
    """The mean of Pearson's correlation along `axis`."""

    _direction, own = "up", ("axis",)

    def __init__(
        self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1
    ) -> None:
        super().__init__(pearson_correlation, name, dtype, axis=axis)


class ConcordanceCorrelation(NamedMean):
    """The mean of Lin's concordance correlation along `axis`."""

    _direction, own = "up", ("axis",)

    def __init__(
        self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1
    ) -> None:
        super().__init__(concordance_correlation, name, dtype, axis=axis)


# --- R2


_AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")


class R2Score(Metric):
    """1 - the square error over the variance of y_true, for each column or their mean."""

    _direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if class_aggregation not in _AGGREGATIONS:
            raise ConfigError(
                "R2Score: Invalid value for argument `class_aggregation`. Received: "
                f"{class_aggregation!r}. Use one of {_AGGREGATIONS}."
            )
        if num_regressors < 0:
            raise ConfigError(
                "R2Score: Invalid value for argument `num_regressors`. Received: "
                f"{num_regressors}. Pass 0 or more."
            )
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.num_samples = self.add_variable((), name="num_samples")
        self._built = False

    def build(self, y_true_shape: Sequence[int], y_pred_shape: Sequence[int]) -> None:
        if self._built:
            return
        if len(y_pred_shape) != 2 or len(y_true_shape) != 2:
            raise ShapeError(
                "R2Score expects 2D inputs with shape (batch, columns). Received: "
                f"{tuple(y_true_shape)} and {tuple(y_pred_shape)}. Reshape them."
            )
        columns = (y_pred_shape[-1],)
        self.squared_sum = self.add_variable(columns, name="squared_sum")
        self.sum = self.add_variable(columns, name="sum")
        self.total_mse = self.add_variable(columns, name="residual")
        self.count = self.add_variable(columns, name="count")
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = as_dtype(y_true, self.dtype), as_dtype(y_pred, self.dtype)
        y_true, y_pred = same_rank(y_true, y_pred)
        self.build(y_true.shape, y_pred.shape)
        weight = as_dtype(1.0 if sample_weight is None else sample_weight, self.dtype)
        weight = ops.expand_dims(weight, 1) if len(weight.shape) == 1 else weight
        weight = ops.broadcast_to(weight, y_true.shape)
        weighted = ops.multiply(y_true, weight)
        error = ops.multiply(ops.square(ops.subtract(y_true, y_pred)), weight)
        self.sum.assign(ops.add(self.sum, ops.sum(weighted, axis=0)))
        squares = ops.sum(ops.multiply(y_true, weighted), axis=0)
        self.squared_sum.assign(ops.add(self.squared_sum, squares))
        self.total_mse.assign(ops.add(self.total_mse, ops.sum(error, axis=0)))
        self.count.assign(ops.add(self.count, ops.sum(weight, axis=0)))
        self.num_samples.assign(ops.add(self.num_samples, float(ops.size(y_true))))

    def result(self) -> Any:
        mean = ops.divide(self.sum, self.count)
        total = ops.subtract(self.squared_sum, ops.multiply(self.sum, mean))
        scores = ops.subtract(1.0, ops.divide(self.total_mse, total))
        scores = ops.where(ops.isinf(scores), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            scores = ops.mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = ops.divide(ops.sum(ops.multiply(total, scores)), ops.sum(total))
        return self._adjusted(scores) if self.num_regressors else scores

    def _adjusted(self, scores: Any) -> Any:
        left = float(self.num_samples) - self.num_regressors - 1.0
        if left <= 0:
            warnings.warn(
                f"{self.name}: too few samples to adjust R2 for {self.num_regressors} regressors; "
                "the plain R2 is given.",
                stacklevel=3,
            )
            return scores
        factor = (float(self.num_samples) - 1.0) / left
        return ops.subtract(1.0, ops.multiply(ops.subtract(1.0, scores), factor))

    def get_config(self) -> dict[str, Any]:
        own = ("class_aggregation", "num_regressors")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
