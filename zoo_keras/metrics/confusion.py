"""Counts of right and wrong decisions at thresholds, and the ratios made of them.

In: y_true of 0 and 1, y_pred from 0 to 1, of one shape. Out: counts and ratios, one for each
threshold. Source: https://keras.io/api/metrics/classification_metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.losses.loss import same_rank
from zoo_keras.metrics.metric import Metric
from zoo_keras.ops.convert import as_dtype, as_float
from zoo_keras.variables import Variable

NEVER = -1e10  # below any prediction: what stands for "not among the top k"


def threshold_list(thresholds: Any, default: float) -> list[float]:
    """The thresholds as a list. Raises ConfigError for one outside 0..1."""
    if thresholds is None:
        return [default]
    found = list(thresholds) if isinstance(thresholds, (list, tuple)) else [thresholds]
    wrong = [t for t in found if t is None or not 0 <= t <= 1]
    if wrong:
        raise ConfigError(
            f"Threshold values must be in [0, 1]. Received: {wrong}. Pass probabilities."
        )
    return found


def at_least_thresholds(metric: Metric, num_thresholds: Any, least: int) -> None:
    """ConfigError for fewer thresholds than a curve needs."""
    if num_thresholds < least:
        raise ConfigError(
            f"{type(metric).__name__}: Argument `num_thresholds` must be an integer > {least - 1}. "
            f"Received: {num_thresholds}. Use 200."
        )


def _only_top_k(y_pred: Any, k: int) -> Any:
    """The k largest entries of each row; the others become NEVER."""
    _, places = ops.top_k(y_pred, k)
    kept = ops.sum(ops.one_hot(places, y_pred.shape[-1]), axis=-2)
    return ops.where(ops.greater(kept, 0.0), y_pred, NEVER)


def _one_class(y: Any, class_id: int) -> Any:
    if len(y.shape) == 1:
        raise ShapeError(
            "When class_id is provided, y_pred must be a 2D array with shape (num_samples, "
            f"num_classes), found shape: {tuple(y.shape)}. Received: class_id={class_id}. Leave it "
            "out."
        )
    return ops.expand_dims(y[..., class_id], -1)


def count(
    variables: dict[str, Variable],
    y_true: Any,
    y_pred: Any,
    thresholds: Sequence[float],
    sample_weight: Any = None,
    top_k: int | None = None,
    class_id: int | None = None,
    multi_label: bool = False,
    label_weights: Any = None,
) -> None:
    """Add a batch to counts.

    Args:
        variables: "tp", "fp", "tn", "fn" -> the Variable of shape (thresholds,), or (thresholds,
            labels) with multi_label.
        sample_weight: one number for each row (or each entry).
    """
    y_pred, y_true = same_rank(as_float(y_pred), as_float(y_true))
    weights = None
    if sample_weight is not None:
        weights = ops.expand_dims(as_dtype(sample_weight, "float32"), -1)
        _, weights = same_rank(y_true, weights, expand_rank_1=False)
    if top_k is not None:
        y_pred = _only_top_k(y_pred, top_k)
    if class_id is not None:
        y_true, y_pred = _one_class(y_true, class_id), _one_class(y_pred, class_id)
    shape = y_pred.shape
    weights = None if weights is None else ops.broadcast_to(weights, shape)
    if label_weights is not None:
        by_label = ops.broadcast_to(as_float(label_weights), shape)
        weights = by_label if weights is None else ops.multiply(weights, by_label)
    rows = (1, *shape) if multi_label else (1, -1)
    columns = (-1, 1, 1) if multi_label else (-1, 1)
    limits = np.asarray(thresholds, "float32").reshape(columns)
    chosen = ops.greater(ops.reshape(y_pred, rows), limits)
    wanted = ops.reshape(as_dtype(y_true, "bool"), rows)
    weights = None if weights is None else ops.reshape(weights, rows)
    for name, variable in variables.items():
        right = wanted if name in ("tp", "fn") else ops.logical_not(wanted)
        hit = chosen if name in ("tp", "fp") else ops.logical_not(chosen)
        found = as_dtype(ops.logical_and(right, hit), "float32")
        found = found if weights is None else ops.multiply(found, weights)
        variable.assign(ops.add(variable, ops.sum(found, axis=1)))


class ConditionCount(Metric):
    """Base of the four counts; `kind` is "tp", "fp", "tn" or "fn"."""

    kind: str

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds = thresholds
        self.thresholds = threshold_list(thresholds, 0.5)
        self.accumulator = self.add_variable((len(self.thresholds),), name="accumulator")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        count({self.kind: self.accumulator}, y_true, y_pred, self.thresholds, sample_weight)

    def result(self) -> Any:
        return _single(ops.add(self.accumulator, 0.0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


def _single(values: Any) -> Any:
    return values[0] if values.shape[0] == 1 else values


class TruePositives(ConditionCount):
    """How many predictions above the threshold are right."""

    kind = "tp"


class FalsePositives(ConditionCount):
    """How many predictions above the threshold are wrong."""

    kind = "fp"


class TrueNegatives(ConditionCount):
    """How many predictions up to the threshold are right."""

    kind = "tn"


class FalseNegatives(ConditionCount):
    """How many predictions up to the threshold are wrong."""

    kind = "fn"


class _Ratio(Metric):
    """Base of Precision and Recall: true positives over those and another count."""

    _direction = "up"
    other: tuple[str, str]  # kind of count, name of its Variable

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.init_thresholds, self.top_k, self.class_id = thresholds, top_k, class_id
        self.thresholds = threshold_list(thresholds, 0.5 if top_k is None else NEVER)
        shape = (len(self.thresholds),)
        self.true_positives = self.add_variable(shape, name="true_positives")
        setattr(self, self.other[1], self.add_variable(shape, name=self.other[1]))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        kind, name = self.other
        counts = {"tp": self.true_positives, kind: getattr(self, name)}
        count(counts, y_true, y_pred, self.thresholds, sample_weight, self.top_k, self.class_id)

    def result(self) -> Any:
        other = getattr(self, self.other[1])
        whole = ops.add(self.true_positives, other)
        return _single(ops.divide_no_nan(self.true_positives, whole))

    def get_config(self) -> dict[str, Any]:
        own = {"thresholds": self.init_thresholds, "top_k": self.top_k, "class_id": self.class_id}
        return {**super().get_config(), **own}


class Precision(_Ratio):
    """How many of the predictions above the threshold (or among the top k) are right."""

    other = ("fp", "false_positives")


class Recall(_Ratio):
    """How many of the true labels are predicted above the threshold (or among the top k)."""

    other = ("fn", "false_negatives")


# --- one ratio where another is at least a given value


class _AtLeast(Metric):
    """Base: the largest `found` ratio over even thresholds at which the `held` ratio is at least
    `value`. A ratio is named by the counts (numerator, other part of the denominator)."""

    _direction = "up"
    argument: str
    held: tuple[str, str]
    found: tuple[str, str]

    def __init__(
        self,
        value: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if not 0 <= value <= 1:
            raise ConfigError(
                f"{type(self).__name__}: `{self.argument}` must be in the range [0, 1]. Received: "
                f"{value}. Pass a share."
            )
        at_least_thresholds(self, num_thresholds, 1)
        self.value, self.num_thresholds, self.class_id = value, num_thresholds, class_id
        setattr(self, self.argument, value)
        many = np.linspace(0.0, 1.0, num_thresholds).tolist()
        self.thresholds = [0.5] if num_thresholds == 1 else many
        names = ("true_positives", "false_positives", "true_negatives", "false_negatives")
        made = [self.add_variable((len(self.thresholds),), name=n) for n in names]
        self._counts = dict(zip(("tp", "fp", "tn", "fn"), made, strict=True))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        chosen = self.class_id
        count(self._counts, y_true, y_pred, self.thresholds, sample_weight, class_id=chosen)

    def _ratio(self, kinds: tuple[str, str]) -> Any:
        part, rest = (self._counts[kind] for kind in kinds)
        return ops.divide_no_nan(part, ops.add(part, rest))

    def result(self) -> Any:
        enough = ops.greater_equal(self._ratio(self.held), self.value)
        return ops.max(ops.where(enough, self._ratio(self.found), 0.0), initial=0.0)

    def get_config(self) -> dict[str, Any]:
        own = ("class_id", "num_thresholds", self.argument)
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}


_RECALL, _PRECISION, _SPECIFICITY = ("tp", "fn"), ("tp", "fp"), ("tn", "fp")


class SensitivityAtSpecificity(_AtLeast):
    """The largest recall at which the specificity is at least `specificity`."""

    argument, held, found = "specificity", _SPECIFICITY, _RECALL

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)


class SpecificityAtSensitivity(_AtLeast):
    """The largest specificity at which the recall is at least `sensitivity`."""

    argument, held, found = "sensitivity", _RECALL, _SPECIFICITY

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)


class PrecisionAtRecall(_AtLeast):
    """The largest precision at which the recall is at least `recall`."""

    argument, held, found = "recall", _RECALL, _PRECISION

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)


class RecallAtPrecision(_AtLeast):
    """The largest recall at which the precision is at least `precision`."""

    argument, held, found = "precision", _PRECISION, _RECALL

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)
