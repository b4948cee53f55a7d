"""The F-score: the harmonic mean of precision and recall, for each class or over all.

In: y_true one-hot or multi-hot, y_pred scores, both (batch, classes). Out: one number, or one a
class. Source: https://keras.io/api/metrics/classification_metrics/#f1score-class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo_keras import ops
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.metrics.metric import Metric
from zoo_keras.ops.convert import as_dtype, fuzz_factor

_AVERAGES = (None, "micro", "macro", "weighted")
_COUNTS = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")


def _invalid(argument: str, rule: str, given: Any, remedy: str) -> ConfigError:
    return ConfigError(
        f"Invalid `{argument}` argument value. {rule}. Received: {argument}={given} of type "
        f"'{type(given)}'. {remedy}"
    )


class FBetaScore(Metric):
    """(1 + beta**2) * precision * recall / (beta**2 * precision + recall).

    Without a threshold the largest score of a row is the prediction.
    """

    _direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if average not in _AVERAGES:
            kinds = "{None, 'micro', 'macro', 'weighted'}"
            raise _invalid("average", f"Expected one of: {kinds}", average, "Choose one of these.")
        for argument, given in (("beta", beta), ("threshold", threshold)):
            if not isinstance(given, float) and not (given is None and argument == "threshold"):
                raise _invalid(argument, "It should be a Python float", given, "Pass 0.5.")
        if beta <= 0:
            raise _invalid("beta", "It should be > 0", beta, "Pass 1.0.")
        if threshold is not None and not 0 < threshold <= 1:
            raise _invalid(
                "threshold", "It should verify 0 < threshold <= 1", threshold, "Pass 0.5."
            )
        self.average, self.beta, self.threshold = average, beta, threshold
        self.axis = None if average == "micro" else 0
        self._built = False

    def build(self, y_true_shape: Sequence[int], y_pred_shape: Sequence[int]) -> None:
        if self._built:
            return
        if len(y_true_shape) != 2 or len(y_pred_shape) != 2:
            raise ShapeError(
                f"{type(self).__name__}: y_true and y_pred must have the shape (batch, classes). "
                f"Received: {tuple(y_true_shape)} and {tuple(y_pred_shape)}. Use one-hot rows."
            )
        shape = () if self.average == "micro" else (y_pred_shape[-1],)
        for name in _COUNTS:
            setattr(self, name, self.add_variable(shape, dtype=self.dtype, name=name))
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = as_dtype(y_true, self.dtype), as_dtype(y_pred, self.dtype)
        self.build(y_true.shape, y_pred.shape)
        if self.threshold is None:
            largest = ops.greater_equal(y_pred, ops.max(y_pred, axis=-1, keepdims=True))
            chosen = ops.logical_and(largest, ops.greater(ops.absolute(y_pred), 1e-9))
        else:
            chosen = ops.greater(y_pred, self.threshold)
        chosen = as_dtype(chosen, self.dtype)
        wrong, missed = ops.subtract(1.0, y_true), ops.subtract(1.0, chosen)
        found = (
            ops.multiply(chosen, y_true), ops.multiply(chosen, wrong),
            ops.multiply(missed, y_true), y_true,
        )  # fmt: skip
        for name, values in zip(_COUNTS, found, strict=True):
            variable = getattr(self, name)
            variable.assign(ops.add(variable, self._sum(values, sample_weight)))

    def _sum(self, values: Any, sample_weight: Any) -> Any:
        if sample_weight is not None:
            column = ops.expand_dims(as_dtype(sample_weight, self.dtype), 1)
            values = ops.multiply(values, column)
        return ops.sum(values, axis=self.axis)

    def result(self) -> Any:
        tp, fp, fn, weights = (getattr(self, name).value for name in _COUNTS)
        precision = ops.divide(tp, ops.add(ops.add(tp, fp), fuzz_factor()))
        recall = ops.divide(tp, ops.add(ops.add(tp, fn), fuzz_factor()))
        below = ops.add(ops.add(ops.multiply(precision, self.beta**2), recall), fuzz_factor())
        score = ops.divide(ops.multiply(precision, recall), below)
        score = ops.multiply(score, 1 + self.beta**2)
        if self.average == "weighted":
            shares = ops.divide(weights, ops.add(ops.sum(weights), fuzz_factor()))
            return ops.sum(ops.multiply(score, shares))
        return score if self.average is None else ops.mean(score)

    def get_config(self) -> dict[str, Any]:
        own = ("average", "beta", "threshold")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("beta")
        return config
