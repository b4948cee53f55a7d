"""Metric cases: class, arguments, shape and kinds of targets and predictions.

The kinds are those of cases/losses.py. Every row is updated three times with batches of
different sizes, once without and once with sample weights; the result after each update is
recorded. Scalar metrics (Mean, Sum) read only "values".
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    metric: str
    label: str
    true: str | None
    pred: str
    shape: tuple[int, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.metric}-{self.label}"


CASES: list[Case] = []


def add(metric: str, label: str, true: str | None, pred: str, shape: tuple, **kw: Any) -> None:
    CASES.append(Case(metric, label, true, pred, shape, kw))


# `shape` is that of one sample of the predictions.
add("Mean", "scalars", None, "real", ())
add("Mean", "vectors", None, "real", (3,))
add("Sum", "scalars", None, "real", ())
add("Sum", "vectors", None, "real", (2,))

add("Accuracy", "ids", "classes", "classes", (4,))
add("Accuracy", "matrix", "binary", "binary", (3,))
add("BinaryAccuracy", "plain", "binary", "prob", (1,))
add("BinaryAccuracy", "labels", "binary", "prob", (3,))
add("BinaryAccuracy", "threshold", "binary", "prob", (3,), threshold=0.7)
add("CategoricalAccuracy", "plain", "onehot", "dist", (4,))
add("CategoricalAccuracy", "sequence", "onehot", "dist", (3, 4))
add("SparseCategoricalAccuracy", "plain", "classes", "dist", (4,))
add("SparseCategoricalAccuracy", "column", "classes_column", "dist", (3,))
add("SparseCategoricalAccuracy", "sequence", "classes", "logits", (3, 5))
add("TopKCategoricalAccuracy", "k2", "onehot", "dist", (5,), k=2)
add("TopKCategoricalAccuracy", "default", "onehot", "logits", (8,))
add("SparseTopKCategoricalAccuracy", "k2", "classes", "dist", (5,), k=2)
add("SparseTopKCategoricalAccuracy", "k1", "classes", "logits", (4,), k=1)
add("SparseTopKCategoricalAccuracy", "sequence", "classes", "dist", (3, 5), k=3)

add("AUC", "roc", "binary", "prob", (1,))
add("AUC", "pr", "binary", "prob", (1,), curve="PR")
add("AUC", "majoring", "binary", "prob", (1,), summation_method="majoring", num_thresholds=20)
add("AUC", "minoring_pr", "binary", "prob", (1,), summation_method="minoring", curve="PR",
    num_thresholds=11)
add("AUC", "few", "binary", "prob", (2,), num_thresholds=3)
add("AUC", "thresholds", "binary", "prob", (2,), thresholds=[0.1, 0.35, 0.8])
add("AUC", "multi_label", "binary", "prob", (3,), multi_label=True, num_labels=3,
    num_thresholds=50)
add("AUC", "label_weights", "binary", "prob", (3,), multi_label=True, num_labels=3,
    label_weights=[0.2, 0.5, 0.3])
add("AUC", "logits", "binary", "logits", (1,), from_logits=True)

for _metric in ("Precision", "Recall"):
    add(_metric, "plain", "binary", "prob", (1,))
    add(_metric, "labels", "binary", "prob", (4,))
    add(_metric, "threshold", "binary", "prob", (3,), thresholds=0.8)
    add(_metric, "thresholds", "binary", "prob", (3,), thresholds=[0.0, 0.25, 0.9])
    add(_metric, "top_k", "binary", "prob", (5,), top_k=2)
    add(_metric, "class_id", "binary", "prob", (4,), class_id=2)
    add(_metric, "top_k_class_id", "binary", "prob", (4,), top_k=3, class_id=1)
for _metric in ("TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives"):
    add(_metric, "plain", "binary", "prob", (3,))
    add(_metric, "thresholds", "binary", "prob", (2,), thresholds=[0.3, 0.6])

for _metric in ("MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError",
                "RootMeanSquaredError", "LogCoshError", "CosineSimilarity"):
    add(_metric, "matrix", "real", "real", (3,))
    add(_metric, "sequence", "real", "real", (2, 4))
add("CosineSimilarity", "axis", "real", "real", (4, 2), axis=1)
add("MeanSquaredLogarithmicError", "matrix", "positive", "positive", (3,))
add("Poisson", "matrix", "positive", "positive", (3,))
add("KLDivergence", "matrix", "dist", "dist", (4,))
add("BinaryCrossentropy", "prob", "binary", "prob", (3,))
add("BinaryCrossentropy", "logits", "binary", "logits", (1,), from_logits=True,
    label_smoothing=0.1)
add("CategoricalCrossentropy", "prob", "onehot", "dist", (4,))
add("CategoricalCrossentropy", "logits", "onehot", "logits", (4,), from_logits=True,
    label_smoothing=0.2)
add("SparseCategoricalCrossentropy", "prob", "classes", "dist", (4,))
add("SparseCategoricalCrossentropy", "logits", "classes", "logits", (2, 3), from_logits=True)
add("Hinge", "plain", "signed", "real", (3,))
add("SquaredHinge", "plain", "signed", "real", (3,))
add("CategoricalHinge", "plain", "onehot", "real", (4,))
add("MeanIoU", "plain", "classes", "classes", (4,), num_classes=4)

# A weight for each element; whole numbers, for the counts of a metric without dtype are int32.
add("MeanIoU", "ignore_class", "classes", "classes", (3,), num_classes=4, ignore_class=1)
add("MeanIoU", "fractions", "classes", "classes", (4,), num_classes=4, dtype="float32")
add("MeanIoU", "scores", "onehot", "dist", (5, 3), num_classes=3, sparse_y_true=False,
    sparse_y_pred=False)
add("IoU", "one", "classes", "classes", (4,), num_classes=4, target_class_ids=[2])
add("IoU", "some", "classes", "classes", (4,), num_classes=4, target_class_ids=[0, 3])
add("IoU", "ignore_class", "classes", "classes", (4,), num_classes=4, target_class_ids=[0, 3],
    ignore_class=3)
# Keras takes the axis of the classes for that of its result too: only the last can be told.
add("IoU", "scores", "onehot", "dist", (2, 3), num_classes=3, target_class_ids=[1],
    sparse_y_true=False, sparse_y_pred=False)
add("BinaryIoU", "plain", "binary", "prob", (5,))
add("BinaryIoU", "one", "binary", "prob", (2, 3), target_class_ids=[1], threshold=0.3)
add("OneHotIoU", "plain", "onehot", "dist", (4,), num_classes=4, target_class_ids=[0, 2])
add("OneHotIoU", "sequence", "onehot", "logits", (3, 4), num_classes=4, target_class_ids=[1])
add("OneHotIoU", "ignore_class", "onehot", "dist", (4,), num_classes=4, target_class_ids=[0, 2],
    ignore_class=2)
add("OneHotMeanIoU", "plain", "onehot", "dist", (4,), num_classes=4)
add("OneHotMeanIoU", "ignore_class", "onehot", "dist", (3, 4), num_classes=4, ignore_class=0)

for _metric, _more in (("F1Score", {}), ("FBetaScore", {"beta": 0.5})):
    add(_metric, "each", "onehot", "dist", (4,), **_more)
    for _average in ("micro", "macro", "weighted"):
        add(_metric, _average, "onehot", "logits", (3,), average=_average, **_more)
    add(_metric, "threshold", "binary", "prob", (3,), threshold=0.4, **_more)
    add(_metric, "threshold_micro", "binary", "prob", (1,), threshold=0.6, average="micro", **_more)

for _aggregation in ("uniform_average", "variance_weighted_average", None):
    add("R2Score", str(_aggregation), "real", "real", (3,), class_aggregation=_aggregation)
add("R2Score", "one_column", "real", "real", (1,))
add("R2Score", "adjusted", "real", "real", (2,), num_regressors=1)
for _metric in ("PearsonCorrelation", "ConcordanceCorrelation"):
    add(_metric, "plain", "real", "real", (5,))
    add(_metric, "image", "real", "real", (3, 4))
    add(_metric, "axis", "real", "real", (4, 3), axis=1)

for _metric, _given in (("PrecisionAtRecall", "recall"), ("RecallAtPrecision", "precision"),
                        ("SensitivityAtSpecificity", "specificity"),
                        ("SpecificityAtSensitivity", "sensitivity")):
    add(_metric, "half", "binary", "prob", (3,), **{_given: 0.5})
    add(_metric, "most", "binary", "prob", (4,), num_thresholds=20, **{_given: 0.8})
    add(_metric, "never", "binary", "prob", (1,), num_thresholds=7, **{_given: 1.0})
    add(_metric, "class_id", "binary", "prob", (3,), class_id=1, **{_given: 0.6})

# `fn` names a function of losses.
add("MeanMetricWrapper", "squared", "real", "real", (3,), fn="mean_squared_error")
