"""The area under a curve of decisions at many thresholds: ROC, precision-recall, their gains.

In: y_true of 0 and 1, y_pred from 0 to 1 (or logits). Out: one number. Source:
https://keras.io/api/metrics/classification_metrics/#auc-class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_keras import ops
from zoo_keras.configs.serialization import deserialize_keras_object
from zoo_keras.errors import ConfigError, ShapeError
from zoo_keras.metrics.confusion import at_least_thresholds, count, threshold_list
from zoo_keras.metrics.metric import Metric
from zoo_keras.ops.convert import fuzz_factor

_CURVES = {"roc": "ROC", "pr": "PR", "prgain": "PRGAIN"}
_METHODS = ("interpolation", "majoring", "minoring")
_NAMES = {"tp": "true_positives", "fp": "false_positives",
          "tn": "true_negatives", "fn": "false_negatives"}  # fmt: skip


class AUC(Metric):
    """The area under the ROC or precision-recall curve, from counts at thresholds.

    With multi_label each label has a curve of its own, and the areas are averaged.
    """

    _direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.curve = _CURVES.get(str(curve).lower(), "")
        self.summation_method = str(summation_method).lower()
        for what, given, fits, allowed in (
            ("curve", curve, self.curve, _CURVES.values()),
            ("summation method", summation_method, self.summation_method in _METHODS, _METHODS),
        ):
            if not fits:
                raise ConfigError(
                    f'Invalid AUC {what} value: "{given}". Received: {given!r}. Use one of '
                    f"{list(allowed)}."
                )
        if num_labels and not multi_label:
            raise ConfigError(
                f"AUC: num_labels is for multi_label=True only. Received: num_labels={num_labels}. "
                "Leave it out."
            )
        self._from_thresholds = thresholds is not None
        inner = self._inner(num_thresholds, thresholds)
        self.num_thresholds = len(inner) + 2
        self._thresholds = [0.0 - fuzz_factor(), *inner, 1.0 + fuzz_factor()]
        self.multi_label, self.num_labels = multi_label, num_labels
        self.label_weights = None if label_weights is None else np.asarray(label_weights, "f4")
        self._from_logits, self._built = from_logits, False
        if num_labels or not multi_label:
            self._add_counts(num_labels)

    def _inner(self, num_thresholds: int, thresholds: Sequence[float] | None) -> list[float]:
        if thresholds is not None:
            return sorted(threshold_list(list(thresholds), 0.5))
        at_least_thresholds(self, num_thresholds, 2)
        return [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]

    @property
    def thresholds(self) -> list[float]:
        """All thresholds, from just below 0 to just above 1."""
        return list(self._thresholds)

    def build(self, y_true_shape: Sequence[int], y_pred_shape: Sequence[int]) -> None:
        if self._built:
            return
        if len(y_pred_shape) != 2:
            raise ShapeError(
                "AUC: with multi_label=True y_pred must have the shape (batch, labels). Received: "
                f"{tuple(y_pred_shape)}. Reshape it."
            )
        self._add_counts(y_pred_shape[1])

    def _add_counts(self, labels: int | None) -> None:
        shape = (self.num_thresholds, labels) if labels else (self.num_thresholds,)
        for name in ("true_positives", "false_positives", "true_negatives", "false_negatives"):
            setattr(self, name, self.add_variable(shape, name=name))
        self._built = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.build(y_pred.shape, y_pred.shape)
        y_pred = ops.sigmoid(y_pred) if self._from_logits else y_pred
        counts = {kind: getattr(self, name) for kind, name in _NAMES.items()}
        by_label = None if self.multi_label else self.label_weights
        count(
            counts, y_true, y_pred, self._thresholds, sample_weight,
            multi_label=self.multi_label, label_weights=by_label,
        )  # fmt: skip

    def result(self) -> Any:
        tp, fp, tn, fn = (getattr(self, name).value for name in _NAMES.values())
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._over_labels(_interpolated(tp, fp, fn))
        x, y = self._curve(tp, fp, tn, fn)
        left, right = y[:-1], y[1:]
        if self.summation_method == "interpolation":
            heights = ops.multiply(ops.add(left, right), 0.5)
        else:
            join = ops.minimum if self.summation_method == "minoring" else ops.maximum
            heights = join(left, right)
        return self._over_labels(ops.multiply(ops.subtract(x[:-1], x[1:]), heights))

    def _curve(self, tp: Any, fp: Any, tn: Any, fn: Any) -> tuple[Any, Any]:
        recall = ops.divide_no_nan(tp, ops.add(tp, fn))
        if self.curve == "ROC":
            return ops.divide_no_nan(fp, ops.add(fp, tn)), recall
        if self.curve == "PR":
            return recall, ops.divide_no_nan(tp, ops.add(tp, fp))
        odds = ops.divide_no_nan(ops.add(tp, fn), ops.add(tn, fp))
        none = ops.equal(tp, 0.0)
        gains = [ops.subtract(1.0, ops.multiply(odds, ops.divide_no_nan(v, tp))) for v in (fn, fp)]
        recall_gain = ops.maximum(ops.where(none, 0.0, gains[0]), 0.0)
        return recall_gain, ops.where(none, 1.0, gains[1])

    def _over_labels(self, areas: Any) -> Any:
        if not self.multi_label:
            return ops.sum(areas)
        by_label = ops.sum(areas, axis=0)
        if self.label_weights is None:
            return ops.mean(by_label)
        weighted = ops.sum(ops.multiply(by_label, self.label_weights))
        return ops.divide_no_nan(weighted, float(np.sum(self.label_weights)))

    def get_config(self) -> dict[str, Any]:
        weights = self.label_weights
        own: dict[str, Any] = {
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if weights is None else weights.tolist(),
            "from_logits": self._from_logits,
        }
        if self._from_thresholds:
            own["thresholds"] = self.thresholds[1:-1]
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AUC:
        return cls(**deserialize_keras_object(config))  # Keras writes label_weights as a tensor


def _interpolated(tp: Any, fp: Any, fn: Any) -> Any:
    """Areas between thresholds under the precision-recall curve. Davis and Goadrich 2006."""
    chosen = ops.add(tp, fp)
    dtp = ops.subtract(tp[:-1], tp[1:])
    dp = ops.maximum(ops.subtract(chosen[:-1], chosen[1:]), 0.0)
    slope = ops.divide_no_nan(dtp, dp)
    intercept = ops.subtract(tp[1:], ops.multiply(slope, chosen[1:]))
    both = ops.logical_and(ops.greater(chosen[:-1], 0.0), ops.greater(chosen[1:], 0.0))
    ratio = ops.where(both, ops.divide_no_nan(chosen[:-1], chosen[1:]), 1.0)
    gain = ops.add(dtp, ops.multiply(intercept, ops.log(ratio)))
    return ops.divide_no_nan(ops.multiply(slope, gain), ops.add(tp[1:], fn[1:]))
